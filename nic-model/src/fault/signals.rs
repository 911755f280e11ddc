//! Faults between the interrupts and the bus.

use std::cell::RefCell;

use vm_memory::VolatileSlice;

use super::{CardFaults, FaultKind, Occasion};
use crate::bus::{Bus, DmaError, Iova, Requester, Right, Signal, Spans, Window};

/// The bus, whose signals get lost or come late.
pub(crate) struct FaultySignals<'a> {
    bus: &'a dyn Bus,
    faults: RefCell<&'a mut CardFaults>,
}

impl<'a> FaultySignals<'a> {
    pub(crate) fn new(bus: &'a dyn Bus, faults: &'a mut CardFaults) -> Self {
        Self {
            bus,
            faults: RefCell::new(faults),
        }
    }
}

impl CardFaults {
    /// Whether a signal goes out now.
    fn lets_out(&mut self, by: Requester, signal: Signal) -> bool {
        if signal == Signal::IntxDeassert {
            // A pin that was to go active later stays as it is.
            let held = self.late_signals.len();
            self.late_signals
                .retain(|(_, _, late)| *late != Signal::IntxAssert);
            return self.late_signals.len() == held;
        }
        let now = self.now;
        let mut out = true;
        for armed in self.list.iter_mut() {
            let fault = *armed.fault();
            let aimed = match signal {
                Signal::MsiX(vector) => {
                    let by_queue = self.aims.get(&armed.id()).copied().unwrap_or(u64::MAX);
                    by_queue.checked_shr(vector.into()).unwrap_or(0) & 1 == 1
                        && fault.target.vector.is_none_or(|wanted| wanted == vector)
                }
                _ => fault.target.vector.is_none(),
            };
            let is_one = fault.kind.occasion() == Occasion::Interrupt;
            if !is_one || !aimed || !armed.takes(now) {
                continue;
            }
            if fault.kind == FaultKind::InterruptLate && out {
                self.late_signals.push((now + fault.delay(), by, signal));
            }
            out = false;
        }
        out
    }
}

impl Bus for FaultySignals<'_> {
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

    fn prefetch(&self, memory: &VolatileSlice<'_>, right: Right) {
        self.bus.prefetch(memory, right);
    }

    fn masters(&self) -> bool {
        self.bus.masters()
    }

    fn retire(&self) {
        self.bus.retire();
    }

    fn signal(&self, by: Requester, signal: Signal) {
        let out = self.faults.borrow_mut().lets_out(by, signal);
        if out {
            self.bus.signal(by, signal);
        }
    }
}
