//! What each queue has moved, whatever statistics registers it is mapped to: the card has 16 of these for 128 queues, and
//! drivers leave the mapping (RQSMR, TQSM) as it is after reset, with all queues on the first.

use serde::{Deserialize, Serialize};

use crate::state::{
    StateError,
    sparse::{self, Sparse},
};

/// Queues in a direction.
const QUEUES: usize = 128;

/// Packets and bytes of one queue since the port was made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueCount {
    /// Packets: of a receive queue those in its ring, of a transmit queue those that the card has sent, each segment one.
    pub packets: u64,
    /// Their bytes, as QBRC and QBTC count them.
    pub bytes: u64,
}

/// The counts of all queues of a direction.
#[derive(Debug)]
pub(crate) struct QueueCounts(Box<[QueueCount]>);

impl Default for QueueCounts {
    fn default() -> Self {
        Self(vec![QueueCount::default(); QUEUES].into())
    }
}

impl QueueCounts {
    /// The saved form.
    pub(crate) fn save(&self) -> Sparse<QueueCount> {
        let Self(counts) = self;
        sparse::changed(counts)
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// A queue that there is not.
    pub(crate) fn restore(saved: Sparse<QueueCount>) -> Result<Self, StateError> {
        let mut counts = Self::default();
        sparse::fill(saved, &mut counts.0)?;
        Ok(counts)
    }

    /// Adds packets of a queue that have so many bytes together.
    #[inline]
    pub(crate) fn add(&mut self, queue: usize, packets: u32, bytes: u64) {
        if let Some(count) = self.0.get_mut(queue) {
            count.packets = count.packets.wrapping_add(packets.into());
            count.bytes = count.bytes.wrapping_add(bytes);
        }
    }

    /// The queues that have moved something, by number.
    pub(crate) fn used(&self) -> impl Iterator<Item = (usize, QueueCount)> {
        let all = self.0.iter().copied().enumerate();
        all.filter(|(_, count)| count.packets != 0)
    }
}
