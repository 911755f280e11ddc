//! `ixgbectl capture`.

mod sink;

use std::{io::ErrorKind, os::fd::AsFd, path::Path};

use anyhow::{Context, ensure};
use control::{Capturing, Client};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::SignalFd,
};
use packets::{Course, Dissection, Filter};
use serde::Serialize;

use self::sink::{Seen, Sink};
use crate::{cli::CaptureArguments, ending, output::Output, wrong};

/// What was done.
#[derive(Serialize)]
struct Outcome {
    frames: u64,
    lost: u64,
}

/// Why a capture ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal, or nobody reads the output any more.
    Asked,
    /// As many frames as wanted.
    Counted,
    /// The server has ended.
    Server,
}

/// The filter that stands on a command line.
pub(crate) fn filter(words: &[String]) -> anyhow::Result<Filter> {
    let text = words.join(" ");
    Ok(text.parse().map_err(|complaint| wrong::at("", complaint))?)
}

/// Captures at these ports; `connect` makes a connection that asks for one of them.
pub(crate) fn run(
    ports: &[u32],
    connect: impl Fn(u32) -> anyhow::Result<Client>,
    filter: &Filter,
    arguments: &CaptureArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let path = arguments.output.as_deref();
    let to_stdout = path.is_none_or(|path| path == Path::new("-"));
    ensure!(
        !(path == Some(Path::new("-")) && output.is_json()),
        "--json and -o - would both write to standard output; give a file"
    );
    let signals = ending::signals().context("cannot take over SIGINT and SIGTERM")?;
    let name = match path {
        Some(path) if path != Path::new("-") => path.display().to_string(),
        _ => "standard output".to_owned(),
    };
    let failed = || format!("cannot write {name}");
    let sink = match path {
        Some(path) => Sink::file(path, ports)?,
        None if output.is_json() => Sink::json(),
        None => Sink::words(ports.len() > 1, arguments.bytes),
    };
    // A filter looks at whole frames; they are cut when they are kept.
    let snap_length = arguments.snap_length.filter(|_| filter.is_empty());
    let taps = ports
        .iter()
        .zip(0..)
        .map(|(port, interface)| {
            Ok(Tap {
                interface,
                port: *port,
                capturing: connect(*port)?.capture(snap_length)?,
                state: State::Runs,
                lost: 0,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    // A script that waits for this line knows that no later frame is missed.
    eprintln!("ixgbectl: capturing to {name}; Ctrl-C ends it");
    let mut capture = Capture {
        taps,
        filter,
        sink,
        snap_length: arguments.snap_length,
        left: arguments.count.unwrap_or(u64::MAX),
        frames: 0,
    };
    let end = capture.run(&signals).with_context(failed)?;
    let Capture {
        taps, sink, frames, ..
    } = capture;
    let lost: Vec<u64> = taps.iter().map(|tap| tap.lost).collect();
    match sink.finish(&lost) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    let lost = lost.into_iter().fold(0, u64::saturating_add);
    let text = format!("{frames} frames captured, {lost} lost");
    if to_stdout {
        eprintln!("ixgbectl: {text}");
    } else {
        output.print(&Outcome { frames, lost }, || text)?;
    }
    if end == End::Server {
        ensure!(
            arguments.count.is_none(),
            "the server ended before so many frames had passed; the file is complete up to then"
        );
        eprintln!("ixgbectl: the server ended; the file is complete up to then");
    }
    Ok(())
}

/// The capture at a port.
struct Tap {
    interface: u32,
    port: u32,
    capturing: Capturing,
    state: State,
    lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Ended,
}

struct Capture<'a> {
    taps: Vec<Tap>,
    filter: &'a Filter,
    sink: Sink,
    snap_length: Option<u32>,
    /// How many frames are still wanted.
    left: u64,
    frames: u64,
}

impl Capture<'_> {
    fn run(&mut self, signals: &SignalFd) -> anyhow::Result<End> {
        let mut end = None;
        loop {
            if end.is_none() && self.wait(signals)? {
                end = Some(End::Asked);
                for tap in &mut self.taps {
                    // The server sends what it has; if it is gone, the next read says so.
                    let _ = tap.capturing.finish();
                }
            }
            let mut seen = Vec::new();
            for tap in &mut self.taps {
                tap.read(&mut seen, end)?;
            }
            // What came from several ports at a time is told in its order.
            seen.sort_by_key(|seen| seen.frame.time);
            match self.keep(seen) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(End::Asked),
                Err(error) => return Err(error.into()),
            }
            if self.left == 0 {
                return Ok(End::Counted);
            }
            if self.taps.iter().all(|tap| tap.state == State::Ended) {
                return Ok(end.unwrap_or(End::Server));
            }
        }
    }

    fn keep(&mut self, seen: Vec<Seen>) -> std::io::Result<()> {
        for mut seen in seen {
            let course = match seen.frame.direction {
                control::Direction::Receive => Course::Inbound,
                control::Direction::Transmit => Course::Outbound,
            };
            if self.left == 0 {
                break;
            }
            if !self.filter.is_empty()
                && !self
                    .filter
                    .lets_through(&Dissection::new(&seen.frame.data), Some(course))
            {
                continue;
            }
            if let Some(len) = self.snap_length {
                seen.frame
                    .data
                    .truncate(usize::try_from(len).unwrap_or(usize::MAX));
            }
            self.sink.frame(&seen)?;
            self.left -= 1;
            self.frames += 1;
        }
        self.sink.flush()
    }

    /// Waits until a server has sent something or is gone, or a signal has come; whether one has.
    fn wait(&self, signals: &SignalFd) -> anyhow::Result<bool> {
        let running = self.taps.iter().filter(|tap| tap.state == State::Runs);
        let timeout = if running.clone().any(|tap| tap.capturing.has_buffered()) {
            PollTimeout::ZERO
        } else {
            PollTimeout::NONE
        };
        let mut fds: Vec<PollFd<'_>> = running
            .map(|tap| PollFd::new(tap.capturing.poll_fd(), PollFlags::POLLIN))
            .collect();
        fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        loop {
            match poll(&mut fds, timeout) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for frames"),
            }
        }
        Ok(fds.last().and_then(PollFd::any).unwrap_or(false))
    }
}

impl Tap {
    /// Adds the frames of the next reply: of one that is there, or, once the server was asked to end, of one that has to come.
    fn read(&mut self, seen: &mut Vec<Seen>, end: Option<End>) -> anyhow::Result<()> {
        if self.state == State::Ended {
            return Ok(());
        }
        if end.is_none() && !self.capturing.has_buffered() {
            let mut fds = [PollFd::new(self.capturing.poll_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(0) | Err(Errno::EINTR) => return Ok(()),
                Ok(_) => {}
                Err(errno) => return Err(errno).context("cannot wait for frames"),
            }
        }
        // Gone, with a last word or without one; what came before is kept.
        let Ok(Some(captured)) = self.capturing.next_reply() else {
            self.state = State::Ended;
            return Ok(());
        };
        self.lost = captured.lost;
        let (interface, port) = (self.interface, self.port);
        seen.extend(captured.frames.into_iter().map(|frame| Seen {
            interface,
            port,
            frame,
        }));
        Ok(())
    }
}
