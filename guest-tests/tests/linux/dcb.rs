//! Data centre bridging under Linux, as `dcb` of iproute2 sets it up: traffic classes, priority flow control; traffic
//! classes of `tc`'s mqprio; and rate limits of queues (`tx_maxrate`).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use etherparse::{IpDscp, IpHeaders, IpNumber, Ipv4Header, PacketBuilder};
use guest_tests::{
    World,
    cable::Cable,
    frames::{BROADCAST, ETHERNET, FCS, Mac, PEER, numbered, same, tagged},
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    each_traffic_class_has_its_queues,
    each_class_of_mqprio_has_its_queue_to_send,
    a_queue_sends_no_faster_than_its_rate,
];

/// How long counters may take to show what happened.
const PATIENCE: Duration = Duration::from_secs(90);
/// What every frame that the guest is to pass on is sent to.
const NEXT_HOP: Mac = [0x02, 0x82, 0x59, 0xFF, 0x00, 0x02];
/// Type of service, and the priority that Linux gives a packet with it when it passes it on.
const SERVICES: [(u8, u16); 4] = [(0, 0), (0x08, 2), (0x18, 4), (0x10, 6)];

/// Frames that arrive with each priority; as many as tell them apart.
const COUNTS: [u64; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

/// Four classes of two priorities each, and eight of one; each has one queue.
const FOUR: &str = "prio-tc 0:0 1:0 2:1 3:1 4:2 5:2 6:3 7:3 tc-bw 0:40 1:30 2:20 3:10";
const EIGHT: &str = "prio-tc 0:0 1:1 2:2 3:3 4:4 5:5 6:6 7:7 \
     tc-bw 0:30 1:10 2:10 3:10 4:10 5:10 6:10 7:10";
const UNSET: &str = "dcb pfc set dev eth0 prio-pfc all:off
     dcb ets set dev eth0 prio-tc all:0 tc-tsa all:strict tc-bw all:0";

/// An IPv4 packet of this type of service that the guest passes on, with a tag of this priority.
fn to_pass_on(guest: Mac, priority: u16, service: u8) -> Result<Vec<u8>> {
    let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 2, 50], [10, 0, 2, 77])?;
    header.dscp = IpDscp::try_new(service >> 2)?;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, guest)
        .ip(IpHeaders::Ipv4(header, Default::default()))
        .udp(9, 9)
        .write(&mut frame, &[7; 200])?;
    Ok(tagged(&frame, priority << 13))
}

/// Priority flow control: a time for each of two priorities.
fn pfc(times: [(usize, u16); 2]) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[0x01, 0x80, 0xC2, 0, 0, 1]);
    frame[6..12].copy_from_slice(&PEER);
    frame[12..16].copy_from_slice(&[0x88, 0x08, 1, 1]);
    for (priority, quanta) in times {
        frame[17] |= 1 << priority;
        let at = 18 + 2 * priority;
        frame[at..at + 2].copy_from_slice(&quanta.to_be_bytes());
    }
    frame
}

fn each_traffic_class_has_its_queues(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    machine.sh(&format!("dcb dcbx set dev {INTERFACE} host ieee"))?;
    let outcome = [(FOUR, 2), (EIGHT, 1)]
        .into_iter()
        .try_for_each(|(ets, priorities)| classes(machine, ets, priorities))
        .and_then(|()| priority_flow_control(machine));
    machine.sh(&format!(
        "set -e; {UNSET}; echo 0 >/proc/sys/net/ipv4/ip_forward"
    ))?;
    machine.wait_for_link()?;
    outcome
}

/// Classes of so many `priorities` each.
fn classes(machine: &mut Machine, ets: &str, priorities: usize) -> Result<()> {
    machine.sh(&format!(
        "dcb ets set dev {INTERFACE} willing off tc-tsa all:ets {ets}"
    ))?;
    machine.wait_for_link()?;
    let shown = machine.sh(&format!("dcb ets show dev {INTERFACE} prio-tc"))?;
    let last = format!("7:{}", 7 / priorities);
    ensure!(shown.contains(&last), "no `{last}` in {shown}");
    let by_class = |priority: usize| priority / priorities;
    pass_on(machine, 8 / priorities, by_class, by_class)
}

fn each_class_of_mqprio_has_its_queue_to_send(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    machine.sh(&format!(
        "modprobe sch_mqprio
         tc qdisc replace dev {INTERFACE} root mqprio num_tc 4 map 0 0 1 1 2 2 3 3 hw 1"
    ))?;
    machine.wait_for_link()?;
    // What arrives is of the class that DCB gives it, which is the first for all.
    let outcome = pass_on(machine, 4, |_| 0, |priority| priority / 2);
    machine.sh(&format!(
        "set -e; tc qdisc del dev {INTERFACE} root; echo 0 >/proc/sys/net/ipv4/ip_forward"
    ))?;
    machine.wait_for_link()?;
    outcome
}

/// Lets the guest pass frames of every priority on, and looks in the queues of which of so many `classes` they come and
/// leave.
fn pass_on(
    machine: &mut Machine,
    classes: usize,
    arrives_in: impl Fn(usize) -> usize,
    leaves_by: impl Fn(usize) -> usize,
) -> Result<()> {
    machine.sh(&format!(
        "set -e; ip address replace 10.0.2.15/24 dev {INTERFACE}
         ip neigh replace 10.0.2.77 lladdr 02:82:59:ff:00:02 nud permanent dev {INTERFACE}
         for i in all {INTERFACE}; do echo 0 >/proc/sys/net/ipv4/conf/$i/send_redirects; done
         echo 1 >/proc/sys/net/ipv4/ip_forward"
    ))?;
    let world = machine.world()?;
    let mac = world.mac()?;
    let before = world.statistics()?;
    world.cable().take(Duration::ZERO)?;
    // What comes with priority n or n + 1, the guest passes on with priority 6 - n.
    let mut frames = Vec::new();
    let [mut arrive, mut leave] = [[0; 8]; 2];
    for (priority, count) in COUNTS.into_iter().enumerate() {
        let (service, leaves_with) = SERVICES[3 - priority / 2];
        let frame = to_pass_on(mac, u16::try_from(priority)?, service)?;
        frames.extend(vec![frame; usize::try_from(count)?]);
        arrive[arrives_in(priority)] += count;
        leave[leaves_by(usize::from(leaves_with))] += count;
    }
    world.cable().put(&frames)?;

    let mut passed_on: BTreeMap<u16, usize> = BTreeMap::new();
    let begun = Instant::now();
    while passed_on.values().sum::<usize>() < frames.len() && begun.elapsed() < PATIENCE {
        for frame in world.cable().take(Duration::from_millis(100))? {
            if frame.starts_with(&NEXT_HOP) && frame.get(12..14) == Some(&[0x81, 0]) {
                *passed_on.entry(u16::from(frame[14]) >> 5).or_default() += 1;
            }
        }
    }
    let expected = BTreeMap::from([(6, 3), (4, 8), (2, 21), (0, 55)]);
    ensure!(
        passed_on == expected,
        "by priority were passed on {passed_on:?} instead of {expected:?}"
    );
    let after = world.statistics()?;
    for (direction, counts) in [("rx", arrive), ("tx", leave)] {
        for (class, count) in counts.into_iter().take(classes).enumerate() {
            let name = format!("{direction}_queue_{class}_packets");
            let [from, to] = [&before, &after].map(|counters| counters.get(&name).copied());
            let grown = to.with_context(|| format!("no {name}"))? - from.unwrap_or(0);
            ensure!(grown == count, "{name} grew by {grown} instead of {count}");
        }
    }
    Ok(())
}

fn priority_flow_control(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!(
        "dcb pfc set dev {INTERFACE} prio-pfc all:off 2:on 3:on"
    ))?;
    machine.wait_for_link()?;
    let shown = machine.sh(&format!("dcb pfc show dev {INTERFACE} prio-pfc"))?;
    ensure!(shown.contains("1:off 2:on 3:on 4:off"), "{shown}");
    let world = machine.world()?;
    let before = world.statistics()?;
    world.cable().put(&vec![pfc([(2, 100), (5, 0)]); 3])?;
    let of = |counters: &BTreeMap<String, u64>, name| counters.get(name).copied().unwrap_or(0);
    let names = [
        "rx_pb_2_pxoff",
        "rx_pb_5_pxon",
        "rx_pb_2_pxon",
        "rx_pb_3_pxoff",
    ];
    let begun = Instant::now();
    let mut grown = [0; 4];
    // The driver reads the card's counters now and then.
    while grown[..2] != [3, 3] {
        let now = world.statistics()?;
        grown = names.map(|name| of(&now, name) - of(&before, name));
        ensure!(begun.elapsed() < PATIENCE, "{names:?} grew by {grown:?}");
    }
    ensure!(grown == [3, 3, 0, 0], "{names:?} grew by {grown:?}");
    Ok(())
}

fn a_queue_sends_no_faster_than_its_rate(machine: &mut Machine) -> Result<()> {
    /// Mbit/s.
    const RATE: u32 = 20;
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let frames: Vec<_> = (0..300)
        .map(|number| numbered(BROADCAST, number, ETHERNET + 1500))
        .collect();
    machine.sh(&format!(
        "for q in /sys/class/net/{INTERFACE}/queues/tx-*; do echo {RATE} >$q/tx_maxrate || exit; done"
    ))?;
    let begun = Instant::now();
    let sent = machine.world()?.send(&frames);
    let took = begun.elapsed();
    // The driver has no way to take a limit away but a reset.
    machine.world()?.set_up(&Setup::default())?;
    same(&sent?, &frames)?;
    // The first leaves at once.
    let bits = 8 * (frames.len() - 1) * (ETHERNET + 1500 + FCS);
    let least = Duration::from_micros(bits as u64 / u64::from(RATE));
    ensure!(took >= least, "{took:?} instead of {least:?} or more");
    Ok(())
}
