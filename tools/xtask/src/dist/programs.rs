//! The static programs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::PROGRAMS;

/// Where the source, the crates of the registry and the target folder seem to be, whatever they are called here.
const SOURCE: &str = "/vfio-user-ixgbe";
const CARGO: &str = "/cargo";
const TARGET: &str = "/target";

/// What the programs are built for: this machine's processor, with musl.
///
/// # Errors
/// rustc has no such target, and rustup cannot bring it.
pub fn triple() -> Result<String> {
    let triple = format!("{}-unknown-linux-musl", env::consts::ARCH);
    if is_there(&triple)? {
        return Ok(triple);
    }
    let status = Command::new("rustup")
        .args(["target", "add", &triple])
        .stdin(Stdio::null())
        .status();
    ensure!(
        status.is_ok_and(|status| status.success()) && is_there(&triple)?,
        "there is no Rust for {triple} here, and rustup cannot bring it; a static program needs it"
    );
    Ok(triple)
}

/// Whether rustc has a standard library for this target.
fn is_there(triple: &str) -> Result<bool> {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", triple])
        .output()
        .context("cannot run rustc")?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success() && Path::new(&folder).is_dir())
}

/// Builds `source` and gives its programs, in the order of [`PROGRAMS`].
pub fn build(source: &Path, target: &Path, triple: &str) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--locked", "--target", triple]);
    for program in PROGRAMS {
        command.args(["--package", program]);
    }
    let flags = [
        (source.to_owned(), SOURCE),
        (target.to_owned(), TARGET),
        (cargo_home()?, CARGO),
    ]
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    // A path may have spaces in it, so the flags are told apart by another character.
    let status = command
        .arg("--target-dir")
        .arg(target)
        .current_dir(source)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_INCREMENTAL", "0")
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    ensure!(
        status.success(),
        "cargo cannot build the programs: see its messages above"
    );
    let folder = target.join(triple).join("release");
    Ok(PROGRAMS.map(|name| folder.join(name)).into())
}

/// Fails if a program tells where it was built.
pub fn ensure_no_paths(program: &Path, bytes: &[u8], source: &Path) -> Result<()> {
    for folder in [source.to_owned(), cargo_home()?] {
        let name = folder.as_os_str().as_encoded_bytes();
        ensure!(
            !bytes.windows(name.len()).any(|part| part == name),
            "{} has the path {} in it, so that it is another one in each folder",
            program.display(),
            folder.display()
        );
    }
    Ok(())
}

fn cargo_home() -> Result<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let folder = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    folder.context("neither CARGO_HOME nor HOME is set")
}
