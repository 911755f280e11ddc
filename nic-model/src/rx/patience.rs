//! How long the wire waits for descriptors, before the packet buffer runs over (7.1.4).
//!
//! A wire here may be as fast as the computer. While frames wait for descriptors, those behind them stay on the wire, so
//! that a driver that goes on posting descriptors sets the pace, and loses nothing. A driver that posts none for
//! [`PATIENCE`] gets what the card gives it without flow control: frames come on, the packet buffer fills, and what it
//! has no room for is lost and counted (MPC).

use serde::{Deserialize, Serialize};

use crate::{state::Shift, time::Time};

/// How long it waits while nothing gets into a ring, in nanoseconds: 100 ms, some hundred times what a driver's
/// interrupt takes, and less than anybody waits for a counter.
const PATIENCE: u64 = 100_000_000;

/// What the wire waits for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Patience {
    /// Nothing: no frame waits for descriptors.
    #[default]
    Idle,
    /// Descriptors, until this time.
    Waits(Time),
    /// Nothing any more: the time is over.
    Over,
}

impl Patience {
    /// On another clock.
    pub(super) fn restored(self, shift: Shift) -> Self {
        match self {
            Self::Waits(until) => Self::Waits(shift.time(until)),
            Self::Idle | Self::Over => self,
        }
    }

    /// A frame waits for descriptors.
    pub(super) fn begin(&mut self, now: Time) {
        if *self == Self::Idle {
            *self = Self::Waits(now.plus_nanos(PATIENCE));
        }
    }

    /// Frames that waited have gone; others wait, or not.
    pub(super) fn progress(&mut self, others: bool, now: Time) {
        *self = Self::Idle;
        if others {
            self.begin(now);
        }
    }

    /// Time has passed.
    #[inline]
    pub(super) fn step(&mut self, now: Time) {
        if let Self::Waits(until) = *self
            && until <= now
        {
            *self = Self::Over;
        }
    }

    /// Whether it is over.
    pub(super) fn is_over(self) -> bool {
        self == Self::Over
    }

    /// When it will be over.
    pub(super) const fn deadline(self) -> Option<Time> {
        match self {
            Self::Waits(until) => Some(until),
            Self::Idle | Self::Over => None,
        }
    }
}
