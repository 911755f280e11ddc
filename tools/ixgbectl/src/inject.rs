//! `ixgbectl inject`.

use std::{
    io::Read,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use control::{Client, MAX_INJECT_BYTES};
use serde::Serialize;
use wire::{
    Damage, Fcs, INJECTED_LEN, Short,
    file::{self, Frames, MAX_FILE},
};

use crate::{cli::InjectArguments, output::Output};

/// How long to wait before frames that found no room are offered again.
const AGAIN: Duration = Duration::from_millis(5);
/// What a frame takes in a message besides its bytes.
const FRAME_OVERHEAD: usize = 8;

/// What was done.
#[derive(Serialize)]
struct Outcome {
    injected: usize,
}

/// Reads all frames that the command line names.
pub(crate) fn read(arguments: &InjectArguments) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for path in &arguments.files {
        let frames = read_file(path)?;
        if frames.cut_short > 0 {
            eprintln!(
                "ixgbectl: warning: {} frames of {} were cut short when they were captured; they are injected as short \
                 as they are (tcpdump -s 0 captures whole frames)",
                frames.cut_short,
                path.display()
            );
        }
        check_lengths(&frames.frames)
            .with_context(|| format!("cannot inject {}", path.display()))?;
        ensure!(
            !frames.frames.is_empty(),
            "there is no frame in {}",
            path.display()
        );
        all.extend(frames.frames);
    }
    for text in &arguments.hex {
        let frames = file::parse_hex(text)
            .map_err(anyhow::Error::from)
            .and_then(|frames| check_lengths(&frames.frames).map(|()| frames))
            .with_context(|| format!("cannot inject --hex {text:?}"))?;
        all.extend(frames.frames);
    }
    Ok(all)
}

fn read_file(path: &Path) -> anyhow::Result<Frames> {
    if path != Path::new("-") {
        return file::read(path).with_context(|| format!("cannot inject {}", path.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    ensure!(
        bytes.len() as u64 <= MAX_FILE,
        "standard input has more than {} MiB; inject it in parts",
        MAX_FILE >> 20
    );
    file::parse(&bytes).context("cannot inject standard input")
}

fn check_lengths(frames: &[Vec<u8>]) -> anyhow::Result<()> {
    for (index, frame) in frames.iter().enumerate() {
        ensure!(
            INJECTED_LEN.contains(&frame.len()),
            "frame {} has {} bytes; {} to {} can be on a cable (capture with TSO and GRO off: ethtool -K DEV tso off gro off)",
            index + 1,
            frame.len(),
            INJECTED_LEN.start(),
            INJECTED_LEN.end()
        );
    }
    Ok(())
}

/// Injects `frames`, in order, as the server takes them.
pub(crate) fn run(
    client: &mut Client,
    frames: &[Vec<u8>],
    arguments: &InjectArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let patience = Duration::from_secs(arguments.timeout.into());
    let damage = Damage {
        fcs: if arguments.bad_fcs {
            Fcs::Bad
        } else {
            Fcs::Good
        },
        short: if arguments.runts {
            Short::Runt
        } else {
            Short::Padded
        },
    };
    let mut injected = 0;
    for _ in 0..arguments.repeat {
        let mut rest = frames;
        let mut last_progress = Instant::now();
        while !rest.is_empty() {
            let accepted = client.inject_damaged(batch(rest), damage)?;
            rest = rest.get(accepted..).unwrap_or_default();
            injected += accepted;
            if accepted > 0 {
                last_progress = Instant::now();
            } else if last_progress.elapsed() >= patience {
                bail!(
                    "{injected} frames injected, then the NIC took no more for {} s; is a driver attached and its \
                     interface up?",
                    arguments.timeout
                );
            } else {
                sleep(AGAIN);
            }
        }
    }
    output.print(&Outcome { injected }, || match injected {
        1 => "1 frame injected".to_owned(),
        n => format!("{n} frames injected"),
    })
}

/// As many of the first frames as fit a message.
fn batch(frames: &[Vec<u8>]) -> &[Vec<u8>] {
    let mut bytes = 0;
    let count = frames
        .iter()
        .take_while(|frame| {
            bytes += frame.len() + FRAME_OVERHEAD;
            bytes <= MAX_INJECT_BYTES
        })
        .count();
    // A single frame is far shorter than a message.
    &frames[..count.max(1)]
}
