//! A cable with a person at it.

use std::sync::{Arc, Mutex};

use etherparse::PacketBuilder;
use nic_model::{
    bus::Span,
    offload::Sum,
    wire::{IpVersion, Offload},
};
use vm_memory::VolatileSlice;

use super::*;
use crate::{Direction, Loopback, Null};

type Seen = Arc<Mutex<Vec<(Direction, Vec<u8>)>>>;

/// A sink that takes so many frames.
struct Sink(Seen, usize);

impl CaptureSink for Sink {
    fn frame(&mut self, frame: &Passing<'_>) -> Capture {
        let mut seen = self.0.lock().unwrap();
        if seen.len() >= self.1 {
            return Capture::Ended;
        }
        seen.push((frame.direction, [frame.head, frame.body].concat()));
        Capture::Continue
    }

    fn has_ended(&self) -> bool {
        self.0.lock().unwrap().len() >= self.1
    }
}

fn plain(head: &[u8]) -> TxFrame<'_> {
    TxFrame {
        head,
        payload: &[],
        offload: Offload::None,
    }
}

fn receive(wire: &mut impl Wire, budget: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    wire.receive(budget, &mut |frame| {
        frames.push([frame.head, frame.body].concat());
        Flow::More
    });
    frames
}

/// A TCP segment of IPv4 whose checksum is left to the wire.
fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1, 2, 3, 4)
        .write(&mut frame, payload)
        .unwrap();
    let mut seed = Sum::of(&frame[26..34]);
    seed.add_number(6 + 20 + payload.len() as u64);
    frame[50..52].copy_from_slice(&seed.folded().to_be_bytes());
    frame
}

#[test]
fn injected_frames_come_before_those_of_the_wire_and_within_the_budget() {
    let mut wire = Tapped::new(Loopback::new());
    wire.transmit(&plain(&[1; 60])).unwrap();
    wire.inject(&[2; 60], Damage::default()).unwrap();
    wire.inject(&[3; 60], Damage::default()).unwrap();

    let first = receive(&mut wire, 1);
    let rest = receive(&mut wire, 10);

    assert_eq!(first, [[2; 60]]);
    assert_eq!(rest, [[3; 60], [1; 60]]);
    assert_eq!(wire.tapped_counters().injected, 2);
}

#[test]
fn a_damaged_frame_arrives_as_it_is_and_the_next_is_good() {
    let mut wire = Tapped::new(Null::new());
    let damage = Damage {
        fcs: Fcs::Bad,
        short: Short::Runt,
    };
    wire.inject(&[2; 20], damage).unwrap();
    wire.inject(&[3; 20], Damage::default()).unwrap();

    let mut seen = Vec::new();
    wire.receive(10, &mut |frame| {
        seen.push((frame.len(), frame.fcs));
        Flow::More
    });
    // The buffer of the damaged frame is used again.
    wire.inject(&[4; 60], Damage::default()).unwrap();
    wire.receive(10, &mut |frame| {
        seen.push((frame.len(), frame.fcs));
        Flow::More
    });

    assert_eq!(seen, [(20, Fcs::Bad), (60, Fcs::Good), (60, Fcs::Good)]);
}

#[test]
fn a_sink_that_stops_keeps_injected_frames_waiting() {
    let mut wire = Tapped::new(Null::new());
    wire.inject(&[2; 60], Damage::default()).unwrap();
    wire.inject(&[3; 60], Damage::default()).unwrap();

    let count = wire.receive(10, &mut |_| Flow::Stop);

    assert_eq!(count, 1);
    assert!(wire.has_frames());
    assert_eq!(receive(&mut wire, 10), [[3; 60]]);
}

#[test]
fn what_fits_no_cable_or_no_queue_is_refused() {
    let mut wire = Tapped::new(Null::new());

    let short = wire.inject(&[0; 13], Damage::default());
    let long = wire.inject(&[0; 16_384], Damage::default());
    let fits = (0..300)
        .filter(|_| wire.inject(&[0; 16_383], Damage::default()).is_ok())
        .count();

    assert_eq!(short, Err(InjectError::Length { len: 13 }));
    assert_eq!(long, Err(InjectError::Length { len: 16_384 }));
    // 4 MiB.
    assert_eq!(fits, 256);
    assert_eq!(wire.tapped_counters().inject_refused, 44);
}

#[test]
fn a_pulled_cable_loses_frames_of_both_directions() {
    let mut wire = Tapped::new(Loopback::new());
    wire.transmit(&plain(&[1; 60])).unwrap();
    wire.inject(&[2; 60], Damage::default()).unwrap();
    wire.set_plug(Plug::Out);

    wire.transmit(&plain(&[3; 60])).unwrap();
    let received = receive(&mut wire, 10);
    let refused = wire.inject(&[4; 60], Damage::default());
    let carrier = wire.carrier();
    wire.set_plug(Plug::In);

    assert_eq!(received, Vec::<Vec<u8>>::new());
    assert_eq!(refused, Err(InjectError::Unplugged));
    assert_eq!((carrier, wire.carrier()), (false, true));
    assert_eq!(wire.tapped_counters().unplugged_dropped, 3);
    assert_eq!(receive(&mut wire, 10), Vec::<Vec<u8>>::new());
}

#[test]
fn a_capture_sees_sent_received_and_injected_frames_until_it_ends() {
    let mut wire = Tapped::new(Loopback::new());
    let seen = Seen::default();
    assert!(wire.capture(Box::new(Sink(Arc::clone(&seen), 3))));

    wire.transmit(&plain(&[1; 60])).unwrap();
    wire.inject(&[2; 20], Damage::default()).unwrap();
    receive(&mut wire, 10);
    wire.transmit(&plain(&[3; 60])).unwrap();

    let padded = [vec![2; 20], vec![0; 40]].concat();
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (Direction::Transmit, vec![1; 60]),
            (Direction::Receive, padded),
            (Direction::Receive, vec![1; 60])
        ]
    );
    assert!(wire.captures.is_empty());
}

#[test]
fn captures_that_have_ended_make_room_also_on_a_silent_cable() {
    let mut wire = Tapped::new(Null::new());
    let capture = |takes: usize| Box::new(Sink(Seen::default(), takes));
    let running = (0..MAX_CAPTURES - 1).filter(|_| wire.capture(capture(9)));
    assert_eq!(running.count(), MAX_CAPTURES - 1);
    assert!(wire.capture(capture(0)));

    let in_place_of_the_ended = wire.capture(capture(9));
    let one_more = wire.capture(capture(9));

    assert!(in_place_of_the_ended);
    assert!(!one_more);
}

#[test]
fn a_large_frame_is_captured_as_the_segments_it_becomes() {
    let mut payload: Vec<u8> = (0..250).collect();
    let frame = tcp(&payload);
    let mut wire = Tapped::new(Null::new());
    let seen = Seen::default();
    wire.capture(Box::new(Sink(Arc::clone(&seen), 100)));

    wire.transmit(&TxFrame {
        head: &frame[..54],
        payload: &[Span::Mapped(VolatileSlice::from(&mut payload[..]))],
        offload: Offload::Segment {
            ip: IpVersion::V4,
            start: 34,
            header_len: 54,
            mss: 100,
        },
    })
    .unwrap();

    let seen = seen.lock().unwrap();
    let lengths: Vec<_> = seen.iter().map(|(_, frame)| frame.len()).collect();
    assert_eq!(lengths, [154, 154, 104]);
    let joined: Vec<u8> = seen
        .iter()
        .flat_map(|(_, frame)| frame[54..].to_vec())
        .collect();
    assert_eq!(joined, payload);
}

#[test]
fn a_frame_whose_checksum_is_left_to_the_wire_is_captured_with_it() {
    let frame = tcp(b"hello");
    let mut wire = Tapped::new(Null::new());
    let seen = Seen::default();
    wire.capture(Box::new(Sink(Arc::clone(&seen), 100)));

    wire.transmit(&TxFrame {
        offload: Offload::Checksum {
            start: 34,
            offset: 16,
        },
        ..plain(&frame)
    })
    .unwrap();

    let seen = seen.lock().unwrap();
    let packet = etherparse::SlicedPacket::from_ethernet(&seen[0].1).unwrap();
    let Some(etherparse::TransportSlice::Tcp(tcp)) = packet.transport else {
        panic!("no TCP")
    };
    let expected = tcp
        .calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2])
        .unwrap();
    assert_eq!(tcp.checksum(), expected);
}
