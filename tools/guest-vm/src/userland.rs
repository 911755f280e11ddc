//! Programs for the guest, and for the helpers beside it, from Debian 13.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::archive::{PackageRoot, PackageSet, Versions};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::process::{Program, describe};

const PACKAGES: PackageSet = PackageSet {
    name: "userland",
    suite: "trixie",
    packages: &[
        "bash",
        "busybox-static",
        "dash",
        "ethtool",
        "iperf3",
        "iproute2",
        "kmod",
        "linuxptp",
        "netperf",
        "pciutils",
        "tcpdump",
        "tcpreplay",
    ],
    without: &[
        "adduser",
        "base-files",
        "debconf",
        "debianutils",
        "init-system-helpers",
        "libpam0g",
        "passwd",
    ],
};

/// Folder of the private root with its libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// The unpacked programs. They run on any host by their own loader and libraries.
#[derive(Clone, Debug)]
pub struct Userland {
    root: PathBuf,
    pub(crate) versions: Versions,
}

impl Userland {
    /// The programs from the cache, or fetched now.
    ///
    /// # Errors
    /// They are not in the cache and cannot be fetched.
    pub fn prepare(cache: &Cache) -> Result<Self> {
        let _lock = cache.lock()?;
        Self::prepare_locked(cache)
    }

    pub(crate) fn prepare_locked(cache: &Cache) -> Result<Self> {
        Self::unpacked(cache, &PACKAGES)
    }

    /// The programs of any set of packages of the same suite. The caller holds the cache's lock.
    pub(crate) fn unpacked(cache: &Cache, set: &PackageSet) -> Result<Self> {
        let root = PackageRoot::prepare(cache, set)?;
        Ok(Self {
            root: root.path,
            versions: root.versions,
        })
    }

    /// A program of these packages, to be run on this host.
    ///
    /// # Errors
    /// The packages hold no program of that name.
    pub fn program(&self, name: &str) -> Result<Program> {
        let path = self.find(name)?;
        if self.libraries_of(&path)?.is_empty() {
            return Ok(Program::host(path));
        }
        Ok(Program {
            executable: self.root.join(LOADER),
            prefix: loader_arguments(&self.root, &path),
            env: Vec::new(),
        })
    }

    /// Path of a program in the private root.
    pub(crate) fn find(&self, name: &str) -> Result<PathBuf> {
        ["usr/bin", "usr/sbin"]
            .iter()
            .map(|folder| self.root.join(folder).join(name))
            .find(|path| path.exists())
            .ok_or_else(|| Error::Content {
                path: self.root.clone(),
                reason: format!("holds no program {name}"),
            })
    }

    /// Path of any file in the private root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The libraries that a program of the private root loads, by the name under which it asks for them.
    pub(crate) fn libraries_of(&self, program: &Path) -> Result<BTreeMap<String, PathBuf>> {
        let mut command = Command::new(self.root.join(LOADER));
        command
            .arg("--list")
            .args(loader_arguments(&self.root, program));
        let what = describe(&command);
        let output = command
            .output()
            .map_err(|source| Error::Start { what, source })?;
        // Lines are `NAME => PATH (ADDRESS)`; a NAME that is a path is the loader's. A static
        // program has none, and the loader then reports an error.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pairs = text
            .lines()
            .filter_map(|line| line.trim().split_once(" => "));
        let found = pairs.filter_map(|(name, rest)| {
            Some((name.to_owned(), PathBuf::from(rest.split(" (").next()?)))
        });
        Ok(found.filter(|(name, _)| !name.contains('/')).collect())
    }
}

/// Arguments for the loader of the private root `root` to run `program` with that root's libraries.
pub(crate) fn loader_arguments(root: &Path, program: &Path) -> Vec<OsString> {
    vec![
        "--library-path".into(),
        root.join(LIBRARIES).into(),
        program.into(),
    ]
}

/// The loader of a private root.
pub(crate) fn loader(root: &Path) -> PathBuf {
    root.join(LOADER)
}
