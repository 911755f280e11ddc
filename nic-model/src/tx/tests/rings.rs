//! Rings: fetch, order, completion, counters, blocked clients and wires.

use ixgbe_spec::{
    descriptor::tx::{Descriptor, LegacyControl},
    register::Reg,
};
use proptest::prelude::*;

use super::world::{RING_STRIDE, RINGS, World, frame, plain};
use crate::{faults::GuestFaults, queue_counts::QueueCount};

#[test]
fn a_frame_goes_out_and_its_descriptor_is_done() {
    let mut world = World::with_ring(8);
    let bytes = frame(100);

    world.send(0, &bytes);
    assert!(!world.descriptor(0, 0).is_done());
    world.run();

    assert_eq!(world.sent(), [bytes]);
    assert!(world.descriptor(0, 0).is_done());
    assert_eq!(world.regs.get(Reg::TDH, 0), 1);
    assert_eq!(world.bus.retired(), 1);
}

#[test]
fn a_frame_in_several_buffers_goes_out_as_one_without_a_copy_of_its_payload() {
    let mut world = World::with_ring(8);
    let bytes = frame(4000);

    let descriptors = world.packet(&bytes, &[5, 1000, 1], plain(4000));
    world.post(0, &descriptors);
    world.run();

    assert_eq!(world.wire.frames[0].bytes, bytes);
    assert_eq!(world.wire.frames[0].mapped, 4000 - 14);
    assert!(!world.descriptor(0, 0).is_done());
    assert!(world.descriptor(0, 3).is_done());
    assert_eq!(world.regs.get(Reg::TDH, 0), 4);
}

#[test]
fn memory_that_comes_by_message_goes_out_the_same() {
    let mut world = World::with_ring(8);
    let bytes = frame(4000);
    world.bus.delay(RINGS..u64::MAX);
    let descriptors = world.packet(&bytes, &[5, 1000, 1], plain(4000));
    world.post(0, &descriptors);
    assert!(!world.step(64));
    assert!(world.wire.frames.is_empty());

    world.bus.answer();
    world.run();

    assert_eq!(world.wire.frames[0].bytes, bytes);
    assert_eq!(world.wire.frames[0].mapped, 0);
}

#[test]
fn a_buffer_that_is_not_there_yet_holds_the_packet_back_and_nothing_is_lost() {
    let mut world = World::with_ring(8);
    let first = world.packet(&frame(100), &[], plain(100));
    let second = world.packet(&frame(900), &[300], plain(900));
    let third = world.packet(&frame(70), &[], plain(70));
    let late = second[1].low.get();
    world.bus.delay(late..late + 1);
    world.post(0, &[first, second, third].concat());

    assert!(!world.step(64));
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.regs.get(Reg::TDH, 0), 1);
    assert!(!world.descriptor(0, 2).is_done());

    world.bus.answer();
    world.run();
    assert_eq!(world.sent(), [frame(900), frame(70)]);
    assert_eq!(world.regs.get(Reg::TDH, 0), 4);
    assert_eq!(world.bus.retired(), 3);
}

#[test]
fn all_buffers_of_a_packet_are_asked_for_at_once() {
    let mut world = World::with_ring(8);
    let descriptors = world.packet(&frame(900), &[300, 300], plain(900));
    let first = descriptors[0].low.get();
    world.bus.delay(first..first + 900);
    world.post(0, &descriptors);

    world.step(64);

    let asked: Vec<u64> = world
        .bus
        .take_asked()
        .iter()
        .map(|range| range.start - first)
        .collect();
    assert_eq!(asked, [0, 300, 600]);
}

#[test]
fn a_busy_wire_holds_the_packet_back_and_nothing_is_sent_twice() {
    let mut world = World::with_ring(16);
    let frames: Vec<_> = (100..105).map(frame).collect();
    frames.iter().for_each(|bytes| world.send(0, bytes));
    world.wire.room = Some(2);

    assert!(!world.step(64));
    assert_eq!(world.regs.get(Reg::TDH, 0), 2);
    assert!(!world.descriptor(0, 2).is_done());
    assert_eq!(world.regs.get(Reg::GPTC, 0), 2);

    world.wire.room = None;
    world.run();
    assert_eq!(world.sent(), frames);
}

#[test]
fn descriptors_are_fetched_in_one_read_and_never_past_the_tail() {
    let mut world = World::with_ring(64);
    let descriptors: Vec<Descriptor> = (0..10)
        .flat_map(|_| world.packet(&frame(60), &[], plain(60)))
        .collect();
    world.post(0, &descriptors);
    world.bus.take_reads();

    world.run();

    let reads = world.bus.take_reads();
    let ring: Vec<_> = reads
        .iter()
        .filter(|read| read.start < RINGS + RING_STRIDE)
        .collect();
    assert_eq!(ring, [&(RINGS..RINGS + 160)]);
}

#[test]
fn a_ring_wraps_around() {
    let mut world = World::with_ring(8);
    let frames: Vec<_> = (60..90).map(frame).collect();

    for bytes in &frames {
        let descriptors = world.packet(bytes, &[20, 20], plain(bytes.len()));
        world.post(0, &descriptors);
        world.run();
    }

    assert_eq!(world.sent(), frames);
    assert_eq!(world.regs.get(Reg::TDH, 0), 90 % 8);
}

#[test]
fn a_packet_without_its_end_waits_for_the_driver() {
    let mut world = World::with_ring(8);
    let bytes = frame(300);
    let descriptors = world.packet(&bytes, &[100, 100], plain(300));

    world.post(0, &descriptors[..2]);
    assert!(!world.step(64));
    assert!(world.sent().is_empty());
    world.post(0, &descriptors[2..]);
    world.run();

    assert_eq!(world.sent(), [bytes]);
    assert_eq!(world.regs.get(Reg::TDH, 0), 3);
}

#[test]
fn nothing_leaves_before_the_queue_and_transmit_are_enabled() {
    let mut world = World::new();
    world.enable(3, 8);
    world.write(Reg::TXDCTL, 3, 0);
    world.write(Reg::DMATXCTL, 0, 0x8100_0000);
    world.send(3, &frame(60));
    world.run();
    assert!(world.sent().is_empty());

    world.write(Reg::TXDCTL, 3, 1 << 25);
    world.run();
    assert!(world.sent().is_empty());

    world.write(Reg::DMATXCTL, 0, 0x8100_0001);
    world.run();
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_queue_that_is_enabled_anew_waits_for_the_tail_and_forgets_what_was_in_its_ring() {
    let mut world = World::with_ring(8);
    (0..5).for_each(|_| world.send(0, &frame(60)));
    world.run();
    assert_eq!(world.sent().len(), 5);

    // As DPDK stops and starts a queue.
    world.write(Reg::TXDCTL, 0, 0);
    world.write(Reg::TDH, 0, 0);
    world.write(Reg::TXDCTL, 0, 1 << 25);
    world.run();
    assert!(world.sent().is_empty());
    assert_eq!(world.regs.get(Reg::TDH, 0), 0);

    world.write(Reg::TDT, 0, 0);
    world.send(0, &frame(61));
    world.run();
    assert_eq!(world.sent(), [frame(61)]);
    assert_eq!(world.faults, GuestFaults::default());
}

#[test]
fn transmit_enable_enables_queue_0() {
    let mut world = World::new();
    world.write(Reg::DMATXCTL, 0, 0x8100_0000);
    assert_eq!(world.regs.get(Reg::TXDCTL, 0), 0);

    world.write(Reg::DMATXCTL, 0, 0x8100_0001);

    assert_eq!(world.regs.get(Reg::TXDCTL, 0), 1 << 25);
}

#[test]
fn a_flush_disables_the_queue_and_keeps_head_and_tail() {
    let mut world = World::with_ring(8);
    world.send(0, &frame(60));
    world.run();

    world.write(Reg::TXDCTL, 0, 1 << 26);

    assert_eq!(world.regs.get(Reg::TXDCTL, 0), 0);
    assert_eq!(world.regs.get(Reg::TDH, 0), 1);
    assert_eq!(world.regs.get(Reg::TDT, 0), 1);
    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn descriptors_without_rs_are_not_written_back() {
    let mut world = World::with_ring(8);
    let silent = world.data(&frame(60), plain(60).with_eop(true));
    world.post(0, &[silent]);
    world.run();

    assert_eq!(world.sent().len(), 1);
    assert!(world.bus.take_writes().is_empty());
    assert_eq!(world.regs.get(Reg::TDH, 0), 1);
}

#[test]
fn a_report_sets_the_cause_that_ivar_gives_to_the_queue() {
    let mut world = World::with_ring(8);
    world.regs.set(Reg::IVAR, 0, 0x0000_8500);
    let silent = world.data(&frame(60), plain(60).with_eop(true));
    world.post(0, &[silent]);
    world.run();
    assert_eq!(world.regs.get(Reg::EICR, 0), 0);

    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.regs.get(Reg::EICR, 0), 1 << 5);
}

#[test]
fn head_write_back_takes_the_place_of_the_descriptors() {
    let mut world = World::with_ring(8);
    let address = u32::try_from(world.buffer(&[0xFF; 16])).unwrap() & !3;
    world.write(Reg::TDWBAL, 0, address | 1);
    let descriptors = world.packet(&frame(300), &[100, 100], plain(300));
    world.post(0, &descriptors);
    world.run();

    assert_eq!(world.bus.peek(address.into(), 5), [3, 0, 0, 0, 0xFF]);
    assert!(!world.descriptor(0, 2).is_done());
    let writes = world.bus.take_writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0], u64::from(address)..u64::from(address) + 4);
}

#[test]
fn legacy_descriptors_send_and_are_done() {
    let mut world = World::with_ring(8);
    let control = LegacyControl::new().with_ifcs(true);
    let first = world.legacy(&frame(90)[..40], control);
    let second = world.legacy(&frame(90)[40..], control.with_eop(true).with_rs(true));
    world.post(0, &[first, second]);
    world.run();

    assert_eq!(world.sent(), [frame(90)]);
    assert!(!world.descriptor(0, 0).is_done());
    assert!(world.descriptor(0, 1).is_done());
}

#[test]
fn short_frames_are_padded_if_the_mac_pads() {
    let mut world = World::with_ring(8);
    world.send(0, &frame(42));
    world.run();
    let sent = world.sent().remove(0);
    assert_eq!(sent[..42], frame(42));
    assert_eq!(sent[42..], [0; 18]);
    assert_eq!(world.regs.get(Reg::PTC64, 0), 1);

    let hlreg0 = world.regs.get(Reg::HLREG0, 0);
    world.regs.set(Reg::HLREG0, 0, hlreg0 & !(1 << 10));
    world.send(0, &frame(42));
    world.run();
    assert_eq!(world.sent(), [frame(42)]);
}

#[test]
fn a_frame_with_the_drivers_own_fcs_goes_out_only_if_it_is_right() {
    // The residue of CRC-32: a frame followed by its FCS always has this one.
    let mut bytes = frame(64);
    bytes.extend(crc32fast::hash(&frame(64)).to_le_bytes());
    assert_eq!(crc32fast::hash(&bytes), 0x2144_DF1C);
    let mut world = World::with_ring(8);
    let right = world.packet(&bytes, &[], plain(68).with_ifcs(false));
    bytes[67] ^= 1;
    let wrong = world.packet(&bytes, &[], plain(68).with_ifcs(false));
    world.post(0, &[right, wrong].concat());
    world.run();

    assert_eq!(world.sent(), [frame(64)]);
    assert_eq!(world.faults.descriptor, 1);
    assert_eq!(world.regs.get(Reg::TDH, 0), 2);
}

#[test]
fn queues_take_turns() {
    let mut world = World::with_ring(64);
    world.enable(1, 64);
    (0..40).for_each(|_| world.send(0, &frame(60)));
    (0..40).for_each(|_| world.send(1, &frame(61)));

    assert!(world.step(64));

    let lengths: Vec<_> = world.sent().iter().map(Vec::len).collect();
    assert_eq!(lengths, [[60; 16], [61; 16], [60; 16], [61; 16]].concat());
    world.run();
    assert_eq!(world.sent().len(), 16);
}

#[test]
fn sent_bytes_carry_into_the_high_halves_of_their_counters() {
    let mut world = World::with_ring(16);
    world.regs.set(Reg::TXDGBCL, 0, u32::MAX);
    world.regs.set(Reg::QBTC_L, 0, u32::MAX);

    world.send(0, &frame(100));
    world.run();

    let count = |reg| world.regs.get(reg, 0);
    assert_eq!([Reg::TXDGBCL, Reg::QBTC_L].map(count), [103, 103]);
    assert_eq!([Reg::TXDGBCH, Reg::QBTC_H].map(count), [1, 1]);
}

#[test]
fn statistics_count_frames_from_the_address_to_the_fcs() {
    let mut world = World::with_ring(16);
    world.write(Reg::TQSM, 0, 0x0000_0005);
    let mut multicast = frame(123);
    multicast[0] = 1;
    let mut broadcast = frame(1514);
    broadcast[..6].fill(0xFF);
    [
        frame(60),
        frame(61),
        multicast,
        frame(508),
        frame(1019),
        frame(1020),
        broadcast,
    ]
    .iter()
    .for_each(|bytes| world.send(0, bytes));
    world.run();

    let count = |reg| world.regs.get(reg, 0);
    let octets = 64 + 65 + 127 + 512 + 1023 + 1024 + 1518;
    assert_eq!(count(Reg::GPTC), 7);
    assert_eq!(count(Reg::TPT), 7);
    assert_eq!(count(Reg::GOTCL), octets);
    assert_eq!(count(Reg::PTC64), 1);
    assert_eq!(count(Reg::PTC127), 2);
    assert_eq!(count(Reg::PTC255), 0);
    assert_eq!(count(Reg::PTC511), 0);
    assert_eq!(count(Reg::PTC1023), 2);
    assert_eq!(count(Reg::PTC1522), 2);
    assert_eq!(count(Reg::MPTC), 1);
    assert_eq!(count(Reg::BPTC), 1);
    assert_eq!(count(Reg::TXDGPC), 7);
    assert_eq!(world.regs.get(Reg::QPTC, 5), 7);
    assert_eq!(world.regs.get(Reg::QBTC_L, 5), octets);
    assert_eq!(world.regs.get(Reg::QPTC, 0), 0);
    let by_queue: Vec<_> = world.tx.queue_counts().used().collect();
    let sent = QueueCount {
        packets: 7,
        bytes: octets.into(),
    };
    assert_eq!(by_queue, [(0, sent)]);
}

#[test]
fn a_reset_forgets_everything() {
    let mut world = World::with_ring(8);
    world.send(0, &frame(60));
    world.reset();
    world.run();
    assert!(world.sent().is_empty());
    world.write(Reg::DMATXCTL, 0, 0x8100_0001);
    world.enable(0, 8);
    world.send(0, &frame(61));
    world.run();
    assert_eq!(world.sent(), [frame(61)]);
}

proptest! {
    #[test]
    fn any_split_of_frames_into_buffers_and_doorbells_sends_them_in_order(
        lens in prop::collection::vec((60_usize..2000, 1_usize..6), 1..40),
        doorbell in 1_usize..5,
        budget in 1_usize..20,
    ) {
        let mut world = World::with_ring(32);
        let mut pending = Vec::new();
        for (i, (len, pieces)) in lens.iter().enumerate() {
            let cuts = vec![len / (pieces + 1); *pieces];
            pending.extend(world.packet(&frame(*len), &cuts, plain(*len)));
            if i % doorbell == 0 || pending.len() > 20 {
                world.post(0, &pending);
                pending.clear();
                while world.step(budget) {}
            }
        }
        world.post(0, &pending);
        world.run();
        let expected: Vec<_> = lens.iter().map(|(len, _)| frame(*len)).collect();
        prop_assert_eq!(world.sent(), expected);
        prop_assert_eq!(world.regs.get(Reg::TDH, 0), world.regs.get(Reg::TDT, 0));
        prop_assert_eq!(world.faults, GuestFaults::default());
    }
}
