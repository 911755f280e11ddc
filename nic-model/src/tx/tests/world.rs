//! A transmit side with everything that surrounds it, and the driver's hand.

use ixgbe_spec::{
    descriptor::tx::{
        Context, ContextHigh, ContextLow, Data, DataControl, Descriptor, L4Type, Legacy,
        LegacyControl,
    },
    register::Reg,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    Time,
    bus::Span,
    dma::Dma,
    faults::GuestFaults,
    hw::Hw,
    interrupt::Interrupts,
    ipsec::IpSec,
    regs::RegisterFile,
    testing::TestBus,
    timesync::TimeSync,
    tx::{Egress, Reach, Transmit},
    wire::{Capabilities, Offload, TxFrame, WireBusy},
};

/// A frame as the wire got it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub bytes: Vec<u8>,
    pub offload: Offload,
    /// How many bytes were in the client's own pages.
    pub mapped: usize,
}

/// A wire that keeps what it gets.
#[derive(Debug, Default)]
pub struct TestWire {
    pub capabilities: Capabilities,
    pub frames: Vec<Sent>,
    /// Frames that are taken before the wire is busy.
    pub room: Option<usize>,
}

impl Egress for TestWire {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn send(
        &mut self,
        frame: &TxFrame<'_>,
        _queue: usize,
        _hw: &mut Hw<'_>,
    ) -> Result<Reach, WireBusy> {
        match &mut self.room {
            Some(0) => return Err(WireBusy),
            Some(room) => *room -= 1,
            None => {}
        }
        let mapped = frame.payload.iter().map(|span| match span {
            Span::Mapped(slice) => slice.len(),
            Span::Owned(_) => 0,
        });
        self.frames.push(Sent {
            bytes: frame.to_vec(),
            offload: frame.offload,
            mapped: mapped.sum(),
        });
        Ok(Reach::Network)
    }
}

pub struct World {
    pub bus: TestBus,
    pub regs: RegisterFile,
    pub irq: Interrupts,
    pub faults: GuestFaults,
    pub ipsec: IpSec,
    pub tx: Transmit,
    pub wire: TestWire,
    pub now: Time,
    free: u64,
}

/// The ring of queue `n` starts at `RINGS + n * RING_STRIDE`.
pub const RINGS: u64 = TestBus::BASE;
pub const RING_STRIDE: u64 = 0x2000;
const BUFFERS: u64 = RINGS + 4 * RING_STRIDE;

impl World {
    /// Transmit is enabled, no queue is.
    pub fn new() -> Self {
        let mut world = Self {
            bus: TestBus::new(1 << 20),
            regs: RegisterFile::default(),
            irq: Interrupts::default(),
            faults: GuestFaults::default(),
            ipsec: IpSec::default(),
            tx: Transmit::default(),
            wire: TestWire::default(),
            now: Time::ZERO,
            free: BUFFERS,
        };
        world.write(Reg::DMATXCTL, 0, 0x8100_0001);
        world.write(Reg::TXDCTL, 0, 0);
        world
    }

    /// A world with queue 0 enabled, its ring of `len` descriptors.
    pub fn with_ring(len: u32) -> Self {
        let mut world = Self::new();
        world.enable(0, len);
        world
    }

    pub fn write(&mut self, reg: Reg, index: usize, value: u32) {
        let old = self.regs.get(reg, index);
        let new = self.regs.write(reg, index, value);
        let Self {
            bus,
            regs,
            irq,
            faults,
            ipsec,
            tx,
            now,
            ..
        } = self;
        let mut hw = Hw {
            now: *now,
            dma: Dma::new(bus),
            regs,
            irq,
            timesync: &TimeSync::default(),
            ipsec,
            faults,
        };
        tx.written(reg, index, old, new, &mut hw);
    }

    pub fn enable(&mut self, queue: usize, len: u32) {
        let base = RINGS + RING_STRIDE * queue as u64;
        self.write(Reg::TDBAL, queue, u32::try_from(base).unwrap());
        self.write(Reg::TDLEN, queue, len * 16);
        self.write(Reg::TDH, queue, 0);
        self.write(Reg::TDT, queue, 0);
        self.write(Reg::TXDCTL, queue, 1 << 25);
    }

    /// One step of `budget` frames; whether more can be done.
    pub fn step(&mut self, budget: usize) -> bool {
        let Self {
            bus,
            regs,
            irq,
            faults,
            ipsec,
            tx,
            wire,
            now,
            ..
        } = self;
        let mut hw = Hw {
            now: *now,
            dma: Dma::new(bus),
            regs,
            irq,
            timesync: &TimeSync::default(),
            ipsec,
            faults,
        };
        tx.write_back(&mut hw);
        tx.step(budget, &mut hw, wire)
    }

    /// Steps until nothing more can be done at once.
    pub fn run(&mut self) {
        while self.step(64) {}
    }

    pub fn reset(&mut self) {
        self.tx.reset();
        self.regs = RegisterFile::default();
    }

    /// Puts bytes into a buffer of their own.
    pub fn buffer(&mut self, bytes: &[u8]) -> u64 {
        let address = self.free;
        self.bus.poke(address, bytes);
        self.free += bytes.len() as u64;
        address
    }

    fn len(&self, queue: usize) -> u32 {
        self.regs.get(Reg::TDLEN, queue) / 16
    }

    pub fn slot(queue: usize, position: u32) -> u64 {
        RINGS + RING_STRIDE * queue as u64 + 16 * u64::from(position)
    }

    /// Writes descriptors to the ring from the tail on, and rings the doorbell.
    pub fn post(&mut self, queue: usize, descriptors: &[Descriptor]) {
        let mut tail = self.regs.get(Reg::TDT, queue);
        for descriptor in descriptors {
            self.bus
                .poke(Self::slot(queue, tail), descriptor.as_bytes());
            tail = (tail + 1) % self.len(queue);
        }
        self.write(Reg::TDT, queue, tail);
    }

    /// Of the first `count` descriptors of queue 0, those that are done.
    pub fn done(&self, count: u32) -> Vec<u32> {
        (0..count)
            .filter(|position| self.descriptor(0, *position).is_done())
            .collect()
    }

    pub fn descriptor(&self, queue: usize, position: u32) -> Descriptor {
        let bytes = self.bus.peek(Self::slot(queue, position), 16);
        Descriptor::read_from_bytes(&bytes).unwrap()
    }

    /// An advanced packet in buffers of the lengths `cuts`, and the rest.
    pub fn packet(
        &mut self,
        bytes: &[u8],
        cuts: &[usize],
        control: DataControl,
    ) -> Vec<Descriptor> {
        let mut descriptors = Vec::new();
        let mut rest = bytes;
        for cut in cuts {
            let (piece, more) = rest.split_at(*cut);
            descriptors.push(self.data(piece, control));
            rest = more;
        }
        descriptors.push(self.data(rest, control.with_eop(true).with_rs(true)));
        descriptors
    }

    pub fn data(&mut self, bytes: &[u8], control: DataControl) -> Descriptor {
        let address = self.buffer(bytes);
        let control = control.with_dtalen(u16::try_from(bytes.len()).unwrap());
        Data { address, control }.into()
    }

    pub fn legacy(&mut self, bytes: &[u8], control: LegacyControl) -> Descriptor {
        let address = self.buffer(bytes);
        let control = control.with_length(u16::try_from(bytes.len()).unwrap());
        Legacy { address, control }.into()
    }

    /// Posts a packet without offloads on queue `queue`.
    pub fn send(&mut self, queue: usize, bytes: &[u8]) {
        let descriptors = self.packet(bytes, &[], plain(bytes.len()));
        self.post(queue, &descriptors);
    }

    /// The frames that were sent since the last call.
    pub fn sent(&mut self) -> Vec<Vec<u8>> {
        self.wire
            .frames
            .drain(..)
            .map(|frame| frame.bytes)
            .collect()
    }
}

/// Bits of a packet of `len` bytes without offloads.
pub fn plain(len: usize) -> DataControl {
    DataControl::new()
        .with_ifcs(true)
        .with_paylen(u32::try_from(len).unwrap())
}

pub struct Lengths {
    pub mac: u8,
    pub ip: u16,
    pub l4: u8,
}

/// A context for IPv4 (`ip` is 20) or IPv6.
pub fn context(lengths: &Lengths, l4t: L4Type, mss: u16) -> Context {
    Context {
        low: ContextLow::new()
            .with_maclen(lengths.mac)
            .with_iplen(lengths.ip),
        high: ContextHigh::new()
            .with_ipv4(lengths.ip < 40)
            .with_l4t(l4t)
            .with_l4len(lengths.l4)
            .with_mss(mss),
    }
}

/// A frame of `len` bytes that differ.
pub fn frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0_u8..=250).cycle().skip(3).take(len).collect();
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame
}
