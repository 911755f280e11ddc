//! The saved form of the transmit side: what does not follow from its registers.

use serde::{Deserialize, Serialize};

use super::{
    QUEUES, Transmit,
    counters::Tally,
    queue::{self, Queue},
    scheduler::{self, Scheduler},
};
use crate::{
    queue_counts::{QueueCount, QueueCounts},
    regs::RegisterFile,
    state::{
        Shift, StateError,
        sparse::{self, Sparse},
    },
    time::Time,
};

/// The saved form of the transmit side.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    queues: Sparse<queue::Saved>,
    runnable: u128,
    accumulating: u128,
    write_back_at: Option<Time>,
    turn: u32,
    scheduler: scheduler::Saved,
    queue_counts: Sparse<QueueCount>,
}

impl Transmit {
    /// The saved form. What has been counted is in registers, but for what each queue has.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            queues,
            runnable,
            stuck,
            accumulating,
            write_back_at,
            turn,
            scheduler,
            framer: _,
            tally,
        } = self;
        Saved {
            queues: sparse::save(queues, Queue::save),
            // A fault is not saved, and neither is what it has stopped.
            runnable: *runnable | *stuck,
            accumulating: *accumulating,
            write_back_at: *write_back_at,
            turn: *turn,
            scheduler: scheduler.save(),
            queue_counts: tally.queues().save(),
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(
        saved: Saved,
        shift: Shift,
        regs: &RegisterFile,
    ) -> Result<Self, StateError> {
        let Saved {
            queues,
            runnable,
            accumulating,
            write_back_at,
            turn,
            scheduler,
            queue_counts,
        } = saved;
        StateError::unless(turn < QUEUES, "turn", "there are 128 queues")?;
        let mut transmit = Self {
            runnable,
            accumulating,
            write_back_at: shift.maybe(write_back_at),
            turn,
            scheduler: Scheduler::restore(scheduler, shift, regs)
                .map_err(|error| error.within("scheduler"))?,
            tally: Tally::settled(
                QueueCounts::restore(queue_counts).map_err(|error| error.within("queue_counts"))?,
            ),
            ..Self::default()
        };
        sparse::restore(queues, &mut transmit.queues, |saved, queue| {
            queue.restore(saved, shift, regs)
        })
        .map_err(|error| error.within("queues"))?;
        let marked = transmit
            .queues
            .iter()
            .zip(0_u32..)
            .all(|(queue, index)| runnable >> index & 1 == 0 || queue.is_runnable());
        StateError::unless(marked, "runnable", "a queue that has nothing to do")?;
        Ok(transmit)
    }
}
