//! `guest-probe JOB`: see the library.

#![forbid(unsafe_code)]

mod connection;
mod pages;
mod ring;
mod socket;
mod traffic;

use std::env;
use std::io::{Write, stdout};

use anyhow::{Context, Result};
use guest_probe::{Job, Report};

fn main() -> Result<()> {
    let job = env::args().nth(1).context("usage: guest-probe JOB")?;
    let job = serde_json::from_str(&job).with_context(|| format!("what is {job}?"))?;
    match job {
        Job::Xdp(job) => traffic::run(&job),
        Job::SendZeroCopy(job) => connection::send_zero_copy(&job),
        Job::SendFile(job) => connection::send_file(&job),
    }
}

/// Answers.
fn say(report: &Report) -> Result<()> {
    let line = serde_json::to_string(report)?;
    let mut out = stdout().lock();
    writeln!(out, "{line}").context("cannot answer")?;
    out.flush().context("cannot answer")
}
