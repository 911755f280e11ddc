//! Transmit write-backs that wait for company (7.2.3.5.2).
//!
//! With TXDCTL.WTHRESH a driver allows the card to gather finished descriptors before it reports them. The model writes
//! them back at once, so that a driver that polls finds them, and holds back only the interrupt: until so many
//! descriptors are done, something else asks for the vector, or [`PATIENCE`] is over. A reply to the frame that has left
//! then comes with the same interrupt.

use ixgbe_spec::register::{Reg, bits::txdctl};

use crate::{regs::RegisterFile, time::Time};

/// How long write-backs wait, in ns. The card takes the vector's EITR for it, tens of microseconds, in which a reply
/// from its own cable comes back; here a reply takes some times as long.
const PATIENCE: u64 = 100_000;

/// Which vectors only write-backs have raised, too few of them.
#[derive(Debug)]
pub(super) struct WriteBacks {
    few: u64,
    /// Of these, those whose wait has begun.
    waiting: u64,
    descriptors: [u32; Self::VECTORS],
    until: [Time; Self::VECTORS],
}

impl Default for WriteBacks {
    fn default() -> Self {
        Self {
            few: 0,
            waiting: 0,
            descriptors: [0; Self::VECTORS],
            until: [Time::ZERO; Self::VECTORS],
        }
    }
}

impl WriteBacks {
    const VECTORS: usize = 64;

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Queue `queue` has written back `descriptors` of them, which raises `vector` (a bit); `pending` are the vectors
    /// that were raised before.
    pub(super) fn add(
        &mut self,
        vector: u64,
        pending: u64,
        queue: usize,
        descriptors: usize,
        regs: &RegisterFile,
    ) {
        if pending & vector != 0 && self.few & vector == 0 {
            return;
        }
        let Some(count) = self.descriptors.get_mut(vector.trailing_zeros() as usize) else {
            return;
        };
        if pending & vector == 0 {
            *count = 0;
            self.few |= vector;
            self.waiting &= !vector;
        }
        *count = count.saturating_add(u32::try_from(descriptors).unwrap_or(u32::MAX));
        let threshold =
            regs.get(Reg::TXDCTL, queue) >> txdctl::WTHRESH_SHIFT & txdctl::WTHRESH_MASK;
        if *count >= threshold {
            self.few &= !vector;
        }
    }

    /// Something else asks for these vectors.
    pub(super) fn urge(&mut self, vectors: u64) {
        self.few &= !vectors;
    }

    /// Until when a signal of `vector`, which is ready, has to wait, if at all.
    pub(super) fn holds(&mut self, vector: usize, now: Time) -> Option<Time> {
        let bit = 1_u64.checked_shl(u32::try_from(vector).ok()?)?;
        if self.few & bit == 0 {
            return None;
        }
        let until = self.until.get_mut(vector)?;
        if self.waiting & bit == 0 {
            self.waiting |= bit;
            *until = now.plus_nanos(PATIENCE);
        }
        (*until > now).then_some(*until)
    }
}
