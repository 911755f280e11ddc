//! Times of one clock as times of another.

use crate::time::Time;

/// How far the clock of the port that is restored is from that of the one that was saved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    from: Time,
    to: Time,
}

impl Shift {
    /// `from` on the old clock is `to` on the new one.
    pub(crate) const fn new(from: Time, to: Time) -> Self {
        Self { from, to }
    }

    /// `time` on the new clock. What was before it began is its beginning.
    pub(crate) const fn time(self, time: Time) -> Time {
        let nanos = time.as_nanos();
        let (from, to) = (self.from.as_nanos(), self.to.as_nanos());
        Time::from_nanos(if to >= from {
            nanos.saturating_add(to - from)
        } else {
            nanos.saturating_sub(from - to)
        })
    }

    /// As [`Shift::time`], if there is one.
    pub(crate) fn maybe(self, time: Option<Time>) -> Option<Time> {
        time.map(|time| self.time(time))
    }

    /// What has to be added to a time of the new clock, modulo 2^64, for one of the old.
    pub(crate) const fn back(self) -> u64 {
        self.from.as_nanos().wrapping_sub(self.to.as_nanos())
    }
}
