//! Headers into buffers of ours, payload by the card into the guest's pages.

use nic_model::observe::Purpose;
use vhost_user_ixgbe::{negotiated::Switch, receive::Mode, stack::Settings};

use crate::guest::{BUFFERS, LOG_ALL, MERGEABLE, WRITE, World, frame, settings, tcp};

const RX: usize = 0;
/// Behind Ethernet, IPv4 and TCP without options.
const HEADERS: usize = 54;

fn splitting() -> Settings {
    Settings {
        packet_split: Switch::On,
        ..settings()
    }
}

/// What virtio puts before a packet in `buffers` buffers.
fn header(buffers: u8) -> [u8; 12] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0]
}

/// TCP with a time stamp, so with 12 bytes more of headers.
fn with_timestamp(payload: usize) -> Vec<u8> {
    let mut frame = tcp(12 + payload);
    frame[46] = 0x80;
    frame[54..58].copy_from_slice(&[1, 1, 8, 10]);
    frame
}

/// A fragment of UDP that is not the first one.
fn fragment(payload: usize) -> Vec<u8> {
    let mut frame = frame(34 + payload, 3);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let total = u16::try_from(20 + payload).unwrap();
    frame[14..34].copy_from_slice(&[
        0x45, 0, 0, 0, 0, 1, 0x20, 0x10, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame
}

#[test]
fn the_card_writes_the_payload_into_the_guests_page_and_the_headers_into_none() {
    let mut world = World::new(splitting(), MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 1536)], WRITE);
    let second = world.add(RX, &[(BUFFERS + 0x1000, 1536)], WRITE);
    world.settle();
    let writes = world.writes();
    let arriving = tcp(1000);

    world.arrive([arriving.clone()]);

    assert_eq!(
        world.used(RX),
        [
            (first, u32::try_from(12 + HEADERS).unwrap()),
            (second, 1000)
        ]
    );
    assert_eq!(world.read(BUFFERS, 12), header(2));
    assert_eq!(world.read(BUFFERS + 12, HEADERS), arriving[..HEADERS]);
    assert_eq!(world.read(BUFFERS + 0x1000, 1000), arriving[HEADERS..]);
    let (headers, len, purpose) = writes.recv().unwrap();
    assert!(headers >= 1 << 38, "{headers:#x} is the guest's");
    assert_eq!((len, purpose), (HEADERS, Purpose::Header));
    let payload = writes.recv().unwrap();
    assert_eq!(payload, (BUFFERS + 0x1000, 1000, Purpose::Packet));
    let counters = world.stack.counters();
    assert_eq!(counters.rx_split, 1);
    assert_eq!(counters.rx_bytes_copied, HEADERS as u64);
    assert_eq!(counters.rx_header_bytes_copied, HEADERS as u64);
}

#[test]
fn in_two_chains_headers_may_have_any_length() {
    let mut world = World::new(splitting(), MERGEABLE);
    for nth in 0..8 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE);
    }
    let arriving = [tcp(700), with_timestamp(700), fragment(700), frame(1000, 1)];

    world.arrive(arriving.clone());

    let lens: Vec<_> = world.used(RX).into_iter().map(|(_, len)| len).collect();
    // A frame without known headers fills the buffer for them.
    assert_eq!(lens, [66, 700, 78, 700, 46, 700, 268, 744]);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_split, 4);
    assert_eq!(counters.rx_bytes_copied, 54 + 66 + 34 + 256);
    let received = |nth: u64, front: usize, behind: usize| {
        let at = BUFFERS + nth * 0x2000;
        [world.read(at + 12, front), world.read(at + 0x1000, behind)].concat()
    };
    assert_eq!(received(0, 54, 700), arriving[0]);
    assert_eq!(received(1, 66, 700), arriving[1]);
    assert_eq!(received(2, 34, 700), arriving[2]);
    assert_eq!(received(3, 256, 744), arriving[3]);
}

#[test]
fn a_packet_without_a_payload_takes_two_chains_as_well() {
    let mut world = World::new(splitting(), MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 1536)], WRITE);
    let second = world.add(RX, &[(BUFFERS + 0x1000, 1536)], WRITE);
    let arriving = frame(60, 9);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(first, 12 + 14), (second, 46)]);
    assert_eq!(world.read(BUFFERS, 12), header(2));
    let parts = [
        world.read(BUFFERS + 12, 14),
        world.read(BUFFERS + 0x1000, 46),
    ];
    assert_eq!(parts.concat(), arriving);
}

#[test]
fn a_packet_waits_for_its_second_chain() {
    let mut world = World::new(splitting(), MERGEABLE);
    world.add(RX, &[(BUFFERS, 1536)], WRITE);
    world.arrive([tcp(100)]);
    assert_eq!(world.used(RX), []);

    world.add(RX, &[(BUFFERS + 0x1000, 1536)], WRITE);
    world.settle();

    assert_eq!(world.used(RX), [(0, 66), (1, 100)]);
}

#[test]
fn without_mergeable_buffers_the_headers_are_copied_in_front() {
    let mut world = World::new(splitting(), 0);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 2048)], WRITE);
    }
    world.settle();
    // What was posted before the first packet stands where the shortest headers end.
    let arriving = with_timestamp(900);
    world.arrive((0..4).map(|_| arriving.clone()));
    world.used(RX);
    let before = *world.stack.counters();
    world.add(RX, &[(BUFFERS + 0x8000, 2048)], WRITE);
    world.settle();
    let writes = world.writes();

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(4, 12 + 66 + 900)]);
    assert_eq!(world.read(BUFFERS + 0x8000, 12), header(1));
    assert_eq!(world.read(BUFFERS + 0x8000 + 12, 66 + 900), arriving);
    let to_guest = writes.try_iter().find(|write| write.2 == Purpose::Packet);
    let behind = BUFFERS + 0x8000 + 12 + 66;
    assert_eq!(to_guest, Some((behind, 900, Purpose::Packet)));
    let counters = world.stack.counters();
    assert_eq!(counters.rx_split, before.rx_split + 1);
    assert_eq!(counters.rx_bytes_copied, before.rx_bytes_copied + 66);
}

#[test]
fn a_payload_behind_other_headers_than_expected_is_moved_and_counted() {
    let mut world = World::new(splitting(), 0);
    let head = world.add(RX, &[(BUFFERS, 2048)], WRITE);
    let arriving = with_timestamp(900);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 12 + 966)]);
    assert_eq!(world.read(BUFFERS + 12, 966), arriving);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_split, 0);
    assert_eq!(counters.rx_copied, 1);
    assert_eq!(counters.rx_bytes_copied, 966);
}

#[test]
fn nothing_behind_the_guests_buffer_is_written_for_the_longest_packet() {
    let mut world = World::new(splitting(), 0);
    world.write(BUFFERS + 1530, &[0x5A; 600]);
    world.add(RX, &[(BUFFERS, 1530)], WRITE);
    world.settle();
    let mut udp = fragment(1480);
    udp[20..22].fill(0);
    udp[38..40].copy_from_slice(&1480_u16.to_be_bytes());
    let writes = world.writes();

    world.arrive([udp.clone()]);

    assert_eq!(world.used(RX).len(), 1);
    assert_eq!(world.read(BUFFERS + 12, 1514), udp);
    assert_eq!(world.read(BUFFERS + 1530, 600), [0x5A; 600]);
    let last = writes.try_iter().last().unwrap();
    assert_eq!(last, (BUFFERS + 12 + 42, 1472, Purpose::Packet));
}

#[test]
fn chains_too_small_for_a_payload_are_copied_to() {
    let mut world = World::new(splitting(), MERGEABLE);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 600)], WRITE);
    }
    let arriving = tcp(1000);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(0, 600), (1, 12 + 1054 - 600)]);
    let parts = [
        world.read(BUFFERS + 12, 588),
        world.read(BUFFERS + 0x1000, 1054 - 588),
    ];
    assert_eq!(parts.concat(), arriving);
    assert_eq!(world.stack.counters().rx_copied, 1);
    assert_eq!(world.stack.counters().rx_bytes_copied, 1054);
}

#[test]
fn a_bad_second_chain_does_not_lose_the_packet() {
    let mut world = World::new(splitting(), MERGEABLE);
    let first = world.add(RX, &[(BUFFERS, 1536)], WRITE);
    let bad = world.add(RX, &[(1, 1536)], WRITE);
    let third = world.add(RX, &[(BUFFERS + 0x1000, 1536)], WRITE);
    let arriving = tcp(100);

    world.arrive([arriving.clone(), arriving.clone()]);

    assert_eq!(world.used(RX), [(first, 166), (bad, 0), (third, 166)]);
    assert_eq!(world.read(BUFFERS + 0x1000 + 12, 154), arriving);
}

#[test]
fn copy_mode_copies_headers_and_payload() {
    let mut world = World::new(
        Settings {
            rx: Mode::Copy,
            ..splitting()
        },
        MERGEABLE,
    );
    let head = world.add(RX, &[(BUFFERS, 1536)], WRITE);
    let arriving = tcp(1000);

    world.arrive([arriving.clone()]);

    assert_eq!(world.used(RX), [(head, 12 + 1054)]);
    assert_eq!(world.read(BUFFERS + 12, 1054), arriving);
    assert_eq!(world.stack.counters().rx_bytes_copied, 1054);
}

#[test]
fn a_ring_that_stops_gives_back_both_chains_of_each_pair() {
    let mut world = World::new(splitting(), MERGEABLE);
    for nth in 0..10 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE);
    }
    world.settle();
    world.arrive([tcp(100), tcp(200)]);

    let base = world.stop(RX);

    assert_eq!(base, 4);
    assert_eq!(world.used(RX).len(), 4);
    world.write(BUFFERS, &[0xEE; 0xA000]);
    world.arrive([tcp(300)]);
    assert_eq!(world.read(BUFFERS, 0xA000), [0xEE; 0xA000]);
    world.start(RX, base);
    world.settle();
    world.arrive([tcp(300)]);
    assert_eq!(world.used(RX), [(4, 66), (5, 300)]);
}

#[test]
fn the_log_has_the_pages_of_headers_and_payload() {
    let mut world = World::new(splitting(), MERGEABLE);
    world.add(RX, &[(BUFFERS, 1536)], WRITE);
    world.add(RX, &[(BUFFERS + 0x1000, 1536)], WRITE);
    world.settle();
    let dirty = world.log(LOG_ALL | MERGEABLE);

    world.arrive([tcp(1000)]);

    let pages = dirty();
    assert!(pages.contains(&(BUFFERS / 4096)), "{pages:x?}");
    assert!(pages.contains(&(BUFFERS / 4096 + 1)), "{pages:x?}");
}
