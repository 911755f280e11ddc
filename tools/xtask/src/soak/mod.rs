//! `cargo xtask soak`: a Linux guest on the NIC under traffic, while all kinds of things happen to the NIC.
//!
//! It goes in rounds. In each, connections carry random bytes to a host on the cable, which sends them back, while one
//! disturbance comes ([`disturbance::ALL`], in turns): every byte is compared. Then all is left in peace, packets of all
//! sizes are sent and answered, and each is accounted for: by the host's kernel, the NIC and the guest's driver. The server's
//! memory and descriptors are compared with those of an early round.
//!
//! Not there: packets that were on their way when the link went or the card was reset are lost, as they are on a card; that
//! TCP makes up for them is what is checked of those.

mod account;
mod disturbance;
mod traffic;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_vm::{CablePeer, Cache, ConsoleUse, Kernel, Lab, NicServer, Qemu, Userland};

use crate::binaries;
use crate::cable::Cable;
use crate::nic::Nic;
use crate::rig::{INTERFACE, Rig, RigOptions};
use account::Account;
use disturbance::Disturber;
use traffic::Traffic;

/// How much more memory than in an early round the server may have: what the C library keeps for its threads.
const MORE_MEMORY: u64 = 2 << 20;
/// Memory and descriptors are first compared with those of this round, and after a whole turn with those at its end: only
/// then has each structure been used.
const SETTLED: u32 = 3;
/// How long the server may take to close what its clients have closed.
const CLOSED: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// How long.
    pub time: Duration,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The QEMU that was asked for.
    pub qemu: Option<Qemu>,
}

/// What the server has.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    memory: u64,
    descriptors: usize,
}

impl Holdings {
    fn of(server: &NicServer) -> Result<Self> {
        Ok(Self {
            memory: server.own_memory().context("the server has ended")?,
            descriptors: server.descriptors().context("the server has ended")?,
        })
    }

    /// What it has when it has closed all that is closed: no more descriptors than `earlier`, if it ever comes so far.
    fn settled(server: &NicServer, earlier: Option<Self>) -> Result<Self> {
        let begun = Instant::now();
        let mut last = Self::of(server)?;
        loop {
            // A connection of ixgbectl's goes some time after ixgbectl.
            thread::sleep(Duration::from_millis(50));
            let next = Self::of(server)?;
            let still = next.descriptors == last.descriptors;
            let enough = earlier.is_none_or(|earlier| next.descriptors <= earlier.descriptors);
            if (still && enough) || begun.elapsed() > CLOSED {
                return Ok(next);
            }
            last = next;
        }
    }

    fn ensure_no_more_than(self, earlier: Self) -> Result<()> {
        ensure!(
            self.descriptors <= earlier.descriptors,
            "the server had {} descriptors and has {}",
            earlier.descriptors,
            self.descriptors
        );
        ensure!(
            self.memory <= earlier.memory + MORE_MEMORY,
            "the server had {} bytes of memory and has {}",
            earlier.memory,
            self.memory
        );
        Ok(())
    }
}

/// Fails where a soak cannot run, and tells why: it takes a tap in a network namespace, as the host that counts is Linux.
///
/// # Errors
/// This process may make neither, or a server at the other end of the cable does not start.
pub fn needs() -> Result<()> {
    let cache = Cache::open()?;
    far_end(&Userland::prepare(&cache)?, &cache)?;
    Ok(())
}

fn far_end(userland: &Userland, cache: &Cache) -> Result<CablePeer> {
    CablePeer::start(userland, &cache.log_folder("soak-cable")?)
        .context("a soak takes a tap in a network namespace")
}

/// Runs it. Succeeds if no byte, packet, page or descriptor went astray.
///
/// # Errors
/// What did, and in which round, under which disturbance.
pub fn run(options: &Options) -> Result<ExitCode> {
    let programs = binaries::build()?;
    let lab = Lab::open_with(options.kernel, options.qemu.clone())?;
    let userland = Userland::prepare(&lab.cache)?;
    let cable = Cable::Tap(far_end(&userland, &lab.cache)?);
    let rig_options = RigOptions {
        nic: Nic::Ixgbe,
        server: &programs.server,
        stack: None,
        stack_arguments: &[],
        iommu: crate::rig::Iommu::None,
        console: ConsoleUse::Log,
        name: "soak",
        cpus: 2,
        memory: 512,
    };
    let mut rig = Rig::boot(&lab, &cable, &rig_options)?;
    rig.guest.sh("dmesg -c >/dev/null")?;
    let traffic = Traffic::start(&mut rig, &cable, &userland, &lab)?;
    let control = rig.server.as_ref().context("there is no server")?.control();
    let disturber = Disturber::new(&programs.ixgbectl, &control);
    let begun = Instant::now();
    let turn = u32::try_from(disturbance::ALL.len())?;
    let mut settled: Option<Holdings> = None;
    let mut account = Account::default();
    let mut round = 0;
    // However short the time, a round is compared with one that has settled.
    while round <= SETTLED + 1 || begun.elapsed() < options.time {
        let disturbance = disturbance::ALL
            .get(usize::try_from(round)? % disturbance::ALL.len())
            .context("there is no disturbance")?;
        let told = || format!("round {round}, {}", disturbance.name);
        traffic.begin(&mut rig, round).with_context(told)?;
        disturber
            .disturb(disturbance, &mut rig, &cable)
            .with_context(told)?;
        account.bytes += traffic.end(&mut rig).with_context(told)?;
        account
            .in_peace(&mut rig, &cable, &programs.ixgbectl, &control, round)
            .with_context(told)?;
        kernel_log(&mut rig).with_context(told)?;
        let server = rig.server.as_ref().context("there is no server")?;
        let holdings = Holdings::settled(server, settled)?;
        if let Some(settled) = settled {
            holdings.ensure_no_more_than(settled).with_context(told)?;
        }
        if round == SETTLED || round + 1 == turn {
            settled = Some(holdings);
        }
        println!(
            "round {round:>4}  {:<24} {:>6.1} MB back  {:>7} packets  {:>6} KB  {} descriptors",
            disturbance.name,
            to_f64(account.bytes) / 1e6,
            account.packets,
            holdings.memory / 1024,
            holdings.descriptors
        );
        round += 1;
    }
    println!(
        "{} rounds in {:.0} s: {} bytes of TCP came back as they were, {} packets accounted for, nothing grew",
        round,
        begun.elapsed().as_secs_f64(),
        account.bytes,
        account.packets
    );
    rig.guest.quit()?;
    Ok(ExitCode::SUCCESS)
}

/// Fails if the guest's kernel found something wrong since this was asked last; its log is empty then, or it would lose its
/// oldest lines some day. That it tells of links that go and of cards that are reset is its answer to the disturbances.
fn kernel_log(rig: &mut Rig) -> Result<()> {
    let log = rig.guest.sh("dmesg -r -c")?;
    let wrong: Vec<&str> = log
        .lines()
        .filter(|line| disturbance::is_no_answer(line))
        .collect();
    ensure!(
        wrong.is_empty(),
        "the guest's kernel warned:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

/// For a person to read.
#[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

/// Brings the interface up with its address, as after each loss of the driver.
fn bring_up(rig: &mut Rig) -> Result<()> {
    rig.bring_up(Nic::Ixgbe)?;
    let address = CablePeer::LEASE;
    rig.guest
        .sh(&format!("ip address replace {address}/24 dev {INTERFACE}"))?;
    Ok(())
}
