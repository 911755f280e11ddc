//! A running guest: QEMU, its console, its monitor and the agent that runs commands in it.

mod agent;
mod boot_sector;
mod config;
mod console;
mod foreign;

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use self::agent::Agent;
pub use self::agent::Output;
pub(crate) use self::boot_sector::firmware_boots;
pub use self::config::{Accel, ConsoleUse, GuestConfig, KernelBoot};
use self::console::Console;
pub use self::foreign::{ForeignBoot, ForeignGuest};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::process::{Process, death_bound, describe};
use crate::qemu::machine_arguments;
use crate::qmp::Qmp;

/// The command that ends when the guest has slept and is awake again.
const SUSPEND: &str = "echo deep >/sys/power/mem_sleep && echo mem >/sys/power/state";

/// How a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// QEMU ended although nobody asked it to.
    #[error("QEMU ended{}; logs are in {logs}", said(.stderr))]
    QemuEnded {
        /// What QEMU wrote to stderr last.
        stderr: String,
        /// Folder of the logs.
        logs: PathBuf,
    },
    /// The guest's kernel reported a fault of its own.
    #[error("the guest's kernel failed: {line}; see {log}")]
    KernelFault {
        /// The line of the console that says so.
        line: String,
        /// The console's log.
        log: PathBuf,
    },
    /// The guest did not do what was asked in time.
    #[error("{what} took more than {limit:?}{}; the guest's console is in {log}", so_far(.output))]
    Timeout {
        /// What was waited for.
        what: String,
        /// The limit.
        limit: Duration,
        /// What a command had written by then.
        output: String,
        /// The console's log.
        log: PathBuf,
    },
    /// A command in the guest ended with a status that is not 0.
    #[error("`{command}` in the guest failed with status {status}: {text}")]
    Status {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
        /// What it wrote.
        text: String,
    },
    /// The agent said something that it never says.
    #[error("the agent in the guest answered {0:?}")]
    Agent(String),
}

fn so_far(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(", after it had written {output:?}")
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        " without a word".to_owned()
    } else {
        format!(": {stderr}")
    }
}

/// A booted guest. QEMU is killed when this is dropped.
///
/// Usable from any thread, by one at a time.
#[derive(Debug)]
pub struct Guest {
    // Dropped first: QEMU goes before its sockets and its console's reader.
    qemu: Process,
    agent: Agent,
    qmp: Qmp,
    console: Console,
    logs: PathBuf,
    boot_time: Duration,
    sockets: tempfile::TempDir,
}

impl Guest {
    /// Starts QEMU with `image` and waits until the agent in the guest answers.
    ///
    /// # Errors
    /// QEMU does not start (its reason is in the error), the kernel fails, or the limit passes.
    pub fn boot(config: &GuestConfig, image: &Image) -> Result<Self> {
        let begun = Instant::now();
        let sockets = tempfile::Builder::new()
            .prefix("guest-")
            .tempdir()
            .map_err(Error::path("create a folder in", std::env::temp_dir()))?;
        let listen = |name: &str| {
            let path = sockets.path().join(name);
            UnixListener::bind(&path)
                .map(|listener| (listener, path.clone()))
                .map_err(Error::path("listen at", path))
        };
        let (agent, agent_path) = listen("agent")?;
        let (monitor, monitor_path) = listen("monitor")?;

        let logs = config.logs().to_owned();
        fs::create_dir_all(&logs).map_err(Error::path("create the folder", &logs))?;
        let mut command = config.qemu().command();
        command
            .args(machine_arguments(config.memory_mib()))
            .args(config.cpu_arguments());
        let kernel = match config.kernel_boot() {
            KernelBoot::Direct => &image.vmlinux,
            KernelBoot::ByFirmware => &image.bzimage,
        };
        command
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(&image.initramfs);
        command.arg("-append").arg(config.kernel_arguments());
        command.args([
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ]);
        command.args([
            "-chardev",
            &format!("socket,id=monitor,path={}", monitor_path.display()),
        ]);
        command.args(["-mon", "chardev=monitor,mode=control"]);
        command.args([
            "-chardev",
            &format!("socket,id=agent,path={}", agent_path.display()),
        ]);
        command.args(["-device", "virtio-serial-pci,id=serial,addr=0x3"]);
        command.args(["-device", "virtserialport,chardev=agent,name=agent"]);
        command.args(config.devices());
        let command_log = logs.join("qemu.command");
        fs::write(&command_log, format!("{}\n", describe(&command)))
            .map_err(Error::path("write", command_log))?;

        let stderr_path = logs.join("qemu.stderr");
        let stderr = fs::File::create(&stderr_path).map_err(Error::path("create", &stderr_path))?;
        let mut bound = death_bound(&command);
        bound.stdout(Stdio::piped()).stderr(stderr);
        bound.stdin(match config.console() {
            ConsoleUse::Log => Stdio::null(),
            ConsoleUse::Shell => Stdio::inherit(),
        });
        let mut qemu = config
            .spawner()
            .start_with("QEMU", bound, Some(stderr_path.clone()))?;
        let stdout = qemu
            .child_mut()
            .stdout
            .take()
            .expect("stdout was asked for as a pipe");
        let console = Console::follow(stdout, logs.join("console.log"), config.console())?;

        let mut wait = Wait {
            qemu: &mut qemu,
            console: &console,
            logs: &logs,
            deadline: begun + config.boot_limit(),
        };
        let monitor = wait.connection(&monitor, "QEMU's monitor", config.boot_limit())?;
        let agent_stream = wait.connection(&agent, "QEMU's start", config.boot_limit())?;
        let qmp = Qmp::new(monitor)?;
        let mut guest = Self {
            qemu,
            agent: Agent::new(agent_stream)?,
            qmp,
            console,
            logs,
            boot_time: Duration::ZERO,
            sockets,
        };
        guest.wait_ready(config.boot_limit())?;
        guest.boot_time = begun.elapsed();
        Ok(guest)
    }

    /// How long it took from QEMU's start to the agent's first word.
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// Folder of the logs: `console.log`, `qemu.stderr`, `qemu.command`.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Runs a shell command in the guest and returns its output and status, whatever the status is.
    ///
    /// # Errors
    /// The guest fails, or the command takes longer than `limit`.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Output> {
        self.agent.begin(command, limit)?;
        // The guest ends the command itself at the limit; what comes after means that it hangs.
        let answer = self.answer(command, limit + Duration::from_secs(10))?;
        if answer.status == 143 && answer.took >= limit {
            let what = format!("`{command}`");
            return Err(GuestError::Timeout {
                what,
                limit,
                output: format!("{}{}", answer.stdout, answer.stderr),
                log: self.logs.join("console.log"),
            }
            .into());
        }
        Ok(answer)
    }

    /// Runs a shell command that must end with status 0 within 60 s, and returns what it wrote to stdout.
    ///
    /// # Errors
    /// As for [`Guest::run`], and any other status.
    pub fn sh(&mut self, command: &str) -> Result<String> {
        let output = self.run(command, Duration::from_secs(60))?;
        if output.status != 0 {
            let text = format!("{}{}", output.stdout, output.stderr);
            return Err(GuestError::Status {
                command: command.to_owned(),
                status: output.status,
                text,
            }
            .into());
        }
        Ok(output.stdout)
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// As for [`Guest::run`].
    pub fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let what = format!("writing {path}");
        self.agent.begin_put(path, content)?;
        let answer = self.answer(&what, Duration::from_secs(60))?;
        if answer.status != 0 {
            return Err(GuestError::Status {
                command: what,
                status: answer.status,
                text: answer.stderr,
            }
            .into());
        }
        Ok(())
    }

    /// Reads the guest's physical memory, while the guest runs on.
    ///
    /// # Errors
    /// QEMU refuses: there is no memory at these addresses.
    pub fn physical_memory(&mut self, address: u64, len: usize) -> Result<Vec<u8>> {
        let path = self.sockets.path().join("memory");
        let arguments = json!({ "val": address, "size": len, "filename": path });
        self.qmp.execute("pmemsave", &arguments)?;
        fs::read(&path).map_err(Error::path("read", &path))
    }

    /// The kernel's log.
    ///
    /// # Errors
    /// As for [`Guest::run`].
    pub fn dmesg(&mut self) -> Result<String> {
        self.sh("dmesg")
    }

    /// Reboots the guest from within and waits until it is up again.
    ///
    /// # Errors
    /// As for [`Guest::boot`].
    pub fn reboot(&mut self, limit: Duration) -> Result<()> {
        self.agent.begin(
            "sync; (usleep 50000; reboot -f) & true",
            Duration::from_secs(10),
        )?;
        self.answer("reboot", Duration::from_secs(10))?;
        self.wait_ready(limit)
    }

    /// Presses the guest's reset button and waits until it is up again.
    ///
    /// # Errors
    /// As for [`Guest::boot`].
    pub fn system_reset(&mut self, limit: Duration) -> Result<()> {
        self.qmp.execute("system_reset", &json!({}))?;
        self.wait_ready(limit)
    }

    /// Suspends the guest to RAM. Its kernel has to be one that was booted by the firmware: see [`KernelBoot`]. Until
    /// [`Guest::wake_up`] it runs no commands.
    ///
    /// # Errors
    /// It refuses, or does not sleep within the limit.
    pub fn suspend(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        self.agent.begin(SUSPEND, limit)?;
        while self.qmp.execute("query-status", &json!({}))?["status"] != "suspended" {
            self.check("suspending the guest", limit, deadline)?;
            // A kernel that refuses says so at once.
            if let Some(output) = self.agent.answer()? {
                return Err(Self::not_suspended(output).into());
            }
        }
        Ok(())
    }

    /// Wakes up a guest that [`Guest::suspend`] has put to sleep.
    ///
    /// # Errors
    /// It is not awake within the limit.
    pub fn wake_up(&mut self, limit: Duration) -> Result<()> {
        self.qmp.execute("system_wakeup", &json!({}))?;
        match self.answer(SUSPEND, limit)? {
            output if output.status != 0 => Err(Self::not_suspended(output).into()),
            _ => Ok(()),
        }
    }

    fn not_suspended(output: Output) -> GuestError {
        GuestError::Status {
            command: SUSPEND.to_owned(),
            status: output.status,
            text: output.stderr,
        }
    }

    /// QEMU's monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Lets QEMU quit by its monitor and waits for its end.
    ///
    /// # Errors
    /// QEMU had to be killed.
    pub fn quit(mut self) -> Result<()> {
        // QEMU may close the monitor before its answer is read.
        let _ = self.qmp.execute("quit", &json!({}));
        self.qemu.terminate(Duration::from_secs(10)).map(drop)
    }

    /// Kills QEMU as SIGKILL does.
    pub fn kill(mut self) {
        self.qemu.kill();
    }

    /// CPU time that QEMU has used so far.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        self.qemu.cpu_time()
    }

    /// Gives the console of a guest that was booted with [`ConsoleUse::Shell`] to the person at the terminal: starts the
    /// shell there, and waits until it is left, which powers the guest off.
    ///
    /// # Errors
    /// As for [`Guest::run`].
    pub fn give_console(mut self) -> Result<()> {
        self.sh("touch /run/console")?;
        while self.qemu.ended().is_none() {
            if let Some(line) = self.console.fault() {
                return Err(GuestError::KernelFault {
                    line,
                    log: self.logs.join("console.log"),
                }
                .into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if self.agent.ready()? {
                return Ok(());
            }
            self.check("booting the guest", limit, deadline)?;
        }
    }

    fn answer(&mut self, what: &str, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(answer) = self.agent.answer()? {
                return Ok(answer);
            }
            self.check(&format!("`{what}`"), limit, deadline)?;
        }
    }

    fn check(&mut self, what: &str, limit: Duration, deadline: Instant) -> Result<()> {
        Wait {
            qemu: &mut self.qemu,
            console: &self.console,
            logs: &self.logs,
            deadline,
        }
        .check(what, limit)
    }
}

/// What ends a wait for the guest early.
struct Wait<'a> {
    qemu: &'a mut Process,
    console: &'a Console,
    logs: &'a Path,
    deadline: Instant,
}

impl Wait<'_> {
    fn check(&mut self, what: &str, limit: Duration) -> Result<()> {
        if self.qemu.ended().is_some() {
            let stderr = self.qemu.log_tail();
            return Err(GuestError::QemuEnded {
                stderr,
                logs: self.logs.to_owned(),
            }
            .into());
        }
        let log = self.logs.join("console.log");
        if let Some(line) = self.console.fault() {
            return Err(GuestError::KernelFault { line, log }.into());
        }
        if Instant::now() >= self.deadline {
            return Err(GuestError::Timeout {
                what: what.to_owned(),
                limit,
                output: String::new(),
                log,
            }
            .into());
        }
        Ok(())
    }

    /// Waits for QEMU to connect.
    fn connection(
        &mut self,
        listener: &UnixListener,
        what: &str,
        limit: Duration,
    ) -> Result<UnixStream> {
        let failed = |source| Error::Start {
            what: what.to_owned(),
            source,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).map_err(failed)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.check(what, limit)?;
                    thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
}
