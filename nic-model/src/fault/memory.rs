//! Faults between the DMA engine and client memory.
//!
//! An access is first made as the bus makes it; a read that has to wait for the client is thus no occasion yet. Then faults
//! have their say.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    FaultKind,
    card::{CardFaults, aims_at, noise},
};
use crate::{
    bus::{Bus, DmaError, Iova, Requester, Right, Span, Spans},
    pci::BusError,
    time::Time,
};

const PAGE_LEN: usize = 4096;
const PAGE: u64 = PAGE_LEN as u64;
/// Pages that faults may have exchanged at a time, and unmapped at a time: an access to one more is no occasion.
const MAX_PAGES: usize = 256;
/// Write-backs that faults may hold at a time; more go out at once.
pub(super) const MAX_HELD: usize = 4096;

/// A descriptor's write-back that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    by: Requester,
    iova: Iova,
    low: u64,
    high: u64,
    /// The address of its ring.
    ring: Option<u64>,
    until: Until,
    /// The fault that holds it.
    pub(super) fault: u64,
    pub(super) due: Time,
}

/// What a held write-back waits for, besides its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Nothing.
    Due,
    /// The next write-back of its ring.
    Overtaken,
}

/// What faults have done to client memory, as the card sees it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Pages that are not mapped any more, and by which faults.
    unmapped: BTreeSet<(u64, u64)>,
    /// Pages that are others now, and by which faults.
    switched: BTreeMap<u64, (BTreeSet<u64>, Box<[u8]>)>,
    /// In the order in which they were to be written.
    pub(super) held: Vec<Held>,
    /// Reads that were answered with a poisoned TLP and are still to be told of.
    poisoned: u64,
}

impl Memory {
    /// Whether memory is as the client has it.
    pub(super) fn is_quiet(&self) -> bool {
        self.unmapped.is_empty() && self.switched.is_empty() && self.held.is_empty()
    }

    /// What a fault has done to pages ends.
    pub(super) fn end(&mut self, id: u64) {
        self.unmapped.retain(|(_, by)| *by != id);
        self.switched.retain(|_, (by, _)| {
            by.remove(&id);
            !by.is_empty()
        });
    }

    /// Writes back what may go.
    pub(super) fn release(&mut self, bus: &dyn Bus, may_go: impl Fn(&Held) -> bool) {
        let held = std::mem::take(&mut self.held);
        for held in held {
            if may_go(&held) {
                self.put(bus, &held);
            } else {
                self.held.push(held);
            }
        }
    }

    /// Writes back. Nobody waits for an error any more.
    fn put(&mut self, bus: &dyn Bus, held: &Held) {
        let Held {
            by,
            iova,
            low,
            high,
            ..
        } = *held;
        let _ = self.write_back(bus, by, iova, low, high);
    }

    fn write_back(
        &mut self,
        bus: &dyn Bus,
        by: Requester,
        iova: Iova,
        low: u64,
        high: u64,
    ) -> Result<(), DmaError> {
        if self.touches_switched(iova, 16) {
            let words = [low.to_le_bytes(), high.to_le_bytes()];
            return self.write(bus, by, iova, words.as_flattened());
        }
        bus.write_back(by, iova, low, high)
    }

    /// Writes each piece to where it now belongs.
    fn write(
        &mut self,
        bus: &dyn Bus,
        by: Requester,
        iova: Iova,
        from: &[u8],
    ) -> Result<(), DmaError> {
        if self.switched.is_empty() {
            return bus.write(by, iova, from);
        }
        for (page, at, range) in pieces(iova, from.len()) {
            let piece = &from[range.clone()];
            match self.switched.get_mut(&page) {
                Some((_, other)) => other[at..at + piece.len()].copy_from_slice(piece),
                None => {
                    let place = Iova(iova.0.wrapping_add(range.start as u64));
                    bus.write(by, place, piece)?;
                }
            }
        }
        Ok(())
    }

    /// Puts what other pages hold in the place of what the client's hold.
    fn overlay(&self, iova: Iova, to: &mut [u8]) {
        if self.switched.is_empty() {
            return;
        }
        for (page, at, range) in pieces(iova, to.len()) {
            if let Some((_, other)) = self.switched.get(&page) {
                let piece = &mut to[range];
                piece.copy_from_slice(&other[at..at + piece.len()]);
            }
        }
    }

    fn touches_switched(&self, iova: Iova, len: usize) -> bool {
        !self.switched.is_empty()
            && pieces(iova, len).any(|(page, ..)| self.switched.contains_key(&page))
    }

    /// The first address of an access that lies in a page which is not mapped any more.
    fn first_unmapped(&self, iova: Iova, len: usize) -> Option<u64> {
        if self.unmapped.is_empty() {
            return None;
        }
        let is_gone = |page| {
            self.unmapped
                .range((page, 0)..=(page, u64::MAX))
                .next()
                .is_some()
        };
        let mut gone = pieces(iova, len).filter(|(page, ..)| is_gone(*page));
        gone.next().map(|(page, at, _)| page + at as u64)
    }
}

/// The pieces of a range by pages: the page, the place in it, and the range's own bytes.
fn pieces(iova: Iova, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let first = iova.0.checked_add(done as u64).filter(|_| done < len)?;
        let at = first % PAGE;
        let room = usize::try_from(PAGE - at).unwrap_or(len);
        let range = done..len.min(done.saturating_add(room));
        done = range.end;
        Some((first - at, usize::try_from(at).unwrap_or(0), range))
    })
}

impl CardFaults {
    /// As [`Bus::read`].
    pub(crate) fn read(
        &mut self,
        bus: &dyn Bus,
        by: Requester,
        iova: Iova,
        to: &mut [u8],
    ) -> Result<(), DmaError> {
        bus.read(by, iova, to)?;
        self.strike(iova, to.len(), Right::Read)?;
        self.memory.overlay(iova, to);
        Ok(())
    }

    /// As [`Bus::write`].
    pub(crate) fn write(
        &mut self,
        bus: &dyn Bus,
        by: Requester,
        iova: Iova,
        from: &[u8],
    ) -> Result<(), DmaError> {
        self.strike(iova, from.len(), Right::Write)?;
        self.memory.write(bus, by, iova, from)
    }

    /// As [`Bus::gather`].
    pub(crate) fn gather<'a>(
        &mut self,
        bus: &'a dyn Bus,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        let before = spans.len();
        bus.gather(by, iova, len, spans)?;
        self.strike(iova, len, Right::Read)?;
        if self.memory.touches_switched(iova, len) {
            let mut bytes = Vec::with_capacity(len);
            Span::append(spans.get(before..).unwrap_or_default(), &mut bytes);
            spans.truncate(before);
            self.memory.overlay(iova, &mut bytes);
            spans.push(Span::Owned(Rc::from(bytes)));
        }
        Ok(())
    }

    /// As [`Bus::write_back`].
    pub(crate) fn write_back(
        &mut self,
        bus: &dyn Bus,
        by: Requester,
        iova: Iova,
        low: u64,
        high: u64,
    ) -> Result<(), DmaError> {
        self.strike(iova, 16, Right::Write)?;
        let ring = self.ring_of(iova.0).map(|ring| ring.place.start);
        let mut done = Held {
            by,
            iova,
            low,
            high,
            ring,
            until: Until::Due,
            fault: 0,
            due: self.now,
        };
        // What is late is late in order.
        let late = |held: &&Held| held.ring == ring && held.until == Until::Due;
        if let Some(before) = self.memory.held.iter().rfind(late) {
            (done.fault, done.due) = (before.fault, before.due);
            return self.hold(bus, done);
        }
        if let Some((fault, until, due)) = self.postponed(iova) {
            (done.fault, done.until, done.due) = (fault, until, due);
            return self.hold(bus, done);
        }
        self.memory.write_back(bus, by, iova, low, high)?;
        let overtaken = |held: &Held| held.ring == ring && held.until == Until::Overtaken;
        self.memory.release(bus, overtaken);
        Ok(())
    }

    fn hold(&mut self, bus: &dyn Bus, held: Held) -> Result<(), DmaError> {
        if self.memory.held.len() >= MAX_HELD {
            self.memory.release(bus, |_| true);
        }
        self.memory.held.push(held);
        Ok(())
    }

    /// Whether a write-back is to wait: by which fault, for what, and at most until when.
    fn postponed(&mut self, iova: Iova) -> Option<(u64, Until, Time)> {
        let now = self.now;
        let ring = self.ring_of(iova.0).cloned();
        let mut postponed = None;
        for armed in self.list.iter_mut() {
            let (id, fault) = (armed.id(), *armed.fault());
            let until = match fault.kind {
                FaultKind::WriteBackLate => Until::Due,
                FaultKind::WriteBackReorder => Until::Overtaken,
                _ => continue,
            };
            if aims_at(&fault, ring.as_ref(), Right::Write) && armed.takes(now) {
                postponed = postponed.or(Some((id, until, now + fault.delay())));
            }
        }
        postponed
    }

    /// An access is an occasion.
    fn strike(&mut self, iova: Iova, len: usize, right: Right) -> Result<(), DmaError> {
        let refused = |iova| Err(DmaError::Refused { iova });
        if let Some(gone) = self.memory.first_unmapped(iova, len) {
            return refused(gone);
        }
        let now = self.now;
        let page = iova.0 - iova.0 % PAGE;
        let ring = self.ring_of(iova.0).cloned();
        let mut strikes = false;
        for armed in self.list.iter_mut() {
            let (id, fault) = (armed.id(), *armed.fault());
            let possible = match fault.kind {
                FaultKind::DmaError => true,
                FaultKind::UnmappedPage => self.memory.unmapped.len() < MAX_PAGES,
                FaultKind::MemorySwitch => {
                    let switched = &self.memory.switched;
                    switched.len() < MAX_PAGES || switched.contains_key(&page)
                }
                FaultKind::DmaPoisoned => right == Right::Read,
                _ => false,
            };
            if !possible || !aims_at(&fault, ring.as_ref(), right) || !armed.takes(now) {
                continue;
            }
            match fault.kind {
                FaultKind::DmaPoisoned => {
                    self.memory.poisoned = self.memory.poisoned.saturating_add(1);
                }
                FaultKind::UnmappedPage => {
                    self.memory.unmapped.insert((page, id));
                }
                FaultKind::MemorySwitch => {
                    let exchanged = self.memory.switched.entry(page).or_insert_with(|| {
                        let mut other = vec![0; PAGE_LEN].into_boxed_slice();
                        noise(armed.dice(), &mut other);
                        (BTreeSet::new(), other)
                    });
                    exchanged.0.insert(id);
                    continue;
                }
                _ => {}
            }
            strikes = true;
        }
        if strikes { refused(iova.0) } else { Ok(()) }
    }

    /// How many reads were answered with a poisoned TLP since this was asked for, and the error that each of them is.
    pub(crate) fn take_poisoned(&mut self) -> (u64, BusError) {
        (
            std::mem::take(&mut self.memory.poisoned),
            BusError::PoisonedTlp,
        )
    }
}
