//! Finding valgrind, or fetching one: it counts instructions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use crate::archive::PackageSet;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::process::Program;
use crate::userland::Userland;

/// libc6-dbg is for tools that look into libc's allocations; the counting ones do not.
const PACKAGES: PackageSet = PackageSet {
    name: "valgrind",
    suite: "trixie",
    packages: &["valgrind"],
    without: &["gdb", "libc6-dbg", "perl"],
};

const NAME: &str = "valgrind";
/// What Debian's script of the name `valgrind` starts.
const LAUNCHER: &str = "valgrind.bin";

/// An executable that is valgrind: the one on PATH, else Debian 13's from the cache, fetched now if it is not there.
///
/// # Errors
/// None can be fetched.
pub fn valgrind(cache: &Cache) -> Result<PathBuf> {
    let mut probe = Program::host(NAME).command();
    probe
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(NAME.into());
    }
    let _lock = cache.lock()?;
    let unpacked = Userland::unpacked(cache, &PACKAGES)?;
    let program = unpacked.program(LAUNCHER)?;
    // Whoever runs it wants the path of one file.
    let script = unpacked.path(NAME);
    let words = std::iter::once(program.executable.as_os_str())
        .chain(program.prefix.iter().map(AsRef::as_ref))
        .map(|word| format!("'{}' ", word.to_string_lossy()));
    let text = format!(
        "#!/bin/sh\nVALGRIND_LIB='{}' exec {}\"$@\"\n",
        unpacked.path("usr/libexec/valgrind").display(),
        words.collect::<String>()
    );
    fs::write(&script, text).map_err(Error::path("write", &script))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .map_err(Error::path("make executable", &script))?;
    Ok(script)
}
