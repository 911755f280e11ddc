//! Faults that somebody asks for: what concerns the whole port.

use ixgbe_spec::register::{Reg, bits::ctrl};

use super::{Context, Port, Reset};
use crate::{
    bus::{Bus, Requester, Signal},
    fault::{CardFaults, Deed, Fault, FaultKind, FaultReport, TooManyFaults},
    link::Module,
    observe::Told,
    pci::Delivery,
    record::{Answer, Call},
    time::Time,
};

impl Port {
    /// Lets the card have a fault from now on; `id` is the caller's number for it. Faults of the wire are the wire's.
    ///
    /// # Errors
    /// [`TooManyFaults`].
    pub fn add_fault(
        &mut self,
        id: u64,
        fault: Fault,
        context: &mut Context<'_>,
    ) -> Result<(), TooManyFaults> {
        if self.recording.is_on() {
            let add =
                |port: &mut Self, context: &mut Context<'_>| port.add_fault(id, fault, context);
            return self.recorded(&Call::AddFault { id, fault }, context, add, |added| {
                Answer::Count(added.is_ok().into())
            });
        }
        let now = context.now;
        self.injected.get_or_insert_default().add(id, fault, now)?;
        self.advance_faults(context);
        self.deliver(context);
        Ok(())
    }

    /// The faults that were asked for and not cleared, oldest first.
    #[must_use]
    pub fn fault_reports(&self) -> Vec<FaultReport> {
        let faults = self.injected.as_ref();
        faults.map_or_else(Vec::new, |faults| faults.reports())
    }

    /// Whether there are faults, or something that one has begun is still to end: an interrupt that is late, a write-back that
    /// is held, a reset that is slow.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        let faults = self.injected.as_ref();
        faults.is_some_and(|faults| !faults.is_empty())
    }

    /// Ends the fault of this number, or all of them, with what lasts of it: what was drawn, flipped or stopped is as before,
    /// and write-backs that were held go out. Interrupts that are late come when they are due, and a slow reset ends in its
    /// time. Returns how many there were.
    pub fn clear_faults(&mut self, id: Option<u64>, context: &mut Context<'_>) -> usize {
        if self.recording.is_on() {
            let clear = |port: &mut Self, context: &mut Context<'_>| port.clear_faults(id, context);
            return self.recorded(&Call::ClearFaults(id), context, clear, |cleared| {
                Answer::Count(*cleared as u64)
            });
        }
        let Some(faults) = &mut self.injected else {
            return 0;
        };
        let cleared = faults.clear(id);
        for armed in &cleared {
            self.end_fault(armed.id(), armed.fault().kind, context);
            self.restore_nvm(armed.id());
        }
        self.advance_faults(context);
        self.deliver(context);
        cleared.len()
    }

    /// Does what faults have due.
    #[cold]
    pub(super) fn advance_faults(&mut self, context: &Context<'_>) {
        let now = context.now;
        let Some(faults) = &mut self.injected else {
            return;
        };
        let (deeds, ended) = faults.advance(now);
        if self.pci.masters() {
            faults.write_back_due(now, context.bus);
        }
        let late = faults.signals_due(now);
        if !late.is_empty() {
            let bus = Told::new(context.bus, now, &mut self.observers, None);
            for (by, signal) in late {
                bus.signal(by, signal);
            }
        }
        let is_reset = faults.reset_is_done(now);
        for (id, kind) in ended {
            self.end_fault(id, kind, context);
        }
        for deed in deeds {
            self.do_fault(deed, context);
        }
        if is_reset {
            // What was written meanwhile is lost.
            self.reset_told(Reset::Device, context);
        }
        if self
            .injected
            .as_ref()
            .is_some_and(|faults| faults.is_empty())
        {
            self.injected = None;
        }
    }

    fn do_fault(&mut self, deed: Deed, context: &Context<'_>) {
        let now = context.now;
        match deed {
            Deed::DrawModule(id) => {
                let module = self.module();
                self.with_faults(|faults| faults.draws(id, module));
                if module != Module::Absent {
                    self.with_link(|link, regs, irq| {
                        link.set_module(Module::Absent, now, regs, irq);
                    });
                }
            }
            Deed::Signal(vector) if self.pci.masters() => {
                let signals: &[Signal] = match self.pci.delivery() {
                    Delivery::MsiX => &[Signal::MsiX(vector)],
                    Delivery::Msi => &[Signal::Msi],
                    // The pin that is active already cannot go active.
                    Delivery::Intx if self.pci.intx_is_active() => &[],
                    Delivery::Intx => &[Signal::IntxAssert, Signal::IntxDeassert],
                };
                let bus = Told::new(context.bus, now, &mut self.observers, None);
                for signal in signals {
                    bus.signal(Requester::Pf, *signal);
                }
            }
            Deed::Signal(_) => {}
            Deed::FlipNvm(id, number) => {
                let (word, bit) = self.nvm.flip(number);
                self.with_faults(|faults| faults.flipped(id, word, bit));
            }
            Deed::Error(error) => {
                self.have_error(error);
            }
        }
    }

    /// A fault is over.
    fn end_fault(&mut self, id: u64, kind: FaultKind, context: &Context<'_>) {
        let now = context.now;
        self.with_faults(|faults| faults.end_in_memory(id));
        match kind {
            FaultKind::ModulePulled => {
                let drawn = self
                    .injected
                    .as_mut()
                    .and_then(|faults| faults.take_drawn(id));
                // Somebody may have plugged in another one meanwhile.
                if let Some(module) = drawn.filter(|_| self.module() == Module::Absent) {
                    self.with_link(|link, regs, irq| link.set_module(module, now, regs, irq));
                }
            }
            FaultKind::TransmitStuck => {
                let stuck = self.injected.as_mut().map(|faults| faults.take_stuck(id));
                self.tx.unstick(stuck.unwrap_or(0));
            }
            FaultKind::WriteBackLate | FaultKind::WriteBackReorder if self.pci.masters() => {
                self.with_faults(|faults| faults.write_back_of(id, context.bus));
            }
            _ => {}
        }
    }

    /// A chip that has lost a bit does not get it back by itself.
    fn restore_nvm(&mut self, id: u64) {
        let flipped = self.injected.as_mut().map(|faults| faults.take_flipped(id));
        for (word, bit) in flipped.into_iter().flatten() {
            self.nvm.flip_back(word, bit);
        }
    }

    fn with_faults(&mut self, act: impl FnOnce(&mut CardFaults)) {
        if let Some(faults) = &mut self.injected {
            act(faults);
        }
    }

    /// Software is about to write a register: a queue that is enabled or disabled has nothing under way.
    #[cold]
    pub(super) fn before_written(&mut self, reg: Reg, context: &Context<'_>) {
        let ends = matches!(
            reg,
            Reg::RXDCTL | Reg::TXDCTL | Reg::RXCTRL | Reg::DMATXCTL | Reg::CTRL
        );
        if ends && self.pci.masters() {
            self.with_faults(|faults| faults.write_back_all(context.bus));
        }
    }

    /// Software has reset the card: it may take long.
    pub(super) fn lengthen_reset(&mut self, now: Time) {
        if let Some(faults) = &mut self.injected
            && faults.resets_slowly(now)
        {
            let value = self.regs.get(Reg::CTRL, 0) | ctrl::RST;
            self.regs.set(Reg::CTRL, 0, value);
        }
    }

    /// Tells of reads that were answered with a poisoned TLP, and returns how many there were.
    pub(super) fn report_poisoned(&mut self) -> u64 {
        let Some(faults) = &mut self.injected else {
            return 0;
        };
        let (poisoned, error) = faults.take_poisoned();
        for _ in 0..poisoned.min(1) {
            self.pci.report(error);
        }
        poisoned
    }
}
