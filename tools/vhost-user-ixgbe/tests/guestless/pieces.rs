//! Packets over several of the guest's chains: jumbo frames, and large receives (7.11).

use std::time::Duration;

use vhost_user_ixgbe::{
    negotiated::{Offer, Switch},
    receive::Mode,
    stack::Settings,
};

use crate::guest::{
    BUFFERS, GUEST_CSUM, GUEST_TSO4, MERGEABLE, WRITE, World, frame, settings, tcp, tcp_sum,
};

const RX: usize = 0;
/// Longer than the interval of the card's vectors, in which a large receive ends.
pub const INTERVAL: Duration = Duration::from_millis(1);
pub const LARGE: u64 = MERGEABLE | GUEST_CSUM | GUEST_TSO4;

fn jumbo(packet_split: Switch) -> Settings {
    Settings {
        mtu: 9000,
        packet_split,
        ..settings()
    }
}

pub fn coalescing() -> Settings {
    Settings {
        offer: Offer {
            large_receive: Switch::On,
            ..settings().offer
        },
        ..settings()
    }
}

/// A guest with this many buffers of 1536 bytes, 4096 apart.
fn world(settings: Settings, features: u64, buffers: u64) -> World {
    let mut world = World::new(settings, features);
    for nth in 0..buffers {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE);
    }
    world.settle();
    world
}

/// What a packet is that has come back in these chains: virtio's header, and the bytes behind it.
fn packet(world: &World, used: &[(u16, u32)]) -> (Vec<u8>, Vec<u8>) {
    let chains = used.iter().flat_map(|(head, len)| {
        let at = BUFFERS + u64::from(*head) * 0x1000;
        world.read(at, usize::try_from(*len).unwrap())
    });
    let bytes: Vec<_> = chains.collect();
    (bytes[..12].to_vec(), bytes[12..].to_vec())
}

/// The segments of a TCP connection, with checksums.
fn segments(ports: u8, payloads: &[usize]) -> Vec<Vec<u8>> {
    let mut sequence = 1_u32;
    let mut segments = Vec::new();
    for (nth, &payload) in (0_u8..).zip(payloads) {
        let payload = vec![nth.wrapping_mul(17) ^ ports; payload];
        segments.push(segment(ports, sequence, &payload));
        sequence += u32::try_from(payload.len()).unwrap();
    }
    segments
}

/// One segment.
pub fn segment(ports: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = tcp(payload.len());
    segment[35] = ports;
    segment[38..42].copy_from_slice(&sequence.to_be_bytes());
    segment[54..].copy_from_slice(payload);
    segment[24..26].fill(0);
    let ip = !ones_complement(&segment[14..34]);
    segment[24..26].copy_from_slice(&ip.to_be_bytes());
    segment[50..52].fill(0);
    let sum = !tcp_sum(&segment);
    segment[50..52].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn ones_complement(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter();
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

#[test]
fn a_jumbo_frame_is_written_by_the_card_into_buffers_of_one_and_a_half_kilobytes() {
    let mut world = world(jumbo(Switch::Off), MERGEABLE, 12);
    let arriving = frame(9014, 5);

    world.arrive([arriving.clone()]);

    let used = world.used(RX);
    assert_eq!(used.len(), 9);
    let (header, bytes) = packet(&world, &used);
    assert_eq!(header, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0]);
    assert_eq!(bytes, arriving);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_zero_copy, 1);
    // The beginnings of eight chains, which the card leaves for virtio's header.
    assert_eq!(counters.rx_seam_bytes_copied, 8 * 12);
    assert_eq!(counters.rx_bytes_copied, 8 * 12);
}

#[test]
fn a_jumbo_frame_with_packet_split_has_its_headers_copied_and_its_seams() {
    let mut world = world(jumbo(Switch::On), MERGEABLE, 9);
    let arriving = segments(1, &[8960]).remove(0);
    world.arrive([arriving.clone()]);
    let used = world.used(RX);
    assert_eq!(packet(&world, &used).1, arriving);
    // From now on the place of the payload is known.
    let before = *world.stack.counters();
    for nth in 9..18 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE);
    }
    world.settle();

    world.arrive([arriving.clone()]);

    let used = world.used(RX);
    let (header, bytes) = packet(&world, &used);
    assert_eq!(header[10], 9);
    assert_eq!(bytes, arriving);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_split, before.rx_split + 1);
    let seams = counters.rx_seam_bytes_copied - before.rx_seam_bytes_copied;
    assert_eq!(seams, 8 * (12 + 54));
    let copied = counters.rx_bytes_copied - before.rx_bytes_copied;
    assert_eq!(copied, 54 + seams);
}

#[test]
fn frames_of_all_lengths_arrive_whole_and_in_order() {
    let mut world = world(jumbo(Switch::Off), MERGEABLE, 0);
    let lens = [
        60, 1023, 1024, 1025, 1035, 1036, 1037, 2047, 2048, 2049, 9014,
    ];
    for round in 0..40_u8 {
        let frames: Vec<_> = lens.iter().map(|len| frame(*len, round)).collect();
        let heads: Vec<_> = (0..30)
            .map(|nth| world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE))
            .collect();
        world.settle();

        world.arrive(frames.clone());

        let used = world.used(RX);
        assert_eq!(
            used.iter().map(|(head, _)| *head).collect::<Vec<_>>(),
            heads[..used.len()]
        );
        let mut chains = used.iter().zip(0_u64..).map(|((_, len), nth)| {
            world.read(BUFFERS + nth * 0x1000, usize::try_from(*len).unwrap())
        });
        for frame in frames {
            let first = chains.next().unwrap();
            let more = usize::from(first[10]) - 1;
            let rest = chains.by_ref().take(more).collect::<Vec<_>>().concat();
            assert_eq!([first[12..].to_vec(), rest].concat(), frame);
        }
        drop(chains);
        // What is left is used up, so that each round begins at the same buffer.
        let left = 30 - used.len();
        world.arrive((0..left).map(|_| frame(60, 0)));
        assert_eq!(world.used(RX).len(), left);
    }
}

#[test]
fn segments_of_a_connection_become_one_packet_that_can_be_cut_again() {
    let mut world = world(coalescing(), LARGE, 12);
    let arriving = segments(1, &[1460, 1460, 1460, 500]);

    world.arrive(arriving.clone());
    assert_eq!(world.used(RX), [], "a large receive is not complete yet");
    world.pass(INTERVAL);

    let used = world.used(RX);
    let (header, bytes) = packet(&world, &used);
    let payload = 3 * 1460 + 500;
    assert_eq!(bytes.len(), 54 + payload);
    // A checksum is missing; TCP over IPv4, 54 bytes of headers, the length of a segment, where the checksum goes.
    let [low, high] = u16::try_from(payload / 4).unwrap().to_le_bytes();
    assert_eq!(header, [1, 1, 54, 0, low, high, 34, 0, 16, 0, 5, 0]);
    let sent: Vec<_> = arriving.iter().flat_map(|s| s[54..].to_vec()).collect();
    assert_eq!(bytes[54..], sent);
    // With the sum over header and payload added to what is there, the checksum is right.
    let mut completed = bytes.clone();
    let sum = !ones_complement(&padded(&completed[34..]));
    completed[50..52].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(tcp_sum(&completed), 0xFFFF);
    assert_eq!(ones_complement(&completed[14..34]), 0xFFFF);
    let counters = world.stack.counters();
    assert_eq!(counters.rx_large, 1);
    assert_eq!(counters.rx_zero_copy, 1);
    assert_eq!(counters.rx_bytes_copied, 4 * 12);
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

#[test]
fn connections_that_alternate_come_back_whole_one_after_the_other() {
    let mut world = world(coalescing(), LARGE, 20);
    let first = segments(1, &[1460, 1460, 1460]);
    let second = segments(2, &[1400, 1400, 1400]);
    let turns = first.iter().zip(&second);

    world.arrive(turns.flat_map(|(a, b)| [a.clone(), b.clone()]));
    assert_eq!(world.used(RX), []);
    world.pass(INTERVAL);

    let used = world.used(RX);
    let (header, _) = packet(&world, &used);
    let (one, other) = used.split_at(header[10].into());
    let payload = |packets: &[Vec<u8>]| -> Vec<u8> {
        packets
            .iter()
            .flat_map(|packet| packet[54..].to_vec())
            .collect()
    };
    assert_eq!(packet(&world, one).1[54..], payload(&first));
    assert_eq!(packet(&world, other).1[54..], payload(&second));
    // What has come back is what was given first: another stack could go on from the index alone.
    let mut heads: Vec<_> = used.iter().map(|(head, _)| *head).collect();
    heads.sort_unstable();
    assert_eq!(
        heads,
        (0..u16::try_from(used.len()).unwrap()).collect::<Vec<_>>()
    );
    assert_eq!(world.stop(RX), u16::try_from(used.len()).unwrap());
}

#[test]
fn large_receives_are_split_too() {
    let settings = Settings {
        packet_split: Switch::On,
        ..coalescing()
    };
    let mut world = world(settings, LARGE, 12);
    let arriving = segments(1, &[1460, 1460]);

    world.arrive(arriving.clone());
    world.pass(INTERVAL);

    let used = world.used(RX);
    let (header, bytes) = packet(&world, &used);
    assert_eq!(header[..2], [1, 1]);
    let sent: Vec<_> = arriving.iter().flat_map(|s| s[54..].to_vec()).collect();
    assert_eq!(bytes[54..], sent);
    let sum = !ones_complement(&padded(&bytes[34..]));
    let mut completed = bytes.clone();
    completed[50..52].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(tcp_sum(&completed), 0xFFFF);
}

#[test]
fn large_receives_are_copied_in_copy_mode() {
    let settings = Settings {
        rx: Mode::Copy,
        ..coalescing()
    };
    let mut world = world(settings, LARGE, 12);
    let arriving = segments(1, &[1460, 1460, 1460]);

    world.arrive(arriving.clone());
    world.pass(INTERVAL);

    let used = world.used(RX);
    let (header, bytes) = packet(&world, &used);
    assert_eq!(header[..2], [1, 1]);
    let sent: Vec<_> = arriving.iter().flat_map(|s| s[54..].to_vec()).collect();
    assert_eq!(bytes[54..], sent);
    assert_eq!(world.stack.counters().rx_large, 1);
    assert_eq!(world.stack.counters().rx_copied, 1);
}

#[test]
fn a_guest_that_takes_no_large_receives_gets_none() {
    let mut world = world(coalescing(), MERGEABLE | GUEST_CSUM, 12);
    let arriving = segments(1, &[1460, 1460]);

    world.arrive(arriving);

    let used = world.used(RX);
    assert_eq!(used.len(), 2);
    assert_eq!(world.stack.counters().rx_large, 0);
}

#[test]
fn chains_too_small_for_a_piece_are_copied_to_amid_others() {
    let mut world = World::new(jumbo(Switch::Off), MERGEABLE);
    let lens = [
        1536, 1536, 600, 1536, 1536, 1536, 1536, 1536, 1536, 1536, 1536,
    ];
    for (nth, len) in (0_u64..).zip(lens) {
        world.add(RX, &[(BUFFERS + nth * 0x1000, len)], WRITE);
    }
    world.settle();
    let arriving = frame(9014, 7);

    world.arrive([arriving.clone()]);

    let used = world.used(RX);
    let (header, bytes) = packet(&world, &used);
    assert_eq!(usize::from(header[10]), used.len());
    assert_eq!(bytes, arriving);
    assert_eq!(world.stack.counters().rx_copied, 1);
}

#[test]
fn a_ring_that_stops_amid_a_jumbo_frame_gives_back_a_beginning_of_what_it_had() {
    let mut world = world(jumbo(Switch::Off), MERGEABLE, 5);
    world.arrive([frame(9014, 5)]);
    assert_eq!(world.used(RX), []);

    let base = world.stop(RX);

    assert_eq!(base, 5);
    assert_eq!(world.stack.counters().rx_no_room, 1);
    let empty: Vec<_> = (0..5).map(|head| (head, 0)).collect();
    assert_eq!(world.used(RX), empty);
}

#[test]
fn a_card_that_goes_amid_large_receives_leaves_each_chain_in_one_place() {
    let mut world = world(coalescing(), LARGE, 20);
    let first = segments(1, &[1460, 1460, 1460]);
    let second = segments(2, &[1400, 1400, 1400]);
    let turns = first.iter().zip(&second);
    world.arrive(turns.flat_map(|(a, b)| [a.clone(), b.clone()]));

    world.stack.unplug();
    world.plug();
    world.settle();
    world.arrive([frame(60, 1)]);

    let used = world.used(RX);
    let heads: Vec<_> = used.iter().map(|(head, _)| *head).collect();
    let mut sorted = heads.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        (0..u16::try_from(used.len()).unwrap()).collect::<Vec<_>>()
    );
    let (_, last) = packet(&world, &used[used.len() - 1..]);
    assert_eq!(last, frame(60, 1));
}

#[test]
fn a_jumbo_frame_larger_than_the_whole_ring_is_dropped_and_counted() {
    let mut world = World::new(jumbo(Switch::Off), MERGEABLE);
    world.stop(RX);
    world.start_with(RX, 0, 4);
    for nth in 0..4 {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE);
    }
    world.settle();

    world.arrive([frame(9014, 5)]);

    let empty: Vec<_> = (0..4).map(|head| (head, 0)).collect();
    assert_eq!(world.used(RX), empty);
    let counters = world.stack.counters();
    assert_eq!([counters.rx_no_room, counters.rx_zero_copy], [1, 0]);
    let head = world.add(RX, &[(BUFFERS, 1536)], WRITE);
    world.settle();
    world.arrive([frame(60, 6)]);
    assert_eq!(world.used(RX), [(head, 72)]);
}

#[test]
fn large_receives_that_are_not_complete_do_not_keep_the_chains_of_others_in_copy_mode() {
    let settings = Settings {
        rx: Mode::Copy,
        ..coalescing()
    };
    let mut world = world(settings, LARGE, 12);
    let first = segments(1, &[1460, 1460]);
    let second = segments(2, &[1460, 1460]);
    let turns = first.iter().zip(&second);
    let mut arriving: Vec<_> = turns.flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    // It does not continue its connection: what there is of that is complete.
    arriving.push(first[0].clone());

    world.arrive(arriving);

    assert_eq!(world.used(RX), [(0, 1536), (1, 12 + 54 + 2920 - 1536)]);
    world.pass(INTERVAL);
    assert_eq!(world.used(RX).len(), 3);
}
