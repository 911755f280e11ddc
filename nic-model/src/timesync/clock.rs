//! The counter SYSTIM, its tick and its adjustment (7.9.3).

use ixgbe_spec::register::bits::{timadjh, timinca};
use serde::{Deserialize, Serialize};

use crate::{
    state::{Shift, StateError},
    time::Time,
};

/// The clock that drives the counter: one tick in tenths of a nanosecond. It depends on the speed of the link; without
/// a link it is that of 10 Gbit/s.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Tick {
    /// 6.4 ns, at 10 Gbit/s.
    #[default]
    TenGigabit,
    /// 64 ns, at 1 Gbit/s.
    Gigabit,
    /// 640 ns, at 100 Mbit/s.
    Fast,
}

impl Tick {
    const fn tenths(self) -> u64 {
        match self {
            Self::TenGigabit => 64,
            Self::Gigabit => 640,
            Self::Fast => 6400,
        }
    }
}

/// The longest step, in tenths of a nanosecond.
const LONGEST_STEP: u64 = Tick::Fast.tenths() * 255;

/// The counter: what it was at `since`, and how it goes on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    value: u64,
    since: Time,
    /// Tenths of a nanosecond of the next step that had passed at `since`.
    phase: u64,
    tick: Tick,
    /// TIMINCA: it grows by `increment` every `period` ticks; with a period of 0 it stands still.
    increment: u32,
    period: u32,
}

impl Clock {
    /// The counter at `now`.
    pub(super) fn at(&self, now: Time) -> u64 {
        self.advanced(now).0
    }

    /// When the counter is at `target` or past it, if nobody changes it; not before what was done to it last. `None` if
    /// that is never.
    pub(super) fn reaches(&self, target: u64) -> Option<Time> {
        let missing = target.saturating_sub(self.value);
        if missing == 0 {
            return Some(self.since);
        }
        if self.period == 0 || self.increment == 0 {
            return None;
        }
        let steps = u128::from(missing.div_ceil(self.increment.into()));
        // A step may have become shorter than what had passed of it.
        let tenths = (steps * u128::from(self.step())).saturating_sub(self.phase.into());
        let nanos = u64::try_from(tenths.div_ceil(10)).ok()?;
        let time = self.since.as_nanos().checked_add(nanos)?;
        Some(Time::from_nanos(time))
    }

    /// The clock ticks like this from now on. Returns whether that is a change.
    pub(super) fn set_tick(&mut self, tick: Tick, now: Time) -> bool {
        let changes = self.tick != tick;
        if changes {
            self.advance(now);
            self.tick = tick;
        }
        changes
    }

    /// TIMINCA is `timinca` from now on.
    pub(super) fn set_attributes(&mut self, timinca: u32, now: Time) {
        self.advance(now);
        self.increment = timinca & timinca::VALUE;
        self.period = timinca >> timinca::PERIOD_SHIFT;
    }

    /// Sets the counter.
    pub(super) fn set(&mut self, value: u64, now: Time) {
        self.advance(now);
        self.value = value;
    }

    /// Adds what is in TIMADJL and TIMADJH: a magnitude of 63 bits, and the sign.
    pub(super) fn adjust(&mut self, low: u32, high: u32, now: Time) {
        self.advance(now);
        let magnitude = u64::from(high & !timadjh::SIGN) << 32 | u64::from(low);
        self.value = if high & timadjh::SIGN == 0 {
            self.value.wrapping_add(magnitude)
        } else {
            self.value.wrapping_sub(magnitude)
        };
    }

    /// On another clock.
    ///
    /// # Errors
    /// It has no such tick.
    pub(super) fn restored(self, shift: Shift) -> Result<Self, StateError> {
        let phase = self.phase < LONGEST_STEP;
        StateError::unless(phase, "phase", "it is longer than any step")?;
        let period = self.period <= u8::MAX.into();
        StateError::unless(period, "period", "it is longer than TIMINCA can say")?;
        Ok(Self {
            since: shift.time(self.since),
            ..self
        })
    }

    /// Counts up to `now`.
    pub(super) fn advance(&mut self, now: Time) {
        (self.value, self.phase) = self.advanced(now);
        self.since = now;
    }

    /// Tenths of a nanosecond from one growth to the next.
    fn step(&self) -> u64 {
        self.tick.tenths() * u64::from(self.period)
    }

    /// Counter and phase at `now`.
    fn advanced(&self, now: Time) -> (u64, u64) {
        if self.period == 0 {
            return (self.value, 0);
        }
        let step = self.step();
        // Nanoseconds of 64 bits, so neither their tenths nor the steps overflow.
        let tenths = now.since(self.since).as_nanos() * 10 + u128::from(self.phase);
        let steps = tenths / u128::from(step);
        let phase = tenths % u128::from(step);
        let grown = u64::try_from(steps)
            .unwrap_or(u64::MAX)
            .wrapping_mul(self.increment.into());
        let phase = u64::try_from(phase).unwrap_or(0);
        (self.value.wrapping_add(grown), phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux writes at 10 Gbit/s: 6.4 ns in units of 2^-21 ns.
    const LINUX_10G: u32 = 1 << 24 | 0xCC_CCCC;
    /// What it writes at 1 Gbit/s: 64 ns in units of 2^-17 ns.
    const LINUX_1G: u32 = 1 << 24 | 0x80_0000;

    fn nanos(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    fn running(timinca: u32) -> Clock {
        let mut clock = Clock::default();
        clock.set_attributes(timinca, Time::ZERO);
        clock
    }

    #[test]
    fn it_stands_still_until_there_is_a_period() {
        assert_eq!(running(0).at(nanos(1_000_000)), 0);
        assert_eq!(running(0x00FF_FFFF).at(nanos(1_000_000)), 0);
    }

    #[test]
    fn it_grows_in_whole_steps_of_6_4_nanoseconds() {
        let clock = running(1 << 24 | 10);
        assert_eq!(clock.at(nanos(6)), 0);
        assert_eq!(clock.at(nanos(7)), 10);
        assert_eq!(clock.at(nanos(31)), 40);
        assert_eq!(clock.at(nanos(32)), 50);
    }

    #[test]
    fn a_period_of_several_ticks_makes_longer_steps() {
        let clock = running(5 << 24 | 7);
        assert_eq!(clock.at(nanos(31)), 0);
        assert_eq!(clock.at(nanos(32)), 7);
        assert_eq!(clock.at(nanos(64)), 14);
    }

    #[test]
    fn with_linuxs_increments_a_second_is_a_second_at_either_speed() {
        let ten = running(LINUX_10G);
        let mut one = running(LINUX_1G);
        one.set_tick(Tick::Gigabit, Time::ZERO);

        // 24 bits hold 6.4 ns to 5 parts in 10^8.
        let second = ten.at(nanos(1_000_000_000)) >> 21;
        assert!((999_999_900..=1_000_000_000).contains(&second), "{second}");
        assert_eq!(one.at(nanos(1_000_000_000)) >> 17, 1_000_000_000);
    }

    #[test]
    fn a_new_increment_counts_from_its_write_and_no_part_of_a_tick_is_lost() {
        let mut clock = running(1 << 24 | 1);
        for now in 1..=32 {
            clock.set_attributes(1 << 24 | 1, nanos(now));
        }
        assert_eq!(clock.at(nanos(32)), 5);
        clock.set_attributes(1 << 24 | 1000, nanos(32));
        assert_eq!(clock.at(nanos(64)), 5005);
    }

    #[test]
    fn the_adjustment_is_a_magnitude_and_a_sign() {
        let mut clock = Clock::default();
        clock.set(0x10_0000_0000, Time::ZERO);
        clock.adjust(5, 1, Time::ZERO);
        assert_eq!(clock.at(Time::ZERO), 0x11_0000_0005);
        clock.adjust(6, 1 << 31 | 2, Time::ZERO);
        assert_eq!(clock.at(Time::ZERO), 0x0E_FFFF_FFFF);
    }

    #[test]
    fn a_target_is_reached_in_the_nanosecond_after_the_step_that_brings_it() {
        let mut clock = running(1 << 24 | 10);
        // An odd phase: 0.6 ns of a tick have passed.
        clock.set(100, nanos(7));

        for target in [101, 110, 111, 150, 151, 1_000_000] {
            let time = clock.reaches(target).unwrap();
            let before = nanos(time.as_nanos() - 1);
            assert!(clock.at(time) >= target, "{target}");
            assert!(clock.at(before) < target, "{target}");
        }
    }

    #[test]
    fn a_target_in_the_past_is_reached_at_once_and_one_too_far_away_never() {
        let clock = running(1 << 24 | 1);
        assert_eq!(clock.reaches(0), Some(Time::ZERO));
        assert_eq!(clock.reaches(u64::MAX), None);
        assert_eq!(running(1 << 24).reaches(1), None);
        assert_eq!(running(10).reaches(1), None);
    }

    #[test]
    fn a_shorter_step_takes_what_has_passed_of_the_longer_one() {
        let mut clock = running(255 << 24 | 1);
        clock.set_attributes(1 << 24 | 1, nanos(1600));

        let reached = clock.reaches(3);

        assert_eq!(reached, Some(nanos(1600)));
        assert_eq!(clock.at(nanos(1600)), 250);
    }

    #[test]
    fn a_clock_that_has_run_for_long_goes_on_by_a_younger_one() {
        let second = |seconds: u64| nanos(seconds * 1_000_000_000);
        let mut clock = running(1 << 24 | 64);
        clock.advance(second(1000));
        let before = clock.at(second(1000));

        let restored = clock.restored(Shift::new(second(1000), second(1))).unwrap();

        assert_eq!(restored.at(second(1)), before);
        assert_eq!(restored.at(second(2)), before + 10_000_000_000);
    }

    #[test]
    fn it_wraps_at_64_bits() {
        let mut clock = running(1 << 24 | 2);
        clock.set(u64::MAX, Time::ZERO);
        assert_eq!(clock.at(nanos(7)), 1);
        assert_eq!(clock.at(nanos(u64::MAX)), {
            let steps = u128::from(u64::MAX) * 10 / 64;
            u64::try_from((u128::from(u64::MAX) + 2 * steps) & u128::from(u64::MAX)).unwrap()
        });
    }
}
