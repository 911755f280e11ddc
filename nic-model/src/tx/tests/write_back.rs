//! When descriptors are written back, by TXDCTL.WTHRESH and EITR.

use ixgbe_spec::{descriptor::tx::Descriptor, register::Reg};
use proptest::prelude::*;

use super::world::{World, frame, plain};
use crate::Time;

const NONE: [u32; 0] = [];
const ENABLE: u32 = 1 << 25;
const FLUSH: u32 = 1 << 26;
/// EITR of 10 units of 2.048 us.
const INTERVAL: u32 = 10 << 3;
const INTERVAL_NANOS: u64 = 10 * 2048;

/// Queue 0 with this threshold; it has vector 3, whose interval is `INTERVAL`.
fn with_threshold(threshold: u32, len: u32) -> World {
    let mut world = World::new();
    world.regs.set(Reg::GPIE, 0, 1 << 4);
    world.regs.set(Reg::IVAR, 0, 0x0000_8300);
    world.regs.set(Reg::EITR, 3, INTERVAL);
    world.enable(0, len);
    world.write(Reg::TXDCTL, 0, ENABLE | threshold << 16);
    world
}

fn send(world: &mut World, packets: usize) {
    for _ in 0..packets {
        world.send(0, &frame(60));
        world.run();
    }
}

#[test]
fn descriptors_wait_until_as_many_are_done_as_the_threshold_says() {
    let mut world = with_threshold(4, 16);

    send(&mut world, 3);
    let before = (world.done(8), world.regs.get(Reg::EICR, 0));
    send(&mut world, 1);

    assert_eq!(world.sent().len(), 4, "frames do not wait");
    assert_eq!(world.regs.get(Reg::TDH, 0), 4);
    assert_eq!(before, (vec![], 0));
    assert_eq!(world.done(8), [0, 1, 2, 3]);
    assert_eq!(world.regs.get(Reg::EICR, 0), 1 << 3);
}

#[test]
fn the_end_of_the_interval_writes_back_what_waits() {
    let mut world = with_threshold(8, 16);
    world.now = Time::from_nanos(1_000_000);
    send(&mut world, 1);
    let end = Time::from_nanos(1_000_000 + INTERVAL_NANOS);
    let deadline = world.tx.deadline();
    // What comes later does not put it off.
    world.now = Time::from_nanos(1_000_000 + INTERVAL_NANOS / 2);
    send(&mut world, 1);
    world.now = Time::from_nanos(end.as_nanos() - 1);
    world.run();
    let before = (world.done(8), world.regs.get(Reg::EICR, 0));

    world.now = end;
    world.run();

    assert_eq!(deadline, Some(end));
    assert_eq!(before, (vec![], 0));
    assert_eq!(world.done(8), [0, 1]);
    assert_eq!(world.regs.get(Reg::EICR, 0), 1 << 3);
    assert_eq!(world.tx.deadline(), None);
}

#[test]
fn without_an_interval_or_a_vector_nothing_waits() {
    let mut world = with_threshold(8, 16);
    world.regs.set(Reg::EITR, 3, 0);
    send(&mut world, 1);
    let without_interval = world.done(8);
    world.regs.set(Reg::EITR, 3, INTERVAL);
    world.regs.set(Reg::IVAR, 0, 0);
    send(&mut world, 1);

    assert_eq!(without_interval, [0]);
    assert_eq!(world.done(8), [0, 1]);
}

#[test]
fn with_a_threshold_rs_means_nothing_and_every_data_descriptor_is_written_back() {
    let mut world = with_threshold(4, 16);
    let silent = world.data(&frame(60), plain(60).with_eop(true));
    let in_three = world.packet(&frame(300), &[100, 100], plain(300));

    world.post(0, &[silent]);
    world.run();
    let before = world.done(8);
    world.post(0, &in_three);
    world.run();

    assert_eq!(before, NONE);
    assert_eq!(world.done(8), [0, 1, 2, 3]);
}

#[test]
fn a_context_descriptor_is_neither_counted_nor_written_back() {
    let mut world = with_threshold(2, 16);
    let context = Descriptor {
        low: 0.into(),
        high: (1_u64 << 29 | 2 << 20).into(),
    };
    world.post(0, &[context, context]);
    world.run();
    send(&mut world, 2);

    assert_eq!(world.done(8), [2, 3]);
}

#[test]
fn a_threshold_of_one_writes_back_each_packet() {
    let mut world = with_threshold(1, 16);

    send(&mut world, 1);

    assert_eq!(world.done(8), [0]);
}

#[test]
fn a_threshold_above_what_the_chip_holds_does_not_keep_a_ring_full() {
    let mut world = with_threshold(127, 64);

    send(&mut world, 39);
    let before = world.done(64);
    send(&mut world, 1);

    assert_eq!(before, NONE);
    assert_eq!(world.done(64), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_software_flush_writes_back_what_waits_and_clears_itself() {
    let mut world = with_threshold(8, 16);
    send(&mut world, 2);

    world.write(Reg::TXDCTL, 0, ENABLE | 8 << 16 | FLUSH);

    assert_eq!(world.done(8), [0, 1]);
    assert_eq!(world.regs.get(Reg::TXDCTL, 0), ENABLE | 8 << 16);
    assert_eq!(world.regs.get(Reg::EICR, 0), 1 << 3);
    send(&mut world, 1);
    assert_eq!(world.done(8), [0, 1], "the threshold holds again");
}

#[test]
fn a_lower_threshold_counts_what_already_waits() {
    let mut world = with_threshold(8, 16);
    send(&mut world, 3);

    world.write(Reg::TXDCTL, 0, ENABLE | 4 << 16);
    let at_four = world.done(8);
    world.write(Reg::TXDCTL, 0, ENABLE | 3 << 16);

    assert_eq!(at_four, NONE);
    assert_eq!(world.done(8), [0, 1, 2]);
}

#[test]
fn a_queue_that_is_disabled_leaves_nothing_behind() {
    let mut world = with_threshold(8, 16);
    send(&mut world, 2);

    world.write(Reg::TXDCTL, 0, 0);

    assert_eq!(world.done(8), [0, 1]);
    world.now = Time::from_nanos(INTERVAL_NANOS);
    world.bus.take_writes();
    world.run();
    assert!(world.bus.take_writes().is_empty());
}

#[test]
fn a_ring_that_is_moved_gets_nothing_of_the_old_one() {
    let mut world = with_threshold(8, 16);
    send(&mut world, 2);

    world.write(Reg::TDBAL, 0, u32::try_from(World::slot(1, 0)).unwrap());
    world.now = Time::from_nanos(INTERVAL_NANOS);
    world.bus.take_writes();
    world.run();

    assert!(world.bus.take_writes().is_empty());
}

#[test]
fn after_a_reset_nothing_is_written_back() {
    let mut world = with_threshold(8, 16);
    send(&mut world, 2);
    world.bus.take_writes();

    world.reset();
    world.now = Time::from_nanos(INTERVAL_NANOS);
    world.run();

    assert!(world.bus.take_writes().is_empty());
    assert_eq!(world.tx.deadline(), None);
}

#[test]
fn head_write_back_knows_no_threshold() {
    let mut world = with_threshold(8, 16);
    let address = u32::try_from(world.buffer(&[0xFF; 16])).unwrap() & !3;
    world.write(Reg::TDWBAL, 0, address | 1);

    send(&mut world, 1);

    assert_eq!(world.bus.peek(address.into(), 4), [1, 0, 0, 0]);
    assert_eq!(world.done(8), NONE);
}

#[test]
fn a_ring_that_cannot_be_written_any_more_stalls_its_queue() {
    let mut world = with_threshold(4, 16);
    send(&mut world, 3);
    world.bus.refuse(World::slot(0, 0)..World::slot(0, 16));

    world.now = Time::from_nanos(INTERVAL_NANOS);
    world.run();

    assert_eq!(world.faults.ring_dma, 1);
    send(&mut world, 1);
    assert_eq!(world.sent().len(), 3);
}

proptest! {
    /// Whatever the threshold, all that is sent is done when the interval is over.
    #[test]
    fn in_the_end_every_packet_is_done(
        threshold in 0_u32..128,
        packets in prop::collection::vec(1_usize..4, 1..40),
    ) {
        let mut world = with_threshold(threshold, 128);
        let mut ends = Vec::new();
        for buffers in packets {
            let cuts = vec![20; buffers - 1];
            let descriptors = world.packet(&frame(100), &cuts, plain(100));
            world.post(0, &descriptors);
            world.run();
            ends.push(world.regs.get(Reg::TDH, 0) - 1);
        }
        world.now = Time::from_nanos(INTERVAL_NANOS);
        world.run();

        prop_assert!(ends.iter().all(|end| world.descriptor(0, *end).is_done()));
    }
}
