//! Finding tshark, or fetching one: a reader of captures that is not ours.

use std::process::Stdio;

use crate::archive::PackageSet;
use crate::cache::Cache;
use crate::error::Result;
use crate::process::Program;
use crate::userland::Userland;

const PACKAGES: PackageSet = PackageSet {
    name: "tshark",
    suite: "trixie",
    packages: &["tshark"],
    without: &[
        "adduser",
        "debconf",
        "dumpcap",
        "init-system-helpers",
        "passwd",
    ],
};

const NAME: &str = "tshark";

/// The tshark on PATH, else Debian 13's from the cache, fetched now if it is not there.
///
/// # Errors
/// None can be fetched.
pub fn tshark(cache: &Cache) -> Result<Program> {
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
    let unpacked = Userland::unpacked(cache, &PACKAGES)?;
    let mut program = unpacked.program(NAME)?;
    let data = unpacked.path("usr/share/wireshark");
    program.env.push(("WIRESHARK_DATA_DIR".into(), data.into()));
    Ok(program)
}
