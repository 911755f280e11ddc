//! From the wire into the guest's pages.

use vhost_user_ixgbe::{receive::Mode, stack::Settings};

use crate::guest::{BUFFERS, MERGEABLE, WRITE, World, frame, settings};

const RX: usize = 0;

/// What virtio puts before a frame in `buffers` buffers.
fn header(buffers: u8) -> [u8; 12] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0]
}

fn copying() -> Settings {
    Settings {
        rx: Mode::Copy,
        ..settings()
    }
}

#[test]
fn the_card_is_given_the_guests_own_page() {
    let mut world = World::new(settings(), 0);
    world.add(RX, &[(BUFFERS + 0x200, 1530)], WRITE);

    world.settle();

    let (ring, _) = world.stack.card().unwrap().post(0);
    assert_eq!(ring.posted(), 1);
    assert_eq!(ring.memory().load(0), BUFFERS + 0x200 + 12);
}

#[test]
fn a_frame_is_written_once_and_into_the_guests_page() {
    let mut world = World::new(settings(), 0);
    let head = world.add(RX, &[(BUFFERS, 1530)], WRITE);
    world.settle();
    let arriving = frame(1514, 7);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 12 + 1514)]);
    assert_eq!(world.read(BUFFERS, 12), header(1));
    assert_eq!(world.read(BUFFERS + 12, 1514), arriving);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_zero_copy, 1);
    assert_eq!(counters.rx_bytes_copied, 0);
}

#[test]
fn nothing_behind_the_guests_buffer_is_written() {
    let mut world = World::new(settings(), 0);
    world.write(BUFFERS + 1530, &[0x5A; 600]);
    world.add(RX, &[(BUFFERS, 1530)], WRITE);
    world.settle();
    let mut tagged = frame(1518, 1);
    tagged[12..14].copy_from_slice(&[0x81, 0x00]);

    world.arrive([tagged.clone()]);

    assert_eq!(world.used(RX).len(), 1);
    assert_eq!(world.read(BUFFERS + 12, 1518), tagged);
    assert_eq!(world.read(BUFFERS + 1530, 600), [0x5A; 600]);
}

#[test]
fn a_header_may_have_a_descriptor_of_its_own() {
    let mut world = World::new(settings(), 0);
    let head = world.add(RX, &[(BUFFERS, 12), (BUFFERS + 0x1000, 2048)], WRITE);
    world.settle();
    let arriving = frame(60, 3);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 72)]);
    assert_eq!(world.read(BUFFERS, 12), header(1));
    assert_eq!(world.read(BUFFERS + 0x1000, 60), arriving);
    assert_eq!(world.stack.counters().rx_zero_copy, 1);
}

#[test]
fn frames_keep_their_order_over_many_rings() {
    let mut world = World::new(settings(), 0);
    for round in 0..40_u8 {
        for nth in 0..100_u64 {
            world.add(RX, &[(BUFFERS + nth * 2048, 1600)], WRITE);
        }
        world.settle();

        world.arrive((0..100).map(|nth| frame(60 + usize::from(nth), round ^ nth)));

        let used = world.used(RX);
        assert_eq!(used.len(), 100);
        for nth in 0..100_u8 {
            let arrived = world.read(BUFFERS + u64::from(nth) * 2048 + 12, 60 + usize::from(nth));
            assert_eq!(arrived, frame(60 + usize::from(nth), round ^ nth));
        }
    }
}

#[test]
fn a_frame_waits_at_the_card_until_the_guest_has_a_buffer() {
    let mut world = World::new(settings(), 0);
    world.arrive([frame(60, 1)]);
    assert_eq!(world.used(RX), []);

    let head = world.add(RX, &[(BUFFERS, 1600)], WRITE);
    world.settle();

    assert_eq!(world.used(RX), [(head, 72)]);
}

#[test]
fn copy_mode_gives_the_guest_the_same_and_counts_each_byte() {
    let mut world = World::new(copying(), 0);
    let head = world.add(RX, &[(BUFFERS, 1530)], WRITE);
    let arriving = frame(1000, 9);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 1012)]);
    assert_eq!(world.read(BUFFERS, 12), header(1));
    assert_eq!(world.read(BUFFERS + 12, 1000), arriving);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_zero_copy, 0);
    assert_eq!(counters.rx_bytes_copied, 1000);
}

#[test]
fn a_frame_that_needs_several_mergeable_buffers_is_copied_into_them() {
    let mut world = World::new(settings(), MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 512)], WRITE);
    let second = world.add(RX, &[(BUFFERS + 0x1000, 512)], WRITE);
    let third = world.add(RX, &[(BUFFERS + 0x2000, 512)], WRITE);
    let arriving = frame(1100, 4);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(first, 512), (second, 512), (third, 88)]);
    assert_eq!(world.read(BUFFERS, 12), header(3));
    let parts = [
        world.read(BUFFERS + 12, 500),
        world.read(BUFFERS + 0x1000, 512),
        world.read(BUFFERS + 0x2000, 88),
    ];
    assert_eq!(parts.concat(), arriving);
}

#[test]
fn small_and_large_buffers_in_one_ring_keep_the_order() {
    let mut world = World::new(settings(), MERGEABLE);
    world.add(RX, &[(BUFFERS, 1600)], WRITE);
    world.add(RX, &[(BUFFERS + 0x1000, 100)], WRITE);
    world.add(RX, &[(BUFFERS + 0x2000, 1600)], WRITE);
    world.settle();

    world.arrive([frame(60, 1), frame(61, 2), frame(62, 3)]);

    let lens: Vec<_> = world.used(RX).into_iter().map(|(_, len)| len).collect();
    assert_eq!(lens, [72, 73, 74]);
    assert_eq!(world.read(BUFFERS + 0x1000 + 12, 61), frame(61, 2));
    assert_eq!(world.read(BUFFERS + 0x2000 + 12, 62), frame(62, 3));
}

#[test]
fn jumbo_frames_need_no_copy_where_the_buffers_have_room() {
    let mut world = World::new(
        Settings {
            mtu: 9000,
            ..settings()
        },
        0,
    );
    let head = world.add(RX, &[(BUFFERS, 9030)], WRITE);
    world.settle();
    let arriving = frame(9014, 8);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 9026)]);
    assert_eq!(world.read(BUFFERS + 12, 9014), arriving);
    assert_eq!(world.stack.counters().rx_bytes_copied, 0);
}

#[test]
fn an_odd_address_goes_by_a_copy() {
    let mut world = World::new(settings(), 0);
    let head = world.add(RX, &[(BUFFERS + 1, 1600)], WRITE);
    let arriving = frame(60, 5);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 72)]);
    assert_eq!(world.read(BUFFERS + 13, 60), arriving);
    assert_eq!(world.stack.counters().rx_copied, 1);
}

#[test]
fn chains_that_the_card_could_have_wait_for_those_before_them_that_are_copied_to() {
    let mut world = World::new(settings(), MERGEABLE);
    let small = world.add(RX, &[(BUFFERS, 100)], WRITE);
    let large: Vec<_> = (1..=5)
        .map(|nth| world.add(RX, &[(BUFFERS + nth * 0x1000, 1600)], WRITE))
        .collect();
    world.settle();

    // One by one, so that chains are posted between them.
    let mut heads = Vec::new();
    for nth in 1..=6 {
        world.arrive([frame(60, nth)]);
        heads.extend(world.used(RX).into_iter().map(|(head, _)| head));
    }

    assert_eq!(heads[0], small);
    assert_eq!(heads[1..], large);
    assert_eq!(world.read(BUFFERS + 0x5000 + 12, 60), frame(60, 6));
}
