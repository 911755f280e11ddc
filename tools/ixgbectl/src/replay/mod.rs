//! `ixgbectl replay`: a recording is done again to the model in this program.

mod card;
mod until;

use std::{
    fmt::Write,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use control::Client;
use recording::{Difference, Replay, Step, Until};
use serde::Serialize;

use crate::{
    cli::{
        MemArguments, NvmArguments, RegsArguments, ReplayArguments, RingsArguments, Shown,
        StatsArguments,
    },
    ending, filters, irq, leds, link, mem, module, nvm,
    output::Output,
    progress::Progress,
    regs, rings, stats,
};
use card::Stage;
pub(crate) use until::Packet;

/// Calls between two looks at the progress.
const ROUND: u64 = 4096;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    file: PathBuf,
    /// Who has made it.
    program: String,
    ports: Vec<RecordedPort>,
    calls: u64,
    packets_received: u64,
    packets_sent: u64,
    dma_reads: u64,
    dma_writes: u64,
    interrupts: u64,
    /// Nanoseconds since the server was started.
    time: u64,
    outcome: Outcome,
    /// What the end is, in words.
    ending: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Told>,
}

#[derive(Serialize)]
struct RecordedPort {
    mac: String,
    module: String,
    wire: String,
}

/// Why the replay has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// The recording is over.
    Over,
    /// The place that was asked for.
    Stopped,
    /// The model does something else.
    Difference,
}

/// A [`Difference`].
#[derive(Serialize)]
struct Told {
    call: u64,
    what: String,
    port: usize,
    time: u64,
    offset: u64,
    recorded: String,
    replayed: String,
}

impl From<&Difference> for Told {
    fn from(difference: &Difference) -> Self {
        Self {
            call: difference.call,
            what: difference.what.clone(),
            port: difference.port,
            time: difference.time.as_nanos(),
            offset: difference.offset,
            recorded: difference.recorded.clone(),
            replayed: difference.replayed.clone(),
        }
    }
}

/// Replays a file, and lets one look where it stops. A difference is a failure.
pub(crate) fn run(
    arguments: &ReplayArguments,
    port: Option<u32>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let path = &arguments.file;
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut replay = Replay::new(BufReader::new(file))
        .with_context(|| format!("cannot replay {}", path.display()))?;
    let count = replay.ports();
    let port = port.unwrap_or(0);
    if usize::try_from(port).map_or(true, |port| port >= count) {
        bail!("the recording has {count} ports, counted from 0: there is no port {port}");
    }
    let until = arguments.until();
    let end = replay_to_end(&mut replay, until)
        .with_context(|| format!("cannot replay {} to its end", path.display()))?;
    let summary = summary(path, &replay, &end, until);
    output.print(&summary, || text(&summary))?;
    if !arguments.show.is_empty() || arguments.serve.is_some() {
        let signals = ending::signals().context("cannot take over SIGINT and SIGTERM")?;
        let stage = Stage::set(replay.into_ports(), arguments.serve.as_deref())?;
        for shown in &arguments.show {
            show(*shown, stage.path(), port, output)?;
        }
        if let Some(path) = &arguments.serve {
            if !output.is_json() {
                let path = path.display();
                eprintln!("ixgbectl --control {path} looks at it; Ctrl-C ends it");
            }
            card::wait(&signals)?;
        }
    }
    match &end {
        Step::Differs(difference) => bail!("the model does not do what was recorded: {difference}"),
        Step::Reached if matches!(until, Until::End) => bail!("the replay has ended early"),
        Step::End(ending) if !matches!(until, Until::End) => {
            bail!("the recording is over ({ending}) before the place to stop was reached")
        }
        _ => Ok(()),
    }
}

fn replay_to_end(
    replay: &mut Replay<BufReader<File>>,
    until: Until,
) -> Result<Step, recording::ReplayError> {
    let mut progress = Progress::new(None, "calls");
    loop {
        match replay.step(until)? {
            Step::Same => {
                if replay.calls().is_multiple_of(ROUND) {
                    progress.at(replay.calls());
                }
            }
            end => return Ok(end),
        }
    }
}

fn summary(path: &Path, replay: &Replay<BufReader<File>>, end: &Step, until: Until) -> Summary {
    let header = replay.reader().header();
    let ports = header.ports.iter().map(|port| RecordedPort {
        mac: port.mac.clone(),
        module: port.module.clone(),
        wire: port.wire.clone(),
    });
    let packets = replay.packets();
    let (dma_reads, dma_writes, interrupts) = replay.deeds();
    let (kind, ending, difference) = match end {
        Step::End(ending) => (Outcome::Over, format!("the recording is {ending}"), None),
        Step::Differs(difference) => (
            Outcome::Difference,
            "the model does not do what was recorded".to_owned(),
            Some(Told::from(&**difference)),
        ),
        Step::Reached | Step::Same => (Outcome::Stopped, until::told(until), None),
    };
    Summary {
        file: path.to_owned(),
        program: header.program.clone(),
        ports: ports.collect(),
        calls: replay.calls(),
        packets_received: packets.arrived,
        packets_sent: packets.sent,
        dma_reads,
        dma_writes,
        interrupts,
        time: replay.now().as_nanos(),
        outcome: kind,
        ending,
        difference,
    }
}

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("recording", summary.file.display().to_string());
    row("made by", summary.program.clone());
    for (number, port) in summary.ports.iter().enumerate() {
        let RecordedPort { mac, module, wire } = port;
        row(
            &format!("port {number}"),
            format!("{mac}, {module}, {wire}"),
        );
    }
    row("calls", summary.calls.to_string());
    row(
        "packets",
        format!(
            "{} received, {} sent",
            summary.packets_received, summary.packets_sent
        ),
    );
    row(
        "DMA",
        format!("{} reads, {} writes", summary.dma_reads, summary.dma_writes),
    );
    row("interrupts", summary.interrupts.to_string());
    row("time", format!("{} s", seconds(summary.time)));
    row("end", summary.ending.clone());
    match &summary.difference {
        None if summary.outcome == Outcome::Over => {
            row("result", "the same, bit for bit".to_owned());
        }
        None => row("result", "the same, bit for bit, up to here".to_owned()),
        Some(told) => {
            row(
                "difference",
                format!("call {}, {}, port {}", told.call, told.what, told.port),
            );
            row(
                "",
                format!(
                    "at {} s, byte {} of the file",
                    seconds(told.time),
                    told.offset
                ),
            );
            row("", format!("recorded: {}", told.recorded));
            row("", format!("replayed: {}", told.replayed));
        }
    }
    text
}

/// Nanoseconds in seconds.
fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Shows what another command shows.
fn show(shown: Shown, path: &Path, port: u32, output: &mut Output) -> anyhow::Result<()> {
    let mut client = Client::connect(path)?;
    client.select(Some(port).filter(|port| *port != 0));
    let client = &mut client;
    match shown {
        Shown::Regs => {
            let arguments = RegsArguments {
                nonzero: true,
                ..RegsArguments::default()
            };
            regs::run(client, &arguments, output)
        }
        Shown::Rings => rings::run(client, &RingsArguments::default(), output),
        Shown::Filters => filters::run(client, output),
        Shown::Irq => irq::run(client, output),
        Shown::Stats => {
            let arguments = StatsArguments {
                nonzero: true,
                ..StatsArguments::default()
            };
            stats::run(client, &[port], &arguments, output)
        }
        Shown::Nvm => nvm::run(client, &NvmArguments::default(), output),
        Shown::Mem => mem::run(client, &MemArguments::default(), output),
        Shown::Link => link::run(client, None, output),
        Shown::Module => module::run(client, None, output),
        Shown::Leds => leds::run(client, output),
    }
}

impl ReplayArguments {
    fn until(&self) -> Until {
        match (self.until, self.until_time, self.until_call) {
            (Some(packet), ..) => packet.into(),
            (_, Some(time), _) => until::time(time),
            (.., Some(call)) => Until::Call(call),
            _ => Until::End,
        }
    }
}
