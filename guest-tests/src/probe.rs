//! The program `guest-probe` in a guest: AF_XDP sockets and others without a copy, and where their bytes lie.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use guest_probe::{Job, Place, QueueEnd, Report};
use guest_vm::Guest;
use serde_json::Value;

/// Where the program is in the guest, what it is asked for, what it answers and what it complains of.
const PROGRAM: &str = "/tmp/guest-probe";
const JOB: &str = "/tmp/guest-probe.job";
const ANSWERS: &str = "/tmp/guest-probe.answers";
const ERRORS: &str = "/tmp/guest-probe.errors";
/// Its process, while it runs.
const PID: &str = "/tmp/guest-probe.pid";
/// How long what is asked of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A frame that an AF_XDP socket has received or is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The socket's queue.
    pub queue: u32,
    /// Where it lies.
    pub place: Place,
    /// Its address in the socket's memory.
    pub umem: u64,
}

/// The program with open sockets.
#[derive(Debug)]
pub struct Probe {
    /// For each queue, the physical addresses of the pages that its socket has registered.
    pub pages: Vec<Vec<u64>>,
}

impl Probe {
    /// Starts the program, and waits until its sockets receive frames. The kernel has to say of each that nothing is
    /// copied.
    ///
    /// # Errors
    /// It does not begin: a bind was refused, for one thing.
    pub fn start(guest: &mut Guest, job: &Job) -> Result<Self> {
        put(guest, job)?;
        sh(
            guest,
            &format!(
                "rm -f {ANSWERS} {ERRORS}; touch {ANSWERS}
                 {PROGRAM} \"$(cat {JOB})\" >{ANSWERS} 2>{ERRORS} &
                 echo $! >{PID}
                 until grep -q Ready {ANSWERS}; do
                     [ -e /proc/$(cat {PID}) ] || {{ cat {ERRORS}; exit 1; }}
                     usleep 10000
                 done"
            ),
        )?;
        let mut pages = Vec::new();
        for answer in answers(guest)? {
            if let Report::Bound {
                queue,
                zero_copy,
                pages: of_queue,
            } = answer
            {
                ensure!(zero_copy, "the socket of queue {queue} copies");
                pages.push(of_queue);
            }
        }
        Ok(Self { pages })
    }

    /// Waits until this many frames were told of, and returns them.
    ///
    /// # Errors
    /// They do not come.
    pub fn frames(&self, guest: &mut Guest, count: usize) -> Result<Vec<Frame>> {
        let begun = Instant::now();
        loop {
            let answers = answers(guest)?.into_iter();
            let frames = answers.filter_map(|answer| match answer {
                Report::Frame { queue, place, umem } => Some(Frame { queue, place, umem }),
                _ => None,
            });
            let frames: Vec<Frame> = frames.collect();
            if frames.len() >= count {
                return Ok(frames);
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{} frames of {count}, and no more come",
                frames.len()
            );
        }
    }

    /// Ends it, and returns what its sockets have done.
    ///
    /// # Errors
    /// It has failed.
    pub fn stop(self, guest: &mut Guest) -> Result<Vec<QueueEnd>> {
        end(guest, "TERM")?;
        let answers = answers(guest)?;
        match answers.into_iter().next_back() {
            Some(Report::End(ends)) => Ok(ends),
            _ => bail!("{}", sh(guest, &format!("cat {ERRORS}"))?),
        }
    }

    /// Kills it, as SIGKILL does.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill(self, guest: &mut Guest) -> Result<()> {
        end(guest, "KILL")
    }
}

/// Lets the program do something that ends by itself, and returns its answers.
///
/// # Errors
/// It fails.
pub fn run(guest: &mut Guest, job: &Job) -> Result<Vec<Report>> {
    put(guest, job)?;
    sh(
        guest,
        &format!("{PROGRAM} \"$(cat {JOB})\" 2>&1 >{ANSWERS}"),
    )?;
    answers(guest)
}

/// Puts program and job into the guest.
fn put(guest: &mut Guest, job: &Job) -> Result<()> {
    // One that is still there is another test's, which has failed.
    sh(
        guest,
        &format!("[ ! -e {PID} ] || kill -9 $(cat {PID}) 2>/dev/null; rm -f {PID}"),
    )?;
    let there = guest.run(&format!("[ -x {PROGRAM} ]"), PATIENCE)?;
    if there.status != 0 {
        let path = program()?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        guest.write_file(PROGRAM, &bytes)?;
        sh(guest, &format!("chmod +x {PROGRAM}"))?;
    }
    guest.write_file(JOB, serde_json::to_string(job)?.as_bytes())?;
    Ok(())
}

fn end(guest: &mut Guest, signal: &str) -> Result<()> {
    sh(
        guest,
        &format!(
            "pid=$(cat {PID})
             kill -{signal} $pid || {{ cat {ERRORS}; exit 1; }}
             while [ -e /proc/$pid ]; do usleep 10000; done; rm {PID}"
        ),
    )?;
    Ok(())
}

fn answers(guest: &mut Guest) -> Result<Vec<Report>> {
    let text = sh(guest, &format!("cat {ANSWERS}"))?;
    // The last line may be on its way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let answers = whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("answer {line}")));
    answers.collect()
}

fn sh(guest: &mut Guest, command: &str) -> Result<String> {
    let output = guest.run(command, PATIENCE)?;
    ensure!(
        output.status == 0,
        "`{command}` in the guest: status {}: {}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

/// The program, built so that it needs no library of the guest's.
fn program() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["rustc", "--quiet", "--package", "guest-probe"])
        .args(["--bin", "guest-probe"])
        .arg("--message-format=json-render-diagnostics")
        .args(["--", "-Ctarget-feature=+crt-static", "-Cstrip=symbols"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo cannot build the program for guests: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let executable = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    executable.context("cargo has built no program")
}
