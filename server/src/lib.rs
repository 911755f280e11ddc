//! The server: an 82599 of `nic-model` behind a vfio-user socket.
//!
//! [`ports::serve`] is the whole of it: for each port one thread, which owns the port and waits for its client, its wire,
//! the clock and control requests ([`Worker::run`](worker::Worker::run)).

pub mod activation;
pub mod bus;
pub mod checking;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod counters;
pub mod device;
mod dirty_log;
pub mod doorbells;
pub mod events;
pub mod irq;
pub mod mac_address;
mod mappings;
pub mod message_dma;
pub mod metrics;
mod moving;
pub mod nvm_file;
pub mod polling;
pub mod port_arguments;
pub mod ports;
pub mod readiness;
pub mod sandbox;
pub mod signals;
pub mod worker;
