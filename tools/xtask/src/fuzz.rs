//! `cargo xtask fuzz`: the fuzzers, built by nightly Rust, for a given time.
//!
//! They are laid out for cargo-fuzz and can be run by it. This command needs nightly Rust and a C++ compiler only: it passes
//! rustc what cargo-fuzz would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::binaries;

/// Folders of fuzzers, and their targets.
const FUZZERS: [(&str, &[&str]); 2] = [
    (
        "tools/nic-fuzz/fuzz",
        &["capture", "card", "recording", "rings", "state"],
    ),
    ("server/vfio-user/fuzz", &["session"]),
];

/// Counters at each edge and the operands of comparisons, by which libFuzzer finds its way; bad accesses end a run.
const RUSTFLAGS: &str = "--cfg fuzzing -Zsanitizer=address -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions -Coverflow-checks";
/// With a target named, build scripts and macros are not built so.
#[cfg(target_arch = "x86_64")]
const TARGET: &str = "x86_64-unknown-linux-gnu";
#[cfg(not(target_arch = "x86_64"))]
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Longest input in bytes.
const MAX_LEN: u32 = 8192;

/// Fuzzes one target, or all of them one after the other, each for `time`.
///
/// # Errors
/// Nightly Rust is not there, or a fuzzer does not build.
pub fn run(target: Option<&str>, time: Duration) -> Result<ExitCode> {
    let root = binaries::workspace();
    let mut chosen = Vec::new();
    for (folder, targets) in FUZZERS {
        let targets = targets
            .iter()
            .filter(|name| target.is_none_or(|target| target == **name));
        chosen.extend(targets.map(|name| (root.join(folder), *name)));
    }
    if chosen.is_empty() {
        let known: Vec<&str> = FUZZERS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        bail!("there is no such target; give one of {}", known.join(", "));
    }
    let mut failed = Vec::new();
    for (folder, name) in chosen {
        println!("== {name}, for {} s", time.as_secs());
        let program = build(&folder, name)?;
        if !fuzz(&folder, name, &program, time)? {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("nothing was found");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "found something: {}; the input is named above",
        failed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// Builds a fuzzer, and tells where it is.
fn build(folder: &Path, name: &str) -> Result<PathBuf> {
    let output = binaries::target_folder()?.join("fuzz");
    let mut cargo = Command::new("rustup");
    cargo
        .args([
            "run",
            "nightly",
            "cargo",
            "build",
            "--release",
            "--bin",
            name,
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&output)
        .current_dir(folder)
        .env("RUSTFLAGS", RUSTFLAGS)
        // As the toolchain that runs this command set them for itself.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC");
    let status = cargo
        .status()
        .context("cannot run rustup, by which nightly Rust is found; see https://rustup.rs")?;
    ensure!(
        status.success(),
        "{name} does not build; it takes nightly Rust (rustup toolchain install nightly) and a C++ compiler"
    );
    Ok(output.join(TARGET).join("release").join(name))
}

/// Runs a fuzzer; false if it has found something.
fn fuzz(folder: &Path, name: &str, program: &Path, time: Duration) -> Result<bool> {
    let corpus = folder.join("corpus").join(name);
    let artifacts = folder.join("artifacts").join(name);
    fs::create_dir_all(&artifacts)
        .with_context(|| format!("cannot make the folder {}", artifacts.display()))?;
    let status = Command::new(program)
        .arg(&corpus)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg("-timeout=20")
        .arg("-print_final_stats=1")
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_a_corpus() {
        let root = binaries::workspace();

        for (folder, targets) in FUZZERS {
            let folder = root.join(folder);
            let programs = fs::read_dir(folder.join("fuzz_targets")).unwrap().count();
            assert_eq!(programs, targets.len());
            for name in targets {
                assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file());
                assert!(folder.join("corpus").join(name).is_dir());
            }
        }
    }

    #[test]
    fn an_unknown_target_is_refused_with_those_that_there_are() {
        let error = run(Some("sesion"), Duration::ZERO).unwrap_err();

        assert!(
            error
                .to_string()
                .contains("card, recording, rings, state, session"),
            "{error}"
        );
    }
}
