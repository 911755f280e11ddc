//! A server of its own for each test.

#![expect(dead_code, reason = "each test binary uses a part of it")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use vfio_user::client::{Client, Options};

/// How long a test waits for something before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The server's program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vfio-user-ixgbe"))
}

/// Runs the server's program to its end, which is to come by itself.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// A server that is running; it is killed when the test ends.
pub struct Server {
    child: Child,
    folder: TempDir,
    log: Receiver<String>,
}

impl Server {
    /// A server with a loopback plug on its cable.
    pub fn start() -> Self {
        Self::start_with(&["--wire", "loopback"])
    }

    /// A server with these flags besides `--socket`, once it listens.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// As [`Server::start_with`], with its socket in `folder`.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let server = Self::spawn(folder, arguments);
        server.wait_for_log("waiting for a client");
        server
    }

    /// As [`Server::start_with`], before its first line.
    pub fn start_logging(arguments: &[&str]) -> Self {
        Self::spawn(tempfile::tempdir().unwrap(), arguments)
    }

    /// A server that may have so many descriptors, and has these flags besides `--socket`, once it listens.
    pub fn start_with_descriptors(limit: usize, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(limit.to_string())
            .arg(program().get_program());
        let server = Self::spawn_as(&mut shell, tempfile::tempdir().unwrap(), arguments);
        server.wait_for_log("waiting for a client");
        server
    }

    /// A server with a loopback plug on its cable and this environment variable, before its first line.
    pub fn start_with_environment(name: &str, value: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::spawn_as(program().env(name, value), folder, &["--wire", "loopback"])
    }

    fn spawn(folder: TempDir, arguments: &[&str]) -> Self {
        Self::spawn_as(&mut program(), folder, arguments)
    }

    fn spawn_as(program: &mut Command, folder: TempDir, arguments: &[&str]) -> Self {
        let mut child = program
            .arg("--socket")
            .arg(folder.path().join("nic.sock"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        // The pipe is emptied all the time, or a full one would stop the server.
        thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self { child, folder, log }
    }

    /// Waits for a line of the log that contains `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no line with '{text}' in the log: {seen:#?}")
                }
            }
        }
    }

    /// What a server that has ended had to say after the last line that was waited for.
    pub fn rest_of_log(&self) -> Vec<String> {
        self.log.iter().collect()
    }

    /// Path of the client's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("nic.sock")
    }

    /// Path of the control socket.
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("nic.sock.control")
    }

    /// Folder of the sockets.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client that has negotiated.
    pub fn client(&self) -> Client {
        Client::connect(self.socket(), Options::default()).unwrap()
    }

    /// Number of the server's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors the server holds.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits for the server's end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Kills the server without warning and leaves its folder as it is.
    pub fn crash(mut self) -> TempDir {
        self.signal(Signal::SIGKILL);
        self.wait();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The only line of a program's standard error.
pub fn only_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "one line of error expected:\n{text}");
    lines[0].to_owned()
}
