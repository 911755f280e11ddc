//! `cargo xtask bench guest`: what a Linux guest gets from each NIC.

mod figures;
mod sender;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use guest_vm::{CablePeer, ConsoleUse, Kernel, Lab, Qemu, Userland};

use self::figures::{Bench, Figure};
use super::report;
use crate::binaries;
use crate::cable::Cable;
use crate::nic::Nic;
use crate::rig::{Rig, RigOptions};

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
}

/// Measures, prints the table, writes `bench/guest.json` in the
/// target folder.
pub fn run(options: &Options) -> Result<ExitCode> {
    let binaries = binaries::build()?;
    let lab = Lab::open_with(options.kernel, options.qemu.clone())?;
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
        report::load()
    );
    let mut samples = Vec::new();
    let mut failures = 0;
    for run in 1..=options.runs {
        for &nic in &options.nics {
            // A peer and a guest of its own for each turn: no NIC inherits another's state.
            let peer = CablePeer::start(&userland, &lab.cache.log_folder("bench-cable")?)?;
            let rig_options = RigOptions {
                nic,
                server: &binaries.server,
                console: ConsoleUse::Log,
                name: "bench",
                cpus: 1,
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
                    Ok(pair) => {
                        let [value, cpu] = &pair;
                        eprintln!(
                            "run {run} {:<10} {:<12} {:>8.1} {:<6} {:>4.0} {}",
                            nic.name(),
                            value.figure,
                            value.value,
                            value.unit,
                            cpu.value,
                            cpu.unit
                        );
                        samples.extend(pair);
                    }
                    Err(error) => {
                        eprintln!("run {run} {error:#}");
                        failures += 1;
                    }
                }
            }
        }
    }
    report::write(&samples, "guest")?;
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
