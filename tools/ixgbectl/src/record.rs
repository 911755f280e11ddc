//! `ixgbectl record`: a recording of a NIC that runs.

use std::{fs::File, io::BufWriter, path::Path, time::Instant};

use anyhow::{Context, anyhow, bail, ensure};
use control::{Client, Recording};
use nix::sys::signalfd::SignalFd;
use recording::{Blocks, Ending, Header, MAX_BLOCK};
use serde::Serialize;

use crate::{cli::RecordArguments, ending, output::Output, progress::Progress};

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
    let path = &arguments.file;
    let failed = || format!("cannot write {}", path.display());
    let signals = ending::signals().context("cannot take over SIGINT and SIGTERM")?;
    let calls = client.record()?;
    // A script that waits for this line knows that nothing later is missed.
    eprintln!("ixgbectl: recording; Ctrl-C ends it");
    // A time that no clock reaches is no end.
    let end = (arguments.for_seconds).and_then(|time| Instant::now().checked_add(time));
    let mut copy = Copy {
        path,
        file: None,
        call: Vec::new(),
        bytes: 0,
    };
    let ended = copy.run(calls, &signals, end);
    let Some(file) = copy.file else {
        ended?;
        bail!("the server has sent nothing");
    };
    let ending = *ended.as_ref().unwrap_or(&Ending::Cut);
    file.end(ending).with_context(failed)?;
    let outcome = Outcome {
        bytes: copy.bytes,
        complete: ending == Ending::Closed,
    };
    output.print(&outcome, || {
        format!("{} bytes of calls in {}", outcome.bytes, path.display())
    })?;
    let ending = ended.context("the recording broke off; it replays up to there")?;
    ensure!(
        ending == Ending::Closed,
        "the recording ends early: the NIC did more than could be written; it replays up to there. \
         vfio-user-ixgbe --record FILE waits instead"
    );
    Ok(())
}

/// What comes from the server on its way into the file.
struct Copy<'a> {
    path: &'a Path,
    /// It is made when the header has come.
    file: Option<Blocks<BufWriter<File>>>,
    /// A call that comes in several replies.
    call: Vec<u8>,
    /// Bytes of calls in the file.
    bytes: u64,
}

impl Copy<'_> {
    /// Goes on until there is nothing more, and tells how it ends.
    fn run(
        &mut self,
        mut calls: Recording,
        signals: &SignalFd,
        end: Option<Instant>,
    ) -> anyhow::Result<Ending> {
        let failed = || format!("cannot write {}", self.path.display());
        let mut progress = Progress::new(None, "bytes");
        let mut asked = false;
        loop {
            if !asked && ending::is_due(&calls, signals, end)? {
                asked = true;
                // The server sends what it has; if it is gone, the next reply says so.
                let _ = calls.finish();
            }
            let Some(recorded) = calls.next_reply()? else {
                // When it is asked to end, a call may be on its way, whose rest comes too late: it is left out.
                ensure!(
                    asked || self.call.is_empty(),
                    "the server has ended it in the middle of a call"
                );
                return Ok(Ending::Closed);
            };
            if let Some(header) = recorded.header {
                ensure!(self.file.is_none(), "the server sends a second header");
                let header: Header =
                    serde_json::from_str(&header).context("the server's header is none")?;
                let to = recording::create(self.path).with_context(failed)?;
                self.file = Some(Blocks::new(BufWriter::new(to), &header).with_context(failed)?);
            }
            ensure!(
                recorded.calls.len() <= MAX_BLOCK - self.call.len(),
                "the server sends a call of more than {MAX_BLOCK} bytes"
            );
            // A reply without calls, as the last one is, ends none.
            let ends = recorded.whole && !recorded.calls.is_empty();
            self.call.extend(recorded.calls);
            if ends {
                let file = self.file.as_mut();
                let file =
                    file.ok_or_else(|| anyhow!("the server sends calls before the header"))?;
                file.calls(&self.call).with_context(failed)?;
                self.bytes += self.call.len() as u64;
                progress.at(self.bytes);
                self.call.clear();
            }
            if recorded.lost > 0 {
                return Ok(Ending::Overrun);
            }
        }
    }
}
