//! A bus whose interrupts are told to observers, if faults let them out.

use std::cell::RefCell;

use super::{Event, Observers};
use crate::{
    bus::{Bus, DmaError, Iova, Requester, Right, Signal, Spans, Window},
    fault::CardFaults,
    time::Time,
};

/// The port's bus, while someone looks on or something goes wrong.
pub(crate) struct Told<'a> {
    bus: &'a dyn Bus,
    now: Time,
    observers: RefCell<&'a mut Observers>,
    faults: Option<RefCell<&'a mut CardFaults>>,
}

impl<'a> Told<'a> {
    /// The same bus, whose signals are told, unless `faults` have them lost or late.
    pub(crate) fn new(
        bus: &'a dyn Bus,
        now: Time,
        observers: &'a mut Observers,
        faults: Option<&'a mut CardFaults>,
    ) -> Self {
        Self {
            bus,
            now,
            observers: RefCell::new(observers),
            faults: faults.map(RefCell::new),
        }
    }
}

impl Bus for Told<'_> {
    fn read(&self, by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        self.bus.read(by, iova, to)
    }

    fn write(&self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        self.bus.write(by, iova, from)
    }

    fn write_back(&self, by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        self.bus.write_back(by, iova, low, high)
    }

    fn gather<'b>(
        &'b self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'b>,
    ) -> Result<(), DmaError> {
        self.bus.gather(by, iova, len, spans)
    }

    fn window(&self, by: Requester, iova: Iova, right: Right) -> Option<Window<'_>> {
        self.bus.window(by, iova, right)
    }

    fn look(&self, iova: Iova) -> Option<Window<'_>> {
        self.bus.look(iova)
    }

    fn retire(&self) {
        self.bus.retire();
    }

    fn signal(&self, by: Requester, signal: Signal) {
        // Faults and observers have no way to the bus, so these are not borrowed already.
        if let Some(faults) = &self.faults
            && let Ok(mut faults) = faults.try_borrow_mut()
            && !faults.lets_out(by, signal)
        {
            return;
        }
        if let Ok(mut observers) = self.observers.try_borrow_mut() {
            observers.see(self.now, &Event::Interrupt { by, signal });
        }
        self.bus.signal(by, signal);
    }
}
