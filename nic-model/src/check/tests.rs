//! For each rule a driver that breaks it, and one that does not.

mod buffers;
mod filters;
mod interrupts;
mod registers;
mod rings;
mod touched;
mod transmit;

use ixgbe_spec::{descriptor::tx, register::Reg};
use zerocopy::IntoBytes;

use super::{Checker, Findings};
use crate::{port::tests::world::World, testing::TestBus};

const ENABLE: u32 = 1 << 25;
const RXEN: u32 = 1;
const TE: u32 = 1;
/// One buffer of 2 KB, advanced.
const ONE_BUFFER: u32 = 1 << 25 | 2;
/// Descriptors of each ring.
const COUNT: u32 = 8;
const RX_RING: u64 = 0x2_0000;
const TX_RING: u64 = 0x3_0000;
const RX_BUFFERS: u64 = 0x4_0000;
const TX_BUFFERS: u64 = 0x8_0000;

/// A port whose driver is checked.
struct Bench {
    world: World,
    findings: Findings,
}

impl Bench {
    /// The driver has enabled memory and bus mastering.
    fn new() -> Self {
        let mut world = World::enabled();
        // A bus that is not recorded offers windows.
        world.bus = TestBus::new(0x10_0000).without_record();
        let checker = Checker::new();
        let findings = checker.findings();
        world.port.observe(Box::new(checker));
        Self { world, findings }
    }

    /// Receive and transmit queue 0 are enabled as the datasheet has it, their rings empty.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.place_receive(0);
        bench.world.set(Reg::RXCTRL, RXEN);
        bench.enable(Reg::RXDCTL, 0);
        bench.world.set(Reg::DMATXCTL, TE);
        bench.place_transmit();
        bench.enable(Reg::TXDCTL, 0);
        bench
    }

    fn set(&mut self, reg: Reg, value: u32) {
        self.world.set(reg, value);
    }

    fn place_receive(&mut self, queue: usize) {
        let at = RX_RING + 0x1000 * queue as u64;
        self.world
            .set_at(Reg::RDBAL, queue, u32::try_from(at).unwrap());
        self.world.set_at(Reg::RDLEN, queue, COUNT * 16);
        self.world.set_at(Reg::SRRCTL, queue, ONE_BUFFER);
    }

    fn place_transmit(&mut self) {
        self.set(Reg::TDBAL, u32::try_from(TX_RING).unwrap());
        self.set(Reg::TDLEN, COUNT * 16);
    }

    fn enable(&mut self, control: Reg, queue: usize) {
        self.world.set_at(control, queue, ENABLE);
        assert_eq!(self.world.get_at(control, queue) & ENABLE, ENABLE);
    }

    /// Writes a receive descriptor of queue 0.
    fn post(&self, index: u64, buffer: u64) {
        self.world
            .bus
            .poke(RX_RING + 16 * index, &buffer.to_le_bytes());
        self.world.bus.poke(RX_RING + 16 * index + 8, &[0; 8]);
    }

    /// Posts as many receive buffers as the ring takes, each with a place of its own.
    fn fill(&mut self) {
        for index in 0..u64::from(COUNT) {
            self.post(index, RX_BUFFERS + 0x800 * index);
        }
        self.set(Reg::RDT, COUNT - 1);
    }

    /// Writes a transmit descriptor.
    fn put(&self, index: u64, descriptor: impl Into<tx::Descriptor>) {
        let descriptor: tx::Descriptor = descriptor.into();
        self.world
            .bus
            .poke(TX_RING + 16 * index, descriptor.as_bytes());
    }

    /// Lets the card do all it can.
    fn run(&mut self) {
        while self.world.step() {}
    }

    /// The rules that were broken, in the order in which that was found.
    fn broken(&self) -> Vec<&'static str> {
        let all = self.findings.all();
        all.iter().map(|(finding, _)| finding.rule.name()).collect()
    }

    /// What is told of the only breach.
    fn told(&self) -> String {
        let all = self.findings.all();
        assert_eq!(all.len(), 1, "{:?}", self.broken());
        all[0].0.to_string()
    }
}

/// A packet of one buffer.
fn packet(buffer: u64, len: u16) -> tx::Data {
    let control = tx::DataControl::new()
        .with_dtalen(len)
        .with_eop(true)
        .with_ifcs(true)
        .with_rs(true)
        .with_paylen(len.into());
    tx::Data {
        address: buffer,
        control,
    }
}

/// A frame for the port.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0xFF; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0xB5]);
    frame.resize(len, 0x5A);
    frame
}
