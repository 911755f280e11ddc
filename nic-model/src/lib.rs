//! The Intel 82599 10 GbE controller as a state machine.
//!
//! The model has no socket, file descriptor, thread or clock. What it needs from outside comes through three seams:
//! [`Bus`] (client memory and interrupts), [`Wire`] (the cable) and [`Time`] (an argument of every call). A [`Port`]
//! is one function of the card with its registers, rings and statistics.
//!
//! The way of the data is told in ARCHITECTURE.md.
//!
//! # What is not implemented
//!
//! Registers whose row in the table says [`Coverage::Stored`] hold what is written, and nothing follows from it. Not there
//! at all are:
//! - virtual functions: they can be enabled in the SR-IOV capability, but none of them answers;
//! - firmware: the host interface is off (HICR.EN is 0), manageability does nothing;
//! - `LinkSec`.
//!
//! The modules [`rx`] and [`tx`] say what they leave out.
//!
//! [`Coverage::Stored`]: ixgbe_spec::register::Coverage::Stored
#![forbid(unsafe_code)]

mod amount;
pub mod bus;
mod card;
pub mod check;
mod dma;
pub mod fault;
pub mod faults;
mod fcoe;
mod filter;
mod firmware;
mod hardware_error;
mod hw;
pub mod interrupt;
mod ipsec;
mod led;
mod link;
mod mailbox;
mod nvm;
pub mod observe;
pub mod offload;
mod pci;
mod pool_statistics;
pub mod port;
mod queue_counts;
pub mod record;
pub mod regs;
pub mod rx;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
mod timer;
mod timesync;
pub mod tx;
mod virtual_function;
mod wakeup;
pub mod wire;

pub use bus::Bus;
pub use filter::AddressMatch;
pub use hardware_error::{HardwareError, UnknownError};
pub use led::{LEDS, Led, LedMode, Light};
pub use link::{Module, UnknownModule};
pub use nvm::{NvmChip, NvmImage, NvmSizeError};
pub use pci::{BusError, ErrorMessage};
pub use port::{Arrivals, Bar, Context, LanId, Port, PortConfig};
pub use state::{State, StateError};
pub use time::Time;
pub use wire::Wire;
