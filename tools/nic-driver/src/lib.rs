//! A user-mode driver for the 82599.
//!
//! It brings the card up, runs receive and transmit queues with advanced descriptors, and asks for the offloads that a
//! packet needs. Which 82599 it drives is the affair of a [`Device`]: the model in this process ([`in_process`]), or a
//! card that another process serves over vfio-user ([`over_socket`]). Tests, benchmarks and host stacks use it; it is
//! written from the datasheet's side and shares nothing with the model but the layouts of `ixgbe-spec`.
//!
//! Not implemented: header split into buffers of the driver's own, virtualisation, Flow Director, flow control, DCB.
#![forbid(unsafe_code)]

mod bring_up;
mod config;
pub mod device;
mod dma;
mod driver;
mod error;
pub mod in_process;
pub mod over_socket;
mod pages;
mod post;
mod rx;
mod statistics;
mod tx;

pub use config::{Buffers, Config, HEADER_BUFFER, Rss};
pub use device::Device;
pub use dma::DmaMemory;
pub use driver::Driver;
pub use error::DriverError;
pub use post::{Completed, PostRing};
pub use rx::{Filled, Received, RxRing};
pub use statistics::Statistics;
pub use tx::{IpSec, L4, Packet, Piece, TxRing};
