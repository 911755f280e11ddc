//! What the two functions of a card share: the NVM chip, the semaphores, the serial number.
//!
//! Each port has a handle to its card. The ports may live in different threads: the chip and the semaphores lie behind
//! a lock, which only accesses to the registers of these two chapters, and resets, take. The data path never does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{
    firmware::Semaphores,
    nvm::{self, Chip, NvmImage},
    port::{LanId, PortConfig},
    state::StateError,
};

/// How many functions the card shows on its bus.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Functions {
    /// One: the other port is disabled.
    One,
    /// Both ports.
    Two,
}

/// What is seen of the card at one of its functions.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
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
    /// A card with these ports, whose NVM holds what the first of them that says so wants, else what the factory
    /// writes.
    pub(crate) fn new(ports: &[&PortConfig]) -> Self {
        let image = ports.iter().find_map(|port| port.nvm.clone());
        let image = image.unwrap_or_else(|| NvmImage::factory(ports));
        Self(Arc::new(Mutex::new(Shared {
            chip: Chip::new(image),
            semaphores: Semaphores::default(),
        })))
    }

    /// The MAC address of one of its ports, if the NVM has one.
    pub(crate) fn mac(&self, lan_id: LanId) -> Option<[u8; 6]> {
        self.lock().chip.mac(lan_id)
    }

    /// The saved form of the shared parts.
    pub(crate) fn save(&self) -> Saved {
        let Shared { chip, semaphores } = &*self.lock();
        Saved {
            nvm: chip.save(),
            semaphores: semaphores.clone(),
        }
    }

    /// The shared parts, for the time of one register access.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Whatever a thread that panicked left behind is words and bits, each of which may have any value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The saved form of what the ports of a card share.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    nvm: nvm::Saved,
    semaphores: Semaphores,
}

impl Saved {
    /// What it says.
    pub(crate) fn restore(self) -> Result<Shared, StateError> {
        Ok(Shared {
            chip: Chip::restore(self.nvm).map_err(|error| error.within("nvm"))?,
            semaphores: self.semaphores,
        })
    }
}
