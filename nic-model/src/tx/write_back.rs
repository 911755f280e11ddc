//! Write-back of descriptors by TXDCTL.WTHRESH (7.2.3.5.1).
//!
//! With a threshold, RS means nothing: every data descriptor that is done waits on the chip, and all are written back
//! together when as many are there as the threshold says, when the interval of the queue's vector is over (EITR), or when
//! software asks for it (TXDCTL.SWFLSH).
//!
//! Where no interval runs, because EITR is 0 or IVAR gives the queue no vector, nothing waits. Linux writes a threshold
//! of 1 then, with which nothing waits either.
//!
//! PTHRESH and HTHRESH tell when descriptors are fetched, which software cannot see: those up to the tail are the card's.

use serde::{Deserialize, Serialize};

use crate::{state::StateError, time::Time};

/// Place of WTHRESH in TXDCTL (8.2.3.9.10).
const THRESHOLD_SHIFT: u32 = 16;
/// WTHRESH, after the shift.
const THRESHOLD_MASK: u32 = 0x7F;

/// Descriptors of a queue that the chip has room for. More cannot wait, whatever the threshold says.
const ON_CHIP: u32 = 40;

/// A descriptor as it is going to be written.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    /// Its place in the ring.
    pub position: u32,
    pub low: u64,
    pub high: u64,
}

/// The descriptors of a queue that wait for others to be written back with.
#[derive(Debug, Default)]
pub(super) struct Accumulated {
    threshold: usize,
    done: Vec<Done>,
    /// When they are written back at the latest.
    until: Option<Time>,
}

impl Accumulated {
    /// Nothing waits, and there is no threshold.
    pub fn reset(&mut self) {
        let Self {
            threshold,
            done,
            until,
        } = self;
        *threshold = 0;
        done.clear();
        *until = None;
    }

    /// The saved form: what waits, and until when.
    pub fn save(&self) -> (Vec<Done>, Option<Time>) {
        let Self {
            threshold: _,
            done,
            until,
        } = self;
        (done.clone(), *until)
    }

    /// Of the saved form, for a ring of `len` descriptors; the threshold is that of TXDCTL.
    ///
    /// # Errors
    /// More than can wait, or what is not of the ring.
    pub fn restore(
        done: Vec<Done>,
        until: Option<Time>,
        txdctl: u32,
        len: u32,
    ) -> Result<Self, StateError> {
        let few = done.len() <= usize::try_from(ON_CHIP).unwrap_or(0);
        StateError::unless(few, "done", format!("{ON_CHIP} can wait at most"))?;
        let inside = done.iter().all(|done| done.position < len);
        StateError::unless(inside, "done", "the ring has no such descriptor")?;
        let mut accumulated = Self {
            threshold: 0,
            done,
            until,
        };
        accumulated.set_threshold(txdctl);
        Ok(accumulated)
    }

    /// What waits is not going to be written.
    pub fn forget(&mut self) {
        self.done.clear();
        self.until = None;
    }

    /// Takes over WTHRESH.
    pub fn set_threshold(&mut self, txdctl: u32) {
        let threshold = (txdctl >> THRESHOLD_SHIFT & THRESHOLD_MASK).min(ON_CHIP);
        self.threshold = usize::try_from(threshold).unwrap_or(0);
    }

    /// Whether there is a threshold.
    #[inline]
    pub fn has_threshold(&self) -> bool {
        self.threshold != 0
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// A descriptor is done.
    pub fn add(&mut self, done: Done) {
        self.done.push(done);
    }

    /// What has begun to wait is written back at `until` at the latest; without it, at once.
    pub fn wait(&mut self, until: Option<Time>) {
        self.until = Some(until.unwrap_or(Time::ZERO));
    }

    /// When what waits is written back at the latest; `None` if nothing does.
    pub fn until(&self) -> Option<Time> {
        self.until
    }

    /// Whether it is time to write back.
    pub fn is_due(&self, now: Time) -> bool {
        self.until
            .is_some_and(|until| until <= now || self.done.len() >= self.threshold)
    }

    /// What is to be written back now, the oldest first. The list comes back by [`Accumulated::give_back`].
    pub fn take(&mut self) -> Vec<Done> {
        self.until = None;
        std::mem::take(&mut self.done)
    }

    /// Takes the memory of a list that was written back.
    pub fn give_back(&mut self, mut done: Vec<Done>) {
        done.clear();
        self.done = done;
    }
}
