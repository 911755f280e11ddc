//! Faults on the cable: what [`Tapped`] asks of them for each frame.

use nic_model::{
    Time,
    fault::{Fault, FaultReport, TooManyFaults},
    wire::{Flow, RxFrame},
};

use super::{Tapped, show};
use crate::{Backend, passing::Passing};

impl<B: Backend> Tapped<B> {
    /// Lets the cable have a fault from `now` on, which may be later than the cable's last [`Backend::advance`]; `id` is
    /// the caller's number for it. Faults of the card are the card's.
    ///
    /// # Errors
    /// [`TooManyFaults`].
    pub fn add_fault(&mut self, id: u64, fault: Fault, now: Time) -> Result<(), TooManyFaults> {
        let faults = self.faults.get_or_insert_default();
        faults.add(id, fault, now)?;
        self.tell_far_end();
        Ok(())
    }

    /// The faults that were asked for and not cleared, oldest first.
    #[must_use]
    pub fn fault_reports(&self) -> Vec<FaultReport> {
        let faults = self.faults.as_ref();
        faults.map_or_else(Vec::new, |faults| faults.reports())
    }

    /// Ends the fault of this number, or all of them. Returns how many there were. Frames that are under way still arrive.
    pub fn clear_faults(&mut self, id: Option<u64>) -> usize {
        let cleared = match &mut self.faults {
            Some(faults) => faults.clear(id),
            None => 0,
        };
        self.tell_far_end();
        self.forget_faults();
        cleared
    }

    /// Without a fault there is nothing to ask for each frame.
    fn forget_faults(&mut self) {
        if let Some(ended) = self.faults.take_if(|faults| faults.is_empty()) {
            let dropped = &mut self.counters.fault_dropped;
            *dropped = dropped.wrapping_add(ended.dropped());
        }
    }

    /// As [`Backend::advance`], for the faults.
    #[cold]
    pub(super) fn advance_faults(&mut self, now: Time) {
        let was_through = self.is_through();
        if let Some(faults) = &mut self.faults {
            faults.advance(now);
        }
        if self.is_through() != was_through {
            self.tell_far_end();
        }
        if self.is_through() {
            let Self {
                faults: Some(faults),
                inner,
                captures,
                ..
            } = self
            else {
                return;
            };
            faults.depart(inner, &mut |frame| show(captures, frame));
        }
        self.forget_faults();
    }

    /// As [`nic_model::Wire::receive`], through the faults.
    #[cold]
    pub(super) fn receive_with_faults(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow,
    ) -> usize {
        let Self {
            faults: Some(faults),
            injected,
            inner,
            captures,
            ..
        } = self
        else {
            return 0;
        };
        let mut wanted = faults.wants(budget);
        while wanted > 0
            && let Some(frame) = injected.arriving()
        {
            faults.comes(&frame);
            injected.pop();
            wanted -= 1;
        }
        inner.receive(wanted, &mut |frame| {
            faults.comes(frame);
            Flow::More
        });
        let mut received = 0;
        while received < budget
            && let Some(frame) = faults.arrived()
        {
            let frame = frame.received();
            show(captures, &Passing::received(&frame));
            received += 1;
            if sink(&frame) == Flow::Stop {
                break;
            }
        }
        received
    }
}
