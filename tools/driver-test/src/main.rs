//! `driver-test`: see the library.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use driver_test::{
    Addresses, Report, Reporter, Station, TRIALS, Trial, Wish,
    cable::Running,
    evidence::{Events, Frames},
    run,
};
use indicatif::ProgressBar;

/// Tests the driver of a guest's 82599 as a black box: from the other end of the cable, and from the device's side.
///
/// The guest runs on a vfio-user-ixgbe and has an IPv4 address on it; nothing else is needed of it. The exit code is 0
/// if nothing failed, 1 if something did, 2 if nothing could be tested.
#[derive(Debug, Parser)]
#[command(version, name = "driver-test")]
struct Arguments {
    /// The server's control socket
    #[arg(
        long,
        value_name = "PATH",
        env = "IXGBE_CONTROL",
        required_unless_present = "list"
    )]
    control: Option<PathBuf>,

    /// The port of a server of several
    #[arg(long, default_value_t = 0)]
    port: u32,

    /// The guest's address on the NIC
    #[arg(long, value_name = "IP", default_value = "192.0.2.2")]
    guest: Ipv4Addr,

    /// Our address: in the guest's network, and nobody's else
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    station: Ipv4Addr,

    /// Our MAC address
    #[arg(long, value_name = "MAC", default_value = "02:00:00:00:00:01", value_parser = mac)]
    mac: packets::Mac,

    /// MTU of the guest's interface, in bytes
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..=9710))]
    mtu: u16,

    /// A VLAN of the guest, and the guest's address there, such as 5:198.51.100.2
    #[arg(long, value_name = "ID:IP", value_parser = vlan)]
    vlan: Option<(u16, Ipv4Addr)>,

    /// A TCP port of the guest on which it sends back what it gets
    #[arg(long, value_name = "PORT")]
    echo_port: Option<u16>,

    /// How long the guest may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,

    /// How long the guest may take to come up before the first test, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    boot: u64,

    /// How long the driver may take to come back after a link flap or a reset, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    recovery: u64,

    /// Only the tests whose chapter or name has this text; several by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// Not the tests whose chapter or name has this text; several by commas
    #[arg(long, value_delimiter = ',')]
    skip: Vec<String>,

    /// Show the tests instead of running them
    #[arg(long)]
    list: bool,

    /// Folder for the frames (pcapng) and the NIC's events (JSON lines) of each test that fails
    #[arg(long, value_name = "DIR", default_value = "driver-test")]
    evidence: PathBuf,

    /// Do not keep the NIC's events, which makes it slower
    #[arg(long)]
    no_trace: bool,

    /// Write JUnit's XML here
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Print the result as JSON instead of lines
    #[arg(long)]
    json: bool,
}

fn mac(text: &str) -> Result<packets::Mac, String> {
    packets::mac(text).ok_or_else(|| "a MAC address is 02:00:00:00:00:01".to_owned())
}

fn vlan(text: &str) -> Result<(u16, Ipv4Addr), String> {
    let parts = text.split_once(':');
    let parsed = parts.and_then(|(id, address)| Some((id.parse().ok()?, address.parse().ok()?)));
    parsed
        .filter(|(id, _)| (1..=4094).contains(id))
        .ok_or_else(|| "a VLAN is ID:IP, with an ID from 1 to 4094".to_owned())
}

fn main() -> ExitCode {
    match test(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("driver-test: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs what is wanted. Returns whether nothing failed.
fn test(arguments: &Arguments) -> Result<bool> {
    let is_in = |trial: &Trial, texts: &[String]| {
        let mut texts = texts.iter();
        texts
            .any(|text| trial.chapter.contains(text.as_str()) || trial.name.contains(text.as_str()))
    };
    let trials: Vec<&Trial> = TRIALS
        .iter()
        .filter(|trial| arguments.only.is_empty() || is_in(trial, &arguments.only))
        .filter(|trial| !is_in(trial, &arguments.skip))
        .collect();
    ensure!(
        !trials.is_empty(),
        "no test is left by --only and --skip; see --list"
    );
    if arguments.list {
        for trial in trials {
            println!("{:9}  {}", trial.chapter, trial.name);
        }
        return Ok(true);
    }
    ensure!(
        arguments.guest != arguments.station,
        "--guest and --station are the same address"
    );
    let control = arguments.control.as_deref();
    let control = control.context("give --control")?;
    let mut cable = Running::connect(control, arguments.port)?;
    let events = if arguments.no_trace {
        None
    } else {
        Some(Events::of(cable.another()?).context("cannot trace the NIC")?)
    };
    let frames = cable.frames();
    let addresses = Addresses {
        guest: arguments.guest,
        station: arguments.station,
        mac: arguments.mac,
    };
    let patience = Duration::from_secs(arguments.patience);
    let mut station = Station::new(&mut cable, addresses, arguments.mtu.into(), patience);
    let wish = Wish {
        echo_port: arguments.echo_port,
        vlan: arguments.vlan,
        boot: Duration::from_secs(arguments.boot),
        recovery: Duration::from_secs(arguments.recovery),
    };
    let mut witness = Witness {
        frames,
        events,
        folder: &arguments.evidence,
        bar: ProgressBar::new_spinner(),
        quiet: arguments.json,
    };
    let report = run(&trials, &mut station, &wish, &mut witness);
    tell(&report, arguments)?;
    Ok(report.is_good())
}

fn tell(report: &Report, arguments: &Arguments) -> Result<()> {
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        println!("{}", report.summary());
    }
    if let Some(path) = &arguments.junit {
        fs::write(path, report.junit()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Shows how it goes, and keeps what a failure leaves behind.
struct Witness<'a> {
    frames: Frames,
    events: Option<Events>,
    folder: &'a Path,
    bar: ProgressBar,
    quiet: bool,
}

impl Witness<'_> {
    fn keep(&self, trial: &Trial) -> Result<Vec<String>> {
        fs::create_dir_all(self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let name = format!("{} {}", trial.chapter, trial.name).replace([' ', ',', '\''], "-");
        let mut kept = Vec::new();
        let path = self.folder.join(format!("{name}.pcapng"));
        self.frames
            .write(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        kept.push(path.display().to_string());
        if let Some(events) = &self.events {
            let path = self.folder.join(format!("{name}.trace.jsonl"));
            events
                .write(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            kept.push(path.display().to_string());
        }
        Ok(kept)
    }
}

impl Reporter for Witness<'_> {
    fn begins(&mut self, trial: &Trial) {
        self.frames.begin();
        if let Some(events) = &self.events {
            events.begin();
        }
        self.bar.enable_steady_tick(Duration::from_millis(200));
        self.bar.set_message(trial.name);
    }

    fn failed(&mut self, trial: &Trial) -> Vec<String> {
        self.keep(trial)
            .unwrap_or_else(|error| vec![format!("{error:#}")])
    }

    fn ended(&mut self, result: &driver_test::Result) {
        self.bar.suspend(|| {
            if !self.quiet {
                println!("{}", result.line());
            }
        });
    }
}
