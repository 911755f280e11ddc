//! The server: an 82599 of `nic-model` behind a vfio-user socket.
//!
//! [`Worker::run`](worker::Worker::run) is the whole of it: one thread that owns the port and waits for the client, the wire, the
//! clock and control requests.

pub mod bus;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod counters;
pub mod device;
pub mod events;
pub mod irq;
pub mod message_dma;
pub mod polling;
pub mod signals;
pub mod worker;
