//! Connections that send out of the pages that the bytes lie in: MSG_ZEROCOPY and sendfile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control::Direction;
use etherparse::{EtherType, TransportHeader};
use guest_probe::{Job, Report, SendFile, SendZeroCopy, Transport, pattern};
use guest_tests::{
    World,
    account::covers,
    cable::Cable,
    frames::{Checked, ethertype},
    linux_world::INTERFACE,
    probe,
    world::Setup,
};

use super::{
    afxdp::account,
    life::HOST,
    machine::{LIMIT, Machine, Test},
};

pub const TESTS: &[Test] = tests![
    datagrams_with_msg_zerocopy_leave_from_the_programs_pages,
    a_stream_with_msg_zerocopy_leaves_from_the_programs_pages,
    a_file_with_sendfile_leaves_from_the_page_cache,
];

/// The port that takes what comes and says nothing.
const DISCARD: u16 = 9;
/// Pages that are sent.
const PAGES: usize = 32;

/// Runs a job with the host on the cable, and returns what was on the cable of it as soon as that is all. The NIC has to
/// have read all of it out of the pages that the job names.
fn send(
    machine: &mut Machine,
    job: &Job,
    is_all: impl Fn(&[Checked]) -> bool,
) -> Result<Vec<Checked>> {
    machine.world()?.set_up(&Setup::default())?;
    machine.sh(&format!(
        "ip address add 10.0.2.15/24 dev {INTERFACE}; ping -c 1 -W 20 {HOST} >/dev/null"
    ))?;
    machine.world()?.cable().take(Duration::ZERO)?;
    let account = account(machine, Direction::Transmit)?;
    let answers = probe::run(machine.world()?.guest(), job);
    let frames = taken(machine, is_all);
    let moved = account.end()?;
    machine.sh(&format!("ip address flush dev {INTERFACE}"))?;
    let mut pages = Vec::new();
    let mut end = None;
    for answer in answers? {
        match answer {
            Report::Page(place) => pages.push(place),
            Report::Sent {
                without_copy,
                copied,
            } => end = Some((without_copy, copied)),
            other => bail!("{other:?}"),
        }
    }
    let (without_copy, copied) = end.context("no word of the end")?;
    ensure!(
        without_copy > 0 && copied == 0,
        "{without_copy} calls without a copy, {copied} with one"
    );
    let not_read: Vec<_> = pages.iter().filter(|page| !covers(&moved, page)).collect();
    ensure!(
        pages.len() == PAGES && not_read.is_empty(),
        "the NIC has not read {not_read:x?} of {} pages",
        pages.len()
    );
    frames
}

fn taken(machine: &mut Machine, is_all: impl Fn(&[Checked]) -> bool) -> Result<Vec<Checked>> {
    let begun = Instant::now();
    let mut taken = Vec::new();
    while !is_all(&taken) {
        ensure!(
            begun.elapsed() < LIMIT,
            "{} packets, and no more come",
            taken.len()
        );
        let frames = machine.world()?.cable().take(Duration::from_millis(200))?;
        let ip = frames.iter();
        for frame in ip.filter(|frame| ethertype(frame) == Some(EtherType::IPV4)) {
            taken.push(Checked::new(frame)?);
        }
    }
    Ok(taken)
}

/// The same for a stream of this length.
fn send_stream(machine: &mut Machine, job: &Job, len: usize) -> Result<Vec<Checked>> {
    send(machine, job, |segments| {
        stream(segments).is_ok_and(|bytes| bytes.len() >= len)
    })
}

/// What the segments carry, put together.
fn stream(segments: &[Checked]) -> Result<Vec<u8>> {
    let first = segments.first().context("no segment")?.tcp()?;
    ensure!(first.syn, "it begins in the middle");
    let begin = first.sequence_number.wrapping_add(1);
    let mut pieces = BTreeMap::new();
    for segment in segments {
        let at = segment.tcp()?.sequence_number.wrapping_sub(begin);
        if !segment.payload.is_empty() {
            pieces.insert(at, segment.payload.clone());
        }
    }
    let mut bytes = Vec::new();
    for (at, piece) in pieces {
        let at = usize::try_from(at)?;
        ensure!(at <= bytes.len(), "a gap at byte {}", bytes.len());
        let again = (bytes.len() - at).min(piece.len());
        bytes.extend_from_slice(&piece[again..]);
    }
    Ok(bytes)
}

fn datagrams_with_msg_zerocopy_leave_from_the_programs_pages(machine: &mut Machine) -> Result<()> {
    let job = Job::SendZeroCopy(SendZeroCopy {
        to: format!("{HOST}:{DISCARD}").parse()?,
        transport: Transport::Udp,
        pages: PAGES,
    });
    let datagrams = |frames: &[Checked]| -> Vec<Vec<u8>> {
        let is_udp = |frame: &&Checked| matches!(frame.transport, TransportHeader::Udp(_));
        let datagrams = frames.iter().filter(is_udp);
        datagrams.map(|frame| frame.payload.clone()).collect()
    };
    let frames = send(machine, &job, |frames| datagrams(frames).len() >= PAGES)?;
    let expected: Vec<_> = (0..PAGES)
        .map(|page| pattern(page)[..1472].to_vec())
        .collect();
    ensure!(datagrams(&frames) == expected, "the datagrams are others");
    Ok(())
}

fn a_stream_with_msg_zerocopy_leaves_from_the_programs_pages(machine: &mut Machine) -> Result<()> {
    let job = Job::SendZeroCopy(SendZeroCopy {
        to: format!("{HOST}:{DISCARD}").parse()?,
        transport: Transport::Tcp,
        pages: PAGES,
    });
    let expected: Vec<u8> = (0..PAGES).flat_map(pattern).collect();
    let frames = send_stream(machine, &job, expected.len())?;
    ensure!(stream(&frames)? == expected, "the stream is another");
    Ok(())
}

fn a_file_with_sendfile_leaves_from_the_page_cache(machine: &mut Machine) -> Result<()> {
    let file: Vec<u8> = (PAGES..2 * PAGES).flat_map(pattern).skip(1000).collect();
    machine.world()?.guest().write_file("/tmp/to-send", &file)?;
    let job = Job::SendFile(SendFile {
        to: format!("{HOST}:{DISCARD}").parse()?,
        file: "/tmp/to-send".into(),
    });
    let frames = send_stream(machine, &job, file.len())?;
    ensure!(stream(&frames)? == file, "the stream is another");
    Ok(())
}
