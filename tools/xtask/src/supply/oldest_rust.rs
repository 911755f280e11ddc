//! The oldest Rust: `rust-version` in the workspace's manifest.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::binaries;

/// By what it is checked that the oldest Rust suffices.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// It is the Rust at hand: every build is the test.
    Build,
    /// It is this other toolchain of rustup's, which builds the workspace.
    Toolchain(String),
    /// It is not on this machine: what the dependencies state is read.
    Statements,
}

/// Checks that the workspace needs no newer Rust, and tells how. It is built with the oldest where that is on this machine;
/// where it is not, nothing is fetched, and only what is stated is compared.
///
/// # Errors
/// It does not build, or a dependency states that it needs a newer one.
pub fn check() -> Result<String> {
    let manifest = manifest()?;
    let oldest = stated(&manifest)?;
    match way(oldest)? {
        Way::Build => Ok(format!(
            "Rust {oldest}, the oldest, is the Rust at hand: every build tests it"
        )),
        Way::Toolchain(name) => build(oldest, &name),
        Way::Statements => compare(oldest),
    }
}

/// Whether the oldest Rust is on this machine, so that the workspace is built with it.
///
/// # Errors
/// The manifest states none, or rustc does not run.
pub fn is_here() -> Result<bool> {
    Ok(way(stated(&manifest()?)?)? != Way::Statements)
}

/// The workspace's manifest.
fn manifest() -> Result<String> {
    std::fs::read_to_string(binaries::workspace().join("Cargo.toml"))
        .context("cannot read the workspace's Cargo.toml")
}

/// How it can be checked here.
fn way(oldest: &str) -> Result<Way> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let output = output.context("cannot run rustc")?;
    if is_version(&String::from_utf8_lossy(&output.stdout), oldest) {
        return Ok(Way::Build);
    }
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    let list = list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    Ok(installed(&list.unwrap_or_default(), oldest).map_or(Way::Statements, Way::Toolchain))
}

/// The toolchain of this version, whatever its patch, in what `rustup toolchain list` writes.
fn installed(list: &str, version: &str) -> Option<String> {
    let mut names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let found = names.find(|name| {
        let rest = name.strip_prefix(version);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    });
    found.map(str::to_owned)
}

fn build(oldest: &str, toolchain: &str) -> Result<String> {
    let status = Command::new("rustup")
        .args(["run", toolchain, "cargo", "check"])
        .args(["--workspace", "--all-targets", "--locked"])
        .arg("--target-dir")
        .arg(binaries::target_folder()?.join("oldest-rust"))
        .current_dir(binaries::workspace())
        .stdin(Stdio::null())
        // As the toolchain that runs this command set them for itself.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .status()
        .context("cannot run rustup")?;
    ensure!(
        status.success(),
        "the workspace does not build with Rust {oldest}: see above, or state a newer rust-version"
    );
    Ok(format!("builds with Rust {oldest}, the oldest"))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    rust_version: Option<String>,
}

fn compare(oldest: &str) -> Result<String> {
    let text = super::cargo_says(&["metadata", "--format-version=1", "--locked"])?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let newer = newer(&metadata.packages, oldest);
    ensure!(
        newer.is_empty(),
        "Rust {oldest} is stated as the oldest, and dependencies need a newer one: {}",
        newer.join(", ")
    );
    Ok(format!(
        "not built with Rust {oldest}, the oldest, which is not here (`rustup toolchain install {oldest}`): no dependency \
         states that it needs a newer one; of the standard library clippy finds what is newer, of the language nothing does"
    ))
}

/// Packages that state that they need a newer Rust than `oldest`.
fn newer(packages: &[Package], oldest: &str) -> Vec<String> {
    let oldest = numbers(oldest);
    packages
        .iter()
        .filter_map(|package| {
            let needs = package.rust_version.as_deref()?;
            let Package { name, version, .. } = package;
            (numbers(needs) > oldest).then(|| format!("{name} {version} needs {needs}"))
        })
        .collect()
}

/// The parts of a version; a patch that is not stated is 0.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// The `rust-version` in a manifest.
fn stated(manifest: &str) -> Result<&str> {
    let mut lines = manifest.lines();
    let value = lines.find_map(|line| line.strip_prefix("rust-version = \""));
    value
        .and_then(|value| value.strip_suffix('"'))
        .context("Cargo.toml states no rust-version")
}

/// Whether `rustc --version` says that it is this version, whatever its patch.
fn is_version(said: &str, version: &str) -> bool {
    let number = said.split_whitespace().nth(1).unwrap_or_default();
    number
        .strip_prefix(version)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_manifest() {
        let manifest = "[workspace.package]\nedition = \"2024\"\nrust-version = \"1.95\"\n";

        assert_eq!(stated(manifest).unwrap(), "1.95");
        assert!(stated("edition = \"2024\"\n").is_err());
    }

    #[test]
    fn a_patch_is_the_same_version_and_a_longer_number_is_not() {
        assert!(is_version("rustc 1.95.0 (59807616e 2026-04-14)\n", "1.95"));
        assert!(!is_version(
            "rustc 1.950.0 (59807616e 2026-04-14)\n",
            "1.95"
        ));
        assert!(!is_version(
            "rustc 1.96.0-nightly (59807616e 2026-04-14)\n",
            "1.95"
        ));
    }

    #[test]
    fn a_toolchain_is_found_by_its_version_whatever_its_patch() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\n1.950-x86_64-unknown-linux-gnu\n\
                    1.95.0-x86_64-unknown-linux-gnu\n";

        let name = installed(list, "1.95");

        assert_eq!(name.as_deref(), Some("1.95.0-x86_64-unknown-linux-gnu"));
        assert_eq!(installed(list, "1.94"), None);
    }

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_named() {
        let package = |name: &str, rust_version: Option<&str>| Package {
            name: name.to_owned(),
            version: "2.0.1".to_owned(),
            rust_version: rust_version.map(str::to_owned),
        };
        let packages = [
            package("older", Some("1.56")),
            package("same", Some("1.95.0")),
            package("silent", None),
            package("patch", Some("1.95.1")),
            package("newer", Some("1.100")),
        ];

        let found = newer(&packages, "1.95");

        assert_eq!(
            found,
            ["patch 2.0.1 needs 1.95.1", "newer 2.0.1 needs 1.100"]
        );
    }
}
