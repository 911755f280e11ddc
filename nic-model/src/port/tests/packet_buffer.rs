//! Frames that find no descriptors, without flow control, as the wire and a driver see it.

use ixgbe_spec::register::Reg;

use super::world::World;
use crate::{
    rx::{DropReason, Verdict},
    testing::TestBus,
};

const RING: u64 = TestBus::BASE;
const BUFFERS: u64 = RING + 0x1000;
const LINK: u32 = 1 << 3;
const MILLISECOND: u64 = 1_000_000;
const RX_MISS: u32 = 1 << 17;
const DROP_EN: u32 = 1 << 28;
const ONE_BUFFER_OF_2_KB: u32 = 1 << 25 | 2;
const MISSED: Verdict = Verdict::Dropped(DropReason::PacketBuffer);

/// Queue 0 is enabled and has no descriptors; the packet buffer of its class holds 20 frames of 1 KB.
fn waiting() -> World {
    let mut world = World::enabled();
    world.set(Reg::RDBAL, u32::try_from(RING).unwrap());
    world.set(Reg::RDLEN, 16 * 128);
    world.set(Reg::SRRCTL, ONE_BUFFER_OF_2_KB);
    world.set(Reg::RXDCTL, 1 << 25);
    world.set(Reg::RXPBSIZE, 20 << 10);
    world.set(Reg::RXCTRL, 1);
    world.set(Reg::FCTRL, 1 << 10);
    world
}

/// A broadcast of 1 KB with a number in it.
fn numbered(number: u8) -> Vec<u8> {
    let mut frame = vec![0xFF; 1024];
    frame[12..15].copy_from_slice(&[0x88, 0xB5, number]);
    frame
}

/// Lets `numbers` arrive, and the port do what there is to do.
fn arrive(world: &mut World, numbers: std::ops::Range<u8>) -> Vec<Verdict> {
    let verdicts = numbers
        .map(|number| world.receive(&numbered(number)))
        .collect();
    world.step();
    verdicts
}

/// The driver gives descriptors `from..to`.
fn supply(world: &mut World, from: u32, to: u32) {
    for n in u64::from(from)..u64::from(to) {
        let at = BUFFERS + 2048 * n;
        world.bus.poke(RING + 16 * n, &at.to_le_bytes());
        world.bus.poke(RING + 16 * n + 8, &[0; 8]);
    }
    world.set(Reg::RDT, to);
    while world.step() {}
}

/// The numbers of the frames in the first `count` buffers.
fn received(world: &World, count: u64) -> Vec<u8> {
    (0..count)
        .map(|n| world.bus.peek(BUFFERS + 2048 * n, 15)[14])
        .collect()
}

#[test]
fn a_wire_waits_100_ms_for_descriptors() {
    let mut world = waiting();
    let start = world.now;
    arrive(&mut world, 0..1);

    let at_once = world.port.has_room();
    let due = world.port.deadline().unwrap();
    world.pass_nanos(100 * MILLISECOND - 1);
    world.step();
    let just_before = world.port.has_room();
    world.pass_nanos(1);
    world.step();

    assert_eq!(due.since(start).as_nanos(), u128::from(100 * MILLISECOND));
    assert_eq!((at_once, just_before), (false, false));
    assert!(world.port.has_room());
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn frames_that_the_packet_buffer_has_no_room_for_are_missed_and_the_others_come_in_order() {
    let mut world = waiting();
    arrive(&mut world, 0..1);
    world.pass_nanos(100 * MILLISECOND);
    world.step();

    let verdicts = arrive(&mut world, 1..50);
    let causes = world.get(Reg::EICR);
    supply(&mut world, 0, 40);

    assert_eq!(verdicts[..19], [Verdict::Buffered; 19]);
    assert_eq!(verdicts[19..], [MISSED; 30]);
    assert_ne!(causes & RX_MISS, 0);
    assert_eq!(world.get(Reg::RDH), 20);
    assert_eq!(received(&world, 20), (0..20).collect::<Vec<u8>>());
    assert_eq!(world.get(Reg::MPC), 30);
    assert_eq!((world.get(Reg::GPRC), world.get(Reg::TPR)), (50, 50));
    assert_eq!((world.get(Reg::QPRC), world.get(Reg::RXDGPC)), (20, 20));
    assert_eq!(world.get(Reg::QPRDC), 0);
}

#[test]
fn a_driver_that_posts_descriptors_now_and_then_makes_the_wire_wait_anew() {
    let mut world = waiting();
    arrive(&mut world, 0..3);

    world.pass_nanos(99 * MILLISECOND);
    supply(&mut world, 0, 1);
    world.pass_nanos(99 * MILLISECOND);
    world.step();
    let after_one = world.port.has_room();
    supply(&mut world, 1, 8);

    assert!(!after_one);
    assert!(world.port.has_room(), "nothing waits");
    assert_eq!(world.port.deadline(), None);
    assert_eq!(received(&world, 3), [0, 1, 2]);
}

#[test]
fn with_flow_control_the_wire_waits_for_room_as_long_as_it_takes() {
    let mut world = waiting();
    world.set(Reg::FCRTH, 1 << 31 | 16_384);
    world.set(Reg::FCRTL, 1 << 31 | 8192);
    world.set(Reg::FCCFG, LINK);
    arrive(&mut world, 0..18);

    world.pass_nanos(1000 * MILLISECOND);
    world.step();

    assert!(!world.port.has_room());
    assert_eq!(world.get(Reg::MPC), 0);
}

#[test]
fn flow_control_without_its_threshold_does_not_make_the_wire_wait_for_ever() {
    let mut world = waiting();
    world.set(Reg::FCRTH, 16_384);
    world.set(Reg::FCCFG, LINK);
    arrive(&mut world, 0..18);

    world.pass_nanos(100 * MILLISECOND);
    world.step();

    assert!(world.port.has_room());
}

#[test]
fn the_frame_at_the_head_of_the_packet_buffer_holds_up_other_queues_of_its_class() {
    let mut world = waiting();
    world.set_at(Reg::RDBAL, 1, u32::try_from(RING + 0x800).unwrap());
    world.set_at(Reg::RDLEN, 1, 16 * 64);
    world.set_at(Reg::SRRCTL, 1, ONE_BUFFER_OF_2_KB);
    world.set_at(Reg::RXDCTL, 1, 1 << 25);
    let buffer = BUFFERS + 0x8_0000;
    world.bus.poke(RING + 0x800, &buffer.to_le_bytes());
    world.set_at(Reg::RDT, 1, 1);
    // Frames of this type go to queue 1.
    world.set(Reg::ETQF, 1 << 31 | 0x88B6);
    world.set(Reg::ETQS, 1 << 31 | 1 << 16);
    let mut other = numbered(77);
    other[13] = 0xB6;

    arrive(&mut world, 0..1);
    let verdict = world.receive(&other);
    world.step();
    let held_up = world.get_at(Reg::RDH, 1);
    supply(&mut world, 0, 8);

    assert_eq!(verdict, Verdict::Buffered);
    assert_eq!(held_up, 0);
    assert_eq!(world.get_at(Reg::RDH, 1), 1);
    assert_eq!(world.bus.peek(buffer, 15)[14], 77);
}

#[test]
fn a_queue_that_drops_holds_up_nobody() {
    let mut world = waiting();
    world.set(Reg::SRRCTL, DROP_EN | ONE_BUFFER_OF_2_KB);

    let verdicts = arrive(&mut world, 0..5);

    assert_eq!(verdicts, [Verdict::Dropped(DropReason::Queue); 5]);
    assert!(world.port.has_room());
    assert_eq!((world.get(Reg::QPRDC), world.get(Reg::MPC)), (5, 0));
}

#[test]
fn frames_take_whole_lines_of_the_packet_buffer() {
    let mut world = waiting();
    let frame = &numbered(0)[..65];

    let verdicts: Vec<_> = (0..257).map(|_| world.receive(frame)).collect();

    // 20 KB have room for 256 frames of five lines of 16 bytes each, and no more.
    assert_eq!(verdicts[..256], [Verdict::Buffered; 256]);
    assert_eq!(verdicts[256], MISSED);
    assert_eq!(world.get(Reg::RXUSED), 20 << 10 >> 4);
}
