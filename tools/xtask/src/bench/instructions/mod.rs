//! `cargo xtask bench instructions`: how many instructions the card takes for a packet, in one process with its driver,
//! counted by callgrind. The same code gives the same count on a loaded machine as on a quiet one, so the counts are
//! compared with those on record, and a change that makes the card slower is seen where it is made.

mod profile;
mod record;
mod tools;

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use guest_vm::Cache;
use serde_json::Value;

use self::profile::Profile;
use self::record::{Record, Verdict};
pub use self::tools::Tools;
use super::report::{OURS, Sample, Section};
use crate::binaries;

/// Whether what is counted goes on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is compared with what is.
    Compare,
    /// It replaces what is.
    Record,
}

/// What the card takes for a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// What was measured.
    pub figure: String,
    /// Instructions.
    pub per_packet: f64,
    /// In which files they stand.
    pub profile: Profile,
}

/// What is counted, for a page beside other figures.
pub fn measure() -> Result<Section> {
    let tools = Tools::prepare(&Cache::open()?)?;
    let counts = count(&tools)?;
    let record = Record::read()?;
    let samples = counts.iter().map(|count| Sample {
        figure: count.figure.clone(),
        subject: OURS,
        unit: "instr/packet",
        value: count.per_packet,
    });
    let profiles = counts
        .iter()
        .map(|count| count.profile.text(&count.figure, count.per_packet));
    let verdicts = record.compare(&counts);
    Ok(Section {
        name: "instructions",
        ours: OURS,
        title: "Instructions of the card for a packet, and the files that they stand in",
        command: "cargo xtask bench instructions".to_owned(),
        samples: samples.collect(),
        goals: |_| Vec::new(),
        notes: profiles
            .chain(verdicts.iter().map(Verdict::to_string))
            .collect(),
    })
}

/// Counts, prints each figure with the source files that take most, and compares or records.
pub fn run(then: Then) -> Result<ExitCode> {
    let tools = Tools::prepare(&Cache::open()?)?;
    let counts = count(&tools)?;
    for count in &counts {
        println!("{}", count.profile.text(&count.figure, count.per_packet));
    }
    let mut record = Record::read()?;
    if then == Then::Record {
        record.replace(&counts);
        record.write()?;
        println!("on record now: {}", Record::path().display());
        return Ok(ExitCode::SUCCESS);
    }
    let verdicts = record.compare(&counts);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    Ok(if verdicts.iter().any(|verdict| verdict.failed()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Builds the benchmark as the server is built, and runs it.
pub fn count(tools: &Tools) -> Result<Vec<Count>> {
    let mut command = binaries::cargo();
    command
        .args(["bench", "--package", "nic-bench", "--bench", "instructions"])
        .args(["--", "--output-format=json"])
        // What the profile of releases says, whatever the environment says: other code has other counts.
        .env("CARGO_PROFILE_BENCH_LTO", "fat")
        .env("CARGO_PROFILE_BENCH_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_BENCH_DEBUG", "line-tables-only")
        .envs(tools.variables()?)
        .stderr(Stdio::piped());
    let output = command.output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "the benchmark `instructions` of nic-bench does not run:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let counts: Vec<Count> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(count_of)
        .collect::<Result<_>>()?;
    ensure!(!counts.is_empty(), "the benchmark said nothing: {text}");
    Ok(counts)
}

/// What one line of the runner says: a case is called `packets_N`, for N packets.
fn count_of(line: &str) -> Result<Count> {
    let said: Value = serde_json::from_str(line).context("gungraun's summary is no JSON")?;
    let word = |name: &str| {
        let word = said.get(name).and_then(Value::as_str);
        word.with_context(|| format!("gungraun's summary has no {name}: {line}"))
    };
    let packets: u32 = word("id")?
        .strip_prefix("packets_")
        .and_then(|count| count.parse().ok())
        .with_context(|| format!("a case whose name tells no number of packets: {line}"))?;
    let instructions = said
        .pointer("/profiles/0/data/total/metrics/Ir/values/new")
        .and_then(Value::as_f64)
        .with_context(|| format!("gungraun's summary has no count: {line}"))?;
    let figure = word("function_name")?.to_owned();
    let folder = binaries::workspace().join(word("output_dir")?);
    Ok(Count {
        per_packet: instructions / f64::from(packets),
        profile: Profile::read(&folder, f64::from(packets))?,
        figure,
    })
}
