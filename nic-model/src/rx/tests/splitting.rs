//! Header split.

use super::*;

const SPLIT: u32 = 2 << 25;
const SPLIT_ALWAYS: u32 = 5 << 25;
const PSR_TCP_IPV4: u32 = 1 << 4 | 1 << 8;

/// Where the header buffer of descriptor `n` of queue 0 lies.
fn header_buffer(n: u64) -> u64 {
    BUFFERS + 0x10_0000 + 0x400 * n
}

impl Bench {
    /// Queue 0 with packet buffers of 1 KB and header buffers of 128 bytes.
    fn splitting(descriptor_type: u32, types: u32) -> Self {
        let mut bench = Self::new();
        bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
        bench.write(Reg::MAXFRS, 0, 9018 << 16);
        bench.write(Reg::PSRTYPE, 0, types);
        bench.queue(0, descriptor_type | 2 << 8 | 1);
        bench.post(0, 0, 15);
        for n in 0..15 {
            let address = header_buffer(n).to_le_bytes();
            bench.bus.poke(descriptor(0, n) + 8, &address);
        }
        bench
    }

    fn header(&self, n: u64) -> Vec<u8> {
        let len = self.written_back(0, n).info().header_len();
        self.bus.peek(header_buffer(n), len.into())
    }
}

#[test]
fn recognised_headers_go_into_the_header_buffer() {
    let mut bench = Bench::splitting(SPLIT, PSR_TCP_IPV4);
    let frame = tcp(&[7; 100]);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);

    assert!(bench.written_back(0, 0).info().sph());
    assert_eq!(bench.header(0), frame[..54]);
    assert_eq!(bench.data(0, 0), frame[54..]);
}

#[test]
fn the_split_comes_after_the_last_header_that_psrtype_allows() {
    let mut bench = Bench::splitting(SPLIT, PSR_TCP_IPV4);
    let frame = udp(&[7; 100]);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.header(0), frame[..34]);
    assert_eq!(bench.data(0, 0), frame[34..]);
}

#[test]
fn a_stripped_tag_is_not_in_the_header_buffer() {
    let mut bench = Bench::splitting(SPLIT, PSR_TCP_IPV4);
    bench.write(Reg::RXDCTL, 0, ENABLE | VME);
    let frame = tcp(&[7; 100]);

    bench.receive(&RxFrame::new(&tagged(frame.clone(), 9)));

    assert_eq!(bench.header(0), frame[..54]);
    assert_eq!(bench.data(0, 0), frame[54..]);
}

#[test]
fn a_packet_without_known_headers_is_not_split() {
    let mut bench = Bench::splitting(SPLIT, PSR_TCP_IPV4);
    let frame = frame_to(OWN, 300);

    bench.receive(&RxFrame::new(&frame));

    let info = bench.written_back(0, 0).info();
    assert_eq!((info.sph(), info.header_len()), (false, 0));
    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn a_packet_without_known_headers_fills_the_header_buffer_if_all_are_split() {
    let mut bench = Bench::splitting(SPLIT_ALWAYS, PSR_TCP_IPV4);
    let frame = frame_to(OWN, 300);

    bench.receive(&RxFrame::new(&frame));

    assert!(!bench.written_back(0, 0).info().sph());
    assert_eq!(bench.header(0), frame[..128]);
    assert_eq!(bench.data(0, 0), frame[128..]);
}

#[test]
fn a_packet_that_the_header_buffer_holds_lies_there_alone_if_all_are_split() {
    let mut bench = Bench::splitting(SPLIT_ALWAYS, PSR_TCP_IPV4);
    let frame = frame_to(OWN, 128);

    bench.receive(&RxFrame::new(&frame));

    let done = bench.written_back(0, 0);
    assert!(done.status().contains(Status::DD | Status::EOP));
    assert!(!done.info().sph());
    assert_eq!(done.length.get(), 0);
    assert_eq!(bench.header(0), frame);
}

#[test]
fn recognised_headers_end_in_the_header_buffer_if_all_are_split() {
    let mut bench = Bench::splitting(SPLIT_ALWAYS, PSR_TCP_IPV4);
    let frame = tcp(&[7; 300]);

    bench.receive(&RxFrame::new(&frame));

    assert!(bench.written_back(0, 0).info().sph());
    assert_eq!(bench.header(0), frame[..54]);
    assert_eq!(bench.data(0, 0), frame[54..]);
}

#[test]
fn headers_longer_than_their_buffer_fill_it_if_all_are_split() {
    let mut bench = Bench::splitting(SPLIT_ALWAYS, PSR_TCP_IPV4);
    bench.write(Reg::SRRCTL, 0, SPLIT_ALWAYS | 1 << 8 | 1);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([1, 2, 3, 4], [5, 6, 7, 8], 64)
        .tcp(1, 2, 3, 4)
        .options(&[etherparse::TcpOptionElement::Timestamp(1, 2)])
        .unwrap()
        .write(&mut frame, &[7; 100])
        .unwrap();

    bench.receive(&RxFrame::new(&frame));

    let done = bench.written_back(0, 0);
    assert!(done.status().contains(Status::HBO));
    assert_eq!((done.info().sph(), done.info().header_len()), (true, 66));
    assert_eq!(bench.bus.peek(header_buffer(0), 64), frame[..64]);
    assert_eq!(bench.data(0, 0), frame[64..]);
}

#[test]
fn headers_longer_than_their_buffer_are_told() {
    let mut bench = Bench::splitting(SPLIT, PSR_TCP_IPV4);
    bench.write(Reg::SRRCTL, 0, SPLIT | 1);
    let frame = tcp(&[7; 100]);

    bench.receive(&RxFrame::new(&frame));

    let done = bench.written_back(0, 0);
    assert!(done.status().contains(Status::HBO | Status::EOP));
    assert!(done.info().sph());
    assert_eq!(done.info().header_len(), 54);
    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn a_long_packet_has_a_header_in_its_first_descriptor_only() {
    let mut bench = Bench::splitting(SPLIT, PSR_TCP_IPV4);
    let frame = tcp(&[7; 2000]);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.header(0), frame[..54]);
    assert_eq!(bench.data(0, 0), frame[54..54 + 1024]);
    assert!(!bench.written_back(0, 1).info().sph());
    assert_eq!(bench.data(0, 1), frame[54 + 1024..]);
}
