//! docs/lab.md, with network namespaces as the hosts.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use guest_tests::{frames, page::Page, runner::CannotRun, server, world::World};
use guest_vm::{Cache, Namespace, Process, Program, Userland};

use super::station::{Station, meet, numbered, pass};

/// What the hosts are made by.
pub const PAGE: Page = Page::new("docs/lab.md", include_str!("../../../docs/lab.md"));

/// The hosts, by the addresses that they have on the page.
const HOSTS: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest frame without FCS at an MTU of 1450, and the first that a bridge drops: it leaves room for a VLAN tag.
const LONGEST: usize = 1464;
const TOO_LONG: usize = LONGEST + 5;

pub fn bridges_that_vxlan_joins_carry_frames_up_to_the_mtu() -> Result<()> {
    let mut lab = Lab::new()?;
    lab.follow("A bridge on one host")?;
    lab.follow("Bridges of several hosts, joined by VXLAN")?;
    let [mut one, mut two] = lab.stations()?;
    meet(&mut one, &mut two)?;
    meet(&mut two, &mut one)?;
    let (from, to) = (one.0.mac()?, two.0.mac()?);
    let sent = numbered(from, to, [1514, 60, TOO_LONG, LONGEST]);

    let before = pass(&mut one, &mut two, &sent)?;
    lab.follow("MTU")?;
    let after = pass(&mut one, &mut two, &sent)?;

    let short: Vec<Vec<u8>> = sent
        .iter()
        .filter(|frame| frame.len() <= LONGEST)
        .cloned()
        .collect();
    frames::same(&before, &short).context("with an MTU of 1450")?;
    frames::same(&after, &sent).context("with an MTU of 1500")?;
    let known = lab.hosts[0].run("bridge fdb show dev vx0")?;
    ensure!(known.contains("dst 198.51.100.3"), "{known}");
    Ok(())
}

pub fn a_stream_between_two_hosts_carries_frames() -> Result<()> {
    two_nics("Two NICs with a stream between them")
}

pub fn datagrams_between_two_hosts_carry_frames() -> Result<()> {
    two_nics("Two NICs with datagrams between them")
}

fn two_nics(heading: &str) -> Result<()> {
    let mut lab = Lab::new()?;
    lab.follow(heading)?;
    let [mut one, mut two] = lab.stations()?;
    meet(&mut one, &mut two)?;
    meet(&mut two, &mut one)?;
    let sent = numbered(one.0.mac()?, two.0.mac()?, [60, 1514, 9014]);

    let arrived = pass(&mut one, &mut two, &sent)?;

    frames::same(&arrived, &sent)
}

/// Two hosts with an Ethernet between them.
struct Lab {
    hosts: [Host; 2],
}

impl Lab {
    fn new() -> Result<Self> {
        let cache = Cache::open()?;
        let userland = Userland::prepare(&cache)?;
        let programs =
            ["ip", "bridge"].map(|name| userland.program(name).map(|found| (name, found)));
        let programs = programs.into_iter().collect::<Result<Vec<_>, _>>()?;
        let [one, two] = HOSTS.map(|_| Host::new(&userland, &programs));
        let mut hosts = [one?, two?];
        // The kernel moves an interface to the namespace of a process.
        hosts[1].start("sleep", "sleep infinity")?;
        let there = hosts[1].processes[0].id();
        hosts[0]
            .run(&format!(
                "ip link add eth0 type veth peer name eth0 netns {there}"
            ))
            .map_err(|error| CannotRun(format!("{error:#}")))?;
        for (host, address) in hosts.iter().zip(HOSTS) {
            host.run(&format!("ip address add {address}/24 dev eth0"))?;
            host.run("ip link set eth0 up")?;
        }
        Ok(Self { hosts })
    }

    /// Does what the page says below a heading.
    fn follow(&mut self, heading: &str) -> Result<()> {
        for block in PAGE.below(heading)?.blocks()? {
            let meant = |address: &str| block.host == address || block.host == "each host";
            ensure!(HOSTS.into_iter().any(meant), "no host '{}'", block.host);
            for (host, address) in self.hosts.iter_mut().zip(HOSTS) {
                if meant(address) {
                    host.follow(&block.commands)?;
                }
            }
        }
        Ok(())
    }

    /// Our driver on the card of each host.
    fn stations(&self) -> Result<[Station; 2]> {
        // A driver waits for the link, but not for the other server to be started.
        self.hosts.iter().try_for_each(Host::wait_for_server)?;
        let [one, two] = self.hosts.each_ref().map(Host::station);
        Ok([one?, two?])
    }
}

/// A host: a network namespace, and a folder for what is its own of the file system.
pub struct Host {
    // First: they end before the folder goes.
    processes: Vec<Process>,
    namespace: Namespace,
    folder: tempfile::TempDir,
}

impl Host {
    /// A host on which these programs, and the server, are on PATH.
    pub fn new(userland: &Userland, programs: &[(&str, Program)]) -> Result<Self> {
        let namespace = Namespace::new(userland).map_err(|error| CannotRun(error.to_string()))?;
        let host = Self {
            processes: Vec::new(),
            namespace,
            folder: tempfile::tempdir()?,
        };
        fs::create_dir(host.bin())?;
        for (name, program) in programs {
            host.install(name, program)?;
        }
        host.install("vfio-user-ixgbe", &Program::host(server::program()?))?;
        Ok(host)
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// A program of packages runs by its own loader.
    fn install(&self, name: &str, program: &Program) -> Result<()> {
        let command = program.command();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
        let path = self.bin().join(name);
        fs::write(
            &path,
            format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")),
        )?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn shell(&self, line: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = format!("{}:{}", self.bin().display(), path.display());
        let mut shell = Command::new("sh");
        shell
            .args(["-e", "-c", line])
            .env("PATH", path)
            .env("XDG_RUNTIME_DIR", self.folder.path());
        shell
    }

    /// Runs a command to its end; what it wrote.
    pub fn run(&self, line: &str) -> Result<String> {
        Ok(self.namespace.spawner().output(&self.shell(line))?)
    }

    /// Starts a program that goes on.
    pub fn start(&mut self, name: &str, line: &str) -> Result<()> {
        let log = self.folder.path().join(format!("{name}.log"));
        let command = self.shell(&format!("exec {line}"));
        self.processes
            .push(self.namespace.start(name, &command, &log)?);
        Ok(())
    }

    /// Does what the page says: starts programs that go on, and waits for the end of the others.
    pub fn follow(&mut self, commands: &[String]) -> Result<()> {
        for line in commands {
            match line.split_whitespace().next() {
                Some(name @ ("vfio-user-ixgbe" | "passt")) => self.start(name, line)?,
                _ => drop(self.run(line)?),
            }
        }
        Ok(())
    }

    /// Waits until the host's server is there.
    pub fn wait_for_server(&self) -> Result<()> {
        let begun = Instant::now();
        while !self.said().contains("waiting for a client") {
            ensure!(begun.elapsed() < PATIENCE, "no server: {}", self.said());
            thread::yield_now();
        }
        Ok(())
    }

    /// Our driver on the card of the host's server.
    pub fn station(&self) -> Result<Station> {
        let path = |name| self.folder.path().join(name);
        Station::at(&path("nic0.sock"), &path("nic0.sock.control")).with_context(|| self.said())
    }

    /// What the host's programs have said last.
    fn said(&self) -> String {
        let logs = self.processes.iter().map(Process::log_tail);
        logs.collect::<Vec<_>>().join("\n")
    }
}
