//! Decorated wires in model time.

use std::{
    collections::VecDeque,
    io::Write,
    os::{fd::AsRawFd, unix::net::UnixStream},
};

use nic_model::{
    Time, Wire,
    wire::{Flow, IpVersion, Offload, TxFrame, WireBusy},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proptest::prelude::*;

use super::{Decoration, rate::RateLimited};
use crate::{Backend, Cables, Counters, Kind, Loopback, Null, Pair, SEQUENCE, file};

fn wire(text: &str) -> Box<dyn Backend> {
    let kind: Kind = text.parse().unwrap();
    kind.open(&mut Cables::new()).unwrap()
}

fn decorated(wire: impl Backend + 'static, decorations: &[&str]) -> Box<dyn Backend> {
    decorations.iter().fold(Box::new(wire), |wire, text| {
        text.parse::<Decoration>().unwrap().put_on(wire).unwrap()
    })
}

fn nanos(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn plain(head: &[u8]) -> TxFrame<'_> {
    TxFrame {
        head,
        payload: &[],
        offload: Offload::None,
    }
}

fn take(wire: &mut (impl Wire + ?Sized), budget: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    wire.receive(budget, &mut |frame| {
        frames.push([frame.head, frame.body].concat());
        Flow::More
    });
    frames
}

/// Goes from deadline to deadline and sends a frame as soon as the wire takes it; when each was taken.
fn sending_times(wire: &mut dyn Backend, frame: &TxFrame<'_>, count: usize) -> Vec<u64> {
    let (mut now, mut times) = (Time::ZERO, Vec::new());
    wire.advance(now);
    while times.len() < count {
        if wire.transmit(frame).is_ok() {
            times.push(now.as_nanos());
        } else {
            now = wire.deadline().unwrap();
            wire.advance(now);
        }
    }
    times
}

/// Goes from deadline to deadline and takes what comes; when each came, and in which order.
fn arrival_times(wire: &mut dyn Backend, count: usize) -> Vec<(u64, Vec<u8>)> {
    let (mut now, mut times) = (Time::ZERO, Vec::new());
    wire.advance(now);
    while times.len() < count {
        times.extend(take(wire, 64).into_iter().map(|f| (now.as_nanos(), f)));
        if !wire.has_frames() {
            now = wire.deadline().unwrap();
            wire.advance(now);
        }
    }
    times
}

#[test]
fn shortest_frames_leave_at_14_880_952_a_second_to_the_nanosecond() {
    let mut wire = wire("null+rate=10G");

    let times = sending_times(&mut *wire, &plain(&[0; 60]), 14_881);

    // 84 bytes of 0.8 ns.
    let exact: Vec<u64> = (0..14_881_u64).map(|n| (n * 672).div_ceil(10)).collect();
    assert_eq!(times, exact);
    assert_eq!(times[14_880], 999_936);
}

#[test]
fn shortest_frames_arrive_at_14_880_952_a_second_to_the_nanosecond() {
    let mut wire = wire("generate:max,60+rate=line");

    let arrived = arrival_times(&mut *wire, 14_881);

    let times: Vec<u64> = arrived.iter().map(|(time, _)| *time).collect();
    let exact: Vec<u64> = (0..14_881_u64).map(|n| (n * 672).div_ceil(10)).collect();
    assert_eq!(times, exact);
    let number = |frame: &[u8]| u64::from_be_bytes(frame[SEQUENCE].try_into().unwrap());
    assert!(arrived.iter().map(|(_, f)| number(f)).eq(0..14_881));
}

#[test]
fn a_frame_of_1514_bytes_takes_1538_on_the_line() {
    let sent = sending_times(&mut *wire("null+rate=1G"), &plain(&[0; 1514]), 4);
    let arrived = arrival_times(&mut *wire("generate:max,1514+rate=1G"), 4);

    assert_eq!(sent, [0, 12_304, 24_608, 36_912]);
    assert!(arrived.iter().map(|(time, _)| *time).eq(sent));
}

#[test]
fn a_large_frame_holds_the_line_for_all_its_segments() {
    let large = TxFrame {
        head: &[0; 54 + 3 * 1460],
        payload: &[],
        offload: Offload::Segment {
            ip: IpVersion::V4,
            start: 34,
            header_len: 54,
            mss: 1460,
        },
    };

    let times = sending_times(&mut *wire("null+rate=10G"), &large, 3);

    // Three frames of 1538 bytes on the line are 3691.2 ns.
    assert_eq!(times, [0, 3_692, 7_383]);
}

#[test]
fn an_idle_line_carries_the_next_frame_at_once_and_gives_nothing_back() {
    let mut wire = wire("null+rate=10G");
    wire.advance(Time::ZERO);
    wire.transmit(&plain(&[0; 60])).unwrap();

    wire.advance(nanos(500));
    let first = wire.transmit(&plain(&[0; 60]));
    let second = wire.transmit(&plain(&[0; 60]));

    assert_eq!((first, second), (Ok(()), Err(WireBusy)));
    assert_eq!(wire.deadline(), Some(nanos(568)));
}

#[test]
fn frames_that_waited_are_caught_up_with_for_a_millisecond() {
    let mut wire = wire("null+rate=10G");
    wire.advance(Time::ZERO);
    while wire.transmit(&plain(&[0; 60])).is_ok() {}

    wire.advance(nanos(5_000_000));
    let sent = std::iter::repeat_with(|| wire.transmit(&plain(&[0; 60])))
        .take_while(Result::is_ok)
        .count();

    // A millisecond has room for 14 880.95 frames, and one begins now.
    assert_eq!(sent, 14_881);
}

#[test]
fn both_directions_have_the_line_to_themselves() {
    let mut wire = decorated(Loopback::new(), &["rate=10G"]);
    wire.advance(Time::ZERO);

    wire.transmit(&plain(&[1; 60])).unwrap();
    let came = take(&mut wire, 10);
    wire.advance(nanos(68));
    let again = wire.transmit(&plain(&[2; 60]));

    assert_eq!(came, [[1; 60]]);
    assert_eq!(again, Ok(()));
}

#[test]
fn a_frame_is_delivered_exactly_its_latency_later_in_each_direction() {
    let [near, far] = Pair::new("x").unwrap();
    let mut wire = decorated(near, &["latency=50us"]);
    let mut far: Box<dyn Backend> = Box::new(far);
    wire.advance(nanos(1_000));
    far.transmit(&plain(&[7; 60])).unwrap();
    wire.transmit(&plain(&[8; 60])).unwrap();
    let at_once = take(&mut wire, 10);

    let due = wire.deadline();
    wire.advance(nanos(50_999));
    let early = (take(&mut wire, 10), take(&mut far, 10));
    wire.advance(nanos(51_000));
    let there = (take(&mut wire, 10), take(&mut far, 10));

    assert_eq!(due, Some(nanos(51_000)));
    assert!(at_once.is_empty() && early.0.is_empty() && early.1.is_empty());
    assert_eq!(there, (vec![vec![7; 60]], vec![vec![8; 60]]));
}

#[test]
fn frames_beyond_the_room_of_a_long_cable_are_lost_and_counted() {
    let mut wire = wire("generate:max,1514+latency=1ms");
    wire.advance(Time::ZERO);

    for _ in 0..2_000 {
        wire.transmit(&plain(&[0; 3_000])).unwrap();
        take(&mut wire, 2);
    }
    wire.advance(nanos(1_000_000));
    for _ in 0..2_000 / 64 {
        wire.advance(nanos(1_000_000));
    }

    // 4 MiB hold 1368 frames of 3000 bytes and the 64 that each costs, and 2657 of 1514.
    let counters = wire.counters();
    assert_eq!((counters.tx_frames, counters.tx_dropped), (2_000, 632));
    assert_eq!(counters.rx_dropped, 4_000 - 2_657);
}

#[test]
fn a_line_behind_a_long_cable_makes_the_port_wait_and_loses_nothing() {
    let mut wire = wire("null+rate=100M+latency=50us");
    let frame = [0; 1514];

    let (mut sent, mut now) = (0, Time::ZERO);
    while sent < 1_000 {
        now = now.plus_nanos(5_000);
        wire.advance(now);
        let turn = std::iter::repeat_with(|| wire.transmit(&plain(&frame))).take(20);
        sent += turn.take_while(Result::is_ok).count();
    }
    while let Some(next) = wire.deadline() {
        now = next;
        wire.advance(now);
    }

    let counters = wire.counters();
    assert_eq!((counters.tx_dropped, counters.tx_frames), (0, sent as u64));
    // The last of them begins after the 123.04 us of each of the others.
    assert!(now.as_nanos() >= (sent as u64 - 1) * 123_040);
}

#[test]
fn the_link_passes_through() {
    let [near, mut far] = Pair::new("x").unwrap();
    let mut wire = decorated(near, &["rate=10G", "latency=1us"]);
    let both = (wire.carrier(), far.carrier());

    far.set_far_link(false);
    wire.set_far_link(false);

    assert_eq!(both, (true, true));
    assert_eq!((wire.carrier(), far.carrier()), (false, false));
}

#[test]
fn a_wire_whose_frames_may_not_come_yet_wakes_nobody() {
    let (far, near) = UnixStream::pair().unwrap();
    let mut wire = RateLimited::new(Ready::new(near), "1M".parse().unwrap());
    let is_ready = |wire: &RateLimited<Ready>| {
        let mut fds = [PollFd::new(wire.poll_fd().unwrap(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    };
    (&far).write_all(b"frames").unwrap();
    wire.advance(Time::ZERO);
    let before = is_ready(&wire);

    take(&mut wire, 10);
    let meanwhile = (is_ready(&wire), wire.has_frames(), wire.deadline());
    wire.advance(nanos(672_000));

    assert!(before);
    assert_eq!(meanwhile, (false, false, Some(nanos(672_000))));
    assert!(is_ready(&wire) && wire.has_frames());
    assert_eq!(wire.deadline(), None);
}

/// A wire with a descriptor and any number of frames.
#[derive(Debug)]
struct Ready {
    fd: UnixStream,
    inner: Loopback,
}

impl Ready {
    fn new(fd: UnixStream) -> Self {
        let mut inner = Loopback::new();
        for _ in 0..10 {
            inner.transmit(&plain(&[0; 60])).unwrap();
        }
        Self { fd, inner }
    }
}

impl Wire for Ready {
    fn capabilities(&self) -> nic_model::wire::Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.inner.transmit(frame)
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&nic_model::wire::RxFrame<'_>) -> Flow,
    ) -> usize {
        self.inner.receive(budget, sink)
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Ready {
    fn describe(&self) -> String {
        "ready".to_owned()
    }

    fn poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&self.fd))
    }

    /// Its descriptor tells.
    fn has_frames(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _now: Time) {}

    fn set_far_link(&mut self, _up: bool) {}

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

/// Frames that the port sends, and frames that come to it, in turns at any times.
fn acts() -> impl Strategy<Value = Vec<(u64, Vec<usize>, usize)>> {
    let turn = (
        0_u64..30_000,
        prop::collection::vec(60_usize..3_000, 0..6),
        0_usize..20,
    );
    prop::collection::vec(turn, 1..60)
}

fn numbered(number: usize, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    frame[..8].copy_from_slice(&number.to_le_bytes());
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_lost_or_overtaken(
        acts in acts(),
        decorations in prop::sample::subsequence(vec!["rate=1G", "latency=20us", "rate=10G"], 0..=3),
    ) {
        let [near, far] = Pair::new("x").unwrap();
        let mut wire = decorated(near, &decorations);
        let mut far: Box<dyn Backend> = Box::new(far);
        let (mut waiting, mut sent): (VecDeque<Vec<u8>>, _) = (VecDeque::new(), Vec::new());
        let (mut received, mut came) = (Vec::new(), Vec::new());
        let mut now = Time::ZERO;
        let mut acts = VecDeque::from(acts);
        let mut turns = 0;
        while turns < 20_000 && (!acts.is_empty() || came.len().min(received.len()) < sent.len()) {
            turns += 1;
            // Then from deadline to deadline.
            let until = wire.deadline().map_or(1_000, |due| {
                due.as_nanos().saturating_sub(now.as_nanos())
            });
            let (wait, lengths, budget) = acts.pop_front().unwrap_or((until, Vec::new(), 64));
            now = now.plus_nanos(wait);
            wire.advance(now);
            for len in lengths {
                let frame = numbered(sent.len(), len);
                waiting.push_back(frame.clone());
                sent.push(frame.clone());
                far.transmit(&plain(&frame)).unwrap();
            }
            while let Some(frame) = waiting.front() {
                if wire.transmit(&plain(frame)).is_err() {
                    break;
                }
                waiting.pop_front();
            }
            received.extend(take(&mut wire, budget));
            came.extend(take(&mut far, 1_000));
        }

        prop_assert_eq!(&received, &sent);
        prop_assert_eq!(&came, &sent);
    }
}

#[test]
fn a_capture_has_all_that_passes_with_direction_and_nanoseconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pcapng");
    let mut wire = decorated(
        Loopback::new(),
        &["latency=3us", &format!("capture={}", path.display())],
    );
    wire.advance(nanos(0));

    wire.transmit(&plain(&[1; 60])).unwrap();
    wire.advance(nanos(3_000));
    take(&mut wire, 64);
    wire.advance(nanos(6_007));
    take(&mut wire, 64);
    wire.transmit(&plain(&[2; 99])).unwrap();
    drop(wire);

    let mut reader = file::Reader::new(std::fs::File::open(&path).unwrap(), &path);
    while reader.fill().unwrap_or(false) {}
    let mut seen = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        seen.push((frame.time.unwrap(), frame.bytes.to_vec()));
    }
    let start = seen[0].0;
    let expected = [(0, vec![1; 60]), (6_007, vec![1; 60]), (6_007, vec![2; 99])];
    assert!(
        seen.into_iter()
            .map(|(time, f)| (time - start, f))
            .eq(expected)
    );
}

#[test]
fn a_capture_is_in_its_file_while_the_wire_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.pcapng");
    let mut wire = decorated(Loopback::new(), &[&format!("capture={}", path.display())]);
    wire.advance(nanos(0));
    wire.transmit(&plain(&[1; 60])).unwrap();

    let flush = wire.deadline();
    wire.advance(nanos(20_000_000));

    assert_eq!(flush, Some(nanos(20_000_000)));
    while file::read(&path).map_or(0, |read| read.frames.len()) == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_capture_that_cannot_be_written_is_counted_and_the_traffic_goes_on() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let path = format!("capture=/proc/self/fd/{}", writer.as_raw_fd());
    let mut wire = decorated(Null::new(), &[&path]);
    drop((reader, writer));
    wire.advance(nanos(0));

    let mut now = 0;
    while wire.counters().capture_lost == 0 {
        now += 20_000_000;
        wire.transmit(&plain(&[1; 60])).unwrap();
        wire.advance(nanos(now));
        std::thread::yield_now();
    }

    assert!(wire.counters().tx_frames > 0);
}

#[test]
fn a_capture_in_no_folder_is_refused_with_its_path() {
    let error = |text: &str| {
        let decoration: Decoration = text.parse().unwrap();
        let error = decoration.put_on(Box::new(Loopback::new())).unwrap_err();
        error.to_string()
    };

    assert!(error("capture=/no/such/run.pcapng").contains("/no/such/run.pcapng"));
    assert!(error("capture=/dev/full").contains("/dev/full"));
}
