//! Finding passt, or fetching one: a peer for a stream socket, which we did not write.

use std::process::Stdio;

use crate::archive::PackageSet;
use crate::cache::Cache;
use crate::error::Result;
use crate::process::Program;
use crate::userland::Userland;

const PACKAGES: PackageSet = PackageSet {
    name: "passt",
    suite: "trixie",
    packages: &["passt"],
    without: &["apparmor", "debconf", "init-system-helpers"],
};

const NAME: &str = "passt";

/// The passt on PATH, else Debian 13's from the cache, fetched now if it is not there.
///
/// # Errors
/// None can be fetched.
pub fn passt(cache: &Cache) -> Result<Program> {
    let host = Program::host(NAME);
    let mut probe = host.command();
    probe
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(host);
    }
    let _lock = cache.lock()?;
    Userland::unpacked(cache, &PACKAGES)?.program(NAME)
}
