//! The switch between pools: who gets what a pool sends.

use ixgbe_spec::{descriptor::rx::Status, register::Reg};
use proptest::prelude::*;

use super::world::World;
use crate::testing::TestBus;

/// Rings and buffers of pool `n` (0 to 3), whose first queue is 2n.
const AREA: u64 = 0x1_0000;
const RX_RING: u64 = 0;
const TX_RING: u64 = 0x1000;
const RX_BUFFERS: u64 = 0x2000;
const TX_BUFFERS: u64 = 0xC000;
const BUFFER_LEN: u64 = 0x800;
const DESCRIPTORS: u16 = 16;

const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const BROADCAST: [u8; 6] = [0xFF; 6];
/// VMOLR: broadcasts, and frames without tag.
const BAM_AUPE: u32 = 1 << 27 | 1 << 24;

fn area(pool: u8) -> u64 {
    TestBus::BASE + AREA * u64::from(pool)
}

fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap()
}

fn mac(pool: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, pool]
}

fn frame(from: [u8; 6], to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..=255).cycle().take(len).collect();
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    frame
}

fn tagged(mut frame: Vec<u8>, vlan: u8) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, vlan]);
    frame
}

/// A port with four pools of 64, each with an address and broadcast, the switch on.
fn switching() -> World {
    let mut world = World::enabled();
    world.set(Reg::DMATXCTL, 0x8100_0001);
    world.set(Reg::FCTRL, 1 << 10);
    world.set(Reg::MRQC, 0x8);
    world.set(Reg::MTQC, 0x4 | 0x2);
    world.set(Reg::VT_CTL, 1 | 1 << 30 | 1 << 29);
    world.set(Reg::PFVFRE, 0xF);
    world.set(Reg::PFVFTE, 0xF);
    world.set(Reg::PFDTXGSWC, 1);
    for pool in 0..4 {
        let n = usize::from(pool);
        world.set_at(Reg::RAL, n, u32::from_le_bytes([2, 0, 0, 0]));
        world.set_at(Reg::RAH, n, 1 << 31 | u32::from(pool) << 8);
        world.set_at(Reg::MPSAR, 2 * n, 1 << n);
        world.set_at(Reg::VMOLR, n, BAM_AUPE);
        let queue = 2 * n;
        world.set_at(Reg::TDBAL, queue, low(area(pool) + TX_RING));
        world.set_at(Reg::TDLEN, queue, u32::from(DESCRIPTORS) * 16);
        world.set_at(Reg::TXDCTL, queue, 1 << 25);
        world.set_at(Reg::RDBAL, queue, low(area(pool) + RX_RING));
        world.set_at(Reg::RDLEN, queue, u32::from(DESCRIPTORS) * 16);
        world.set_at(Reg::SRRCTL, queue, 1 << 25 | 2);
        world.set_at(Reg::RXDCTL, queue, 1 << 25);
        for slot in 0..u64::from(DESCRIPTORS) {
            let buffer = area(pool) + RX_BUFFERS + BUFFER_LEN * slot;
            let descriptor = area(pool) + RX_RING + 16 * slot;
            world.bus.poke(descriptor, &buffer.to_le_bytes());
        }
        world.set_at(Reg::RDT, queue, u32::from(DESCRIPTORS) - 1);
    }
    world.set(Reg::RXCTRL, 1);
    world
}

/// Sends a frame by the first queue of `pool`.
fn send(world: &mut World, pool: u8, frame: &[u8]) {
    let queue = 2 * usize::from(pool);
    let tail = world.get_at(Reg::TDT, queue);
    let buffer = area(pool) + TX_BUFFERS;
    world.bus.poke(buffer, frame);
    let len = frame.len() as u64;
    // A data descriptor with EOP, IFCS and RS.
    let control = len << 46 | 0x2B << 24 | 0x3 << 20 | len;
    let descriptor = area(pool) + TX_RING + 16 * u64::from(tail);
    world.bus.poke(descriptor, &buffer.to_le_bytes());
    world.bus.poke(descriptor + 8, &control.to_le_bytes());
    world.set_at(Reg::TDT, queue, (tail + 1) % u32::from(DESCRIPTORS));
    while world.step() {}
    let done = world.get_at(Reg::TDH, queue);
    assert_eq!(done, (tail + 1) % u32::from(DESCRIPTORS), "completed");
}

/// What the first queue of `pool` holds.
fn received(world: &mut World, pool: u8) -> Vec<(Vec<u8>, Status)> {
    let head = world.get_at(Reg::RDH, 2 * usize::from(pool));
    (0..u64::from(head))
        .map(|slot| {
            let words = world.bus.peek(area(pool) + RX_RING + 16 * slot, 16);
            let status = u32::from_le_bytes(words[8..12].try_into().unwrap());
            let len = u16::from_le_bytes(words[12..14].try_into().unwrap());
            let buffer = area(pool) + RX_BUFFERS + BUFFER_LEN * slot;
            let bytes = world.bus.peek(buffer, len.into());
            (bytes, Status::from_bits_retain(status))
        })
        .collect()
}

fn frames(world: &mut World, pool: u8) -> Vec<Vec<u8>> {
    let received = received(world, pool);
    received.into_iter().map(|(frame, _)| frame).collect()
}

#[test]
fn each_pool_has_counters_of_what_it_sent_and_received() {
    let mut world = switching();
    let everywhere = frame(mac(1), [0xFF; 6], 100);

    send(&mut world, 1, &frame(mac(1), mac(2), 1000));
    send(&mut world, 1, &everywhere);
    world.receive(&frame([2, 0, 0, 0, 0, 9], mac(2), 60));

    let count = |world: &mut World, reg| [1, 2, 3].map(|pool| world.get_at(reg, pool));
    assert_eq!(count(&mut world, Reg::PVFGPTC), [2, 0, 0]);
    assert_eq!(count(&mut world, Reg::PVFGOTC_LSB), [1000 + 100 + 8, 0, 0]);
    assert_eq!(count(&mut world, Reg::PVFGPRC), [0, 3, 1], "not its own");
    assert_eq!(
        count(&mut world, Reg::PVFGORC_LSB),
        [0, 1000 + 100 + 60 + 12, 104]
    );
    assert_eq!(count(&mut world, Reg::PVFMPRC), [0; 3], "no broadcasts");
    assert_eq!(count(&mut world, Reg::PVFGPRC), [0, 3, 1], "read again");
}

#[test]
fn a_frame_for_another_pool_stays_inside_and_says_where_it_comes_from() {
    let mut world = switching();
    let sent = frame(mac(1), mac(2), 1000);

    send(&mut world, 1, &sent);

    let status = Status::DD | Status::EOP | Status::LB;
    assert_eq!(received(&mut world, 2), [(sent, status)]);
    assert!(world.wire.frames.is_empty());
    assert_eq!([world.get(Reg::GPTC), world.get(Reg::GPRC)], [0, 0]);
    assert_eq!([world.get(Reg::TXDGPC), world.get(Reg::RXLPBKGPC)], [1, 1]);
}

#[test]
fn a_frame_for_an_unknown_address_goes_to_the_network() {
    let mut world = switching();
    let sent = frame(mac(1), OUTSIDE, 1000);

    send(&mut world, 1, &sent);

    assert_eq!(world.wire.frames, [sent]);
    assert_eq!([world.get(Reg::GPTC), world.get(Reg::RXLPBKGPC)], [1, 0]);
}

#[test]
fn a_broadcast_goes_to_the_network_and_to_every_pool_but_its_own() {
    let mut world = switching();
    let sent = frame(mac(1), BROADCAST, 100);

    send(&mut world, 1, &sent);

    assert_eq!(world.wire.frames, [&sent[..]]);
    assert_eq!(frames(&mut world, 0), [&sent[..]]);
    assert!(frames(&mut world, 1).is_empty());
    assert_eq!(frames(&mut world, 2), [&sent[..]]);
    assert_eq!(frames(&mut world, 3), [sent]);
    let counted = [Reg::RXLPBKGPC, Reg::RXDLPBKGPC].map(|reg| world.get(reg));
    assert_eq!(counted, [1, 2]);
    let bytes = [Reg::RXLPBKGBCL, Reg::RXDLPBKGBCL].map(|reg| world.get(reg));
    assert_eq!(bytes, [100, 200]);
    let carries = [Reg::RXLPBKGBCH, Reg::RXDLPBKGBCH].map(|reg| world.get(reg));
    assert_eq!(carries, [0, 0]);
}

#[test]
fn a_pool_hears_itself_only_if_vmtxsw_says_so() {
    let mut world = switching();
    let sent = frame(mac(1), mac(1), 100);
    send(&mut world, 1, &sent);
    assert!(frames(&mut world, 1).is_empty());

    world.set(Reg::VMTXSW, 1 << 1);
    send(&mut world, 1, &sent);

    assert_eq!(frames(&mut world, 1), [sent]);
    assert!(world.wire.frames.is_empty());
}

#[test]
fn without_the_switch_everything_goes_to_the_network() {
    let mut world = switching();
    world.set(Reg::PFDTXGSWC, 0);
    let sent = frame(mac(1), mac(2), 100);

    send(&mut world, 1, &sent);

    assert_eq!(world.wire.frames, [sent]);
    assert!(frames(&mut world, 2).is_empty());
}

#[test]
fn without_receive_enable_or_link_nothing_is_looped_back() {
    let sent = frame(mac(1), mac(2), 100);
    let mut world = switching();
    world.set(Reg::RXCTRL, 0);
    send(&mut world, 1, &sent);
    assert!(frames(&mut world, 2).is_empty());

    let mut world = switching();
    world.carrier(false);
    send(&mut world, 1, &sent);
    assert!(frames(&mut world, 2).is_empty());
}

#[test]
fn a_receiver_without_descriptors_makes_the_sender_wait_and_loses_nothing() {
    let mut world = switching();
    // Room for one frame of the largest kind behind which the buffer counts as full.
    world.set(Reg::RXPBSIZE, 16 << 10);
    world.set_at(Reg::RDT, 4, 0);
    let sent = frame(mac(1), mac(2), 1000);
    send(&mut world, 1, &sent);

    // The second one finds no room.
    let buffer = area(1) + TX_BUFFERS;
    let descriptor = area(1) + TX_RING + 16;
    let control = world.bus.peek(area(1) + TX_RING + 8, 8);
    world.bus.poke(descriptor, &buffer.to_le_bytes());
    world.bus.poke(descriptor + 8, &control);
    world.bus.poke(descriptor + 12, &[0]);
    world.set_at(Reg::TDT, 2, 2);
    while world.step() {}
    assert_eq!(world.get_at(Reg::TDH, 2), 1);

    world.set_at(Reg::RDT, 4, u32::from(DESCRIPTORS) - 1);
    while world.step() {}
    while world.step() {}
    assert_eq!(world.get_at(Reg::TDH, 2), 2);
    assert_eq!(frames(&mut world, 2), [sent.clone(), sent]);
    assert_eq!(world.get(Reg::MPC), 0);
}

#[test]
fn a_pool_that_may_not_transmit_sends_nothing() {
    let mut world = switching();
    world.set(Reg::PFVFTE, 0xD);

    send(&mut world, 1, &frame(mac(1), OUTSIDE, 100));
    send(&mut world, 0, &frame(mac(0), OUTSIDE, 100));

    assert_eq!(world.wire.frames, [frame(mac(0), OUTSIDE, 100)]);
    assert_eq!(world.get(Reg::TXDGPC), 1);
    assert_eq!(world.port.faults().pool, 1);
}

#[test]
fn a_source_address_of_another_pool_is_dropped_and_counted_if_it_is_looked_at() {
    let mut world = switching();
    // Also beyond what is copied as headers.
    let spoofed = frame(mac(2), OUTSIDE, 1000);
    send(&mut world, 1, &spoofed);
    assert_eq!(world.wire.frames, [&spoofed[..]]);

    world.set(Reg::PFVFSPOOF, 1 << 1);
    send(&mut world, 1, &spoofed);
    assert_eq!(world.get(Reg::SSVPC), 0);
    world.set(Reg::VMECM, 1 << 1);
    send(&mut world, 1, &spoofed);
    send(&mut world, 2, &spoofed);
    send(&mut world, 1, &frame(mac(1), OUTSIDE, 1000));

    let expected = [spoofed.clone(), spoofed, frame(mac(1), OUTSIDE, 1000)];
    assert_eq!(world.wire.frames, expected);
    assert_eq!(world.get(Reg::SSVPC), 1);
    // With those that VMECM does not count.
    assert_eq!(world.port.faults().pool, 2);
}

#[test]
fn a_vlan_of_another_pool_is_dropped_if_it_is_looked_at() {
    let mut world = switching();
    world.set(Reg::PFVFSPOOF, 1 << 9);
    world.set_at(Reg::VLVF, 1, 1 << 31 | 5);
    world.set_at(Reg::VLVFB, 2, 1 << 1);
    world.set_at(Reg::VLVF, 2, 1 << 31 | 6);
    world.set_at(Reg::VLVFB, 4, 1 << 2);
    let own = tagged(frame(mac(1), OUTSIDE, 1000), 5);
    let other = tagged(frame(mac(1), OUTSIDE, 1000), 6);
    let none = frame(mac(1), OUTSIDE, 1000);

    send(&mut world, 1, &own);
    send(&mut world, 1, &other);
    send(&mut world, 1, &none);

    assert_eq!(world.wire.frames, [own, none]);
}

#[test]
fn what_goes_to_the_network_can_be_mirrored() {
    let mut world = switching();
    world.set_at(Reg::MRCTL, 3, 1 << 2 | 3 << 8);
    let sent = frame(mac(1), OUTSIDE, 100);

    send(&mut world, 1, &sent);
    send(&mut world, 1, &frame(mac(1), mac(2), 100));

    assert_eq!(world.wire.frames, [&sent[..]]);
    assert_eq!(frames(&mut world, 3), [sent]);
}

/// The registers of the switch, each with the element that is written.
const REGISTERS: [(Reg, usize); 20] = [
    (Reg::VT_CTL, 0),
    (Reg::MRQC, 0),
    (Reg::MTQC, 0),
    (Reg::PFVFRE, 0),
    (Reg::PFVFTE, 0),
    (Reg::VMTXSW, 0),
    (Reg::PFDTXGSWC, 0),
    (Reg::PFVFSPOOF, 0),
    (Reg::VMVIR, 1),
    (Reg::VMOLR, 2),
    (Reg::MPSAR, 2),
    (Reg::MPSAR, 4),
    (Reg::VLNCTRL, 0),
    (Reg::VLVF, 1),
    (Reg::VLVFB, 2),
    (Reg::MRCTL, 0),
    (Reg::VMRVM, 0),
    (Reg::VMRVLAN, 0),
    (Reg::PSRTYPE, 2),
    (Reg::RXCTRL, 0),
];

fn address() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![(0u8..4).prop_map(mac), Just(OUTSIDE), Just(BROADCAST)]
}

proptest! {
    #[test]
    fn whatever_the_registers_say_every_frame_is_counted_where_it_went(
        writes in proptest::collection::vec(
            (proptest::sample::select(&REGISTERS[..]), prop_oneof![any::<u32>(), 0u32..16]),
            0..8,
        ),
        sent in proptest::collection::vec((0u8..4, address(), address(), 60usize..1500), 1..4),
        tag in proptest::option::of(0u8..3),
    ) {
        let mut world = switching();
        for ((reg, index), value) in writes {
            world.set_at(reg, index, value);
        }

        for (pool, from, to, len) in sent {
            let frame = frame(from, to, len);
            let frame = tag.map_or(frame.clone(), |vlan| tagged(frame, vlan));
            send(&mut world, pool, &frame);
        }

        prop_assert_eq!(world.get(Reg::GPTC) as usize, world.wire.frames.len());
        let inside = world.get(Reg::RXLPBKGPC) + world.get(Reg::RXDLPBKGPC);
        prop_assert_eq!(world.get_at(Reg::QPRC, 0), inside);
        prop_assert_eq!([world.get(Reg::GPRC), world.get(Reg::RXDGPC)], [0, 0]);
    }
}
