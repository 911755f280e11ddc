use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use proptest::prelude::*;
use smoltcp::wire::{
    EthernetFrame, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket as SmolTcp, UdpPacket as SmolUdp,
};

use super::*;

const FROM4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TO4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FROM6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);
const TO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0xFFFF, 2);

/// Headers as a driver provides them: lengths 0, IP checksum 0, L4 checksum the pseudo-header sum without length.
struct Template {
    header: Vec<u8>,
    layout: Layout,
}

fn tcp_header(seq: u32, options: &[u8]) -> TcpHeader {
    let mut tcp = TcpHeader::new(1000, 2000, seq, 512);
    tcp.acknowledgment_number = 77;
    tcp.ack = true;
    tcp.psh = true;
    tcp.fin = true;
    tcp.cwr = true;
    tcp.set_options_raw(options).unwrap();
    tcp
}

fn tcp4(seq: u32, id: u16, options: &[u8]) -> Template {
    let mut ip = etherparse::Ipv4Header::new(
        0,
        64,
        etherparse::IpNumber::TCP,
        FROM4.octets(),
        TO4.octets(),
    )
    .unwrap();
    ip.identification = id;
    let tcp = tcp_header(seq, options);
    let mut header = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ip(etherparse::IpHeaders::Ipv4(
            ip,
            etherparse::Ipv4Extensions::default(),
        ))
        .tcp_header(tcp)
        .write(&mut header, &[])
        .unwrap();
    header[16..18].fill(0);
    header[24..26].fill(0);
    let seed = Sum::pseudo_header_v4(FROM4, TO4, 6, 0).folded();
    put_u16(&mut header, 34 + 16, seed);
    Template {
        header,
        layout: Layout {
            ip: IpVersion::V4,
            ip_start: 14,
            l4_start: 34,
            transport: Transport::Tcp,
        },
    }
}

fn tcp6(seq: u32, options: &[u8]) -> Template {
    let mut header = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM6.octets(), TO6.octets(), 64)
        .tcp_header(tcp_header(seq, options))
        .write(&mut header, &[])
        .unwrap();
    header[18..20].fill(0);
    let seed = Sum::pseudo_header_v6(FROM6, TO6, 6, 0).folded();
    put_u16(&mut header, 54 + 16, seed);
    Template {
        header,
        layout: Layout {
            ip: IpVersion::V6,
            ip_start: 14,
            l4_start: 54,
            transport: Transport::Tcp,
        },
    }
}

fn udp4() -> Template {
    let mut header = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(FROM4.octets(), TO4.octets(), 64)
        .udp(53, 5353)
        .write(&mut header, &[])
        .unwrap();
    header[16..18].fill(0);
    header[24..26].fill(0);
    header[38..40].fill(0);
    let seed = Sum::pseudo_header_v4(FROM4, TO4, 17, 0).folded();
    put_u16(&mut header, 34 + 6, seed);
    Template {
        header,
        layout: Layout {
            ip: IpVersion::V4,
            ip_start: 14,
            l4_start: 34,
            transport: Transport::Udp,
        },
    }
}

fn cut(template: &Template, payload: &[u8], mss: usize, masks: TcpFlagMasks) -> Vec<Vec<u8>> {
    let segmenter =
        Segmenter::new(&template.header, template.layout, payload.len(), mss, masks).unwrap();
    (0..segmenter.count())
        .map(|i| {
            let mut frame = Vec::new();
            segmenter.write_frame(i, payload, &mut frame);
            frame
        })
        .collect()
}

/// Checks the checksums of a frame with smoltcp and with etherparse; returns TCP header and payload.
fn checked_tcp(frame: &[u8]) -> (TcpHeader, Vec<u8>) {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    match ethernet.ethertype() {
        smoltcp::wire::EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            assert!(ip.verify_checksum());
            let tcp = SmolTcp::new_checked(ip.payload()).unwrap();
            assert!(tcp.verify_checksum(
                &IpAddress::from(ip.src_addr()),
                &IpAddress::from(ip.dst_addr())
            ));
        }
        _ => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
            let tcp = SmolTcp::new_checked(ip.payload()).unwrap();
            assert!(tcp.verify_checksum(
                &IpAddress::from(ip.src_addr()),
                &IpAddress::from(ip.dst_addr())
            ));
        }
    }
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        panic!("no TCP")
    };
    let header = tcp.to_header();
    let expected = match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(
                ip.header().header_checksum(),
                ip.header().to_header().calc_header_checksum()
            );
            tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
                .unwrap()
        }
        NetSlice::Ipv6(ip) => tcp
            .calc_checksum_ipv6(ip.header().source(), ip.header().destination())
            .unwrap(),
        _ => panic!("no IP"),
    };
    assert_eq!(header.checksum, expected);
    (header, tcp.payload().to_vec())
}

fn ipv4_id(frame: &[u8]) -> u16 {
    get_u16(frame, 18)
}

#[test]
fn the_segments_carry_sequence_numbers_identifications_and_flags_of_their_own() {
    let frames = cut(
        &tcp4(u32::MAX - 99, u16::MAX, &[]),
        &[7; 250],
        100,
        TcpFlagMasks::default(),
    );

    let headers: Vec<TcpHeader> = frames.iter().map(|frame| checked_tcp(frame).0).collect();
    assert_eq!(frames.len(), 3);
    assert_eq!(
        headers
            .iter()
            .map(|h| h.sequence_number)
            .collect::<Vec<_>>(),
        [u32::MAX - 99, 0, 100]
    );
    assert_eq!(
        frames.iter().map(|f| ipv4_id(f)).collect::<Vec<_>>(),
        [u16::MAX, 0, 1]
    );
    assert_eq!(
        headers.iter().map(|h| h.fin).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(
        headers.iter().map(|h| h.psh).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(
        headers.iter().map(|h| h.cwr).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(
        headers.iter().map(|h| h.ack).collect::<Vec<_>>(),
        [true, true, true]
    );
}

#[test]
fn a_frame_that_is_one_segment_keeps_its_flags() {
    let masks = TcpFlagMasks {
        first: 0,
        middle: 0,
        last: 0,
    };
    let frames = cut(&tcp4(5, 6, &[]), &[7; 100], 100, masks);

    let (header, payload) = checked_tcp(&frames[0]);
    assert_eq!(frames.len(), 1);
    assert!(header.fin && header.psh && header.cwr && header.ack);
    assert_eq!(payload, [7; 100]);
}

#[test]
fn udp_segments_are_datagrams_with_length_and_checksum() {
    let frames = cut(&udp4(), &[9; 25], 10, TcpFlagMasks::default());

    let lengths: Vec<u16> = frames
        .iter()
        .map(|frame| {
            let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
            assert!(ip.verify_checksum());
            let udp = SmolUdp::new_checked(ip.payload()).unwrap();
            assert_ne!(udp.checksum(), 0);
            assert!(udp.verify_checksum(&FROM4.into(), &TO4.into()));
            udp.len()
        })
        .collect();
    assert_eq!(lengths, [18, 18, 13]);
}

#[test]
fn an_ip_checksum_field_that_is_not_zero_is_part_of_the_sum() {
    let mut template = tcp4(1, 1, &[]);
    template.header[24..26].copy_from_slice(&[0x12, 0x34]);
    let frames = cut(&template, &[0; 10], 10, TcpFlagMasks::default());

    let mut without = frames[0][14..34].to_vec();
    without[10..12].fill(0);
    let mut sum = Sum::of(&without);
    sum.add_number(0x1234);
    assert_eq!(get_u16(&frames[0], 24), sum.checksum());
}

#[test]
fn a_large_frame_of_a_kernel_becomes_a_template() {
    let driver = tcp4(1, 1, &[]);
    let mut header = driver.header.clone();
    header[24..26].copy_from_slice(&[0xAB, 0xCD]);
    put_u16(
        &mut header,
        50,
        Sum::pseudo_header_v4(FROM4, TO4, 6, 20 + 3000).folded(),
    );

    template_from_large_frame(&mut header, &driver.layout, 3000);

    let template = Template {
        header,
        layout: driver.layout,
    };
    let frames = cut(&template, &[3; 3000], 1448, TcpFlagMasks::default());
    assert_eq!(
        frames
            .iter()
            .map(|frame| checked_tcp(frame).1.len())
            .sum::<usize>(),
        3000
    );
}

#[test]
fn nonsense_is_refused() {
    let template = tcp4(1, 1, &[]);
    let header = template.header.as_slice();
    let new = |layout, payload_len, mss| {
        Segmenter::new(header, layout, payload_len, mss, TcpFlagMasks::default()).err()
    };
    let headers = |ip_start, l4_start| SegmentationError::Headers {
        ip_start,
        l4_start,
        header_len: 54,
    };
    assert_eq!(
        new(template.layout, 10, 0),
        Some(SegmentationError::NoSegmentSize)
    );
    assert_eq!(
        new(template.layout, 0, 10),
        Some(SegmentationError::NoPayload)
    );
    assert_eq!(
        new(template.layout, 70_000, 66_000),
        Some(SegmentationError::TooLong { len: 66_040 })
    );
    let short_ip = Layout {
        l4_start: 33,
        ..template.layout
    };
    assert_eq!(new(short_ip, 10, 10), Some(headers(14, 33)));
    let short_tcp = Layout {
        l4_start: 35,
        ..template.layout
    };
    assert_eq!(new(short_tcp, 10, 10), Some(headers(14, 35)));
    let backwards = Layout {
        ip_start: 40,
        ..template.layout
    };
    assert_eq!(new(backwards, 10, 10), Some(headers(40, 34)));
}

proptest! {
    #[test]
    fn the_segments_put_together_are_the_payload(
        payload in prop::collection::vec(any::<u8>(), 1..20_000),
        mss in 20_usize..9000,
        seq in any::<u32>(),
        id in any::<u16>(),
        options in prop::sample::select(vec![&[][..], &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8][..]]),
        v6 in any::<bool>(),
    ) {
        let template = if v6 { tcp6(seq, options) } else { tcp4(seq, id, options) };
        let mut whole = Vec::new();
        for frame in cut(&template, &payload, mss, TcpFlagMasks::default()) {
            let (header, piece) = checked_tcp(&frame);
            prop_assert!(piece.len() <= mss);
            let expected = seq.wrapping_add(u32::try_from(whole.len()).unwrap());
            prop_assert_eq!(header.sequence_number, expected);
            whole.extend(piece);
        }
        prop_assert_eq!(whole, payload);
    }

    #[test]
    fn any_layout_is_cut_or_refused(
        template in prop::collection::vec(any::<u8>(), 0..200),
        ip_start in 0_usize..300,
        l4_start in 0_usize..300,
        payload_len in 0_usize..300_000,
        mss in 0_usize..70_000,
        v6 in any::<bool>(),
        udp in any::<bool>(),
    ) {
        let layout = Layout {
            ip: if v6 { IpVersion::V6 } else { IpVersion::V4 },
            ip_start,
            l4_start,
            transport: if udp { Transport::Udp } else { Transport::Tcp },
        };
        if let Ok(segmenter) = Segmenter::new(&template, layout, payload_len, mss, TcpFlagMasks::default()) {
            let mut frame = Vec::new();
            segmenter.write_frame(0, &vec![0; payload_len], &mut frame);
            prop_assert_eq!(frame.len(), template.len() + payload_len.min(mss));
            prop_assert_eq!(segmenter.payload(segmenter.count() - 1).end, payload_len);
            prop_assert!(segmenter.payload(segmenter.count()).is_empty());
        }
    }
}
