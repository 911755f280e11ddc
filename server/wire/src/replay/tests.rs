//! Replays in model time.

use std::{
    fs,
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use nic_model::{
    Time, Wire,
    wire::{Flow, Offload, TxFrame},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pcap_file::{
    DataLink, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
};
use tempfile::TempDir;

use super::{Replay, ReplayOptions};
use crate::{Backend, file};

/// A pcap file of frames at these nanoseconds of 2020 or so, with these lengths.
fn pcap(link: DataLink, frames: &[(u64, usize)]) -> Vec<u8> {
    let header = PcapHeader {
        ts_resolution: TsResolution::NanoSecond,
        datalink: link,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for (number, (nanos, len)) in frames.iter().enumerate() {
        let bytes = vec![number.to_le_bytes()[0]; *len];
        let time = Duration::from_secs(1_600_000_000) + Duration::from_nanos(*nanos);
        let len = u32::try_from(*len).unwrap();
        writer
            .write_packet(&PcapPacket::new(time, len, &bytes))
            .unwrap();
    }
    writer.into_writer()
}

struct File {
    folder: TempDir,
    path: PathBuf,
}

fn file(bytes: &[u8]) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.pcap");
    fs::write(&path, bytes).unwrap();
    File { folder, path }
}

fn frames(frames: &[(u64, usize)]) -> File {
    file(&pcap(DataLink::ETHERNET, frames))
}

fn options(path: &Path, rest: &str) -> ReplayOptions {
    format!("{}{rest}", path.display()).parse().unwrap()
}

fn replay(file: &File, rest: &str) -> Replay {
    Replay::open(&options(&file.path, rest)).unwrap()
}

fn nanos(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

/// Takes what comes at `now`: when, and the first byte of it.
fn take(wire: &mut Replay, now: Time, seen: &mut Vec<(u64, u8)>, budget: usize) {
    wire.advance(now);
    wire.receive(budget, &mut |frame| {
        seen.push((now.as_nanos(), frame.head[0]));
        Flow::More
    });
}

/// Waits until the file has been read on.
fn wait(wire: &Replay) {
    let fd = wire.poll_fd().unwrap();
    let ready = poll(
        &mut [PollFd::new(fd, PollFlags::POLLIN)],
        PollTimeout::from(30_000_u16),
    );
    assert_eq!(ready, Ok(1));
}

/// Goes from deadline to deadline until the replay has ended or so many frames have come.
fn arrivals(wire: &mut Replay, from: Time, count: usize) -> Vec<(u64, u8)> {
    let (mut now, mut seen) = (from, Vec::new());
    wire.set_listening(true);
    take(wire, now, &mut seen, 64);
    while seen.len() < count && wire.poll_fd().is_some() {
        match wire.deadline() {
            _ if wire.has_frames() => {}
            Some(due) => now = due.max(now),
            None => wait(wire),
        }
        take(wire, now, &mut seen, 64);
    }
    seen
}

#[test]
fn frames_come_with_the_times_between_them_that_were_recorded() {
    let file = frames(&[(700, 60), (2_200, 60), (2_200, 1514), (7_000_000_701, 60)]);

    let seen = arrivals(&mut replay(&file, ""), nanos(1_000), 9);

    assert_eq!(
        seen,
        [(1_000, 0), (2_500, 1), (2_500, 2), (7_000_001_001, 3)]
    );
}

#[test]
fn a_multiple_of_the_recorded_speed_shortens_the_times_between() {
    let file = frames(&[(0, 60), (1_000, 60), (4_000, 60)]);

    let twice = arrivals(&mut replay(&file, ",speed=2x"), nanos(0), 9);
    let half = arrivals(&mut replay(&file, ",speed=0.5x"), nanos(0), 9);

    assert_eq!(twice, [(0, 0), (500, 1), (2_000, 2)]);
    assert_eq!(half, [(0, 0), (2_000, 1), (8_000, 2)]);
}

#[test]
fn a_time_that_goes_back_counts_as_the_one_before() {
    let file = frames(&[(5_000, 60), (1_000, 60), (1_500, 60)]);

    let seen = arrivals(&mut replay(&file, ""), nanos(0), 9);

    assert_eq!(seen, [(0, 0), (0, 1), (500, 2)]);
}

#[test]
fn at_the_speed_of_a_line_frames_have_its_gaps() {
    let file = frames(&[(0, 60), (0, 60), (0, 1514), (0, 60)]);

    let seen = arrivals(&mut replay(&file, ",speed=10G"), nanos(0), 9);

    // 67.2 ns for each of the short ones, 1230.4 ns for the long one.
    assert_eq!(seen, [(0, 0), (68, 1), (135, 2), (1_365, 3)]);
}

#[test]
fn at_a_rate_frames_are_evenly_spaced_through_all_rounds() {
    let file = frames(&[(0, 60), (99, 60)]);

    let seen = arrivals(&mut replay(&file, ",speed=3Mpps,loop=2"), nanos(0), 9);

    assert_eq!(seen, [(0, 0), (334, 1), (667, 0), (1_000, 1)]);
}

#[test]
fn at_full_speed_all_frames_of_a_long_file_come_in_order_and_at_once() {
    let many: Vec<(u64, usize)> = (0..20_000).map(|n| (n * 1_000_000, 1_000)).collect();
    let file = frames(&many);

    let seen = arrivals(&mut replay(&file, ",speed=max"), nanos(5), usize::MAX);

    assert_eq!(seen.len(), 20_000);
    let mut expected = (0..20_000_usize).map(|n| (5, n.to_le_bytes()[0]));
    assert!(seen.into_iter().eq(&mut expected));
}

#[test]
fn an_endless_loop_goes_on() {
    let file = frames(&[(0, 60), (10, 60)]);

    let seen = arrivals(&mut replay(&file, ",speed=max,loop"), nanos(0), 5_000);

    assert!(seen.len() >= 5_000);
    assert!(
        seen.iter()
            .zip([0, 1].into_iter().cycle())
            .all(|((_, byte), own)| *byte == own)
    );
}

#[test]
fn the_replay_waits_for_the_driver_and_then_for_nobody() {
    let file = frames(&[(0, 60), (1_000, 60), (2_000, 60)]);
    let mut wire = replay(&file, "");
    let mut seen = Vec::new();
    take(&mut wire, nanos(500), &mut seen, 64);
    let before = (seen.len(), wire.has_frames(), wire.deadline());

    wire.set_listening(true);
    let begins = wire.deadline();
    take(&mut wire, nanos(700), &mut seen, 64);
    wire.set_listening(false);
    take(&mut wire, nanos(1_700), &mut seen, 64);

    assert_eq!(before, (0, false, None));
    assert_eq!(begins, Some(Time::ZERO));
    assert_eq!(seen, [(700, 0), (1_700, 1)]);
}

#[test]
fn a_dark_port_stops_the_replay_until_there_is_light() {
    let file = frames(&[(0, 60), (1_000, 60), (2_000, 60)]);
    let mut wire = replay(&file, "");
    let mut seen = Vec::new();
    wire.set_listening(true);
    take(&mut wire, nanos(0), &mut seen, 64);

    wire.set_far_link(false);
    take(&mut wire, nanos(5_000), &mut seen, 64);
    let dark = (wire.has_frames(), wire.deadline());
    wire.set_far_link(true);
    take(&mut wire, nanos(5_000), &mut seen, 64);
    take(&mut wire, nanos(6_000), &mut seen, 64);

    assert_eq!(dark, (false, None));
    assert_eq!(seen, [(0, 0), (5_000, 1), (6_000, 2)]);
}

#[test]
fn a_budget_leaves_the_rest_for_later() {
    let file = frames(&[(0, 60), (0, 60), (0, 60)]);
    let mut wire = replay(&file, "");
    let mut seen = Vec::new();
    wire.set_listening(true);

    take(&mut wire, nanos(0), &mut seen, 2);
    let more = wire.has_frames();
    take(&mut wire, nanos(0), &mut seen, 2);

    assert!(more);
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn short_frames_are_padded_and_what_fits_no_cable_is_left_out_and_counted() {
    let file = frames(&[(0, 13), (0, 20), (0, 16_384), (0, 16_383)]);
    let mut wire = replay(&file, "");
    wire.set_listening(true);
    wire.advance(nanos(0));

    let mut lengths = Vec::new();
    wire.receive(64, &mut |frame| {
        lengths.push(frame.len());
        Flow::More
    });

    assert_eq!(lengths, [60, 16_383]);
    assert_eq!(wire.counters().rx_dropped, 2);
    assert_eq!(wire.counters().rx_frames, 2);
}

#[test]
fn a_file_that_breaks_off_is_replayed_to_there() {
    let mut bytes = pcap(DataLink::ETHERNET, &[(0, 60), (0, 60)]);
    bytes.truncate(bytes.len() - 1);
    let file = file(&bytes);

    let mut wire = replay(&file, ",loop");
    let seen = arrivals(&mut wire, nanos(0), 9);

    assert_eq!(seen, [(0, 0)]);
    assert!(wire.poll_fd().is_none());
}

#[test]
fn an_empty_capture_ends_at_once_even_if_it_is_repeated() {
    let file = frames(&[]);

    let seen = arrivals(&mut replay(&file, ",loop"), nanos(0), 9);

    assert_eq!(seen, []);
}

#[test]
fn what_cannot_be_replayed_is_refused_with_cause_and_next_step() {
    let error = |bytes: &[u8]| {
        let file = file(bytes);
        let error = Replay::open(&options(&file.path, "")).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };
    let missing = Replay::open(&options(Path::new("/no/such.pcap"), "")).unwrap_err();

    let raw = error(&pcap(DataLink::RAW, &[(0, 60)]));
    let hex = error(b"0011 2233");
    let nothing = error(b"");
    let folder = Replay::open(&options(Path::new("/"), "")).unwrap_err();

    assert!(missing.to_string().contains("/no/such.pcap"), "{missing}");
    assert!(
        raw.contains("not Ethernet") && raw.contains("in.pcap"),
        "{raw}"
    );
    assert!(hex.contains("text2pcap"), "{hex}");
    assert!(nothing.contains("neither pcap nor pcapng"), "{nothing}");
    assert!(folder.to_string().contains("cannot read /"), "{folder}");
}

#[test]
fn what_the_port_sends_is_written_and_what_comes_is_not() {
    let file = frames(&[(0, 60)]);
    let output = file.folder.path().join("out.pcapng");
    let mut wire = replay(&file, &format!(",{}", output.display()));

    arrivals(&mut wire, nanos(0), 9);
    wire.transmit(&TxFrame {
        head: &[9; 77],
        payload: &[],
        offload: Offload::None,
    })
    .unwrap();
    drop(wire);

    assert_eq!(file::read(&output).unwrap().frames, [[9; 77]]);
}

#[test]
fn the_file_that_is_replayed_is_never_written() {
    let file = frames(&[(0, 60)]);
    let before = fs::read(&file.path).unwrap();

    let error = Replay::open(&options(&file.path, &format!(",{}", file.path.display())));

    assert!(error.unwrap_err().to_string().contains("another file"));
    assert_eq!(fs::read(&file.path).unwrap(), before);
}

#[test]
fn two_captures_do_not_go_to_one_file() {
    let file = frames(&[(0, 60)]);
    let output = format!(",{}", file.folder.path().join("out").display());
    let _first = replay(&file, &output);

    let second = Replay::open(&options(&file.path, &output)).unwrap_err();

    assert!(second.to_string().contains("already"), "{second}");
}

#[test]
fn frames_come_out_of_a_pipe_as_they_are_written() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let bytes = pcap(DataLink::ETHERNET, &[(0, 60), (0, 60)]);
    let (first, second) = bytes.split_at(24 + 16 + 60 + 7);
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let mut wire = Replay::open(&options(Path::new(&path), "")).unwrap();
    drop(reader);
    let mut writer = fs::File::from(writer);

    writer.write_all(first).unwrap();
    let one = arrivals(&mut wire, nanos(0), 1);
    writer.write_all(second).unwrap();
    drop(writer);
    let two = arrivals(&mut wire, nanos(5), 1);

    assert_eq!((one, two), (vec![(0, 0)], vec![(5, 1)]));
}
