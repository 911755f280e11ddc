//! Guests that do what no driver does.

use vhost_user_ixgbe::{receive::Mode, stack::Settings};

use crate::guest::{
    BASE, BUFFERS, INDIRECT, MERGEABLE, NEXT, RING, SIZE, WRITE, World, frame, header, settings,
    tcp,
};

const RX: usize = 0;
const TX: usize = 1;

#[test]
fn a_receive_buffer_that_is_not_memory_comes_back_empty() {
    let mut world = World::new(settings(), 0);
    let beyond = world.add(RX, &[(BASE + SIZE, 1600)], WRITE);
    let across = world.add(RX, &[(BASE + SIZE - 100, 1600)], WRITE);
    let wraps = world.add(RX, &[(u64::MAX - 10, 1600)], WRITE);
    let good = world.add(RX, &[(BUFFERS, 1600)], WRITE);

    world.arrive([frame(60, 1)]);

    assert_eq!(
        world.used(RX),
        [(beyond, 0), (across, 0), (wraps, 0), (good, 72)]
    );
    assert_eq!(world.stack.counters().rx_bad_chains, 3);
}

#[test]
fn a_receive_buffer_for_reading_is_not_written_to() {
    let mut world = World::new(settings(), 0);
    world.write(BUFFERS, &[0x77; 1600]);
    let head = world.add(RX, &[(BUFFERS, 1600)], 0);

    world.arrive([frame(60, 1)]);

    assert_eq!(world.used(RX), [(head, 0)]);
    assert_eq!(world.read(BUFFERS, 1600), [0x77; 1600]);
}

#[test]
fn a_chain_that_loops_comes_back() {
    let mut world = World::new(settings(), 0);
    let looping = World::descriptor(BUFFERS, 1600, WRITE | NEXT, 5);
    world.set_descriptor(RX, 5, looping);
    world.make_available(RX, 5);
    let looping = World::descriptor(BUFFERS, 100, NEXT, 6);
    world.set_descriptor(TX, 6, looping);
    world.make_available(TX, 6);

    world.settle();

    assert_eq!(world.used(RX), [(5, 0)]);
    assert_eq!(world.used(TX), [(6, 0)]);
    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
}

#[test]
fn an_indirect_table_within_an_indirect_table_comes_back() {
    let mut world = World::new(settings(), 0);
    let table = BUFFERS + 0x8000;
    world.write(table, &World::descriptor(table, 16, INDIRECT, 0));
    world.set_descriptor(TX, 0, World::descriptor(table, 16, INDIRECT, 0));
    world.make_available(TX, 0);

    world.settle();

    assert_eq!(world.used(TX), [(0, 0)]);
    assert_eq!(world.stack.counters().tx_bad_chains, 1);
}

#[test]
fn frames_that_are_too_short_or_too_long_are_not_sent() {
    let mut world = World::new(settings(), 0);
    world.write(BUFFERS, &[0; 4096]);
    let none = world.add(TX, &[(BUFFERS, 12)], 0);
    let part = world.add(TX, &[(BUFFERS, 7)], 0);
    let short = world.add(TX, &[(BUFFERS, 12 + 13)], 0);
    let long = world.add(TX, &[(BUFFERS, 12 + 1519)], 0);

    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(
        world.used(TX),
        [(none, 0), (part, 0), (short, 0), (long, 0)]
    );
    assert_eq!(world.stack.counters().tx_bad_chains, 4);
}

#[test]
fn offloads_that_were_not_negotiated_are_refused() {
    let mut world = World::new(settings(), 0);
    // What is sent where they are.
    world.write(BUFFERS, &header(0));
    world.write(BUFFERS + 12, &tcp(100));
    let head = world.add(TX, &[(BUFFERS, 12 + 154)], 0);

    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(world.used(TX), [(head, 0)]);
}

#[test]
fn a_head_beyond_the_ring_breaks_the_ring_and_nothing_else() {
    let mut world = World::new(settings(), 0);
    world.make_available(RX, 0xFFFF);
    world.settle();
    world.write(BUFFERS, &[0; 12]);
    world.write(BUFFERS + 12, &frame(60, 1));
    world.add(TX, &[(BUFFERS, 72)], 0);

    assert_eq!(world.sent(), [frame(60, 1)]);
    assert_eq!(world.used(RX), []);
    assert_eq!(world.stack.counters().broken_rings, 1);
}

#[test]
fn a_card_writes_no_more_to_the_chains_of_a_ring_that_is_broken() {
    let mut world = World::new(settings(), 0);
    let first = world.add(RX, &[(BUFFERS, 1600)], WRITE);
    for nth in 1..4 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1600)], WRITE);
    }
    world.arrive([frame(60, 1)]);
    world.announce(RX, 0x4000);
    // The card has room for more frames; the stack looks for more chains.
    world.reach_the_card([frame(60, 2)]);
    world.settle();
    world.write(BUFFERS + 0x2000, &[0xEE; 0x2000]);

    world.arrive([frame(60, 3), frame(60, 4)]);

    assert_eq!(world.used(RX), [(first, 72), (first + 1, 72)]);
    assert_eq!(world.read(BUFFERS + 0x2000, 0x2000), [0xEE; 0x2000]);
    let counters = world.stack.counters();
    assert_eq!(counters.broken_rings, 1);
    assert_eq!(counters.rx_zero_copy, 2);
}

#[test]
fn frames_behind_those_of_which_a_guest_was_told_when_its_ring_broke_count_as_lost() {
    let mut world = World::new(settings(), 0);
    for nth in 0..140 {
        world.add(RX, &[(BUFFERS + nth * 0x800, 1600)], WRITE);
    }
    world.settle();
    world.reach_the_card((0..140).map(|seed| frame(60, seed)));
    world.announce(RX, 0x4000);

    world.settle();

    // So many are handed over before it is looked for more chains.
    assert_eq!(world.used(RX).len(), 128);
    assert_eq!(world.stack.counters().rx_no_room, 12);
}

#[test]
fn frames_of_which_a_guest_cannot_be_told_since_its_ring_is_no_memory_count_as_lost() {
    let mut world = World::new(settings(), 0);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 0x800, 1600)], WRITE);
    }
    world.settle();
    world.reach_the_card([frame(60, 1), frame(60, 2)]);
    world.share_memory_from(BUFFERS);

    world.settle();

    assert_eq!(world.used(RX), []);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_no_room, 2);
    // Neither is the memory of the other one there.
    assert_eq!(counters.broken_rings, 2);
}

#[test]
fn a_ring_that_was_broken_runs_when_it_is_set_up_anew() {
    let mut world = World::new(settings(), 0);
    world.announce(RX, 0x4000);
    world.settle();

    world.reload();
    let head = world.add(RX, &[(BUFFERS, 1600)], WRITE);
    world.settle();
    world.arrive([frame(60, 1)]);

    assert_eq!(world.used(RX), [(head, 72)]);
    assert_eq!(world.stack.counters().broken_rings, 1);
}

#[test]
fn a_frame_larger_than_all_unmergeable_buffers_is_dropped_and_counted() {
    let mut world = World::new(settings(), 0);
    let head = world.add(RX, &[(BUFFERS, 200)], WRITE);

    world.arrive([frame(1000, 1)]);

    assert_eq!(world.used(RX), [(head, 0)]);
    assert_eq!(world.stack.counters().rx_no_room, 1);
}

#[test]
fn a_frame_larger_than_the_whole_ring_is_dropped_and_counted() {
    let copying = Settings {
        rx: Mode::Copy,
        mtu: 9000,
        ..settings()
    };
    let mut world = World::new(copying, MERGEABLE);
    for nth in 0..u64::from(RING) {
        world.add(RX, &[(BUFFERS + nth * 0x100, 30)], WRITE);
    }
    world.arrive([frame(9000, 1)]);
    let dropped = world.used(RX);
    let head = world.add(RX, &[(BUFFERS, 1600)], WRITE);

    world.arrive([frame(60, 2)]);

    assert_eq!(dropped.len(), usize::from(RING));
    assert!(dropped.iter().all(|(_, len)| *len == 0));
    assert_eq!(world.stack.counters().rx_no_room, 1);
    assert_eq!(world.used(RX), [(head, 72)]);
}

#[test]
fn a_frame_larger_than_chains_that_take_all_descriptors_is_dropped_and_counted() {
    let copying = Settings {
        rx: Mode::Copy,
        mtu: 9000,
        ..settings()
    };
    let mut world = World::new(copying, MERGEABLE);
    for nth in 0..u64::from(RING) / 2 {
        let at = BUFFERS + nth * 0x100;
        world.add(RX, &[(at, 15), (at + 0x80, 15)], WRITE);
    }

    world.arrive([frame(9000, 1)]);

    assert_eq!(world.used(RX).len(), usize::from(RING) / 2);
    assert_eq!(world.stack.counters().rx_no_room, 1);
}

#[test]
fn a_frame_is_not_lost_to_a_ring_that_is_full_of_bad_chains() {
    let copying = Settings {
        rx: Mode::Copy,
        ..settings()
    };
    let mut world = World::new(copying, MERGEABLE);
    for _ in 0..RING {
        world.add(RX, &[(BASE + SIZE, 1600)], WRITE);
    }
    world.arrive([frame(60, 1)]);
    assert_eq!(world.used(RX).len(), usize::from(RING));

    let head = world.add(RX, &[(BUFFERS, 1600)], WRITE);
    world.settle();

    assert_eq!(world.used(RX), [(head, 72)]);
    assert_eq!(world.stack.counters().rx_no_room, 0);
}

#[test]
fn bad_chains_amid_mergeable_ones_do_not_lose_the_packet() {
    let mut world = World::new(settings(), MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 112)], WRITE);
    let bad = world.add(RX, &[(BASE + SIZE, 112)], WRITE);
    let last = world.add(RX, &[(BUFFERS + 0x1000, 112)], WRITE);
    let arriving = frame(200, 1);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(first, 112), (bad, 0), (last, 100)]);
    assert_eq!(world.read(BUFFERS + 10, 1), [3]);
}

#[test]
fn a_bad_chain_amid_a_packet_that_waits_is_counted_once() {
    let copying = Settings {
        rx: Mode::Copy,
        ..settings()
    };
    let mut world = World::new(copying, MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 112)], WRITE);
    let bad = world.add(RX, &[(BASE + SIZE, 112)], WRITE);
    world.arrive([frame(200, 1)]);
    for _ in 0..10 {
        world.settle();
    }
    assert_eq!(world.used(RX), []);

    let last = world.add(RX, &[(BUFFERS + 0x1000, 112)], WRITE);
    world.settle();

    assert_eq!(world.used(RX), [(first, 112), (bad, 0), (last, 100)]);
    assert_eq!(world.stack.counters().rx_bad_chains, 1);
}

#[test]
fn a_chain_that_turns_bad_does_not_come_back_before_those_in_front_of_it() {
    let jumbo = Settings {
        mtu: 9000,
        ..settings()
    };
    let mut world = World::new(jumbo, MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 1536)], WRITE);
    // Too small for the card: the rest of the packet comes into buffers of the stack.
    let turned = world.add(RX, &[(BUFFERS + 0x1000, 600)], WRITE);
    world.settle();
    let elsewhere = World::descriptor(BASE + SIZE, 600, WRITE, 0);
    world.set_descriptor(RX, turned, elsewhere);

    let arriving = frame(2024, 1);
    world.arrive([arriving.clone()]);
    assert_eq!(world.used(RX), []);
    let last = world.add(RX, &[(BUFFERS + 0x2000, 1536)], WRITE);
    world.settle();

    assert_eq!(world.used(RX), [(first, 1036), (turned, 0), (last, 1000)]);
    let bytes = [
        world.read(BUFFERS + 12, 1024),
        world.read(BUFFERS + 0x2000, 1000),
    ];
    assert_eq!(bytes.concat(), arriving);
}

#[test]
fn a_chain_in_a_table_longer_than_any_ring_is_bad() {
    let mut world = World::new(settings(), 0);
    let table = BUFFERS + 0x1_0000;
    for nth in 0..1025_u16 {
        let flags = if nth < 1024 { NEXT } else { 0 };
        let part = World::descriptor(BUFFERS, 1, flags, nth + 1);
        world.write(table + 16 * u64::from(nth), &part);
    }
    world.set_descriptor(TX, 0, World::descriptor(table, 16 * 1025, INDIRECT, 0));
    world.make_available(TX, 0);

    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(world.used(TX), [(0, 0)]);
    assert_eq!(world.stack.counters().tx_bad_chains, 1);
}
