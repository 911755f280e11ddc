//! What a received frame costs, from the wire to the descriptor, with the filters that Linux has on by default: RSS over
//! 16 queues and the Flow Director's signature filters.
//!
//! The memory is a flat piece without a record of accesses, so that the figures are those of the model.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has no result"
)]

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use ixgbe_spec::register::Reg;
use nic_model::{
    Bar, Context, Port, PortConfig, Time, Wire,
    rx::Verdict,
    testing::TestBus,
    wire::{Capabilities, Flow, L4Checksum, RxFrame, TxFrame, WireBusy},
};

const RING: u64 = TestBus::BASE;
const DESCRIPTORS: u32 = 512;
const BUFFERS: u64 = TestBus::BASE + 0x1_0000;
const FRAMES: u32 = 256;

fn main() {
    divan::main();
}

/// A cable with nobody at its end.
struct Dark;

impl Wire for Dark {
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

/// A port as Linux sets it up, with one queue that all frames go to.
struct Bench {
    port: Port,
    bus: TestBus,
    tail: u32,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            port: Port::new(PortConfig::new([2, 0, 0, 0, 0, 1])),
            bus: TestBus::new(0x10_0000 + 2048 * DESCRIPTORS as usize).without_record(),
            tail: 0,
        };
        let mut context = Context {
            now: Time::ZERO,
            bus: &bench.bus,
            wire: &mut Dark,
        };
        bench.port.config_write(4, &[6, 0], &mut context);
        bench.port.set_carrier(true, &mut context);
        bench.write(Reg::FCTRL, 0, 1 << 10);
        bench.write(Reg::FDIRHKEY, 0, 0x3DAD_14E2);
        bench.write(Reg::FDIRSKEY, 0, 0x174D_3614);
        bench.write(Reg::FDIRCTRL, 0, 1 | 6 << 16 | 0xA << 24 | 4 << 28);
        bench.write(Reg::FDIRHASH, 0, 1);
        bench.write(Reg::FDIRCMD, 0, 1 | 1 << 3 | 1 << 15 | 3 << 16);
        bench.write(Reg::RSSRK, 0, 0x1234_5678);
        bench.write(Reg::MRQC, 0, 1 | 0x0033_0000);
        bench.write(Reg::RXCSUM, 0, 1 << 13);
        bench.write(Reg::RDBAL, 0, u32::try_from(RING).unwrap());
        bench.write(Reg::RDLEN, 0, 16 * DESCRIPTORS);
        bench.write(Reg::SRRCTL, 0, 1 << 25 | 2);
        bench.write(Reg::RXDCTL, 0, 1 << 25);
        bench.write(Reg::RXCTRL, 0, 1);
        for n in 0..u64::from(DESCRIPTORS) {
            let buffer = BUFFERS + 2048 * n;
            bench.bus.poke(RING + 16 * n, &buffer.to_le_bytes());
        }
        bench
    }

    fn write(&mut self, reg: Reg, index: usize, value: u32) {
        let mut context = Context {
            now: Time::ZERO,
            bus: &self.bus,
            wire: &mut Dark,
        };
        let offset = u64::from(reg.offset(index));
        self.port
            .bar_write(Bar::Csr, offset, &value.to_le_bytes(), &mut context);
    }

    /// Receives [`FRAMES`] frames, and gives the ring as many descriptors.
    fn receive(&mut self, frame: &RxFrame<'_>) {
        for n in 0..u64::from(FRAMES) {
            let n = (u64::from(self.tail) + n) % u64::from(DESCRIPTORS);
            let buffer = BUFFERS + 2048 * n;
            self.bus.poke(RING + 16 * n, &buffer.to_le_bytes());
        }
        self.tail = (self.tail + FRAMES) % DESCRIPTORS;
        self.write(Reg::RDT, 0, self.tail);
        let context = Context {
            now: Time::ZERO,
            bus: &self.bus,
            wire: &mut Dark,
        };
        self.port.receive_burst(&context, |arrivals| {
            for _ in 0..FRAMES {
                assert_eq!(arrivals.take(frame), Verdict::Delivered { queue: 0 });
            }
        });
    }
}

/// A TCP frame of `len` bytes with right checksums.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1024, 80, 1, 2)
        .write(&mut frame, &vec![0x5A; len - 54])
        .unwrap();
    frame
}

#[divan::bench(args = [60, 590, 1514])]
fn tcp(bencher: Bencher<'_, '_>, len: usize) {
    let frame = frame(len);
    let mut bench = Bench::new();
    bencher
        .counter(ItemsCount::new(FRAMES))
        .bench_local(|| bench.receive(&RxFrame::new(&frame)));
}

/// As [`tcp`], by a driver that has neither RSS nor the Flow Director on.
#[divan::bench(args = [60, 1514])]
fn tcp_to_one_queue(bencher: Bencher<'_, '_>, len: usize) {
    let frame = frame(len);
    let mut bench = Bench::new();
    bench.write(Reg::MRQC, 0, 0);
    bench.write(Reg::FDIRCTRL, 0, 0);
    bencher
        .counter(ItemsCount::new(FRAMES))
        .bench_local(|| bench.receive(&RxFrame::new(&frame)));
}

#[divan::bench(args = [1514])]
fn tcp_with_valid_checksum(bencher: Bencher<'_, '_>, len: usize) {
    let frame = frame(len);
    let mut bench = Bench::new();
    bencher
        .counter(BytesCount::new(FRAMES as usize * len))
        .bench_local(|| {
            bench.receive(&RxFrame {
                l4_checksum: L4Checksum::Valid,
                ..RxFrame::new(&frame)
            });
        });
}
