//! A guest whose cable leads to a tap device in a network namespace, with iperf3 behind it.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result, ensure};
use control::Group;
use guest_tests::{
    LinuxWorld, kernel_log,
    linux_world::INTERFACE,
    runner::CannotRun,
    server::{Far, Server},
};
use guest_vm::{CablePeer, Kernel, Lab, Userland};
use serde_json::Value;

use super::machine::{self, LIMIT};

/// A test.
pub type Test = (&'static str, fn(Kernel) -> Result<()>);

pub const TESTS: &[Test] = tests![
    iperf3_over_a_tap_runs_both_ways_and_every_counter_agrees,
    the_other_end_has_a_link_while_the_interface_is_up,
];

/// A guest whose interface has an address and a link, and the other end. `arguments` are the kernel's.
fn guest_and_peer(kernel: Kernel, arguments: &str) -> Result<(LinuxWorld, CablePeer)> {
    let lab = Lab::open(kernel)?;
    let userland = Userland::prepare(&lab.cache)?;
    let logs = lab
        .cache
        .log_folder(&format!("test-cable-{}", kernel.name()))?;
    // No namespace or no tap for us here: not the NIC's fault.
    let peer = CablePeer::start(&userland, &logs).map_err(|error| CannotRun(error.to_string()))?;
    // The host says nothing of itself over IPv6.
    let quiet = ["link", "set", "dev", CablePeer::TAP, "addrgenmode", "none"];
    peer.namespace().ip(&quiet)?;
    let server = Server::start(Far::Tap(&peer))?;
    let config = lab
        .guest(&format!("test-tap-{}", kernel.name()))?
        .with_boot_limit(machine::BOOT_LIMIT)
        .with_kernel_arguments(arguments)
        .with_vfio_user(0, &server.socket());
    let guest = lab.boot(&config)?;
    let mut world = LinuxWorld::new(guest, server)?;
    // The guest is to send and receive nothing but what this test makes it.
    world
        .guest()
        .sh("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")?;
    kernel_log::begin(world.guest(), "loading the driver")?;
    machine::load(&mut world)?;
    world.guest().sh(&format!(
        "udhcpc -i {INTERFACE} -f -n -q -t 8 -T 1 -s /etc/udhcpc/default.script 2>&1"
    ))?;
    Ok((world, peer))
}

/// In a guest without MSI and MSI-X: the card interrupts by its pin.
fn the_other_end_has_a_link_while_the_interface_is_up(kernel: Kernel) -> Result<()> {
    let (mut world, peer) = guest_and_peer(kernel, "pci=nomsi")?;
    // The driver warns of each kind of interrupt that it does not get.
    kernel_log::mark(world.guest(), "the driver is loaded")?;
    world.watch(|world| {
        let interrupts = format!("grep {INTERFACE} /proc/interrupts");
        let interrupts = world.guest().sh(&interrupts)?;
        ensure!(
            interrupts.lines().count() == 1 && interrupts.contains("IO-APIC"),
            "{interrupts}"
        );
        link_of_the_other_end(world, &peer)?;
        world.begin_tally()?;
        let ping = format!("ping -c 3 -i 0.1 -W 20 {}", CablePeer::ADDRESS);
        let pings = world.guest().sh(&ping)?;
        ensure!(pings.contains("3 packets received"), "{pings}");
        let disagreements = world.end_of_tally()?;
        ensure!(
            disagreements.is_empty(),
            "counters differ: {}",
            disagreements.join("; ")
        );
        Ok(())
    })
}

fn link_of_the_other_end(world: &mut LinuxWorld, peer: &CablePeer) -> Result<()> {
    let wait_for_link = |wanted: bool| -> Result<()> {
        let begun = Instant::now();
        loop {
            let shown = peer
                .namespace()
                .ip(&["link", "show", "dev", CablePeer::TAP])?;
            if shown.contains("NO-CARRIER") != wanted {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < LIMIT,
                "a link instead of {wanted}: {shown}"
            );
        }
    };
    wait_for_link(true)?;
    // Linux turns the laser off.
    world.guest().sh(&format!("ip link set {INTERFACE} down"))?;
    wait_for_link(false)?;
    machine::load(world)?;
    wait_for_link(true)
}

fn iperf3_over_a_tap_runs_both_ways_and_every_counter_agrees(kernel: Kernel) -> Result<()> {
    let (mut world, peer) = guest_and_peer(kernel, "")?;
    world.watch(|world| both_ways(world, &peer))
}

fn both_ways(world: &mut LinuxWorld, peer: &CablePeer) -> Result<()> {
    for (arguments, offload) in [
        ("", "on"),
        ("--reverse", "on"),
        ("", "off"),
        ("--reverse", "off"),
    ] {
        world.guest().sh(&format!(
            "ethtool -K {INTERFACE} tso {offload} gso {offload} gro {offload}"
        ))?;
        let before = Seen::of(world, peer)?;
        let moved = iperf3(world, arguments)?;
        ensure!(moved > 1_000_000, "{moved} bytes in a second");
        let after = settled(world, peer)?;
        after
            .agrees_since(&before, offload == "off")
            .with_context(|| format!("iperf3 {arguments} with segmentation {offload}"))?;
    }
    // See `life::large_receive` for what else is set.
    world.guest().sh(&format!(
        "ethtool --set-priv-flags {INTERFACE} legacy-rx on
         ethtool -K {INTERFACE} gro off lro on"
    ))?;
    machine::load(world)?;
    let before = world.statistics()?;
    let moved = iperf3(world, "--reverse")?;
    let after = world.statistics()?;
    let grown = |name: &str| {
        let values = after.get(name).zip(before.get(name));
        let grown = values.map(|(after, before)| after - before);
        grown.with_context(|| format!("no {name}"))
    };
    let segments = grown("hw_rsc_aggregated")?;
    let packets = grown("hw_rsc_flushed")?;
    ensure!(moved > 1_000_000, "{moved} bytes in a second");
    ensure!(
        packets > 0 && segments > 4 * packets,
        "{segments} segments came in {packets} large receives"
    );
    Ok(())
}

fn iperf3(world: &mut LinuxWorld, arguments: &str) -> Result<u64> {
    let command = format!(
        "iperf3 --client {} --json --time 1 {arguments}",
        CablePeer::ADDRESS
    );
    let output = world.guest().run(&command, LIMIT)?;
    let result: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("iperf3 said {:?} {:?}", output.stdout, output.stderr))?;
    let bytes = result.pointer("/end/sum_received/bytes");
    bytes
        .and_then(Value::as_u64)
        .with_context(|| format!("iperf3 said {result}"))
}

/// What the parties have counted: frames that the guest sent and received.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// The guest's kernel, by its rings.
    rings: [u64; 2],
    /// The guest's driver, by the card's counters.
    card: [u64; 2],
    /// Flow control frames that the card has sent by itself, which its driver subtracts (`[sent, 0]`).
    pauses: [u64; 2],
    /// Bytes by the card's counters.
    card_bytes: [u64; 2],
    /// Bytes by the guest's kernel.
    ring_bytes: [u64; 2],
    /// The server, by what went over its wire.
    wire: [u64; 2],
    /// The host's kernel, by what went through the tap.
    tap: [u64; 2],
}

impl Seen {
    fn of(world: &mut LinuxWorld, peer: &CablePeer) -> Result<Self> {
        let guest = world.statistics()?;
        let of = |name: &str| {
            guest
                .get(name)
                .copied()
                .with_context(|| format!("no {name}"))
        };
        let mut control = control::Client::connect(&world.server().nic().control())?;
        let wire: BTreeMap<_, _> = control
            .stats()?
            .counters
            .into_iter()
            .filter(|counter| counter.group == Group::Wire)
            .map(|counter| (counter.name.into_owned(), counter.value))
            .collect();
        let wire = |name: &str| {
            wire.get(name)
                .copied()
                .with_context(|| format!("no {name}"))
        };
        let links = peer.namespace().ip(&[
            "-json",
            "-statistics",
            "link",
            "show",
            "dev",
            CablePeer::TAP,
        ])?;
        let links: Value = serde_json::from_str(&links)?;
        let tap = |pointer: &str| {
            let count = links.pointer(pointer).and_then(Value::as_u64);
            count.with_context(|| format!("no {pointer} in {links}"))
        };
        Ok(Self {
            rings: [of("tx_packets")?, of("rx_packets")?],
            card: [of("tx_pkts_nic")?, of("rx_pkts_nic")?],
            pauses: [of("tx_flow_control_xon")? + of("tx_flow_control_xoff")?, 0],
            card_bytes: [of("tx_bytes_nic")?, of("rx_bytes_nic")?],
            ring_bytes: [of("tx_bytes")?, of("rx_bytes")?],
            wire: [wire("tx_frames")?, wire("rx_frames")?],
            // What the guest sends, the tap receives.
            tap: [tap("/0/stats64/rx/packets")?, tap("/0/stats64/tx/packets")?],
        })
    }

    /// Whether all have counted the same since `before`. Where a kernel leaves segmentation to its NIC, the tap counts large
    /// frames: the host's ones are cut by the wire; the guest's ones are left to the tap by the card.
    fn agrees_since(&self, before: &Self, guest_segments: bool) -> Result<()> {
        let grown = |of: fn(&Self) -> [u64; 2]| {
            let ([a, b], [c, d]) = (of(self), of(before));
            [a - c, b - d]
        };
        let (rings, card) = (grown(|seen| seen.rings), grown(|seen| seen.card));
        let (wire, tap) = (grown(|seen| seen.wire), grown(|seen| seen.tap));
        ensure!(
            rings == card && card[0] > 100 && card[1] > 100,
            "packets [sent, received]: the driver's rings have seen {rings:?}, the card {card:?}"
        );
        // Short frames are padded, and the card counts the FCS.
        let ring_bytes = grown(|seen| seen.ring_bytes);
        let card_bytes = grown(|seen| seen.card_bytes);
        for way in 0..2 {
            let least = ring_bytes[way] + 4 * card[way];
            ensure!(
                (least..=least + 20 * card[way]).contains(&card_bytes[way]),
                "bytes [sent, received]: the driver's rings have seen {ring_bytes:?}, the card {card_bytes:?}"
            );
        }
        let sent = card[0] + grown(|seen| seen.pauses)[0];
        ensure!(
            wire[0] == tap[0] && (wire[0] == sent || !guest_segments && wire[0] < sent),
            "sent: the card {sent}, the wire {}, the tap {}",
            wire[0],
            tap[0]
        );
        ensure!(
            wire[1] == card[1] && tap[1] <= wire[1],
            "received: the tap {}, the wire {}, the card {}",
            tap[1],
            wire[1],
            card[1]
        );
        Ok(())
    }
}

/// What all have counted once nothing passes any more.
fn settled(world: &mut LinuxWorld, peer: &CablePeer) -> Result<Seen> {
    let mut last = Seen::of(world, peer)?;
    for _ in 0..100 {
        // Time for what is still under way, without traffic of ours.
        world.guest().run("usleep 100000", LIMIT)?;
        let now = Seen::of(world, peer)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}
