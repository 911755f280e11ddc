//! Finding passt, or fetching one: a peer for a stream socket, which we did not write.

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
    if let Some(host) = Program::on_path(NAME) {
        return Ok(host);
    }
    let _lock = cache.lock()?;
    Userland::unpacked(cache, &PACKAGES)?.program(NAME)
}
