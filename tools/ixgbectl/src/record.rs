//! `ixgbectl record`: a recording of a NIC that runs.

use std::{
    fs::File,
    io::BufWriter,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use control::{Client, Recording};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::SignalFd,
};
use recording::{Blocks, Ending, Header};
use serde::Serialize;

use crate::{capture, cli::RecordArguments, output::Output, progress::Progress};

#[derive(Serialize)]
struct Outcome {
    /// Bytes of calls.
    bytes: u64,
    complete: bool,
}

/// Records until a signal, the time that was asked for, or the server's end.
pub(crate) fn run(
    client: Client,
    arguments: &RecordArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", arguments.file.display());
    let signals = capture::signals().context("cannot take over SIGINT and SIGTERM")?;
    let mut calls = client.record()?;
    // A script that waits for this line knows that nothing later is missed.
    eprintln!("ixgbectl: recording; Ctrl-C ends it");
    let end = arguments.for_seconds.map(|time| Instant::now() + time);
    let mut progress = Progress::new(None, "bytes");
    let mut file: Option<Blocks<BufWriter<File>>> = None;
    let mut outcome = Outcome {
        bytes: 0,
        complete: true,
    };
    // A call that comes in several replies.
    let mut call = Vec::new();
    let mut asked = false;
    loop {
        if !asked && is_over(&calls, &signals, end)? {
            asked = true;
            // The server sends what it has; if it is gone, the next reply says so.
            let _ = calls.finish();
        }
        let recorded = match calls.next_reply() {
            Ok(Some(recorded)) => recorded,
            Ok(None) | Err(_) if asked => break,
            Ok(None) => break,
            Err(error) => return Err(error).context("the recording broke off"),
        };
        if let Some(header) = recorded.header {
            let header: Header =
                serde_json::from_str(&header).context("the server's header is none")?;
            let to = File::create(&arguments.file).with_context(failed)?;
            file = Some(Blocks::new(BufWriter::new(to), &header).with_context(failed)?);
        }
        call.extend(recorded.calls);
        if recorded.whole && !call.is_empty() {
            let Some(file) = &mut file else {
                bail!("the server sends calls before the header");
            };
            file.calls(&call).with_context(failed)?;
            outcome.bytes += call.len() as u64;
            progress.at(outcome.bytes);
            call.clear();
        }
        if recorded.lost > 0 {
            outcome.complete = false;
            break;
        }
    }
    drop(progress);
    let Some(file) = file else {
        bail!("the server has sent nothing");
    };
    let ending = if outcome.complete {
        Ending::Closed
    } else {
        Ending::Overrun
    };
    file.end(ending).with_context(failed)?;
    output.print(&outcome, || {
        format!(
            "{} bytes of calls in {}",
            outcome.bytes,
            arguments.file.display()
        )
    })?;
    if !outcome.complete {
        bail!(
            "the recording ends early: the NIC did more than could be written; it replays up to there. \
             vfio-user-ixgbe --record FILE waits instead"
        );
    }
    Ok(())
}

/// Waits until the server has sent something; whether the recording is to end instead.
fn is_over(calls: &Recording, signals: &SignalFd, end: Option<Instant>) -> anyhow::Result<bool> {
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(true);
        }
        let timeout = if calls.has_buffered() {
            PollTimeout::ZERO
        } else {
            // Rounded up, so that it does not turn in place.
            let left = left.map(|left| left + Duration::from_millis(1));
            left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            })
        };
        let mut fds = [
            PollFd::new(calls.poll_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) if !calls.has_buffered() => continue,
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).context("cannot wait for calls"),
        }
        return Ok(fds[1].any().unwrap_or(false));
    }
}
