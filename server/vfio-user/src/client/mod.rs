//! The client's side: what a VMM does, for drivers in user space, tests and tools.
//!
//! Every call sends a command and waits for its reply, up to [`Options::timeout`]. While it
//! waits, commands of the server (`DMA_READ`, `DMA_WRITE`) are served from
//! [`ClientMemory`].

mod connection;
mod details;
mod error;
mod memory;
mod migration;
mod session;

pub use connection::Message;
pub use details::{DeviceDetails, IrqDetails, RegionDetails};
pub use error::ClientError;
pub use memory::ClientMemory;
pub use session::{Client, Options};
