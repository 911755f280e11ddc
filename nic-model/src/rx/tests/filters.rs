//! Which queue a frame goes to.

use ixgbe_spec::descriptor::rx::{PacketType, RssType};

use super::*;

const SYN: u8 = 1 << 1;

impl Bench {
    /// Queues 0 to 127 are enabled and have descriptors.
    fn with_all_queues() -> Self {
        let mut bench = Self::new();
        for q in 0..128 {
            bench.queue(q, ONE_BUFFER | 2);
            bench.post(q, 0, 15);
        }
        bench
    }

    fn queue_of(&mut self, frame: &[u8]) -> u8 {
        match self.receive(&RxFrame::new(frame)) {
            Verdict::Delivered { queue } => queue,
            other => panic!("not delivered: {other:?}"),
        }
    }

    /// A 5-tuple filter for the TCP frames of these tests; `mask` are the fields that are not compared.
    fn five_tuple(&mut self, n: usize, priority: u32, mask: u32, queue: u32) {
        self.write(Reg::SAQF, n, u32::from_le_bytes([66, 9, 149, 187]));
        self.write(Reg::DAQF, n, u32::from_le_bytes([161, 142, 100, 80]));
        let ports = u32::from(1766u16.to_be()) << 16 | u32::from(2794u16.to_be());
        self.write(Reg::SDPQF, n, ports);
        self.write(Reg::L34T_IMIR, n, queue << 21);
        let enable = 1 << 31 | 1 << 30;
        self.write(Reg::FTQF, n, enable | mask << 25 | priority << 2);
    }
}

fn syn() -> Vec<u8> {
    let mut frame = tcp(&[0; 10]);
    frame[47] = SYN;
    frame
}

#[test]
fn without_filters_everything_goes_to_queue_0() {
    let mut bench = Bench::with_all_queues();

    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 0);
    assert_eq!(bench.queue_of(&frame_to(OWN, 60)), 0);
}

#[test]
fn an_ethertype_filter_gives_queue_and_type() {
    let mut bench = Bench::with_all_queues();
    bench.write(Reg::ETQF, 2, 1 << 31 | 0x88B5);
    bench.write(Reg::ETQS, 2, 1 << 31 | 77 << 16);

    assert_eq!(bench.queue_of(&frame_to(OWN, 60)), 77);

    let packet_type = bench.written_back(77, 0).info().packet_type();
    assert_eq!(
        packet_type,
        PacketType::L2 | PacketType::from_bits_retain(2)
    );
}

#[test]
fn the_syn_filter_takes_tcp_frames_with_the_flag() {
    let mut bench = Bench::with_all_queues();
    bench.write(Reg::SYNQF, 0, 9 << 1 | 1);

    assert_eq!(bench.queue_of(&syn()), 9);
    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 0);
    assert_eq!(bench.queue_of(&udp(&[0xFF; 60])), 0);
}

#[test]
fn a_five_tuple_filter_compares_what_is_not_masked() {
    let mut bench = Bench::with_all_queues();
    bench.five_tuple(17, 1, 0, 40);

    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 40);
    assert_eq!(bench.queue_of(&udp(&[0; 20])), 0);
    let mut other_port = tcp(&[0; 10]);
    other_port[35] ^= 1;
    assert_eq!(bench.queue_of(&other_port), 0);

    bench.five_tuple(17, 1, 0b00100, 40);
    assert_eq!(bench.queue_of(&other_port), 40);
    bench.five_tuple(17, 1, 0b10000, 40);
    assert_eq!(bench.queue_of(&udp(&[0; 20])), 40);
    bench.write(Reg::FTQF, 17, 0);
    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 0);
}

#[test]
fn of_two_five_tuple_filters_the_one_with_the_higher_priority_wins() {
    let mut bench = Bench::with_all_queues();
    bench.five_tuple(0, 3, 0, 40);
    bench.five_tuple(1, 7, 0, 41);
    bench.five_tuple(2, 7, 0, 42);

    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 41);
}

#[test]
fn a_syn_frame_obeys_the_five_tuple_filter_unless_the_syn_filter_has_priority() {
    let mut bench = Bench::with_all_queues();
    bench.five_tuple(0, 3, 0, 40);
    bench.write(Reg::SYNQF, 0, 9 << 1 | 1);
    assert_eq!(bench.queue_of(&syn()), 40);

    bench.write(Reg::SYNQF, 0, 1 << 31 | 9 << 1 | 1);

    assert_eq!(bench.queue_of(&syn()), 9);
    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 40);
}

#[test]
fn the_ethertype_filter_is_stronger_than_the_five_tuple_filter() {
    let mut bench = Bench::with_all_queues();
    bench.five_tuple(0, 3, 0, 40);
    bench.write(Reg::ETQF, 0, 1 << 31 | 0x0800);
    bench.write(Reg::ETQS, 0, 1 << 31 | 5 << 16);

    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 5);
}

impl Bench {
    /// RSS over all fields in a mode, every entry of RETA the same.
    fn rss(&mut self, mode: u32, entry: u8) {
        for n in 0..32 {
            self.write(Reg::RETA, n, u32::from_le_bytes([entry; 4]));
        }
        self.write(Reg::MRQC, 0, 0x01FF_0000 | mode);
        self.write(Reg::RXCSUM, 0, 1 << 13);
    }
}

#[test]
fn rss_uses_four_bits_of_the_redirection_table() {
    let mut bench = Bench::with_all_queues();
    bench.rss(1, 0x77);

    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 7);
}

#[test]
fn a_frame_that_cannot_be_hashed_goes_to_queue_0() {
    let mut bench = Bench::with_all_queues();
    bench.rss(1, 7);

    assert_eq!(bench.queue_of(&frame_to(OWN, 60)), 0);

    let done = bench.written_back(0, 0);
    assert_eq!(done.info().rss_type(), RssType::None);
    assert_eq!(done.hash.get(), 0);
}

#[test]
fn the_strongest_enabled_hash_is_used() {
    let mut bench = Bench::with_all_queues();
    let mut types = Vec::new();
    for fields in [0x01FF_0000, 0x0002_0000, 0x0040_0000, 0] {
        bench.write(Reg::MRQC, 0, fields | 1);
        bench.write(Reg::RXCSUM, 0, 1 << 13);
        bench.receive(&RxFrame::new(&udp(&[0; 20])));
        let n = types.len() as u64;
        types.push(bench.written_back(0, n).info().rss_type());
    }

    assert_eq!(
        types,
        [
            RssType::UdpIpv4,
            RssType::Ipv4,
            RssType::UdpIpv4,
            RssType::None
        ]
    );
}

#[test]
fn the_hash_is_not_reported_in_place_of_the_packet_checksum() {
    let mut bench = Bench::with_all_queues();
    bench.rss(1, 0);
    bench.write(Reg::RXCSUM, 0, 0);

    bench.queue_of(&tcp(&[0; 10]));

    let done = bench.written_back(0, 0);
    assert_eq!(done.info().rss_type(), RssType::None);
    assert_eq!(done.hash.get(), 0, "etherparse gives identification 0");
}

#[test]
fn with_traffic_classes_the_priority_selects_the_block_of_queues() {
    let mut bench = Bench::with_all_queues();
    // Priority n is traffic class n.
    bench.write(Reg::RTRUP2TC, 0, 0o76_543_210);
    let frame = tagged(tcp(&[0; 10]), 5 << 13 | 1);

    bench.rss(4, 3);
    assert_eq!(bench.queue_of(&frame), 16 * 5 + 3);
    bench.rss(2, 3);
    assert_eq!(bench.queue_of(&frame), 16 * 5);
    let frame = tagged(tcp(&[0; 10]), 2 << 13 | 1);
    bench.rss(5, 3);
    assert_eq!(bench.queue_of(&frame), 32 * 2 + 3);
}

#[test]
fn rqtc_bounds_the_queues_of_a_traffic_class() {
    let mut bench = Bench::with_all_queues();
    bench.write(Reg::RTRUP2TC, 0, 0o76_543_210);
    bench.rss(4, 0xF);
    let frame = tagged(tcp(&[0; 10]), 2 << 13 | 1);

    bench.write(Reg::RQTC, 0, 0x4444_4244);
    assert_eq!(bench.queue_of(&frame), 16 * 2 + 3);
    bench.write(Reg::RQTC, 0, 0x4444_4044);
    assert_eq!(bench.queue_of(&frame), 16 * 2);
}

#[test]
fn in_pools_psrtype_limits_the_queues() {
    let mut bench = Bench::with_all_queues();
    bench.rss(0xA, 0xF);

    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 0);
    bench.write(Reg::PSRTYPE, 0, 1 << 29);
    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 1);
    bench.write(Reg::PSRTYPE, 0, 2 << 29);
    assert_eq!(bench.queue_of(&tcp(&[0; 10])), 3);
}

/// A UDP datagram over IPv6 with these extension headers, the first of which is of protocol `first`.
fn extended(from: u8, to: u8, first: u8, headers: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv6([from; 16], [to; 16], 64)
        .udp(1000, 2000)
        .write(&mut frame, &[7; 30])
        .unwrap();
    frame[20] = first;
    frame.splice(54..54, headers.iter().copied());
    let len = u16::try_from(frame.len() - 54).unwrap();
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame
}

#[test]
fn the_hashes_for_extension_headers_take_home_address_and_routing_header() {
    const IPV6_EX: u32 = 1 << 19;
    const IPV6: u32 = 1 << 20;
    let home = [&[43, 2, 1, 2, 0, 0, 0xC9, 16][..], &[0xAA; 16]].concat();
    let routing = [&[17, 2, 2, 0, 0, 0, 0, 0][..], &[0xBB; 16]].concat();
    // Destination options, then a routing header, then UDP.
    let both = [home, routing.clone()].concat();
    let only_routing = extended(1, 2, 43, &routing);
    let options_without = extended(1, 2, 60, &[17, 0, 1, 4, 0, 0, 0, 0]);
    let mut bench = Bench::with_queue();
    for n in 0..10 {
        bench.write(Reg::RSSRK, n, 0x0102_0304 * u32::try_from(n + 1).unwrap());
    }
    bench.write(Reg::RXCSUM, 0, 1 << 13);
    let mut next = 0;
    let mut hash_of = |functions: u32, frame: &[u8]| {
        bench.write(Reg::MRQC, 0, functions | 1);
        assert_eq!(bench.receive(&RxFrame::new(frame)), DELIVERED);
        let done = bench.written_back(0, next);
        next += 1;
        (done.info().rss_type(), done.hash.get())
    };
    let plain = |from, to| extended(from, to, 17, &[]);

    let of_both = hash_of(IPV6_EX, &extended(1, 2, 60, &both));
    let (_, expected) = hash_of(IPV6, &plain(0xAA, 0xBB));
    assert_eq!(of_both, (RssType::Ipv6Ex, expected));
    let of_routing = hash_of(IPV6_EX, &only_routing);
    let (_, expected) = hash_of(IPV6, &plain(1, 0xBB));
    assert_eq!(of_routing, (RssType::Ipv6Ex, expected));
    let of_neither = hash_of(IPV6_EX, &options_without);
    let (_, expected) = hash_of(IPV6, &plain(1, 2));
    assert_eq!(of_neither, (RssType::Ipv6Ex, expected));
    assert_eq!(hash_of(IPV6, &only_routing), (RssType::Ipv6, expected));
}

/// Whether the newest frame is marked as one that interrupts at once.
fn is_urgent(bench: &mut Bench, n: u64, frame: &[u8], fcs: Fcs) -> bool {
    let frame = RxFrame {
        fcs,
        ..RxFrame::new(frame)
    };
    assert_eq!(bench.receive(&frame), DELIVERED);
    let status = bench.written_back(0, n).status();
    status.contains(Status::LLINT)
}

#[test]
fn a_five_tuple_filter_can_be_urgent_for_short_frames_only() {
    let mut bench = Bench::with_queue();
    // Any TCP.
    bench.write(Reg::FTQF, 3, 1 << 31 | 1 << 30 | 0xF << 25 | 1 << 2);
    bench.write(Reg::L34T_IMIR, 3, 1 << 20);
    bench.write(Reg::LLITHRESH, 0, 200);
    let of_len = |len: usize| tcp(&vec![7; len - 54]);

    assert!(is_urgent(&mut bench, 0, &of_len(199), Fcs::Good));
    assert!(!is_urgent(&mut bench, 1, &of_len(200), Fcs::Good));
    assert!(!is_urgent(&mut bench, 2, &udp(&[7; 20]), Fcs::Good));
    bench.write(Reg::L34T_IMIR, 3, 1 << 20 | 1 << 12);
    assert!(is_urgent(&mut bench, 3, &of_len(200), Fcs::Good));
    bench.write(Reg::L34T_IMIR, 3, 1 << 12);
    assert!(!is_urgent(&mut bench, 4, &of_len(100), Fcs::Good));
}

#[test]
fn frames_of_high_priority_are_urgent_if_imirvp_says_so() {
    let mut bench = Bench::with_queue();
    let of_priority = |priority: u16| tagged(udp(&[7; 20]), priority << 13 | 9);

    assert!(!is_urgent(&mut bench, 0, &of_priority(7), Fcs::Good));
    bench.write(Reg::IMIRVP, 0, 1 << 3 | 5);
    assert!(!is_urgent(&mut bench, 1, &of_priority(4), Fcs::Good));
    assert!(is_urgent(&mut bench, 2, &of_priority(5), Fcs::Good));
    assert!(is_urgent(&mut bench, 3, &of_priority(7), Fcs::Good));
    assert!(!is_urgent(&mut bench, 4, &udp(&[7; 20]), Fcs::Good));
}

#[test]
fn a_damaged_frame_is_never_urgent() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::FCTRL, 0, bench.get(Reg::FCTRL) | 1 << 1);
    bench.write(Reg::IMIRVP, 0, 1 << 3);
    let frame = tagged(udp(&[7; 20]), 9);

    assert!(is_urgent(&mut bench, 0, &frame, Fcs::Good));
    assert!(!is_urgent(&mut bench, 1, &frame, Fcs::Bad));
}
