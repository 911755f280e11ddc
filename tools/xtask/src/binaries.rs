//! The project's own programs, as a user builds them.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where the programs are that users run beside a guest.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `vfio-user-ixgbe`.
    pub server: PathBuf,
    /// `ixgbectl`.
    pub ixgbectl: PathBuf,
    /// `vhost-user-ixgbe`.
    pub stack: PathBuf,
}

/// Builds the programs in release mode. One selection for all that need any of them: for another, cargo would build some
/// dependencies, and with them the server, anew.
pub fn build() -> Result<Binaries> {
    let executables = Executables::build(&["vfio-user-ixgbe", "ixgbectl", "vhost-user-ixgbe"])?;
    Ok(Binaries {
        server: executables.path("vfio-user-ixgbe")?,
        ixgbectl: executables.path("ixgbectl")?,
        stack: executables.path("vhost-user-ixgbe")?,
    })
}

/// Builds `nic-bench` in release mode.
pub fn nic_bench() -> Result<PathBuf> {
    Executables::build(&["nic-bench"])?.path("nic-bench")
}

/// Builds `driver-test` in release mode.
pub fn driver_test() -> Result<PathBuf> {
    Executables::build(&["driver-test"])?.path("driver-test")
}

/// What cargo has told of the programs that it built.
struct Executables(String);

impl Executables {
    /// Builds these packages in release mode.
    fn build(packages: &[&str]) -> Result<Self> {
        let mut command = cargo();
        command.args(["build", "--release"]);
        for package in packages {
            command.args(["--package", package]);
        }
        let output = command
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "cargo cannot build {}: see its messages above",
            packages.join(", ")
        );
        Ok(Self(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        self.0
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
    }
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
