//! `cargo xtask bench zero-copy`: the host stack, copying and not.

mod account;
mod figure;
mod guestless;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::Cache;

use self::figure::{Figure, Subject, goals};
use self::guestless::Bench;
use super::report::{Section, load};
use crate::binaries::Binaries;

/// What to measure.
#[derive(Debug)]
pub struct Options {
    /// Figures by name; all if empty.
    pub figures: Vec<String>,
    /// How often each is measured.
    pub runs: u32,
    /// How long one measurement lasts.
    pub time: Duration,
}

/// Measures the figures in turns, both modes of each in turn.
pub fn measure(options: &Options, binaries: &Binaries) -> Result<Section> {
    let figures: Vec<Figure> = Figure::ALL
        .into_iter()
        .filter(|figure| {
            options.figures.is_empty() || options.figures.iter().any(|name| name == figure.name())
        })
        .collect();
    ensure!(
        !figures.is_empty(),
        "no such figure: choose among {}",
        Figure::ALL.map(Figure::name).join(", ")
    );
    let before = load();
    eprintln!("load {before}");
    let cache = Cache::open()?;
    let bench = Bench {
        binaries,
        cache: &cache,
        time: options.time,
    };
    let mut samples = Vec::new();
    for run in 1..=options.runs {
        for &figure in &figures {
            for subject in Subject::ALL {
                let measured = bench
                    .measure(figure, subject)
                    .with_context(|| format!("{} of {}", figure.name(), subject.name()))?;
                for sample in measured {
                    eprintln!(
                        "run {run} {:<10} {:<28} {:>9.3} {}",
                        sample.subject, sample.figure, sample.value, sample.unit
                    );
                    samples.push(sample);
                }
            }
        }
    }
    let milliseconds = options.time.as_millis();
    let mut command = format!(
        "cargo xtask bench zero-copy --runs {} --milliseconds {milliseconds}",
        options.runs
    );
    if !options.figures.is_empty() {
        command.push_str(&format!(" --figure {}", options.figures.join(",")));
    }
    Ok(Section {
        name: "zero-copy",
        ours: Subject::ZeroCopy.name(),
        title: "The host stack, without a copy and with one",
        command,
        samples,
        goals,
        notes: vec![format!(
            "Load {before} before, {} after. Three processes are busy: the NIC's server, the stack, and for a part of \
             the time the driver.",
            load()
        )],
    })
}
