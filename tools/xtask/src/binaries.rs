//! The project's own programs, as a user builds them.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `vfio-user-ixgbe`.
    pub server: PathBuf,
    /// `ixgbectl`.
    pub ixgbectl: PathBuf,
    /// `vhost-user-ixgbe`.
    pub stack: PathBuf,
    /// `nic-bench`.
    pub nic_bench: PathBuf,
    /// `driver-test`.
    pub driver_test: PathBuf,
}

/// Builds the programs in release mode.
pub fn build() -> Result<Binaries> {
    let output = cargo()
        .args([
            "build",
            "--release",
            "--package",
            "vfio-user-ixgbe",
            "--package",
            "ixgbectl",
            "--package",
            "vhost-user-ixgbe",
            "--package",
            "nic-bench",
            "--package",
            "driver-test",
        ])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo cannot build the server: see its messages above");
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = |name: &str| -> Result<PathBuf> {
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message.pointer("/target/name").and_then(Value::as_str) == Some(name))
            .find_map(|message| {
                message
                    .get("executable")
                    .and_then(Value::as_str)
                    .map(PathBuf::from)
            })
            .with_context(|| format!("cargo built no program {name}"))
    };
    Ok(Binaries {
        server: executable("vfio-user-ixgbe")?,
        ixgbectl: executable("ixgbectl")?,
        stack: executable("vhost-user-ixgbe")?,
        nic_bench: executable("nic-bench")?,
        driver_test: executable("driver-test")?,
    })
}

/// The cargo that runs us, for this workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).stdin(Stdio::null());
    command
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let manifest = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()),
    );
    manifest
        .ancestors()
        .nth(2)
        .map_or(manifest.clone(), PathBuf::from)
}

/// Cargo's target folder.
pub fn target_folder() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()
        .context("cannot run cargo")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
    let folder = metadata
        .get("target_directory")
        .and_then(Value::as_str)
        .map(PathBuf::from);
    folder.context("cargo metadata names no target folder")
}
