//! Faults of interrupts, on their way to the bus.

use super::{CardFaults, FaultKind, Occasion, memory::MAX_HELD};
use crate::bus::{Requester, Signal};

impl CardFaults {
    /// Whether a signal goes out now. There is a limit to those that come late: one more is no occasion
    /// for it.
    pub(crate) fn lets_out(&mut self, by: Requester, signal: Signal) -> bool {
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
            let by_queue = self.aims.get(&armed.id()).copied().unwrap_or(u64::MAX);
            let aimed = match signal {
                Signal::MsiX(vector) => {
                    by_queue.checked_shr(vector.into()).unwrap_or(0) & 1 == 1
                        && fault.target.vector.is_none_or(|wanted| wanted == vector)
                }
                _ => by_queue != 0 && fault.target.vector.is_none(),
            };
            let is_late = fault.kind == FaultKind::InterruptLate;
            let possible = fault.kind.occasion() == Occasion::Interrupt
                && !(is_late && self.late_signals.len() >= MAX_HELD);
            if !possible || !aimed || !armed.takes(now) {
                continue;
            }
            if is_late && out {
                self.late_signals.push((now + fault.delay(), by, signal));
            }
            out = false;
        }
        out
    }
}
