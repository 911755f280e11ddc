//! Faults on a cable, seen from both of its ends.

use std::{os::fd::BorrowedFd, time::Duration};

use nic_model::{
    Time, Wire,
    fault::{Fault, FaultKind, FaultState, Target, Trigger},
    observe::Direction,
    wire::{Capabilities, Fcs, Flow, Offload, RxFrame, TxFrame, WireBusy},
};

use crate::{Backend, Counters, Damage, Tapped};

/// A wire that keeps what it gets, and has frames.
#[derive(Debug, Default)]
struct Ends {
    sent: Vec<Vec<u8>>,
    coming: Vec<Vec<u8>>,
    /// Frames that are taken before the wire is busy.
    room: Option<usize>,
    far_link: bool,
}

impl Wire for Ends {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        match &mut self.room {
            Some(0) => return Err(WireBusy),
            Some(room) => *room -= 1,
            None => {}
        }
        self.sent.push(frame.to_vec());
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let some = self.coming.len().min(budget);
        let frames: Vec<_> = self.coming.drain(..some).collect();
        frames.iter().for_each(|frame| {
            sink(&RxFrame::new(frame));
        });
        some
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Ends {
    fn describe(&self) -> String {
        "ends".to_owned()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn has_frames(&self) -> bool {
        !self.coming.is_empty()
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _now: Time) {}

    fn set_far_link(&mut self, up: bool) {
        self.far_link = up;
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A frame whose bytes behind the addresses and the type are `n`.
fn frame(n: u8) -> Vec<u8> {
    let mut frame = vec![n; 100];
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    frame
}

fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        target: Target::default(),
        trigger: Trigger::always(5),
        delay: None,
        every: None,
    }
}

fn nth(kind: FaultKind, nth: u64) -> Fault {
    let trigger = Trigger {
        nth: Some(nth),
        ..Trigger::always(5)
    };
    Fault {
        trigger,
        ..fault(kind)
    }
}

fn with(fault: Fault) -> Tapped<Ends> {
    let mut wire = Tapped::new(Ends::default());
    wire.advance(Time::ZERO);
    wire.add_fault(1, fault).unwrap();
    wire
}

fn arrive(wire: &mut Tapped<Ends>, frames: impl IntoIterator<Item = u8>) {
    for n in frames {
        wire.inject(&frame(n), Damage::default()).unwrap();
    }
}

/// What the port gets now.
fn received(wire: &mut Tapped<Ends>) -> Vec<(Vec<u8>, Fcs)> {
    let mut frames = Vec::new();
    wire.receive(64, &mut |frame| {
        frames.push(([frame.head, frame.body].concat(), frame.fcs));
        Flow::More
    });
    frames
}

/// The numbers of the frames that the port gets now.
fn numbers(wire: &mut Tapped<Ends>) -> Vec<u8> {
    let frames = received(wire);
    frames.iter().map(|(bytes, _)| bytes[50]).collect()
}

fn send(wire: &mut Tapped<Ends>, n: u8) -> Result<(), WireBusy> {
    wire.transmit(&TxFrame {
        head: &frame(n),
        payload: &[],
        offload: Offload::None,
    })
}

fn sent(wire: &Tapped<Ends>) -> Vec<u8> {
    wire.inner().sent.iter().map(|frame| frame[50]).collect()
}

fn at(time: Duration) -> Time {
    Time::ZERO + time
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_dropped_frame_never_comes() {
    let mut wire = with(nth(FaultKind::Drop, 2));

    arrive(&mut wire, 1..=3);

    assert_eq!(numbers(&mut wire), [1, 3]);
    let report = wire.fault_reports()[0];
    assert_eq!((report.seen, report.fired), (2, 1));
    assert_eq!(report.state, FaultState::Spent);
}

#[test]
fn frames_of_the_wire_behind_have_the_same_faults_as_injected_ones() {
    let mut wire = Tapped::new(Ends {
        coming: vec![frame(1), frame(2)],
        ..Ends::default()
    });
    wire.add_fault(1, nth(FaultKind::Drop, 1)).unwrap();

    assert_eq!(numbers(&mut wire), [2]);
}

#[test]
fn a_duplicated_frame_comes_twice() {
    let mut wire = with(nth(FaultKind::Duplicate, 1));

    arrive(&mut wire, 1..=2);

    assert_eq!(numbers(&mut wire), [1, 1, 2]);
}

#[test]
fn a_reordered_frame_comes_after_the_next_one_or_late() {
    let mut wire = with(nth(FaultKind::Reorder, 1));

    arrive(&mut wire, 1..=3);
    assert_eq!(numbers(&mut wire), [2, 1, 3]);
    wire.add_fault(2, nth(FaultKind::Reorder, 1)).unwrap();
    arrive(&mut wire, [4]);
    let alone = numbers(&mut wire);
    let deadline = wire.deadline();
    wire.advance(at(10 * MILLISECOND));

    assert_eq!(alone, [0; 0]);
    assert_eq!(deadline, Some(at(10 * MILLISECOND)));
    assert_eq!(numbers(&mut wire), [4]);
}

#[test]
fn a_delayed_frame_is_overtaken_and_comes_at_its_time() {
    let delay = Some(7 * MILLISECOND);
    let mut wire = with(Fault {
        delay,
        ..nth(FaultKind::Delay, 1)
    });

    arrive(&mut wire, 1..=2);
    let first = numbers(&mut wire);
    wire.advance(at(6 * MILLISECOND));
    let early = (numbers(&mut wire), wire.has_frames());
    wire.advance(at(7 * MILLISECOND));

    assert_eq!(first, [2]);
    assert_eq!(early, (vec![], false));
    assert!(wire.has_frames());
    assert_eq!(numbers(&mut wire), [1]);
}

#[test]
fn a_corrupted_frame_has_one_other_byte_behind_its_type_and_a_good_fcs() {
    let mut wire = with(nth(FaultKind::Corrupt, 1));

    arrive(&mut wire, [1]);
    let (bytes, fcs) = received(&mut wire).remove(0);

    let original = frame(1);
    let changed: Vec<_> = (0..100).filter(|at| bytes[*at] != original[*at]).collect();
    assert_eq!((changed.len(), fcs), (1, Fcs::Good));
    assert!(changed[0] >= 14);
}

#[test]
fn a_crc_error_is_a_wrong_fcs_and_nothing_else() {
    let mut wire = with(nth(FaultKind::Crc, 1));

    arrive(&mut wire, [1]);

    assert_eq!(received(&mut wire), [(frame(1), Fcs::Bad)]);
}

#[test]
fn a_length_error_is_a_length_that_is_not_the_payloads() {
    let mut wire = with(fault(FaultKind::Length));

    arrive(&mut wire, 0..50);

    for (bytes, fcs) in received(&mut wire) {
        let told = u16::from_be_bytes([bytes[12], bytes[13]]);
        assert!((87..=1500).contains(&told), "{told}");
        assert_eq!((bytes.len(), fcs), (100, Fcs::Good));
    }
}

#[test]
fn runts_and_giants_are_shorter_and_longer_than_any_frame() {
    let mut runts = with(fault(FaultKind::Runt));
    let mut giants = with(fault(FaultKind::Giant));

    arrive(&mut runts, 0..50);
    arrive(&mut giants, 0..5);

    let lengths = |frames: Vec<(Vec<u8>, Fcs)>| -> Vec<_> {
        frames.iter().map(|(bytes, _)| bytes.len()).collect()
    };
    assert!(
        lengths(received(&mut runts))
            .iter()
            .all(|len| (14..60).contains(len))
    );
    assert_eq!(lengths(received(&mut giants)), [16_000; 5]);
}

#[test]
fn frames_that_are_sent_have_faults_of_their_own() {
    let target = Target {
        direction: Some(Direction::Transmit),
        ..Target::default()
    };
    let mut wire = with(Fault {
        target,
        ..nth(FaultKind::Drop, 2)
    });

    for n in 1..=3 {
        send(&mut wire, n).unwrap();
    }
    arrive(&mut wire, 1..=3);

    assert_eq!(sent(&wire), [1, 3]);
    assert_eq!(numbers(&mut wire), [1, 2, 3]);
}

#[test]
fn a_busy_wire_behind_a_fault_loses_nothing() {
    let mut wire = Tapped::new(Ends {
        room: Some(1),
        ..Ends::default()
    });
    wire.add_fault(1, fault(FaultKind::Duplicate)).unwrap();

    let taken = send(&mut wire, 1);
    let refused = send(&mut wire, 2);
    wire.advance(at(MILLISECOND));

    assert_eq!((taken, refused), (Ok(()), Err(WireBusy)));
    assert_eq!(sent(&wire), [1]);
}

#[test]
fn a_flap_takes_the_carrier_at_both_ends_and_what_is_under_way() {
    let trigger = Trigger {
        count: Some(2),
        ..Trigger::always(0)
    };
    let mut wire = with(Fault {
        trigger,
        delay: Some(100 * MILLISECOND),
        ..fault(FaultKind::LinkFlap)
    });

    let down = (wire.carrier(), wire.inner().far_link, send(&mut wire, 1));
    wire.advance(at(100 * MILLISECOND));
    let up = (wire.carrier(), wire.inner().far_link);
    wire.advance(at(Duration::from_secs(1)));
    let again = wire.carrier();
    wire.advance(at(Duration::from_millis(1100)));
    wire.advance(at(Duration::from_secs(5)));

    assert_eq!(down, (false, false, Ok(())));
    assert_eq!(up, (true, true));
    assert!(!again && wire.carrier());
    assert_eq!(sent(&wire), [0; 0]);
    assert_eq!(wire.tapped_counters().unplugged_dropped, 1);
}

#[test]
fn a_cable_whose_faults_are_cleared_gives_back_what_it_holds() {
    let mut wire = with(fault(FaultKind::Delay));
    arrive(&mut wire, 1..=2);
    let held = numbers(&mut wire);

    let cleared = wire.clear_faults(Some(1));
    wire.advance(at(10 * MILLISECOND));

    assert_eq!((held, cleared), (vec![], 1));
    assert_eq!(numbers(&mut wire), [1, 2]);
    assert_eq!(wire.clear_faults(None), 0);
}

#[test]
fn the_same_seed_has_the_same_frames_dropped_corrupted_and_doubled() {
    let run = |seed| {
        let trigger = Trigger {
            probability: 0.3,
            ..Trigger::always(seed)
        };
        let kinds = [FaultKind::Drop, FaultKind::Corrupt, FaultKind::Duplicate];
        let mut wire = Tapped::new(Ends::default());
        for (id, kind) in (1..).zip(kinds) {
            let fault = Fault {
                trigger,
                ..fault(kind)
            };
            wire.add_fault(id, fault).unwrap();
        }
        arrive(&mut wire, 0..40);
        received(&mut wire)
    };

    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
