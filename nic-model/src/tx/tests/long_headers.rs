//! Segmentation where the IP header is longer than its fixed part, and with both contexts of a queue in turns.

use ixgbe_spec::descriptor::tx::{Context, DataControl, Descriptor, L4Type};
use smoltcp::wire::{IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

use super::{
    offloads::{FROM4, FROM6, TO4, TO6},
    world::{Lengths, World, context},
};
use crate::offload::Sum;

/// TCP header with a time stamp, checksum field seeded with `seed`.
fn tcp(seed: Sum) -> Vec<u8> {
    let mut header = vec![0x03, 0xE8, 0x07, 0xD0, 0xFF, 0xFF, 0xF0, 0, 0, 0, 0, 7];
    header.extend([0x80, 0x18, 0x20, 0, 0, 0, 0, 0]);
    header.extend([1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4]);
    header[16..18].copy_from_slice(&seed.folded().to_be_bytes());
    header
}

fn payload(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}

fn ethernet(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2];
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// The fixed part of an IPv4 header of `len` bytes, total length and checksum left to the card.
fn ipv4(len: u8) -> Vec<u8> {
    let mut header = vec![0x40 | (len / 4), 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0];
    header.extend(FROM4.octets());
    header.extend(TO4.octets());
    header
}

/// An IPv6 header, payload length left to the card.
fn ipv6(next: u8) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    header.extend(FROM6.octets());
    header.extend(TO6.octets());
    header
}

fn segmentation(payload: &[u8]) -> DataControl {
    DataControl::new()
        .with_ifcs(true)
        .with_tse(true)
        .with_cc(true)
        .with_txsm(true)
        .with_paylen(u32::try_from(payload.len()).unwrap())
}

impl World {
    fn send_described(
        &mut self,
        context: Context,
        headers: &[u8],
        payload: &[u8],
        control: DataControl,
    ) {
        let mut descriptors: Vec<Descriptor> = vec![context.into()];
        // Headers in two buffers, cut in the IP header.
        let bytes = [headers, payload].concat();
        descriptors.extend(self.packet(&bytes, &[30, headers.len() - 30], control));
        self.post(0, &descriptors);
        self.run();
    }
}

/// Checks sequence number, options and checksum of a TCP segment and returns its payload.
fn checked(segment: &[u8], at: usize, (from, to): (IpAddress, IpAddress)) -> Vec<u8> {
    let tcp = TcpPacket::new_checked(segment).unwrap();
    assert!(tcp.verify_checksum(&from, &to));
    let expected = 0xFFFF_F000_u32.wrapping_add(u32::try_from(at).unwrap());
    assert_eq!(tcp.seq_number().0.cast_unsigned(), expected);
    assert_eq!(segment[20..32], [1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4]);
    tcp.payload().to_vec()
}

#[test]
fn each_segment_has_the_options_of_its_ipv4_header_behind_the_tag() {
    let mut world = World::with_ring(8);
    let options = [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0];
    let seed = Sum::pseudo_header_v4(FROM4, TO4, 6, 0);
    let headers = [ethernet(0x0800), ipv4(32), options.to_vec(), tcp(seed)].concat();
    let data = payload(5001);
    let lengths = Lengths {
        mac: 14,
        ip: 20,
        l4: 32,
    };
    let mut described = context(&lengths, L4Type::Tcp, 1000);
    described.low.set_iplen(32);
    described.low.set_vlan(0x6064);
    let control = segmentation(&data).with_ixsm(true).with_vle(true);

    world.send_described(described, &headers, &data, control);

    let sent = world.sent();
    let mut whole = Vec::new();
    for (n, frame) in (0_u16..).zip(&sent) {
        assert_eq!(frame[12..18], [0x81, 0, 0x60, 0x64, 8, 0]);
        let ip = Ipv4Packet::new_checked(&frame[18..]).unwrap();
        assert!(ip.verify_checksum());
        assert_eq!(frame[38..50], options);
        assert_eq!(ip.ident(), 0x1234 + n);
        assert_eq!(usize::from(ip.total_len()), frame.len() - 18);
        let piece = checked(&frame[50..], whole.len(), (FROM4.into(), TO4.into()));
        whole.extend(piece);
    }
    assert_eq!(sent.len(), 6);
    assert_eq!(whole, data);
}

#[test]
fn each_segment_has_the_extension_headers_of_ipv6() {
    let mut world = World::with_ring(8);
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [6, 0, 1, 4, 9, 9, 9, 9];
    let seed = Sum::pseudo_header_v6(FROM6, TO6, 6, 0);
    let headers = [
        ethernet(0x86DD),
        ipv6(0),
        hop_by_hop.to_vec(),
        destination.to_vec(),
        tcp(seed),
    ]
    .concat();
    let data = payload(2500);
    let lengths = Lengths {
        mac: 14,
        ip: 56,
        l4: 32,
    };
    let described = context(&lengths, L4Type::Tcp, 1000);

    world.send_described(described, &headers, &data, segmentation(&data));

    let sent = world.sent();
    let mut whole = Vec::new();
    for frame in &sent {
        let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        assert_eq!(usize::from(ip.payload_len()), frame.len() - 54);
        assert_eq!(frame[54..70], [hop_by_hop, destination].concat());
        let piece = checked(&frame[70..], whole.len(), (FROM6.into(), TO6.into()));
        whole.extend(piece);
    }
    assert_eq!(sent.len(), 3);
    assert_eq!(whole, data);
}

#[test]
fn udp_over_ipv6_is_cut_into_datagrams() {
    let mut world = World::with_ring(8);
    let seed = Sum::pseudo_header_v6(FROM6, TO6, 17, 0).folded();
    let mut udp = vec![0, 53, 0x14, 0xE9, 0, 0];
    udp.extend(seed.to_be_bytes());
    let headers = [ethernet(0x86DD), ipv6(17), udp].concat();
    let data = payload(2500);
    let lengths = Lengths {
        mac: 14,
        ip: 40,
        l4: 8,
    };
    let described = context(&lengths, L4Type::Udp, 1000);

    world.send_described(described, &headers, &data, segmentation(&data));

    let mut whole = Vec::new();
    let mut lengths = Vec::new();
    for frame in world.sent() {
        let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        let udp = UdpPacket::new_checked(ip.payload()).unwrap();
        assert!(udp.verify_checksum(&FROM6.into(), &TO6.into()));
        lengths.push(udp.len());
        whole.extend_from_slice(udp.payload());
    }
    assert_eq!(lengths, [1008, 1008, 508]);
    assert_eq!(whole, data);
}

#[test]
fn large_packets_of_both_contexts_leave_in_turns() {
    let mut world = World::with_ring(32);
    let four = [
        ethernet(0x0800),
        ipv4(20),
        tcp(Sum::pseudo_header_v4(FROM4, TO4, 6, 0)),
    ]
    .concat();
    let six = [
        ethernet(0x86DD),
        ipv6(6),
        tcp(Sum::pseudo_header_v6(FROM6, TO6, 6, 0)),
    ]
    .concat();
    let lengths = |ip| Lengths {
        mac: 14,
        ip,
        l4: 32,
    };
    let first = context(&lengths(20), L4Type::Tcp, 700);
    let mut second = context(&lengths(40), L4Type::Tcp, 900);
    second.high.set_idx(1);
    world.post(0, &[first.into(), second.into()]);
    let data = payload(1500);
    for _ in 0..2 {
        let control = segmentation(&data).with_ixsm(true);
        let packet = world.packet(&[&four[..], &data].concat(), &[], control);
        world.post(0, &packet);
        let control = segmentation(&data).with_idx(1);
        let packet = world.packet(&[&six[..], &data].concat(), &[], control);
        world.post(0, &packet);
        world.run();
    }

    let of_four = [0..700, 700..1400, 1400..1500].map(|piece| (34, piece));
    let of_six = [0..900, 900..1500].map(|piece| (54, piece));
    let expected = of_four.into_iter().chain(of_six);
    let sent = world.sent();
    assert_eq!(sent.len(), 10);
    for (frame, (l4, piece)) in sent.iter().zip(expected.cycle()) {
        let ends = if l4 == 34 {
            (FROM4.into(), TO4.into())
        } else {
            (FROM6.into(), TO6.into())
        };
        assert_eq!(checked(&frame[l4..], piece.start, ends), data[piece]);
    }
}
