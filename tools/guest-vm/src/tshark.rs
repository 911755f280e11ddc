//! Finding tshark, or fetching one: a reader of captures that is not ours.

use std::process::Stdio;

use crate::archive::{PackageRoot, PackageSet};
use crate::cache::Cache;
use crate::error::Result;
use crate::process::Program;
use crate::userland::{loader, loader_arguments};

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
    let root = PackageRoot::prepare(cache, &PACKAGES)?.path;
    Ok(Program {
        executable: loader(&root),
        prefix: loader_arguments(&root, &root.join("usr/bin").join(NAME)),
        env: vec![(
            "WIRESHARK_DATA_DIR".into(),
            root.join("usr/share/wireshark").into(),
        )],
    })
}
