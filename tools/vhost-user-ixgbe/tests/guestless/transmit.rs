//! Out of the guest's pages onto the wire.

use vhost_user_ixgbe::{receive::Mode, stack::Settings};

use crate::guest::{
    BUFFERS, CSUM, GUEST_CSUM, INDIRECT, TSO4, USO, WRITE, World, frame, header, settings, tcp,
    tcp_sum,
};

const TX: usize = 1;

#[test]
fn a_frame_leaves_from_the_page_where_the_guest_has_written_it() {
    let mut world = World::new(settings(), 0);
    let leaving = frame(1514, 2);
    world.write(BUFFERS, &[0; 12]);
    world.write(BUFFERS + 12, &leaving);
    let head = world.add(TX, &[(BUFFERS, 12 + 1514)], 0);

    assert_eq!(world.sent(), [leaving]);
    assert_eq!(world.used(TX), [(head, 0)]);
    let counters = world.stack.counters();
    assert_eq!(counters.tx_zero_copy, 1);
    assert_eq!(counters.tx_bytes_copied, 0);
}

#[test]
fn a_frame_in_many_pieces_is_one_frame_on_the_wire() {
    let mut world = World::new(settings(), 0);
    let leaving = frame(900, 3);
    world.write(BUFFERS, &[0; 12]);
    world.write(BUFFERS + 0x1000, &leaving[..100]);
    world.write(BUFFERS + 0x2001, &leaving[100..101]);
    world.write(BUFFERS + 0x3000, &leaving[101..]);
    let parts = [
        (BUFFERS, 12),
        (BUFFERS + 0x1000, 100),
        (BUFFERS + 0x2001, 1),
        (BUFFERS + 0x3000, 799),
    ];
    world.add(TX, &parts, 0);

    assert_eq!(world.sent(), [leaving]);
}

#[test]
fn an_indirect_table_is_followed() {
    let mut world = World::new(settings(), 0);
    let leaving = frame(300, 4);
    world.write(BUFFERS, &[0; 12]);
    world.write(BUFFERS + 0x1000, &leaving);
    let table = BUFFERS + 0x8000;
    world.write(table, &World::descriptor(BUFFERS, 12, 1, 1));
    world.write(table + 16, &World::descriptor(BUFFERS + 0x1000, 300, 0, 0));
    world.set_descriptor(TX, 9, World::descriptor(table, 32, INDIRECT, 0));
    world.make_available(TX, 9);

    assert_eq!(world.sent(), [leaving]);
    assert_eq!(world.used(TX), [(9, 0)]);
}

#[test]
fn more_frames_than_the_cards_ring_has_room_for_all_leave_in_order() {
    let mut world = World::new(settings(), 0);
    world.write(BUFFERS, &[0; 12]);
    for round in 0..20_u8 {
        let frames: Vec<_> = (0..200).map(|nth| frame(60, round ^ nth)).collect();
        for (nth, frame) in (0_u64..).zip(&frames) {
            let at = BUFFERS + 0x1000 + nth * 64;
            world.write(at, frame);
            // One descriptor each, so that the ring of the guest has room for them all.
            world.write(BUFFERS + 0x10_0000 + nth * 128, &[0; 12]);
            world.write(BUFFERS + 0x10_0000 + nth * 128 + 12, frame);
            world.add(TX, &[(BUFFERS + 0x10_0000 + nth * 128, 72)], 0);
        }

        assert_eq!(world.sent(), frames);
        assert_eq!(world.used(TX).len(), 200);
    }
}

#[test]
fn a_checksum_is_inserted_by_the_card() {
    let mut world = World::new(settings(), CSUM);
    let leaving = tcp(100);
    world.write(BUFFERS, &header(0));
    world.write(BUFFERS + 12, &leaving);
    world.add(TX, &[(BUFFERS, 12 + 154)], 0);

    let sent = world.sent();

    assert_eq!(sent.len(), 1);
    assert_eq!(tcp_sum(&sent[0]), 0xFFFF);
    assert_eq!(sent[0][54..], leaving[54..]);
    assert_eq!(world.stack.counters().tx_bytes_copied, 0);
}

#[test]
fn a_large_packet_is_segmented_by_the_card_and_only_its_headers_are_copied() {
    let mut world = World::new(settings(), CSUM | TSO4);
    let leaving = tcp(40_000);
    world.write(BUFFERS, &header(1460));
    world.write(BUFFERS + 12, &leaving);
    world.add(TX, &[(BUFFERS, 12 + 54 + 40_000)], 0);

    let sent = world.sent();

    assert_eq!(sent.len(), 40_000_usize.div_ceil(1460));
    assert!(sent.iter().all(|frame| tcp_sum(frame) == 0xFFFF));
    let payload: Vec<u8> = sent.iter().flat_map(|frame| frame[54..].to_vec()).collect();
    assert_eq!(payload, leaving[54..]);
    assert_eq!(world.stack.counters().tx_bytes_copied, 54);
    assert_eq!(world.read(BUFFERS + 12, 54), leaving[..54]);
}

/// Ethernet, IPv4 and UDP with `payload` bytes, as Linux leaves them for the card.
fn udp(payload: usize) -> Vec<u8> {
    let mut frame = frame(14 + 28 + payload, 6);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..34].copy_from_slice(&[
        0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    let total = u16::try_from(28 + payload).unwrap();
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[34..42].copy_from_slice(&[0x1F, 0x90, 0x1F, 0x91, 0, 0, 0, 0]);
    frame[38..40].copy_from_slice(&(total - 20).to_be_bytes());
    let sum = u32::from(total - 20) + 17 + 2 * 0x0A00 + 1 + 2;
    let sum = (sum & 0xFFFF) + (sum >> 16);
    frame[40..42].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    frame
}

#[test]
fn a_checksum_of_udp_is_inserted_by_the_card() {
    let mut world = World::new(settings(), CSUM);
    let leaving = udp(333);
    world.write(BUFFERS, &[1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0]);
    world.write(BUFFERS + 12, &leaving);
    world.add(TX, &[(BUFFERS, 12 + 42 + 333)], 0);

    let sent = world.sent();

    assert_eq!(sent.len(), 1);
    assert_eq!(udp_sum(&sent[0]), 0xFFFF);
    assert_eq!(sent[0][42..], leaving[42..]);
}

/// The one's complement sum of everything that a UDP checksum covers; 0xFFFF if it is right.
fn udp_sum(frame: &[u8]) -> u16 {
    // As TCP's, but for the protocol.
    let sum = u32::from(tcp_sum(frame)) + 17 - 6;
    u16::try_from((sum & 0xFFFF) + (sum >> 16)).unwrap()
}

#[test]
fn a_large_datagram_is_cut_into_datagrams_by_the_card() {
    let mut world = World::new(settings(), CSUM | USO);
    let leaving = udp(10_000);
    // A checksum is missing; UDP, 42 bytes of headers, 1400 of payload.
    world.write(BUFFERS, &[1, 5, 42, 0, 0x78, 5, 34, 0, 6, 0, 0, 0]);
    world.write(BUFFERS + 12, &leaving);
    world.add(TX, &[(BUFFERS, 12 + 42 + 10_000)], 0);

    let sent = world.sent();

    assert_eq!(sent.len(), 8);
    assert!(sent.iter().all(|frame| udp_sum(frame) == 0xFFFF));
    let told: Vec<_> = sent
        .iter()
        .map(|frame| usize::from(u16::from_be_bytes([frame[38], frame[39]])))
        .collect();
    assert_eq!(told, [1408, 1408, 1408, 1408, 1408, 1408, 1408, 208]);
    let payload: Vec<u8> = sent.iter().flat_map(|frame| frame[42..].to_vec()).collect();
    assert_eq!(payload, leaving[42..]);
    assert_eq!(world.stack.counters().tx_bytes_copied, 42);
}

#[test]
fn a_large_datagram_with_tcps_checksum_is_not_sent() {
    let mut world = World::new(settings(), CSUM | USO);
    world.write(BUFFERS, &[1, 5, 42, 0, 0x78, 5, 34, 0, 16, 0, 0, 0]);
    world.write(BUFFERS + 12, &udp(10_000));
    world.add(TX, &[(BUFFERS, 12 + 42 + 10_000)], 0);

    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(world.stack.counters().tx_bad_chains, 1);
}

/// A segment whose checksum the card has put in.
fn with_checksum(world: &mut World) -> Vec<u8> {
    world.write(BUFFERS, &header(0));
    world.write(BUFFERS + 12, &tcp(100));
    world.add(TX, &[(BUFFERS, 12 + 154)], 0);
    world.sent().remove(0)
}

#[test]
fn a_checksum_that_the_card_has_verified_is_reported_to_the_guest() {
    let mut world = World::new(settings(), CSUM | GUEST_CSUM);
    let right = with_checksum(&mut world);
    let mut wrong = right.clone();
    wrong[60] ^= 1;
    world.add(0, &[(BUFFERS + 0x1000, 1600)], WRITE);
    world.add(0, &[(BUFFERS + 0x2000, 1600)], WRITE);

    world.arrive([right, wrong]);

    assert_eq!(world.used(0).len(), 2);
    assert_eq!(world.read(BUFFERS + 0x1000, 2), [2, 0]);
    assert_eq!(world.read(BUFFERS + 0x2000, 2), [0, 0]);
}

#[test]
fn a_guest_that_does_not_take_checksums_is_told_nothing_of_them() {
    for rx in [Mode::ZeroCopy, Mode::Copy] {
        let settings = Settings { rx, ..settings() };
        let mut world = World::new(settings, CSUM);
        let right = with_checksum(&mut world);
        world.write(BUFFERS + 0x1000, &[0xEE; 12]);
        world.add(0, &[(BUFFERS + 0x1000, 1600)], WRITE);

        world.arrive([right]);

        assert_eq!(world.used(0).len(), 1);
        assert_eq!(world.read(BUFFERS + 0x1000, 1), [0], "{rx:?}");
    }
}
