//! A driver that keeps to the rules, with frames of any length and in any order of acts, against invariants:
//!
//! - each posted receive buffer is completed once, in order, or still posted;
//! - nothing is written outside of the rings and the posted buffers, nor into a completed buffer;
//! - each frame arrives as it was sent, each frame that was handed over leaves as it was, both in order;
//! - the counters add up with what came and went;
//! - no deadline lies in the past.

use std::{collections::VecDeque, ops::Range};

use ixgbe_spec::register::Reg;
use nic_model::{
    Bar, Context, Port, PortConfig, Time, Wire,
    rx::Verdict,
    testing::TestBus,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::bytes::Bytes;

/// Descriptors of each ring.
const SLOTS: u32 = 32;
/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 16;
/// Bytes of a receive buffer, as SRRCTL has them after a reset.
const BUFFER: u64 = 2048;
const RX_RING: u64 = TestBus::BASE;
const TX_RING: u64 = TestBus::BASE + 0x1000;
const RX_BUFFERS: u64 = TestBus::BASE + 0x2000;
const TX_BUFFERS: u64 = RX_BUFFERS + SLOTS as u64 * BUFFER;
const MEMORY: usize = 0x2000 + 2 * (SLOTS as usize) * 2048;
/// Legacy transmit descriptors: end of packet, insert FCS, report status.
const COMMAND: u64 = 0b1011 << 24;

#[derive(Debug, Default)]
struct Cable {
    busy: bool,
    sent: VecDeque<Vec<u8>>,
}

impl Wire for Cable {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if self.busy {
            return Err(WireBusy);
        }
        self.sent.push_back(frame.to_vec());
        Ok(())
    }

    fn receive(&mut self, _: usize, _: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        true
    }
}

struct Bench {
    port: Port,
    bus: TestBus,
    cable: Cable,
    now: Time,
    /// Receive slots that were posted and completed, from the start.
    posted: u32,
    completed: u32,
    /// Frames that the port took and that have not come up.
    coming: VecDeque<Vec<u8>>,
    /// Frames handed over, completed, and not yet seen on the cable.
    handed: u32,
    done: u32,
    leaving: VecDeque<Vec<u8>>,
    received: u32,
    sent: u32,
    number: u8,
}

/// Frames that came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Up to the driver.
    pub received: u32,
    /// Out on the cable.
    pub sent: u32,
}

/// Runs the driver that the input describes.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(input: &[u8]) {
    drive(input);
}

/// As [`run`], and tells what came through.
///
/// # Panics
/// If an invariant does not hold.
pub fn drive(input: &[u8]) -> Tally {
    let mut bench = Bench::new();
    let mut bytes = Bytes(input);
    let mut acts = 0;
    while !bytes.is_empty() && acts < 1000 {
        acts += 1;
        let act = bytes.byte();
        match act % 6 {
            0 => bench.post(u32::from(bytes.byte() % 40)),
            1 => bench.arrive(60 + usize::from(bytes.word()) % 1455),
            2 => bench.send(60 + usize::from(bytes.word()) % 1455),
            3 => bench.cable.busy = bytes.byte() % 2 == 1,
            4 => bench.pass(u64::from(bytes.dword())),
            _ => bench.look(),
        }
        bench.check_writes();
    }
    bench.finish();
    Tally {
        received: bench.received,
        sent: bench.sent,
    }
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            port: Port::new(PortConfig::new([2, 0, 0, 0, 0, 1])),
            bus: TestBus::new(MEMORY),
            cable: Cable::default(),
            now: Time::from_nanos(1_000_000_000),
            posted: 0,
            completed: 0,
            coming: VecDeque::new(),
            handed: 0,
            done: 0,
            leaving: VecDeque::new(),
            received: 0,
            sent: 0,
            number: 0,
        };
        bench.call(|port, context| {
            port.set_carrier(true, context);
            port.config_write(0x04, &[6, 0], context);
        });
        let low = |address: u64| u32::try_from(address).unwrap_or_default();
        let len = SLOTS * 16;
        for (reg, value) in [
            (Reg::FCTRL, 0x702),
            (Reg::RDBAL, low(RX_RING)),
            (Reg::RDLEN, len),
            (Reg::RXDCTL, 1 << 25),
            (Reg::RXCTRL, 1),
            (Reg::TDBAL, low(TX_RING)),
            (Reg::TDLEN, len),
            (Reg::DMATXCTL, 1),
            (Reg::TXDCTL, 1 << 25),
        ] {
            bench.set(reg, value);
        }
        bench.bus.take_writes();
        bench
    }

    fn call<T>(&mut self, act: impl FnOnce(&mut Port, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            now: self.now,
            bus: &self.bus,
            wire: &mut self.cable,
        };
        act(&mut self.port, &mut context)
    }

    fn set(&mut self, reg: Reg, value: u32) {
        let offset = reg.offset(0).into();
        self.call(|port, context| {
            port.bar_write(Bar::Csr, offset, &value.to_le_bytes(), context);
        });
    }

    fn get(&mut self, reg: Reg) -> u32 {
        let mut data = [0; 4];
        let offset = reg.offset(0).into();
        self.call(|port, context| port.bar_read(Bar::Csr, offset, &mut data, context));
        u32::from_le_bytes(data)
    }

    fn slot(ring: u64, number: u32) -> u64 {
        ring + u64::from(number % SLOTS) * DESCRIPTOR
    }

    fn buffer(buffers: u64, number: u32) -> u64 {
        buffers + u64::from(number % SLOTS) * BUFFER
    }

    /// Posts receive buffers, as many as there is room for.
    fn post(&mut self, count: u32) {
        // A ring is full when one slot is free.
        let room = SLOTS - 1 - (self.posted - self.completed);
        for _ in 0..count.min(room) {
            let mut descriptor = [0; 16];
            let buffer = Self::buffer(RX_BUFFERS, self.posted);
            descriptor[..8].copy_from_slice(&buffer.to_le_bytes());
            self.bus.poke(Self::slot(RX_RING, self.posted), &descriptor);
            self.posted += 1;
        }
        self.set(Reg::RDT, self.posted % SLOTS);
    }

    fn frame(&mut self, len: usize) -> Vec<u8> {
        self.number = self.number.wrapping_add(1);
        let mut frame = vec![self.number; len];
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        // A type that nobody parses further.
        frame[12..14].copy_from_slice(&[0x88, 0xB5]);
        frame
    }

    fn arrive(&mut self, len: usize) {
        let frame = self.frame(len);
        let verdict = self.call(|port, context| port.receive(&RxFrame::new(&frame), context));
        if !matches!(verdict, Verdict::Dropped(_)) {
            self.coming.push_back(frame);
        }
    }

    fn send(&mut self, len: usize) {
        if self.handed - self.done == SLOTS - 1 {
            return;
        }
        let frame = self.frame(len);
        let buffer = Self::buffer(TX_BUFFERS, self.handed);
        self.bus.poke(buffer, &frame);
        let mut descriptor = [0; 16];
        descriptor[..8].copy_from_slice(&buffer.to_le_bytes());
        let high = COMMAND | frame.len() as u64;
        descriptor[8..].copy_from_slice(&high.to_le_bytes());
        self.bus.poke(Self::slot(TX_RING, self.handed), &descriptor);
        self.leaving.push_back(frame);
        self.handed += 1;
        self.set(Reg::TDT, self.handed % SLOTS);
    }

    fn pass(&mut self, nanos: u64) {
        self.now = self.now.plus_nanos(nanos);
        let mut steps = 0;
        while self.call(Port::step) {
            steps += 1;
            assert!(steps < 10_000, "the card never rests");
        }
        if let Some(deadline) = self.port.deadline() {
            assert!(deadline > self.now, "the deadline is in the past");
        }
    }

    /// Takes what is completed.
    fn look(&mut self) {
        while self.completed < self.posted {
            let descriptor = self.bus.peek(Self::slot(RX_RING, self.completed), 16);
            // Length, checksum, status.
            if descriptor[12] & 1 == 0 {
                break;
            }
            let len = usize::from(u16::from_le_bytes([descriptor[8], descriptor[9]]));
            let expected = self.coming.pop_front();
            let got = self.bus.peek(Self::buffer(RX_BUFFERS, self.completed), len);
            assert_eq!(Some(got), expected, "a frame arrives as it was sent");
            self.completed += 1;
            self.received += 1;
        }
        while self.done < self.handed {
            let descriptor = self.bus.peek(Self::slot(TX_RING, self.done), 16);
            if descriptor[12] & 1 == 0 {
                break;
            }
            self.done += 1;
        }
        while let Some(frame) = self.cable.sent.pop_front() {
            assert_eq!(
                Some(frame),
                self.leaving.pop_front(),
                "a frame leaves as it was"
            );
            self.sent += 1;
        }
        assert!(
            self.done <= self.sent,
            "a frame is completed before it left"
        );
    }

    /// Every write of the card lies in a ring's posted slot or in a posted buffer.
    fn check_writes(&mut self) {
        for range in self.bus.take_writes() {
            let posted = (self.completed..self.posted).flat_map(|number| {
                let slot = Self::slot(RX_RING, number);
                let buffer = Self::buffer(RX_BUFFERS, number);
                [slot..slot + DESCRIPTOR, buffer..buffer + BUFFER]
            });
            let handed = (self.done..self.handed).map(|number| {
                let slot = Self::slot(TX_RING, number);
                slot..slot + DESCRIPTOR
            });
            let allowed: Vec<Range<u64>> = posted.chain(handed).collect();
            assert!(covers(&allowed, &range), "{range:x?} was not posted");
        }
    }

    /// Everything comes through in the end, and is counted.
    fn finish(&mut self) {
        self.cable.busy = false;
        for _ in 0..64 {
            self.look();
            self.check_writes();
            self.post(SLOTS);
            self.pass(1_000_000);
            self.check_writes();
        }
        self.look();
        assert!(self.coming.is_empty(), "frames never came up");
        assert!(self.leaving.is_empty(), "frames never left");
        assert_eq!(self.done, self.handed, "frames were never completed");
        assert_eq!(self.get(Reg::GPRC), self.received);
        assert_eq!(self.get(Reg::GPTC), self.sent);
    }
}

/// Whether the ranges together hold all of `range`.
fn covers(ranges: &[Range<u64>], range: &Range<u64>) -> bool {
    let mut at = range.start;
    while at < range.end {
        match ranges.iter().find(|range| range.contains(&at)) {
            Some(found) => at = found.end,
            None => return false,
        }
    }
    true
}
