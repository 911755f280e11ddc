//! The Debian package: its files, and what packs them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Name of the package.
const NAME: &str = "vfio-user-ixgbe";
/// Times in the package are those of this moment where git does not know when the source was changed last.
const LONG_AGO: &str = "0";

/// What goes into it.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The source's folder.
    pub source: &'a Path,
    /// The programs.
    pub programs: &'a [PathBuf],
    /// The bill of materials.
    pub bill: Value,
    /// Licences of what is linked in.
    pub notices: String,
    /// Version of the package.
    pub version: &'a str,
}

impl Contents<'_> {
    /// Puts all files where they are to be under `root`. `target` is where cargo builds what writes the manual pages.
    pub fn lay_out(&self, root: &Path, target: &Path) -> Result<()> {
        for program in self.programs {
            let name = program.file_name().context("a program has no name")?;
            copy(program, &root.join("usr/bin").join(name), 0o755)?;
        }
        self.manual(root, target)?;
        for unit in ["vfio-user-ixgbe@.service", "vfio-user-ixgbe@.socket"] {
            let from = self.source.join("packaging/systemd").join(unit);
            copy(
                &from,
                &root.join("usr/lib/systemd/system").join(unit),
                0o644,
            )?;
        }
        let documents = root.join("usr/share/doc").join(NAME);
        for page in [
            "README.md",
            "docs/install.md",
            "docs/wires.md",
            "docs/threat-model.md",
        ] {
            copy(&self.source.join(page), &documents.join(page), 0o644)?;
        }
        compress(
            &read(&self.source.join("CHANGELOG.md"))?,
            &documents.join("changelog.gz"),
        )?;
        compress(
            self.notices.as_bytes(),
            &documents.join("third-party.txt.gz"),
        )?;
        let bill = serde_json::to_string_pretty(&self.bill)? + "\n";
        write(&documents.join("sbom.cdx.json"), bill.as_bytes())?;
        write(&documents.join("copyright"), self.copyright()?.as_bytes())?;
        write(&root.join("DEBIAN/control"), self.control(root)?.as_bytes())
    }

    /// Packs `root` into a package in `folder`; none if there is no dpkg-deb.
    pub fn pack(&self, root: &Path, folder: &Path) -> Result<Option<PathBuf>> {
        let package = folder.join(format!("{NAME}_{}_{}.deb", self.version, architecture()));
        let mut command = Command::new("dpkg-deb");
        command
            .args(["--build", "--root-owner-group", "-Zxz"])
            .arg(root)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", self.changed())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let Ok(status) = command.status() else {
            return Ok(None);
        };
        ensure!(
            status.success(),
            "dpkg-deb does not pack {}",
            root.display()
        );
        Ok(Some(package))
    }

    /// When the source was changed last, in seconds since 1970.
    fn changed(&self) -> String {
        let output = Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(crate::binaries::workspace())
            .stdin(Stdio::null())
            .output();
        let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        said.ok()
            .filter(|said| !said.is_empty())
            .unwrap_or_else(|| LONG_AGO.to_owned())
    }

    /// Manual pages and completions, as the programs' own descriptions say.
    fn manual(&self, root: &Path, target: &Path) -> Result<()> {
        let written = tempfile::tempdir().context("cannot make a folder")?;
        let written = written.path();
        let mut servers = crate::binaries::cargo();
        servers
            .current_dir(self.source)
            .args(["run", "--quiet", "--locked", "--package", "manual"])
            .arg("--target-dir")
            .arg(target)
            .arg("--")
            .arg(written)
            .env_remove("CARGO_MANIFEST_DIR");
        succeed(&mut servers)?;
        let ixgbectl = self
            .programs
            .iter()
            .find(|program| program.ends_with("ixgbectl"))
            .context("ixgbectl was not built")?;
        succeed(
            Command::new(ixgbectl)
                .arg("man")
                .arg(written)
                .stdout(Stdio::null()),
        )?;
        for (shell, name) in [
            ("bash", "ixgbectl.bash"),
            ("zsh", "_ixgbectl"),
            ("fish", "ixgbectl.fish"),
        ] {
            let output = Command::new(ixgbectl).args(["completions", shell]).output();
            let output = output.context("cannot run ixgbectl")?;
            ensure!(
                output.status.success(),
                "ixgbectl completions {shell} failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            write(&written.join(name), &output.stdout)?;
        }
        let mut entries = fs::read_dir(written)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .context("cannot read what was written")?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let share = root.join("usr/share");
        for entry in entries {
            let (from, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            match name.rsplit_once('.') {
                Some((_, "1")) => {
                    compress(&read(&from)?, &share.join(format!("man/man1/{name}.gz")))?;
                }
                Some((program, "bash")) => {
                    let to = share.join("bash-completion/completions").join(program);
                    copy(&from, &to, 0o644)?;
                }
                Some((_, "fish")) => {
                    let to = share.join("fish/vendor_completions.d").join(&*name);
                    copy(&from, &to, 0o644)?;
                }
                _ => copy(
                    &from,
                    &share.join("zsh/vendor-completions").join(&*name),
                    0o644,
                )?,
            }
        }
        Ok(())
    }

    fn copyright(&self) -> Result<String> {
        let licence = |name: &str| -> Result<String> {
            let text = String::from_utf8_lossy(&read(&self.source.join(name))?).into_owned();
            Ok(text)
        };
        Ok(format!(
            "vfio-user-ixgbe is licensed under Apache-2.0 OR BSD-3-Clause, at your choice. What is linked into its programs \
             is\nlisted in third-party.txt.gz and sbom.cdx.json.\n\n{}\n{}\n{}",
            licence("LICENSE-BSD")?,
            "=".repeat(78),
            licence("LICENSE-APACHE")?
        ))
    }

    fn control(&self, root: &Path) -> Result<String> {
        Ok(format!(
            "Package: {NAME}\nVersion: {}\nArchitecture: {}\nMaintainer: The vfio-user-ixgbe developers \
             <developers@vfio-user-ixgbe.invalid>\nInstalled-Size: {}\nSection: net\nPriority: optional\nSuggests: \
             qemu-system-x86 (>= 1:10.1)\nDescription: Intel 82599 10 GbE NIC in software, served over vfio-user\n For people \
             who write NIC drivers, zero-copy host stacks and the tests of\n both: attach it to a stock QEMU, and an \
             unmodified driver runs on it.\n .\n The programs are linked statically.\n",
            self.version,
            architecture(),
            kilobytes(root)?
        ))
    }
}

/// Debian's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file that everybody may read, and its folders.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut folders: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|path| !path.exists())
        .collect();
    folders.reverse();
    for folder in folders {
        fs::create_dir(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)))
            .with_context(failed)?;
    }
    fs::write(path, bytes)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)))
        .with_context(failed)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    write(to, &read(from)?)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", to.display()))
}

/// Writes a file packed by gzip, which every Debian has; without a name and time in it.
fn compress(bytes: &[u8], path: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip")
        .args(["-9", "--no-name", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run gzip (package gzip)")?;
    let mut input = gzip.stdin.take().context("gzip has no input")?;
    let output = std::thread::scope(|scope| {
        // gzip writes before it has read everything.
        let writer = scope.spawn(move || input.write_all(bytes));
        let output = gzip.wait_with_output();
        writer
            .join()
            .is_ok_and(|written| written.is_ok())
            .then_some(output)
    });
    let output = output
        .context("gzip does not read")?
        .context("gzip does not end")?;
    ensure!(output.status.success(), "gzip failed");
    write(path, &output.stdout)
}

/// What is in a folder, in units of 1024 bytes, each file rounded up.
fn kilobytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    let failed = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let metadata = entry.metadata().with_context(failed)?;
        sum += if metadata.is_dir() {
            kilobytes(&entry.path())?
        } else {
            metadata.len().div_ceil(1024)
        };
    }
    Ok(sum)
}
