//! What receive side coalescing wants to know of interrupts (7.11): when a large receive has to end.

use ixgbe_spec::register::{
    Reg,
    bits::{ivar, rscint},
};

use super::{Direction, Interrupts, multiple_msix};
use crate::{pci, regs::RegisterFile, rx::Aging, time::Time};

impl Interrupts {
    /// By when a large receive that receive queue `queue` begins now has to end: when the interval of its vector is
    /// over (EITR), or one interval from now if it already is. `None` if nothing would end it.
    pub(crate) fn aging(&self, regs: &RegisterFile, queue: usize, now: Time) -> Option<Aging> {
        let vector = Self::queue_vector(regs, queue, Direction::Receive);
        if vector == 0 {
            return None;
        }
        let vector = vector.trailing_zeros();
        let index = vector as usize;
        if regs.get(Reg::RSCINT, index) & rscint::RSCEN == 0 {
            return None;
        }
        // There is one interval where there is one signal.
        let eitr = if multiple_msix(regs) { index } else { 0 };
        Some(Aging {
            vector: u8::try_from(vector & ivar::VECTOR).ok()?,
            until: self.moderation.end(eitr, now, regs)?,
        })
    }

    /// The vectors that [`Interrupts::deliver`] would signal now; with one signal for all causes, all of them.
    pub(crate) fn firing(&self, now: Time, regs: &RegisterFile, pci: &pci::Function) -> u64 {
        if !matches!(pci.delivery(), pci::Delivery::MsiX if multiple_msix(regs)) {
            let held = self.unmoderated == 0 && self.holds(0, u64::MAX, now, regs).is_some();
            return if self.single_is_active() && !self.single_sent && !held {
                u64::MAX
            } else {
                0
            };
        }
        let mut ready = self.ready(regs).all();
        let mut firing = 0;
        while ready != 0 {
            let bit = 1 << ready.trailing_zeros();
            ready &= !bit;
            let index = bit.trailing_zeros() as usize;
            if self.unmoderated & bit != 0 || self.holds(index, bit, now, regs).is_none() {
                firing |= bit;
            }
        }
        firing
    }
}
