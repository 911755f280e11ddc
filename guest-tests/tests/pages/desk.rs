//! Where a page is followed: a folder, the programs on PATH, and what was started.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use guest_tests::{
    page::{Page, Shown, Step},
    runner::CannotRun,
};
use guest_vm::{Process, Spawner, TestSetting};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server's program.
const SERVER: &str = "vfio-user-ixgbe";
/// A command that goes on ends with it.
const BEHIND: &str = " &";
/// Tells how the command before it has ended.
const CODE: &str = "echo $?";

pub struct Desk {
    // First: they end before the folder goes.
    server: Option<Process>,
    behind: Vec<Process>,
    folder: TempDir,
    /// Exit code of the last command.
    code: i32,
}

impl Desk {
    pub fn new(setting: &TestSetting) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        // Built for its own tests, beside the folder of this one.
        let tests = env::current_exe().context("cannot find this executable")?;
        let driver_test = tests.ancestors().nth(2).map(|it| it.join("driver-test"));
        let driver_test = driver_test
            .filter(|program| program.is_file())
            .ok_or_else(|| CannotRun("`cargo build --package driver-test` first".to_owned()))?;
        symlink(&setting.server, bin.join(SERVER))?;
        symlink(&setting.ixgbectl, bin.join("ixgbectl"))?;
        symlink(driver_test, bin.join("driver-test"))?;
        Ok(Self {
            server: None,
            behind: Vec::new(),
            folder,
            code: 0,
        })
    }

    /// A file of the pages, which have theirs in /tmp or name no folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The socket of the server that the pages start.
    pub fn socket(&self) -> PathBuf {
        self.path("nic.sock")
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        self.path("nic.sock.control")
    }

    /// Does what the page says. Servers, and what ends with `&`, are started; the others have to succeed, unless the page
    /// asks for their exit code.
    pub fn follow(&mut self, page: Page) -> Result<()> {
        let steps = page.steps()?;
        for (step, next) in steps
            .iter()
            .zip(steps.iter().skip(1).map(Some).chain([None]))
        {
            let asks = matches!(next, Some(Step::Shown(next)) if next.command == CODE);
            match step {
                Step::Command(line) => self.command(line)?,
                Step::Shown(shown) => self.shown(shown, asks)?,
            }
        }
        Ok(())
    }

    fn command(&mut self, line: &str) -> Result<()> {
        if line.starts_with(SERVER) {
            return self.start_server(line);
        }
        if let Some(line) = line.strip_suffix(BEHIND) {
            return self.start_behind(line);
        }
        self.done(line)
    }

    /// Types a command that has to succeed.
    pub fn done(&mut self, line: &str) -> Result<()> {
        let screen = self.run(line)?;
        ensure!(self.code == 0, "`{line}` ends with {}: {screen}", self.code);
        Ok(())
    }

    fn shown(&mut self, shown: &Shown, code_is_asked_for: bool) -> Result<()> {
        let screen = self.run(&shown.command)?;
        shown.compare(&screen)?;
        let line = &shown.command;
        ensure!(
            self.code == 0 || code_is_asked_for,
            "`{line}` ends with {}: {screen}",
            self.code
        );
        Ok(())
    }

    /// Types a command; what is on the screen then.
    pub fn run(&mut self, line: &str) -> Result<String> {
        if line == CODE {
            return Ok(format!("{}\n", std::mem::take(&mut self.code)));
        }
        let output = self.shell(&format!("{{ {line}\n}} 2>&1"));
        let output = { output }.output().context("cannot run sh")?;
        self.code = output.status.code().context("killed by a signal")?;
        let screen = String::from_utf8_lossy(&output.stdout);
        Ok(screen.replace(&self.folder.path().display().to_string(), "/tmp"))
    }

    fn shell(&self, line: &str) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", self.path("bin").display(), path.display());
        let line = line.replace("/tmp/", &format!("{}/", self.folder.path().display()));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &line])
            .current_dir(self.folder.path())
            .env("PATH", path)
            // Other tests' servers run beside the one that is meant.
            .env("IXGBE_CONTROL", self.control());
        shell
    }

    fn start(&self, name: &str, line: &str) -> Result<Process> {
        let command = self.shell(&format!("exec {line}"));
        let log = self.path(&format!("{name}.log"));
        Ok(Spawner::own().start(name, &command, &log)?)
    }

    fn start_server(&mut self, line: &str) -> Result<()> {
        ensure!(
            self.server.is_none(),
            "the server before `{line}` runs still"
        );
        self.server = Some(self.start(SERVER, line)?);
        self.wait_for_log("waiting for a client")
    }

    fn start_behind(&mut self, line: &str) -> Result<()> {
        let process = self.start(&format!("behind-{}", self.behind.len()), line)?;
        self.behind.push(process);
        Ok(())
    }

    /// Waits until the server's log has this text.
    pub fn wait_for_log(&mut self, text: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let log = self.log()?;
            if log.contains(text) {
                return Ok(());
            }
            let late = begun.elapsed() > PATIENCE;
            ensure!(!late, "the server's log lacks '{text}': {log}");
            thread::yield_now();
        }
    }

    /// Types a command again and again, until it shows this text.
    pub fn until(&mut self, line: &str, text: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let screen = self.run(line)?;
            if screen.contains(text) {
                return Ok(());
            }
            let late = begun.elapsed() > PATIENCE;
            ensure!(!late, "`{line}` does not show '{text}': {screen}");
        }
    }

    /// What the server has said.
    pub fn log(&self) -> Result<String> {
        let path = self.path(&format!("{SERVER}.log"));
        fs::read_to_string(path).context("no log of the server")
    }

    /// Waits until somebody listens at this socket.
    pub fn wait_for_socket(&self, socket: &Path) -> Result<()> {
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            let late = begun.elapsed() > PATIENCE;
            ensure!(!late, "nobody listens at {}", socket.display());
            thread::yield_now();
        }
        Ok(())
    }

    /// Waits until the server has ended by itself.
    pub fn server_ends(&mut self) -> Result<ExitStatus> {
        let mut server = self.server.take().context("no server runs")?;
        let begun = Instant::now();
        loop {
            if let Some(status) = server.ended() {
                return Ok(status);
            }
            ensure!(begun.elapsed() < PATIENCE, "the server does not end");
            thread::yield_now();
        }
    }

    /// Ends the server as Ctrl-C does.
    pub fn stop_server(&mut self) -> Result<()> {
        let server = self.server.as_mut().context("no server runs")?;
        server.signal(Signal::SIGINT);
        let status = self.server_ends()?;
        ensure!(status.success(), "the server ends with {status}");
        Ok(())
    }

    /// Ends what goes on behind, as Ctrl-C does.
    pub fn stop_behind(&mut self) -> Result<()> {
        for mut process in self.behind.drain(..) {
            process.signal(Signal::SIGINT);
            let begun = Instant::now();
            while process.ended().is_none() {
                if begun.elapsed() > PATIENCE {
                    bail!("{} does not end: {}", process.name(), process.log_tail());
                }
                thread::yield_now();
            }
        }
        Ok(())
    }
}
