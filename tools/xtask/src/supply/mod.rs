//! `cargo xtask supply`: what comes into the build, and with which Rust it builds.
//!
//! - `deny.rs`: licences, sources and banned crates, by cargo-deny and `deny.toml`.
//! - `oldest_rust.rs`: the `rust-version` of the workspace.
//! - `sbom.rs`: the bill of materials that a package contains.

mod deny;
mod oldest_rust;
pub mod sbom;

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use guest_vm::Cache;

use crate::binaries;

pub use deny::{Advisories, prepare};
pub use oldest_rust::is_here as oldest_rust_is_here;

/// What is checked by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Licences, sources and versions of dependencies
    Dependencies,
    /// That the oldest Rust that is stated suffices
    OldestRust,
}

/// Checks what comes into the build, and the oldest Rust; or one of the two.
///
/// # Errors
/// A tool cannot be had, or something is not as it should be; the tool has told what.
pub fn run(part: Option<Part>, advisories: Advisories) -> Result<ExitCode> {
    ensure!(
        (part, advisories) != (Some(Part::OldestRust), Advisories::Fetch),
        "known defects are those of dependencies: leave out `oldest-rust` or `--advisories`"
    );
    let is_asked = |which| part.is_none_or(|part| part == which);
    if is_asked(Part::Dependencies) {
        deny::check(&Cache::open()?, advisories)?;
    }
    if is_asked(Part::OldestRust) {
        println!("{}", oldest_rust::check()?);
    }
    Ok(ExitCode::SUCCESS)
}

/// What cargo writes for these arguments.
fn cargo_says(arguments: &[&str]) -> Result<String> {
    let output = binaries::cargo()
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {} failed",
        arguments.join(" ")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
