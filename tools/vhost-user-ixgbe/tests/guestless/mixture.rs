//! Chains and frames of all kinds in any order: what comes back is what arrived, in chains in the order in which they
//! were given.

use std::collections::VecDeque;

use vhost_user_ixgbe::{negotiated::Switch, receive::Mode, stack::Settings};

use crate::{
    dice::Dice,
    guest::{BUFFERS, MERGEABLE, RING, WRITE, World, frame, settings, tcp},
};

const RX: usize = 0;
/// Bytes that may wait at the card: less than its packet buffer has.
const WAITING: usize = 100_000;

struct Mixture {
    world: World,
    dice: Dice,
    sizes: &'static [u32],
    longest: usize,
    /// Chains that were given and have not come back, the oldest first.
    given: VecDeque<u16>,
    /// Chains that have come back before others that were given earlier.
    early: Vec<u16>,
    /// Chains that have come back, and are not yet seen as packets.
    used: VecDeque<(u16, u32)>,
    arrived: VecDeque<Vec<u8>>,
}

impl Mixture {
    fn new(settings: Settings, features: u64, sizes: &'static [u32], seed: u64) -> Self {
        Self {
            world: World::new(settings, features),
            dice: Dice::new(seed),
            sizes,
            longest: usize::from(settings.mtu) + 14,
            given: VecDeque::new(),
            early: Vec::new(),
            used: VecDeque::new(),
            arrived: VecDeque::new(),
        }
    }

    fn give(&mut self, count: u64, sizes: &[u32]) {
        for _ in 0..count {
            let held = self.given.len() + self.early.len();
            if held >= usize::from(RING) - 1 {
                return;
            }
            let size = self.dice.one_of(sizes);
            let next = self.world.next_descriptor(RX);
            let at = BUFFERS + u64::from(next) * 0x1000;
            // One of no memory now and then.
            let at = if size == 0 { 1 } else { at };
            let head = self.world.add(RX, &[(at, size.max(100))], WRITE);
            self.given.push_back(head);
        }
    }

    fn arrive(&mut self, count: u64) {
        let waiting: usize = self.arrived.iter().map(Vec::len).sum();
        if waiting > WAITING {
            return;
        }
        let frames: Vec<_> = (0..count)
            .map(|nth| {
                let seed = u8::try_from(nth).unwrap() ^ self.dice.below(256).to_le_bytes()[0];
                let len = 60 + self.dice.below(self.longest as u64 - 59);
                let len = usize::try_from(len).unwrap();
                match self.dice.below(3) {
                    0 => frame(60, seed),
                    1 => frame(len, seed),
                    _ => tcp(len - 54),
                }
            })
            .collect();
        self.arrived.extend(frames.clone());
        self.world.arrive(frames);
    }

    /// Takes what has come back, and checks it.
    fn check(&mut self, seed: u64) {
        for (head, len) in self.world.used(RX) {
            self.used.push_back((head, len));
            self.early.push(head);
        }
        while let Some(first) = self.given.front()
            && let Some(at) = self.early.iter().position(|head| head == first)
        {
            self.early.swap_remove(at);
            self.given.pop_front();
        }
        assert!(
            self.early.is_empty(),
            "seed {seed}: {:?} came back before others that were given earlier",
            self.early
        );
        while let Some((head, len)) = self.used.pop_front() {
            if len == 0 {
                continue;
            }
            let first = self.chain(head, len);
            let mut bytes = first[12..].to_vec();
            for _ in 1..first[10] {
                let (head, len) = self.used.pop_front().unwrap();
                bytes.extend(self.chain(head, len));
            }
            assert_eq!(Some(bytes), self.arrived.pop_front(), "seed {seed}");
        }
    }

    fn chain(&self, head: u16, len: u32) -> Vec<u8> {
        let at = BUFFERS + u64::from(head) * 0x1000;
        self.world.read(at, usize::try_from(len).unwrap())
    }

    fn run(mut self, seed: u64) {
        for _ in 0..60 {
            match self.dice.below(3) {
                0 => {
                    let count = self.dice.below(30);
                    self.give(count, self.sizes);
                }
                1 => {
                    let count = self.dice.below(8);
                    self.arrive(count);
                }
                _ => self.world.settle(),
            }
            self.check(seed);
        }
        for _ in 0..200 {
            self.give(64, &[2048]);
            self.world.settle();
            self.check(seed);
        }
        assert_eq!(self.arrived.len(), 0, "seed {seed}: frames are missing");
    }
}

fn with(rx: Mode, packet_split: Switch, mtu: u16) -> Settings {
    Settings {
        rx,
        packet_split,
        mtu,
        ..settings()
    }
}

#[test]
fn whole_frames_in_mergeable_chains_of_any_size() {
    for seed in 0..12 {
        let settings = with(Mode::ZeroCopy, Switch::Off, 1500);
        Mixture::new(settings, MERGEABLE, &[0, 300, 1536, 1536, 1536, 2048], seed).run(seed);
    }
}

#[test]
fn payloads_in_chains_of_their_own() {
    for seed in 0..12 {
        let settings = with(Mode::ZeroCopy, Switch::On, 1500);
        Mixture::new(settings, MERGEABLE, &[0, 300, 1536, 1536, 1536, 2048], seed).run(seed);
    }
}

#[test]
fn payloads_behind_their_headers() {
    for seed in 0..12 {
        let settings = with(Mode::ZeroCopy, Switch::On, 1500);
        Mixture::new(settings, 0, &[0, 1530, 1536, 2048], seed).run(seed);
    }
}

#[test]
fn jumbo_frames_in_pieces() {
    for seed in 0..12 {
        let settings = with(Mode::ZeroCopy, Switch::Off, 9000);
        Mixture::new(settings, MERGEABLE, &[0, 300, 1536, 1536, 1536, 2048], seed).run(seed);
    }
}

#[test]
fn jumbo_frames_in_pieces_with_packet_split() {
    for seed in 0..12 {
        let settings = with(Mode::ZeroCopy, Switch::On, 9000);
        Mixture::new(settings, MERGEABLE, &[0, 300, 1536, 1536, 1536, 2048], seed).run(seed);
    }
}

#[test]
fn copies_of_all_of_them() {
    for seed in 0..12 {
        let settings = with(Mode::Copy, Switch::On, 9000);
        Mixture::new(settings, MERGEABLE, &[0, 300, 1536, 2048], seed).run(seed);
    }
}
