//! Interrupts: causes, masks, moderation, and the signals that come of them (7.3).
//!
//! A cause is recorded whatever the masks say. `Interrupts::deliver`, which the port calls at the end of each of its
//! calls, compares causes with masks and moderation and signals, at most once per vector.
//!
//! Two views of one state: EICR, EIMS, ... hold the queue causes in bits 15:0 and all other causes above;
//! `EIMS_EX`, ... hold 64 vectors, of which the first 16 are those bits 15:0.

mod coalescing;
mod credits;
mod moderation;
mod saved;
#[cfg(test)]
mod tests;

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, eitr, gpie, ivar},
};

use crate::{bus::Bus, observe, pci, pci::Delivery, regs::RegisterFile, time::Time};
use credits::Credits;
use moderation::Moderation;
pub(crate) use saved::Saved;

/// Interrupt state of a port.
#[derive(Debug, Default)]
pub struct Interrupts {
    /// Pending queue causes (legacy, MSI) or vectors (MSI-X).
    vectors: u64,
    /// Pending causes 30:16, in their places in EICR.
    other: u32,
    vector_mask: u64,
    /// EIMS bits 31:16.
    other_mask: u32,
    vector_auto_mask: u64,
    /// EIAM bits 31:16.
    other_auto_mask: u32,
    /// Of `vectors`, those whose message went out; they wait for software to clear them.
    vectors_sent: u64,
    /// Of `other`, those whose message went out.
    other_sent: u32,
    /// In a mode with one signal for all causes: it is active (INTx) or went out (MSI).
    single_sent: bool,
    /// Vectors whose next message is not moderated.
    unmoderated: u64,
    /// Vectors with a low latency interrupt that waits for a credit, or for the end of the interval.
    urgent: u64,
    credits: Credits,
    moderation: Moderation,
    deadline: Option<Time>,
}

/// Vectors with something to signal, as bits, by what they have to.
struct Ready {
    queues: u64,
    timer: u64,
    other: u64,
    /// The causes of `timer` and `other`, in their places in EICR.
    other_causes: u32,
}

impl Ready {
    const fn all(&self) -> u64 {
        self.queues | self.timer | self.other
    }
}

/// What happens at a queue.
#[derive(Clone, Copy)]
enum Direction {
    Receive,
    Transmit,
}

impl Interrupts {
    /// Puts everything back to the state after a reset of the function. An active INTx pin is released by the next
    /// [`Interrupts::deliver`].
    pub(crate) fn reset(&mut self) {
        let Self {
            vectors,
            other,
            vector_mask,
            other_mask,
            vector_auto_mask,
            other_auto_mask,
            vectors_sent,
            other_sent,
            single_sent,
            unmoderated,
            urgent,
            credits,
            moderation,
            deadline,
        } = self;
        *vectors = 0;
        *other = 0;
        *vector_mask = 0;
        *other_mask = 0;
        *vector_auto_mask = 0;
        *other_auto_mask = 0;
        *vectors_sent = 0;
        *other_sent = 0;
        *single_sent = false;
        *unmoderated = 0;
        *urgent = 0;
        credits.reset();
        moderation.reset();
        *deadline = None;
    }

    /// Receive queue `queue` has written back a packet's last descriptor (7.3.1).
    pub(crate) fn rx_queue(&mut self, regs: &mut RegisterFile, queue: usize) {
        let vector = Self::queue_vector(regs, queue, Direction::Receive);
        self.raise_vectors(regs, vector);
    }

    /// As [`Interrupts::rx_queue`], as a low latency interrupt: not moderated, unless EITR says so (7.3.2.3).
    pub(crate) fn rx_queue_low_latency(&mut self, regs: &mut RegisterFile, queue: usize) {
        let vector = Self::queue_vector(regs, queue, Direction::Receive);
        self.raise_vectors(regs, vector);
        let eitr = match vector {
            0 => return,
            _ if multiple_msix(regs) => vector.trailing_zeros() as usize,
            _ => 0,
        };
        if regs.get(Reg::EITR, eitr) & eitr::LLI_MOD != 0 && self.credits.are_given() {
            self.urgent |= vector;
        } else {
            self.unmoderated |= vector;
        }
    }

    /// Transmit queue `queue` has written back a descriptor or its head (7.3.1).
    pub(crate) fn tx_queue(&mut self, regs: &mut RegisterFile, queue: usize) {
        let vector = Self::queue_vector(regs, queue, Direction::Transmit);
        self.raise_vectors(regs, vector);
    }

    /// By when transmit queue `queue` has to write back what is done from now on: when the interval of its vector is over
    /// (EITR), or one that begins now. `None` if none runs.
    pub(crate) fn write_back_timer(
        &self,
        regs: &RegisterFile,
        queue: usize,
        now: Time,
    ) -> Option<Time> {
        let vector = match Self::queue_vector(regs, queue, Direction::Transmit) {
            0 => return None,
            vector if multiple_msix(regs) => vector.trailing_zeros() as usize,
            _ => 0,
        };
        self.moderation.end(vector, now, regs)
    }

    /// The vectors, one bit each, of a queue or of all, in a direction or both, as IVAR has them.
    #[cold]
    pub(crate) fn vectors(
        regs: &RegisterFile,
        queue: Option<u8>,
        direction: Option<observe::Direction>,
    ) -> u64 {
        let mut vectors = 0;
        let queues = queue.map_or(0..=127, |queue| queue..=queue);
        for queue in queues.map(usize::from) {
            if direction != Some(observe::Direction::Transmit) {
                vectors |= Self::queue_vector(regs, queue, Direction::Receive);
            }
            if direction != Some(observe::Direction::Receive) {
                vectors |= Self::queue_vector(regs, queue, Direction::Transmit);
            }
        }
        vectors
    }

    /// Sets causes outside the queues, EICR bits 30:16 (8.2.3.5.1).
    pub(crate) fn other(&mut self, regs: &mut RegisterFile, causes: u32) {
        let causes = causes & !eicr::RTX_QUEUE & !eicr::OTHER;
        if self.other & causes != causes {
            self.other |= causes;
            self.publish_causes(regs);
        }
    }

    /// Pending queue causes or vectors, one bit each, and other causes in their places in EICR.
    pub(crate) const fn pending(&self) -> (u64, u32) {
        (self.vectors, self.other)
    }

    /// Queue causes that are pending and enabled, where one signal is for all causes; `None` where vectors have their own.
    #[cold]
    pub(crate) fn causes_of_one_signal(
        &self,
        regs: &RegisterFile,
        pci: &pci::Function,
    ) -> Option<u64> {
        let has_vectors = matches!(pci.delivery(), Delivery::MsiX if multiple_msix(regs));
        (!has_vectors).then_some(self.vectors & self.vector_mask & u64::from(eicr::RTX_QUEUE))
    }

    /// When [`Interrupts::deliver`] has something to do although nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// The cause bit that IVAR gives to a queue, or 0.
    fn queue_vector(regs: &RegisterFile, queue: usize, direction: Direction) -> u64 {
        let shift = match (queue % 2, direction) {
            (0, Direction::Receive) => 0,
            (0, Direction::Transmit) => 8,
            (_, Direction::Receive) => 16,
            (_, Direction::Transmit) => 24,
        };
        let entry = regs.get(Reg::IVAR, queue / 2) >> shift;
        if entry & ivar::VALID == 0 {
            return 0;
        }
        // Without multiple MSI-X vectors the entry is a bit of EICR.
        let limit = if multiple_msix(regs) {
            ivar::VECTOR
        } else {
            0xF
        };
        1 << (entry & limit)
    }

    fn raise_vectors(&mut self, regs: &mut RegisterFile, vectors: u64) {
        if self.vectors & vectors != vectors {
            self.vectors |= vectors;
            self.publish_causes(regs);
        }
    }

    /// Reads a register of the interrupt chapter, with its side effects.
    pub(crate) fn read(
        &mut self,
        reg: Reg,
        index: usize,
        now: Time,
        regs: &mut RegisterFile,
    ) -> u32 {
        match reg {
            Reg::EICR => {
                let value = regs.get(Reg::EICR, 0);
                let cleared = if regs.get(Reg::GPIE, 0) & gpie::OCD == 0 {
                    u32::MAX
                } else {
                    eicr::OTHER_CAUSES
                };
                self.clear_causes(regs, cleared);
                value
            }
            Reg::EITR => {
                let credits = self.credits.of(index, now) << eitr::LLI_CREDIT_SHIFT;
                regs.get(reg, index) | credits | self.moderation.counter(index, now)
            }
            _ => regs.read(reg, index),
        }
    }

    /// Software has written a register of the interrupt chapter; `value` is what it wrote.
    pub(crate) fn written(
        &mut self,
        reg: Reg,
        index: usize,
        value: u32,
        now: Time,
        regs: &mut RegisterFile,
        pci: &mut pci::Function,
    ) {
        let (low, high) = (vectors_of(value), value & !eicr::RTX_QUEUE);
        let wide = if index == 0 {
            u64::from(value)
        } else {
            u64::from(value) << 32
        };
        match reg {
            Reg::EICR => self.clear_causes(regs, value),
            Reg::EICS => self.set_causes(regs, low, high),
            Reg::EICS_EX => self.set_causes(regs, wide, 0),
            Reg::EIMS => self.unmask(low, high, now, regs, pci),
            Reg::EIMS_EX => self.unmask(wide, 0, now, regs, pci),
            Reg::EIMC => {
                self.vector_mask &= !low;
                self.other_mask &= !high;
            }
            Reg::EIMC_EX => self.vector_mask &= !wide,
            Reg::EIAM => {
                self.vector_auto_mask = self.vector_auto_mask & !u64::from(eicr::RTX_QUEUE) | low;
                self.other_auto_mask = high;
            }
            Reg::EIAM_EX => {
                let half = if index == 0 {
                    u64::from(u32::MAX)
                } else {
                    u64::from(u32::MAX) << 32
                };
                self.vector_auto_mask = self.vector_auto_mask & !half | wide;
            }
            Reg::EITR => {
                self.moderation.written(index, value, now, regs);
                if value & eitr::CNT_WDIS == 0 {
                    self.credits.written(index, value, now);
                }
            }
            Reg::GPIE => self.credits.interval_written(value, now),
            Reg::PBACL if index < 2 => pci.clear_msix_pending(wide),
            _ => {}
        }
        self.publish(regs);
    }

    /// Clears causes, and with them by EIAM their masks (7.3.1.5).
    fn clear_causes(&mut self, regs: &mut RegisterFile, bits: u32) {
        let vectors = self.vectors & vectors_of(bits);
        let other = self.other & bits;
        self.vectors &= !vectors;
        self.vectors_sent &= !vectors;
        self.unmoderated &= !vectors;
        self.urgent &= !vectors;
        self.other &= !other;
        self.other_sent &= !other;
        self.vector_mask &= !(vectors & self.vector_auto_mask);
        self.other_mask &= !(other & self.other_auto_mask);
        self.publish(regs);
    }

    /// Software sets causes; by EIAM that enables them as well.
    fn set_causes(&mut self, regs: &RegisterFile, vectors: u64, other: u32) {
        let other = other & !eicr::OTHER;
        self.vectors |= vectors;
        self.other |= other;
        self.vector_mask |= vectors & self.vector_auto_mask;
        self.other_mask |= other & self.other_auto_mask;
        if regs.get(Reg::GPIE, 0) & gpie::EIMEN != 0 {
            let misc = regs.get(Reg::IVAR_MISC, 0);
            self.unmoderated |= vectors;
            self.unmoderated |= match other {
                0 => 0,
                _ if multiple_msix(regs) => {
                    ready_vector(misc, other & eicr::TCP_TIMER)
                        | ready_vector(misc >> 8, other & eicr::OTHER_CAUSES)
                }
                _ => 1,
            };
        }
    }

    /// Enables causes. Those that are still pending signal again.
    fn unmask(
        &mut self,
        vectors: u64,
        other: u32,
        now: Time,
        regs: &RegisterFile,
        pci: &mut pci::Function,
    ) {
        let mut served = match vectors & !self.vector_mask {
            again if multiple_msix(regs) => again,
            again => u64::from(again != 0 || other & !self.other_mask != 0),
        };
        while served != 0 {
            self.moderation
                .served(served.trailing_zeros() as usize, now, regs);
            served &= served - 1;
        }
        self.vector_mask |= vectors;
        self.other_mask |= other;
        self.vectors_sent &= !vectors;
        self.other_sent &= !other;
        if !pci.delivery().is_level() {
            self.single_sent = false;
        }
        if regs.get(Reg::GPIE, 0) & gpie::PBA_SUPPORT != 0 {
            pci.clear_msix_pending(vectors);
        }
    }

    /// Writes the state to the registers that show it.
    fn publish(&self, regs: &mut RegisterFile) {
        self.publish_causes(regs);
        let mask = low_half(self.vector_mask) & eicr::RTX_QUEUE | self.other_mask;
        regs.set(Reg::EIMS, 0, mask);
        regs.set(Reg::EIMC, 0, mask);
        let auto = low_half(self.vector_auto_mask) & eicr::RTX_QUEUE | self.other_auto_mask;
        regs.set(Reg::EIAM, 0, auto);
        for (reg, state) in [
            (Reg::EIMS_EX, self.vector_mask),
            (Reg::EIMC_EX, self.vector_mask),
            (Reg::EIAM_EX, self.vector_auto_mask),
        ] {
            regs.set(reg, 0, low_half(state));
            regs.set(reg, 1, low_half(state >> 32));
        }
    }

    fn publish_causes(&self, regs: &mut RegisterFile) {
        let enabled = self.other & self.other_mask & eicr::OTHER_CAUSES != 0;
        let other = if enabled { eicr::OTHER } else { 0 };
        let causes = low_half(self.vectors) & eicr::RTX_QUEUE | self.other | other;
        regs.set(Reg::EICR, 0, causes);
        regs.set(Reg::EICS, 0, causes);
        regs.set(Reg::EICS_EX, 0, low_half(self.vectors));
        regs.set(Reg::EICS_EX, 1, low_half(self.vectors >> 32));
    }

    /// Signals what is pending, enabled, and not held back by moderation.
    pub(crate) fn deliver(
        &mut self,
        now: Time,
        regs: &mut RegisterFile,
        pci: &mut pci::Function,
        bus: &dyn Bus,
    ) {
        self.deadline = None;
        match pci.delivery() {
            Delivery::MsiX if multiple_msix(regs) => {
                pci.set_intx(false, bus);
                self.deliver_vectors(now, regs, pci, bus);
            }
            mode => self.deliver_single(mode, now, regs, pci, bus),
        }
        pci.flush(bus);
    }

    /// Vectors with a cause that is pending, enabled and not signalled yet.
    fn ready(&self, regs: &RegisterFile) -> Ready {
        let misc = regs.get(Reg::IVAR_MISC, 0);
        let other_causes = self.other & self.other_mask & !self.other_sent;
        Ready {
            queues: self.vectors & self.vector_mask & !self.vectors_sent,
            timer: ready_vector(misc, other_causes & eicr::TCP_TIMER),
            other: ready_vector(misc >> 8, other_causes & eicr::OTHER_CAUSES),
            other_causes,
        }
    }

    /// Whether a cause is pending and enabled, in a mode with one signal for all.
    fn single_is_active(&self) -> bool {
        self.vectors & self.vector_mask & u64::from(eicr::RTX_QUEUE) != 0
            || self.other & self.other_mask != 0
    }

    /// Until when the causes `bits` that counter `index` moderates have to wait, if at all: for the end of the interval,
    /// and if one of them is urgent no longer than for a credit (7.3.2.3).
    fn holds(&self, index: usize, bits: u64, now: Time, regs: &RegisterFile) -> Option<Time> {
        let until = self.moderation.holds(index, now, regs)?;
        if self.urgent & bits == 0 {
            return Some(until);
        }
        let credit = self.credits.next(index, now)?;
        Some(until.min(credit))
    }

    /// Takes a credit for a signal that comes before its interval is over.
    fn spend(&mut self, index: usize, bits: u64, now: Time, regs: &RegisterFile) {
        let early = self.moderation.holds(index, now, regs).is_some();
        if self.urgent & bits != 0 && early && self.unmoderated & bits == 0 {
            self.credits.spend(index, now);
        }
        self.urgent &= !bits;
    }

    fn deliver_vectors(
        &mut self,
        now: Time,
        regs: &mut RegisterFile,
        pci: &mut pci::Function,
        bus: &dyn Bus,
    ) {
        if !pci.masters() {
            return;
        }
        let all = self.ready(regs);
        let Ready {
            queues,
            timer,
            other,
            other_causes: other_ready,
        } = all;
        let mut ready = all.all();
        let mut changed = false;
        while ready != 0 {
            let vector = ready.trailing_zeros();
            let bit = 1 << vector;
            ready &= !bit;
            let index = vector as usize;
            if self.unmoderated & bit == 0
                && let Some(until) = self.holds(index, bit, now, regs)
            {
                self.deadline = earlier(self.deadline, until);
                continue;
            }
            self.spend(index, bit, now, regs);
            self.moderation.fired(index, now, regs);
            self.unmoderated &= !bit;
            changed = true;

            let auto_clear = regs.get(Reg::EIAC, 0);
            if vector >= 16 || auto_clear & low_half(bit) != 0 {
                self.vectors &= !(queues & bit);
            } else {
                self.vectors_sent |= queues & bit;
            }
            let mut sent = 0;
            if other & bit != 0 {
                sent |= other_ready & eicr::OTHER_CAUSES;
            }
            if timer & bit != 0 {
                sent |= eicr::TCP_TIMER;
                self.other &= !(auto_clear & eicr::TCP_TIMER);
            }
            self.other_sent |= sent & self.other;
            if regs.get(Reg::GPIE, 0) & gpie::EIAME != 0 {
                self.vector_mask &= !(self.vector_auto_mask & bit);
                self.other_mask &= !(self.other_auto_mask & sent);
            }
            pci.send_msix(vector, bus);
        }
        if changed {
            self.publish(regs);
        }
    }

    fn deliver_single(
        &mut self,
        mode: Delivery,
        now: Time,
        regs: &RegisterFile,
        pci: &mut pci::Function,
        bus: &dyn Bus,
    ) {
        if !self.single_is_active() {
            self.single_sent = false;
            pci.set_intx(false, bus);
            return;
        }
        if !mode.is_level() {
            pci.set_intx(false, bus);
        }
        if self.single_sent || !mode.is_level() && !pci.masters() {
            return;
        }
        if self.unmoderated == 0
            && let Some(until) = self.holds(0, u64::MAX, now, regs)
        {
            self.deadline = Some(until);
            return;
        }
        self.spend(0, u64::MAX, now, regs);
        self.moderation.fired(0, now, regs);
        self.unmoderated = 0;
        self.single_sent = true;
        match mode {
            Delivery::Intx => pci.set_intx(true, bus),
            Delivery::Msi => pci.send_msi(bus),
            Delivery::MsiX => pci.send_msix(0, bus),
        }
    }
}

/// Whether IVAR names MSI-X vectors.
fn multiple_msix(regs: &RegisterFile) -> bool {
    regs.get(Reg::GPIE, 0) & gpie::MULTIPLE_MSIX != 0
}

/// The vectors that bits 15:0 of EICR and its like are.
fn vectors_of(bits: u32) -> u64 {
    u64::from(bits & eicr::RTX_QUEUE)
}

/// The vector of an `IVAR_MISC` entry, as a bit, if `causes` are there and the entry is valid.
fn ready_vector(entry: u32, causes: u32) -> u64 {
    if causes != 0 && entry & ivar::VALID != 0 {
        1 << (entry & ivar::VECTOR)
    } else {
        0
    }
}

fn low_half(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn earlier(a: Option<Time>, b: Time) -> Option<Time> {
    Some(a.map_or(b, |a| a.min(b)))
}
