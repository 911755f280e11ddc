//! Checksums and VLAN tags of packets that are one frame.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use ixgbe_spec::{
    descriptor::tx::{Context, DataControl, Descriptor, L4Type, LegacyControl},
    register::Reg,
};
use proptest::prelude::*;
use smoltcp::wire::{Ipv4Packet, TcpPacket, UdpPacket};

use super::world::{Lengths, World, context, frame, plain};
use crate::{
    offload::Sum,
    wire::{Capabilities, Offload},
};

pub const FROM4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const TO4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const FROM6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1);
pub const TO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0xFFFF, 2);

pub const TCP4: Lengths = Lengths {
    mac: 14,
    ip: 20,
    l4: 20,
};
const UDP4: Lengths = Lengths {
    mac: 14,
    ip: 20,
    l4: 8,
};
const UDP6: Lengths = Lengths {
    mac: 14,
    ip: 40,
    l4: 8,
};

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// A complete frame and the same as a driver hands it over: IP checksum 0, L4 checksum the pseudo-header sum.
struct Pair {
    complete: Vec<u8>,
    partial: Vec<u8>,
}

fn udp4(payload: &[u8]) -> Pair {
    let mut complete = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(FROM4.octets(), TO4.octets(), 64)
        .udp(53, 5353)
        .write(&mut complete, payload)
        .unwrap();
    let mut partial = complete.clone();
    let len = u32::try_from(8 + payload.len()).unwrap();
    put(&mut partial, 24, 0);
    put(
        &mut partial,
        40,
        Sum::pseudo_header_v4(FROM4, TO4, 17, len).folded(),
    );
    Pair { complete, partial }
}

fn tcp4(payload: &[u8]) -> Pair {
    let mut complete = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(FROM4.octets(), TO4.octets(), 64)
        .tcp(1000, 2000, 7, 512)
        .write(&mut complete, payload)
        .unwrap();
    let mut partial = complete.clone();
    let len = u32::try_from(20 + payload.len()).unwrap();
    put(&mut partial, 24, 0);
    put(
        &mut partial,
        50,
        Sum::pseudo_header_v4(FROM4, TO4, 6, len).folded(),
    );
    Pair { complete, partial }
}

fn udp6(payload: &[u8]) -> Pair {
    let mut complete = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM6.octets(), TO6.octets(), 64)
        .udp(53, 5353)
        .write(&mut complete, payload)
        .unwrap();
    let mut partial = complete.clone();
    let len = u32::try_from(8 + payload.len()).unwrap();
    put(
        &mut partial,
        60,
        Sum::pseudo_header_v6(FROM6, TO6, 17, len).folded(),
    );
    Pair { complete, partial }
}

fn with_checksums(len: usize) -> DataControl {
    plain(len).with_cc(true).with_ixsm(true).with_txsm(true)
}

impl World {
    fn send_with(&mut self, context: Context, bytes: &[u8], cuts: &[usize], control: DataControl) {
        let mut descriptors: Vec<Descriptor> = vec![context.into()];
        descriptors.extend(self.packet(bytes, cuts, control));
        self.post(0, &descriptors);
        self.run();
    }
}

#[test]
fn ip_and_udp_checksums_are_inserted() {
    let mut world = World::with_ring(8);
    let pair = udp4(&[1; 700]);
    world.send_with(
        context(&UDP4, L4Type::Udp, 0),
        &pair.partial,
        &[20, 30],
        with_checksums(pair.partial.len()),
    );
    assert_eq!(world.sent(), [pair.complete]);
}

#[test]
fn a_tcp_checksum_is_inserted_without_the_ip_checksum() {
    let mut world = World::with_ring(8);
    let pair = tcp4(&[1; 701]);
    let control = with_checksums(pair.partial.len()).with_ixsm(false);
    world.send_with(context(&TCP4, L4Type::Tcp, 0), &pair.partial, &[], control);

    let mut expected = pair.complete;
    put(&mut expected, 24, 0);
    assert_eq!(world.sent(), [expected]);
}

#[test]
fn a_udp_checksum_over_ipv6_is_inserted() {
    let mut world = World::with_ring(8);
    let pair = udp6(b"odd");
    let control = with_checksums(pair.partial.len()).with_ixsm(false);
    world.send_with(context(&UDP6, L4Type::Udp, 0), &pair.partial, &[], control);
    assert_eq!(world.sent(), [pair.complete]);
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    let mut pair = udp4(&[0; 20]);
    // Two payload bytes make up for the rest of the sum.
    let rest = Sum::of(&pair.partial[34..]).checksum();
    put(&mut pair.partial, 60, rest);
    assert_eq!(Sum::of(&pair.partial[34..]).checksum(), 0);
    let mut world = World::with_ring(8);
    world.send_with(
        context(&UDP4, L4Type::Udp, 0),
        &pair.partial,
        &[],
        with_checksums(pair.partial.len()),
    );

    let sent = world.sent().remove(0);
    assert_eq!(sent[40..42], [0xFF, 0xFF]);
    let ip = Ipv4Packet::new_checked(&sent[14..]).unwrap();
    assert!(
        UdpPacket::new_checked(ip.payload())
            .unwrap()
            .verify_checksum(&FROM4.into(), &TO4.into())
    );
}

#[test]
fn what_stands_in_the_ip_checksum_field_is_part_of_the_sum() {
    // As Linux does it for a tunnel: IPLEN reaches over 4 bytes more, whose complement is in the field.
    let mut pair = tcp4(&[1; 100]);
    let extra = Sum::of(&pair.partial[34..38]).checksum();
    put(&mut pair.partial, 24, extra);
    let mut world = World::with_ring(8);
    let lengths = Lengths {
        mac: 14,
        ip: 24,
        l4: 0,
    };
    let control = with_checksums(pair.partial.len()).with_txsm(false);
    world.send_with(
        context(&lengths, L4Type::Tcp, 0),
        &pair.partial,
        &[],
        control,
    );

    let sent = world.sent().remove(0);
    assert_eq!(sent[24..26], pair.complete[24..26]);
}

#[test]
fn an_sctp_packet_gets_its_crc32c() {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                crc >> 1 ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
            })
        })
    };
    assert_eq!(crc(b"123456789"), 0xE306_9283);
    let mut bytes = frame(14 + 20 + 12 + 100);
    bytes[42..46].fill(0);
    let mut expected = bytes.clone();
    expected[42..46].copy_from_slice(&crc(&bytes[34..]).to_le_bytes());

    let mut world = World::with_ring(8);
    let control = with_checksums(bytes.len()).with_ixsm(false);
    world.send_with(context(&UDP4, L4Type::Sctp, 0), &bytes, &[50], control);

    assert_eq!(world.sent(), [expected]);
}

#[test]
fn a_wire_that_completes_checksums_gets_the_sum_so_far_and_the_pages() {
    let mut world = World::with_ring(8);
    world.wire.capabilities = Capabilities {
        checksum: true,
        ..Capabilities::default()
    };
    let pair = udp4(&[1; 700]);
    world.send_with(
        context(&UDP4, L4Type::Udp, 0),
        &pair.partial,
        &[20, 30],
        with_checksums(pair.partial.len()),
    );

    let sent = &world.wire.frames[0];
    assert_eq!(
        sent.offload,
        Offload::Checksum {
            start: 34,
            offset: 6
        }
    );
    assert_eq!(sent.mapped, 700);
    let mut completed = sent.bytes.clone();
    let checksum = Sum::of(&completed[34..]).checksum();
    put(&mut completed, 40, checksum);
    assert_eq!(completed, pair.complete);
}

#[test]
fn the_tag_of_the_context_is_inserted_and_offsets_follow() {
    let mut world = World::with_ring(8);
    let pair = udp4(&[1; 100]);
    let mut tagged = context(&UDP4, L4Type::Udp, 0);
    tagged.low.set_vlan(0x6123);
    let control = with_checksums(pair.partial.len()).with_vle(true);
    world.send_with(tagged, &pair.partial, &[6, 6], control);

    let mut expected = pair.complete;
    expected.splice(12..12, [0x81, 0x00, 0x61, 0x23]);
    assert_eq!(world.sent(), [expected]);
}

#[test]
fn the_tag_has_the_ethertype_of_dmatxctl() {
    let mut world = World::with_ring(8);
    world.write(Reg::DMATXCTL, 0, 0x88A8_0001);
    let control = LegacyControl::new()
        .with_ifcs(true)
        .with_eop(true)
        .with_vle(true)
        .with_vlan(0x0FFF);
    let descriptor = world.legacy(&frame(100), control);
    world.post(0, &[descriptor]);
    world.run();

    let mut expected = frame(100);
    expected.splice(12..12, [0x88, 0xA8, 0x0F, 0xFF]);
    assert_eq!(world.sent(), [expected]);
    assert_eq!(world.regs.get(Reg::GOTCL, 0), 108);
}

#[test]
fn a_legacy_checksum_goes_where_the_descriptor_says() {
    let mut world = World::with_ring(8);
    let pair = tcp4(&[1; 100]);
    let control = LegacyControl::new()
        .with_ifcs(true)
        .with_eop(true)
        .with_ic(true);
    let right = world.legacy(&pair.partial, control.with_css(34).with_cso(50));
    let outside = world.legacy(&pair.partial, control.with_css(34).with_cso(153));
    let none = world.legacy(&pair.partial, control.with_css(34).with_cso(0));
    world.post(0, &[right, outside, none]);
    world.run();

    let mut expected = pair.complete;
    put(&mut expected, 24, 0);
    assert_eq!(world.sent(), [expected, pair.partial.clone(), pair.partial]);
}

#[test]
fn contexts_stay_until_they_are_overwritten_or_the_queue_is_disabled() {
    let mut world = World::with_ring(8);
    let pair = udp4(&[1; 100]);
    let mut second = context(&UDP4, L4Type::Udp, 0);
    second.high.set_idx(1);
    second.low.set_vlan(7);
    let control = with_checksums(pair.partial.len()).with_vle(true);
    let mut first = context(&UDP4, L4Type::Udp, 0);
    first.low.set_vlan(5);
    world.post(0, &[first.into(), second.into()]);
    world.run();
    assert_eq!(world.regs.get(Reg::TDH, 0), 2);

    [1, 0, 0, 1].iter().for_each(|idx| {
        let descriptors = world.packet(&pair.partial, &[], control.with_idx(*idx));
        world.post(0, &descriptors);
        world.run();
    });
    let tags: Vec<u8> = world.sent().iter().map(|sent| sent[15]).collect();
    assert_eq!(tags, [7, 5, 5, 7]);

    world.write(Reg::TXDCTL, 0, 0);
    world.write(Reg::TXDCTL, 0, 1 << 25);
    let descriptors = world.packet(&pair.partial, &[], control);
    world.post(0, &descriptors);
    world.run();
    assert!(world.sent().is_empty());
    assert_eq!(world.faults.offload, 1);
}

#[test]
fn padding_of_a_short_frame_is_no_part_of_its_checksum() {
    let mut world = World::with_ring(8);
    let pair = udp4(b"x");
    world.send_with(
        context(&UDP4, L4Type::Udp, 0),
        &pair.partial,
        &[],
        with_checksums(pair.partial.len()),
    );
    let sent = world.sent().remove(0);
    assert_eq!(sent.len(), 60);
    assert_eq!(sent[..43], pair.complete);
}

proptest! {
    #[test]
    fn inserted_checksums_are_those_of_etherparse_and_smoltcp(
        payload in prop::collection::vec(any::<u8>(), 0..9000),
        cuts in prop::collection::vec(0_usize..40, 0..4),
        tag in prop::option::of(any::<u16>()),
    ) {
        let mut world = World::with_ring(16);
        let pair = tcp4(&payload);
        let mut described = context(&TCP4, L4Type::Tcp, 0);
        described.low.set_vlan(tag.unwrap_or(0));
        let cuts = cuts.iter().scan(54, |left: &mut usize, cut| {
            *left = left.checked_sub(*cut)?;
            Some(*cut)
        });
        let cuts: Vec<usize> = cuts.filter(|cut| *cut != 0).collect();
        let control = with_checksums(pair.partial.len()).with_vle(tag.is_some());
        world.send_with(described, &pair.partial, &cuts, control);

        let sent = world.sent().remove(0);
        let start = if tag.is_some() { 18 } else { 14 };
        let ip = Ipv4Packet::new_checked(&sent[start..]).unwrap();
        prop_assert!(ip.verify_checksum());
        let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
        prop_assert!(tcp.verify_checksum(&FROM4.into(), &TO4.into()));
        let sliced = SlicedPacket::from_ethernet(&sent).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
        prop_assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(FROM4.octets(), TO4.octets()).unwrap());
    }
}
