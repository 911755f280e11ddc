//! Packets that three parties count: the host's kernel, the NIC, and the guest's driver.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::CablePeer;
use serde_json::Value;

use crate::cable::Cable;
use crate::demo::counters;
use crate::rig::{INTERFACE, Rig};

/// Sizes of what is asked for an answer, in bytes of ICMP data; the largest are cut into several packets.
const SIZES: [u32; 8] = [0, 18, 56, 500, 1_023, 1_472, 1_473, 8_000];
/// Questions of each size.
const QUESTIONS: u32 = 20;

/// What has been checked so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Bytes of TCP that came back.
    pub bytes: u64,
    /// Packets, sent and received, that all three have counted.
    pub packets: u64,
}

/// What one party has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    /// What the guest has sent.
    sent: u64,
    /// What came to the guest's NIC.
    arrived: u64,
    /// What its address filters let through: not what the host says to groups that the guest is no member of.
    received: u64,
}

impl Counted {
    fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            sent: self.sent.checked_sub(earlier.sent)?,
            arrived: self.arrived.checked_sub(earlier.arrived)?,
            received: self.received.checked_sub(earlier.received)?,
        })
    }
}

impl Account {
    /// With nothing else going on: each packet is answered, and the three parties count the same.
    pub fn in_peace(
        &mut self,
        rig: &mut Rig,
        cable: &Cable,
        ixgbectl: &Path,
        control: &Path,
        round: u32,
    ) -> Result<()> {
        let mut read = |rig: &mut Rig| all(rig, cable, ixgbectl, control);
        let before = settled(rig, &mut read)?;
        for size in SIZES {
            // Another size in each round, and those at which something changes in every one.
            let sizes = [size, (size + 7 * round) % 8_000];
            for size in sizes {
                let command = format!(
                    "ping -q -c {QUESTIONS} -A -W 5 -s {size} {}",
                    CablePeer::ADDRESS
                );
                let output = rig.guest.run(&command, Duration::from_secs(60))?;
                ensure!(
                    output.status == 0
                        && output.stdout.contains(" 0% packet loss")
                        && !output.stdout.contains("duplicates"),
                    "packets with {size} bytes: {}{}",
                    output.stdout.trim(),
                    output.stderr.trim()
                );
            }
        }
        let after = settled(rig, &mut read)?;
        let mut differences = after
            .iter()
            .zip(before)
            .map(|((party, after), (_, before))| {
                let counted = after.since(before);
                counted
                    .map(|counted| (*party, counted))
                    .with_context(|| format!("{party} counted backwards"))
            });
        let (first, counted) = differences.next().context("nobody counts")??;
        for other in differences {
            let (party, other) = other?;
            ensure!(
                other == counted,
                "{first} counted {counted:?} packets and {party} {other:?}"
            );
        }
        self.packets += counted.sent + counted.received;
        Ok(())
    }
}

type All = [(&'static str, Counted); 3];

/// Reads until two readings agree: then nothing is on its way.
fn settled(rig: &mut Rig, read: &mut impl FnMut(&mut Rig) -> Result<All>) -> Result<All> {
    let mut last = read(rig)?;
    for _ in 0..100 {
        let next = read(rig)?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    anyhow::bail!("packets pass without end: {last:?}")
}

fn all(rig: &mut Rig, cable: &Cable, ixgbectl: &Path, control: &Path) -> Result<All> {
    let Cable::Tap(peer) = cable else {
        anyhow::bail!("a soak takes a host that counts");
    };
    // What the driver has counted it reads from the card every two seconds, and when it is asked.
    let driver = rig.guest.sh(&format!("ethtool -S {INTERFACE}"))?;
    let nic = counters::nic_counters(ixgbectl, control)?;
    let host = peer
        .namespace()
        .ip(&["-statistics", "-json", "link", "show", CablePeer::TAP])?;
    let host: Value = serde_json::from_str(&host).context("ip says no JSON")?;
    let of_host = |way: &str| {
        let packets = host.pointer(&format!("/0/stats64/{way}/packets"));
        packets
            .and_then(Value::as_u64)
            .with_context(|| format!("ip counts no packets of {way}"))
    };
    // The host does not know what the NIC filters, and the driver does not count it: there the NIC is their witness.
    let arrived = counters::nic_counter(&nic, "tpr")?;
    let admitted = counters::nic_counter(&nic, "gprc")?;
    Ok([
        (
            "the host",
            Counted {
                sent: of_host("rx")?,
                arrived: of_host("tx")?,
                received: admitted,
            },
        ),
        (
            "the NIC",
            Counted {
                sent: counters::without_pauses(&nic, "gptc", 1)?,
                arrived,
                received: admitted,
            },
        ),
        (
            "the guest's driver",
            Counted {
                sent: counters::guest_counter(&driver, "tx_pkts_nic")?,
                arrived,
                received: counters::guest_counter(&driver, "rx_pkts_nic")?,
            },
        ),
    ])
}
