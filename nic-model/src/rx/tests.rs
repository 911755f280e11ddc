//! The receive side from the wire to client memory.

mod checksums;
mod coalescing;
mod counters;
mod delivery;
mod express;
mod fc;
mod filters;
mod flow_director;
mod hostile;
mod mac;
mod pools;
mod precedence;
mod rings;
mod splitting;
mod status;

use etherparse::PacketBuilder;
use ixgbe_spec::descriptor::rx::WriteBack;
use zerocopy::FromBytes;

use super::*;
use crate::{dma::Dma, faults::GuestFaults, interrupt::Interrupts, testing::TestBus, time::Time};

const RING: u64 = TestBus::BASE;
const BUFFERS: u64 = TestBus::BASE + 0x8_0000;
const BUFFER_LEN: u64 = 0x1000;
const MEMORY: usize = 0x90_0000;

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];

const ENABLE: u32 = 1 << 25;
const VME: u32 = 1 << 30;
const ONE_BUFFER: u32 = 1 << 25;
const DROP_EN: u32 = 1 << 28;

/// A receive side with its surroundings. Rings of queue `q` lie at `RING + q * 0x1000`, of 16 descriptors each.
struct Bench {
    rx: Receive,
    regs: RegisterFile,
    irq: Interrupts,
    timesync: TimeSync,
    ipsec: IpSec,
    faults: GuestFaults,
    bus: TestBus,
    now: Time,
}

impl Bench {
    /// Receive is on, with the station's address and broadcast; no queue is enabled.
    fn new() -> Self {
        let mut bench = Self {
            rx: Receive::default(),
            regs: RegisterFile::default(),
            irq: Interrupts::default(),
            timesync: TimeSync::default(),
            ipsec: IpSec::default(),
            faults: GuestFaults::default(),
            bus: TestBus::new(MEMORY),
            now: Time::ZERO,
        };
        bench.write(Reg::RAL, 0, u32::from_le_bytes([2, 0, 0, 0]));
        bench.write(Reg::RAH, 0, 1 << 31 | 0x0100);
        bench.write(Reg::FCTRL, 0, 1 << 10);
        bench.write(Reg::RXCTRL, 0, rxctrl::RXEN);
        bench
    }

    /// As [`Bench::new`], and queue 0 has 15 advanced descriptors with buffers of 2 KB.
    fn with_queue() -> Self {
        let mut bench = Self::new();
        bench.queue(0, ONE_BUFFER | 2);
        bench.post(0, 0, 15);
        bench
    }

    fn write(&mut self, reg: Reg, index: usize, value: u32) {
        let old = self.regs.get(reg, index);
        let new = self.regs.write(reg, index, value);
        self.with_hw(|rx, hw| rx.written(reg, index, old, new, hw));
    }

    /// Writes a register that has no storage of its own.
    fn write_effect(&mut self, reg: Reg, value: u32) {
        self.with_hw(|rx, hw| rx.written(reg, 0, 0, value, hw));
    }

    fn queue(&mut self, q: usize, srrctl: u32) {
        let base = u32::try_from(RING).unwrap() + 0x1000 * u32::try_from(q).unwrap();
        self.write(Reg::RDBAL, q, base);
        self.write(Reg::RDLEN, q, 256);
        self.write(Reg::SRRCTL, q, srrctl);
        self.write(Reg::RXDCTL, q, self.regs.get(Reg::RXDCTL, q) | ENABLE);
    }

    /// Fills descriptors `from..to` of queue `q` with addresses and moves the tail to `to`.
    fn post(&mut self, q: usize, from: u16, to: u16) {
        for n in from..to {
            let n = u64::from(n);
            let buffer = (buffer(q, n)).to_le_bytes();
            self.bus.poke(descriptor(q, n), &buffer);
            self.bus.poke(descriptor(q, n) + 8, &[0; 8]);
        }
        self.write(Reg::RDT, q, u32::from(to) % 16);
    }

    /// Lets receive work with the rest of the port.
    fn with_hw<T>(&mut self, act: impl FnOnce(&mut Receive, &mut Hw<'_>) -> T) -> T {
        let mut hw = Hw {
            now: self.now,
            dma: Dma::new(&self.bus),
            regs: &mut self.regs,
            irq: &mut self.irq,
            timesync: &self.timesync,
            ipsec: &self.ipsec,
            faults: &mut self.faults,
        };
        act(&mut self.rx, &mut hw)
    }

    fn receive(&mut self, frame: &RxFrame<'_>) -> Verdict {
        let verdict = self.with_hw(|rx, hw| rx.receive(frame, None, hw));
        self.rx.settle(&mut self.regs);
        verdict
    }

    fn step(&mut self) -> bool {
        let more = self.with_hw(|rx, hw| rx.step(64, hw));
        self.rx.settle(&mut self.regs);
        more
    }

    fn written_back(&self, q: usize, n: u64) -> WriteBack {
        WriteBack::read_from_bytes(&self.bus.peek(descriptor(q, n), 16)).unwrap()
    }

    fn data(&self, q: usize, n: u64) -> Vec<u8> {
        let len = self.written_back(q, n).length.get();
        self.bus.peek(buffer(q, n), len.into())
    }

    fn get(&self, reg: Reg) -> u32 {
        self.regs.get(reg, 0)
    }
}

fn descriptor(q: usize, n: u64) -> u64 {
    RING + 0x1000 * q as u64 + 16 * n
}

fn buffer(q: usize, n: u64) -> u64 {
    BUFFERS + BUFFER_LEN * (16 * q as u64 + n)
}

fn frame_to(mac: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..=255).cycle().take(len).collect();
    frame[..6].copy_from_slice(&mac);
    frame[6..12].copy_from_slice(&PEER);
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    frame
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([66, 9, 149, 187], [161, 142, 100, 80], 64)
        .udp(2794, 1766)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([66, 9, 149, 187], [161, 142, 100, 80], 64)
        .tcp(2794, 1766, 1, 2)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn tagged(mut frame: Vec<u8>, tci: u16) -> Vec<u8> {
    let [a, b] = tci.to_be_bytes();
    frame.splice(12..12, [0x81, 0, a, b]);
    frame
}

const DELIVERED: Verdict = Verdict::Delivered { queue: 0 };
