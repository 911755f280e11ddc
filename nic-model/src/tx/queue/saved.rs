//! The saved form of a transmit queue: what does not follow from its registers.

use ixgbe_spec::{
    descriptor::tx::{Descriptor, Kind},
    register::Reg,
};
use serde::{Deserialize, Serialize};

use super::{BATCH, Done, MAX_PACKET_DESCRIPTORS, Queue};
use crate::{
    regs::RegisterFile,
    state::{Shift, StateError},
    time::Time,
    tx::write_back::Accumulated,
};

/// Segments of a packet, at most: its payload has 18 bits.
const MOST_SEGMENTS: usize = 1 << 18;

/// A queue that software has touched.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::tx) struct Saved {
    enabled: bool,
    stalled: bool,
    head: u32,
    tail: u32,
    rung: bool,
    /// The descriptors that wait to be written back.
    done: Vec<Done>,
    /// Until when they wait.
    until: Option<Time>,
    /// Context descriptors.
    contexts: [Option<[u64; 2]>; 2],
    /// The descriptors that were fetched and are not done, from the head on.
    fetched: Vec<[u64; 2]>,
    passing: bool,
    segments_sent: usize,
}

impl Queue {
    /// The saved form; `None` of a queue as after a reset.
    pub(in crate::tx) fn save(&self) -> Option<Saved> {
        let Self {
            index: _,
            enabled,
            stalled,
            base: _,
            len: _,
            head,
            tail,
            rung,
            head_write_back: _,
            accumulated,
            contexts,
            fetched,
            next,
            passing,
            segments_sent,
        } = self;
        let (done, until) = accumulated.save();
        let touched = *enabled || *stalled || *rung || !done.is_empty() || (*head, *tail) != (0, 0);
        touched.then(|| Saved {
            enabled: *enabled,
            stalled: *stalled,
            head: *head,
            tail: *tail,
            rung: *rung,
            done,
            until,
            contexts: contexts.map(|context| context.map(|context| words(&context.into()))),
            fetched: fetched.iter().skip(*next).map(words).collect(),
            passing: *passing,
            segments_sent: *segments_sent,
        })
    }

    /// Takes over the saved form, and the registers as they stand; the queue is as after a reset.
    pub(in crate::tx) fn restore(
        &mut self,
        saved: Saved,
        shift: Shift,
        regs: &RegisterFile,
    ) -> Result<(), StateError> {
        let Saved {
            enabled,
            stalled,
            head,
            tail,
            rung,
            done,
            until,
            contexts,
            fetched,
            passing,
            segments_sent,
        } = saved;
        let index = usize::from(self.index);
        self.set_ring(index, regs);
        self.set_head_write_back(index, regs);
        let inside = |position: u32| self.len == 0 || position < self.len;
        StateError::unless(inside(head), "head", "it lies outside of the ring")?;
        StateError::unless(inside(tail), "tail", "it lies outside of the ring")?;
        let most = MAX_PACKET_DESCRIPTORS + usize::try_from(BATCH).unwrap_or(0);
        StateError::unless(fetched.len() <= most, "fetched", "more than are ever held")?;
        let ring = self.len != 0 || fetched.is_empty();
        StateError::unless(ring, "fetched", "there is no ring that they could be of")?;
        let few = segments_sent <= MOST_SEGMENTS;
        StateError::unless(few, "segments_sent", "no packet has so many")?;
        let txdctl = regs.get(Reg::TXDCTL, index);
        self.accumulated = Accumulated::restore(done, shift.maybe(until), txdctl, self.len)?;
        self.enabled = enabled;
        self.stalled = stalled;
        self.head = head;
        self.tail = tail;
        self.rung = rung;
        for (slot, words) in self.contexts.iter_mut().zip(contexts) {
            *slot = match words.map(|words| descriptor(words).decode()) {
                None => None,
                Some(Kind::Context(context)) => Some(context),
                Some(_) => return Err(StateError::new("contexts", "no context descriptor")),
            };
        }
        self.fetched = fetched.into_iter().map(descriptor).collect();
        self.next = 0;
        self.passing = passing;
        self.segments_sent = segments_sent;
        Ok(())
    }
}

/// A descriptor's two words.
fn words(descriptor: &Descriptor) -> [u64; 2] {
    [descriptor.low.get(), descriptor.high.get()]
}

fn descriptor([low, high]: [u64; 2]) -> Descriptor {
    Descriptor {
        low: low.into(),
        high: high.into(),
    }
}
