//! Header split and header replication.

use super::*;

const SPLIT: u32 = 2 << 25;
const REPLICATE_LARGE: u32 = 4 << 25;
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

#[test]
fn a_packet_longer_than_the_header_buffer_has_its_beginning_replicated_there() {
    let mut bench = Bench::splitting(REPLICATE_LARGE, PSR_TCP_IPV4);
    let frame = tcp(&[7; 300]);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);

    let done = bench.written_back(0, 0);
    assert!(done.status().contains(Status::DD | Status::EOP));
    assert_eq!((done.info().sph(), done.info().header_len()), (true, 54));
    assert_eq!(
        bench.bus.peek(header_buffer(0), 129),
        [&frame[..128], &[0]].concat()
    );
    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn a_packet_that_the_header_buffer_could_hold_is_not_replicated() {
    let mut bench = Bench::splitting(REPLICATE_LARGE, PSR_TCP_IPV4);
    let frame = tcp(&[7; 74]);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(frame.len(), 128);
    assert!(bench.written_back(0, 0).info().sph());
    assert_eq!(bench.bus.peek(header_buffer(0), 128), [0; 128]);
    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn a_packet_without_known_headers_is_replicated_and_says_that_they_are_unknown() {
    let mut bench = Bench::splitting(REPLICATE_LARGE, PSR_TCP_IPV4);
    let frame = frame_to(OWN, 300);

    bench.receive(&RxFrame::new(&frame));

    assert!(!bench.written_back(0, 0).info().sph());
    assert_eq!(bench.bus.peek(header_buffer(0), 128), frame[..128]);
    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn a_replicated_packet_of_several_buffers_is_replicated_once() {
    let mut bench = Bench::splitting(REPLICATE_LARGE, PSR_TCP_IPV4);
    let frame = tcp(&[7; 2000]);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.bus.peek(header_buffer(0), 128), frame[..128]);
    assert_eq!(bench.bus.peek(header_buffer(1), 128), [0; 128]);
    let pieces = [0, 1, 2].map(|n| bench.data(0, n));
    assert_eq!(pieces.concat(), frame);
}

/// What a frame of each packet type has in its header buffer, by what PSRTYPE allows.
#[test]
fn each_packet_type_is_split_where_psrtype_says() {
    let built = |builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>| {
        let mut frame = Vec::new();
        builder.write(&mut frame, &[7; 400]).unwrap();
        frame
    };
    let built_udp = |builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>| {
        let mut frame = Vec::new();
        builder.write(&mut frame, &[7; 400]).unwrap();
        frame
    };
    let link = || PacketBuilder::ethernet2(PEER, OWN);
    let ipv4 = || link().ipv4([1, 2, 3, 4], [5, 6, 7, 8], 64);
    let ipv6 = || link().ipv6([1; 16], [2; 16], 64);
    let (tcp4, tcp6) = (built(ipv4().tcp(1, 2, 3, 4)), built(ipv6().tcp(1, 2, 3, 4)));
    let (udp4, udp6) = (built_udp(ipv4().udp(1, 2)), built_udp(ipv6().udp(1, 2)));
    let other4 = ip_protocol(tcp4.clone(), 23);
    let mut fragment = tcp4.clone();
    fragment[20..22].copy_from_slice(&[0x20, 0]);
    let mut extended = udp6.clone();
    // Destination options of 16 bytes between IPv6 and UDP.
    extended[20] = 60;
    let options = [17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    extended.splice(54..54, options);
    let payload = u16::from_be_bytes([extended[18], extended[19]]) + 16;
    extended[18..20].copy_from_slice(&payload.to_be_bytes());
    let (tcp, udp, v4, v6, l2) = (1 << 4, 1 << 5, 1 << 8, 1 << 9, 1 << 12);
    let all = tcp | udp | v4 | v6 | l2;

    let header_len = |types: u32, frame: &[u8]| {
        let mut bench = Bench::splitting(SPLIT, types);
        assert_eq!(bench.receive(&RxFrame::new(frame)), DELIVERED);
        let info = bench.written_back(0, 0).info();
        assert_eq!(info.sph(), info.header_len() > 0);
        assert_eq!(bench.header(0), frame[..info.header_len().into()]);
        assert_eq!(bench.data(0, 0), frame[info.header_len().into()..]);
        info.header_len()
    };
    let of_all = [&tcp4, &udp4, &tcp6, &udp6, &other4, &fragment, &extended]
        .map(|frame| header_len(all, frame));
    assert_eq!(of_all, [54, 42, 74, 62, 34, 34, 78]);
    let of_ip = [&tcp4, &udp4, &tcp6, &udp6, &other4, &fragment, &extended]
        .map(|frame| header_len(v4 | v6, frame));
    assert_eq!(of_ip, [34, 34, 54, 54, 34, 34, 70]);
    let of_tcp = [&tcp4, &udp4, &tcp6, &extended].map(|frame| header_len(tcp, frame));
    assert_eq!(of_tcp, [54, 0, 74, 0]);
    let of_udp = [&tcp4, &udp4, &udp6, &extended].map(|frame| header_len(udp, frame));
    assert_eq!(of_udp, [0, 42, 62, 78]);
    let of_l2 = [&tcp4, &tcp6, &fragment].map(|frame| header_len(l2, frame));
    assert_eq!(of_l2, [14, 14, 14]);
    let l2_alone = frame_to(OWN, 300);
    assert_eq!(header_len(all, &l2_alone), 14);
    assert_eq!(header_len(all & !l2, &l2_alone), 0);
}

/// A frame whose IPv4 packet carries another protocol.
fn ip_protocol(mut frame: Vec<u8>, protocol: u8) -> Vec<u8> {
    frame[23] = protocol;
    frame
}
