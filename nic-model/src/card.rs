//! What the two functions of a card share: the NVM chip, the semaphores, the serial number.
//!
//! Each port has a handle to its card. The ports may live in different threads: the chip and the semaphores lie behind
//! a lock, which only accesses to the registers of these two chapters, and resets, take. The data path never does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    firmware::Semaphores,
    nvm::Chip,
    port::{LanId, PortConfig},
};

/// How many functions the card shows on its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Functions {
    /// One: the other port is disabled.
    One,
    /// Both ports.
    Two,
}

/// What is seen of the card at one of its functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Which port of the card this is.
    pub(crate) lan_id: LanId,
    /// Whether there is the other one.
    pub(crate) functions: Functions,
    /// The MAC address that the serial number is made of: that of the card's first port.
    pub(crate) serial: [u8; 6],
}

/// A port's handle to its card.
#[derive(Clone, Debug)]
pub(crate) struct Card(Arc<Mutex<Shared>>);

/// The parts of the card that its ports share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) chip: Chip,
    pub(crate) semaphores: Semaphores,
}

impl Card {
    /// A card with these ports, as the factory delivers it.
    pub(crate) fn new(ports: &[&PortConfig]) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            chip: Chip::new(ports),
            semaphores: Semaphores::default(),
        })))
    }

    /// The shared parts, for the time of one register access.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Whatever a thread that panicked left behind is words and bits, each of which may have any value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
