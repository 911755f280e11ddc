//! `cargo xtask bench zero-copy` and `cargo xtask bench iommu`: ways of packets into a guest's pages, copying and not.

mod account;
mod figure;
mod guestless;
mod guests;
mod machine;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::{Cache, Kernel, Qemu};

use self::figure::{Figure, Subject, goals};
use self::guests::{Guests, Stream};
use self::machine::{Machine, Split};
use super::report::{Sample, Section, load};
use crate::binaries::Binaries;
use crate::rig::Iommu;

/// What to measure without guests.
#[derive(Debug)]
pub struct Options {
    /// Figures by name; all if empty.
    pub figures: Vec<String>,
    /// How often each is measured; 0 for not at all.
    pub runs: u32,
    /// How long one measurement lasts.
    pub time: Duration,
}

/// What to measure with guests.
#[derive(Debug)]
pub struct GuestOptions {
    /// The guests' kernel.
    pub kernel: Kernel,
    /// The QEMU that was asked for.
    pub qemu: Option<Qemu>,
    /// Subjects by name; all if empty.
    pub subjects: Vec<String>,
    /// Figures by name; all if empty.
    pub figures: Vec<String>,
    /// How often each is measured; 0 for not at all.
    pub runs: u32,
    /// How long one measurement lasts.
    pub time: Duration,
}

/// Measures the host stack without a guest: the figures in turns, both modes of each in turn.
pub fn measure(
    options: &Options,
    binaries: &Binaries,
    nic_bench: &Path,
) -> Result<Option<Section>> {
    let figures: Vec<Figure> = Figure::ALL
        .into_iter()
        .filter(|figure| is_chosen(&options.figures, figure.name()))
        .collect();
    if figures.is_empty() || options.runs == 0 {
        return Ok(None);
    }
    let before = load();
    eprintln!("load {before}");
    let cache = Cache::open()?;
    let bench = guestless::Bench {
        binaries,
        nic_bench,
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
    let command = format!(
        "cargo xtask bench zero-copy --guest-runs 0 --runs {} --milliseconds {milliseconds}{}",
        options.runs,
        chosen("--figure", &options.figures)
    );
    Ok(Some(Section {
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
    }))
}

/// Measures guests over the stack and past it, each subject in turn with a guest of its own.
pub fn guests(options: &GuestOptions, binaries: &Binaries) -> Result<Option<Section>> {
    let named = |machine: Machine| match machine {
        Machine::ZeroCopy(_) => "zero_copy",
        Machine::Copy(_) => "copy",
        Machine::Tap => "tap",
        Machine::Direct => "direct",
        Machine::DirectIommu(_) => "direct_iommu",
    };
    let figure = |stream: Stream, split: Split| format!("{}_split_{}", stream.name(), split.name());
    let title = "A Linux guest over the host stack, a tap, and our NIC itself";
    let section = ("zero-copy-guest", title, "zero-copy --runs 0 --guest-runs");
    let ours = "zero_copy";
    boots(
        options,
        binaries,
        (section, ours, goals),
        &Machine::STACKS,
        named,
        figure,
    )
}

/// Measures what an IOMMU costs a guest with our NIC, by the way in which the guest's kernel uses it.
pub fn iommu(options: &GuestOptions, binaries: &Binaries) -> Result<Option<Section>> {
    let named = |machine: Machine| match machine {
        Machine::DirectIommu(Iommu::Passthrough) => "passthrough",
        Machine::DirectIommu(Iommu::Lazy) => "lazy",
        Machine::DirectIommu(Iommu::Strict) => "strict",
        _ => "none",
    };
    let figure = |stream: Stream, _| stream.name().to_owned();
    let title = "A Linux guest with our NIC behind intel-iommu";
    let section = ("iommu", title, "iommu --runs");
    let no_goals: fn(&str) -> _ = |_| Vec::new();
    boots(
        options,
        binaries,
        (section, "none", no_goals),
        &Machine::IOMMUS,
        named,
        figure,
    )
}

type About = (
    (&'static str, &'static str, &'static str),
    &'static str,
    fn(&str) -> Vec<super::report::Goal>,
);

fn boots(
    options: &GuestOptions,
    binaries: &Binaries,
    ((name, title, command), ours, goals): About,
    machines: &[Machine],
    subject: impl Fn(Machine) -> &'static str,
    figure: impl Fn(Stream, Split) -> String,
) -> Result<Option<Section>> {
    let streams = |machine: Machine| -> Vec<Stream> {
        let chosen =
            |stream: &Stream| is_chosen(&options.figures, &figure(*stream, machine.split()));
        Stream::ALL.into_iter().filter(chosen).collect()
    };
    let machines: Vec<Machine> = machines
        .iter()
        .copied()
        .filter(|machine| is_chosen(&options.subjects, subject(*machine)))
        .filter(|machine| !streams(*machine).is_empty())
        .collect();
    if machines.is_empty() || options.runs == 0 {
        return Ok(None);
    }
    let before = load();
    let guests = Guests::open(options.kernel, options.qemu.clone(), binaries, options.time)?;
    eprintln!("{}; load {before}", guests.describe());
    let mut samples: Vec<Sample> = Vec::new();
    for _ in 0..options.runs {
        for &machine in &machines {
            let measured = guests
                .measure(machine, subject(machine), &streams(machine), |stream| {
                    figure(stream, machine.split())
                })
                .with_context(|| format!("the guest of {}", subject(machine)))?;
            samples.extend(measured);
        }
    }
    let command = format!(
        "cargo xtask bench {command} {} --seconds {}{}{}",
        options.runs,
        options.time.as_secs(),
        chosen("--figure", &options.figures),
        chosen("--subject", &options.subjects),
    );
    let note = format!(
        "{}; load {before} before, {} after",
        guests.describe(),
        load()
    );
    Ok(Some(Section {
        name,
        ours,
        title,
        command,
        samples,
        goals,
        notes: vec![note],
    }))
}

fn is_chosen(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|chosen| chosen == name)
}

fn chosen(option: &str, names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!(" {option} {}", names.join(","))
    }
}

/// Sees that something was measured.
pub fn some(sections: [Option<Section>; 2]) -> Result<Vec<Section>> {
    let sections: Vec<Section> = sections.into_iter().flatten().collect();
    ensure!(
        !sections.is_empty(),
        "nothing of that name: `--help` has the figures and subjects"
    );
    Ok(sections)
}
