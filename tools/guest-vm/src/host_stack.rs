//! The host stack `vhost-user-ixgbe` as a process between a guest and a NIC.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::{Process, Spawner};
use crate::server::listens;

/// Limit for the stack to listen, and to end.
const LIMIT: Duration = Duration::from_secs(60);

/// A running `vhost-user-ixgbe`. It is killed when this is dropped.
#[derive(Debug)]
pub struct HostStack {
    process: Process,
    log: PathBuf,
    sockets: tempfile::TempDir,
}

impl HostStack {
    /// Starts the executable `program` on the NIC at the socket `nic`, with further arguments, and waits until it listens.
    /// What it says goes to the file `log`.
    ///
    /// # Errors
    /// It does not start, or does not listen within 60 s; the error has what it said.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        nic: &Path,
        more: &[S],
        spawner: &Spawner,
        log: &Path,
    ) -> Result<Self> {
        let sockets = tempfile::Builder::new()
            .prefix("stack-")
            .tempdir()
            .map_err(Error::path("create a folder in", std::env::temp_dir()))?;
        let mut command = Command::new(program);
        command
            .arg("--socket")
            .arg(sockets.path().join("stack"))
            .arg("--nic")
            .arg(nic)
            .args(more);
        let process = spawner.start("vhost-user-ixgbe", &command, log)?;
        let mut stack = Self {
            process,
            log: log.to_owned(),
            sockets,
        };
        let deadline = Instant::now() + LIMIT;
        while !listens(stack.process.id(), &stack.socket()) {
            if let Some(status) = stack.process.ended() {
                return Err(stack.failed(status.to_string()));
            }
            if Instant::now() > deadline {
                return Err(stack.failed(format!("it does not listen after {LIMIT:?}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(stack)
    }

    /// The socket for QEMU's `-chardev socket`.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("stack")
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// CPU time that it has used so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        self.process.cpu_time()
    }

    /// Ends it and returns the last line of what it said, which has its counters as words `NAME=COUNT`.
    ///
    /// # Errors
    /// It had to be killed, or its log cannot be read.
    pub fn stop(mut self) -> Result<String> {
        let status = self.process.terminate(LIMIT)?;
        if !status.success() {
            return Err(self.failed(status.to_string()));
        }
        let log = fs::read_to_string(&self.log).map_err(Error::path("read", &self.log))?;
        Ok(log.lines().last().unwrap_or_default().to_owned())
    }

    fn failed(&self, status: String) -> Error {
        Error::Failed {
            what: self.process.name().to_owned(),
            status,
            stderr: self.process.log_tail(),
        }
    }
}
