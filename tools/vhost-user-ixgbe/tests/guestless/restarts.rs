//! Servers and front-ends that end, drivers that are loaded anew and rings that stop, in any order and amid frames:
//! nothing is written to a page that the guest has back, and no buffer is lost.

use std::collections::VecDeque;

use vhost_user_ixgbe::{negotiated::Switch, receive::Mode, stack::Settings};

use crate::{
    dice::Dice,
    guest::{BUFFERS, MERGEABLE, RING, WRITE, World, frame, settings},
    pieces::{INTERVAL, LARGE, coalescing, segment},
};

const RX: usize = 0;
const PAGE: u64 = 0x1000;
/// How the pages begin that are the guest's own. Whatever is written to one begins there.
const OWN: [u8; 64] = [0xEE; 64];

/// Bytes of headers, and of the payload of each segment: what a large receive is made of.
const HEADERS: usize = 54;
const PAYLOAD: usize = 1000;
const CONNECTIONS: u8 = 3;

/// What arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    /// Frames of any length.
    Frames,
    /// Segments that the card coalesces.
    Connections,
}

struct Life {
    traffic: Traffic,
    features: u64,
    world: World,
    dice: Dice,
    longest: u64,
    /// Chains that the stack has, the oldest first.
    given: VecDeque<u16>,
    /// How many have come back since the driver was loaded.
    back: u16,
    /// Frames or, of each connection, payloads that have arrived at a card and not at the guest, some of which are lost.
    arrived: [VecDeque<Vec<u8>>; CONNECTIONS as usize],
    frames: u32,
    sequences: [u32; CONNECTIONS as usize],
    /// Those that have arrived at the guest.
    delivered: usize,
}

impl Life {
    fn new(settings: Settings, seed: u64) -> Self {
        let (traffic, features) = match settings.offer.large_receive {
            Switch::Off => (Traffic::Frames, MERGEABLE),
            Switch::On => (Traffic::Connections, LARGE),
        };
        let life = Self {
            traffic,
            features,
            world: World::new(settings, features),
            dice: Dice::new(seed),
            longest: u64::from(settings.mtu) + 14,
            given: VecDeque::new(),
            back: 0,
            arrived: Default::default(),
            frames: 0,
            sequences: [1; CONNECTIONS as usize],
            delivered: 0,
        };
        life.own_all();
        life
    }

    fn own_all(&self) {
        (0..RING).for_each(|head| self.world.write(Self::page(head), &OWN));
    }

    fn page(head: u16) -> u64 {
        BUFFERS + u64::from(head) * PAGE
    }

    fn give(&mut self, count: u64) {
        for _ in 0..count {
            if self.given.len() == usize::from(RING) {
                return;
            }
            let at = Self::page(self.world.next_descriptor(RX));
            let head = self.world.add(RX, &[(at, 1536)], WRITE);
            self.given.push_back(head);
        }
    }

    fn frames(&mut self, count: u64) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.frame()).collect()
    }

    fn frame(&mut self) -> Vec<u8> {
        self.frames += 1;
        if self.traffic == Traffic::Connections {
            let connection = u8::try_from(self.dice.below(CONNECTIONS.into())).unwrap();
            let payload = self.frames.to_be_bytes().repeat(PAYLOAD / 4);
            let index = usize::from(connection);
            self.arrived[index].push_back(payload.clone());
            let sequence = self.sequences[index];
            self.sequences[index] += u32::try_from(PAYLOAD).unwrap();
            return segment(connection, sequence, &payload);
        }
        let len = 60 + self.dice.below(self.longest - 59);
        let mut frame = frame(usize::try_from(len).unwrap(), 0);
        frame[14..18].copy_from_slice(&self.frames.to_be_bytes());
        self.arrived[0].push_back(frame.clone());
        frame
    }

    /// A packet has arrived at the guest.
    fn deliver(&mut self, bytes: &[u8]) {
        let (of, parts) = match self.traffic {
            Traffic::Frames => (0, vec![bytes]),
            Traffic::Connections => (bytes[35], bytes[HEADERS..].chunks(PAYLOAD).collect()),
        };
        let arrived = &mut self.arrived[usize::from(of)];
        for part in parts {
            let lost = arrived.iter().position(|arrived| arrived == part);
            let lost = lost.expect("what has arrived, in its order, and once");
            arrived.drain(..=lost);
            self.delivered += 1;
        }
    }

    /// Takes what has come back, and looks at all pages.
    fn check(&mut self) {
        let mut used: VecDeque<_> = self.world.used(RX).into();
        // Packets come back in another order than their chains were given, but they leave none out.
        let heads: Vec<_> = used.iter().map(|(head, _)| *head).collect();
        let mut first = self.given.iter().take(heads.len());
        assert!(first.all(|head| heads.contains(head)), "{heads:?}");
        while let Some((head, len)) = used.pop_front() {
            let first = self.take_back(head, len);
            if first.is_empty() {
                continue;
            }
            let mut bytes = first[12..].to_vec();
            for _ in 1..first[10] {
                let (head, len) = used.pop_front().unwrap();
                bytes.extend(self.take_back(head, len));
            }
            self.deliver(&bytes);
        }
        let mut own = [true; RING as usize];
        for head in &self.given {
            own[usize::from(*head)] = false;
        }
        for (head, _) in (0..RING).zip(own).filter(|(_, own)| *own) {
            let page = self.world.read(Self::page(head), OWN.len());
            assert_eq!(page, OWN, "page {head} was written to");
        }
    }

    /// A chain that has come back: its bytes, and the page is the guest's again.
    fn take_back(&mut self, head: u16, len: u32) -> Vec<u8> {
        let at = self.given.iter().position(|given| *given == head).unwrap();
        self.given.remove(at);
        self.back = self.back.wrapping_add(1);
        let page = Self::page(head);
        let bytes = self.world.read(page, usize::try_from(len).unwrap());
        self.world.write(page, &OWN);
        bytes
    }

    /// Stops the ring, behind the chains that have come back.
    fn stop(&mut self) {
        let base = self.world.stop(RX);
        self.check();
        assert_eq!(base, self.back);
    }

    /// The server ends at any message of those that follow, and another one begins.
    fn end_the_server_soon(&mut self) {
        let messages = self.dice.below(40);
        let frames = self.frames(6);
        let wire = self.world.stack.card().unwrap().device().wire();
        wire.incoming.extend(frames);
        self.give(10);
        self.world
            .stack
            .card()
            .unwrap()
            .device()
            .ends_after(messages);
        let settled = self.world.try_to_settle();
        if settled.is_err() {
            self.world.stack.unplug();
            self.check();
        } else if self.dice.below(2) == 0 {
            self.stop();
            self.world.start(RX, self.back);
        } else {
            // What it answers does not matter: there is a card no more.
            let _ = self.world.stack.lose_guest();
            self.check();
            self.world.agree(self.features);
            self.world.start(RX, self.back);
        }
        self.world.plug();
    }

    fn step(&mut self) {
        match self.dice.below(14) {
            0..3 => {
                let count = self.dice.below(60);
                self.give(count);
            }
            3..6 => {
                let count = self.dice.below(12);
                let frames = self.frames(count);
                self.world.arrive(frames);
            }
            6..8 => {
                let count = self.dice.below(12);
                let frames = self.frames(count);
                self.world.reach_the_card(frames);
            }
            8 => {
                self.world.stack.unplug();
                self.check();
                self.world.plug();
            }
            9 => self.end_the_server_soon(),
            10 => {
                self.stop();
                self.world.start(RX, self.back);
            }
            11 => self.world.pass(INTERVAL),
            12 => {
                self.world.stack.lose_guest().unwrap();
                self.check();
                self.world.agree(self.features);
                self.world.start(RX, self.back);
            }
            _ => {
                self.stop();
                self.given.clear();
                self.back = 0;
                self.own_all();
                self.world.reload();
            }
        }
    }

    fn run(mut self) {
        for _ in 0..80 {
            self.step();
            self.check();
        }
        // Whatever is not back comes back; with two more chains for a packet that waits for them.
        self.longest = 60;
        let given = u16::try_from(self.given.len()).unwrap();
        let all = self.back.wrapping_add(given);
        let mut rounds = 0;
        while all.wrapping_sub(self.back).cast_signed() > 0 {
            self.give(2);
            let frames = self.frames(8);
            self.world.arrive(frames);
            self.world.pass(INTERVAL);
            self.check();
            rounds += 1;
            assert!(rounds < RING, "chains are lost");
        }
        assert!(self.delivered > 5, "too little arrives to see anything");
    }
}

#[test]
fn frames_in_one_chain() {
    (0..3).for_each(|seed| Life::new(settings(), seed).run());
}

#[test]
fn frames_with_packet_split() {
    let split = Settings {
        packet_split: Switch::On,
        ..settings()
    };
    (0..3).for_each(|seed| Life::new(split, seed).run());
}

#[test]
fn jumbo_frames_over_several_chains() {
    let jumbo = Settings {
        mtu: 9000,
        ..settings()
    };
    (0..3).for_each(|seed| Life::new(jumbo, seed).run());
}

#[test]
fn frames_that_are_copied() {
    let copying = Settings {
        rx: Mode::Copy,
        ..settings()
    };
    (0..3).for_each(|seed| Life::new(copying, seed).run());
}

#[test]
fn large_receives_over_several_chains() {
    (0..3).for_each(|seed| Life::new(coalescing(), seed).run());
}

#[test]
fn large_receives_that_are_copied() {
    let copying = Settings {
        rx: Mode::Copy,
        ..coalescing()
    };
    (0..3).for_each(|seed| Life::new(copying, seed).run());
}
