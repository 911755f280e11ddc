//! `cargo xtask test`: checks and tests, counted together.

use std::env;
use std::io::{BufRead, BufReader, IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use guest_vm::{Cache, Kernel, Lab, Qemu, TestExtent, TestSetting};

use crate::{
    bench::instructions::Tools,
    binaries,
    failures::{Failure, Reader},
    soak, supply,
};

/// Kernels that the tests boot.
const KERNELS: [Kernel; 2] = [Kernel::Debian12, Kernel::Debian13];
/// Kernel under which DPDK is tested.
const DPDK_KERNEL: Kernel = Kernel::Debian13;
/// How long the soak is here; `cargo xtask soak` alone takes an hour.
const SOAK_MINUTES: &str = "0.75";
/// Set to `true` by CI systems: there, a test that cannot run has failed.
const CI: &str = "CI";

/// How many checks and tests passed, failed and could not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Runs everything and prints `N passed, N failed` as the last line.
pub fn run(extent: TestExtent, qemu: Option<&Path>) -> Result<ExitCode> {
    let mut count = Count::default();
    let mut failures = Vec::new();
    for (name, arguments) in CHECKS {
        let mut command = binaries::cargo();
        command
            .args(*arguments)
            .env("RUSTDOCFLAGS", "--deny warnings");
        count.add(check(name, &mut command, &mut failures)?);
    }
    let name = "licences, sources";
    match Cache::open()
        .map_err(Into::into)
        .and_then(|cache| supply::prepare(&cache))
    {
        Ok(_) => {
            let mut supply = xtask()?;
            supply.args(["supply", "dependencies"]);
            count.add(check(name, &mut supply, &mut failures)?);
        }
        Err(error) => count.add(cannot_run(name, &error, &mut failures)),
    }
    let mut supply = xtask()?;
    supply.args(["supply", "oldest-rust"]);
    // Less is checked where that Rust is not: the name says so, and that is not held against the run.
    let name = if supply::oldest_rust_is_here()? {
        "oldest Rust"
    } else {
        "oldest Rust, not built with: what dependencies state"
    };
    count.add(check(name, &mut supply, &mut failures)?);
    // One call for all packages: cargo would build some dependencies anew for a selection of them.
    let (variables, prepared) = match prepare(extent, qemu) {
        Ok(variables) => (variables, true),
        Err(error) => {
            count.add(cannot_run("tests that need QEMU", &error, &mut failures));
            (Vec::new(), false)
        }
    };
    count.add(cargo_test(&variables, &mut failures)?);
    if extent == TestExtent::Full && prepared {
        let mut demo = xtask()?;
        demo.arg("demo")
            .envs(variables.iter().map(|(name, value)| (name, value)));
        count.add(check("demo", &mut demo, &mut failures)?);
        let mut demo = xtask()?;
        demo.args(["demo", "--zero-copy"])
            .envs(variables.iter().map(|(name, value)| (name, value)));
        count.add(check("demo of the host stack", &mut demo, &mut failures)?);
        match soak::needs() {
            Ok(()) => {
                let mut soak = xtask()?;
                soak.args(["soak", "--minutes", SOAK_MINUTES])
                    .envs(variables.iter().map(|(name, value)| (name, value)));
                count.add(check("soak", &mut soak, &mut failures)?);
            }
            Err(error) => count.add(cannot_run("soak", &error, &mut failures)),
        }
    }
    if extent == TestExtent::Full {
        let name = "instructions of a packet";
        match Tools::prepare(&Cache::open()?) {
            Ok(_) => {
                let mut bench = xtask()?;
                bench.args(["bench", "instructions"]);
                count.add(check(name, &mut bench, &mut failures)?);
            }
            Err(error) => count.add(cannot_run(name, &error, &mut failures)),
        }
    }
    // What failed first may be far above, or cut off where this is read.
    if !failures.is_empty() {
        println!("\n== what failed");
    }
    failures.iter().for_each(Failure::print);
    println!();
    if count.ignored > 0 {
        let verdict = if in_ci() {
            "this counts as failed in CI"
        } else {
            "each says why above"
        };
        println!("{} could not run: {verdict}", count.ignored);
    }
    let failed = count.failed + if in_ci() { count.ignored } else { 0 };
    println!("{} passed, {failed} failed", count.passed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tells why something cannot run, which is a failure in CI.
fn cannot_run(name: &str, error: &anyhow::Error, failures: &mut Vec<Failure>) -> Count {
    println!("{name} cannot run: {error:#}");
    if in_ci() {
        failures.push(Failure {
            name: name.to_owned(),
            lines: vec![format!("cannot run: {error:#}")],
        });
    }
    Count {
        ignored: 1,
        ..Count::default()
    }
}

/// This program.
fn xtask() -> Result<Command> {
    Ok(Command::new(
        env::current_exe().context("cannot find this executable")?,
    ))
}

/// Checks before the tests: name, and arguments of cargo.
const CHECKS: &[(&str, &[&str])] = &[
    ("formatting", &["fmt", "--check"]),
    (
        "lints",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ],
    ),
    ("documentation", &["doc", "--workspace", "--no-deps"]),
];

fn in_ci() -> bool {
    env::var(CI).is_ok_and(|value| value == "true" || value == "1")
}

/// Fetches and builds what the scenarios need, and gives the variables that tell them.
fn prepare(extent: TestExtent, qemu: Option<&Path>) -> Result<Vec<(&'static str, String)>> {
    let mut variables = Vec::new();
    let cache = Cache::open()?;
    variables.push((Cache::PLACE, cache.path("").display().to_string()));
    let qemu = match qemu {
        Some(path) => {
            variables.push((
                Qemu::CHOICE,
                std::path::absolute(path)?.display().to_string(),
            ));
            Qemu::at(path)?
        }
        None => Qemu::find(&cache)?,
    };
    let extent = match extent {
        TestExtent::Quick => "quick",
        TestExtent::Full => {
            for kernel in KERNELS {
                Lab::open_with(kernel, Some(qemu.clone()))?;
            }
            Lab::open_with(DPDK_KERNEL, Some(qemu))?.with_dpdk()?;
            "full"
        }
    };
    variables.push((TestSetting::EXTENT, extent.to_owned()));
    let binaries = binaries::build()?;
    variables.push((TestSetting::SERVER, binaries.server.display().to_string()));
    variables.push((
        TestSetting::IXGBECTL,
        binaries.ixgbectl.display().to_string(),
    ));
    Ok(variables)
}

/// Runs one command as a test. What it says to stderr is kept if it fails.
fn check(name: &str, command: &mut Command, failures: &mut Vec<Failure>) -> Result<Count> {
    begin(name);
    let begun = Instant::now();
    if stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let mut lines = Vec::new();
    let said = child.stderr.take().context("the command has no stderr")?;
    for line in BufReader::new(said).split(b'\n') {
        let line = line.context("cannot read what the command says")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        eprintln!("{line}");
        lines.push(line);
    }
    let status = child.wait().context("the command cannot be waited for")?;
    let (word, count) = if status.success() {
        (
            "ok",
            Count {
                passed: 1,
                ..Count::default()
            },
        )
    } else {
        let name = name.to_owned();
        failures.push(Failure { name, lines });
        (
            "FAILED",
            Count {
                failed: 1,
                ..Count::default()
            },
        )
    };
    println!("{name}: {word}, {:.0} s", begun.elapsed().as_secs_f32());
    Ok(count)
}

/// Runs `cargo test` with these variables and counts what its test programs say.
fn cargo_test(variables: &[(&'static str, String)], failures: &mut Vec<Failure>) -> Result<Count> {
    let name = "tests";
    begin(name);
    let begun = Instant::now();
    let mut command = binaries::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut count = Count::default();
    let mut reader = Reader::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what cargo says")?;
        let mut out = stdout();
        out.write_all(&line)
            .and_then(|()| out.write_all(b"\n"))
            .context("cannot write to stdout")?;
        let line = String::from_utf8_lossy(&line);
        reader.line(&line);
        if let Some(more) = result_line(&line) {
            count.add(more);
        }
    }
    let status = child.wait().context("cargo cannot be waited for")?;
    failures.extend(reader.into_failures());
    if !status.success() && count.failed == 0 {
        count.failed = 1;
        failures.push(Failure {
            name: name.to_owned(),
            lines: vec!["they do not build, or a test program died: see above".to_owned()],
        });
    }
    println!(
        "{name}: {} passed, {} failed, {} could not run, {:.0} s",
        count.passed,
        count.failed,
        count.ignored,
        begun.elapsed().as_secs_f32()
    );
    Ok(count)
}

fn begin(name: &str) {
    println!("\n== {name}");
}

/// `test result: ok. 21 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn result_line(line: &str) -> Option<Count> {
    let mut count = Count::default();
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    for part in numbers.split(';') {
        let mut words = part.split_whitespace();
        let number = words
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        match words.next() {
            Some("passed") => count.passed = number,
            Some("failed") => count.failed = number,
            Some("ignored") => count.ignored = number,
            // A test that runs itself again in a namespace shows what that run said; the test itself is counted.
            Some("filtered") if number > 0 => return None,
            _ => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted() {
        let line = "test result: FAILED. 20 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.09s";

        assert_eq!(
            result_line(line),
            Some(Count {
                passed: 20,
                failed: 1,
                ignored: 2
            })
        );
    }

    #[test]
    fn a_run_of_chosen_tests_is_a_test_that_runs_itself_and_is_not_counted() {
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 11 filtered out; finished in 0.02s";

        assert_eq!(result_line(line), None);
    }

    #[test]
    fn other_lines_are_not_counted() {
        assert_eq!(result_line("test a_test ... ok"), None);
    }
}
