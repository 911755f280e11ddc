//! The Intel 82599 10 GbE controller as a state machine.
//!
//! The model has no socket, file descriptor, thread or clock. What it needs from outside comes through three seams:
//! [`Bus`] (client memory and interrupts), [`Wire`] (the cable) and [`Time`] (an argument of every call). A [`Port`]
//! is one function of the card with its registers, rings and statistics.
//!
//! The way of the data is told in ARCHITECTURE.md.
#![forbid(unsafe_code)]

pub mod bus;
pub mod faults;
mod filter;
mod firmware;
mod hw;
pub mod interrupt;
mod link;
mod nvm;
pub mod offload;
mod pci;
pub mod port;
pub mod regs;
pub mod rx;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
mod timer;
pub mod tx;
pub mod wire;

pub use bus::Bus;
pub use link::Module;
pub use port::{Bar, Context, LanId, Port, PortConfig};
pub use time::Time;
pub use wire::Wire;
