//! The model's bus: the client's memory and its interrupts.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use guest_memory::{AccessError, IovaTable, MappedRange, prefetch_for_read, prefetch_for_write};
use nic_model::{
    Bus, Time,
    bus::{DmaError, Iova, Requester, Right, Signal, Span, Spans, Window},
};
use smallvec::SmallVec;
use vm_memory::{Permissions, VolatileSlice};

use crate::{
    dirty_log::DirtyLog,
    events::Registry,
    irq::{IrqCounters, Irqs},
    message_dma::{Command, MessageDma, Serial},
};

/// How long files that no range uses any more stay mapped, for clients that map them again at once.
const IDLE_FILES: Duration = Duration::from_secs(1);

/// Memory and interrupts of one client at a time.
///
/// All functions share them: a client is one IOMMU domain.
#[derive(Debug)]
pub struct ClientBus {
    memory: IovaTable,
    /// When files that no range uses are unmapped.
    release: Option<Time>,
    messages: RefCell<MessageDma>,
    dirty: DirtyLog,
    irqs: RefCell<Irqs>,
    refused: Cell<u64>,
    pending: Cell<u64>,
    maps: u64,
    unmaps: u64,
}

/// What happened on the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusCounters {
    /// Accesses to memory that was not mapped, or not with that right.
    pub refused: u64,
    /// Accesses that had to wait for an answer of the client.
    pub pending: u64,
    /// `DMA_MAP` messages, those that were refused too.
    pub maps: u64,
    /// `DMA_UNMAP` messages, likewise.
    pub unmaps: u64,
    /// Ranges that are mapped now.
    pub ranges: u64,
}

impl ClientBus {
    /// A bus without memory and interrupts.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            memory: IovaTable::default(),
            release: None,
            messages: RefCell::default(),
            dirty: DirtyLog::default(),
            irqs: RefCell::new(Irqs::new(registry)),
            refused: Cell::new(0),
            pending: Cell::new(0),
            maps: 0,
            unmaps: 0,
        }
    }

    /// The client's memory.
    pub const fn memory(&mut self) -> &mut IovaTable {
        &mut self.memory
    }

    /// The ranges of the client's memory, by address.
    pub fn ranges(&self) -> impl Iterator<Item = MappedRange> + '_ {
        self.memory.ranges()
    }

    /// The client's interrupts.
    pub fn irqs(&mut self) -> &mut Irqs {
        self.irqs.get_mut()
    }

    /// The client is gone: forgets its memory, what was under way, and its interrupts.
    pub fn disconnect(&mut self) {
        self.memory.unmap_all();
        *self.messages.get_mut() = MessageDma::default();
        self.dirty.stop();
        self.irqs.get_mut().disable_all();
    }

    /// What the card has written.
    pub(crate) const fn dirty_log(&mut self) -> &mut DirtyLog {
        &mut self.dirty
    }

    /// Whether the client still has to acknowledge writes by messages.
    #[must_use]
    pub fn has_unacknowledged_writes(&self) -> bool {
        self.messages.borrow().has_writes()
    }

    /// Tells the time.
    pub fn advance(&mut self, now: Time) {
        self.messages.get_mut().advance(now);
        if self.release.is_some_and(|time| time <= now) {
            self.release = None;
            self.memory.release_idle();
        }
    }

    /// The client maps memory.
    pub const fn mapped(&mut self) {
        self.maps = self.maps.wrapping_add(1);
    }

    /// Memory was taken back. Files that it leaves without use are unmapped a second after the last time.
    pub fn unmapped(&mut self, now: Time) {
        self.unmaps = self.unmaps.wrapping_add(1);
        self.forget_answers();
        let nanos = u64::try_from(IDLE_FILES.as_nanos()).unwrap_or(u64::MAX);
        self.release = Some(now.plus_nanos(nanos));
    }

    /// When [`ClientBus::advance`] has something to do.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.release
    }

    /// The model has done its step of this turn.
    pub fn end_turn(&mut self) {
        self.messages.get_mut().end_turn();
    }

    /// Whether the client is so far behind with its acknowledgements that no new work should be begun.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.messages.borrow().is_congested()
    }

    /// The next message to send to the client.
    pub fn next_command(&mut self) -> Option<Command> {
        self.messages.get_mut().next_command()
    }

    /// Puts a message back that cannot be sent now.
    pub fn put_back(&mut self, command: Command) {
        self.messages.get_mut().put_back(command);
    }

    /// The client has answered, or with `None` refused, a read.
    pub fn read_done(&mut self, serial: Serial, data: Option<&[u8]>) {
        self.messages.get_mut().read_done(serial, data);
    }

    /// The client has acknowledged a write, or refused it.
    pub fn write_done(&mut self, serial: Serial, accepted: bool) {
        if !accepted {
            self.refused.set(self.refused.get().wrapping_add(1));
        }
        let irqs = self.irqs.get_mut();
        self.messages
            .get_mut()
            .write_done(serial, |signal| irqs.signal(signal));
    }

    /// A message cannot be sent at all: the access is refused.
    pub fn refuse(&mut self, command: &Command) {
        match command {
            Command::Read { serial, .. } => self.read_done(*serial, None),
            Command::Write { serial, .. } => self.write_done(*serial, false),
        }
    }

    /// Drops all that was read by messages.
    fn forget_answers(&mut self) {
        self.messages.get_mut().forget_answers();
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> BusCounters {
        BusCounters {
            refused: self.refused.get(),
            pending: self.pending.get(),
            maps: self.maps,
            unmaps: self.unmaps,
            ranges: self.memory.len() as u64,
        }
    }

    /// What happened to interrupts so far.
    #[must_use]
    pub fn interrupt_counters(&self) -> IrqCounters {
        self.irqs.borrow().counters()
    }

    fn counted<T>(&self, result: Result<T, DmaError>) -> Result<T, DmaError> {
        let counter = match result {
            Ok(_) => return result,
            Err(DmaError::Refused { .. }) => &self.refused,
            Err(DmaError::Pending) => &self.pending,
        };
        counter.set(counter.get().wrapping_add(1));
        result
    }

    /// Cuts an access that the table alone cannot serve into parts. Nothing is touched; an access that is refused is
    /// refused as a whole.
    fn parts(&self, iova: u64, len: usize, right: Permissions) -> Result<Parts, DmaError> {
        let mut parts = Parts::new();
        let mut at = iova;
        let mut left = len;
        while left > 0 {
            match self.memory.slices(at, left, right).map(drop) {
                Ok(()) => {
                    parts.push(Part::Mapped {
                        iova: at,
                        len: left,
                    });
                    break;
                }
                Err(AccessError::MessageBacked { iova, len }) => {
                    let mapped = usize::try_from(iova.wrapping_sub(at))
                        .unwrap_or(left)
                        .min(left);
                    let len = len.clamp(1, left.saturating_sub(mapped).max(1));
                    if mapped > 0 {
                        parts.push(Part::Mapped {
                            iova: at,
                            len: mapped,
                        });
                    }
                    parts.push(Part::Messages { iova, len });
                    left = left.saturating_sub(mapped).saturating_sub(len);
                    at = iova.wrapping_add(len as u64);
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(parts)
    }

    fn read_parts(&self, iova: u64, to: &mut [u8]) -> Result<(), DmaError> {
        let mut result = Ok(());
        let mut rest = to;
        for part in self.parts(iova, rest.len(), Permissions::Read)? {
            let (to, later) = rest.split_at_mut(part.len());
            rest = later;
            match part {
                Part::Mapped { iova, .. } => self.memory.read(iova, to).map_err(refused)?,
                Part::Messages { iova, len } => {
                    let mut at = 0_usize;
                    let read = self.messages.borrow_mut().read(iova, len, |answer, range| {
                        let end = at.saturating_add(range.len());
                        if let (Some(to), Some(from)) = (to.get_mut(at..end), answer.get(range)) {
                            to.copy_from_slice(from);
                        }
                        at = end;
                    });
                    result = first_refusal(result, read)?;
                }
            }
        }
        result
    }

    fn gather_parts<'a>(
        &'a self,
        iova: u64,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        let mut result = Ok(());
        for part in self.parts(iova, len, Permissions::Read)? {
            match part {
                Part::Mapped { iova, len } => {
                    let slices = self.memory.slices(iova, len, Permissions::Read);
                    spans.extend(slices.map_err(refused)?.map(Span::Mapped));
                }
                Part::Messages { iova, len } => {
                    let read = self.messages.borrow_mut().read(iova, len, |answer, range| {
                        spans.push(Span::Owned(if range.len() == answer.len() {
                            Rc::clone(answer)
                        } else {
                            answer.get(range).unwrap_or_default().into()
                        }));
                    });
                    result = first_refusal(result, read)?;
                }
            }
        }
        result
    }

    fn write_parts(&self, iova: u64, from: &[u8]) -> Result<(), DmaError> {
        let mut rest = from;
        for part in self.parts(iova, rest.len(), Permissions::Write)? {
            let (from, later) = rest.split_at(part.len());
            rest = later;
            match part {
                Part::Mapped { iova, .. } => self.memory.write(iova, from).map_err(refused)?,
                Part::Messages { iova, .. } => self.messages.borrow_mut().write(iova, from)?,
            }
        }
        Ok(())
    }
}

impl Bus for ClientBus {
    fn read(&self, _by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        match self.memory.read(iova.0, to) {
            Ok(()) => Ok(()),
            Err(AccessError::MessageBacked { .. }) => self.counted(self.read_parts(iova.0, to)),
            Err(error) => self.counted(Err(refused(error))),
        }
    }

    fn write(&self, _by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let result = match self.memory.write(iova.0, from) {
            Ok(()) => Ok(()),
            Err(AccessError::MessageBacked { .. }) => self.counted(self.write_parts(iova.0, from)),
            Err(error) => self.counted(Err(refused(error))),
        };
        if result.is_ok() {
            self.dirty.wrote(iova.0, from.len());
        }
        result
    }

    fn write_back(&self, _by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        let result = match self.memory.write_back(iova.0, low, high) {
            Ok(()) => Ok(()),
            Err(AccessError::MessageBacked { .. }) => {
                // Two messages: nothing says in which order a client copies one of 16 bytes.
                let low = self.write_parts(iova.0, &low.to_le_bytes());
                let high = low
                    .and_then(|()| self.write_parts(iova.0.wrapping_add(8), &high.to_le_bytes()));
                self.counted(high)
            }
            Err(error) => self.counted(Err(refused(error))),
        };
        if result.is_ok() {
            self.dirty.wrote(iova.0, 16);
        }
        result
    }

    fn gather<'a>(
        &'a self,
        _by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        match self.memory.slices(iova.0, len, Permissions::Read) {
            Ok(slices) => {
                spans.extend(slices.map(Span::Mapped));
                Ok(())
            }
            Err(AccessError::MessageBacked { .. }) => {
                self.counted(self.gather_parts(iova.0, len, spans))
            }
            Err(error) => self.counted(Err(refused(error))),
        }
    }

    fn window(&self, _by: Requester, iova: Iova, right: Right) -> Option<Window<'_>> {
        let access = match right {
            Right::Read => Permissions::Read,
            // Each write has to be seen.
            Right::Write if self.dirty.is_on() => return None,
            Right::Write => Permissions::Write,
        };
        let (first, memory) = self.memory.window(iova.0, access)?;
        Some(Window::new(Iova(first), memory))
    }

    fn prefetch(&self, memory: &VolatileSlice<'_>, right: Right) {
        match right {
            Right::Read => prefetch_for_read(memory),
            Right::Write => prefetch_for_write(memory),
        }
    }

    fn retire(&self) {
        self.messages.borrow_mut().retire();
    }

    fn signal(&self, _by: Requester, signal: Signal) {
        if !self.messages.borrow_mut().hold(signal) {
            self.irqs.borrow_mut().signal(signal);
        }
    }
}

/// A part of an access, by what stands behind it.
#[derive(Clone, Copy, Debug)]
enum Part {
    Mapped { iova: u64, len: usize },
    Messages { iova: u64, len: usize },
}

type Parts = SmallVec<[Part; 4]>;

impl Part {
    const fn len(self) -> usize {
        match self {
            Self::Mapped { len, .. } | Self::Messages { len, .. } => len,
        }
    }
}

fn refused(error: AccessError) -> DmaError {
    let (AccessError::Unmapped { iova }
    | AccessError::Permission { iova }
    | AccessError::MessageBacked { iova, .. }
    | AccessError::Gone { iova }
    | AccessError::Misaligned { iova }) = error;
    DmaError::Refused { iova }
}

/// Goes on after `Pending`, so that all that is missing is asked for at once; a refusal ends the access.
fn first_refusal(
    so_far: Result<(), DmaError>,
    next: Result<(), DmaError>,
) -> Result<Result<(), DmaError>, DmaError> {
    match next {
        Err(DmaError::Refused { .. }) => next.map(Ok),
        _ => Ok(so_far.and(next)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::OwnedFd};

    use guest_memory::Backing;
    use nix::{
        sys::memfd::{MFdFlags, memfd_create},
        unistd::ftruncate,
    };

    use super::*;
    use crate::events::Events;

    const PAGE: u64 = 4096;

    fn memory(name: &str) -> OwnedFd {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&fd, PAGE.cast_signed()).unwrap();
        fd
    }

    fn is_mapped(name: &str) -> bool {
        let maps = std::io::read_to_string(File::open("/proc/self/maps").unwrap()).unwrap();
        maps.contains(name)
    }

    #[test]
    fn a_file_that_nothing_uses_is_unmapped_after_a_second() {
        let name = "bus-release-test";
        let mut bus = ClientBus::new(Events::new().unwrap().registry());
        let backing = Backing::File {
            fd: memory(name),
            offset: 0,
        };
        bus.memory()
            .map(0, PAGE, Permissions::ReadWrite, backing)
            .unwrap();
        bus.memory().unmap(0, PAGE).unwrap();

        bus.unmapped(Time::ZERO);
        let due = bus.deadline().unwrap();
        bus.advance(Time::from_nanos(due.as_nanos() - 1));
        let kept = is_mapped(name);
        bus.advance(due);
        let released = !is_mapped(name);

        assert!(kept && released, "kept {kept}, released {released}");
        assert_eq!(due, Time::from_nanos(1_000_000_000));
        assert_eq!(bus.deadline(), None);
    }
}
