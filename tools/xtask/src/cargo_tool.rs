//! Programs of the registry that cargo builds and the cache keeps.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use guest_vm::Cache;

use crate::binaries;

/// Finds or installs `name` in this version, and gives the folder of its program. It is built without optimisation: that
/// would take longer than any of them ever runs.
pub fn install(cache: &Cache, name: &str, version: &str) -> Result<PathBuf> {
    let root = cache.path(name).join(version);
    let programs = root.join("bin");
    let _lock = cache.lock()?;
    if !programs.join(name).exists() {
        eprintln!("Installing {name} {version}");
        let building = root.join("target");
        let status = binaries::cargo()
            .args(["install", name, "--locked", "--debug", "--quiet"])
            .args(["--version", &format!("={version}")])
            .arg("--root")
            .arg(&root)
            .arg("--target-dir")
            .arg(&building)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .stdout(Stdio::null())
            .status()
            .context("cannot run cargo")?;
        ensure!(
            status.success(),
            "cargo cannot install {name} {version}: see its messages above"
        );
        std::fs::remove_dir_all(&building)
            .with_context(|| format!("cannot remove {}", building.display()))?;
    }
    Ok(programs)
}
