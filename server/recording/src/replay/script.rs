//! What surrounds a port during a replay: it says what the recording says, and sees whether the port does the same.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use nic_model::{
    Bus, Wire,
    bus::{DmaError, Iova, Requester, Signal, Span, Spans},
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use super::{Counts, memory::Memory};
use crate::{
    code::{Broken, Fields},
    deed::{Deed, Digest, Reading, TAGS, Way, Writing},
};

/// Why a call cannot be replayed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The recording has one thing, the port does another.
    Differs {
        offset: u64,
        recorded: String,
        replayed: String,
    },
    /// The recording is broken.
    Broken(Broken),
}

/// The deeds of one call.
pub(super) struct Script<'a, 'm> {
    deeds: RefCell<Fields<'a>>,
    trouble: RefCell<Option<Trouble>>,
    memory: RefCell<&'m mut Memory>,
    counts: RefCell<&'m mut Counts>,
    /// The replay stops in the midst of a burst. What the port does at the end of it was recorded behind further frames,
    /// if at all, and is not compared.
    ends: Cell<bool>,
}

impl<'a, 'm> Script<'a, 'm> {
    pub(super) fn new(deeds: Fields<'a>, memory: &'m mut Memory, counts: &'m mut Counts) -> Self {
        Self {
            deeds: RefCell::new(deeds),
            trouble: RefCell::new(None),
            memory: RefCell::new(memory),
            counts: RefCell::new(counts),
            ends: Cell::new(false),
        }
    }

    /// What is left of the deeds, and what went wrong.
    pub(super) fn into_parts(self) -> (Fields<'a>, Option<Trouble>) {
        (self.deeds.into_inner(), self.trouble.into_inner())
    }

    /// The next frame that arrives, if that is what comes next.
    pub(super) fn next_frame(&self) -> Option<Deed<'a>> {
        if self.trouble.borrow().is_some() {
            return None;
        }
        let mut ahead = *self.deeds.borrow();
        // A deed that is broken is told by whoever wants it.
        let deed = Deed::decode(&mut ahead).ok()?;
        matches!(deed, Deed::Takes { .. }).then(|| {
            *self.deeds.borrow_mut() = ahead;
            self.count(|counts| &mut counts.arrived);
            deed
        })
    }

    /// The port does something. Returns what the recording has, if it is the same.
    pub(super) fn does(&self, deed: &Deed<'_>) -> Option<Deed<'a>> {
        if self.trouble.borrow().is_some() {
            return None;
        }
        let mut deeds = self.deeds.borrow_mut();
        let offset = deeds.offset();
        let trouble = if deeds.peek().is_some_and(|tag| TAGS.contains(&tag)) {
            match Deed::decode(&mut deeds) {
                Ok(recorded) if recorded.is_as(deed) => return Some(recorded),
                Ok(recorded) => Trouble::Differs {
                    offset,
                    recorded: recorded.to_string(),
                    replayed: deed.to_string(),
                },
                Err(broken) => Trouble::Broken(broken),
            }
        } else {
            Trouble::Differs {
                offset,
                recorded: "the end of the call".to_owned(),
                replayed: deed.to_string(),
            }
        };
        *self.trouble.borrow_mut() = Some(trouble);
        None
    }

    /// Whether the replay is to stop here, by what was counted. Then the port may finish what it has begun.
    pub(super) fn stops(&self, stop: impl FnOnce(&Counts) -> bool) -> bool {
        let stops = stop(&self.counts.borrow());
        self.ends.set(stops);
        stops
    }

    fn count(&self, counter: impl FnOnce(&mut Counts) -> &mut u64) {
        let mut counts = self.counts.borrow_mut();
        let counter = counter(&mut counts);
        *counter = counter.wrapping_add(1);
    }

    fn reads(&self, reading: Reading) -> Result<&'a [u8], DmaError> {
        let refused = DmaError::Refused {
            iova: reading.iova.0,
        };
        let deed = Deed::Reads(reading, Err(refused));
        let Some(Deed::Reads(_, result)) = self.does(&deed) else {
            return Err(refused);
        };
        let bytes = result?;
        self.count(|counts| &mut counts.reads);
        self.memory.borrow_mut().seen(reading.iova, bytes);
        // The file may say anything.
        if bytes.len() == reading.len {
            Ok(bytes)
        } else {
            Err(refused)
        }
    }

    fn writes(&self, writing: Writing, iova: Iova, bytes: &[u8]) -> Result<(), DmaError> {
        if !self.ends.get() {
            let deed = Deed::Writes(writing, Ok(()));
            let Some(Deed::Writes(_, result)) = self.does(&deed) else {
                return Err(DmaError::Refused { iova: iova.0 });
            };
            result?;
        }
        self.count(|counts| &mut counts.writes);
        self.memory.borrow_mut().seen(iova, bytes);
        Ok(())
    }
}

impl Bus for Script<'_, '_> {
    fn read(&self, by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        let (way, len) = (Way::Read, to.len());
        let bytes = self.reads(Reading { way, by, iova, len })?;
        to.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let bytes = Digest::of(from);
        self.writes(Writing::Bytes { by, iova, bytes }, iova, from)
    }

    fn write_back(&self, by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        let writing = Writing::Descriptor {
            by,
            iova,
            low,
            high,
        };
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        self.writes(writing, iova, &bytes)
    }

    fn gather<'b>(
        &'b self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'b>,
    ) -> Result<(), DmaError> {
        let way = Way::Gather;
        let bytes = self.reads(Reading { way, by, iova, len })?;
        spans.push(Span::Owned(Rc::from(bytes)));
        Ok(())
    }

    fn retire(&self) {}

    fn signal(&self, by: Requester, signal: Signal) {
        if self.ends.get() || self.does(&Deed::Signals(by, signal)).is_some() {
            self.count(|counts| &mut counts.interrupts);
        }
    }
}

/// The wire of a replay.
pub(super) struct Line<'s, 'a, 'm>(pub(super) &'s Script<'a, 'm>);

impl Wire for Line<'_, '_, '_> {
    fn capabilities(&self) -> Capabilities {
        match self.0.does(&Deed::Asks(Capabilities::default())) {
            Some(Deed::Asks(capabilities)) => capabilities,
            _ => Capabilities::default(),
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let deed = Deed::Sends {
            frame: Digest::of(&frame.to_vec()),
            offload: frame.offload,
            result: Ok(()),
        };
        match self.0.does(&deed) {
            Some(Deed::Sends { result, .. }) => {
                if result.is_ok() {
                    self.0.count(|counts| &mut counts.sent);
                }
                result
            }
            // Nothing goes on after a difference.
            _ => Err(WireBusy),
        }
    }

    fn receive(&mut self, _budget: usize, _sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        true
    }
}
