//! Receive side coalescing: segments of a TCP connection that follow one another become one large packet (7.11).
//!
//! The first segment of a flow opens a context, if its packet is one of those that can be coalesced
//! ([`Segment`]). Those that continue it are put behind it, without their headers. When the large receive ends, its
//! headers are rewritten and its last descriptor is written back: a large receive is one packet to the driver.
//!
//! It ends when
//! - a segment of its flow comes that cannot be coalesced or does not continue it, which itself is then delivered or
//!   opens the next one;
//! - the next segment does not fit: 64 KB, RSCCTL.MAXDESC, or 14 packets that begin in one descriptor;
//! - the ring runs low (SRRCTL.RDMTS) or has too few descriptors;
//! - the EITR interval of its queue's vector is over, or that vector signals for any reason;
//! - the queue's registers are written, or RFCTL.RSC_DIS is.
//!
//! An interval of 0, a queue without a vector and RSCINT.RSCEN of 0 are the same: nothing would end a large receive, so
//! none begins.
//!
//! Statistics count packets, not large receives. On the card the interrupt follows the end of the interval by
//! GPIE.RSC_DELAY, to give the write-backs time; here they are there at once.
//!
//! Descriptors of a queue can thus be done out of order. The driver looks at them in order, and the same interval ends
//! all large receives of a queue.

mod context;
mod segment;

pub(super) use context::Saved;
pub(crate) use context::{Aging, Arrival};
pub(crate) use segment::Segment;

use context::{Context, Next};

use super::ring::{Queue, Stop, Supply};
use crate::{
    hw::Hw,
    state::{Shift, StateError},
    time::Time,
};

/// Flows that are coalesced at a time (7.11).
const CONTEXTS: usize = 32;

/// What has become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coalesced {
    /// It is part of a large receive.
    Yes,
    /// It is to be delivered as a packet of its own.
    No,
}

/// All large receives that are being made, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Coalescing {
    contexts: Vec<Context>,
}

impl Coalescing {
    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        let Self { contexts } = self;
        contexts.clear();
    }

    /// The saved form.
    pub(super) fn save(&self) -> Vec<Saved> {
        let Self { contexts } = self;
        contexts.iter().map(Context::save).collect()
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// More large receives than there can be, or one that cannot be.
    pub(super) fn restore(saved: Vec<Saved>, shift: Shift) -> Result<Self, StateError> {
        let few = saved.len() <= CONTEXTS;
        StateError::unless(few, "len", format!("there are {CONTEXTS} at most"))?;
        let contexts = saved
            .into_iter()
            .enumerate()
            .map(|(nth, saved)| Context::restore(saved, shift).map_err(|error| error.within(nth)));
        Ok(Self {
            contexts: contexts.collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// When [`Coalescing::age`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.contexts
            .iter()
            .map(|context| context.aging.until)
            .min()
    }

    /// Takes a packet for queue `index`: into its flow's large receive, or as the first of one.
    ///
    /// # Errors
    /// As [`Queue::deliver`].
    pub(crate) fn take(
        &mut self,
        queues: &mut [Queue],
        index: usize,
        arrival: &Arrival<'_>,
        hw: &mut Hw<'_>,
    ) -> Result<Coalesced, Stop> {
        let segment = arrival.segment;
        let before = queues.get(index).map_or(0, Queue::posted);
        let mut next = None;
        if let Some(at) = self.contexts.iter().position(|open| open.is_of(segment)) {
            next = self.append(at, queues, index, arrival, hw)?;
            if next != Some(Next::More) {
                self.complete_at(at, queues, hw);
            }
        }
        let Some(queue) = queues.get_mut(index) else {
            return Ok(Coalesced::No);
        };
        if next.is_none() {
            if !segment.viable || self.contexts.len() == CONTEXTS {
                return Ok(Coalesced::No);
            }
            let Some(aging) = hw.irq.aging(hw.regs, index, hw.now) else {
                return Ok(Coalesced::No);
            };
            let Some(context) = Context::open(arrival, aging, queue, hw)? else {
                return Ok(Coalesced::No);
            };
            self.contexts.push(context);
        }
        if queue.supply(before) == Supply::Low {
            self.complete_queue(index, queues, hw);
            hw.irq.rx_queue_low_latency(hw.regs, index);
        }
        Ok(Coalesced::Yes)
    }

    fn append(
        &mut self,
        at: usize,
        queues: &mut [Queue],
        index: usize,
        arrival: &Arrival<'_>,
        hw: &mut Hw<'_>,
    ) -> Result<Option<Next>, Stop> {
        let (Some(queue), Some(context)) = (queues.get_mut(index), self.contexts.get_mut(at))
        else {
            return Ok(None);
        };
        if context.accepts(queue, arrival.segment, arrival.outcome, hw.regs) {
            context.append(arrival, queue, hw)
        } else {
            Ok(None)
        }
    }

    /// Ends those whose interval is over.
    pub(crate) fn age(&mut self, queues: &mut [Queue], hw: &mut Hw<'_>) {
        let now = hw.now;
        self.complete(queues, hw, |context| context.aging.until <= now);
    }

    /// Ends those of the queues of `vectors`, which are about to signal.
    pub(crate) fn complete_vectors(&mut self, vectors: u64, queues: &mut [Queue], hw: &mut Hw<'_>) {
        self.complete(queues, hw, |context| {
            vectors >> context.aging.vector & 1 != 0
        });
    }

    /// Ends those of a queue.
    pub(crate) fn complete_queue(&mut self, index: usize, queues: &mut [Queue], hw: &mut Hw<'_>) {
        self.complete(queues, hw, |context| usize::from(context.queue) == index);
    }

    /// Ends all of them.
    pub(crate) fn complete_all(&mut self, queues: &mut [Queue], hw: &mut Hw<'_>) {
        self.complete(queues, hw, |_| true);
    }

    fn complete(&mut self, queues: &mut [Queue], hw: &mut Hw<'_>, ends: impl Fn(&Context) -> bool) {
        let mut at = 0;
        while let Some(context) = self.contexts.get(at) {
            if ends(context) {
                self.complete_at(at, queues, hw);
            } else {
                at += 1;
            }
        }
    }

    fn complete_at(&mut self, at: usize, queues: &mut [Queue], hw: &mut Hw<'_>) {
        let context = self.contexts.remove(at);
        let index = usize::from(context.queue);
        // A ring that could not be accessed is not touched any more.
        if let Some(queue) = queues.get_mut(index)
            && queue.is_running()
            && context.complete(queue, hw).is_ok()
        {
            hw.irq.rx_queue(hw.regs, index);
        }
        hw.dma.retire();
    }
}
