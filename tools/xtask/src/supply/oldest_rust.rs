//! The oldest Rust: `rust-version` in the workspace's manifest.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::binaries;

/// Checks that the workspace builds with it, and tells how. Where it is the Rust at hand, every build is the test.
///
/// # Errors
/// It does not build, or that Rust is not there.
pub fn check() -> Result<String> {
    let manifest = std::fs::read_to_string(binaries::workspace().join("Cargo.toml"))
        .context("cannot read the workspace's Cargo.toml")?;
    let oldest = stated(&manifest).context("Cargo.toml states no rust-version")?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let output = output.context("cannot run rustc")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if is_version(&said, oldest) {
        return Ok(format!(
            "Rust {oldest}, the oldest, is the Rust at hand: every build tests it"
        ));
    }
    let target = binaries::target_folder()?.join("oldest-rust");
    let status = Command::new("rustup")
        .args([
            "run",
            oldest,
            "cargo",
            "check",
            "--workspace",
            "--all-targets",
            "--locked",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(binaries::workspace())
        .stdin(Stdio::null())
        // As the toolchain that runs this command set them for itself.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .status()
        .context("cannot run rustup, by which the oldest Rust is found; see https://rustup.rs")?;
    ensure!(
        status.success(),
        "the workspace does not build with Rust {oldest} (rustup toolchain install {oldest}): see above, or state a newer \
         rust-version"
    );
    Ok(format!("builds with Rust {oldest}, the oldest"))
}

/// The `rust-version` in a manifest.
fn stated(manifest: &str) -> Option<&str> {
    let mut lines = manifest.lines();
    let value = lines.find_map(|line| line.strip_prefix("rust-version = \""))?;
    value.strip_suffix('"')
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

        assert_eq!(stated(manifest), Some("1.95"));
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
}
