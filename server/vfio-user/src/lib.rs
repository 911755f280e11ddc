//! The vfio-user protocol 0.1: a PCI device in one process, its user in another, a UNIX socket
//! between them.
//!
//! - [`message`]: the messages as they lie on the wire.
//! - [`frame`]: from a byte stream to messages with their file descriptors.
//! - [`server`]: a [`Session`](server::Session) serves a [`Device`](server::Device) to a client.
//!   It never blocks and fits into any event loop.
//! - [`client`]: a [`Client`](client::Client) makes blocking calls to a server, as a driver in
//!   user space or a test does.
//! - [`Listener`]: a socket path.
//!
//! What QEMU and cloud-hypervisor really send shaped it; the places that are so say so.
//!
//! # What is not implemented
//!
//! - Of migration: stopping a device for its peers alone (P2P), and the state as it was before the protocol's second
//!   version, with `DIRTY_PAGES`, which is answered by `ENOTSUP`. A state has 16 MiB at most.
//! - Twin sockets: the capability is never granted, so all messages share one socket.
//! - Ioeventfds and ioregionfds: `DEVICE_GET_REGION_IO_FDS` names none. No known client asks.
//! - Message DMA with QEMU before 11, whose `DMA_READ` and `DMA_WRITE` have a shorter count.
//! - Big-endian hosts: the specification's host byte order is taken to be little-endian.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

pub mod client;
pub mod frame;
pub mod message;
pub mod server;

mod errno;
mod listener;
mod outbox;
mod socket;

pub use errno::Errno;
pub use listener::{ListenError, Listener, Reservation};
