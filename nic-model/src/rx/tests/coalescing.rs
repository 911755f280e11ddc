//! Receive side coalescing. What a large receive has to look like, etherparse says: the packet that carries the payload
//! of all its segments.

mod streams;

use etherparse::{TcpHeader, TcpOptionElement};

use super::*;

const SPLIT_ALWAYS: u32 = 5 << 25;
const PSR_TCP_IPV4: u32 = 1 << 4 | 1 << 8;
/// BSIZEHEADER: 256 bytes.
const HEADER_256: u32 = 4 << 8;
/// 49 units of 2.048 µs.
const INTERVAL_NANOS: u64 = 49 * 2048;
const MSS: usize = 1000;

const FLUSH: u32 = 100;

/// One direction of a TCP connection.
#[derive(Clone)]
struct Stream {
    header: TcpHeader,
    ecn: u8,
}

impl Stream {
    fn new(port: u16) -> Self {
        let mut header = TcpHeader::new(port, 1766, 0xFFFF_FE00, 5000);
        header.ack = true;
        header.acknowledgment_number = 77;
        Self { header, ecn: 0 }
    }

    /// A segment at this place of the stream.
    fn segment(&self, payload: &[u8]) -> Vec<u8> {
        let mut ip =
            etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::TCP, FROM, TO).unwrap();
        ip.ecn = etherparse::IpEcn::try_new(self.ecn).unwrap();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(PEER, OWN)
            .ip(etherparse::IpHeaders::Ipv4(
                ip,
                etherparse::Ipv4Extensions::default(),
            ))
            .tcp_header(self.header.clone())
            .write(&mut frame, payload)
            .unwrap();
        frame
    }

    /// The next segment.
    fn next(&mut self, payload: &[u8]) -> Vec<u8> {
        let frame = self.segment(payload);
        let len = u32::try_from(payload.len()).unwrap();
        self.header.sequence_number = self.header.sequence_number.wrapping_add(len);
        frame
    }
}

/// A segment without payload. The time stamp makes it long enough not to be padded.
fn acknowledgement(number: u32) -> Vec<u8> {
    let mut stream = Stream::new(80);
    stream.header.acknowledgment_number = number;
    stream.header.set_options(&time_stamp(1000)).unwrap();
    stream.segment(&[])
}

fn time_stamp(value: u32) -> [TcpOptionElement; 3] {
    use TcpOptionElement::{Noop, Timestamp};
    [Noop, Noop, Timestamp(value, 3)]
}

const FROM: [u8; 4] = [66, 9, 149, 187];
const TO: [u8; 4] = [161, 142, 100, 80];

/// `len` bytes that differ from those of another `seed`.
fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..=250).cycle().skip(seed.into()).take(len).collect()
}

impl Bench {
    /// Queue 0 coalesces into 15 buffers of 2 KB; its vector has an interval of [`INTERVAL_NANOS`].
    fn coalescing() -> Self {
        Self::coalescing_in(ONE_BUFFER | HEADER_256 | 2)
    }

    fn coalescing_in(srrctl: u32) -> Self {
        let mut bench = Self::new();
        bench.now = Time::from_nanos(1_000_000);
        bench.regs.set(Reg::IVAR, 0, 0x80);
        bench.regs.set(Reg::EITR, 0, 49 << 3);
        bench.write(Reg::RDRXCTL, 0, 1 << 25);
        bench.write(Reg::RSCCTL, 0, 1 | 3 << 2);
        bench.queue(0, srrctl);
        bench.post(0, 0, 15);
        bench
    }

    fn arrive(&mut self, frame: &[u8]) {
        assert_eq!(self.receive(&RxFrame::new(frame)), DELIVERED);
    }

    /// Lets the interval end.
    fn end(&mut self) {
        self.now = self.now.plus_nanos(INTERVAL_NANOS);
        self.step();
    }

    fn status(&self, n: u64) -> Status {
        self.written_back(0, n).status()
    }

    fn rsc_count(&self, n: u64) -> u8 {
        self.written_back(0, n).info().rsc_count()
    }

    /// Whether a segment behind another one is delivered as a packet of its own, and ends the large receive.
    fn keeps_apart(&mut self, first: &[u8], second: &[u8]) -> bool {
        self.arrive(first);
        self.arrive(second);
        self.status(0).contains(Status::EOP)
            && self.data(0, 0) == first
            && self.status(1).contains(Status::EOP)
            && self.data(0, 1) == second
            && self.rsc_count(1) == 0
    }
}

#[test]
fn segments_that_follow_one_another_become_one_packet() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    let expected = stream.segment(&[bytes(1, 500), bytes(2, 501), bytes(3, 500)].concat());

    bench.arrive(&stream.next(&bytes(1, 500)));
    bench.arrive(&stream.next(&bytes(2, 501)));
    bench.arrive(&stream.next(&bytes(3, 500)));
    assert_eq!(bench.status(0), Status::empty());
    bench.end();

    assert!(
        bench
            .status(0)
            .contains(Status::DD | Status::EOP | Status::IPCS | Status::L4CS)
    );
    assert_eq!(bench.data(0, 0), expected);
    assert_eq!(bench.rsc_count(0), 4);
    assert_eq!(bench.status(1), Status::empty());
}

#[test]
fn the_newest_acknowledgement_window_and_time_stamp_are_told() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    stream.header.set_options(&time_stamp(1000)).unwrap();
    let first = stream.next(&bytes(1, 300));
    stream.header.set_options(&time_stamp(1001)).unwrap();
    stream.header.acknowledgment_number = 99;
    stream.header.window_size = 4999;
    let second = stream.segment(&bytes(2, 300));
    stream.header.sequence_number -= 300;

    bench.arrive(&first);
    bench.arrive(&second);
    bench.end();

    let expected = stream.segment(&[bytes(1, 300), bytes(2, 300)].concat());
    assert_eq!(bench.data(0, 0), expected);
}

#[test]
fn a_lone_segment_comes_when_the_interval_ends_and_no_sooner() {
    let mut bench = Bench::coalescing();
    let frame = Stream::new(80).next(&bytes(1, 300));

    bench.arrive(&frame);
    assert_eq!(
        bench.rx.coalescing_deadline(),
        Some(bench.now.plus_nanos(INTERVAL_NANOS))
    );
    bench.now = bench.now.plus_nanos(INTERVAL_NANOS - 1);
    bench.step();
    assert_eq!(bench.status(0), Status::empty());
    bench.now = bench.now.plus_nanos(1);
    bench.step();

    assert_eq!(bench.data(0, 0), frame);
    assert_eq!(bench.rsc_count(0), 2);
    assert_eq!(bench.rx.coalescing_deadline(), None);
}

#[test]
fn the_end_of_a_large_receive_is_the_queues_cause() {
    let mut bench = Bench::coalescing();

    bench.arrive(&Stream::new(80).next(&bytes(1, 300)));
    assert_eq!(bench.get(Reg::EICR), 0);
    bench.end();

    assert_eq!(bench.get(Reg::EICR), 1);
}

#[test]
fn a_large_receive_goes_on_in_the_descriptor_that_nextp_names() {
    let mut bench = Bench::coalescing();
    let (mut here, mut there) = (Stream::new(80), Stream::new(81));
    let expected = here.segment(&[bytes(1, 1400), bytes(2, 1400)].concat());
    let other = there.segment(&bytes(3, 1400));

    bench.arrive(&here.next(&bytes(1, 1400)));
    bench.arrive(&there.next(&bytes(3, 1400)));
    bench.arrive(&here.next(&bytes(2, 1400)));
    bench.end();

    assert_eq!(bench.status(0), Status::DD | Status::next_descriptor(2));
    assert_eq!(bench.rsc_count(0), 3);
    assert_eq!(bench.data(0, 1), other);
    assert!(bench.status(2).contains(Status::EOP));
    assert_eq!(bench.rsc_count(2), 1);
    assert_eq!([bench.data(0, 0), bench.data(0, 2)].concat(), expected);
}

#[test]
fn a_segment_out_of_order_begins_another_large_receive() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, MSS));
    let _lost = stream.next(&bytes(2, MSS));
    let third = stream.next(&bytes(3, MSS));

    bench.arrive(&first);
    bench.arrive(&third);
    bench.arrive(&first);
    bench.end();

    assert_eq!(bench.data(0, 0), first);
    assert_eq!(bench.data(0, 1), third);
    assert_eq!(bench.data(0, 2), first);
}

#[test]
fn a_segment_with_another_flag_than_ack_is_a_packet_of_its_own() {
    let with = |set: fn(&mut TcpHeader)| {
        let mut stream = Stream::new(80);
        let first = stream.next(&bytes(1, MSS));
        set(&mut stream.header);
        Bench::coalescing().keeps_apart(&first, &stream.next(&bytes(2, MSS)))
    };

    assert!(with(|header| header.psh = true));
    assert!(with(|header| header.fin = true));
    assert!(with(|header| header.syn = true));
    assert!(with(|header| header.rst = true));
    assert!(with(|header| header.urg = true));
    assert!(with(|header| header.ece = true));
    assert!(with(|header| header.cwr = true));
    assert!(with(|header| header.ns = true));
    assert!(!with(|_| {}));
}

#[test]
fn a_segment_with_other_options_than_a_time_stamp_is_a_packet_of_its_own() {
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, MSS));
    let options = [TcpOptionElement::SelectiveAcknowledgement(
        (1, 2),
        [None; 3],
    )];
    stream.header.set_options(&options).unwrap();

    assert!(Bench::coalescing().keeps_apart(&first, &stream.next(&bytes(2, MSS))));
}

#[test]
fn a_segment_that_met_congestion_is_a_packet_of_its_own() {
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, MSS));
    stream.ecn = 3;

    assert!(Bench::coalescing().keeps_apart(&first, &stream.next(&bytes(2, MSS))));
}

#[test]
fn a_segment_of_another_ecn_codepoint_begins_another_large_receive() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, MSS));
    stream.ecn = 2;
    let second = stream.next(&bytes(2, MSS));

    bench.arrive(&first);
    bench.arrive(&second);
    bench.end();

    assert_eq!(bench.data(0, 0), first);
    assert_eq!(bench.data(0, 1), second);
}

#[test]
fn a_segment_with_a_wrong_checksum_is_a_packet_of_its_own() {
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, MSS));
    let second = stream.next(&bytes(2, MSS));
    let (mut payload_changed, mut ttl_changed) = (second.clone(), second);
    payload_changed[60] ^= 1;
    ttl_changed[22] ^= 1;

    assert!(Bench::coalescing().keeps_apart(&first, &payload_changed));
    assert!(Bench::coalescing().keeps_apart(&first, &ttl_changed));
}

#[test]
fn a_padded_segment_is_a_packet_of_its_own() {
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, MSS));
    let mut second = stream.next(&bytes(2, 2));
    second.resize(60, 0);

    assert!(Bench::coalescing().keeps_apart(&first, &second));
}

#[test]
fn fragments_are_not_coalesced() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    let mut fragment = stream.next(&bytes(1, MSS));
    // More fragments follow.
    fragment[20] |= 0x20;

    bench.arrive(&fragment);

    assert!(bench.status(0).contains(Status::EOP));
    assert_eq!(bench.rsc_count(0), 0);
}

#[test]
fn tcp_over_ipv6_is_not_coalesced() {
    let mut bench = Bench::coalescing();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv6([1; 16], [2; 16], 64)
        .tcp_header(Stream::new(80).header)
        .write(&mut frame, &bytes(1, MSS))
        .unwrap();

    bench.arrive(&frame);

    assert!(bench.status(0).contains(Status::EOP));
    assert_eq!(bench.rsc_count(0), 0);
}

#[test]
fn a_segment_with_another_tag_begins_another_large_receive() {
    let mut bench = Bench::coalescing();
    bench.write(Reg::RXDCTL, 0, ENABLE | VME);
    let mut stream = Stream::new(80);
    let (first, second) = (stream.next(&bytes(1, 600)), stream.next(&bytes(2, 600)));
    let third = stream.next(&bytes(3, 600));

    bench.arrive(&tagged(first.clone(), 5));
    bench.arrive(&tagged(second, 6));
    bench.arrive(&tagged(third, 6));
    bench.end();

    assert_eq!(bench.data(0, 0), first);
    assert_eq!(bench.written_back(0, 0).vlan.get(), 5);
    assert!(bench.status(1).contains(Status::EOP | Status::VP));
    assert_eq!(bench.written_back(0, 1).vlan.get(), 6);
    assert_eq!(bench.rsc_count(1), 3);
}

#[test]
fn acknowledgements_without_payload_are_coalesced_unless_they_repeat() {
    let mut bench = Bench::coalescing();
    let mut ack = |number| {
        bench.arrive(&acknowledgement(number));
    };

    ack(100);
    ack(200);
    ack(200);
    bench.end();

    assert_eq!(bench.data(0, 0), acknowledgement(200));
    assert_eq!(bench.rsc_count(0), 3);
    assert_eq!(bench.rsc_count(1), 2);
}

#[test]
fn acknowledgements_without_payload_are_not_coalesced_if_rscdbu_says_so() {
    let mut bench = Bench::coalescing();
    bench.write(Reg::RSCDBU, 0, 1 << 7);

    bench.arrive(&acknowledgement(100));

    assert!(bench.status(0).contains(Status::EOP));
    assert_eq!(bench.rsc_count(0), 0);
}

#[test]
fn a_change_of_the_ack_flag_ends_a_large_receive_if_rscackc_says_so() {
    let mut stream = Stream::new(80);
    let first = stream.next(&bytes(1, 400));
    stream.header.ack = false;
    let second = stream.next(&bytes(2, 400));
    let (mut strict, mut lax) = (Bench::coalescing(), Bench::coalescing());
    lax.write(Reg::RDRXCTL, 0, 0);

    strict.arrive(&first);
    strict.arrive(&second);
    lax.arrive(&first);
    lax.arrive(&second);

    assert!(strict.status(0).contains(Status::EOP));
    assert_eq!(lax.status(0), Status::empty());
}

#[test]
fn no_more_than_14_packets_begin_in_a_descriptor() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);

    (0..15).for_each(|seed| bench.arrive(&stream.next(&bytes(seed, 10))));

    assert!(bench.status(0).contains(Status::EOP));
    assert_eq!(bench.rsc_count(0), 15);
    assert_eq!(bench.data(0, 0).len(), 54 + 140);
    assert_eq!(bench.status(1), Status::empty());
}

#[test]
fn a_large_receive_takes_no_more_descriptors_than_maxdesc() {
    let mut bench = Bench::coalescing();
    bench.write(Reg::RSCCTL, 0, 1 | 1 << 2);
    let mut stream = Stream::new(80);

    // 4 buffers of 2048 bytes hold the headers and 8138 bytes.
    (0..8).for_each(|seed| bench.arrive(&stream.next(&bytes(seed, MSS))));
    assert_eq!(bench.status(3), Status::empty());
    bench.arrive(&stream.next(&bytes(8, 139)));

    assert!(bench.status(3).contains(Status::EOP));
    assert_eq!(bench.written_back(0, 3).length.get(), 8054 - 3 * 2048);
    assert_eq!(bench.status(4), Status::empty());
}

#[test]
fn a_packet_longer_than_maxdesc_allows_is_not_coalesced() {
    let mut bench = Bench::coalescing_in(ONE_BUFFER | HEADER_256 | 1);
    bench.write(Reg::RSCCTL, 0, 1);
    let frame = Stream::new(80).next(&bytes(1, 1400));

    bench.arrive(&frame);

    assert_eq!(bench.status(0), Status::DD | Status::next_descriptor(1));
    assert!(bench.status(1).contains(Status::EOP));
    assert_eq!(bench.rsc_count(0), 0);
}

#[test]
fn a_large_receive_is_no_longer_than_an_ip_packet_can_be() {
    let mut bench = Bench::coalescing_in(ONE_BUFFER | HEADER_256 | 16);
    let place = |n| BUFFERS + 0x4000 * n;
    (0..15).for_each(|n| bench.bus.poke(descriptor(0, n), &place(n).to_le_bytes()));
    let mut stream = Stream::new(80);

    // 46 times 1400, and 1095, with 40 bytes of headers are 65535.
    (0..46).for_each(|seed| bench.arrive(&stream.next(&bytes(seed, 1400))));
    bench.arrive(&stream.next(&bytes(46, 1095)));
    assert_eq!(bench.status(4), Status::empty());
    bench.arrive(&stream.next(&bytes(47, 6)));

    assert!(bench.status(4).contains(Status::EOP));
    assert_eq!(bench.written_back(0, 4).length.get(), 13);
    assert_eq!(bench.bus.peek(place(0) + 16, 2), [0xFF, 0xFF]);
}

#[test]
fn nothing_is_coalesced_without_everything_that_enables_it() {
    let without = |change: fn(&mut Bench)| {
        let mut bench = Bench::coalescing();
        change(&mut bench);
        bench.arrive(&Stream::new(80).next(&bytes(1, MSS)));
        bench.status(0).contains(Status::EOP) && bench.rsc_count(0) == 0
    };

    assert!(without(|bench| bench.write(Reg::RSCCTL, 0, 3 << 2)));
    assert!(without(|bench| bench.write(Reg::RFCTL, 0, 1 << 5)));
    assert!(without(|bench| bench.regs.set(Reg::RSCINT, 0, 0)));
    assert!(without(|bench| bench.regs.set(Reg::EITR, 0, 0)));
    assert!(without(|bench| bench.regs.set(Reg::IVAR, 0, 0)));
    // Headers of 54 bytes fit into 64, not into 0.
    assert!(without(|bench| bench.write(Reg::SRRCTL, 0, ONE_BUFFER | 2)));
    assert!(!without(|_| {}));
}

#[test]
fn a_packet_smaller_than_rscfrstsize_opens_no_large_receive() {
    let mut bench = Bench::coalescing();
    bench.write(Reg::RDRXCTL, 0, 1 << 25 | 8 << 17);
    let mut stream = Stream::new(80);
    let (small, large) = (stream.next(&bytes(1, 73)), stream.next(&bytes(2, 74)));

    bench.arrive(&small);
    bench.arrive(&large);

    assert!(bench.status(0).contains(Status::EOP));
    assert_eq!(bench.status(1), Status::empty());
}

#[test]
fn the_thirty_third_flow_is_not_coalesced() {
    let mut bench = Bench::coalescing();
    bench.write(Reg::RDLEN, 0, 1024);
    bench.post(0, 0, 15);
    bench.write(Reg::RDT, 0, 63);

    (0..33).for_each(|port| bench.arrive(&Stream::new(port).next(&bytes(1, MSS))));

    assert!(bench.status(32).contains(Status::EOP));
    assert_eq!(bench.status(31), Status::empty());
}

#[test]
fn statistics_count_packets_and_their_bytes() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);

    (0..3).for_each(|seed| bench.arrive(&stream.next(&bytes(seed, MSS))));
    bench.end();

    assert_eq!(bench.get(Reg::QPRC), 3);
    assert_eq!(bench.get(Reg::QBRC_L), 3 * 1054);
    assert_eq!(bench.get(Reg::QPRDC), 0);
}

#[test]
fn headers_and_payload_of_a_large_receive_are_split() {
    let mut bench = Bench::coalescing_in(SPLIT_ALWAYS | HEADER_256 | 2);
    bench.write(Reg::PSRTYPE, 0, PSR_TCP_IPV4);
    let header_buffer = BUFFERS + 0x10_0000;
    bench
        .bus
        .poke(descriptor(0, 0) + 8, &header_buffer.to_le_bytes());
    let mut stream = Stream::new(80);
    let expected = stream.segment(&[bytes(1, 1400), bytes(2, 1400)].concat());

    bench.arrive(&stream.next(&bytes(1, 1400)));
    bench.arrive(&stream.next(&bytes(2, 1400)));
    bench.end();

    let first = bench.written_back(0, 0).info();
    assert_eq!((first.sph(), first.header_len()), (true, 54));
    assert_eq!(bench.bus.peek(header_buffer, 54), expected[..54]);
    assert_eq!(bench.data(0, 0), expected[54..54 + 2048]);
    assert!(!bench.written_back(0, 1).info().sph());
    assert_eq!(bench.data(0, 1), expected[54 + 2048..]);
}

#[test]
fn a_large_receive_that_finds_no_descriptor_ends_and_the_segment_waits() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    let expected = stream.segment(&bytes(1, 1400));
    bench.write(Reg::RDT, 0, 1);

    bench.arrive(&stream.next(&bytes(1, 1400)));
    let second = stream.next(&bytes(2, MSS));
    assert_eq!(bench.receive(&RxFrame::new(&second)), Verdict::Buffered);
    assert_eq!(bench.data(0, 0), expected);
    bench.write(Reg::RDT, 0, 15);
    bench.step();
    bench.end();

    assert_eq!(bench.data(0, 1), second);
}

#[test]
fn a_queue_that_is_disabled_completes_what_it_has() {
    let mut bench = Bench::coalescing();
    let frame = Stream::new(80).next(&bytes(1, MSS));

    bench.arrive(&frame);
    bench.write(Reg::RXDCTL, 0, 0);

    assert!(bench.status(0).contains(Status::EOP));
    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn a_reset_forgets_large_receives() {
    let mut bench = Bench::coalescing();

    bench.arrive(&Stream::new(80).next(&bytes(1, MSS)));
    bench.rx.reset();
    bench.end();

    assert_eq!(bench.status(0), Status::empty());
    assert_eq!(bench.rx.coalescing_deadline(), None);
}

#[test]
fn a_ring_that_answers_later_gets_the_segment_then() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    let expected = stream.segment(&[bytes(1, MSS), bytes(2, MSS)].concat());
    bench.bus.delay(RING..RING + 256);

    let first = stream.next(&bytes(1, MSS));
    assert_eq!(bench.receive(&RxFrame::new(&first)), Verdict::Buffered);
    let second = stream.next(&bytes(2, MSS));
    assert_eq!(bench.receive(&RxFrame::new(&second)), Verdict::Buffered);
    bench.bus.answer();
    bench.step();
    bench.end();

    assert_eq!([bench.data(0, 0), bench.data(0, 1)].concat(), expected);
}

#[test]
fn a_ring_that_cannot_be_written_loses_its_large_receive() {
    let mut bench = Bench::coalescing();
    let mut stream = Stream::new(80);
    bench.arrive(&stream.next(&bytes(1, MSS)));
    bench.bus.refuse_writes(RING..RING + 256);

    bench.end();
    let verdict = bench.receive(&RxFrame::new(&stream.next(&bytes(2, MSS))));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    assert_eq!(bench.faults.ring_dma, 1);
    assert_eq!(bench.rx.coalescing_deadline(), None);
}

#[test]
fn a_segment_that_is_lost_with_its_ring_is_not_repeated() {
    let mut bench = Bench::coalescing();
    bench.bus.refuse(RING..RING + 256);
    let before = bench.bus.retired();

    let verdict = bench.receive(&RxFrame::new(&Stream::new(80).next(&bytes(1, MSS))));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Dma));
    assert_eq!(bench.bus.retired(), before + 1);
}
