//! What is on the other end of the 82599's cable.
//!
//! A [`Backend`] is a [`nic_model::Wire`] that the server's loop can wait for. There are
//!
//! - [`Host`]: a small host with DHCP, ping, echo, discard and chargen, inside this process;
//! - [`Loopback`]: what is sent comes back;
//! - [`Null`]: what is sent is gone.
#![forbid(unsafe_code)]

mod backend;
mod host;
mod kind;
mod loopback;
mod null;
mod queue;

pub use backend::{Backend, Counters};
pub use host::{Host, HostConfig};
pub use kind::{Kind, OpenError, ParseError};
pub use loopback::Loopback;
pub use null::Null;
