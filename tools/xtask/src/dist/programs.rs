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
    for (folder, seems) in [(source.to_owned(), SOURCE), (cargo_home()?, CARGO)] {
        // What is called so here already is the same everywhere.
        if folder == Path::new(seems) {
            continue;
        }
        ensure!(
            !names(bytes, &folder),
            "{} has the path {} in it, so that it is another one in each folder",
            program.display(),
            folder.display()
        );
    }
    Ok(())
}

/// Whether `bytes` have the path of something in `folder` in them. Strings lie there without anything between them; but one
/// name alone, such as `/src`, is within the paths of many, so that there a path must not go on before it.
fn names(bytes: &[u8], folder: &Path) -> bool {
    let is_one_name = folder.components().count() <= 2;
    let name = [folder.as_os_str().as_encoded_bytes(), b"/"].concat();
    let mut before = None;
    bytes.windows(name.len()).any(|part| {
        let goes_on =
            before.is_some_and(|byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        before = part.first().copied();
        part == name && !(is_one_name && goes_on)
    })
}

fn cargo_home() -> Result<PathBuf> {
    // Cargo takes one that is empty for none.
    let set = env::var_os("CARGO_HOME").filter(|folder| !folder.is_empty());
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let folder = set.map(PathBuf::from).or_else(home);
    folder.context("neither CARGO_HOME nor HOME is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_file_in_the_folder_is_found() {
        let folder = Path::new("/src");

        assert!(names(b"/src/main.rs", folder));
        assert!(names(b"at \0/src/main.rs", folder));
        assert!(names(
            b"other text/home/me/src/main.rs",
            Path::new("/home/me/src")
        ));
    }

    #[test]
    fn a_path_that_ends_like_the_folder_or_begins_like_it_is_not() {
        let folder = Path::new("/src");

        assert!(!names(b"/cargo/registry/anyhow/src/lib.rs", folder));
        assert!(!names(b"/src-of-others/lib.rs and /src", folder));
    }

    #[test]
    fn a_source_in_the_folder_that_all_seem_to_be_in_is_no_difference() {
        let program = Path::new("server");
        let bytes = b"/vfio-user-ixgbe/server/src/main.rs";

        assert!(ensure_no_paths(program, bytes, Path::new(SOURCE)).is_ok());
        assert!(ensure_no_paths(program, bytes, Path::new("/vfio-user-ixgbe/server")).is_err());
    }
}
