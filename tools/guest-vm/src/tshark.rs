//! Finding tshark, or fetching one: a reader of captures that is not ours.

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
    if let Some(host) = Program::on_path(NAME) {
        return Ok(host);
    }
    let _lock = cache.lock()?;
    let unpacked = Userland::unpacked(cache, &PACKAGES)?;
    let mut program = unpacked.program(NAME)?;
    let data = unpacked.path("usr/share/wireshark");
    program.env.push(("WIRESHARK_DATA_DIR".into(), data.into()));
    Ok(program)
}
