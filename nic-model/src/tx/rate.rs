//! Rate limits of transmit queues (7.7.2.2).
//!
//! A queue with a limit leaves, after each frame, as long a gap as the frame would take at its rate: the link's, divided
//! by the rate factor of RTTBCNRC. Frames count from the destination address to the FCS.
//!
//! Where the datasheet leaves a choice, and where the model differs:
//! - A queue that waits only for its limit loses nothing when the model is called late: its next frame counts as sent when
//!   it was due, if that is not longer ago than a millisecond.
//! - A queue that had nothing to send makes up for at most what RTTQCNRM says, in KB at the speed of the link.
//! - Frames that a wire segments itself leave at once, and the gap after them is that of all of them.

use ixgbe_spec::register::{
    Reg,
    bits::{links, rttbcnrc, rttqcnrm},
};
use serde::{Deserialize, Serialize};

use super::QUEUES;
use crate::{
    hw::Hw,
    regs::RegisterFile,
    state::{
        Shift, StateError,
        sparse::{self, Sparse},
    },
    time::Time,
};

/// How late the model may be called so that a queue's rate is still exact, in ns.
const LATEST: u128 = 1_000_000;

/// Parts of a nanosecond that are counted.
const TICK: u64 = 10 << rttbcnrc::RF_INT_SHIFT;

/// The limits of all queues.
#[derive(Debug)]
pub(super) struct Limits {
    limits: Vec<Limit>,
    /// Queues that have one.
    limited: u128,
}

/// The limit of a queue.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    /// RTTBCNRC.
    control: u32,
    /// When the next frame may leave.
    next: Time,
    /// What is less than a nanosecond of it.
    rest: u64,
    /// Whether the queue had more to send when it sent last.
    busy: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            limits: vec![Limit::default(); QUEUES as usize],
            limited: 0,
        }
    }
}

impl Limits {
    /// Puts everything back to the state after a reset of the function.
    pub(super) fn reset(&mut self) {
        let Self { limits, limited } = self;
        limits.fill(Limit::default());
        *limited = 0;
    }

    /// The saved form.
    pub(super) fn save(&self) -> Sparse<Limit> {
        let Self { limits, limited: _ } = self;
        sparse::changed(limits)
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// A queue that there is not.
    pub(super) fn restore(saved: Sparse<Limit>, shift: Shift) -> Result<Self, StateError> {
        let mut restored = Self::default();
        sparse::restore(saved, &mut restored.limits, |limit, place| {
            let whole = limit.rest < TICK;
            StateError::unless(whole, "rest", "a nanosecond or more")?;
            *place = Limit {
                next: shift.time(limit.next),
                ..limit
            };
            Ok(())
        })?;
        let limits = restored.limits.iter().zip(0_u32..);
        restored.limited = limits
            .filter(|(limit, _)| limit.control & rttbcnrc::RS_ENA != 0)
            .fold(0, |limited, (_, queue)| limited | 1 << queue);
        Ok(restored)
    }

    /// Whether any queue has a limit.
    pub(super) fn is_empty(&self) -> bool {
        self.limited == 0
    }

    /// Whether a queue has one.
    pub(super) fn has(&self, queue: u32) -> bool {
        self.limited >> queue & 1 == 1
    }

    /// RTTBCNRC of a queue.
    pub(super) fn control(&self, queue: usize) -> u32 {
        self.limits.get(queue).map_or(0, |limit| limit.control)
    }

    /// Software has written RTTBCNRC of a queue.
    pub(super) fn set(&mut self, queue: usize, control: u32) {
        if let Some(limit) = self.limits.get_mut(queue) {
            *limit = Limit {
                control,
                ..Limit::default()
            };
            let enabled = u128::from(control & rttbcnrc::RS_ENA != 0);
            self.limited = self.limited & !(1 << queue) | enabled << queue;
        }
    }

    /// Which of `queues` have to wait, and until when the first of them.
    pub(super) fn waiting(&self, queues: u128, now: Time) -> (u128, Option<Time>) {
        let mut waiting = 0;
        let mut first = None;
        let mut left = queues & self.limited;
        while left != 0 {
            let queue = left.trailing_zeros();
            left &= left - 1;
            if let Some(limit) = self.limits.get(queue as usize)
                && limit.next > now
            {
                waiting |= 1 << queue;
                first = Some(first.map_or(limit.next, |first: Time| first.min(limit.next)));
            }
        }
        (waiting, first)
    }

    /// A queue has sent so many bytes; with `idle` it has no more.
    pub(super) fn sent(&mut self, queue: u32, bytes: usize, idle: bool, hw: &Hw<'_>) {
        if !self.has(queue) {
            return;
        }
        let Hw { now, regs, .. } = hw;
        let Some(limit) = self.limits.get_mut(queue as usize) else {
            return;
        };
        let window = if limit.busy {
            LATEST
        } else {
            compensation(regs)
        };
        if now.since(limit.next).as_nanos() > window {
            limit.next = *now;
            limit.rest = 0;
        }
        limit.busy = !idle;
        // The link is never faster than itself.
        let factor = (limit.control & rttbcnrc::RF).max(1 << rttbcnrc::RF_INT_SHIFT);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let ticks = bytes
            .saturating_mul(byte_nanos_in_tenths(regs) * u64::from(factor))
            .saturating_add(limit.rest);
        limit.next = limit.next.plus_nanos(ticks / TICK);
        limit.rest = ticks % TICK;
    }
}

/// How long a queue that had nothing to send may have been late, in ns.
fn compensation(regs: &RegisterFile) -> u128 {
    let size = u128::from(regs.get(Reg::RTTQCNRM, 0) & rttqcnrm::MMW_SIZE);
    size * 1024 * u128::from(byte_nanos_in_tenths(regs)) / 10
}

/// How long a byte takes on the link, in tenths of a nanosecond.
fn byte_nanos_in_tenths(regs: &RegisterFile) -> u64 {
    match regs.get(Reg::LINKS, 0) >> links::SPEED_SHIFT & links::SPEED_MASK {
        links::SPEED_1G => 80,
        links::SPEED_100M => 800,
        _ => 8,
    }
}
