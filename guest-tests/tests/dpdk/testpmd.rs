//! testpmd in the guest: commands to its prompt, and what it says.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use guest_vm::Guest;

use super::machine::ADDRESS;

/// How long frames may be on their way.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A testpmd that runs.
pub struct Testpmd<'a>(guest_vm::Testpmd<'a>);

impl<'a> Testpmd<'a> {
    /// Starts testpmd with one core for its prompt and one to forward, unless `eal` says otherwise.
    pub(super) fn start(guest: &'a mut Guest, eal: &str, arguments: &str) -> Result<Self> {
        let cores = if eal.contains("--lcores") {
            ""
        } else {
            "--lcores 0,1"
        };
        Ok(Self(guest_vm::Testpmd::start(
            guest,
            ADDRESS,
            &format!("{cores} --log-level=pmd.net.ixgbe.init:debug {eal}"),
            &format!("--total-num-mbufs=8192 {arguments}"),
        )?))
    }

    /// What it said until it was ready.
    pub fn start_log(&self) -> &str {
        self.0.start_log()
    }

    /// Runs a shell command beside it that has to end with status 0.
    pub fn sh(&mut self, command: &str) -> Result<String> {
        Ok(self.0.guest().sh(command)?)
    }

    /// Gives a command and returns what testpmd says to it.
    pub fn command(&mut self, command: &str) -> Result<String> {
        Ok(self.0.command(command)?)
    }

    /// Gives several commands.
    pub fn commands<const N: usize>(&mut self, commands: [&str; N]) -> Result<()> {
        commands
            .into_iter()
            .try_for_each(|command| self.command(command).map(drop))
    }

    /// What `show port stats` says.
    pub fn stats(&mut self) -> Result<Stats> {
        let text = self.command("show port stats 0")?;
        let stats: BTreeMap<String, u64> = pairs(&text);
        let of = |name: &str| {
            let value = stats.get(name).copied();
            value.with_context(|| format!("no {name} in {text}"))
        };
        Ok(Stats {
            received: of("RX-packets")?,
            received_bytes: of("RX-bytes")?,
            missed: of("RX-missed")?,
            errors: of("RX-errors")?,
            no_buffer: of("RX-nombuf")?,
            sent: of("TX-packets")?,
            sent_bytes: of("TX-bytes")?,
        })
    }

    /// What `show port xstats` says.
    pub fn xstats(&mut self) -> Result<BTreeMap<String, u64>> {
        Ok(pairs(&self.command("show port xstats 0")?))
    }

    /// Waits until the statistics are as `done` wants them.
    pub fn wait_for(&mut self, what: &str, done: impl Fn(&Stats) -> bool) -> Result<Stats> {
        let begun = Instant::now();
        loop {
            let stats = self.stats()?;
            if done(&stats) {
                return Ok(stats);
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{what} does not come: {stats:?}"
            );
        }
    }

    /// Waits until an extended statistic is as `done` wants it.
    pub fn wait_for_xstat(&mut self, name: &str, done: impl Fn(u64) -> bool) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let value = self.xstats()?.get(name).copied();
            let value = value.with_context(|| format!("no {name}"))?;
            if done(value) {
                return Ok(value);
            }
            ensure!(begun.elapsed() < PATIENCE, "{name} stays at {value}");
        }
    }

    /// Waits until what a command says contains `text`.
    pub fn wait_until_said(&mut self, command: &str, text: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            let said = self.command(command)?;
            if said.contains(text) {
                return Ok(said);
            }
            ensure!(begun.elapsed() < PATIENCE, "no `{text}` in {said}");
        }
    }

    /// Packets that testpmd has told of since `start`, after `set verbose 1`, by the length of the frame: tests give frames
    /// different lengths.
    pub fn packets(&mut self) -> Result<BTreeMap<usize, Packet>> {
        let log = self.0.guest().sh("cat /run/testpmd.log")?;
        let since = log.rfind("start\r").or(log.rfind("start\n")).unwrap_or(0);
        let log = log.get(since..).unwrap_or_default();
        let mut packets = BTreeMap::new();
        let mut lines = log.lines();
        while let Some(line) = lines.next() {
            if !line.starts_with("  src=") {
                continue;
            }
            let flags = lines.next().unwrap_or_default().trim();
            let packet = Packet::parse(line, flags).with_context(|| line.to_owned())?;
            packets.insert(packet.length, packet);
        }
        Ok(packets)
    }

    /// How often it has told that the link has changed.
    pub fn link_events(&mut self) -> Result<usize> {
        let log = self.0.guest().sh("cat /run/testpmd.log")?;
        Ok(log.matches("link state change event").count())
    }

    /// Waits until it has told that so many times.
    pub fn wait_for_link_events(&mut self, count: usize) -> Result<()> {
        let begun = Instant::now();
        while self.link_events()? < count {
            ensure!(begun.elapsed() < PATIENCE, "no event of the link");
        }
        Ok(())
    }

    /// Creates a flow rule and returns its number.
    pub fn flow(&mut self, rule: &str) -> Result<u32> {
        let said = self.command(&format!("flow create 0 ingress {rule}"))?;
        let number = said
            .split_once("Flow rule #")
            .and_then(|(_, rest)| rest.split_once(" created"))
            .and_then(|(number, _)| number.parse().ok());
        number.with_context(|| format!("`{rule}`: {said}"))
    }
}

/// What `show port stats` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub received: u64,
    pub received_bytes: u64,
    pub missed: u64,
    pub errors: u64,
    pub no_buffer: u64,
    pub sent: u64,
    pub sent_bytes: u64,
}

/// A packet that testpmd has told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub length: usize,
    pub segments: usize,
    pub queue: usize,
    pub rss_hash: Option<u32>,
    pub vlan: Option<u16>,
    /// Names of its RTE_MBUF_F_RX flags.
    pub flags: String,
}

impl Packet {
    fn parse(line: &str, flags: &str) -> Option<Self> {
        let field = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split([' ', '\t']).next()
        };
        let hex = |name: &str| u32::from_str_radix(field(name)?.strip_prefix("0x")?, 16).ok();
        Some(Self {
            length: field(" length=")?.parse().ok()?,
            segments: field(" nb_segs=")?.parse().ok()?,
            queue: usize::try_from(hex(" Receive queue=")?).ok()?,
            rss_hash: hex(" RSS hash="),
            vlan: hex(" VLAN tci=").and_then(|tag| u16::try_from(tag).ok()),
            flags: flags.to_owned(),
        })
    }
}

/// All of the form `NAME: NUMBER`.
fn pairs(text: &str) -> BTreeMap<String, u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .windows(2)
        .filter_map(|pair| match pair {
            [name, value] => Some((name.strip_suffix(':')?.to_owned(), value.parse().ok()?)),
            _ => None,
        })
        .collect()
}
