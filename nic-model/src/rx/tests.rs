//! The receive side from the wire to client memory.

use etherparse::PacketBuilder;
use ixgbe_spec::descriptor::rx::{PacketType, RssType, WriteBack};
use proptest::prelude::*;
use zerocopy::FromBytes;

use super::*;
use crate::{faults::GuestFaults, interrupt::Interrupts, testing::TestBus, time::Time};

const RING: u64 = TestBus::BASE;
const BUFFERS: u64 = TestBus::BASE + 0x1_0000;
const BUFFER_LEN: u64 = 0x1000;
const MEMORY: usize = 0x40_0000;

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
    faults: GuestFaults,
    bus: TestBus,
}

impl Bench {
    /// Receive is on, with the station's address and broadcast; no queue is enabled.
    fn new() -> Self {
        let mut bench = Self {
            rx: Receive::default(),
            regs: RegisterFile::default(),
            irq: Interrupts::default(),
            faults: GuestFaults::default(),
            bus: TestBus::new(MEMORY),
        };
        bench.write(Reg::RAL, 0, u32::from_le_bytes([2, 0, 0, 0]));
        bench.write(Reg::RAH, 0, 1 << 31 | 0x0100);
        bench.write(Reg::FCTRL, 0, 1 << 10);
        bench.write(Reg::RXCTRL, 0, RXEN);
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
        let mut hw = Hw {
            now: Time::ZERO,
            bus: &self.bus,
            regs: &mut self.regs,
            irq: &mut self.irq,
            faults: &mut self.faults,
        };
        self.rx.written(reg, index, old, new, &mut hw);
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

    fn receive(&mut self, frame: &RxFrame<'_>) -> Verdict {
        let mut hw = Hw {
            now: Time::ZERO,
            bus: &self.bus,
            regs: &mut self.regs,
            irq: &mut self.irq,
            faults: &mut self.faults,
        };
        self.rx.receive(frame, &mut hw)
    }

    fn step(&mut self) -> bool {
        let mut hw = Hw {
            now: Time::ZERO,
            bus: &self.bus,
            regs: &mut self.regs,
            irq: &mut self.irq,
            faults: &mut self.faults,
        };
        self.rx.step(64, &mut hw)
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

#[test]
fn a_frame_lies_in_the_posted_buffer_and_its_descriptor_is_done() {
    let mut bench = Bench::with_queue();
    let frame = tcp(&[7; 100]);

    let verdict = bench.receive(&RxFrame::new(&frame));

    assert_eq!(verdict, DELIVERED);
    assert_eq!(bench.data(0, 0), frame);
    let done = bench.written_back(0, 0);
    assert_eq!(
        done.status(),
        Status::DD | Status::EOP | Status::L4CS | Status::IPCS
    );
    assert_eq!(
        done.info().packet_type(),
        PacketType::IPV4 | PacketType::TCP
    );
    assert_eq!(done.info().rss_type(), RssType::None);
    assert_eq!(bench.get(Reg::RDH), 1);
    assert_eq!(bench.bus.retired(), 1);
}

#[test]
fn the_payload_is_written_before_the_descriptor() {
    let mut bench = Bench::with_queue();
    let frame = frame_to(OWN, 60);
    bench.bus.take_writes();

    bench.receive(&RxFrame::new(&frame));

    let writes = bench.bus.take_writes();
    assert_eq!(
        writes,
        [
            buffer(0, 0)..buffer(0, 0) + 60,
            descriptor(0, 0)..descriptor(0, 0) + 16
        ]
    );
}

#[test]
fn a_frame_in_two_parts_is_one_frame() {
    let mut bench = Bench::with_queue();
    let frame = udp(&[9; 500]);
    let (head, body) = frame.split_at(20);

    bench.receive(&RxFrame {
        head,
        body,
        ..RxFrame::new(&[])
    });

    assert_eq!(bench.data(0, 0), frame);
    let status = bench.written_back(0, 0).status();
    assert!(status.contains(Status::UDPCS | Status::L4CS | Status::IPCS));
    assert!(!status.intersects(Status::L4E | Status::IPE));
}

#[test]
fn a_long_frame_spans_descriptors_that_name_their_successor() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
    bench.write(Reg::MAXFRS, 0, 9018 << 16);
    let frame = frame_to(OWN, 5000);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);

    let done: Vec<_> = (0..3).map(|n| bench.written_back(0, n)).collect();
    assert_eq!(done[0].status(), Status::DD | Status::next_descriptor(1));
    assert_eq!(done[1].status(), Status::DD | Status::next_descriptor(2));
    assert_eq!(done[2].status(), Status::DD | Status::EOP);
    let data: Vec<u8> = (0..3).flat_map(|n| bench.data(0, n)).collect();
    assert_eq!(data, frame);
    assert_eq!(bench.get(Reg::QPRC), 1);
}

#[test]
fn a_tag_is_stripped_into_the_descriptor_if_the_queue_says_so() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RXDCTL, 0, ENABLE | VME);
    let frame = tcp(&[1; 30]);

    bench.receive(&RxFrame::new(&tagged(frame.clone(), 0x6064)));

    let done = bench.written_back(0, 0);
    assert!(done.status().contains(Status::VP | Status::L4CS));
    assert_eq!(done.vlan.get(), 0x6064);
    assert_eq!(bench.data(0, 0), frame);
    assert_eq!(
        bench.get(Reg::QBRC_L),
        u32::try_from(frame.len()).unwrap() + 4
    );
}

#[test]
fn a_tag_stays_in_the_frame_if_the_queue_does_not_strip() {
    let mut bench = Bench::with_queue();
    let frame = tagged(tcp(&[1; 30]), 0x6064);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn the_fcs_is_delivered_if_it_is_not_stripped() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) & !2);
    let frame = frame_to(OWN, 60);

    bench.receive(&RxFrame::new(&frame));

    let data = bench.data(0, 0);
    assert_eq!(data[..60], frame);
    // The CRC over a frame with its FCS is a constant (IEEE 802.3, 3.2.9).
    assert_eq!(crc32fast::hash(&data), 0x2144_DF1C);
}

#[test]
fn frames_go_to_the_queue_of_their_rss_hash() {
    let mut bench = Bench::new();
    let key = [
        0xda56_5a6d_u32,
        0xc20e_5b25,
        0x3d25_6741,
        0xb08f_a343,
        0xcb2b_cad0,
        0xb430_7bae,
        0xa32d_cb77,
        0x0cf2_3080,
        0x3bb7_426a,
        0xfa01_acbe,
    ];
    for (n, word) in key.into_iter().enumerate() {
        bench.write(Reg::RSSRK, n, word);
    }
    // 0x51ccc178 & 0x7F = 0x78: entry 120.
    bench.write(Reg::RETA, 30, 0x0000_0033);
    bench.write(Reg::MRQC, 0, 1 | 0x0033_0000);
    bench.write(Reg::RXCSUM, 0, 1 << 13);
    bench.queue(3, ONE_BUFFER | 2);
    bench.post(3, 0, 15);

    let verdict = bench.receive(&RxFrame::new(&tcp(&[0; 20])));

    assert_eq!(verdict, Verdict::Delivered { queue: 3 });
    let done = bench.written_back(3, 0);
    assert_eq!(done.hash.get(), 0x51cc_c178);
    assert_eq!(done.info().rss_type(), RssType::TcpIpv4);
}

#[test]
fn a_frame_for_another_station_is_not_received() {
    let mut bench = Bench::with_queue();

    let verdict = bench.receive(&RxFrame::new(&frame_to(PEER, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Address));
    assert_eq!(bench.get(Reg::TPR), 1);
    assert_eq!(bench.get(Reg::GPRC), 0);
}

#[test]
fn a_frame_waits_for_descriptors_and_is_delivered_when_they_come() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    let frames = [frame_to(OWN, 60), frame_to(OWN, 61)];

    assert_eq!(bench.receive(&RxFrame::new(&frames[0])), Verdict::Buffered);
    assert_eq!(bench.receive(&RxFrame::new(&frames[1])), Verdict::Buffered);
    assert!(!bench.step());
    bench.post(0, 0, 8);
    bench.step();

    assert_eq!(bench.data(0, 0), frames[0]);
    assert_eq!(bench.data(0, 1), frames[1]);
    assert_eq!(bench.get(Reg::RDH), 2);
}

#[test]
fn a_queue_that_drops_does_not_wait() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | DROP_EN | 2);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    assert_eq!(bench.get(Reg::QPRDC), 1);
}

#[test]
fn a_refused_ring_halts_its_queue_and_no_other() {
    let mut bench = Bench::with_queue();
    bench.bus.refuse(RING..RING + 0x1000);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Dma));
    assert_eq!(bench.faults.ring_dma, 1);
    bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    assert_eq!(bench.faults.ring_dma, 1);
    bench.queue(2, ONE_BUFFER | 2);
    bench.post(2, 0, 15);
    bench.write(Reg::ETQF, 0, 1 << 31 | 0x88B5);
    bench.write(Reg::ETQS, 0, 1 << 31 | 2 << 16);
    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    assert_eq!(verdict, Verdict::Delivered { queue: 2 });
}

#[test]
fn a_ring_that_has_not_arrived_yet_is_tried_again() {
    let mut bench = Bench::with_queue();
    bench.bus.delay(RING..RING + 0x1000);
    let frame = frame_to(OWN, 60);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), Verdict::Buffered);
    bench.bus.answer();
    bench.step();

    assert_eq!(bench.data(0, 0), frame);
    assert_eq!(bench.bus.retired(), 1);
}

/// What is done to a queue.
#[derive(Clone, Debug)]
enum Act {
    Frame(usize),
    Post(u16),
    Step,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (60usize..6000).prop_map(Act::Frame),
        2 => (1u16..8).prop_map(Act::Post),
        1 => Just(Act::Step),
    ]
}

proptest! {
    #[test]
    fn every_posted_descriptor_is_done_once_and_in_order(
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let mut bench = Bench::new();
        bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
        bench.write(Reg::MAXFRS, 0, 9018 << 16);
        bench.queue(0, ONE_BUFFER | 2);
        let (mut tail, mut head) = (0u16, 0u16);
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut received: Vec<Vec<u8>> = vec![Vec::new()];

        for act in acts {
            match act {
                Act::Frame(len) => {
                    let mut frame = frame_to(OWN, len);
                    frame[20..28].copy_from_slice(&(sent.len() as u64).to_le_bytes());
                    bench.receive(&RxFrame::new(&frame));
                    sent.push(frame);
                }
                Act::Post(n) => {
                    for _ in 0..n.min(15 - (tail.wrapping_sub(head) & 15)) {
                        bench.post(0, tail, tail + 1);
                        tail = (tail + 1) & 15;
                    }
                }
                Act::Step => {
                    bench.step();
                }
            }
            for write in bench.bus.take_writes() {
                let n = (write.start - RING) / 16;
                if write.start >= BUFFERS {
                    let n = (write.start - BUFFERS) / BUFFER_LEN;
                    prop_assert!(write.end <= buffer(0, n) + 2048);
                    continue;
                }
                prop_assert_eq!(n, u64::from(head), "descriptors complete in ring order");
                prop_assert!(head != tail, "only posted descriptors complete");
                let done = bench.written_back(0, n);
                received.last_mut().unwrap().extend(bench.data(0, n));
                if done.status().contains(Status::EOP) {
                    received.push(Vec::new());
                }
                head = (head + 1) & 15;
            }
            prop_assert_eq!(bench.get(Reg::RDH), u32::from(head));
        }
        received.pop();
        prop_assert_eq!(&received[..], &sent[..received.len()]);
    }
}
