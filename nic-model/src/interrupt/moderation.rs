//! Interrupt moderation by EITR (7.3.2.1).

use ixgbe_spec::register::{Reg, bits::eitr};

use crate::{regs::RegisterFile, time::Time};

/// When each vector's counter reaches zero.
#[derive(Debug)]
pub(super) struct Moderation {
    expiry: [Time; Self::COUNTERS],
}

impl Default for Moderation {
    fn default() -> Self {
        Self {
            expiry: [Time::ZERO; Self::COUNTERS],
        }
    }
}

impl Moderation {
    /// EITR 0 to 63 are those of the PF's vectors; the further ones are of VFs.
    const COUNTERS: usize = 64;

    pub(super) fn reset(&mut self) {
        let Self { expiry } = self;
        expiry.fill(Time::ZERO);
    }

    /// Until when a signal of `vector` has to wait, if at all.
    pub(super) fn holds(&self, vector: usize, now: Time, regs: &RegisterFile) -> Option<Time> {
        let expiry = *self.expiry.get(vector)?;
        (expiry > now && interval(vector, regs) != 0).then_some(expiry)
    }

    /// `vector` has signalled: its counter starts from the interval.
    pub(super) fn fired(&mut self, vector: usize, now: Time, regs: &RegisterFile) {
        if let Some(expiry) = self.expiry.get_mut(vector) {
            *expiry = now.plus_nanos(interval(vector, regs) * eitr::UNIT_NANOS);
        }
    }

    /// The counter of `vector` in its place in EITR (the 7 most significant of its 9 bits).
    pub(super) fn counter(&self, vector: usize, now: Time) -> u32 {
        let left = self.expiry.get(vector).map_or(0, |expiry| {
            expiry
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
            && let Some(expiry) = self.expiry.get_mut(vector)
        {
            let counter = u64::from(value >> eitr::COUNTER_SHIFT & eitr::COUNTER_MASK) << 2;
            *expiry = now.plus_nanos(counter * eitr::UNIT_NANOS);
        }
    }
}

/// The interval of `vector` in units of 2.048 us; 0 is no moderation.
fn interval(vector: usize, regs: &RegisterFile) -> u64 {
    u64::from(regs.get(Reg::EITR, vector) >> eitr::INTERVAL_SHIFT & eitr::INTERVAL_MASK)
}
