//! The faults of a card, and what of them lasts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use ixgbe_spec::register::Reg;

use super::{
    Armed, Dice, Fault, FaultKind, FaultList, FaultReport, FaultState, Occasion, TooManyFaults,
    memory::Memory,
};
use crate::{
    bus::{Bus, Requester, Right, Signal},
    dma::Dma,
    hardware_error::HardwareError,
    interrupt::Interrupts,
    link::Module,
    observe::Direction,
    regs::RegisterFile,
    time::Time,
};

/// Least time between two occasions that a fault makes.
const LEAST_EVERY: Duration = Duration::from_micros(100);

/// What the whole port has to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Draw the module.
    DrawModule(u64),
    /// Signal an interrupt without a cause; of this vector if there are vectors.
    Signal(u8),
    /// Flip a bit of the NVM, chosen by this number.
    FlipNvm(u64, u64),
    /// Have this error.
    Error(HardwareError),
}

/// A ring of descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    pub(super) place: Range<u64>,
    pub(super) direction: Direction,
    pub(super) queue: u8,
}

/// The faults of a card.
#[derive(Debug, Default)]
pub(crate) struct CardFaults {
    pub(super) list: FaultList,
    /// When the current call was made.
    pub(super) now: Time,
    /// The rings as they stand during the call.
    pub(super) rings: Vec<Ring>,
    pub(super) memory: Memory,
    /// Interrupts that come late.
    pub(super) late_signals: Vec<(Time, Requester, Signal)>,
    /// Vectors that a fault is aimed at by queue or direction, as IVAR stands.
    pub(super) aims: BTreeMap<u64, u64>,
    /// When faults that make their own occasions make the next.
    next: BTreeMap<u64, Time>,
    /// Head of each transmit queue when its packet was an occasion.
    offered: BTreeMap<usize, u32>,
    /// The module that faults have drawn.
    drawn: Option<Module>,
    /// Faults that keep it out of the cage.
    drawn_by: BTreeSet<u64>,
    /// Bits that each fault has flipped in each word of the NVM.
    flipped: BTreeMap<(u64, usize), u16>,
    /// Transmit queues that each fault has stopped, one bit each.
    stuck: BTreeMap<u64, u128>,
    /// Until when CTRL.RST stays set.
    resetting: Option<Time>,
}

impl CardFaults {
    /// One more fault.
    ///
    /// # Errors
    /// [`TooManyFaults`].
    pub(crate) fn add(&mut self, id: u64, fault: Fault, now: Time) -> Result<(), TooManyFaults> {
        if let Some(forgotten) = self.list.add(id, fault, now)? {
            self.end_in_memory(forgotten.id());
        }
        if fault.kind.occasion() == Occasion::Time {
            self.next.insert(id, now);
        }
        Ok(())
    }

    /// Takes out faults; what lasts of them is to be ended.
    pub(crate) fn clear(&mut self, id: Option<u64>) -> Vec<Armed> {
        self.list.clear(id)
    }

    pub(crate) fn reports(&self) -> Vec<FaultReport> {
        self.list.iter().map(Armed::report).collect()
    }

    /// Whether nothing is left, so that there is no need to keep this.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
            && self.memory.held.is_empty()
            && self.late_signals.is_empty()
            && self.resetting.is_none()
    }

    /// A reset of the card: nothing is under way any more. An interrupt that was sent comes all the same, but for a reset by
    /// the bus.
    pub(crate) fn reset(&mut self, by_bus: bool) {
        self.memory.held.clear();
        self.offered.clear();
        self.stuck.clear();
        self.resetting = None;
        if by_bus {
            self.late_signals.clear();
        }
    }

    /// The port has become another one: what faults had done to the one before, and held back of it, is gone with it.
    pub(crate) fn forget_port(&mut self) {
        let Self {
            // What was asked for still is.
            list: _,
            now: _,
            next: _,
            // They are found anew in each call.
            rings: _,
            aims: _,
            memory,
            late_signals,
            offered,
            drawn,
            drawn_by,
            flipped,
            stuck,
            resetting,
        } = self;
        *memory = Memory::default();
        late_signals.clear();
        offered.clear();
        *drawn = None;
        drawn_by.clear();
        flipped.clear();
        stuck.clear();
        *resetting = None;
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let waits = |armed: &Armed| armed.state() == FaultState::Armed;
        let next = self.list.iter().filter(|armed| waits(armed));
        let next = next.filter_map(|armed| self.next.get(&armed.id()).copied());
        let ends = self.list.iter().filter_map(Armed::end);
        let held = self.memory.held.iter().map(|held| held.due);
        let late = self.late_signals.iter().map(|(due, ..)| *due);
        let all = next.chain(ends).chain(held).chain(late);
        all.chain(self.resetting).min()
    }

    /// Takes the occasions that are due, and tells what is to be done and which faults have just ended.
    pub(crate) fn advance(&mut self, now: Time) -> (Vec<Deed>, Vec<(u64, FaultKind)>) {
        self.now = now;
        let mut deeds = Vec::new();
        let mut ended = Vec::new();
        for armed in self.list.iter_mut() {
            let (id, fault) = (armed.id(), *armed.fault());
            if armed.expire(now) {
                ended.push((id, fault.kind));
                continue;
            }
            let Some(next) = self.next.get_mut(&id).filter(|next| **next <= now) else {
                continue;
            };
            *next = now + fault.every().max(LEAST_EVERY);
            if armed.takes(now) {
                let number = armed.dice().roll();
                deeds.extend(match fault.kind {
                    FaultKind::ModulePulled => Some(Deed::DrawModule(id)),
                    FaultKind::InterruptSpurious => {
                        Some(Deed::Signal(fault.target.vector.unwrap_or(0)))
                    }
                    FaultKind::NvmCorrupt => Some(Deed::FlipNvm(id, number)),
                    FaultKind::Hardware(error) => Some(Deed::Error(error)),
                    _ => None,
                });
            }
        }
        (deeds, ended)
    }

    /// A fault is over: nothing of it lasts in memory.
    pub(crate) fn end_in_memory(&mut self, id: u64) {
        self.memory.end(id);
        self.next.remove(&id);
        self.aims.remove(&id);
    }

    /// Interrupts that were late and are due now.
    pub(crate) fn signals_due(&mut self, now: Time) -> Vec<(Requester, Signal)> {
        let due = self.late_signals.iter().filter(|(due, ..)| *due <= now);
        let due = due.map(|(_, by, signal)| (*by, *signal)).collect();
        self.late_signals.retain(|(due, ..)| *due > now);
        due
    }

    /// Writes back what is due.
    pub(crate) fn write_back_due(&mut self, now: Time, bus: &dyn Bus) {
        self.memory.release(bus, |held| held.due <= now);
    }

    /// Writes back what this fault holds.
    pub(crate) fn write_back_of(&mut self, id: u64, bus: &dyn Bus) {
        self.memory.release(bus, |held| held.fault == id);
    }

    /// Writes back all that is held: a queue is about to change, and has nothing under way then.
    pub(crate) fn write_back_all(&mut self, bus: &dyn Bus) {
        self.memory.release(bus, |_| true);
    }

    /// A call begins in which this DMA engine may work.
    #[cold]
    pub(crate) fn attach<'a>(&'a mut self, dma: &mut Dma<'a>, now: Time, regs: &RegisterFile) {
        self.now = now;
        let at_memory = |armed: &Armed| {
            matches!(
                armed.fault().kind.occasion(),
                Occasion::Access | Occasion::Read | Occasion::WriteBack
            )
        };
        let watches = !self.memory.is_quiet() || self.list.iter().any(at_memory);
        if watches {
            self.rings = rings(regs);
        }
        dma.set_faults(self, watches);
    }

    /// A ring that has this address in it.
    pub(super) fn ring_of(&self, iova: u64) -> Option<&Ring> {
        self.rings.iter().find(|ring| ring.place.contains(&iova))
    }

    /// The packet whose first descriptor is `head` is the next of a transmit queue: whether the queue stops here.
    pub(crate) fn sticks(&mut self, queue: usize, head: u32) -> bool {
        // A packet that has to wait is the same when it is tried again.
        if self.offered.insert(queue, head) == Some(head) {
            return false;
        }
        let now = self.now;
        let mut by = Vec::new();
        for armed in self.list.iter_mut() {
            let fault = armed.fault();
            let aimed = fault.target.queue.is_none_or(|it| usize::from(it) == queue);
            // All that are aimed at it see the occasion.
            if fault.kind == FaultKind::TransmitStuck && aimed && armed.takes(now) {
                by.push(armed.id());
            }
        }
        if by.is_empty() {
            return false;
        }
        let bit = u32::try_from(queue).ok();
        let bit = bit.and_then(|queue| 1_u128.checked_shl(queue)).unwrap_or(0);
        // A queue that is served was started anew since others had stopped it.
        self.stuck.values_mut().for_each(|queues| *queues &= !bit);
        for id in by {
            *self.stuck.entry(id).or_default() |= bit;
        }
        true
    }

    /// The queues that this fault alone has stopped, one bit each, which may go on.
    pub(crate) fn take_stuck(&mut self, id: u64) -> u128 {
        let its = self.stuck.remove(&id).unwrap_or(0);
        let others = self.stuck.values().fold(0, |all, queues| all | queues);
        its & !others
    }

    /// Software resets the card: whether that takes long, and until when.
    pub(crate) fn resets_slowly(&mut self, now: Time) -> bool {
        for armed in self.list.iter_mut() {
            if armed.fault().kind == FaultKind::ResetSlow && armed.takes(now) {
                self.resetting = Some(now + armed.fault().delay());
                return true;
            }
        }
        false
    }

    /// Whether a reset that took long is done now.
    pub(crate) fn reset_is_done(&mut self, now: Time) -> bool {
        self.resetting.take_if(|until| *until <= now).is_some()
    }

    /// Whether a reset takes long now.
    pub(crate) const fn is_resetting(&self) -> bool {
        self.resetting.is_some()
    }

    /// A fault draws what is in the cage: remembers it. If others have drawn it before, this one keeps it out as well.
    pub(crate) fn draws(&mut self, id: u64, module: Module) {
        if module != Module::Absent {
            self.drawn = Some(module);
            self.drawn_by.clear();
        }
        if self.drawn.is_some() {
            self.drawn_by.insert(id);
        }
    }

    /// The module that this fault has drawn, if no other keeps it out of the cage.
    pub(crate) fn take_drawn(&mut self, id: u64) -> Option<Module> {
        let was_its = self.drawn_by.remove(&id);
        self.drawn.take_if(|_| was_its && self.drawn_by.is_empty())
    }

    /// Remembers a bit of the NVM that was flipped.
    pub(crate) fn flipped(&mut self, id: u64, word: usize, bit: u16) {
        *self.flipped.entry((id, word)).or_default() ^= bit;
    }

    /// The words in which this fault has flipped bits, and which.
    pub(crate) fn take_flipped(&mut self, id: u64) -> Vec<(usize, u16)> {
        let its = self
            .flipped
            .extract_if((id, 0)..=(id, usize::MAX), |_, _| true);
        its.map(|((_, word), bits)| (word, bits)).collect()
    }

    /// Interrupts are about to be signalled: finds the vectors that faults are aimed at by queue or direction. Where one
    /// signal is for all causes, that is all or none: whether it is for a cause of such a queue, among `causes`.
    pub(crate) fn aim(&mut self, regs: &RegisterFile, causes: Option<u64>, now: Time) {
        self.now = now;
        for armed in self.list.iter() {
            let target = armed.fault().target;
            let by_queue = target.queue.is_some() || target.direction.is_some();
            if armed.fault().kind.occasion() == Occasion::Interrupt && by_queue {
                let vectors = Interrupts::vectors(regs, target.queue, target.direction);
                let aim = match causes {
                    None => vectors,
                    Some(causes) if causes & vectors == 0 => 0,
                    Some(_) => u64::MAX,
                };
                self.aims.insert(armed.id(), aim);
            }
        }
    }
}

/// The rings that have a length.
fn rings(regs: &RegisterFile) -> Vec<Ring> {
    let receive = (Reg::RDBAL, Reg::RDBAH, Reg::RDLEN, Direction::Receive);
    let transmit = (Reg::TDBAL, Reg::TDBAH, Reg::TDLEN, Direction::Transmit);
    let mut rings = Vec::new();
    for (low, high, length, direction) in [receive, transmit] {
        for (queue, length) in (0_u8..128).zip(regs.all(length)) {
            if *length != 0 {
                let index = usize::from(queue);
                let base = u64::from(regs.get(high, index)) << 32 | u64::from(regs.get(low, index));
                rings.push(Ring {
                    place: base..base.saturating_add(u64::from(*length)),
                    direction,
                    queue,
                });
            }
        }
    }
    rings
}

/// Whether a fault is aimed at an access to `ring`, or without one at a buffer: what is read there is sent, what is written
/// was received.
pub(super) fn aims_at(fault: &Fault, ring: Option<&Ring>, right: Right) -> bool {
    let (direction, queue) = match (ring, right) {
        (Some(ring), _) => (ring.direction, Some(ring.queue)),
        (None, Right::Read) => (Direction::Transmit, None),
        (None, Right::Write) => (Direction::Receive, None),
    };
    let target = fault.target;
    target.direction.is_none_or(|wanted| wanted == direction)
        && target.queue.is_none_or(|wanted| Some(wanted) == queue)
}

/// Bytes without a meaning, the same for the same dice.
pub(super) fn noise(dice: &mut Dice, to: &mut [u8]) {
    for piece in to.chunks_mut(8) {
        let number = dice.roll().to_le_bytes();
        piece.copy_from_slice(&number[..piece.len()]);
    }
}
