//! Client memory for tests and benches: flat, with ranges that refuse or that answer later.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
};

use crate::bus::{Bus, DmaError, Iova, Requester, Signal, Span, Spans};

/// A [`Bus`] over one flat piece of memory that starts at [`TestBus::BASE`], so that an address of 0 is never mapped.
#[derive(Debug)]
pub struct TestBus {
    memory: RefCell<Vec<u8>>,
    refused: RefCell<Vec<Range<u64>>>,
    pending: RefCell<Vec<Range<u64>>>,
    recording: Cell<bool>,
    writes: RefCell<Vec<Range<u64>>>,
    reads: RefCell<Vec<Range<u64>>>,
    signals: RefCell<Vec<(Requester, Signal)>>,
    retired: Cell<usize>,
}

impl TestBus {
    /// Address of the first byte of memory.
    pub const BASE: u64 = 0x1_0000;

    /// Memory of `size` zero bytes.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            memory: RefCell::new(vec![0; size]),
            refused: RefCell::default(),
            pending: RefCell::default(),
            recording: Cell::new(true),
            writes: RefCell::default(),
            reads: RefCell::default(),
            signals: RefCell::default(),
            retired: Cell::new(0),
        }
    }

    /// Stops the record of accesses and signals (for benches).
    #[must_use]
    pub fn without_record(self) -> Self {
        self.recording.set(false);
        self
    }

    /// Every access that touches `range` is refused from now on.
    pub fn refuse(&self, range: Range<u64>) {
        self.refused.borrow_mut().push(range);
    }

    /// Every read that touches `range` is pending until [`TestBus::answer`].
    pub fn delay(&self, range: Range<u64>) {
        self.pending.borrow_mut().push(range);
    }

    /// Reads that were pending succeed from now on.
    pub fn answer(&self) {
        self.pending.borrow_mut().clear();
    }

    /// Writes test data without a record of it.
    ///
    /// # Panics
    /// If the range lies outside of memory.
    pub fn poke(&self, iova: u64, bytes: &[u8]) {
        let range = self.offsets(iova, bytes.len()).expect("in memory");
        self.memory.borrow_mut()[range].copy_from_slice(bytes);
    }

    /// A copy of `len` bytes at `iova`.
    ///
    /// # Panics
    /// If the range lies outside of memory.
    #[must_use]
    pub fn peek(&self, iova: u64, len: usize) -> Vec<u8> {
        let range = self.offsets(iova, len).expect("in memory");
        self.memory.borrow()[range].to_vec()
    }

    /// The ranges that were written since the last call, in order.
    pub fn take_writes(&self) -> Vec<Range<u64>> {
        self.writes.take()
    }

    /// The ranges that were read since the last call, in order.
    pub fn take_reads(&self) -> Vec<Range<u64>> {
        self.reads.take()
    }

    /// The signals since the last call, in order.
    pub fn take_signals(&self) -> Vec<(Requester, Signal)> {
        self.signals.take()
    }

    /// How often [`Bus::retire`] was called.
    #[must_use]
    pub fn retired(&self) -> usize {
        self.retired.get()
    }

    fn offsets(&self, iova: u64, len: usize) -> Option<Range<usize>> {
        let start = usize::try_from(iova.checked_sub(Self::BASE)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.memory.borrow().len()).then_some(start..end)
    }

    fn check(&self, iova: Iova, len: usize, ranges: &RefCell<Vec<Range<u64>>>) -> bool {
        let end = iova.0.saturating_add(len as u64);
        ranges
            .borrow()
            .iter()
            .any(|range| range.start < end && iova.0 < range.end)
    }

    fn access(&self, iova: Iova, len: usize) -> Result<Range<usize>, DmaError> {
        let refused = DmaError::Refused { iova: iova.0 };
        if self.check(iova, len, &self.refused) {
            return Err(refused);
        }
        self.offsets(iova.0, len).ok_or(refused)
    }

    fn read_access(&self, iova: Iova, len: usize) -> Result<Range<usize>, DmaError> {
        let range = self.access(iova, len)?;
        if self.check(iova, len, &self.pending) {
            return Err(DmaError::Pending);
        }
        self.record(&self.reads, iova, len);
        Ok(range)
    }

    fn record(&self, log: &RefCell<Vec<Range<u64>>>, iova: Iova, len: usize) {
        if self.recording.get() {
            log.borrow_mut().push(iova.0..iova.0 + len as u64);
        }
    }
}

impl Bus for TestBus {
    fn read(&self, _by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        let range = self.read_access(iova, to.len())?;
        to.copy_from_slice(&self.memory.borrow()[range]);
        Ok(())
    }

    fn write(&self, _by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let range = self.access(iova, from.len())?;
        self.record(&self.writes, iova, from.len());
        self.memory.borrow_mut()[range].copy_from_slice(from);
        Ok(())
    }

    fn write_back(&self, by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        self.write(by, iova, &bytes)
    }

    fn gather<'a>(
        &'a self,
        _by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        let range = self.read_access(iova, len)?;
        let bytes: Rc<[u8]> = self.memory.borrow()[range].into();
        spans.push(Span::Owned(bytes));
        Ok(())
    }

    fn retire(&self) {
        self.retired.set(self.retired.get() + 1);
    }

    fn signal(&self, by: Requester, signal: Signal) {
        if self.recording.get() {
            self.signals.borrow_mut().push((by, signal));
        }
    }
}
