//! `cargo xtask bench guest`: what a Linux guest gets from each NIC.

pub mod figures;
mod sender;

use std::time::{Duration, Instant};

use anyhow::Result;
use guest_vm::{CablePeer, ConsoleUse, Kernel, Lab, Qemu, Userland};

use self::figures::{Bench, Figure};
use super::report::{Goal, OURS, Section, load};
use crate::binaries::Binaries;
use crate::cable::Cable;
use crate::nic::Nic;
use crate::rig::{Iommu, Rig, RigOptions};

/// What to measure.
#[derive(Debug)]
pub struct Options {
    /// The guests' kernel.
    pub kernel: Kernel,
    /// The QEMU that was asked for.
    pub qemu: Option<Qemu>,
    /// The NICs.
    pub nics: Vec<Nic>,
    /// Figures by name; all if empty.
    pub figures: Vec<String>,
    /// How often each is measured.
    pub runs: u32,
    /// How long one measurement lasts.
    pub time: Duration,
    /// After this no further turn begins that would not end before, but for the first.
    pub until: Option<Instant>,
}

/// What was measured, and how often that failed.
#[derive(Debug)]
pub struct Outcome {
    /// The samples.
    pub section: Section,
    /// Figures that could not be measured.
    pub failures: u32,
}

/// QEMU's emulated cards.
const EMULATED: &[&str] = &["igb", "e1000e"];
/// Those that were made for virtual machines.
const MADE_FOR_GUESTS: &[&str] = &["vmxnet3", "virtio-net"];
const ALL_OTHERS: &[&str] = &["igb", "e1000e", "vmxnet3", "virtio-net"];

/// What a figure is to reach.
fn goals(figure: &str) -> Vec<Goal> {
    match figure {
        "tcp_rr" | "udp_rr" => vec![Goal::ahead(1.0, ALL_OTHERS)],
        _ if figure.starts_with("cost_") => vec![Goal::below(1.0, EMULATED)],
        // Of a core: to be read beside what came of it.
        _ if figure.starts_with("cpu_") => Vec::new(),
        _ => vec![
            Goal::ahead(1.25, EMULATED),
            Goal::ahead(1.0, MADE_FOR_GUESTS),
        ],
    }
}

/// Measures the NICs in turns.
pub fn measure(options: &Options, binaries: &Binaries) -> Result<Outcome> {
    let lab = Lab::open_with(options.kernel, options.qemu.clone())?.with_dpdk_for_all()?;
    let figures: Vec<Figure> = Figure::ALL
        .into_iter()
        .filter(|figure| {
            options.figures.is_empty() || options.figures.iter().any(|name| name == figure.name())
        })
        .collect();
    anyhow::ensure!(
        !figures.is_empty(),
        "no such figure: choose among {}",
        Figure::ALL.map(Figure::name).join(", ")
    );
    let userland = Userland::prepare(&lab.cache)?;
    let ethtool = userland.program("ethtool")?;
    eprintln!(
        "QEMU {}, {}; Linux {}; load {}",
        lab.qemu.version(),
        lab.accel,
        lab.image.release,
        load()
    );
    let mut notes = vec![format!(
        "QEMU {}, {}; Linux {} with one processor; figures of {:.1} s",
        lab.qemu.version(),
        lab.accel,
        lab.image.release,
        options.time.as_secs_f32()
    )];
    let mut samples = Vec::new();
    let mut failures = 0;
    let begun = Instant::now();
    for run in 1..=options.runs {
        let turn = begun.elapsed() / run.saturating_sub(1).max(1);
        if run > 1
            && options
                .until
                .is_some_and(|until| Instant::now() + turn > until)
        {
            let note = format!(
                "{} of {} turns: a further one would have taken too long",
                run - 1,
                options.runs
            );
            eprintln!("{note}");
            notes.push(note);
            break;
        }
        for &nic in &options.nics {
            // A peer and a guest of its own for each turn: no NIC inherits another's state.
            let peer = CablePeer::start(&userland, &lab.cache.log_folder("bench-cable")?)?;
            let rig_options = RigOptions {
                nic,
                server: &binaries.server,
                stack: None,
                stack_arguments: &[],
                iommu: Iommu::None,
                console: ConsoleUse::Log,
                name: "bench",
                cpus: 1,
                // The image with DPDK and its huge pages lie in memory, too.
                memory: 768,
            };
            let cable = Cable::Tap(peer);
            let mut rig = Rig::boot(&lab, &cable, &rig_options)?;
            rig.bring_up(nic)?;
            rig.get_address()?;
            let mut bench = Bench {
                rig: &mut rig,
                cable: &cable,
                ethtool: &ethtool,
                nic,
                time: options.time,
            };
            for &figure in &figures {
                match bench.measure(figure) {
                    Ok(measured) => {
                        let values = measured
                            .iter()
                            .map(|sample| format!("{:>9.2} {:<9}", sample.value, sample.unit));
                        eprintln!(
                            "run {run} {:<10} {:<14} {}",
                            nic.name(),
                            figure.name(),
                            values.collect::<String>()
                        );
                        samples.extend(measured);
                    }
                    Err(error) => {
                        eprintln!("run {run} {error:#}");
                        failures += 1;
                    }
                }
            }
        }
    }
    let mut command = format!(
        "cargo xtask bench guest --runs {} --seconds {}",
        options.runs,
        options.time.as_secs()
    );
    if !options.figures.is_empty() {
        command.push_str(&format!(" --figure {}", options.figures.join(",")));
    }
    Ok(Outcome {
        section: Section {
            name: "guest",
            ours: OURS,
            title: "A Linux guest, with our NIC and with QEMU's own",
            command,
            samples,
            goals,
            notes,
        },
        failures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_but_shares_of_a_core_has_something_to_reach() {
        let without = Figure::ALL
            .map(Figure::name)
            .into_iter()
            .filter(|name| goals(name).is_empty());

        assert_eq!(without.count(), 0);
    }
}
