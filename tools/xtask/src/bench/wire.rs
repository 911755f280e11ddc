//! `cargo xtask bench wire`: what the NIC gives a driver in user space, which drives it over its vfio-user socket.
//!
//! The driver is a process of its own, `nic-bench`; so there are two busy threads in all, the driver's and the port's.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_vm::{Cache, NicServer, Spawner};
use serde::Deserialize;

use super::report::{self, Sample};
use crate::binaries::{self, Binaries};

/// The NIC's name in tables.
const IXGBE: &str = "ixgbe";
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

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// Frames of 60 bytes that arrive.
    Receive60,
    /// Frames of 60 bytes that leave.
    Transmit60,
    /// Both at once, added.
    Duplex60,
    /// Frames of 1514 bytes that arrive.
    Receive1514,
    /// Payload of large TCP segments that the wire takes whole.
    Tso64k,
    /// From the doorbell to the frame and its interrupt.
    LatencyPosted,
    /// A register read and its reply.
    RegisterRead,
    /// Processor time of a server whose client does nothing.
    IdleCpu,
    /// Memory of the server that is not its client's.
    PortMemory,
}

impl Figure {
    const ALL: [Self; 9] = [
        Self::Receive60,
        Self::Transmit60,
        Self::Duplex60,
        Self::Receive1514,
        Self::Tso64k,
        Self::LatencyPosted,
        Self::RegisterRead,
        Self::IdleCpu,
        Self::PortMemory,
    ];

    /// Name in tables and files.
    fn name(self) -> &'static str {
        match self {
            Self::Receive60 => "rx_60",
            Self::Transmit60 => "tx_60",
            Self::Duplex60 => "duplex_60",
            Self::Receive1514 => "rx_1514",
            Self::Tso64k => "tso_64k",
            Self::LatencyPosted => "latency_posted",
            Self::RegisterRead => "register_read",
            Self::IdleCpu => "idle_cpu",
            Self::PortMemory => "port_memory",
        }
    }

    /// What is at the other end of the server's cable.
    fn wire(self) -> &'static str {
        match self {
            Self::Receive60 | Self::Duplex60 => "generate:max,60",
            Self::Receive1514 => "generate:max,1514",
            Self::Transmit60 | Self::RegisterRead | Self::IdleCpu | Self::PortMemory => "null",
            // It copies each segment and has next to nothing to say.
            Self::Tso64k => "generate:1pps,60",
            Self::LatencyPosted => "loopback",
        }
    }
}

/// What `nic-bench` says.
#[derive(Debug, Deserialize)]
struct Measured {
    value: f64,
    unit: String,
}

/// Measures, prints the table, writes `bench/wire.json` in the target folder.
pub fn run(options: &Options) -> Result<ExitCode> {
    let binaries = binaries::build()?;
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
    eprintln!("load {}", report::load());
    let bench = Bench {
        binaries: &binaries,
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
    report::write(&samples, "wire")?;
    Ok(ExitCode::SUCCESS)
}

struct Bench<'a> {
    binaries: &'a Binaries,
    cache: Cache,
    time: Duration,
}

impl Bench<'_> {
    /// Sees that frames pass as they are, before it is measured how fast.
    fn check(&self) -> Result<()> {
        for len in ["60", "1514"] {
            let server = self.server("loopback")?;
            self.client(&["check", "--len", len], Some(&server.socket()))
                .context("frames do not pass as they are")?;
        }
        Ok(())
    }

    /// Measures one figure of the NIC, then that of whom it is compared with.
    fn measure(&self, figure: Figure) -> Result<Vec<Sample>> {
        let server = self.server(figure.wire())?;
        let socket = server.socket();
        let ours = |words: &[&str]| self.sample(figure, IXGBE, words, Some(&socket));
        let mut samples = vec![
            match figure {
                Figure::Receive60 => ours(&["receive"]),
                Figure::Transmit60 => ours(&["transmit"]),
                Figure::Duplex60 => ours(&["duplex"]),
                Figure::Receive1514 => ours(&["receive", "--len", "1514"]),
                Figure::Tso64k => ours(&["tso"]),
                Figure::LatencyPosted => ours(&["latency"]),
                Figure::RegisterRead => ours(&["register-read"]),
                Figure::IdleCpu => self.idle_cpu(&server),
                Figure::PortMemory => self.memory(&server),
            }
            .with_context(|| format!("{} of {IXGBE}", figure.name()))?,
        ];
        drop(server);
        match figure {
            Figure::Receive1514 => {
                samples.push(self.sample(figure, "memcpy", &["memcpy", "1514"], None)?);
            }
            Figure::Tso64k => {
                let words = ["memcpy", "65536", "--ring", "16"];
                samples.push(self.sample(figure, "memcpy", &words, None)?);
            }
            Figure::RegisterRead => samples.push(self.echo(figure)?),
            _ => {}
        }
        Ok(samples)
    }

    fn server(&self, wire: &str) -> Result<NicServer> {
        let log = self.cache.log_folder("bench-wire")?.join("server.log");
        NicServer::start::<&str>(&self.binaries.server, wire, &[], &Spawner::own(), &log)
            .context("the server does not start")
    }

    fn command(&self, words: &[&str], socket: Option<&Path>) -> Command {
        let mut command = Command::new(&self.binaries.nic_bench);
        command.arg(format!("--milliseconds={}", self.time.as_millis()));
        command.args(words).args(socket);
        command
    }

    fn client(&self, words: &[&str], socket: Option<&Path>) -> Result<String> {
        Ok(Spawner::own().output(&self.command(words, socket))?)
    }

    fn sample(
        &self,
        figure: Figure,
        subject: &'static str,
        words: &[&str],
        socket: Option<&Path>,
    ) -> Result<Sample> {
        let said = self.client(words, socket)?;
        let Measured { value, unit } =
            serde_json::from_str(&said).with_context(|| format!("nic-bench said {said:?}"))?;
        Ok(Sample {
            figure: figure.name().to_owned(),
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
        let command = self.command(&["echo-server"], Some(&socket));
        let server = Spawner::own().start("nic-bench", &command, &log)?;
        let patience = Instant::now();
        while !socket.exists() {
            ensure!(
                patience.elapsed() < Duration::from_secs(10),
                "the echo server does not listen: {}",
                server.log_tail()
            );
            thread::sleep(Duration::from_millis(2));
        }
        self.sample(figure, "echo", &["echo"], Some(&socket))
    }

    /// What a server uses while its client has the card up and does nothing with it.
    fn idle_cpu(&self, server: &NicServer) -> Result<Sample> {
        let used = self.while_idle(server, || {
            let before = server.cpu_time()?;
            thread::sleep(self.time);
            Ok(server.cpu_time()?.saturating_sub(before))
        })?;
        Ok(Sample {
            figure: Figure::IdleCpu.name().to_owned(),
            subject: IXGBE,
            unit: "% of core",
            value: used.as_secs_f64() / self.time.as_secs_f64() * 100.0,
        })
    }

    /// Memory of a server whose client has the card up.
    fn memory(&self, server: &NicServer) -> Result<Sample> {
        let bytes = self.while_idle(server, || Ok(server.own_memory()?))?;
        Ok(Sample {
            figure: Figure::PortMemory.name().to_owned(),
            subject: IXGBE,
            unit: "MB",
            value: bytes as f64 / 1e6,
        })
    }

    /// Calls `look` while a client has the card up and does nothing.
    fn while_idle<T>(&self, server: &NicServer, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let log = self
            .cache
            .log_folder("bench-wire-client")?
            .join("client.log");
        let mut command = Command::new(&self.binaries.nic_bench);
        command.arg("hold").arg(server.socket());
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
