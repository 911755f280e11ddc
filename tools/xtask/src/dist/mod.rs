//! `cargo xtask dist`: what is given to others: static programs, and a Debian package of them.
//!
//! The programs are linked with musl and run on any Linux of their architecture. Equal sources, compiler and linker are to
//! give equal bytes, wherever they are built: no path and no time gets into them, and `--check` builds them a second time in
//! another folder and compares.
//!
//! - `programs.rs`: the build.
//! - `elf.rs`: whether a program needs another one to run.
//! - `notices.rs`: the licences of what is linked in.
//! - `package.rs`: the Debian package.
//!
//! Not there: signatures, packages of other systems, other architectures than this machine's.

mod elf;
mod notices;
mod package;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{binaries, supply::sbom};

/// Whether the build is done a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reproduce {
    /// It is, elsewhere, and compared.
    Check,
    /// It is not.
    Trust,
}

/// What is shipped.
pub const PROGRAMS: [&str; 3] = ["vfio-user-ixgbe", "ixgbectl", "vhost-user-ixgbe"];

/// What was made.
#[derive(Debug)]
struct Made {
    /// Folder of the package's files, as they are installed.
    root: PathBuf,
    /// The package, if there is a dpkg-deb.
    package: Option<PathBuf>,
}

/// Makes everything in `dist` of cargo's target folder.
///
/// # Errors
/// Something cannot be built, is not as it should be, or is not the same in another folder.
pub fn run(reproduce: Reproduce) -> Result<ExitCode> {
    let source = binaries::workspace();
    let output = binaries::target_folder()?.join("dist");
    let made = make(&source, &binaries::target_folder()?, &output)?;
    if reproduce == Reproduce::Check {
        let elsewhere = tempfile::tempdir().context("cannot make a folder")?;
        let copy = elsewhere.path().join("a copy of the source");
        copy_source(&source, &copy)?;
        let target = elsewhere.path().join("target");
        let second = make(&copy, &target, &elsewhere.path().join("dist"))?;
        compare(&made, &second)?;
        println!("the same bytes were built in {}", copy.display());
    }
    for name in PROGRAMS {
        println!("{}", made.root.join("usr/bin").join(name).display());
    }
    if let Some(package) = &made.package {
        println!("{}", package.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds and packs `source`.
fn make(source: &Path, target: &Path, output: &Path) -> Result<Made> {
    let triple = programs::triple()?;
    let built = programs::build(source, target, &triple)?;
    for program in &built {
        let bytes =
            fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        ensure!(
            elf::is_static(&bytes),
            "{} is not linked statically",
            program.display()
        );
        programs::ensure_no_paths(program, &bytes, source)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let components = sbom::components(&PROGRAMS, &triple)?;
    let contents = package::Contents {
        source,
        programs: &built,
        bill: sbom::bill(PROGRAMS[0], version, &components),
        notices: notices::of(&components)?,
        version,
    };
    if output.exists() {
        fs::remove_dir_all(output)
            .with_context(|| format!("cannot remove {}", output.display()))?;
    }
    let root = output.join("root");
    contents.lay_out(&root, target)?;
    let package = contents.pack(&root, output)?;
    if package.is_none() {
        println!("no Debian package: there is no dpkg-deb on PATH (package dpkg)");
    }
    Ok(Made { root, package })
}

/// The files that git knows, as they are now.
fn copy_source(source: &Path, copy: &Path) -> Result<()> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(source)
        .stdin(Stdio::null())
        .output()
        .context("cannot run git, which knows what belongs to the source")?;
    ensure!(
        output.status.success(),
        "git does not list the source's files"
    );
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (source.join(name), copy.join(name));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn compare(first: &Made, second: &Made) -> Result<()> {
    let pairs = PROGRAMS
        .map(|name| Path::new("usr/bin").join(name))
        .map(|name| (first.root.join(&name), second.root.join(&name)));
    let packages = first.package.clone().zip(second.package.clone());
    for (one, other) in pairs.into_iter().chain(packages) {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let same = read(&one)? == read(&other)?;
        ensure!(same, "{} is not what was built elsewhere", one.display());
    }
    Ok(())
}
