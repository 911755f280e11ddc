//! Saved state: all that makes a port go on elsewhere as if nothing had happened.
//!
//! Each chapter says what of it is state: it has a type `Saved`, or its own type is one, and makes itself anew of it. What
//! follows from registers (decoded rings, hash tables, the short way of frames) is not saved, but worked out again.
//! What a chapter reads is checked before anything is changed, so that whatever a file says, a port is either as it was
//! or in a state that it could have come to by itself, as far as that matters to the code that follows.
//!
//! What belongs to the port's surroundings is not part of it: observers, what the log has told, and the client's memory.
//! The two ports of a card share its NVM, flash and semaphores. Each of the two states has them, and they are those of the
//! state that is restored last.
//!
//! Times are those of the port that was saved. They are moved by what lies between the clock of then and that of now, so
//! timers go on where they stood; FRTIMER and SYSTIM do not see the time in between.

mod bits;
mod error;
mod file;
pub(crate) mod hex;
mod shift;
pub(crate) mod sparse;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use error::StateError;
pub use file::VERSION;
pub(crate) use {bits::fragment, bits::info, bits::status, shift::Shift};

use crate::{
    card::{self, Place},
    faults::GuestFaults,
    interrupt, ipsec,
    led::Leds,
    link,
    link::flow_control::FlowControl,
    pci, regs, rx,
    time::Time,
    timer::Timers,
    timesync::TimeSync,
    tx,
};

/// The state of a port, by [`Port::save`](crate::Port::save).
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// When it was saved.
    pub(crate) at: Time,
    pub(crate) place: Place,
    pub(crate) mac: [u8; 6],
    pub(crate) registers: regs::Saved,
    pub(crate) pci: pci::Saved,
    pub(crate) interrupts: interrupt::Saved,
    pub(crate) link: link::Saved,
    pub(crate) flow_control: FlowControl,
    pub(crate) leds: Leds,
    pub(crate) card: card::Saved,
    pub(crate) nvm_written: bool,
    pub(crate) timers: Timers,
    pub(crate) timesync: TimeSync,
    pub(crate) ipsec: ipsec::Saved,
    pub(crate) receive: rx::Saved,
    pub(crate) transmit: tx::Saved,
    pub(crate) faults: GuestFaults,
    pub(crate) refused_dma: u64,
    pub(crate) ioaddr: u32,
}

impl State {
    /// The time of the port when it was saved.
    #[must_use]
    pub const fn at(&self) -> Time {
        self.at
    }

    /// Adds MSI-X vectors, one bit each, whose messages have left the port and have not reached the client: the port
    /// that is restored sends them again.
    pub fn add_pending_vectors(&mut self, vectors: u64) {
        self.pci.add_pending_vectors(vectors);
    }
}
