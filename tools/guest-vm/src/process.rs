//! Helper processes that never outlive this one.
//!
//! A [`Spawner`] is one thread that starts processes. Each of them asks the kernel to be killed when that thread
//! ends (`PR_SET_PDEATHSIG`, set by util-linux' `setpriv`), so they go however this process ends, a SIGKILL
//! included. The thread, and not the caller's, must do it: the kernel watches the thread that started a process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// A program and how to run it: some come from packages and run by their own dynamic loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What is executed.
    pub executable: PathBuf,
    /// Arguments that come before the caller's.
    pub prefix: Vec<OsString>,
    /// Environment variables that it needs.
    pub env: Vec<(OsString, OsString)>,
}

impl Program {
    /// A program of the host, by name or path.
    pub fn host(executable: impl Into<PathBuf>) -> Self {
        Self {
            executable: executable.into(),
            prefix: Vec::new(),
            env: Vec::new(),
        }
    }

    /// The program of this name on PATH, if it runs.
    pub(crate) fn on_path(name: &str) -> Option<Self> {
        let host = Self::host(name);
        let mut probe = host.command();
        probe
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        probe
            .status()
            .is_ok_and(|status| status.success())
            .then_some(host)
    }

    /// A command that runs the program; add its arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(&self.prefix);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts processes that end with it, in one network namespace. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct Spawner {
    jobs: Arc<Jobs>,
}

#[derive(Debug)]
struct Jobs(Sender<Job>);

impl Spawner {
    /// The spawner in this process's own network namespace. It lasts as long as this process.
    pub fn own() -> Self {
        static OWN: OnceLock<Spawner> = OnceLock::new();
        OWN.get_or_init(|| Self::with(|| ())).clone()
    }

    /// A spawner in a new network namespace, where nothing but a downed loopback device is.
    pub(crate) fn new_namespace() -> io::Result<Self> {
        let spawner = Self::with(|| ());
        spawner.run(|| unshare(CloneFlags::CLONE_NEWNET))?;
        Ok(spawner)
    }

    fn with(first: impl FnOnce() + Send + 'static) -> Self {
        let (sender, receiver) = channel::<Job>();
        thread::spawn(move || {
            first();
            for job in receiver {
                job();
            }
        });
        Self {
            jobs: Arc::new(Jobs(sender)),
        }
    }

    /// Runs `job` on the spawner's thread, that is inside its network namespace, and returns what it returns.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = channel();
        let sent = self.jobs.0.send(Box::new(move || {
            // The receiver waits below for as long as this job runs.
            let _ = sender.send(job());
        }));
        sent.expect("the spawner's thread lives as long as the spawner");
        receiver
            .recv()
            .expect("the spawner's thread runs each job to its end")
    }

    /// Starts `command` bound to this spawner. Its stdin is empty; its output goes to `log`.
    ///
    /// # Errors
    /// The program cannot be started, or the log cannot be written.
    pub fn start(&self, name: &str, command: &Command, log: &Path) -> Result<Process> {
        let out = File::create(log).map_err(Error::path("create", log))?;
        let err = out.try_clone().map_err(Error::path("use", log))?;
        let mut command = death_bound(command);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        self.start_with(name, command, Some(log.to_owned()))
    }

    /// Starts a command that [`death_bound`] made and whose standard streams are set.
    pub(crate) fn start_with(
        &self,
        name: &str,
        mut command: Command,
        log: Option<PathBuf>,
    ) -> Result<Process> {
        let child = self
            .run(move || command.spawn())
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Error::MissingProgram {
                    program: "setpriv".to_owned(),
                    remedy: "it is part of util-linux: `apt-get install util-linux`",
                },
                _ => Error::Start {
                    what: name.to_owned(),
                    source,
                },
            })?;
        Ok(Process {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Runs `command` to its end inside this spawner's namespace and returns what it wrote to stdout.
    ///
    /// # Errors
    /// The program cannot be started or ends with a status other than 0.
    pub fn output(&self, command: &Command) -> Result<String> {
        let what = describe(command);
        let mut bound = death_bound(command);
        bound.stdin(Stdio::null());
        let output = self
            .run(move || bound.output())
            .map_err(|source| Error::Start {
                what: what.clone(),
                source,
            })?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(Error::Failed {
                what,
                status: output.status.to_string(),
                stderr,
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The same command, but killed when the thread that starts it ends. Standard streams are not taken over.
pub(crate) fn death_bound(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

/// The command as one would type it, for messages.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A running helper process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Option<PathBuf>,
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the process is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The end of its log, for messages.
    pub fn log_tail(&self) -> String {
        self.log.as_deref().map(tail).unwrap_or_default()
    }

    /// How it ended, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end with SIGTERM and waits up to `limit`; kills it if it does not. Returns how it ended.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        Err(Error::Failed {
            what: self.name.clone(),
            status: format!("not gone {limit:?} after SIGTERM"),
            stderr: self.log_tail(),
        })
    }

    /// Sends it a signal. A process that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // Fails only for a process that ended meanwhile, which is as good.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// CPU time used so far by the process, all its threads.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Field 2 is the name in brackets and may hold blanks; utime and stime are fields 14 and 15.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        // The kernel reports ticks of 1/100 s to user space on x86-64.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Bytes of memory that the process has for itself, code included; shared memory is not.
    ///
    /// # Errors
    /// The process has ended.
    pub fn own_memory(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let pages = ["RssAnon:", "RssFile:"];
        Ok(pages.into_iter().filter_map(kilobytes).sum::<u64>() * 1024)
    }

    /// How many file descriptors it has open.
    ///
    /// # Errors
    /// The process has ended, or is somebody else's.
    pub fn descriptors(&self) -> io::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a log file; empty if it cannot be read.
pub(crate) fn tail(path: &Path) -> String {
    let text = std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}
