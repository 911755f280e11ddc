//! macvlan devices that leave their forwarding to the NIC (`l2-fwd-offload`): each has a VM pool of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{cable::Cable, linux_world::INTERFACE};

use super::{
    life::HOST,
    machine::{self, Machine, Test},
};

pub const TESTS: &[Test] = tests![each_macvlan_has_its_own_pool];

/// Queues of the function's own pool, and of the two devices' pools. With two processors there are 64 pools of two
/// queues.
const OWN: [usize; 2] = [0, 1];
const FIRST: [usize; 2] = [2, 3];
const SECOND: [usize; 2] = [4, 5];

/// Packets that came in these queues.
fn received(machine: &mut Machine, queues: [usize; 2]) -> Result<u64> {
    let statistics = machine.world()?.statistics()?;
    queues.iter().try_fold(0, |sum, queue| {
        let name = format!("rx_queue_{queue}_packets");
        let count = statistics.get(&name);
        Ok(sum + count.with_context(|| format!("no {name}"))?)
    })
}

fn ping(machine: &mut Machine, from: &str, to: &str) -> Result<()> {
    let text = machine.sh(&format!(
        "ip netns exec {from} ping -c 10 -i 0.05 -W 20 -s 1400 {to}"
    ))?;
    ensure!(
        text.contains("10 packets received, 0% packet loss"),
        "{text}"
    );
    Ok(())
}

fn each_macvlan_has_its_own_pool(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "modprobe macvlan
         ip link set {INTERFACE} down; ethtool -L {INTERFACE} combined 2
         ethtool -K {INTERFACE} l2-fwd-offload on"
    ))?;
    machine::load(machine.world()?)?;
    // In mode vepa the kernel switches nothing between them: what one sends to the other, the NIC has to turn round.
    for (name, number) in [("one", 1), ("two", 2)] {
        machine.sh(&format!(
            "ip netns add {name}
             ip link add link {INTERFACE} name mv{number} netns {name} type macvlan mode vepa
             ip -n {name} address add 10.0.2.{}/24 dev mv{number}
             ip -n {name} link set mv{number} up",
            40 + number
        ))?;
    }
    machine.sh(&format!(
        "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 20000; done"
    ))?;
    // The first packets also find addresses out, by broadcasts that go to every pool.
    for (from, to) in [("one", HOST), ("two", HOST), ("one", "10.0.2.42")] {
        ping(machine, from, to)?;
    }

    for (name, queues, other) in [("one", FIRST, SECOND), ("two", SECOND, FIRST)] {
        let before = [queues, other, OWN].map(|queues| received(machine, queues));
        ping(machine, name, HOST)?;
        let after = [queues, other, OWN].map(|queues| received(machine, queues));
        let [own, others, functions] = grown(before, after)?;
        // Neighbours and routers talk as well, but not as much.
        ensure!(
            own >= 10 && others < 10 && functions < 10,
            "10 answers to {name}: {own} packets in its pool, {others} in the other's, {functions} in the function's"
        );
    }

    let mut cable = machine.world()?.server().cable()?;
    cable.take(Duration::ZERO)?;
    let before = [FIRST, SECOND, OWN].map(|queues| received(machine, queues));
    ping(machine, "one", "10.0.2.42")?;
    let after = [FIRST, SECOND, OWN].map(|queues| received(machine, queues));
    let [first, second, functions] = grown(before, after)?;
    ensure!(
        first >= 10 && second >= 10 && functions < 10,
        "10 pings from pool to pool: {first} and {second} packets there, {functions} in the function's pool"
    );
    ping(machine, "one", HOST)?;
    // Source and destination address; those to the other pool would have come first.
    let begun = Instant::now();
    let [mut to_host, mut to_pool] = [0; 2];
    while to_host < 10 && begun.elapsed() < machine::LIMIT {
        for frame in cable.take(Duration::from_millis(200))? {
            let addresses = frame.get(26..34);
            to_host += usize::from(addresses == Some(&[10, 0, 2, 41, 10, 0, 2, 2]));
            to_pool += usize::from(addresses == Some(&[10, 0, 2, 41, 10, 0, 2, 42]));
        }
    }
    ensure!(
        (to_host, to_pool) == (10, 0),
        "on the cable are {to_host} pings to the host and {to_pool} to the other pool"
    );
    let text = machine.sh(&format!(
        "dd if=/dev/urandom of=/tmp/there bs=1M count=2 2>/dev/null
         ip netns exec one nc {HOST} 7 </tmp/there >/tmp/back; cmp /tmp/there /tmp/back && ls -l /tmp/back"
    ))?;
    ensure!(text.contains("2097152"), "{text}");

    machine.sh(&format!(
        "ip -n one link del mv1; ip -n two link del mv2; ip netns del one; ip netns del two
         ip link set {INTERFACE} down; ethtool -K {INTERFACE} l2-fwd-offload off"
    ))?;
    machine::load(machine.world()?)
}

fn grown(before: [Result<u64>; 3], after: [Result<u64>; 3]) -> Result<[u64; 3]> {
    let [a, b, c] = before;
    let [d, e, f] = after;
    Ok([d? - a?, e? - b?, f? - c?])
}
