//! `ixgbectl capture`.

use std::{
    fs::File,
    io::{BufWriter, ErrorKind, Write},
    os::fd::AsFd,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use control::{CapturedFrame, Capturing, Client};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use serde::Serialize;
use wire::file::PcapNg;

use crate::{cli::CaptureArguments, output::Output};

/// Name of the interface in the file.
const INTERFACE: &str = "ixgbe";

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

pub(crate) fn run(
    client: Client,
    arguments: &CaptureArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let to_stdout = arguments.output == Path::new("-");
    ensure!(
        !(to_stdout && output.is_json()),
        "--json and -o - would both write to standard output; give a file"
    );
    let signals = signals().context("cannot take over SIGINT and SIGTERM")?;
    let mut capturing = client.capture(arguments.snap_length)?;
    let name = if to_stdout {
        "standard output".to_owned()
    } else {
        arguments.output.display().to_string()
    };
    let failed = || format!("cannot write {name}");
    let to: Box<dyn Write> = if to_stdout {
        Box::new(std::io::stdout())
    } else {
        Box::new(File::create(&arguments.output).with_context(failed)?)
    };
    let file = PcapNg::new(BufWriter::new(to), INTERFACE).with_context(failed)?;
    // A script that waits for this line knows that no later frame is missed.
    eprintln!("ixgbectl: capturing to {name}; Ctrl-C ends it");
    let mut writer = Writer {
        file,
        left: arguments.count.unwrap_or(u64::MAX),
        frames: 0,
        lost: 0,
    };
    let end = writer
        .capture(&mut capturing, &signals)
        .with_context(failed)?;
    let Writer { frames, lost, .. } = writer;
    match writer.file.finish(now(), lost) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(error).with_context(failed),
    }
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

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// SIGINT and SIGTERM as a descriptor.
fn signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGINT);
    mask.add(Signal::SIGTERM);
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

struct Writer {
    file: PcapNg<BufWriter<Box<dyn Write>>>,
    /// How many frames are still wanted.
    left: u64,
    frames: u64,
    lost: u64,
}

impl Writer {
    fn capture(&mut self, capturing: &mut Capturing, signals: &SignalFd) -> anyhow::Result<End> {
        let mut end = None;
        loop {
            if end.is_none() && wait(capturing, signals)? == Event::Signal {
                end = Some(End::Asked);
                // The server sends what it has; if it is gone, the next read says so.
                let _ = capturing.finish();
            }
            let captured = match capturing.next_reply() {
                Ok(Some(captured)) => captured,
                Ok(None) => return Ok(end.unwrap_or(End::Server)),
                // Gone without a last word; what came before is in the file.
                Err(_) => return Ok(end.unwrap_or(End::Server)),
            };
            self.lost = captured.lost;
            match self.write(&captured.frames) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(End::Asked),
                Err(error) => return Err(error.into()),
            }
            if self.left == 0 {
                return Ok(End::Counted);
            }
        }
    }

    fn write(&mut self, frames: &[CapturedFrame]) -> std::io::Result<()> {
        for frame in frames {
            if self.left == 0 {
                break;
            }
            let time = Duration::from_nanos(frame.time.try_into().unwrap_or(0));
            let length = usize::try_from(frame.length).unwrap_or(frame.data.len());
            self.file
                .frame(frame.direction.into(), time, &frame.data, length)?;
            self.left -= 1;
            self.frames += 1;
        }
        // Who reads the file while it grows sees whole frames.
        self.file.flush()
    }
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The server has sent something, or is gone.
    Reply,
    /// The capture shall end.
    Signal,
}

fn wait(capturing: &Capturing, signals: &SignalFd) -> anyhow::Result<Event> {
    let timeout = if capturing.has_buffered() {
        PollTimeout::ZERO
    } else {
        PollTimeout::NONE
    };
    loop {
        let mut fds = [
            PollFd::new(capturing.poll_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).context("cannot wait for frames"),
        }
        let signalled = fds[1].revents().is_some_and(|events| !events.is_empty());
        return Ok(if signalled {
            Event::Signal
        } else {
            Event::Reply
        });
    }
}
