//! A bus whose interrupts are told to observers.

use std::cell::RefCell;

use super::{Event, Observers};
use crate::{
    bus::{Bus, DmaError, Iova, Requester, Right, Signal, Spans, Window},
    time::Time,
};

/// The port's bus, while someone looks on.
pub(crate) struct Told<'a> {
    bus: &'a dyn Bus,
    now: Time,
    observers: RefCell<&'a mut Observers>,
}

impl<'a> Told<'a> {
    /// The same bus, whose signals are told.
    pub(crate) fn new(bus: &'a dyn Bus, now: Time, observers: &'a mut Observers) -> Self {
        Self {
            bus,
            now,
            observers: RefCell::new(observers),
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
        // An observer has no way to the bus, so this is not borrowed already.
        if let Ok(mut observers) = self.observers.try_borrow_mut() {
            observers.see(self.now, &Event::Interrupt { by, signal });
        }
        self.bus.signal(by, signal);
    }
}
