//! Weighted round robin among the queues, or the VM pools, of a traffic class (RTTDT1C, 7.7.2.3).

use serde::{Deserialize, Serialize};

use super::QUEUES;
use crate::state::{
    StateError,
    sparse::{self, Sparse},
};

/// Bytes of a credit.
const CREDIT: i64 = 64;

/// What RTTDT1C says of each queue or pool, and what they have left of it.
#[derive(Debug)]
pub(super) struct Weights {
    each: Vec<Weight>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Weight {
    /// RTTDT1C: credits of a round.
    control: u32,
    /// Bytes that it may still send in this round; below 0 it has sent too much.
    left: i64,
}

impl Weight {
    fn refill(self) -> i64 {
        i64::from(self.control & 0x3FFF).max(1) * CREDIT
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            each: vec![Weight::default(); QUEUES as usize],
        }
    }
}

impl Weights {
    /// Puts everything back to the state after a reset of the function.
    pub(super) fn reset(&mut self) {
        let Self { each } = self;
        each.fill(Weight::default());
    }

    /// The saved form.
    pub(super) fn save(&self) -> Sparse<Weight> {
        let Self { each } = self;
        sparse::changed(each)
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// A queue that there is not, or more bytes than one can have sent.
    pub(super) fn restore(saved: Sparse<Weight>) -> Result<Self, StateError> {
        const MOST: u64 = 1 << 40;
        let mut weights = Self::default();
        sparse::restore(saved, &mut weights.each, |weight, place| {
            let few = weight.left.unsigned_abs() <= MOST;
            StateError::unless(few, "left", "more bytes than a turn has")?;
            *place = weight;
            Ok(())
        })?;
        Ok(weights)
    }

    /// RTTDT1C of a queue or pool.
    pub(super) fn control(&self, index: usize) -> u32 {
        self.each.get(index).map_or(0, |weight| weight.control)
    }

    /// Credits that a queue or pool has left, for RTTDT1S.
    pub(super) fn credits(&self, index: usize) -> i64 {
        self.each.get(index).map_or(0, |weight| weight.left) / CREDIT
    }

    /// Software has written RTTDT1C of a queue or pool.
    pub(super) fn set(&mut self, index: usize, control: u32) {
        if let Some(weight) = self.each.get_mut(index) {
            *weight = Weight { control, left: 0 };
        }
    }

    /// The queue of `queues`, which has at least one, that is next from `turn` on; the index of a queue is
    /// `index(queue)`.
    pub(super) fn next(&mut self, queues: u128, turn: u32, index: impl Fn(u32) -> usize) -> u32 {
        let each = &mut self.each;
        let in_turn = || (0..QUEUES).map(|ahead| (turn + ahead) % QUEUES);
        let ready = || in_turn().filter(|queue| queues >> queue & 1 == 1);
        let left = |each: &[Weight], queue| each.get(index(queue)).map_or(0, |weight| weight.left);
        if let Some(queue) = ready().find(|queue| left(each, *queue) > 0) {
            return queue;
        }
        // As many rounds as the first needs that gets above 0.
        let rounds = ready().filter_map(|queue| {
            let weight = each.get(index(queue))?;
            Some(-weight.left / weight.refill() + 1)
        });
        let rounds = rounds.min().unwrap_or(0);
        let mut done = 0_u128;
        for queue in ready() {
            let index = index(queue);
            if done >> index & 1 == 0
                && let Some(weight) = each.get_mut(index)
            {
                done |= 1 << index;
                weight.left = weight.left.saturating_add(rounds * weight.refill());
            }
        }
        let queue = ready().find(|queue| left(each, *queue) > 0);
        queue.unwrap_or(turn)
    }

    /// A queue or pool has sent so many bytes; returns whether it may go on. One that has no more to send (`idle`) keeps
    /// nothing.
    pub(super) fn sent(&mut self, index: usize, bytes: usize, idle: bool) -> bool {
        let Some(weight) = self.each.get_mut(index) else {
            return false;
        };
        weight.left = weight
            .left
            .saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        if idle {
            weight.left = weight.left.min(0);
        }
        weight.left > 0
    }
}
