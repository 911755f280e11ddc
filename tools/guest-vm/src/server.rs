//! The server `vfio-user-ixgbe` as a process beside guests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::process::{Process, Spawner};

/// Limit for the server to listen.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running `vfio-user-ixgbe`. It is killed when this is dropped.
#[derive(Debug)]
pub struct NicServer {
    process: Process,
    log: PathBuf,
    sockets: tempfile::TempDir,
}

impl NicServer {
    /// Starts the executable `server` with the cable `wire` and further arguments in the namespace of `spawner`, and waits
    /// until it listens. What it says goes to the file `log`.
    ///
    /// # Errors
    /// It does not start, or does not listen within 60 s; the error has what it said.
    pub fn start<S: AsRef<OsStr>>(
        server: &Path,
        wire: &str,
        more: &[S],
        spawner: &Spawner,
        log: &Path,
    ) -> Result<Self> {
        let sockets = tempfile::Builder::new()
            .prefix("nic-")
            .tempdir()
            .map_err(Error::path("create a folder in", std::env::temp_dir()))?;
        let mut command = Command::new(server);
        command
            .arg("--socket")
            .arg(sockets.path().join("nic"))
            .args(["--wire", wire])
            .args(more);
        let process = spawner.start("vfio-user-ixgbe", &command, log)?;
        let mut nic = Self {
            process,
            log: log.to_owned(),
            sockets,
        };
        nic.wait_until_it_listens()?;
        Ok(nic)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The vfio-user socket.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("nic")
    }

    /// The control socket, for `ixgbectl --control`.
    pub fn control(&self) -> PathBuf {
        self.sockets.path().join("nic.control")
    }

    /// What the server said.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it runs still.
    ///
    /// # Errors
    /// It has ended; the error has what it said last.
    pub fn check(&mut self) -> Result<()> {
        match self.process.ended() {
            None => Ok(()),
            Some(status) => Err(self.failed(status.to_string())),
        }
    }

    /// CPU time that it has used so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        self.process.cpu_time()
    }

    /// Bytes of memory that it has for itself: not those of its clients, which it only maps.
    ///
    /// # Errors
    /// It has ended.
    pub fn own_memory(&self) -> io::Result<u64> {
        self.process.own_memory()
    }

    /// How many file descriptors it has open.
    ///
    /// # Errors
    /// It has ended.
    pub fn descriptors(&self) -> io::Result<usize> {
        self.process.descriptors()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it with SIGTERM and returns how it ended.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.process.terminate(Duration::from_secs(5))
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        // A bound socket that does not listen yet would refuse QEMU; one connection that is dropped at once would look to
        // the server like a client. The kernel's table of sockets tells without touching it.
        while !listens(self.process.id(), &self.socket()) {
            self.check()?;
            if Instant::now() > deadline {
                return Err(self.failed(format!("it does not listen after {START_LIMIT:?}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn failed(&self, status: String) -> Error {
        Error::Failed {
            what: self.process.name().to_owned(),
            status,
            stderr: self.process.log_tail(),
        }
    }
}

/// Whether somebody listens at `path`, by the table of UNIX sockets of the namespace where process `id` is: flag 0x10000
/// is "accepts connections" (proc_net_unix of the kernel).
pub(crate) fn listens(id: u32, path: &Path) -> bool {
    let table = fs::read_to_string(format!("/proc/{id}/net/unix")).unwrap_or_default();
    let path = path.to_string_lossy();
    table
        .lines()
        .any(|line| line.contains(" 00010000 ") && line.ends_with(path.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process;

    use super::*;

    #[test]
    fn a_path_is_listened_at_from_listen_to_close() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let before = listens(process::id(), &path);

        let listener = UnixListener::bind(&path).unwrap();
        let during = listens(process::id(), &path);
        drop(listener);

        assert_eq!(
            (before, during, listens(process::id(), &path)),
            (false, true, false)
        );
    }
}
