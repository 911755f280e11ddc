//! Licences, sources, banned crates and known defects of dependencies, by cargo-deny.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use guest_vm::Cache;

use crate::{binaries, cargo_tool};

const NAME: &str = "cargo-deny";
/// A later one may have other settings in deny.toml.
const VERSION: &str = "0.20.2";

/// Whether the database of known defects is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advisories {
    /// It is fetched, from outside of the registry.
    Fetch,
    /// It is not.
    LeaveOut,
}

/// Finds or installs cargo-deny, and gives its folder.
pub fn prepare(cache: &Cache) -> Result<PathBuf> {
    cargo_tool::install(cache, NAME, VERSION)
}

/// Checks by `deny.toml`.
pub fn check(cache: &Cache, advisories: Advisories) -> Result<()> {
    let program = prepare(cache)?.join(NAME);
    let mut command = std::process::Command::new(program);
    command
        .current_dir(binaries::workspace())
        .stdin(Stdio::null())
        .args(["--locked", "--log-level", "error"]);
    command.args(["check", "licenses", "bans", "sources"]);
    if advisories == Advisories::Fetch {
        command.arg("advisories");
    }
    let status = command.status().context("cannot run cargo-deny")?;
    ensure!(
        status.success(),
        "cargo-deny found something: see its messages above, and deny.toml"
    );
    if advisories == Advisories::LeaveOut {
        println!("advisories left out: `cargo xtask supply --advisories` fetches their database");
    }
    Ok(())
}
