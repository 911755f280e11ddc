//! The driver checker: what an address sanitizer is for memory, for the driver of a port.
//!
//! A [`Checker`] is an observer of a port. It knows which descriptors and buffers the card has, and reports what the
//! driver does against the datasheet: each breach of a [`Rule`] by a queue or register once, with the state of the ring and
//! the accesses that led there. It changes nothing of what the card does.
//!
//! - `ring` follows each ring: who has which descriptor, and what the driver may do with the ring's registers.
//! - `posted` knows the buffers that the card has, by address.
//! - `transmit` reads what the descriptors of a transmit queue ask for.
//! - `content` knows what was in the buffers when they were handed over.
//! - `interrupts` looks at causes, masks and vectors, and `filters` at filters.
//! - `registers` looks at all other registers.
//!
//! Descriptors are looked at when the tail is written: the driver gives them away then. Client memory that came without a
//! file descriptor cannot be looked at without asking the client, so such descriptors are looked at when the card has
//! fetched them, and the packets that they point to are not looked at.
//!
//! What is kept is bounded, whatever the driver does: 16 findings of a rule, 2^18 descriptors, checksums of 64 MB of buffers,
//! the last accesses.
//!
//! # What is not implemented
//!
//! Of a packet to send only the first buffer is compared with what it was when it was handed over, and not after the card has
//! read it. Filters are not looked at together with the tables that they need, nor are transmit queues that wait for an
//! interrupt in vain, the mailboxes of virtual functions, and memory that the `FCoE` and `IPsec` units use.

mod content;
mod desk;
mod filters;
mod finding;
mod history;
mod interrupts;
mod memory;
mod posted;
mod registers;
mod ring;
mod rule;
#[cfg(test)]
mod tests;
mod transmit;

use std::collections::BTreeMap;

use ixgbe_spec::register::Reg;
use smallvec::SmallVec;

pub use finding::{Finding, Findings, RingState, Subject};
pub use history::{Access, Way};
pub use posted::Range;
pub use rule::{Rule, Severity};

use crate::{
    bus::{Bus, DmaError},
    observe::{Direction, Event, Observer, Purpose, ResetKind, Scene, Transfer, Using},
    time::Time,
};
use desk::Desk;
use history::History;
use interrupts::Interrupts;
use posted::Posted;
use registers::Registers;
use ring::{Kind, Ring};

/// Accesses to registers that are remembered, besides those of each ring.
const HISTORY: usize = 12;
/// Ranges that were unmapped under the card's hands, and that are waited for to come back.
const MOST_LOST: usize = 64;

/// What the driver has done in a call, to be looked at when the registers show it.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write { offset: u32, value: u32 },
    Reset(ResetKind),
}

/// Looks on at what a driver does with a port.
#[derive(Debug)]
pub struct Checker {
    findings: Findings,
    history: History,
    /// Accesses so far.
    accesses: u64,
    /// The rings that the driver has touched.
    rings: BTreeMap<(bool, u8), Ring>,
    posted: Posted,
    registers: Registers,
    interrupts: Interrupts,
    acts: SmallVec<[Act; 4]>,
    /// What was unmapped while a queue used it.
    lost: Vec<Lost>,
}

/// A range that was unmapped while a queue used it.
#[derive(Clone, Copy, Debug)]
struct Lost {
    unmapped: Range,
    ring: (bool, u8),
    used: Range,
}

const fn key(direction: Direction, queue: u8) -> (bool, u8) {
    (matches!(direction, Direction::Transmit), queue)
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            findings: Findings::default(),
            history: History::new(HISTORY),
            accesses: 0,
            rings: BTreeMap::new(),
            posted: Posted::default(),
            registers: Registers::default(),
            interrupts: Interrupts::default(),
            acts: SmallVec::new(),
            lost: Vec::new(),
        }
    }
}

impl Checker {
    /// A checker for a port that nobody has touched yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it finds from now on.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.findings.clone()
    }

    fn remember(&mut self, access: Access) {
        self.accesses += 1;
        let access = Access {
            serial: self.accesses,
            ..access
        };
        if let Some((reg, index)) = Reg::decode(access.offset)
            && let Some((direction, _)) = ring::kind(reg)
            && let Ok(queue) = u8::try_from(index)
        {
            let ring = self
                .rings
                .entry(key(direction, queue))
                .or_insert_with(|| Ring::new(direction, queue));
            ring.history_mut().add(access);
        } else {
            self.history.add(access);
        }
    }

    fn read(&mut self, offset: u32, value: u32) {
        let Some((reg, index)) = Reg::decode(offset) else {
            return;
        };
        self.registers.read(reg, value);
        self.interrupts.read(reg, index, value);
        if let Some((direction, Kind::Control)) = ring::kind(reg)
            && let Ok(queue) = u8::try_from(index)
            && let Some(ring) = self.rings.get_mut(&key(direction, queue))
        {
            ring.control_read(value);
        }
    }

    /// Rings that a buffer must not overlap.
    fn ring_memory(&self) -> SmallVec<[Range; 16]> {
        self.rings
            .values()
            .filter(|ring| ring.is_enabled())
            .map(Ring::memory)
            .collect()
    }

    fn written(&mut self, offset: u32, value: u32, scene: &Scene<'_>) {
        let memory = self.ring_memory();
        let desk = Desk {
            now: scene.now(),
            findings: &self.findings,
            history: &self.history,
        };
        self.registers
            .written((offset, value), memory.len(), scene, &desk);
        if let Some((reg, index)) = Reg::decode(offset) {
            filters::written(reg, (offset, value), scene, &desk);
            self.interrupts
                .written((reg, index, value), self.rings.values(), scene, &desk);
        }
        if let Some((reg, index)) = Reg::decode(offset)
            && let Some((direction, kind)) = ring::kind(reg)
            && let Ok(queue) = u8::try_from(index)
            && let Some(ring) = self.rings.get_mut(&key(direction, queue))
        {
            ring.written(kind, value, scene, (&desk, &mut self.posted, &memory));
        }
    }

    /// The driver goes on, so it will not map again what was unmapped.
    fn tell_lost(&mut self, scene: &Scene<'_>) {
        for lost in std::mem::take(&mut self.lost) {
            let Some(ring) = self.rings.get(&lost.ring) else {
                continue;
            };
            if ring.uses(lost.unmapped).is_none() || !scene.masters() {
                continue;
            }
            let desk = Desk {
                now: scene.now(),
                findings: &self.findings,
                history: &self.history,
            };
            desk.ring(Rule::UnmappedWhileOwned, ring, None, || {
                let Lost { unmapped, used, .. } = lost;
                format!("{unmapped} was unmapped; the queue has {used}")
            });
        }
    }

    fn unmapped(&mut self, unmapped: Range) {
        let rings = self.rings.iter().filter_map(|(key, ring)| {
            let memory = ring.memory();
            (ring.is_enabled() && memory.overlaps(unmapped)).then_some((*key, memory))
        });
        let buffers = [Direction::Receive, Direction::Transmit]
            .into_iter()
            .filter_map(|direction| {
                let (used, holder) = self.posted.overlapping(direction, unmapped)?;
                Some((key(direction, holder.queue), used))
            });
        let room = MOST_LOST.saturating_sub(self.lost.len());
        let lost = rings.chain(buffers).take(room).map(|(ring, used)| Lost {
            unmapped,
            ring,
            used,
        });
        self.lost.extend(lost);
    }

    /// Memory in `range` changes, and not by what the driver does with a buffer that the card has.
    fn forget(&mut self, range: Range) {
        for direction in [Direction::Receive, Direction::Transmit] {
            let Some(holders) = self.posted.all_overlapping(direction, range) else {
                self.posted.forget_contents();
                return;
            };
            for holder in holders {
                if let Some(ring) = self.rings.get_mut(&key(direction, holder.queue)) {
                    ring.forget(holder.index, holder.part, &mut self.posted);
                }
            }
        }
    }

    fn refused(&self, now: Time, transfer: &Transfer, refused: u64) {
        let Some(ring) = transfer
            .queue
            .and_then(|queue| self.rings.get(&key(transfer.direction, queue)))
        else {
            return;
        };
        let desk = Desk {
            now,
            findings: &self.findings,
            history: &self.history,
        };
        let range = Range::new(transfer.iova.0, transfer.len as u64);
        let of_ring = matches!(
            transfer.purpose,
            Purpose::DescriptorFetch | Purpose::DescriptorWriteBack | Purpose::HeadWriteBack
        );
        let rule = if self.lost.iter().any(|lost| lost.unmapped.overlaps(range)) {
            Rule::UnmappedWhileOwned
        } else if of_ring {
            Rule::RingUnmapped
        } else {
            Rule::BufferUnmapped
        };
        let act = if transfer.reads() { "read" } else { "write" };
        desk.ring(rule, ring, None, || {
            format!("the card was refused to {act} {range}, at {refused:#x}")
        });
    }
}

impl Observer for Checker {
    fn before(&mut self, now: Time, using: Using, bus: &dyn Bus) {
        let desk = Desk {
            now,
            findings: &self.findings,
            history: &self.history,
        };
        let Using {
            direction,
            queue,
            index,
        } = using;
        let Some(ring) = self.rings.get_mut(&key(direction, queue)) else {
            return;
        };
        ring.before(index, bus, (&desk, &mut self.posted));
        if direction == Direction::Receive {
            // A buffer that overlaps it is another rule's affair.
            let buffers = ring.buffers(index).into_iter();
            for buffer in buffers.filter(|buffer| buffer.start < buffer.end) {
                self.forget(buffer);
            }
        }
    }

    fn see(&mut self, now: Time, event: &Event<'_>) {
        match *event {
            Event::RegisterRead { offset, value } => {
                self.remember(Access {
                    time: now,
                    way: Way::Read,
                    offset,
                    value,
                    times: 1,
                    serial: 0,
                });
                self.read(offset, value);
            }
            Event::RegisterWrite { offset, value, .. } => {
                self.remember(Access {
                    time: now,
                    way: Way::Write,
                    offset,
                    value,
                    times: 1,
                    serial: 0,
                });
                if let Some((reg, index)) = Reg::decode(offset) {
                    self.interrupts.writes(reg, index, value);
                }
                self.acts.push(Act::Write { offset, value });
            }
            Event::Reset(kind) => self.acts.push(Act::Reset(kind)),
            Event::Fetched(ref descriptor) => {
                let memory = self.ring_memory();
                let desk = Desk {
                    now,
                    findings: &self.findings,
                    history: &self.history,
                };
                let key = key(descriptor.direction, descriptor.queue);
                if let Some(ring) = self.rings.get_mut(&key) {
                    ring.fetched(descriptor, (&desk, &mut self.posted, &memory));
                }
            }
            Event::WrittenBack(ref descriptor) => {
                let key = key(descriptor.direction, descriptor.queue);
                if let Some(ring) = self.rings.get_mut(&key) {
                    ring.written_back(descriptor.index, &mut self.posted);
                }
            }
            Event::Dma(ref transfer) => {
                if let Err(DmaError::Refused { iova }) = transfer.result {
                    self.refused(now, transfer, iova);
                }
            }
            Event::Steered(steering) => self.interrupts.steered(steering.queue),
            Event::Cause { vectors, .. } => self.interrupts.pending(vectors),
            Event::Interrupt { signal, .. } => self.interrupts.signalled(signal),
            Event::Unmapped { iova, len } => {
                let unmapped = Range::new(iova.0, len);
                self.unmapped(unmapped);
                // It may come back with other content.
                self.forget(unmapped);
            }
            Event::Mapped { iova, len } => {
                let mapped = Range::new(iova.0, len);
                self.lost.retain(|lost| !mapped.contains(lost.used));
            }
            _ => {}
        }
    }

    fn settle(&mut self, scene: &Scene<'_>) {
        let acts = std::mem::take(&mut self.acts);
        for act in &acts {
            match *act {
                Act::Write { offset, value } => {
                    if !self.lost.is_empty() {
                        self.tell_lost(scene);
                    }
                    self.written(offset, value, scene);
                }
                Act::Reset(kind) => {
                    // Another driver may come after it, which has asked for nothing yet.
                    if kind != ResetKind::Device {
                        self.registers = Registers::default();
                    }
                    self.lost.clear();
                    self.interrupts = Interrupts::default();
                    for ring in self.rings.values_mut() {
                        ring.reset(&mut self.posted);
                    }
                }
            }
        }
        for ring in self.rings.values_mut() {
            if ring.is_enabled() {
                ring.follow_head(scene, &mut self.posted);
            }
        }
        let desk = Desk {
            now: scene.now(),
            findings: &self.findings,
            history: &self.history,
        };
        self.interrupts.settle(self.rings.values(), scene, &desk);
    }
}
