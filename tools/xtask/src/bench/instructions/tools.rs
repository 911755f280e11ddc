//! What counts instructions: valgrind, and gungraun's runner.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use guest_vm::{Cache, valgrind};
use serde_json::Value;

use crate::{binaries, cargo_tool};

/// The programs.
#[derive(Clone, Debug)]
pub struct Tools {
    valgrind: PathBuf,
    /// Folder of `gungraun-runner`.
    runner: PathBuf,
}

impl Tools {
    /// Finds or fetches them. The runner's version is that of the library in Cargo.lock: they speak with each other.
    pub fn prepare(cache: &Cache) -> Result<Self> {
        let valgrind = valgrind(cache).context("no valgrind to count instructions with")?;
        let version = library_version()?;
        let runner = cargo_tool::install(cache, RUNNER, &version)?;
        Ok(Self { valgrind, runner })
    }

    /// Environment variables by which the benchmark finds them.
    pub fn variables(&self) -> Result<[(&'static str, OsString); 2]> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.runner.clone()).chain(env::split_paths(&path));
        let path = env::join_paths(folders).context("a folder of PATH has a colon in its name")?;
        Ok([
            ("PATH", path),
            ("GUNGRAUN_VALGRIND_BIN", self.valgrind.clone().into()),
        ])
    }
}

const RUNNER: &str = "gungraun-runner";

/// The version of the crate `gungraun` that the benchmark is built with.
fn library_version() -> Result<String> {
    let mut command: Command = binaries::cargo();
    let output = command
        .args(["metadata", "--format-version=1", "--locked"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let version = packages
        .into_iter()
        .flatten()
        .find(|package| package.get("name").and_then(Value::as_str) == Some("gungraun"))
        .and_then(|package| package.get("version").and_then(Value::as_str));
    version
        .map(str::to_owned)
        .context("the crate gungraun is not in Cargo.lock")
}
