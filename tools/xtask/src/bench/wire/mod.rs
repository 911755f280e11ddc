//! `cargo xtask bench wire`: what the NIC gives a driver in user space, which drives it over its vfio-user socket.
//!
//! The driver is a process of its own, `nic-bench`; so there are two busy threads in all, the driver's and the port's.

mod figure;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_vm::{Cache, NicServer, Spawner};
use serde::Deserialize;
use tempfile::TempDir;

use self::figure::{Figure, goals};
use super::report::{OURS, Sample, Section, load};
use crate::binaries::Binaries;

/// For what an idle NIC has to do after its driver came up.
const SETTLE: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Debug)]
pub struct Options {
    /// Figures by name; all if empty.
    pub figures: Vec<String>,
    /// How often each is measured.
    pub runs: u32,
    /// How long one measurement lasts.
    pub time: Duration,
}

/// What `nic-bench` says.
#[derive(Debug, Deserialize)]
struct Measured {
    value: f64,
    unit: String,
}

/// Measures the figures in turns, and each in turn with what it is compared with.
pub fn measure(options: &Options, binaries: &Binaries, nic_bench: &Path) -> Result<Section> {
    let figures: Vec<Figure> = Figure::ALL
        .into_iter()
        .filter(|figure| {
            options.figures.is_empty() || options.figures.iter().any(|name| name == figure.name())
        })
        .collect();
    ensure!(
        !figures.is_empty(),
        "no such figure: choose among {}",
        Figure::ALL.map(Figure::name).join(", ")
    );
    eprintln!("load {}", load());
    let bench = Bench {
        binaries,
        nic_bench,
        cache: Cache::open()?,
        time: options.time,
    };
    bench.check()?;
    let mut samples = Vec::new();
    for run in 1..=options.runs {
        for &figure in &figures {
            for sample in bench.measure(figure)? {
                eprintln!(
                    "run {run} {:<8} {:<16} {:>9.2} {}",
                    sample.subject, sample.figure, sample.value, sample.unit
                );
                samples.push(sample);
            }
        }
    }
    let milliseconds = options.time.as_millis();
    let mut command = format!(
        "cargo xtask bench wire --runs {} --milliseconds {milliseconds}",
        options.runs
    );
    if !options.figures.is_empty() {
        command.push_str(&format!(" --figure {}", options.figures.join(",")));
    }
    Ok(Section {
        name: "wire",
        ours: OURS,
        title: "The NIC alone, driven over its socket by a process in user space",
        command,
        samples,
        goals,
        notes: Vec::new(),
    })
}

/// A server and the sockets of its ports.
struct Server {
    nic: NicServer,
    sockets: Vec<PathBuf>,
    /// Where the sockets of further ports are.
    _folder: TempDir,
}

struct Bench<'a> {
    binaries: &'a Binaries,
    nic_bench: &'a Path,
    cache: Cache,
    time: Duration,
}

impl Bench<'_> {
    /// Sees that frames pass as they are, before it is measured how fast.
    fn check(&self) -> Result<()> {
        for len in ["60", "1514"] {
            let server = self.server("loopback", "posted", 1)?;
            self.client(&["check", "--len", len], &server.sockets)
                .context("frames do not pass as they are")?;
        }
        Ok(())
    }

    /// Measures one figure of the NIC, then that of whom it is compared with.
    fn measure(&self, figure: Figure) -> Result<Vec<Sample>> {
        let server = self.server(figure.wire(), figure.doorbells(), figure.ports())?;
        let ours = |words: &[&str]| {
            let sample = self.sample(figure.name(), OURS, words, &server.sockets)?;
            Ok(vec![sample])
        };
        let mut samples = match figure {
            Figure::Receive60 => ours(&["receive"]),
            Figure::Transmit60 => ours(&["transmit"]),
            Figure::Duplex60 => ours(&["duplex"]),
            Figure::Receive1514 => ours(&["receive", "--len", "1514"]),
            Figure::Tso64k => ours(&["tso"]),
            Figure::Pair1514 => ours(&["pair", "--len", "1514"]),
            Figure::LatencyPosted => ours(&["latency"]),
            Figure::LatencyMapped => ours(&["latency-mapped"]),
            Figure::RegisterRead => ours(&["register-read"]),
            Figure::IdleCpu => self.idle_cpu(&server),
            Figure::PortMemory => self.memory(&server),
            Figure::Ports16 => self.ports(&server),
        }
        .with_context(|| format!("{} of {OURS}", figure.name()))?;
        drop(server);
        let other = |subject, words: &[&str]| self.sample(figure.name(), subject, words, &[]);
        match figure {
            Figure::Receive1514 => samples.push(other("memcpy", &["memcpy", "1514"])?),
            Figure::Tso64k => {
                samples.push(other("memcpy", &["memcpy", "65536", "--ring", "16"])?);
            }
            Figure::RegisterRead => samples.push(self.echo(figure)?),
            _ => {}
        }
        Ok(samples)
    }

    /// A server whose ports all have the same wire and doorbells.
    fn server(&self, wire: &str, doorbells: &str, ports: usize) -> Result<Server> {
        let log = self.cache.log_folder("bench-wire")?.join("server.log");
        let folder = tempfile::tempdir().context("no folder for sockets")?;
        let further: Vec<PathBuf> = (1..ports)
            .map(|port| folder.path().join(format!("nic{port}")))
            .collect();
        let mut arguments: Vec<String> = further
            .iter()
            .flat_map(|socket| {
                let socket = socket.display();
                let port = format!("socket={socket},wire={wire},doorbells={doorbells}");
                ["--port".to_owned(), port]
            })
            .collect();
        arguments.extend(["--doorbells", doorbells].map(str::to_owned));
        let nic = NicServer::start(
            &self.binaries.server,
            wire,
            &arguments,
            &Spawner::own(),
            &log,
        )
        .context("the server does not start")?;
        let sockets = std::iter::once(nic.socket()).chain(further).collect();
        Ok(Server {
            nic,
            sockets,
            _folder: folder,
        })
    }

    fn command(&self, words: &[&str], sockets: &[PathBuf]) -> Command {
        let mut command = Command::new(self.nic_bench);
        command.arg(format!("--milliseconds={}", self.time.as_millis()));
        command.args(words).args(sockets);
        command
    }

    fn client(&self, words: &[&str], sockets: &[PathBuf]) -> Result<String> {
        Ok(Spawner::own().output(&self.command(words, sockets))?)
    }

    fn sample(
        &self,
        figure: &str,
        subject: &'static str,
        words: &[&str],
        sockets: &[PathBuf],
    ) -> Result<Sample> {
        let said = self.client(words, sockets)?;
        let Measured { value, unit } =
            serde_json::from_str(&said).with_context(|| format!("nic-bench said {said:?}"))?;
        Ok(Sample {
            figure: figure.to_owned(),
            subject,
            unit: match unit.as_str() {
                "Mpps" => "Mpps",
                "Gbit/s" => "Gbit/s",
                _ => "us",
            },
            value,
        })
    }

    /// A request and a reply where nobody does anything between.
    fn echo(&self, figure: Figure) -> Result<Sample> {
        let folder = tempfile::tempdir().context("no folder for a socket")?;
        let socket = folder.path().join("echo");
        let log = folder.path().join("log");
        let sockets = [socket];
        let command = self.command(&["echo-server"], &sockets);
        let server = Spawner::own().start("nic-bench", &command, &log)?;
        let patience = Instant::now();
        while !sockets.iter().all(|socket| socket.exists()) {
            ensure!(
                patience.elapsed() < Duration::from_secs(10),
                "the echo server does not listen: {}",
                server.log_tail()
            );
            thread::sleep(Duration::from_millis(2));
        }
        self.sample(figure.name(), "echo", &["echo"], &sockets)
    }

    /// What a server uses while its client has the card up and does nothing with it.
    fn idle_cpu(&self, server: &Server) -> Result<Vec<Sample>> {
        let used = self.while_idle(server, || {
            let before = server.nic.cpu_time()?;
            thread::sleep(self.time);
            Ok(server.nic.cpu_time()?.saturating_sub(before))
        })?;
        Ok(vec![Sample {
            figure: Figure::IdleCpu.name().to_owned(),
            subject: OURS,
            unit: "% of core",
            value: used.as_secs_f64() / self.time.as_secs_f64() * 100.0,
        }])
    }

    /// Memory of a server whose client has the card up.
    fn memory(&self, server: &Server) -> Result<Vec<Sample>> {
        let bytes = self.while_idle(server, || Ok(server.nic.own_memory()?))?;
        Ok(vec![Sample {
            figure: Figure::PortMemory.name().to_owned(),
            subject: OURS,
            unit: "MB",
            value: bytes as f64 / 1e6,
        }])
    }

    /// What one port sends, what all of them send together, and their ratio.
    fn ports(&self, server: &Server) -> Result<Vec<Sample>> {
        let first = server.sockets.get(..1).unwrap_or_default();
        let one = self.sample("ports_1_total", OURS, &["ports"], first)?;
        let all = self.sample("ports_16_total", OURS, &["ports"], &server.sockets)?;
        let ratio = Sample {
            figure: Figure::Ports16.name().to_owned(),
            subject: OURS,
            unit: "x one port",
            value: all.value / one.value,
        };
        Ok(vec![ratio, one, all])
    }

    /// Calls `look` while a client has the card up and does nothing.
    fn while_idle<T>(&self, server: &Server, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let log = self
            .cache
            .log_folder("bench-wire-client")?
            .join("client.log");
        let mut command = Command::new(self.nic_bench);
        command.arg("hold").args(server.sockets.first());
        let mut client = Spawner::own().start("nic-bench", &command, &log)?;
        thread::sleep(SETTLE);
        ensure!(
            client.ended().is_none(),
            "the client has gone: {}",
            client.log_tail()
        );
        look()
    }
}
