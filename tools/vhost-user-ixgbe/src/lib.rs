//! `vhost-user-ixgbe`: a zero-copy host stack for a virtio-net guest, on an 82599.
//!
//! It is a vhost-user-net back-end for an unmodified virtio-net guest in a stock QEMU, and at the same time the driver of
//! an 82599. The guest's memory is lent to the card with the guest's own file descriptors, at the guest's own addresses,
//! and the guest's receive buffers are posted on the card's receive ring: the card's DMA engine writes what it receives
//! where the guest reads it. What the guest sends leaves from where the guest has written it.
//!
//! Which 82599 it drives is the affair of [`nic_driver::Device`]: a card that a server serves over vfio-user, the model in
//! this process, or whatever else reads and writes registers and lends memory.
//!
//! - [`front_end`]: the messages of vhost-user, one of them in [`early_enable`], and when they are there ([`message`]);
//!   [`memory`]: the guest's memory, here and at the card; [`dirty`]: the log of written pages;
//!   [`access`]: short accesses to that memory;
//! - [`vring`] and [`chain`]: the guest's rings; [`header`], [`negotiated`]: virtio-net;
//! - [`receive`], with [`place`], [`own`], [`packet`], [`delivery`] and [`large`]: from the card's rings to the guest's;
//! - [`transmit`], [`offload`]: and back;
//! - [`stack`]: all of it together, [`turn`] by turn, with the card and its queue pairs in `nic`; [`worker`]: the loop;
//!   [`polling`]: when it sleeps.
//!
//! One thread does everything: what a message of the front-end takes away is gone from the card when its answer is sent,
//! and no lock is on the way of a packet. That is why the crate `vhost-user-backend`, which has threads of its own for
//! rings and for messages, is not used: `vhost` has the protocol, and `virtio-queue` the rings.
//!
//! # Not implemented
//!
//! Packed rings, which `virtio-queue` does not have; virtio's own RSS and hash report; post-copy
//! migration; a guest behind a virtual IOMMU.
#![forbid(unsafe_code)]

pub mod access;
pub mod chain;
pub mod cli;
pub mod counters;
pub mod delivery;
pub mod dirty;
pub mod early_enable;
pub mod front_end;
pub mod header;
pub mod large;
pub mod memory;
pub mod message;
pub mod negotiated;
mod nic;
pub mod offload;
pub mod own;
pub mod packet;
pub mod place;
pub mod polling;
pub mod receive;
pub mod stack;
pub mod transmit;
pub mod turn;
pub mod vring;
pub mod worker;
