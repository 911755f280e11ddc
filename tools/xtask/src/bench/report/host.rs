//! Where and of what was measured.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use crate::binaries;

/// Where and of what was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    commit: String,
    processor: String,
    cores: usize,
    kernel: String,
    load: String,
}

impl Host {
    /// This one, now.
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name.to_owned());
        // A source tree that came without its history has no commit.
        let commit = Command::new("git")
            .args(["describe", "--always", "--dirty", "--abbrev=12"])
            .current_dir(binaries::workspace())
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            commit: commit.unwrap_or_else(|| "unknown".to_owned()),
            processor: processor.unwrap_or_else(|| "unknown".to_owned()),
            cores: cores(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Commit {}; {}, {} logical cores; Linux {}; load {}",
            self.commit, self.processor, self.cores, self.kernel, self.load
        )
    }
}

/// Logical cores that we may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The host's load of the last minute: other work makes the figures worthless.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
