//! `cargo xtask demo`: one guest, from nothing to TCP both ways, step by step.

pub mod counters;
mod report;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use guest_vm::{Kernel, Qemu};

use crate::nic::Nic;

/// How the demo tells what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A line for each step.
    Text,
    /// One JSON document.
    Json,
    /// A line for each step until the NIC is up, then the guest's console.
    Shell,
}

/// How the guest comes to the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has it.
    Direct,
    /// It has a virtio-net, whose buffers a host stack posts on our NIC's rings.
    HostStack,
}

/// What to show.
#[derive(Debug)]
pub struct Options {
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The QEMU that was asked for.
    pub qemu: Option<Qemu>,
    /// The server that was asked for instead of one that is built.
    pub server: Option<PathBuf>,
    /// The NIC.
    pub nic: Nic,
    /// How the guest comes to it.
    pub way: Way,
    /// How to tell.
    pub output: Output,
}

/// Runs the demo. Succeeds only if each step happened.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut report = report::Report::begin(options.output);
    // The report has told what failed and why.
    let _ = steps::all(options, &mut report);
    Ok(if report.end() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
