//! Client memory for tests and benches: flat, with ranges that refuse or that answer later.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
};

use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

use ixgbe_spec::register::Reg;

use crate::{
    Bar, Context, Port, PortConfig, Time, Wire,
    bus::{Bus, DmaError, Iova, Requester, Right, Signal, Span, Spans, Window},
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

/// A [`Bus`] over one flat piece of memory that starts at [`TestBus::BASE`], so that an address of 0 is never mapped.
#[derive(Debug)]
pub struct TestBus {
    memory: MmapRegion<()>,
    refused: RefCell<Vec<Range<u64>>>,
    read_only: RefCell<Vec<Range<u64>>>,
    pending: RefCell<Vec<Range<u64>>>,
    answered: RefCell<Vec<Range<u64>>>,
    asked: RefCell<Vec<Range<u64>>>,
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
    ///
    /// # Panics
    /// If there is no such amount of memory, or `size` is 0.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            memory: MmapRegion::new(size).expect("memory for a test"),
            refused: RefCell::default(),
            read_only: RefCell::default(),
            pending: RefCell::default(),
            answered: RefCell::default(),
            asked: RefCell::default(),
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

    /// Every write that touches `range` is refused from now on.
    pub fn refuse_writes(&self, range: Range<u64>) {
        self.read_only.borrow_mut().push(range);
    }

    /// Every read that touches `range` is pending until [`TestBus::answer`].
    pub fn delay(&self, range: Range<u64>) {
        self.pending.borrow_mut().push(range);
    }

    /// Reads that were pending succeed from now on; gathered, they are copies.
    pub fn answer(&self) {
        self.answered
            .borrow_mut()
            .append(&mut self.pending.borrow_mut());
    }

    /// Writes test data without a record of it.
    ///
    /// # Panics
    /// If the range lies outside of memory.
    pub fn poke(&self, iova: u64, bytes: &[u8]) {
        let slice = self.slice(iova, bytes.len()).expect("in memory");
        slice.copy_from(bytes);
    }

    /// A copy of `len` bytes at `iova`.
    ///
    /// # Panics
    /// If the range lies outside of memory.
    #[must_use]
    pub fn peek(&self, iova: u64, len: usize) -> Vec<u8> {
        let slice = self.slice(iova, len).expect("in memory");
        let mut bytes = vec![0; len];
        slice.copy_to(&mut bytes);
        bytes
    }

    /// The ranges that were written since the last call, in order.
    pub fn take_writes(&self) -> Vec<Range<u64>> {
        self.writes.take()
    }

    /// The ranges that were read since the last call, in order.
    pub fn take_reads(&self) -> Vec<Range<u64>> {
        self.reads.take()
    }

    /// The ranges whose read was pending since the last call, in order.
    pub fn take_asked(&self) -> Vec<Range<u64>> {
        self.asked.take()
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

    fn slice(&self, iova: u64, len: usize) -> Option<VolatileSlice<'_>> {
        let start = usize::try_from(iova.checked_sub(Self::BASE)?).ok()?;
        self.memory.get_slice(start, len).ok()
    }

    fn touches(iova: Iova, len: usize, ranges: &RefCell<Vec<Range<u64>>>) -> bool {
        let end = iova.0.saturating_add(len as u64);
        ranges
            .borrow()
            .iter()
            .any(|range| range.start < end && iova.0 < range.end)
    }

    fn access(&self, iova: Iova, len: usize) -> Result<VolatileSlice<'_>, DmaError> {
        let refused = DmaError::Refused { iova: iova.0 };
        if Self::touches(iova, len, &self.refused) {
            return Err(refused);
        }
        self.slice(iova.0, len).ok_or(refused)
    }

    fn read_access(&self, iova: Iova, len: usize) -> Result<VolatileSlice<'_>, DmaError> {
        let slice = self.access(iova, len)?;
        if Self::touches(iova, len, &self.pending) {
            self.record(&self.asked, iova, len);
            return Err(DmaError::Pending);
        }
        self.record(&self.reads, iova, len);
        Ok(slice)
    }

    fn record(&self, log: &RefCell<Vec<Range<u64>>>, iova: Iova, len: usize) {
        if self.recording.get() {
            log.borrow_mut().push(iova.0..iova.0 + len as u64);
        }
    }
}

impl Bus for TestBus {
    fn read(&self, _by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        self.read_access(iova, to.len())?.copy_to(to);
        Ok(())
    }

    fn write(&self, _by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let slice = self.access(iova, from.len())?;
        if Self::touches(iova, from.len(), &self.read_only) {
            return Err(DmaError::Refused { iova: iova.0 });
        }
        self.record(&self.writes, iova, from.len());
        slice.copy_from(from);
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
        let slice = self.read_access(iova, len)?;
        spans.push(if Self::touches(iova, len, &self.answered) {
            let mut bytes = vec![0; len];
            slice.copy_to(&mut bytes);
            Span::Owned(bytes.into())
        } else {
            Span::Mapped(slice)
        });
        Ok(())
    }

    fn window(&self, _by: Requester, _iova: Iova, _right: Right) -> Option<Window<'_>> {
        // Each access is to be seen, while there is a record of them.
        let all = self.memory.get_slice(0, self.memory.size()).ok()?;
        (!self.recording.get()).then_some(Window::new(Iova(Self::BASE), all))
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

/// A wire from which nothing comes, and on which all is lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence;

impl Wire for Silence {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, _frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        Ok(())
    }

    fn receive(&mut self, _budget: usize, _sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        true
    }
}

/// Descriptors of the ring of [`receiving_port`].
pub const RING: u64 = TestBus::BASE;
/// Its first buffer; each has 2 KB.
pub const BUFFERS: u64 = TestBus::BASE + 0x1000;

/// A port that receives: its driver has posted seven of the eight descriptors of queue 0's ring at [`RING`], and the
/// cause of that queue interrupts by the pin. `bus` has 64 KB at least.
#[must_use]
pub fn receiving_port(mac: [u8; 6], bus: &TestBus) -> Port {
    let mut port = Port::new(PortConfig::new(mac));
    bring_up(&mut port, bus);
    port
}

/// Makes a port that nobody has called yet receive as [`receiving_port`] does.
pub fn bring_up(port: &mut Port, bus: &TestBus) {
    let mut context = Context {
        now: Time::from_nanos(1_000_000_000),
        bus,
        wire: &mut Silence,
    };
    port.set_carrier(true, &mut context);
    // Memory and bus mastering.
    port.config_write(0x04, &6_u16.to_le_bytes(), &mut context);
    for n in 0..8 {
        bus.poke(RING + 16 * n, &(BUFFERS + 2048 * n).to_le_bytes());
    }
    let base = u32::try_from(RING).unwrap_or(0);
    for (reg, value) in [
        (Reg::RXCTRL, 1),
        (Reg::RDBAL, base),
        (Reg::RDLEN, 128),
        // Advanced descriptors, buffers of 2 KB.
        (Reg::SRRCTL, 0x0200_0002),
        (Reg::RXDCTL, 1 << 25),
        (Reg::IVAR, 0x8180),
        (Reg::EICR, u32::MAX),
        (Reg::EIMS, 1),
        (Reg::RDT, 7),
    ] {
        let offset = u64::from(reg.offset(0));
        port.bar_write(Bar::Csr, offset, &value.to_le_bytes(), &mut context);
    }
}
