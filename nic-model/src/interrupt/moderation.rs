//! Interrupt moderation by EITR (7.3.2.1).
//!
//! The interval is time for the driver to do something else in, and drivers choose it for a processor that serves an
//! interrupt in a fraction of it. An emulated processor takes many times as long: the interval is over before the
//! driver has enabled the vector again, and the next interrupt would come at once, always. So a vector that is enabled
//! again rests for twice as long as the driver took, so that no more than a third of the time goes into interrupts, and
//! for twice the interval at most. A driver that takes less than a third of the interval sees the interval alone.

use ixgbe_spec::register::{Reg, bits::eitr};
use serde::{Deserialize, Serialize};

use crate::{
    regs::RegisterFile,
    state::{
        Shift, StateError,
        sparse::{self, Sparse},
    },
    time::Time,
};

/// One vector's state for each of EITR 0 to 63, those of the PF; the further ones are of VFs.
#[derive(Debug)]
pub(super) struct Moderation {
    vectors: [Vector; Self::COUNTERS],
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vector {
    /// When the counter reaches zero.
    expiry: Time,
    /// When the interrupt went out that the driver has not served yet.
    fired: Option<Time>,
    /// Until when a slow driver is left alone.
    rest: Time,
}

impl Vector {
    const IDLE: Self = Self {
        expiry: Time::ZERO,
        fired: None,
        rest: Time::ZERO,
    };
}

impl Default for Moderation {
    fn default() -> Self {
        Self {
            vectors: [Vector::IDLE; Self::COUNTERS],
        }
    }
}

impl Moderation {
    const COUNTERS: usize = 64;
    /// How much longer than the driver served the last interrupt it is left alone, and how much longer than the interval
    /// at most.
    const REST: u64 = 2;

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The saved form: the vectors that have signalled, or whose counter was written.
    pub(super) fn save(&self) -> Sparse<Vector> {
        sparse::save(&self.vectors, |vector| {
            (*vector != Vector::IDLE).then_some(*vector)
        })
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// A vector that there is not.
    pub(super) fn restore(saved: Sparse<Vector>, shift: Shift) -> Result<Self, StateError> {
        let mut moderation = Self::default();
        sparse::restore(saved, &mut moderation.vectors, |vector, place| {
            let Vector {
                expiry,
                fired,
                rest,
            } = vector;
            *place = Vector {
                expiry: shift.time(expiry),
                fired: shift.maybe(fired),
                rest: shift.time(rest),
            };
            Ok(())
        })?;
        Ok(moderation)
    }

    /// Until when a signal of `vector` has to wait, if at all.
    pub(super) fn holds(&self, vector: usize, now: Time, regs: &RegisterFile) -> Option<Time> {
        let Vector { expiry, rest, .. } = *self.vectors.get(vector)?;
        let until = expiry.max(rest);
        (until > now && interval(vector, regs) != 0).then_some(until)
    }

    /// When the interval of `vector` that runs now is over, or one that would begin now; `None` without moderation.
    pub(super) fn end(&self, vector: usize, now: Time, regs: &RegisterFile) -> Option<Time> {
        let interval = interval(vector, regs);
        let expiry = self.vectors.get(vector)?.expiry;
        match interval {
            0 => None,
            _ if expiry > now => Some(expiry),
            _ => Some(now.plus_nanos(interval)),
        }
    }

    /// `vector` has signalled: its counter starts from the interval.
    pub(super) fn fired(&mut self, vector: usize, now: Time, regs: &RegisterFile) {
        if let Some(state) = self.vectors.get_mut(vector) {
            state.expiry = now.plus_nanos(interval(vector, regs));
            state.fired = Some(now);
        }
    }

    /// The driver has enabled `vector` again, which it does when it has served its interrupt.
    pub(super) fn served(&mut self, vector: usize, now: Time, regs: &RegisterFile) {
        if let Some(state) = self.vectors.get_mut(vector)
            && let Some(fired) = state.fired.take()
        {
            let took = now.as_nanos().saturating_sub(fired.as_nanos());
            state.rest = now.plus_nanos(Self::REST * took.min(interval(vector, regs)));
        }
    }

    /// The counter of `vector` in its place in EITR (the 7 most significant of its 9 bits).
    pub(super) fn counter(&self, vector: usize, now: Time) -> u32 {
        let left = self.vectors.get(vector).map_or(0, |state| {
            state
                .expiry
                .since(now)
                .as_nanos()
                .div_ceil(u128::from(eitr::UNIT_NANOS))
        });
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        (left >> 2 & eitr::COUNTER_MASK) << eitr::COUNTER_SHIFT
    }

    /// Software has written EITR of `vector`.
    pub(super) fn written(
        &mut self,
        vector: usize,
        value: u32,
        now: Time,
        regs: &mut RegisterFile,
    ) {
        regs.set(Reg::EITR, vector, value & eitr::STORED);
        if value & eitr::CNT_WDIS == 0
            && let Some(state) = self.vectors.get_mut(vector)
        {
            let counter = u64::from(value >> eitr::COUNTER_SHIFT & eitr::COUNTER_MASK) << 2;
            state.expiry = now.plus_nanos(counter * eitr::UNIT_NANOS);
            state.rest = now;
        }
    }
}

/// The interval of `vector` in ns; 0 is no moderation.
fn interval(vector: usize, regs: &RegisterFile) -> u64 {
    let units = regs.get(Reg::EITR, vector) >> eitr::INTERVAL_SHIFT & eitr::INTERVAL_MASK;
    u64::from(units) * eitr::UNIT_NANOS
}
