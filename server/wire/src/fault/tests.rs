//! Faults on a cable, seen from both of its ends.

use std::{cell::Cell, os::fd::BorrowedFd, time::Duration};

use nic_model::{
    Time, Wire,
    fault::{Fault, FaultKind, FaultState, Target, Trigger},
    observe::Direction,
    wire::{Capabilities, Fcs, Flow, IpVersion, Offload, RxFrame, TxFrame, WireBusy},
};

use super::WireFaults;
use crate::{Backend, Counters, Damage, Plug, Tapped};

/// A wire that keeps what it gets, and has frames.
#[derive(Debug, Default)]
struct Ends {
    sent: Vec<Vec<u8>>,
    coming: Vec<Vec<u8>>,
    /// Frames that are taken before the wire is busy.
    room: Cell<Option<usize>>,
    far_link: bool,
}

impl Wire for Ends {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        match self.room.get() {
            Some(0) => return Err(WireBusy),
            Some(room) => self.room.set(Some(room - 1)),
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
    wire.add_fault(1, fault, Time::ZERO).unwrap();
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
    wire.add_fault(1, nth(FaultKind::Drop, 1), Time::ZERO)
        .unwrap();

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
    wire.add_fault(2, nth(FaultKind::Reorder, 1), Time::ZERO)
        .unwrap();
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

    let frames = received(&mut wire);
    assert_eq!(frames.len(), 50);
    for (bytes, fcs) in frames {
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
    let short = lengths(received(&mut runts));
    assert_eq!(short.len(), 50);
    assert!(short.iter().all(|len| (14..60).contains(len)), "{short:?}");
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
        room: Cell::new(Some(1)),
        ..Ends::default()
    });
    wire.add_fault(1, fault(FaultKind::Duplicate), Time::ZERO)
        .unwrap();

    let taken = send(&mut wire, 1);
    let refused = send(&mut wire, 2);
    wire.advance(at(MILLISECOND));
    let busy = sent(&wire);
    wire.inner().room.set(None);
    wire.advance(at(2 * MILLISECOND));

    assert_eq!((taken, refused), (Ok(()), Err(WireBusy)));
    assert_eq!(busy, [1]);
    assert_eq!(sent(&wire), [1, 1]);
}

#[test]
fn a_dropped_frame_of_either_direction_is_counted_also_when_the_fault_is_gone() {
    let mut wire = with(fault(FaultKind::Drop));

    send(&mut wire, 1).unwrap();
    arrive(&mut wire, 2..=3);
    let received = numbers(&mut wire);
    let counted = wire.tapped_counters().fault_dropped;
    wire.clear_faults(None);

    assert_eq!((sent(&wire), received), (vec![], vec![]));
    assert_eq!((counted, wire.tapped_counters().fault_dropped), (3, 3));
}

#[test]
fn a_burst_that_is_late_leaves_in_turns() {
    let mut wire = with(fault(FaultKind::Delay));
    (0..300).for_each(|n| send(&mut wire, u8::try_from(n % 256).unwrap()).unwrap());

    wire.advance(at(10 * MILLISECOND));
    let (first, rest) = (sent(&wire).len(), wire.deadline());
    wire.advance(at(10 * MILLISECOND));

    assert_eq!((first, rest), (256, Some(at(10 * MILLISECOND))));
    assert_eq!(sent(&wire).len(), 300);
}

#[test]
fn a_large_frame_that_is_cut_small_leaves_before_the_next_is_taken() {
    let mut never = fault(FaultKind::Drop);
    never.trigger.nth = Some(1_000_000);
    let mut wire = with(never);
    let mut large = vec![0; 54 + 2000];
    large[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    large[16..18].copy_from_slice(&2040_u16.to_be_bytes());
    large[23] = 6;
    large[46] = 0x50;
    let large = TxFrame {
        head: &large,
        payload: &[],
        offload: Offload::Segment {
            ip: IpVersion::V4,
            start: 34,
            header_len: 54,
            mss: 1,
        },
    };

    let first = wire.transmit(&large);
    let second = wire.transmit(&large);
    while wire.inner().sent.len() < 2000 {
        wire.advance(at(Duration::ZERO));
    }
    let third = wire.transmit(&large);

    assert_eq!((first, second, third), (Ok(()), Err(WireBusy), Ok(())));
    assert!(wire.inner().sent.len() < 4000);
}

/// A flap that takes the carrier away for so long.
fn flap(delay: Duration) -> Fault {
    Fault {
        delay: Some(delay),
        ..fault(FaultKind::LinkFlap)
    }
}

#[test]
fn a_flap_takes_the_carrier_at_both_ends_and_what_is_sent_meanwhile() {
    let trigger = Trigger {
        count: Some(2),
        ..Trigger::always(0)
    };
    let mut wire = with(Fault {
        trigger,
        ..flap(100 * MILLISECOND)
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
fn a_fault_begins_when_it_is_asked_for_and_not_when_the_cable_was_served_last() {
    let mut wire = Tapped::new(Ends::default());
    let now = at(Duration::from_secs(10));
    wire.advance(Time::ZERO);

    wire.add_fault(1, flap(100 * MILLISECOND), now).unwrap();
    wire.advance(now);
    let down = wire.carrier();
    wire.advance(now + 100 * MILLISECOND);

    assert!(!down && wire.carrier());
}

/// A cable on which two frames that come and one that goes are late, until 10 ms.
fn with_late_frames() -> Tapped<Ends> {
    let mut wire = with(fault(FaultKind::Delay));
    arrive(&mut wire, 1..=2);
    assert_eq!(numbers(&mut wire), [0; 0]);
    send(&mut wire, 3).unwrap();
    wire
}

#[test]
fn late_frames_of_both_directions_are_lost_with_the_carrier() {
    let mut flapped = with_late_frames();
    flapped
        .add_fault(2, flap(MILLISECOND), at(5 * MILLISECOND))
        .unwrap();
    let mut pulled = with_late_frames();
    pulled.set_plug(Plug::Out);
    pulled.set_plug(Plug::In);
    let mut whole = with_late_frames();
    // The last one flaps when the frames are due.
    let mut late = with_late_frames();
    let later = Trigger {
        nth: Some(2),
        ..Trigger::always(0)
    };
    let second = Fault {
        trigger: later,
        every: Some(10 * MILLISECOND),
        ..flap(MILLISECOND)
    };
    late.add_fault(2, second, Time::ZERO).unwrap();

    let fates = [&mut flapped, &mut pulled, &mut late, &mut whole].map(|wire| {
        (10..=20).for_each(|time| wire.advance(at(time * MILLISECOND)));
        let lost = wire.tapped_counters().unplugged_dropped;
        (sent(wire), numbers(wire), lost)
    });

    let lost = (vec![], vec![], 3);
    assert_eq!(
        fates,
        [lost.clone(), lost.clone(), lost, (vec![3], vec![1, 2], 0)]
    );
}

#[test]
fn a_flap_that_is_cleared_leaves_the_carrier_away_for_the_others() {
    let mut wire = with(flap(100 * MILLISECOND));
    wire.add_fault(2, flap(50 * MILLISECOND), Time::ZERO)
        .unwrap();

    wire.clear_faults(Some(1));
    let down = wire.carrier();
    wire.advance(at(50 * MILLISECOND));

    assert!(!down && wire.carrier());
}

#[test]
fn of_flaps_that_are_forgotten_nothing_is_kept() {
    let mut faults = WireFaults::default();
    faults
        .add(0, flap(Duration::from_secs(3600)), Time::ZERO)
        .unwrap();

    for id in 1..=100 {
        faults.add(id, flap(MILLISECOND), Time::ZERO).unwrap();
    }
    let kept = (faults.reports().len(), faults.next.len(), faults.down.len());
    faults.advance(at(MILLISECOND));

    assert_eq!(kept, (64, 64, 64));
    assert!(!faults.is_down(), "the first can be cleared no more");
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
            wire.add_fault(id, fault, Time::ZERO).unwrap();
        }
        arrive(&mut wire, 0..40);
        received(&mut wire)
    };

    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
