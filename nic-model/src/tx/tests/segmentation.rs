//! Packets that are cut: TSO, and its counterpart for UDP.

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use ixgbe_spec::{
    descriptor::tx::{DataControl, Descriptor, L4Type},
    register::Reg,
};
use proptest::prelude::*;
use smoltcp::wire::{IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};
use zerocopy::IntoBytes;

use super::{
    offloads::{FROM4, FROM6, TO4, TO6},
    world::{Lengths, World, context},
};
use crate::{
    offload::Sum,
    wire::{Capabilities, IpVersion, Offload},
};

const EVERYTHING: Capabilities = Capabilities {
    checksum: true,
    tso4: true,
    tso6: true,
};

/// A large packet as Linux hands it over.
struct Large {
    bytes: Vec<u8>,
    header_len: usize,
    lengths: Lengths,
    l4t: L4Type,
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn payload(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}

fn tcp4(payload: &[u8]) -> Large {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(FROM4.octets(), TO4.octets(), 64)
        .tcp(1000, 2000, 0xFFFF_F000, 512)
        .psh()
        .fin()
        .write(&mut bytes, &[])
        .unwrap();
    put(&mut bytes, 16, 0);
    put(&mut bytes, 24, 0);
    put(
        &mut bytes,
        50,
        Sum::pseudo_header_v4(FROM4, TO4, 6, 0).folded(),
    );
    bytes.extend_from_slice(payload);
    Large {
        bytes,
        header_len: 54,
        lengths: Lengths {
            mac: 14,
            ip: 20,
            l4: 20,
        },
        l4t: L4Type::Tcp,
    }
}

fn tcp6(payload: &[u8]) -> Large {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM6.octets(), TO6.octets(), 64)
        .tcp(1000, 2000, 77, 512)
        .psh()
        .write(&mut bytes, &[])
        .unwrap();
    put(&mut bytes, 18, 0);
    put(
        &mut bytes,
        70,
        Sum::pseudo_header_v6(FROM6, TO6, 6, 0).folded(),
    );
    bytes.extend_from_slice(payload);
    Large {
        bytes,
        header_len: 74,
        lengths: Lengths {
            mac: 14,
            ip: 40,
            l4: 20,
        },
        l4t: L4Type::Tcp,
    }
}

fn udp4(payload: &[u8]) -> Large {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(FROM4.octets(), TO4.octets(), 64)
        .udp(53, 5353)
        .write(&mut bytes, &[])
        .unwrap();
    put(&mut bytes, 24, 0);
    put(
        &mut bytes,
        40,
        Sum::pseudo_header_v4(FROM4, TO4, 17, 0).folded(),
    );
    bytes.extend_from_slice(payload);
    Large {
        bytes,
        header_len: 42,
        lengths: Lengths {
            mac: 14,
            ip: 20,
            l4: 8,
        },
        l4t: L4Type::Udp,
    }
}

impl World {
    fn post_large(&mut self, large: &Large, mss: u16, cuts: &[usize], tag: Option<u16>) {
        let mut described = context(&large.lengths, large.l4t, mss);
        described.low.set_vlan(tag.unwrap_or(0));
        let payload_len = u32::try_from(large.bytes.len() - large.header_len).unwrap();
        let control = DataControl::new()
            .with_ifcs(true)
            .with_tse(true)
            .with_cc(true)
            .with_ixsm(large.lengths.ip == 20)
            .with_txsm(true)
            .with_vle(tag.is_some())
            .with_paylen(payload_len);
        let mut descriptors: Vec<Descriptor> = vec![described.into()];
        descriptors.extend(self.packet(&large.bytes, cuts, control));
        self.post(0, &descriptors);
    }
}

/// Checks IP and TCP checksums; returns the sequence number and the payload.
fn checked(frame: &[u8]) -> (u32, Vec<u8>) {
    let (from, to, l4): (IpAddress, IpAddress, &[u8]) = if frame[12..14] == [8, 0] {
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert!(ip.verify_checksum());
        (
            ip.src_addr().into(),
            ip.dst_addr().into(),
            &frame[34..14 + usize::from(ip.total_len())],
        )
    } else {
        let ip = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        (
            ip.src_addr().into(),
            ip.dst_addr().into(),
            &frame[54..54 + usize::from(ip.payload_len())],
        )
    };
    let tcp = TcpPacket::new_checked(l4).unwrap();
    assert!(tcp.verify_checksum(&from, &to));
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(slice)) = sliced.transport else {
        panic!("no TCP")
    };
    (slice.sequence_number(), tcp.payload().to_vec())
}

/// What a wire that completes checksums makes of a frame.
fn completed(mut bytes: Vec<u8>, offload: Offload) -> Vec<u8> {
    if let Offload::Checksum { start, offset } = offload {
        let start = usize::from(start);
        let checksum = Sum::of(&bytes[start..]).checksum();
        put(&mut bytes, start + usize::from(offset), checksum);
    }
    bytes
}

#[test]
fn a_large_packet_is_cut_into_segments_that_are_counted_one_by_one() {
    let mut world = World::with_ring(8);
    let data = payload(4000);
    world.post_large(&tcp4(&data), 1448, &[54, 2000], None);
    world.run();

    let sent = world.sent();
    let segments: Vec<_> = sent.iter().map(|frame| checked(frame)).collect();
    let sequence: Vec<u32> = segments
        .iter()
        .map(|(seq, _)| seq.wrapping_sub(0xFFFF_F000))
        .collect();
    assert_eq!(sequence, [0, 1448, 2896]);
    assert_eq!(
        segments
            .iter()
            .flat_map(|(_, bytes)| bytes.clone())
            .collect::<Vec<_>>(),
        data
    );
    assert_eq!(world.regs.get(Reg::GPTC, 0), 3);
    assert_eq!(world.regs.get(Reg::GOTCL, 0), 4000 + 3 * 58);
    assert_eq!(world.regs.get(Reg::PTC1522, 0), 3);
    assert!(world.descriptor(0, 3).is_done());
    assert_eq!(world.bus.take_writes().len(), 1);
}

#[test]
fn flags_follow_the_masks_of_dtxtcpflg_unless_there_is_one_segment() {
    let mut world = World::with_ring(16);
    let flags = |sent: Vec<Vec<u8>>| sent.iter().map(|frame| frame[47]).collect::<Vec<_>>();
    world.post_large(&tcp4(&payload(30)), 10, &[], None);
    world.run();
    assert_eq!(flags(world.sent()), [0, 0, 0x09]);

    world.write(Reg::DTXTCPFLGL, 0, 0x0FF7_0FFF);
    world.write(Reg::DTXTCPFLGH, 0, 0x0000_0FFE);
    world.post_large(&tcp4(&payload(30)), 10, &[], None);
    world.run();
    assert_eq!(flags(world.sent()), [0x09, 0x01, 0x08]);

    world.write(Reg::DTXTCPFLGH, 0, 0);
    world.post_large(&tcp4(&payload(30)), 30, &[], None);
    world.run();
    assert_eq!(flags(world.sent()), [0x09]);
}

#[test]
fn each_segment_carries_the_tag() {
    let mut world = World::with_ring(8);
    world.post_large(&tcp6(&payload(2500)), 1000, &[], Some(0x0123));
    world.run();

    let untagged: Vec<_> = world
        .sent()
        .into_iter()
        .map(|mut frame| {
            assert_eq!(
                frame.splice(12..16, []).collect::<Vec<_>>(),
                [0x81, 0, 0x01, 0x23]
            );
            checked(&frame).1.len()
        })
        .collect();
    assert_eq!(untagged, [1000, 1000, 500]);
    assert_eq!(world.regs.get(Reg::GOTCL, 0), 2500 + 3 * (74 + 4 + 4));
}

#[test]
fn udp_is_cut_into_datagrams() {
    let mut world = World::with_ring(8);
    world.wire.capabilities = Capabilities {
        checksum: false,
        ..EVERYTHING
    };
    world.post_large(&udp4(&payload(2500)), 1000, &[], None);
    world.run();

    let lengths: Vec<_> = world
        .sent()
        .iter()
        .map(|frame| {
            let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
            assert!(ip.verify_checksum());
            let udp = UdpPacket::new_checked(ip.payload()).unwrap();
            assert!(udp.verify_checksum(&FROM4.into(), &TO4.into()));
            udp.len()
        })
        .collect();
    assert_eq!(lengths, [1008, 1008, 508]);
}

#[test]
fn a_wire_that_cuts_gets_the_large_frame_with_its_lengths_and_the_pages() {
    let mut world = World::with_ring(8);
    world.wire.capabilities = EVERYTHING;
    world.post_large(&tcp4(&payload(4000)), 1448, &[54], None);
    world.run();

    let sent = world.wire.frames.remove(0);
    assert!(world.wire.frames.is_empty());
    let expected = Offload::Segment {
        ip: IpVersion::V4,
        start: 34,
        header_len: 54,
        mss: 1448,
    };
    assert_eq!(sent.offload, expected);
    assert_eq!(sent.mapped, 4000);
    let ip = Ipv4Packet::new_checked(&sent.bytes[14..]).unwrap();
    assert_eq!(ip.total_len(), 4040);
    assert!(ip.verify_checksum());
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    assert_eq!(
        tcp.checksum(),
        Sum::pseudo_header_v4(FROM4, TO4, 6, 4020).folded()
    );
    assert!(tcp.fin() && tcp.psh());
    assert_eq!(world.regs.get(Reg::GPTC, 0), 3);
    assert_eq!(world.regs.get(Reg::GOTCL, 0), 4000 + 3 * 58);
}

#[test]
fn a_wire_that_cuts_ipv6_gets_the_payload_length() {
    let mut world = World::with_ring(8);
    world.wire.capabilities = EVERYTHING;
    world.post_large(&tcp6(&payload(4000)), 1000, &[], None);
    world.run();

    let sent = world.wire.frames.remove(0);
    let expected = Offload::Segment {
        ip: IpVersion::V6,
        start: 54,
        header_len: 74,
        mss: 1000,
    };
    assert_eq!(sent.offload, expected);
    let ip = Ipv6Packet::new_checked(&sent.bytes[14..]).unwrap();
    assert_eq!(ip.payload_len(), 4020);
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    assert_eq!(
        tcp.checksum(),
        Sum::pseudo_header_v6(FROM6, TO6, 6, 4020).folded()
    );
}

#[test]
fn a_wire_is_not_asked_to_cut_what_it_would_cut_otherwise() {
    let mut world = World::with_ring(64);
    world.wire.capabilities = EVERYTHING;
    // One segment.
    world.post_large(&tcp4(&payload(100)), 1448, &[], None);
    // More than an IP length can say.
    let cuts = [60_000];
    world.post_large(&tcp4(&payload(70_000)), 9000, &cuts, None);
    // A tunnel: more than an IP header before the TCP header.
    let mut tunnel = tcp4(&payload(3000));
    let ip: Vec<u8> = tunnel.bytes[14..34].to_vec();
    tunnel.bytes.splice(34..34, ip);
    tunnel.lengths.ip = 40;
    tunnel.header_len = 74;
    world.post_large(&tunnel, 1000, &[], None);
    // Masks that are not a kernel's.
    world.write(Reg::DTXTCPFLGH, 0, 0xFFF);
    world.post_large(&tcp4(&payload(3000)), 1000, &[], None);
    world.run();

    let cut = |sent: &super::world::Sent| matches!(sent.offload, Offload::Segment { .. });
    assert_eq!(world.wire.frames.iter().filter(|sent| cut(sent)).count(), 0);
    assert_eq!(world.wire.frames.len(), 1 + 8 + 3 + 3);
    assert_eq!(world.faults, crate::faults::GuestFaults::default());
}

#[test]
fn a_busy_wire_in_the_middle_of_a_packet_loses_and_repeats_nothing() {
    let mut world = World::with_ring(8);
    let data = payload(5000);
    world.post_large(&tcp4(&data), 1000, &[54, 1700, 1700], None);
    world.wire.room = Some(2);
    assert!(!world.step(64));
    assert_eq!(world.wire.frames.len(), 2);
    assert_eq!(world.regs.get(Reg::TDH, 0), 1);

    world.wire.room = Some(1);
    assert!(!world.step(64));
    world.wire.room = None;
    world.run();

    let whole: Vec<u8> = world
        .sent()
        .iter()
        .flat_map(|frame| checked(frame).1)
        .collect();
    assert_eq!(whole, data);
    assert_eq!(world.regs.get(Reg::GPTC, 0), 5);
    assert_eq!(world.regs.get(Reg::TDH, 0), 5);
}

#[test]
fn a_large_packet_is_stamped_once_when_its_first_segment_leaves() {
    const ENABLED: u32 = 1 << 4;
    const VALID: u32 = 1;
    let mut world = World::with_ring(8);
    world.write(Reg::TSYNCTXCTL, 0, ENABLED);
    world.post_large(&tcp4(&payload(5000)), 1000, &[], None);
    let mut data = world.descriptor(0, 1);
    data.high |= 1 << 19;
    world.bus.poke(World::slot(0, 1), data.as_bytes());

    world.wire.room = Some(0);
    world.step(64);
    assert_eq!(world.regs.get(Reg::TSYNCTXCTL, 0), ENABLED);
    world.wire.room = Some(2);
    world.step(64);
    assert_eq!(world.regs.get(Reg::TSYNCTXCTL, 0), ENABLED | VALID);
    // Software has taken the stamp.
    world.regs.set(Reg::TSYNCTXCTL, 0, ENABLED);
    world.wire.room = None;
    world.run();
    assert_eq!(world.wire.frames.len(), 5);
    assert_eq!(world.regs.get(Reg::TSYNCTXCTL, 0), ENABLED);
}

#[test]
fn segments_of_one_byte_leave_the_other_queues_their_turns() {
    let mut world = World::with_ring(16);
    world.enable(1, 8);
    world.post_large(&tcp4(&payload(3000)), 1, &[], None);
    world.send(1, &super::world::frame(300));

    assert!(world.step(64));

    assert_eq!(world.wire.frames.len(), 64);
    assert_eq!(world.wire.frames[16].bytes.len(), 300);
    world.run();
    assert_eq!(world.wire.frames.len(), 3001);
    assert_eq!(world.faults, crate::faults::GuestFaults::default());
}

proptest! {
    #[test]
    fn segments_put_together_are_the_payload_whatever_the_wire_does(
        len in 1_usize..40_000,
        mss in 200_u16..9000,
        cuts in prop::collection::vec(1_usize..3000, 0..6),
        v6 in any::<bool>(),
        checksum in any::<bool>(),
        budget in 1_usize..9,
    ) {
        let mut world = World::with_ring(16);
        world.wire.capabilities = Capabilities { checksum, ..Capabilities::default() };
        let data = payload(len);
        let large = if v6 { tcp6(&data) } else { tcp4(&data) };
        let cuts: Vec<usize> = cuts
            .iter()
            .scan(large.bytes.len() - 1, |left, cut| {
                *left = left.checked_sub(*cut)?;
                Some(*cut)
            })
            .collect();
        world.post_large(&large, mss, &cuts, None);
        while world.step(budget) {}

        let mut whole = Vec::new();
        for sent in world.wire.frames.drain(..) {
            let (_, piece) = checked(&completed(sent.bytes, sent.offload));
            prop_assert!(piece.len() <= usize::from(mss));
            whole.extend(piece);
        }
        prop_assert_eq!(whole, data);
        prop_assert_eq!(world.regs.get(Reg::TDH, 0), world.regs.get(Reg::TDT, 0));
    }
}
