//! Transmit: from descriptors to frames (7.2).
//!
//! A doorbell (TDT) only marks its queue; `Transmit::step` serves the marked queues in turns. The way of a packet:
//! descriptors are fetched in batches and packets found in them (`queue`), what a packet asks for is checked (`plan`),
//! its buffers are gathered without a copy (`cursor`), headers are edited on a copy and frames leave (`frame`), and are
//! counted (`counters`); then the queue reports.
//!
//! Choices where the datasheet leaves one, and where the model differs:
//! - RS counts in every descriptor of a packet, not only in the last.
//! - A packet with more than 256 descriptors or with descriptors of mixed kinds, a frame longer than 15.5 KB, and a packet
//!   with an offload that contradicts it are passed: reported, but not sent. A buffer that cannot be read is the same.
//! - A ring that cannot be read or written stalls its queue until TXDCTL.ENABLE is written 0 and 1 again.
//! - An L4 checksum or segmentation that the wire does is not repeated here ([`Capabilities`]).
//! - The segments of one packet count one by one against the budget of a step, so that an MSS of 1 costs others nothing.
//!
//! What is written back when, `write_back` decides where TXDCTL.WTHRESH has a say.
//! Which queue sends next, `scheduler` decides where flow control, DCB or a rate limit has a say.
//!
//! Not implemented: `LinkSec`, congestion notification (RTTQCNCR), the sequence numbers of TDWBAL.

mod arbiter;
mod classes;
mod counters;
mod cursor;
mod frame;
mod plan;
mod pool;
mod queue;
mod rate;
mod saved;
mod scheduler;
mod secured;
#[cfg(test)]
mod tests;
mod weights;
mod write_back;

use ixgbe_spec::register::Reg;

use self::{
    counters::Tally,
    frame::{CutError, Framer, Outgoing, Progress, ShortError},
    plan::{Fault, Plan},
    pool::VlanInsertion,
    queue::{Packet, Queue, Request, TXDCTL_ENABLE},
    scheduler::Scheduler,
};
pub(crate) use self::{counters::count_control_frame, saved::Saved};
use crate::{
    bus::{DmaError, Spans},
    hw::Hw,
    queue_counts::QueueCounts,
    regs::RegisterFile,
    time::Time,
    wire::{Capabilities, TxFrame, WireBusy},
};

pub(crate) use self::pool::of_queue as pool_of_queue;

/// Number of transmit queues.
const QUEUES: u32 = 128;

/// Frames that a queue may send before it is the next one's turn.
const TURN: usize = 16;

/// DMATXCTL: transmit enable (8.2.3.9.2).
const DMATXCTL_TE: u32 = 1;

/// Where frames go: the wire, or in loopback the receive side.
pub(crate) trait Egress {
    /// What need not be done before [`Egress::send`].
    fn capabilities(&self) -> Capabilities;

    /// Sends a frame of a queue.
    fn send(
        &mut self,
        frame: &TxFrame<'_>,
        queue: usize,
        hw: &mut Hw<'_>,
    ) -> Result<Reach, WireBusy>;
}

/// How far a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the MAC, and from there to the wire.
    Network,
    /// To other pools of this port only (7.10.3.4).
    Inside,
    /// It must not be sent, and is lost.
    Nowhere,
}

/// Transmit side of a port.
#[derive(Debug)]
pub struct Transmit {
    queues: Vec<Queue>,
    /// Queues that may have work, one bit each.
    runnable: u128,
    /// Queues that a fault has stopped, one bit each.
    stuck: u128,
    /// Queues with descriptors that wait to be written back, one bit each.
    accumulating: u128,
    /// When the first of them have waited long enough.
    write_back_at: Option<Time>,
    /// Queue whose turn it is.
    turn: u32,
    scheduler: Scheduler,
    framer: Framer,
    tally: Tally,
}

impl Default for Transmit {
    fn default() -> Self {
        Self {
            queues: (0..).take(QUEUES as usize).map(Queue::new).collect(),
            runnable: 0,
            stuck: 0,
            accumulating: 0,
            write_back_at: None,
            turn: 0,
            scheduler: Scheduler::default(),
            framer: Framer::default(),
            tally: Tally::default(),
        }
    }
}

/// How a queue's turn has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing is left to do.
    Idle,
    /// The turn is over.
    Over,
    /// It goes on when the client has answered or the wire has room.
    Blocked,
}

/// Why a packet could not be finished now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It goes on when the client has answered or the wire has room.
    Blocked,
    /// It has sent all the segments that it may in this turn.
    TurnOver,
}

/// What a step works with. The lists are memory that is used again for each packet.
struct Step<'s, 'b> {
    hw: &'s mut Hw<'b>,
    egress: &'s mut dyn Egress,
    capabilities: Capabilities,
    buffers: Spans<'b>,
    payload: Spans<'b>,
    /// Bytes of the frames that were sent, with FCS.
    bytes: usize,
}

impl Transmit {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self {
            queues,
            runnable,
            stuck,
            accumulating,
            write_back_at,
            turn,
            scheduler,
            framer: _,
            tally: _,
        } = self;
        queues.iter_mut().for_each(Queue::reset);
        *runnable = 0;
        *stuck = 0;
        *accumulating = 0;
        *write_back_at = None;
        *turn = 0;
        scheduler.reset();
    }

    /// Software has written a register of the chapter `Transmit`; `old` and `new` are its values before and after.
    pub(crate) fn written(&mut self, reg: Reg, index: usize, old: u32, new: u32, hw: &mut Hw<'_>) {
        if reg == Reg::DMATXCTL {
            if new & !old & DMATXCTL_TE != 0 {
                // TE enables queue 0 along with it (8.2.3.9.10).
                let txdctl = hw.regs.get(Reg::TXDCTL, 0) | TXDCTL_ENABLE;
                hw.regs.set(Reg::TXDCTL, 0, txdctl);
                self.written(Reg::TXDCTL, 0, txdctl, txdctl, hw);
            }
            return;
        }
        if reg == Reg::MTQC {
            self.scheduler.written(reg, new, hw.regs);
            return;
        }
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        match reg {
            Reg::TDT => queue.set_tail(new, hw.faults),
            Reg::TDH | Reg::TDBAL | Reg::TDBAH | Reg::TDLEN => queue.set_ring(index, hw.regs),
            Reg::TDWBAL | Reg::TDWBAH => queue.set_head_write_back(index, hw.regs),
            Reg::TXDCTL => {
                queue.set_control(new, index, hw);
                if new & TXDCTL_ENABLE == 0 {
                    self.stuck &= !(1 << index);
                }
            }
            _ => return,
        }
        self.mark(index);
    }

    /// What each queue has sent.
    pub(crate) const fn queue_counts(&self) -> &QueueCounts {
        self.tally.queues()
    }

    /// Software has written a register of the chapter `Dcb`; `new` is its value now.
    pub(crate) fn dcb_written(&mut self, reg: Reg, new: u32, regs: &mut RegisterFile) {
        self.scheduler.written(reg, new, regs);
    }

    /// When a queue may go on that waits for its rate limit, or has to write back.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match (self.scheduler.deadline(), self.write_back_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Writes back what has waited for it long enough (7.2.3.5.1).
    pub(crate) fn write_back(&mut self, hw: &mut Hw<'_>) {
        if self.write_back_at.is_none_or(|at| at > hw.now) {
            return;
        }
        self.write_back_at = None;
        let mut left = std::mem::take(&mut self.accumulating);
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(queue) = self.queues.get_mut(index)
                && queue.waits_until().is_some_and(|until| until <= hw.now)
            {
                queue.write_back(index, hw);
            }
            self.mark(index);
        }
    }

    /// Sends up to `budget` frames of the queues that have descriptors, in turns. Returns whether more can be done at
    /// once; a queue that waits for the client or the wire is tried at the next step.
    pub(crate) fn step(&mut self, budget: usize, hw: &mut Hw<'_>, egress: &mut dyn Egress) -> bool {
        let more = self.step_queues(budget, hw, egress);
        self.tally.settle(hw.regs);
        more
    }

    fn step_queues(&mut self, budget: usize, hw: &mut Hw<'_>, egress: &mut dyn Egress) -> bool {
        if self.runnable == 0 || hw.regs.get(Reg::DMATXCTL, 0) & DMATXCTL_TE == 0 {
            self.scheduler.rest();
            return false;
        }
        let mut step = Step {
            capabilities: egress.capabilities(),
            hw,
            egress,
            buffers: Spans::new(),
            payload: Spans::new(),
            bytes: 0,
        };
        if !self.scheduler.is_idle(step.hw.regs) {
            return self.step_scheduled(budget, &mut step);
        }
        self.scheduler.rest();
        let mut budget = budget;
        while budget > 0 && self.runnable != 0 {
            let ahead = self.runnable.rotate_right(self.turn).trailing_zeros();
            let index = (self.turn + ahead) % QUEUES;
            let share = budget.min(TURN);
            let mut left = share;
            let turn = self.serve(index as usize, &mut left, &mut step);
            budget -= share - left;
            match turn {
                Turn::Idle => self.runnable &= !(1 << index),
                Turn::Over => {}
                Turn::Blocked => {
                    // What blocks this queue blocks the others too: wire and client are theirs as well.
                    self.turn = index;
                    return false;
                }
            }
            self.turn = (index + 1) % QUEUES;
        }
        self.runnable != 0
    }

    /// The same where it is not simply each queue's turn.
    fn step_scheduled(&mut self, budget: usize, step: &mut Step<'_, '_>) -> bool {
        let mut budget = budget;
        let mut blocked = false;
        while budget > 0
            && !blocked
            && let Some(choice) = self.scheduler.next(self.runnable, step.hw)
        {
            let share = budget.min(choice.frames);
            let mut left = share;
            step.bytes = 0;
            let turn = self.serve(choice.queue as usize, &mut left, step);
            budget -= share - left;
            let idle = turn == Turn::Idle;
            self.scheduler.sent(choice, step.bytes, idle, step.hw);
            if idle {
                self.runnable &= !(1 << choice.queue);
            }
            blocked = turn == Turn::Blocked;
        }
        self.scheduler.publish(step.hw.regs);
        self.scheduler.ready(self.runnable, step.hw) != 0 && !blocked
    }

    /// Sends packets of a queue and counts the frames down from `left`, which is not 0.
    fn serve(&mut self, index: usize, left: &mut usize, step: &mut Step<'_, '_>) -> Turn {
        let turn = self.serve_packets(index, left, step);
        self.note_accumulated(index);
        turn
    }

    fn serve_packets(&mut self, index: usize, left: &mut usize, step: &mut Step<'_, '_>) -> Turn {
        let Self {
            queues,
            framer,
            tally,
            stuck,
            ..
        } = self;
        let Some(queue) = queues.get_mut(index) else {
            return Turn::Idle;
        };
        let has_faults = step.hw.dma.faults().is_some();
        while *left > 0 {
            let packet = match queue.packet(index, step.hw) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Turn::Idle,
                Err(DmaError::Pending) => return Turn::Blocked,
                Err(DmaError::Refused { .. }) => {
                    step.hw.faults.ring_dma += 1;
                    queue.stall();
                    return Turn::Idle;
                }
            };
            if has_faults && sticks(index, queue, &packet, step.hw) {
                *stuck |= 1 << index;
                return Turn::Idle;
            }
            match send(index, queue, &packet, (framer, tally), left, step) {
                Ok(()) => queue.complete(index, &packet, step.hw),
                Err(Stop::Blocked) => return Turn::Blocked,
                Err(Stop::TurnOver) => return Turn::Over,
            }
            if !queue.is_runnable() {
                return Turn::Idle;
            }
        }
        Turn::Over
    }

    /// Lets those of these queues, one bit each, go on that a fault has stopped.
    #[cold]
    pub(crate) fn unstick(&mut self, queues: u128) {
        let mut freed = self.stuck & queues;
        self.stuck &= !queues;
        while freed != 0 {
            self.mark(freed.trailing_zeros() as usize);
            freed &= freed - 1;
        }
    }

    /// Marks a queue as one that may have work, or that has none.
    fn mark(&mut self, index: usize) {
        let bit = 1 << index;
        let runnable = self.queues.get(index).is_some_and(Queue::is_runnable);
        if !runnable {
            self.stuck &= !bit;
        }
        let runnable = runnable && self.stuck & bit == 0;
        self.runnable = self.runnable & !(1 << index) | u128::from(runnable) << index;
        self.note_accumulated(index);
    }

    /// Notes whether a queue has descriptors that wait to be written back. A time that is noted stays, even if they are
    /// written back before it.
    fn note_accumulated(&mut self, index: usize) {
        if let Some(until) = self.queues.get(index).and_then(Queue::waits_until) {
            self.accumulating |= 1 << index;
            self.write_back_at = Some(self.write_back_at.map_or(until, |at| at.min(until)));
        }
    }
}

/// Whether a fault stops `queue` before its packet.
#[cold]
#[inline(never)]
fn sticks(index: usize, queue: &Queue, packet: &Packet, hw: &mut Hw<'_>) -> bool {
    let faults = hw.dma.faults().filter(|_| packet.descriptors > 0);
    faults.is_some_and(|faults| faults.sticks(index, queue.head()))
}

/// Sends what is left of the packet at the head of `queue`, or finds that it cannot be sent, which ends it as well.
fn send(
    index: usize,
    queue: &mut Queue,
    packet: &Packet,
    (framer, tally): (&mut Framer, &mut Tally),
    left: &mut usize,
    step: &mut Step<'_, '_>,
) -> Result<(), Stop> {
    let Step {
        hw,
        egress,
        capabilities,
        buffers,
        payload,
        bytes,
    } = step;
    // A packet costs the turn one frame at least.
    let insertion = VlanInsertion::of_queue(index, hw.regs);
    if plan::is_short(packet, insertion, hw.regs.get(Reg::HLREG0, 0)) {
        let mut out = Outgoing {
            queue: index,
            len: packet.len,
            buffers: &[],
            payload,
            capabilities: *capabilities,
            bytes,
            tally,
            hw,
            egress: *egress,
        };
        match framer.send_short(queue.first_buffer(packet), &mut out) {
            Ok(()) => stamp(packet, hw),
            Err(ShortError::Dma(DmaError::Refused { .. })) => hw.faults.buffer_dma += 1,
            Err(ShortError::Dma(DmaError::Pending) | ShortError::Busy) => {
                return Err(Stop::Blocked);
            }
        }
        *left -= 1;
        return Ok(());
    }
    let plan = match Plan::of(packet, insertion) {
        Some(Ok(plan)) => plan,
        other => {
            match other {
                Some(Err(Fault::Descriptor)) => hw.faults.descriptor += 1,
                Some(Err(Fault::Offload)) => hw.faults.offload += 1,
                _ => {}
            }
            *left -= 1;
            return Ok(());
        }
    };
    buffers.clear();
    match queue.gather(packet, &mut hw.dma, buffers) {
        Ok(()) => {}
        Err(DmaError::Pending) => return Err(Stop::Blocked),
        Err(DmaError::Refused { .. }) => {
            hw.faults.buffer_dma += 1;
            *left -= 1;
            return Ok(());
        }
    }
    let mut out = Outgoing {
        queue: index,
        len: packet.len,
        buffers,
        payload,
        capabilities: *capabilities,
        bytes,
        tally,
        hw,
        egress: *egress,
    };
    let before = queue.segments_sent;
    let sent = &mut queue.segments_sent;
    let result = match plan {
        Plan::Whole(whole) => {
            framer
                .send_whole(&whole, &mut out)
                .map_err(|WireBusy| Stop::Blocked)?;
            *left -= 1;
            stamp(packet, hw);
            return Ok(());
        }
        Plan::Cut(cut) => framer.send_cut(&cut, &mut out, sent, left),
        Plan::Fc(sequence) => framer.send_fc(&sequence, &mut out, sent, left),
    };
    let begun = queue.segments_sent > 0 || result == Ok(Progress::Sent);
    if before == 0 && begun {
        stamp(packet, hw);
    }
    match result {
        Ok(Progress::Sent) => {}
        Ok(Progress::Unfinished) => return Err(Stop::TurnOver),
        Err(CutError::Busy) => return Err(Stop::Blocked),
        Err(CutError::Impossible) => {
            hw.faults.offload += 1;
            *left -= 1;
        }
    }
    Ok(())
}

/// Takes the time stamp of a packet that has begun to leave, if it asks for one.
#[inline]
fn stamp(packet: &Packet, hw: &mut Hw<'_>) {
    if let Request::Advanced(control, _) = packet.request
        && control.timestamp()
    {
        hw.timesync.transmitted(hw.now, hw.regs);
    }
}
