//! Rings that stop, guests that start anew, cards that go.

use vhost_user_ixgbe::{receive::Mode, stack::Settings};

use crate::guest::{BASE, BUFFERS, LOG_ALL, RING, WRITE, World, frame, settings};

const RX: usize = 0;
const TX: usize = 1;

#[test]
fn a_ring_that_stops_gives_back_what_the_card_had_not_filled() {
    let mut world = World::new(settings(), 0);
    for nth in 0..10 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();
    world.arrive([frame(60, 1), frame(60, 2), frame(60, 3)]);

    let base = world.stop(RX);

    assert_eq!(base, 3);
    assert_eq!(world.used(RX).len(), 3);
}

#[test]
fn a_ring_that_stops_in_copy_mode_takes_no_more_chains_than_there_are_frames() {
    let mut world = World::new(
        Settings {
            rx: Mode::Copy,
            ..settings()
        },
        0,
    );
    for nth in 0..10 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();
    world.arrive([frame(60, 1), frame(61, 2)]);

    let base = world.stop(RX);

    assert_eq!(base, 2);
    assert_eq!(world.used(RX), [(0, 72), (1, 73)]);
    world.write(BUFFERS, &[0xEE; 20480]);
    world.arrive((0..20).map(|nth| frame(300, nth)));
    assert_eq!(world.read(BUFFERS, 20480), [0xEE; 20480]);
    world.start(RX, base);
    world.settle();
    world.arrive([frame(62, 3)]);
    assert_eq!(world.used(RX), [(2, 74)]);
    assert_eq!(world.read(BUFFERS + 2 * 2048 + 12, 62), frame(62, 3));
}

#[test]
fn frames_without_chains_are_lost_when_their_ring_stops_and_are_counted() {
    let mut world = World::new(
        Settings {
            rx: Mode::Copy,
            ..settings()
        },
        0,
    );
    world.add(RX, &[(BUFFERS, 1600)], WRITE);
    world.settle();
    world.arrive((0..5).map(|nth| frame(60, nth)));

    let base = world.stop(RX);

    assert_eq!(base, 1);
    assert_eq!(world.used(RX), [(0, 72)]);
    assert_eq!(world.stack.counters().rx_no_room, 4);
    world.start(RX, base);
    world.add(RX, &[(BUFFERS + 0x1000, 1600)], WRITE);
    world.settle();
    world.arrive([frame(70, 9)]);
    assert_eq!(world.used(RX), [(1, 82)]);
}

#[test]
fn after_a_ring_has_stopped_nothing_is_written_to_the_guests_buffers() {
    let mut world = World::new(settings(), 0);
    for nth in 0..10 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();
    world.stop(RX);
    // The owner has the pages back, and uses them.
    world.write(BUFFERS, &[0xEE; 20480]);

    world.arrive((0..20).map(|nth| frame(300, nth)));

    assert_eq!(world.read(BUFFERS, 20480), [0xEE; 20480]);
    assert_eq!(world.used(RX), []);
}

#[test]
fn a_driver_that_is_loaded_anew_gets_its_frames_in_its_new_buffers_only() {
    let mut world = World::new(settings(), 0);
    for nth in 0..RING {
        let at = BUFFERS + u64::from(nth) * 2048;
        world.add(RX, &[(at, 1600)], WRITE);
    }
    world.settle();
    world.reload();
    world.write(BUFFERS, &[0xEE; 256 * 2048]);
    let head = world.add(RX, &[(BUFFERS + 0x10_0000, 1600)], WRITE);
    world.settle();

    world.arrive([frame(700, 9)]);

    assert_eq!(world.used(RX), [(head, 712)]);
    assert_eq!(world.read(BUFFERS + 0x10_0000 + 12, 700), frame(700, 9));
    assert_eq!(world.read(BUFFERS, 256 * 2048), [0xEE; 256 * 2048]);
}

#[test]
fn a_stack_runs_while_a_ring_does_and_there_is_a_card() {
    let mut world = World::new(settings(), 0);
    assert!(world.stack.is_running());

    world.stop(RX);
    let with_one_ring = world.stack.is_running();
    world.stop(TX);
    let with_none = world.stack.is_running();
    world.start(RX, 0);
    world.stack.unplug();
    let without_a_card = world.stack.is_running();

    assert_eq!(
        [with_one_ring, with_none, without_a_card],
        [true, false, false]
    );
}

#[test]
fn a_ring_goes_on_where_it_stopped() {
    let mut world = World::new(settings(), 0);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();
    world.arrive([frame(60, 1)]);
    let base = world.stop(RX);
    world.start(RX, base);
    world.settle();

    world.arrive([frame(61, 2), frame(62, 3), frame(63, 4)]);

    let lens: Vec<_> = world.used(RX).into_iter().map(|(_, len)| len).collect();
    assert_eq!(lens, [72, 73, 74, 75]);
}

#[test]
fn a_card_that_comes_back_gets_the_buffers_that_the_old_one_had() {
    let mut world = World::new(settings(), 0);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();
    world.arrive([frame(60, 1)]);

    world.stack.unplug();
    world.plug();
    world.settle();
    world.arrive([frame(61, 2)]);

    assert_eq!(world.used(RX).len(), 2);
    assert_eq!(world.read(BUFFERS + 2048 + 12, 61), frame(61, 2));
    world.write(BUFFERS + 0x10_0000, &[0; 12]);
    world.write(BUFFERS + 0x10_0000 + 12, &frame(64, 3));
    world.add(TX, &[(BUFFERS + 0x10_0000, 76)], 0);
    assert_eq!(world.sent(), [frame(64, 3)]);
}

#[test]
fn frames_that_a_card_has_written_before_it_goes_are_the_guests() {
    let mut world = World::new(settings(), 0);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();
    world.reach_the_card([frame(60, 1), frame(61, 2)]);

    world.stack.unplug();

    assert_eq!(world.used(RX), [(0, 72), (1, 73)]);
    assert_eq!(world.read(BUFFERS + 2048 + 12, 61), frame(61, 2));
    assert_eq!(world.stack.counters().rx_zero_copy, 2);
}

#[test]
fn a_frame_that_a_card_has_sent_before_it_goes_is_not_sent_again() {
    let mut world = World::new(settings(), 0);
    world.write(BUFFERS, &[0; 12]);
    world.write(BUFFERS + 12, &frame(60, 1));
    let head = world.add(TX, &[(BUFFERS, 72)], 0);
    world.stack.turn().unwrap();
    world.reach_the_card([]);

    world.stack.unplug();
    world.plug();

    assert_eq!(world.used(TX), [(head, 0)]);
    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_guest_that_is_gone_leaves_no_buffer_with_the_card() {
    let mut world = World::new(settings(), 0);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
    }
    world.settle();

    world.stack.lose_guest().unwrap();
    world.write(BUFFERS, &[0xEE; 8192]);
    world.arrive([frame(60, 1)]);

    assert_eq!(world.read(BUFFERS, 8192), [0xEE; 8192]);
}

#[test]
fn pages_that_the_card_writes_are_in_the_log() {
    let mut world = World::new(settings(), 0);
    world.add(RX, &[(BUFFERS + 0x1F00, 1600)], WRITE);
    world.settle();
    let dirty = world.log(LOG_ALL);

    world.arrive([frame(1000, 1)]);

    // Two pages of the buffer, and the one of the used ring.
    let frame_page = (BUFFERS + 0x1F00) / 4096;
    assert_eq!(dirty(), [BASE / 4096 + 2, frame_page, frame_page + 1]);
}
