//! When the stack may sleep, and when the guest wakes it up.

use vhost_user_ixgbe::{negotiated::Switch, receive::Mode, stack::Settings};

use crate::guest::{BUFFERS, EVENT_IDX, MERGEABLE, WRITE, World, frame, settings, tcp};

const RX: usize = 0;
const TX: usize = 1;

fn copying() -> Settings {
    Settings {
        rx: Mode::Copy,
        ..settings()
    }
}

#[test]
fn a_frame_that_needs_more_chains_than_there_are_does_not_keep_the_stack_awake() {
    for features in [MERGEABLE, MERGEABLE | EVENT_IDX] {
        let mut world = World::new(copying(), features);
        world.add(RX, &[(BUFFERS, 200)], WRITE);
        world.arrive([frame(500, 1)]);
        assert!(!world.stack.want_wakeups(true).unwrap(), "one chain");

        world.add(RX, &[(BUFFERS + 0x1000, 200)], WRITE);
        assert!(world.stack.want_wakeups(true).unwrap(), "not looked at yet");
        world.settle();
        assert!(!world.stack.want_wakeups(true).unwrap(), "two chains");
        world.add(RX, &[(BUFFERS + 0x2000, 200)], WRITE);
        world.settle();

        assert_eq!(world.used(RX), [(0, 200), (1, 200), (2, 112)]);
    }
}

#[test]
fn what_the_guest_adds_to_a_held_frames_chains_is_to_be_rung_for() {
    let mut world = World::new(copying(), MERGEABLE | EVENT_IDX);
    for nth in 0..3_u16 {
        world.add(RX, &[(BUFFERS + u64::from(nth) * 0x1000, 200)], WRITE);
        world.arrive((nth == 0).then(|| frame(1000, 1)));

        world.stack.want_wakeups(true).unwrap();

        assert_eq!(world.rings_at(RX), nth + 1);
    }
}

#[test]
fn the_second_chain_of_a_pair_is_to_be_rung_for() {
    let splitting = Settings {
        packet_split: Switch::On,
        ..settings()
    };
    let mut world = World::new(splitting, MERGEABLE | EVENT_IDX);
    world.add(RX, &[(BUFFERS, 1536)], WRITE);
    world.settle();

    let already = world.stack.want_wakeups(true).unwrap();

    assert!(!already);
    assert_eq!(world.rings_at(RX), 1);
    world.add(RX, &[(BUFFERS + 0x1000, 1536)], WRITE);
    world.arrive([tcp(100)]);
    assert_eq!(world.used(RX), [(0, 66), (1, 100)]);
}

#[test]
fn chains_that_came_without_a_ring_are_told_of_once() {
    let mut world = World::new(settings(), EVENT_IDX);
    world.settle();
    world.add(RX, &[(BUFFERS, 1600)], WRITE);

    let told = [(); 3].map(|()| world.stack.want_wakeups(true).unwrap());

    assert_eq!(told, [true, false, false]);
}

#[test]
fn a_stack_that_never_sleeps_asks_for_no_kicks() {
    let mut world = World::new(settings(), 0);

    let from_the_start = [RX, TX].map(|ring| world.wants_kicks(ring));
    world.reload();
    let from_a_new_driver = [RX, TX].map(|ring| world.wants_kicks(ring));

    assert_eq!(from_the_start, [false, false]);
    assert_eq!(from_a_new_driver, [false, false]);
}

#[test]
fn a_stack_that_goes_to_sleep_asks_for_kicks_and_takes_it_back_when_it_wakes_up() {
    let mut world = World::new(settings(), 0);

    world.stack.want_wakeups(true).unwrap();
    let asleep = [RX, TX].map(|ring| world.wants_kicks(ring));
    world.stack.want_wakeups(false).unwrap();
    let awake = [RX, TX].map(|ring| world.wants_kicks(ring));

    assert_eq!(asleep, [true, true]);
    assert_eq!(awake, [false, false]);
}
