//! Servers and front-ends that end, drivers that are loaded anew and rings that stop while the guest sends: a chain comes
//! back when its frame has been sent, and is not read any more then.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    dice::Dice,
    guest::{BUFFERS, RING, World, frame, settings},
};

const TX: usize = 1;
/// How the frames begin, behind their MAC header, whose chains are back.
const OVER: u32 = u32::MAX;

struct Sender {
    world: World,
    dice: Dice,
    /// Chains that the stack has, the oldest first, and the numbers of their frames.
    given: VecDeque<(u16, u32)>,
    /// How many have come back since the driver was loaded.
    back: u16,
    frames: u32,
    /// Numbers of the frames that are on the cable.
    sent: BTreeSet<u32>,
}

/// The frame with a number.
fn numbered(number: u32) -> Vec<u8> {
    let len = 60 + usize::try_from(number % 1400).unwrap();
    let mut frame = frame(len, number.to_le_bytes()[0]);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

fn page(head: u16) -> u64 {
    BUFFERS + u64::from(head) * 0x1000
}

impl Sender {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(settings(), 0),
            dice: Dice::new(seed),
            given: VecDeque::new(),
            back: 0,
            frames: 0,
            sent: BTreeSet::new(),
        }
    }

    fn give(&mut self) {
        if self.given.len() == usize::from(RING) {
            return;
        }
        self.frames += 1;
        let frame = [vec![0; 12], numbered(self.frames)].concat();
        let at = page(self.world.next_descriptor(TX));
        self.world.write(at, &frame);
        let len = u32::try_from(frame.len()).unwrap();
        let head = self.world.add(TX, &[(at, len)], 0);
        self.given.push_back((head, self.frames));
    }

    /// Looks at what is on the cable, and then at what has come back.
    fn check(&mut self) {
        self.look_at_the_cable();
        for (head, _) in self.world.used(TX) {
            let (given, number) = self.given.pop_front().unwrap();
            assert_eq!(head, given, "in the order given");
            assert!(self.sent.contains(&number), "frame {number} is not sent");
            self.world.write(page(head) + 12 + 14, &OVER.to_be_bytes());
            self.back = self.back.wrapping_add(1);
        }
    }

    fn look_at_the_cable(&mut self) {
        let Some(card) = self.world.stack.card() else {
            return;
        };
        for (frame, _) in card.device().wire().sent.drain(..) {
            let number = u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]]);
            assert!(number <= self.frames, "it was read too late");
            assert_eq!(frame, numbered(number));
            self.sent.insert(number);
        }
    }

    fn stop(&mut self) {
        let base = self.world.stop(TX);
        self.check();
        assert_eq!(base, self.back);
    }

    fn step(&mut self) {
        match self.dice.below(12) {
            0..4 => {
                let count = self.dice.below(30);
                (0..count).for_each(|_| self.give());
            }
            4..6 => self.world.settle(),
            6 => _ = self.world.stack.turn().unwrap(),
            7 => self.world.reach_the_card([]),
            8 => {
                self.look_at_the_cable();
                self.world.stack.unplug();
                self.check();
                self.world.plug();
            }
            9 => {
                self.stop();
                self.world.start(TX, self.back);
            }
            10 => {
                self.world.stack.lose_guest().unwrap();
                self.check();
                self.world.agree(0);
                self.world.start(TX, self.back);
            }
            _ => {
                self.stop();
                self.given.clear();
                self.back = 0;
                self.world.reload();
            }
        }
    }

    fn run(mut self) {
        for _ in 0..200 {
            self.step();
            self.check();
        }
        self.world.settle();
        self.check();
        assert_eq!(self.given, [], "they do not come back");
        assert!(self.sent.len() > 100, "too little is sent to see anything");
    }
}

#[test]
fn a_chain_comes_back_when_its_frame_is_sent_and_is_read_no_more() {
    (0..4).for_each(|seed| Sender::new(seed).run());
}
