//! What surrounds a port that is recorded: the same bus and wire, and all that passes is told.

use std::rc::Rc;

use super::{Act, Tape};
use crate::{
    bus::{Bus, DmaError, Iova, Requester, Right, Signal, Span, Spans, Window},
    wire::{Capabilities, Flow, RxFrame, TxFrame, Wire, WireBusy},
};

/// A bus whose accesses are told.
pub(super) struct RecordedBus<'a> {
    bus: &'a dyn Bus,
    tape: &'a Tape,
}

impl<'a> RecordedBus<'a> {
    pub(super) fn new(bus: &'a dyn Bus, tape: &'a Tape) -> Self {
        Self { bus, tape }
    }

    fn tell(&self, act: &Act<'_>) {
        // A recorder has no way to the bus, so this is not borrowed already.
        if let Ok(mut recorder) = self.tape.try_borrow_mut() {
            recorder.act(act);
        }
    }
}

impl Bus for RecordedBus<'_> {
    fn read(&self, by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        let read = self.bus.read(by, iova, to);
        self.tell(&Act::Read {
            by,
            iova,
            len: to.len(),
            result: read.map(|()| &*to),
        });
        read
    }

    fn write(&self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let result = self.bus.write(by, iova, from);
        self.tell(&Act::Write {
            by,
            iova,
            bytes: from,
            result,
        });
        result
    }

    fn write_back(&self, by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        let result = self.bus.write_back(by, iova, low, high);
        self.tell(&Act::WriteBack {
            by,
            iova,
            low,
            high,
            result,
        });
        result
    }

    fn gather<'a>(
        &'a self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        let mut pieces = Spans::new();
        let gathered = self.bus.gather(by, iova, len, &mut pieces);
        // The client may change its memory at any time: what is told is what is used.
        let mut bytes = Vec::new();
        if gathered.is_ok() {
            Span::append(&pieces, &mut bytes);
        }
        self.tell(&Act::Gather {
            by,
            iova,
            len,
            result: gathered.map(|()| bytes.as_slice()),
        });
        gathered?;
        spans.push(Span::Owned(Rc::from(bytes)));
        Ok(())
    }

    fn look(&self, iova: Iova) -> Option<Window<'_>> {
        self.bus.look(iova)
    }

    fn prefetch(&self, memory: &vm_memory::VolatileSlice<'_>, right: Right) {
        self.bus.prefetch(memory, right);
    }

    fn masters(&self) -> bool {
        self.bus.masters()
    }

    fn retire(&self) {
        self.bus.retire();
    }

    fn signal(&self, by: Requester, signal: Signal) {
        self.tell(&Act::Signal { by, signal });
        self.bus.signal(by, signal);
    }
}

/// A wire whose frames are told as they leave. What arrives is told where the port takes it.
pub(super) struct RecordedWire<'a> {
    wire: &'a mut dyn Wire,
    tape: &'a Tape,
}

impl<'a> RecordedWire<'a> {
    pub(super) fn new(wire: &'a mut dyn Wire, tape: &'a Tape) -> Self {
        Self { wire, tape }
    }
}

impl Wire for RecordedWire<'_> {
    fn capabilities(&self) -> Capabilities {
        let capabilities = self.wire.capabilities();
        if let Ok(mut recorder) = self.tape.try_borrow_mut() {
            recorder.act(&Act::Capabilities(capabilities));
        }
        capabilities
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let result = self.wire.transmit(frame);
        if let Ok(mut recorder) = self.tape.try_borrow_mut() {
            recorder.act(&Act::Sent { frame, result });
        }
        result
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.wire.receive(budget, sink)
    }

    fn carrier(&self) -> bool {
        self.wire.carrier()
    }
}
