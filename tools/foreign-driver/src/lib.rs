//! The platform under the `ixgbe-driver` crate, a driver for the 82599 that we did not write.
//!
//! That driver knows of a BAR at an address, of memory that the card reaches, and of waiting. Here the card is a
//! [`Device`](nic_driver::Device): mostly one that another process serves over vfio-user. Memory is lent to it like that
//! of any user-mode driver ([`Platform`]). Registers are harder: the driver reads and writes them through a pointer, and a
//! vfio-user server that needs to see each access has nothing that could be mapped there. So the pointer leads to pages
//! without access rights, and the fault becomes a message ([`Card`] tells how).
//!
//! A card belongs to one thread: [`Card::plug`] puts it there, and all that the driver does has to be done there.
//! Memory and pages are never unmapped, so no pointer of the driver's dangles, whatever is dropped first.
//!
//! This crate says `unsafe`, beside `guest-memory` alone: the driver's trait is `unsafe`, and so is catching faults. Only
//! tests use it. It works on x86-64 Linux, as a process of its own that no other code catches SIGSEGV or SIGTRAP in.
//!
//! Not implemented: interrupts (the driver polls), configuration space (it asks for none), accesses to registers that
//! are not 32 bits wide or that read and write at once (the process ends with a message).
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod bar;
mod card;
mod platform;

pub use card::{Card, PlugError};
pub use platform::Platform;
