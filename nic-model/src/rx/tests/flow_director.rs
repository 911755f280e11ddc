//! Flow Director as Linux and DPDK program it.

use ixgbe_spec::descriptor::rx::RssType;

use super::*;

const BUCKET_KEY: u32 = 0x3DAD_14E2;
const SIGNATURE_KEY: u32 = 0x174D_3614;

const SIGNATURE_64K: u32 = 1 | 6 << 16 | 0xA << 24 | 4 << 28;
const PERFECT_64K: u32 = SIGNATURE_64K | 1 << 4 | 127 << 8;
const INIT_DONE: u32 = 1 << 3;
const REPORT: u32 = 1 << 5;
const REPORT_ALWAYS: u32 = 1 << 7;

const ADD: u32 = 1;
const REMOVE: u32 = 2;
const QUERY: u32 = 3;
const FILTER_VALID: u32 = 1 << 2;
const FILTER_UPDATE: u32 = 1 << 3;
const TCP: u32 = 2 << 5;
const CLEARHT: u32 = 1 << 8;
const DROP: u32 = 1 << 9;
const LAST: u32 = 1 << 11;
const QUEUE_EN: u32 = 1 << 15;

const fn to_queue(queue: u32) -> u32 {
    TCP | LAST | QUEUE_EN | queue << 16
}

/// TCP 10.0.0.1:1024 to 10.0.0.2:80; with the keys above, and the ethertype as flexible bytes, its bucket hash is
/// 0x0FA6 and its signature 0x6373.
fn flow() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1024, 80, 1, 2)
        .write(&mut frame, &[0; 20])
        .unwrap();
    frame
}

const FLOW_HASH: u32 = 0x6373 << 16 | 0x0FA6;

impl Bench {
    fn with_flow_director(control: u32) -> Self {
        let mut bench = Self::with_queue();
        for q in [5, 6] {
            bench.queue(q, ONE_BUFFER | 2);
            bench.post(q, 0, 15);
        }
        bench.write(Reg::FDIRHKEY, 0, BUCKET_KEY);
        bench.write(Reg::FDIRSKEY, 0, SIGNATURE_KEY);
        bench.write(Reg::FDIRCTRL, 0, control);
        bench
    }

    /// Has a command done and returns FDIRCMD.
    fn fdir(&mut self, hash: u32, command: u32) -> u32 {
        self.write(Reg::FDIRHASH, 0, hash);
        self.write(Reg::FDIRCMD, 0, command);
        self.get(Reg::FDIRCMD)
    }

    /// A perfect match filter for [`flow`], every field compared but flexible bytes and VLAN.
    fn perfect_filter(&mut self, index: u32, command: u32) {
        self.write(Reg::FDIRM, 0, 0b1_0111);
        self.write(Reg::FDIRIPSA, 0, u32::from_le_bytes([10, 0, 0, 1]));
        self.write(Reg::FDIRIPDA, 0, u32::from_le_bytes([10, 0, 0, 2]));
        self.write(Reg::FDIRPORT, 0, 80 << 16 | 1024);
        self.write(Reg::FDIRVLAN, 0, 0);
        // The 11 bits that a table of 64 KB uses, of the hash without flexible bytes.
        self.fdir(index << 16 | 0xCBD4 & 0x7FF, command);
    }
}

const TO_5: Verdict = Verdict::Delivered { queue: 5 };

#[test]
fn initialisation_is_done_at_once_and_the_table_is_empty() {
    let bench = Bench::with_flow_director(SIGNATURE_64K);
    assert_eq!(bench.get(Reg::FDIRCTRL), SIGNATURE_64K | INIT_DONE);
    assert_eq!(bench.get(Reg::FDIRFREE), 0x1FFF);

    let bench = Bench::with_flow_director(PERFECT_64K + 2);
    assert_eq!(
        bench.get(Reg::FDIRFREE),
        0x1FFF,
        "256 KB of perfect filters"
    );
}

#[test]
fn a_signature_filter_directs_its_flow() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K);

    let command = bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));
    assert_eq!(bench.receive(&RxFrame::new(&flow())), TO_5);
    assert_eq!(bench.receive(&RxFrame::new(&tcp(&[0; 20]))), DELIVERED);
    assert_eq!(bench.receive(&RxFrame::new(&frame_to(OWN, 60))), DELIVERED);

    assert_eq!(command & 3, 0, "complete");
    let counters = [Reg::FDIRMATCH, Reg::FDIRMISS, Reg::FDIRUSTAT, Reg::FDIRFREE];
    assert_eq!(counters.map(|reg| bench.get(reg)), [1, 1, 1, 0x1FFE]);
    assert_eq!(bench.get(Reg::FDIRLEN), 0x0FA6 << 16 | 1);
}

#[test]
fn a_tagged_flow_is_hashed_with_its_tag() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K);
    // As Linux computes them for VLAN 100, with 0x8100 as flexible bytes.
    bench.fdir(0x77C6 << 16 | 0x1370, ADD | FILTER_UPDATE | to_queue(5));

    let verdict = bench.receive(&RxFrame::new(&tagged(flow(), 100)));
    let other = bench.receive(&RxFrame::new(&tagged(flow(), 101)));

    assert_eq!(verdict, TO_5);
    assert_eq!(other, DELIVERED);
}

#[test]
fn a_removed_filter_directs_no_more() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K);
    bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));

    bench.fdir(FLOW_HASH, REMOVE);
    bench.fdir(FLOW_HASH, REMOVE);

    assert_eq!(bench.receive(&RxFrame::new(&flow())), DELIVERED);
    assert_eq!(bench.get(Reg::FDIRUSTAT), 1 << 16 | 1);
    assert_eq!(bench.get(Reg::FDIRFSTAT), 1 << 8);
    assert_eq!(bench.get(Reg::FDIRFREE), 0x1FFF);
}

#[test]
fn an_update_changes_the_queue_and_an_addition_without_it_collides() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K | REPORT);
    bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));

    bench.fdir(FLOW_HASH, ADD | to_queue(6));
    assert_eq!(bench.receive(&RxFrame::new(&flow())), TO_5);
    let status = bench.written_back(5, 0).status();
    assert!(status.contains(Status::FLM | Status::FDIR_COLLISION));
    assert_eq!(bench.get(Reg::FDIRFREE) >> 16, 1);

    bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(6));
    let verdict = bench.receive(&RxFrame::new(&flow()));
    assert_eq!(verdict, Verdict::Delivered { queue: 6 });
    assert_eq!(bench.get(Reg::FDIRFREE), 0x1FFE);
}

#[test]
fn linux_reinitialisation_leaves_an_empty_table() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K);
    bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));

    bench.write(Reg::FDIRFREE, 0, 0);
    let command = bench.get(Reg::FDIRCMD);
    bench.write(Reg::FDIRCMD, 0, command | CLEARHT);
    bench.write(Reg::FDIRCMD, 0, command & !CLEARHT);
    bench.write(Reg::FDIRHASH, 0, 0);
    bench.write(Reg::FDIRCTRL, 0, SIGNATURE_64K);

    assert_eq!(bench.get(Reg::FDIRCTRL) & INIT_DONE, INIT_DONE);
    assert_eq!(bench.get(Reg::FDIRFREE), 0x1FFF);
    assert_eq!(bench.receive(&RxFrame::new(&flow())), DELIVERED);
}

#[test]
fn a_reported_match_has_hash_and_signature_in_the_descriptor() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K | REPORT);
    bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));

    bench.receive(&RxFrame::new(&flow()));

    let done = bench.written_back(5, 0);
    assert!(done.status().contains(Status::FLM));
    assert_eq!(done.info().rss_type(), RssType::FlowDirector);
    assert_eq!(done.hash.get(), 0x0FA6 << 16 | 0x6373);
}

#[test]
fn a_miss_is_reported_only_always() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K | REPORT);
    bench.receive(&RxFrame::new(&flow()));
    bench.write(Reg::FDIRCTRL, 0, SIGNATURE_64K | REPORT_ALWAYS);
    bench.receive(&RxFrame::new(&flow()));

    let done = [0, 1].map(|n| bench.written_back(0, n));
    assert_eq!(done[0].info().rss_type(), RssType::None);
    assert_eq!(done[1].info().rss_type(), RssType::FlowDirector);
    assert!(!done[1].status().contains(Status::FLM));
    assert_eq!(done[1].hash.get(), 0x0FA6 << 16 | 0x6373);
}

#[test]
fn fragments_are_no_candidates() {
    let mut bench = Bench::with_flow_director(SIGNATURE_64K);
    let mut frame = flow();
    frame[20] = 0x20;

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.get(Reg::FDIRMISS), 0);
}

#[test]
fn a_perfect_filter_compares_the_fields_and_reports_its_index() {
    let mut bench = Bench::with_flow_director(PERFECT_64K | REPORT);
    bench.perfect_filter(0x123, ADD | FILTER_UPDATE | to_queue(5));
    let mut other = flow();
    other[35] ^= 1;

    assert_eq!(bench.receive(&RxFrame::new(&flow())), TO_5);
    assert_eq!(bench.receive(&RxFrame::new(&other)), DELIVERED);

    let done = bench.written_back(5, 0);
    assert_eq!(done.hash.get(), (0xCBD4 & 0x7FF) << 16 | 0x123);
    assert_eq!(bench.get(Reg::FDIRFREE), 0x7FE);
}

#[test]
fn a_masked_port_matches_any() {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    // Linux: the mask of the source port, bits in reverse order.
    bench.write(Reg::FDIRTCPM, 0, 0x0000_FFFF);
    bench.write(Reg::FDIRM, 0, 0b1_0111);
    bench.write(Reg::FDIRIPSA, 0, u32::from_le_bytes([10, 0, 0, 1]));
    bench.write(Reg::FDIRIPDA, 0, u32::from_le_bytes([10, 0, 0, 2]));
    bench.write(Reg::FDIRPORT, 0, 80 << 16);
    // As Linux computes it without source port and flexible bytes.
    let bucket = 0x1ED;
    bench.fdir(7 << 16 | bucket, ADD | FILTER_UPDATE | to_queue(5));
    let mut other = flow();
    other[34] = 0x77;

    assert_eq!(bench.receive(&RxFrame::new(&flow())), TO_5);
    assert_eq!(bench.receive(&RxFrame::new(&other)), TO_5);
    other[37] ^= 1;
    assert_eq!(bench.receive(&RxFrame::new(&other)), DELIVERED);
}

/// A perfect filter for UDP from 10.0.0.1 port 1024 to 10.0.0.2 port 80, under masks of addresses and ports. With a key
/// of 0 every flow is in bucket 0.
fn masked(source: u32, destination: u32, ports: u32) -> Bench {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    bench.write(Reg::FDIRHKEY, 0, 0);
    bench.write(Reg::FDIRM, 0, 0b1_0111);
    bench.write(Reg::FDIRSIP4M, 0, source);
    bench.write(Reg::FDIRDIP4M, 0, destination);
    bench.write(Reg::FDIRUDPM, 0, ports);
    bench.write(Reg::FDIRIPSA, 0, u32::from_le_bytes([10, 0, 0, 1]));
    bench.write(Reg::FDIRIPDA, 0, u32::from_le_bytes([10, 0, 0, 2]));
    bench.write(Reg::FDIRPORT, 0, 80 << 16 | 1024);
    let udp = 1 << 5 | LAST | QUEUE_EN | 5 << 16;
    bench.fdir(1 << 16, ADD | FILTER_UPDATE | udp);
    bench
}

fn datagram(source: u8, destination: u8, ports: (u16, u16)) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([10, 0, 0, source], [10, 0, 0, destination], 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, &[0; 20])
        .unwrap();
    frame
}

#[test]
fn a_masked_byte_of_an_ipv4_address_matches_any() {
    // Registers have addresses in network order from the low byte on.
    let mut source = masked(0xFF00_0000, 0, 0);
    let mut destination = masked(0, 0xFF00_0000, 0);
    let ports = (1024, 80);

    assert_eq!(source.receive(&RxFrame::new(&datagram(9, 2, ports))), TO_5);
    assert_eq!(
        source.receive(&RxFrame::new(&datagram(1, 9, ports))),
        DELIVERED
    );
    assert_eq!(
        destination.receive(&RxFrame::new(&datagram(1, 9, ports))),
        TO_5
    );
    assert_eq!(
        destination.receive(&RxFrame::new(&datagram(9, 2, ports))),
        DELIVERED
    );
}

#[test]
fn a_masked_port_of_udp_matches_any() {
    // Bits in reverse order, the source port in the low half.
    let mut bench = masked(0, 0, 0x0000_FFFF);

    assert_eq!(bench.receive(&RxFrame::new(&datagram(1, 2, (7, 80)))), TO_5);
    assert_eq!(
        bench.receive(&RxFrame::new(&datagram(1, 2, (1024, 7)))),
        DELIVERED
    );
}

/// A perfect filter for TCP from fe80::1 to fe80::2, under this mask of address bytes.
fn six(mask: u32) -> Bench {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    bench.write(Reg::FDIRHKEY, 0, 0);
    bench.write(Reg::FDIRM, 0, 0b1_0111);
    bench.write(Reg::FDIRIP6M, 0, mask);
    bench.write(Reg::FDIRSIPV6, 0, u32::from_le_bytes([0xFE, 0x80, 0, 0]));
    bench.write(Reg::FDIRIPSA, 0, u32::from_le_bytes([0, 0, 0, 1]));
    bench.write(Reg::FDIRIPDA, 0, u32::from_le_bytes([0, 0, 0, 2]));
    bench.write(Reg::FDIRPORT, 0, 80 << 16 | 1024);
    bench.fdir(1 << 16, ADD | FILTER_UPDATE | to_queue(5) | 1 << 7);
    bench
}

fn segment_from(source: [u8; 2]) -> Vec<u8> {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&source);
    address[15] = 1;
    let mut destination = [0; 16];
    destination[15] = 2;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv6(address, destination, 64)
        .tcp(1024, 80, 1, 2)
        .write(&mut frame, &[0; 20])
        .unwrap();
    frame
}

#[test]
fn a_perfect_filter_of_ipv6_compares_the_bytes_of_the_source_that_are_not_masked() {
    let mut all = six(0);
    let mut but_the_second = six(1 << 1);

    assert_eq!(
        all.receive(&RxFrame::new(&segment_from([0xFE, 0x80]))),
        TO_5
    );
    assert_eq!(
        all.receive(&RxFrame::new(&segment_from([0xFE, 0xC0]))),
        DELIVERED
    );
    assert_eq!(
        but_the_second.receive(&RxFrame::new(&segment_from([0xFE, 0xC0]))),
        TO_5
    );
    assert_eq!(
        but_the_second.receive(&RxFrame::new(&segment_from([0xFF, 0x80]))),
        DELIVERED
    );
}

#[test]
fn a_dropped_flow_is_lost_while_the_drop_queue_is_off() {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    bench.perfect_filter(1, ADD | FILTER_UPDATE | to_queue(127) | DROP);

    let verdict = bench.receive(&RxFrame::new(&flow()));

    assert_eq!(verdict, Verdict::Dropped(DropReason::FlowDirector));
    assert_eq!(bench.get(Reg::FDIRMATCH), 1);
    assert_eq!(bench.get(Reg::QPRDC), 0);
}

#[test]
fn a_dropped_flow_goes_to_the_drop_queue_if_that_is_on() {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    bench.perfect_filter(1, ADD | FILTER_UPDATE | to_queue(127) | DROP);
    bench.queue(127, ONE_BUFFER | 2);
    bench.post(127, 0, 15);

    let verdict = bench.receive(&RxFrame::new(&flow()));

    assert_eq!(verdict, Verdict::Delivered { queue: 127 });
}

#[test]
fn a_report_tells_of_a_dropped_flow() {
    let mut bench = Bench::with_flow_director(PERFECT_64K | REPORT);
    bench.perfect_filter(1, ADD | FILTER_UPDATE | to_queue(127) | DROP);
    bench.queue(127, ONE_BUFFER | 2);
    bench.post(127, 0, 15);

    bench.receive(&RxFrame::new(&flow()));

    let status = bench.written_back(127, 0).status();
    assert!(status.contains(Status::FLM | Status::FDIR_DROP));
}

#[test]
fn a_report_tells_of_a_filter_deep_in_a_long_chain() {
    // Chains of more than two filters are long.
    let mut bench = Bench::with_flow_director(SIGNATURE_64K & !(0xF << 24) | 1 << 24 | REPORT);
    bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));
    bench.receive(&RxFrame::new(&flow()));
    for other in [1, 2] {
        bench.fdir(other << 16 | 0x0FA6, ADD | FILTER_UPDATE | to_queue(6));
    }

    bench.receive(&RxFrame::new(&flow()));

    let first = bench.written_back(5, 0).status();
    let second = bench.written_back(5, 1).status();
    assert!(first.contains(Status::FLM) && !first.contains(Status::FDIR_LENGTH));
    assert!(second.contains(Status::FLM | Status::FDIR_LENGTH));
}

#[test]
fn a_query_tells_whether_the_filter_is_there() {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    bench.perfect_filter(1, ADD | FILTER_UPDATE | to_queue(5));
    let hash = 1 << 16 | 0xCBD4 & 0x7FF;

    let found = bench.fdir(hash, QUERY);
    assert_eq!(found & FILTER_VALID, FILTER_VALID);
    assert_eq!(found >> 16 & 0x7F, 5);
    assert_eq!(bench.get(Reg::FDIRHASH), hash | 1 << 15);
    let missing = bench.fdir(2 << 16 | 0x7FF, QUERY);
    assert_eq!(missing & FILTER_VALID, 0);
    assert_eq!(bench.get(Reg::FDIRHASH) & 1 << 15, 0);
}

#[test]
fn a_full_table_fails_further_additions() {
    let mut bench = Bench::with_flow_director(PERFECT_64K);
    for n in 0..0x7FF {
        bench.fdir(n << 16 | n, ADD | FILTER_UPDATE | to_queue(5));
    }

    bench.fdir(0x7FF << 16, ADD | FILTER_UPDATE | to_queue(5));

    assert_eq!(bench.get(Reg::FDIRFREE), 0);
    assert_eq!(bench.get(Reg::FDIRFSTAT), 1);
    assert_eq!(bench.get(Reg::FDIRUSTAT), 0x7FF);
}

#[test]
fn commands_complete_while_the_flow_director_is_off() {
    let mut bench = Bench::with_queue();

    let command = bench.fdir(FLOW_HASH, ADD | FILTER_UPDATE | to_queue(5));

    assert_eq!(command & 3, 0);
    assert_eq!(bench.receive(&RxFrame::new(&flow())), DELIVERED);
    assert_eq!(bench.get(Reg::FDIRMISS), 0);
}
