//! One to eight queue pairs: what RSS spreads, and to which of them.

use vhost_user_ixgbe::stack::Settings;

use crate::guest::{BUFFERS, WRITE, World, frame, settings};

/// Flows, each of one datagram.
const FLOWS: u8 = 100;
/// Where a frame tells its flow.
const HOST: usize = 29;
/// A guest has more chains in each ring than there are flows.
const CHAINS: u64 = 120;

/// A guest with so many pairs.
fn world(pairs: usize) -> World {
    world_with_chains(pairs, pairs)
}

/// The same of which only the first ones have chains.
fn world_with_chains(pairs: usize, with_chains: usize) -> World {
    let mut world = World::new(
        Settings {
            pairs,
            ..settings()
        },
        0,
    );
    for pair in 0..with_chains {
        for nth in 0..CHAINS {
            let at = BUFFERS + (pair as u64 * CHAINS + nth) * 2048;
            world.add(pair * 2, &[(at, 1600)], WRITE);
        }
    }
    world.settle();
    world
}

/// A datagram of each flow.
fn flows() -> impl Iterator<Item = Vec<u8>> {
    (0..FLOWS).map(|host| {
        let mut frame = frame(60, 0);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14..34].copy_from_slice(&[
            0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, host, 10, 0, 0, 2,
        ]);
        frame
    })
}

/// A datagram of each flow but these.
fn without(these: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    flows().filter(|frame| !these.contains(&frame[HOST]))
}

/// Which flows have arrived at each pair.
fn arrived(world: &mut World, pairs: usize) -> Vec<Vec<u8>> {
    let of_pair = |pair: usize| {
        let used = world.used(pair * 2);
        let at = |head| BUFFERS + (pair as u64 * CHAINS + u64::from(head)) * 2048;
        let hosts = used
            .iter()
            .map(|(head, _)| world.read(at(*head), 42)[12 + HOST]);
        hosts.collect()
    };
    (0..pairs).map(of_pair).collect()
}

fn enable(world: &mut World, pair: u32, enable: bool) {
    use vhost::vhost_user::VhostUserBackendReqHandlerMut;
    for ring in [pair * 2, pair * 2 + 1] {
        world.stack.set_vring_enable(ring, enable).unwrap();
    }
}

#[test]
fn each_of_one_to_eight_pairs_has_a_share_of_what_rss_spreads() {
    for pairs in 1..=8 {
        let mut world = world(pairs);

        world.arrive(flows());

        let shares = arrived(&mut world, pairs);
        let mut all = shares.concat();
        all.sort_unstable();
        assert_eq!(all, (0..FLOWS).collect::<Vec<_>>());
        let fewest = shares.iter().map(Vec::len).min().unwrap();
        assert!(fewest >= usize::from(FLOWS) / pairs / 4, "{shares:?}");
    }
}

#[test]
fn a_flow_stays_on_its_pair() {
    let mut world = world(8);
    world.arrive(flows());
    let first = arrived(&mut world, 8);

    world.arrive(flows());

    assert_eq!(arrived(&mut world, 8), first);
}

#[test]
fn what_arrives_goes_to_pairs_that_are_enabled_only() {
    let mut world = world(8);
    for pair in 1..8 {
        enable(&mut world, pair, false);
    }

    world.arrive(flows());
    let one = arrived(&mut world, 8);
    for pair in 1..8 {
        enable(&mut world, pair, true);
    }
    world.settle();
    // Pair 0 has few chains left, and its share needs no more.
    world.arrive(flows());
    let all = arrived(&mut world, 8);

    assert_eq!(one[0].len(), usize::from(FLOWS));
    assert!(one[1..].iter().all(Vec::is_empty), "{one:?}");
    assert_eq!(all.concat().len(), usize::from(FLOWS));
    assert!(all.iter().all(|share| !share.is_empty()), "{all:?}");
}

#[test]
fn a_pair_without_chains_does_not_hold_up_others() {
    let mut with_chains = world(2);
    with_chains.arrive(flows());
    let of_first = arrived(&mut with_chains, 2)[0].clone();
    let mut world = world_with_chains(2, 1);

    // More than the card's packet buffer has room for.
    world.arrive((0..240).flat_map(|_| without(&of_first)));
    world.arrive(flows());

    assert_eq!(arrived(&mut world, 2), [of_first, Vec::new()]);
}

#[test]
fn frames_of_all_pairs_leave_and_their_chains_come_back_on_each() {
    let mut world = world(8);
    for pair in 0..8_u8 {
        let at = BUFFERS + 0x20_0000 + u64::from(pair) * 2048;
        world.write(at, &[0; 12]);
        world.write(at + 12, &frame(60, pair));
        world.add(usize::from(pair) * 2 + 1, &[(at, 72)], 0);
    }

    let mut sent = world.sent();

    let back: Vec<_> = (0..8).map(|pair| world.used(pair * 2 + 1)).collect();
    assert_eq!(back, vec![vec![(0, 0)]; 8]);
    let mut frames: Vec<_> = (0..8).map(|pair| frame(60, pair)).collect();
    sent.sort_unstable();
    frames.sort_unstable();
    assert_eq!(sent, frames);
}
