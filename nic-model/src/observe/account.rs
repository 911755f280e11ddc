//! The account of copies: how often a byte was copied on its way between wire and client memory.
//!
//! The bytes of a frame are *moved* once, between the client's pages and the wire; that is the DMA engine's work. What
//! the model copies besides is *copied*: received frames that wait in the packet buffer, and of frames to send what
//! stands in the model's own memory when the wire takes them (headers, which are edited on a copy; frames that are so
//! short that a list of pages costs more than a copy; what has to be summed or encrypted).
//!
//! What IPsec decrypts and what pools of a port send to one another is copied a further time, which is not counted. Nor
//! is what a wire or the server's bus copies for itself; they have counters of their own.

use std::{array, collections::VecDeque};

use ixgbe_spec::register::Reg;

use super::{Direction, Event, Observer, Purpose};
use crate::{bus::Signal, rx::Verdict, time::Time};

/// Queues in each direction.
const QUEUES: usize = 128;
/// Traffic classes.
const CLASSES: usize = 8;

/// What was done for a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueAccount {
    /// Frames received to the ring's end, or sent.
    pub frames: u64,
    /// Their bytes on the wire, without FCS.
    pub frame_bytes: u64,
    /// Bytes of frames moved between client memory and wire.
    pub moved: u64,
    /// Bytes of frames that the model copied besides.
    pub copied: u64,
    /// Bytes of descriptors and heads, read and written.
    pub ring: u64,
    /// Descriptors fetched.
    pub fetched: u64,
    /// Writes of the tail.
    pub doorbells: u64,
    /// Accesses to client memory that were refused.
    pub refused: u64,
}

impl QueueAccount {
    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Copies per byte of the frames, in thousandths: 1000 where each byte was only moved. `None` without frames.
    #[must_use]
    pub fn copies_per_thousand(&self) -> Option<u64> {
        let copies = self.moved.saturating_add(self.copied);
        copies.saturating_mul(1000).checked_div(self.frame_bytes)
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            frames: self.frames.wrapping_add(other.frames),
            frame_bytes: self.frame_bytes.wrapping_add(other.frame_bytes),
            moved: self.moved.wrapping_add(other.moved),
            copied: self.copied.wrapping_add(other.copied),
            ring: self.ring.wrapping_add(other.ring),
            fetched: self.fetched.wrapping_add(other.fetched),
            doorbells: self.doorbells.wrapping_add(other.doorbells),
            refused: self.refused.wrapping_add(other.refused),
        }
    }
}

/// An account of copies: an observer that adds up.
#[derive(Clone, Debug)]
pub struct Account {
    receive: Vec<QueueAccount>,
    transmit: Vec<QueueAccount>,
    interrupts: u64,
    placed: u64,
    /// Bytes of the frame that has arrived last.
    arrived: usize,
    /// The queue that was chosen last.
    steered: u8,
    /// The frame that has arrived last is accounted for copy by copy.
    replicated: bool,
    /// Lengths of the frames in the packet buffers.
    waiting: [VecDeque<usize>; CLASSES],
}

impl Default for Account {
    fn default() -> Self {
        Self {
            receive: vec![QueueAccount::default(); QUEUES],
            transmit: vec![QueueAccount::default(); QUEUES],
            interrupts: 0,
            placed: 0,
            arrived: 0,
            steered: 0,
            replicated: false,
            waiting: array::from_fn(|_| VecDeque::new()),
        }
    }
}

impl Account {
    /// Its queues in a direction, from queue 0 on.
    #[must_use]
    pub fn queues(&self, direction: Direction) -> &[QueueAccount] {
        match direction {
            Direction::Receive => &self.receive,
            Direction::Transmit => &self.transmit,
        }
    }

    /// The sum over the queues of a direction.
    #[must_use]
    pub fn total(&self, direction: Direction) -> QueueAccount {
        let queues = self.queues(direction).iter().copied();
        queues.fold(QueueAccount::default(), QueueAccount::plus)
    }

    /// Interrupts that were signalled; an INTx pin counts when it goes active.
    #[must_use]
    pub const fn interrupts(&self) -> u64 {
        self.interrupts
    }

    /// Bytes that went by no queue: FC payload placed directly.
    #[must_use]
    pub const fn placed(&self) -> u64 {
        self.placed
    }

    fn with(&mut self, direction: Direction, queue: u8, act: impl FnOnce(&mut QueueAccount)) {
        let queues = match direction {
            Direction::Receive => &mut self.receive,
            Direction::Transmit => &mut self.transmit,
        };
        if let Some(queue) = queues.get_mut(usize::from(queue)) {
            act(queue);
        }
    }

    fn received(&mut self, verdict: Verdict, len: usize) {
        if let Verdict::Delivered { queue } = verdict {
            self.with(Direction::Receive, queue, |queue| {
                queue.frames = queue.frames.wrapping_add(1);
                add(&mut queue.frame_bytes, len);
            });
        }
    }

    fn rung(&mut self, offset: u32) {
        let (direction, queue) = match Reg::decode(offset) {
            Some((Reg::RDT, queue)) => (Direction::Receive, queue),
            Some((Reg::TDT, queue)) => (Direction::Transmit, queue),
            _ => return,
        };
        let queue = u8::try_from(queue).unwrap_or(u8::MAX);
        self.with(direction, queue, |queue| {
            queue.doorbells = queue.doorbells.wrapping_add(1);
        });
    }

    fn moved(&mut self, transfer: &super::Transfer) {
        let Some(queue) = transfer.queue else {
            if transfer.result.is_ok() && transfer.purpose == Purpose::DirectData {
                add(&mut self.placed, transfer.len);
            }
            return;
        };
        let (direction, len) = (transfer.direction, transfer.len);
        self.with(direction, queue, |queue| match transfer.result {
            Err(crate::bus::DmaError::Refused { .. }) => {
                queue.refused = queue.refused.wrapping_add(1);
            }
            Err(crate::bus::DmaError::Pending) => {}
            Ok(()) => match (transfer.purpose, direction) {
                (Purpose::Header | Purpose::Packet, Direction::Receive) => {
                    add(&mut queue.moved, len);
                }
                // What is gathered moves when the wire takes it.
                (Purpose::Header | Purpose::Packet, Direction::Transmit) => {}
                (
                    Purpose::DescriptorFetch
                    | Purpose::DescriptorWriteBack
                    | Purpose::HeadWriteBack,
                    _,
                ) => add(&mut queue.ring, len),
                (Purpose::BufferList | Purpose::DirectData, _) => {}
            },
        });
    }
}

impl Observer for Account {
    fn see(&mut self, _now: Time, event: &Event<'_>) {
        match *event {
            Event::RegisterWrite { offset, .. } => self.rung(offset),
            Event::Dma(transfer) => self.moved(&transfer),
            Event::Fetched(descriptor) => {
                self.with(descriptor.direction, descriptor.queue, |queue| {
                    queue.fetched = queue.fetched.wrapping_add(1);
                });
            }
            Event::Arrived { frame } => {
                self.arrived = frame.len();
                self.replicated = false;
            }
            Event::Steered(steering) => self.steered = steering.queue,
            Event::Buffered { class, len } => {
                self.with(Direction::Receive, self.steered, |queue| {
                    add(&mut queue.copied, len);
                });
                if let Some(waiting) = self.waiting.get_mut(usize::from(class)) {
                    waiting.push_back(len);
                }
            }
            Event::Replica { verdict, .. } => {
                self.replicated = true;
                self.received(verdict, self.arrived);
            }
            Event::Received { verdict, .. } if !self.replicated => {
                self.received(verdict, self.arrived);
            }
            Event::Released { class, verdict, .. } => {
                let waiting = self.waiting.get_mut(usize::from(class));
                let len = waiting.and_then(VecDeque::pop_front);
                self.received(verdict, len.unwrap_or(0));
            }
            Event::Reset(_) => self.waiting.iter_mut().for_each(VecDeque::clear),
            Event::Sent { queue, frame } => {
                let (len, head) = (frame.len(), frame.head.len());
                self.with(Direction::Transmit, queue, |queue| {
                    queue.frames = queue.frames.wrapping_add(1);
                    add(&mut queue.frame_bytes, len);
                    add(&mut queue.moved, len);
                    add(&mut queue.copied, head);
                });
            }
            Event::Interrupt { signal, .. } if signal != Signal::IntxDeassert => {
                self.interrupts = self.interrupts.wrapping_add(1);
            }
            _ => {}
        }
    }
}

fn add(sum: &mut u64, bytes: usize) {
    *sum = sum.wrapping_add(bytes as u64);
}
