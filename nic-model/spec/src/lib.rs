//! What the 82599 looks like to software: registers, descriptors, NVM map, PCI identity. No behaviour.
//!
//! [`register::Reg`] is the one table of registers: offset, reset value, write mask and access kind of a register stand
//! in its row and nowhere else. Section numbers are those of the 82599 datasheet (revision 3.x).
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod descriptor;
pub mod nvm;
pub mod pci;
pub mod register;
