//! `ixgbectl trace`.

use std::{
    fs::File,
    io::{BufWriter, ErrorKind, Write},
};

use anyhow::{Context, ensure};
use control::{Client, TraceEvent, TraceFilter};
use serde::Serialize;

use crate::{cli::TraceArguments, ending, output::Output, perfetto::Perfetto, regs::choice, words};

#[derive(Serialize)]
struct Outcome {
    events: u64,
    lost: u64,
}

/// Where events go.
enum To {
    Words { start: Option<i64> },
    Lines,
    Perfetto(Perfetto<BufWriter<File>>),
}

pub(crate) fn run(
    client: Client,
    arguments: &TraceArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let filter = TraceFilter {
        kinds: (!arguments.kinds.is_empty())
            .then(|| arguments.kinds.iter().map(|kind| (*kind).into()).collect()),
        queues: (!arguments.queues.is_empty()).then(|| arguments.queues.clone()),
        direction: arguments.direction.map(Into::into),
        registers: if arguments.registers.is_empty() {
            None
        } else {
            Some(
                choice(&arguments.registers, None)?
                    .into_iter()
                    .map(|reg| reg.row().name.to_owned())
                    .collect(),
            )
        },
        ..TraceFilter::default()
    };
    let signals = ending::signals().context("cannot take over SIGINT and SIGTERM")?;
    let mut to = match &arguments.perfetto {
        Some(path) => {
            let failed = || format!("cannot write {}", path.display());
            let file = File::create(path).with_context(failed)?;
            To::Perfetto(Perfetto::new(BufWriter::new(file)).with_context(failed)?)
        }
        None if output.is_json() => To::Lines,
        None => To::Words { start: None },
    };
    let mut tracing = client.trace(&filter)?;
    // A script that waits for this line knows that no later event is missed.
    eprintln!("ixgbectl: tracing; Ctrl-C ends it");
    let mut outcome = Outcome { events: 0, lost: 0 };
    let limit = arguments.count.unwrap_or(u64::MAX);
    let mut asked = false;
    let mut broken = None;
    while outcome.events < limit {
        if !asked && ending::is_due(&tracing, &signals, None)? {
            asked = true;
            // The server sends what it has; if it is gone, the next read says so.
            let _ = tracing.finish();
        }
        let traced = match tracing.next_reply() {
            Ok(Some(traced)) => traced,
            Ok(None) | Err(_) if asked => break,
            Ok(None) => {
                eprintln!("ixgbectl: the server ended");
                break;
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        outcome.lost = traced.lost;
        let mut closed = false;
        for event in &traced.events {
            if outcome.events == limit || closed {
                break;
            }
            match write(&mut to, event) {
                Ok(()) => outcome.events += 1,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => closed = true,
                Err(error) => return Err(error).context("cannot write the trace"),
            }
        }
        if closed {
            break;
        }
    }
    if let To::Perfetto(file) = to {
        file.finish().context("cannot write the trace")?;
        output.print(&outcome, || {
            format!("{} events traced, {} lost", outcome.events, outcome.lost)
        })?;
    } else {
        eprintln!(
            "ixgbectl: {} events traced, {} lost",
            outcome.events, outcome.lost
        );
    }
    if let Some(error) = broken {
        return Err(error).context("the trace broke off");
    }
    ensure!(
        asked || arguments.count.is_none() || outcome.events == limit,
        "the server ended before so many events had happened"
    );
    Ok(())
}

fn write(to: &mut To, event: &TraceEvent) -> std::io::Result<()> {
    match to {
        To::Words { start } => {
            let since = event.time.saturating_sub(*start.get_or_insert(event.time));
            let (seconds, nanos) = (since / 1_000_000_000, since % 1_000_000_000);
            let mut out = std::io::stdout().lock();
            writeln!(out, "{seconds:>4}.{nanos:09} {}", words::of(event))
        }
        To::Lines => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(event)?)
        }
        To::Perfetto(file) => file.event(event),
    }
}
