//! Which queue a frame comes in, as `ethtool -N`, `-U` and `-X` ask for it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use guest_tests::{
    World,
    frames::{BROADCAST, Flow, Mac, PEER, numbered, tagged},
    linux_world::INTERFACE,
    rss,
    world::{Rss, Setup, Spread},
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    frames_come_in_the_queue_of_their_ntuple_filter,
    a_deleted_ntuple_filter_matches_no_more,
    what_a_filter_masks_may_be_anything,
    an_address_mask_covers_a_subnet,
    a_filter_can_ask_for_a_vlan,
    a_filter_can_ask_for_two_bytes_at_the_place_of_the_ethertype,
    udp_ports_take_part_in_the_hash_if_asked_for,
    a_flow_comes_back_in_the_queue_that_it_leaves_by,
];

/// For kernels whose driver accepts what today's ethtool says with `-X`: not 6.1, which refuses to be told the hash
/// function that it has.
pub const SINCE_6_12: &[Test] = tests![the_table_of_ethtool_x_spreads_flows];

/// The flow from `source_port` at the host of this number in 10.1/16 to `port` at 10.2.0.2.
fn flow(host: u16, source_port: u16, port: u16) -> Flow {
    let [high, low] = host.to_be_bytes();
    Flow {
        source: (Ipv4Addr::new(10, 1, high, low).into(), source_port),
        destination: (Ipv4Addr::new(10, 2, 0, 2).into(), port),
    }
}

/// How RSS spreads flows over the two queues of the guest.
struct Spreading(Rss);

impl Spreading {
    fn queue(&self, hash: u32) -> usize {
        self.0.table[(hash & 127) as usize]
    }

    /// By addresses and ports.
    fn of_tcp(&self, flow: &Flow) -> usize {
        self.queue(rss::hash(&self.0.key, flow))
    }

    /// By addresses alone.
    fn of_udp(&self, flow: &Flow) -> usize {
        self.queue(rss::hash_of_addresses(&self.0.key, flow))
    }

    /// How many TCP segments, one of each flow, come in each queue.
    fn counts(&self, flows: &[Flow]) -> [u64; 2] {
        [0, 1].map(|queue| {
            flows
                .iter()
                .filter(|flow| self.of_tcp(flow) == queue)
                .count() as u64
        })
    }

    /// Flows from one address to `port` that RSS puts in queue 0, be they of TCP or UDP.
    fn to_queue_0(&self, port: u16) -> Result<impl Iterator<Item = Flow>> {
        let host = (1..=u16::MAX).find(|host| self.of_udp(&flow(*host, 0, 0)) == 0);
        let host = host.context("every address has a hash of queue 1")?;
        let flows = (1..=u16::MAX).map(move |source| flow(host, source, port));
        Ok(flows.filter(|flow| self.of_tcp(flow) == 0))
    }
}

/// Two queues.
fn two_queues(machine: &mut Machine) -> Result<(Mac, Spreading)> {
    let world = machine.world()?;
    world.set_up(&Setup {
        spread: Spread::Rss,
        ..Setup::default()
    })?;
    Ok((world.mac()?, Spreading(world.rss()?)))
}

fn filters_on(machine: &mut Machine) -> Result<(Mac, Spreading)> {
    let both = two_queues(machine)?;
    machine.sh(&format!("ethtool -K {INTERFACE} ntuple on"))?;
    machine.wait_for_link()?;
    Ok(both)
}

fn add(machine: &mut Machine, filter: &str) -> Result<()> {
    machine.sh(&format!("ethtool -N {INTERFACE} flow-type {filter}"))?;
    Ok(())
}

/// A filter's words for exactly this flow.
fn exactly(flow: &Flow) -> String {
    let ((from, source_port), (to, port)) = (flow.source, flow.destination);
    format!("src-ip {from} dst-ip {to} src-port {source_port} dst-port {port}")
}

/// Takes all filters away.
fn filters_off(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!("ethtool -K {INTERFACE} ntuple off"))?;
    machine.wait_for_link()
}

/// Frames that came in each of the two queues, and how often a Flow Director filter matched and missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    queues: [u64; 2],
    matched: u64,
    missed: u64,
}

impl Seen {
    fn of(machine: &mut Machine) -> Result<Self> {
        let counters = machine.world()?.statistics()?;
        let of = |name: &str| {
            let value = counters.get(name).copied();
            value.with_context(|| format!("no counter {name}"))
        };
        Ok(Self {
            queues: [of("rx_queue_0_packets")?, of("rx_queue_1_packets")?],
            matched: of("fdir_match")?,
            missed: of("fdir_miss")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            queues: [0, 1].map(|queue| self.queues[queue] - before.queues[queue]),
            matched: self.matched - before.matched,
            missed: self.missed - before.missed,
        }
    }
}

/// Lets the frames arrive, and one more for queue 0 that no filter looks at, which is not counted here.
fn arrive(machine: &mut Machine, mut frames: Vec<Vec<u8>>) -> Result<(Seen, usize)> {
    frames.push(numbered(BROADCAST, 1, 60));
    let before = Seen::of(machine)?;
    let received = machine.world()?.arrive(&frames)?;
    let mut seen = Seen::of(machine)?.since(before);
    seen.queues[0] -= 1;
    Ok((seen, received.len() - 1))
}

fn frames_come_in_the_queue_of_their_ntuple_filter(machine: &mut Machine) -> Result<()> {
    let (mac, spreading) = filters_on(machine)?;
    let flows: Vec<Flow> = spreading.to_queue_0(80)?.take(3).collect();
    let [steered, dropped, other] = flows[..] else {
        bail!("no three flows of queue 0");
    };
    add(
        machine,
        &format!("tcp4 {} action 1 loc 5", exactly(&steered)),
    )?;
    add(
        machine,
        &format!("udp4 {} action 1 loc 6", exactly(&steered)),
    )?;
    add(
        machine,
        &format!("sctp4 {} action 0 loc 7", exactly(&steered)),
    )?;
    add(
        machine,
        &format!("tcp4 {} action -1 loc 8", exactly(&dropped)),
    )?;
    let listing = machine.sh(&format!("ethtool -n {INTERFACE}"))?;
    for line in [
        "Total 4 rules".to_owned(),
        "Filter: 5".to_owned(),
        "Rule Type: UDP over IPv4".to_owned(),
        "Rule Type: SCTP over IPv4".to_owned(),
        format!("Src IP addr: {} mask: 0.0.0.0", steered.source.0),
        format!("Src port: {} mask: 0x0", dropped.source.1),
        "Action: Direct to queue 1".to_owned(),
        "Action: Drop".to_owned(),
    ] {
        ensure!(listing.contains(&line), "no `{line}` in\n{listing}");
    }
    let mut frames = Vec::new();
    for _ in 0..10 {
        frames.push(steered.tcp(PEER, mac, b"to queue 1")?);
        frames.push(steered.udp(PEER, mac, b"to queue 1")?);
        frames.push(dropped.tcp(PEER, mac, b"to nobody")?);
        frames.push(dropped.udp(PEER, mac, b"no filter")?);
        frames.push(other.tcp(PEER, mac, b"no filter")?);
    }
    let (seen, received) = arrive(machine, frames)?;
    let expected = Seen {
        queues: [20, 20],
        matched: 30,
        missed: 20,
    };
    ensure!(
        seen == expected && received == 40,
        "{received} frames and {seen:?} instead of {expected:?}"
    );
    filters_off(machine)
}

fn a_deleted_ntuple_filter_matches_no_more(machine: &mut Machine) -> Result<()> {
    let (mac, spreading) = filters_on(machine)?;
    let flows: Vec<Flow> = spreading.to_queue_0(80)?.take(2).collect();
    let mut frames = Vec::new();
    for (flow, place) in flows.iter().zip(1..) {
        add(
            machine,
            &format!("tcp4 {} action 1 loc {place}", exactly(flow)),
        )?;
        frames.push(flow.tcp(PEER, mac, b"payload")?);
    }
    let queues = arrive(machine, frames.clone())?.0.queues;
    ensure!(queues == [0, 2], "with both filters {queues:?}");
    machine.sh(&format!("ethtool -N {INTERFACE} delete 1"))?;
    let queues = arrive(machine, frames.clone())?.0.queues;
    ensure!(queues == [1, 1], "with one filter {queues:?}");
    let listing = machine.sh(&format!("ethtool -n {INTERFACE}"))?;
    ensure!(listing.contains("Total 1 rules"), "{listing}");
    // The driver writes its filters again after a reset.
    machine.sh(&format!("ethtool -r {INTERFACE}"))?;
    machine.wait_for_link()?;
    let queues = arrive(machine, frames)?.0.queues;
    ensure!(queues == [1, 1], "after a reset {queues:?}");
    filters_off(machine)
}

fn what_a_filter_masks_may_be_anything(machine: &mut Machine) -> Result<()> {
    let (mac, spreading) = filters_on(machine)?;
    add(machine, "tcp4 dst-port 80 action 1")?;
    let mut frames = Vec::new();
    for flow in spreading.to_queue_0(80)?.take(20) {
        frames.push(flow.tcp(PEER, mac, b"matches")?);
        frames.push(flow.udp(PEER, mac, b"no TCP")?);
    }
    for flow in spreading.to_queue_0(81)?.take(20) {
        frames.push(flow.tcp(PEER, mac, b"another port")?);
    }
    let (seen, _) = arrive(machine, frames)?;
    ensure!(seen.queues == [40, 20] && seen.matched == 20, "{seen:?}");
    filters_off(machine)
}

fn an_address_mask_covers_a_subnet(machine: &mut Machine) -> Result<()> {
    let (mac, spreading) = filters_on(machine)?;
    // In ethtool's masks a bit that is set is one that does not matter.
    add(machine, "ip4 src-ip 10.1.0.16 m 0.0.0.15 action 1")?;
    let mut frames = Vec::new();
    let mut expected = [0; 2];
    for host in 0..64 {
        let flow = flow(host, 1000, 80);
        let inside = (16..32).contains(&host);
        expected[if inside { 1 } else { spreading.of_tcp(&flow) }] += 1;
        expected[if inside { 1 } else { spreading.of_udp(&flow) }] += 1;
        frames.push(flow.tcp(PEER, mac, b"any protocol")?);
        frames.push(flow.udp(PEER, mac, b"any protocol")?);
    }
    let (seen, _) = arrive(machine, frames)?;
    ensure!(
        seen.queues == expected && seen.matched == 32,
        "{seen:?}, by queue {expected:?} expected"
    );
    filters_off(machine)
}

fn a_filter_can_ask_for_a_vlan(machine: &mut Machine) -> Result<()> {
    machine.sh("modprobe 8021q")?;
    let (mac, spreading) = filters_on(machine)?;
    add(machine, "udp4 dst-port 80 vlan 5 m 0xf000 action 1")?;
    machine.sh(&format!(
        "ip link add link {INTERFACE} name {INTERFACE}.5 type vlan id 5
         ip link add link {INTERFACE} name {INTERFACE}.6 type vlan id 6"
    ))?;
    let flow = spreading.to_queue_0(80)?.next().context("no flow")?;
    let frame = flow.udp(PEER, mac, b"payload")?;
    let frames = [
        tagged(&frame, 5),
        tagged(&frame, 0xE005),
        tagged(&frame, 6),
        frame,
    ];
    let (seen, received) = arrive(machine, frames.to_vec())?;
    ensure!(
        seen.queues == [2, 2] && received == 4,
        "{received} frames and {seen:?}"
    );
    filters_off(machine)
}

/// What `ethtool` calls the VLAN's ethertype is compared with the two bytes where a frame has its ethertype, or its tag's:
/// the driver has the card look there (FDIRCTRL.FLEX).
fn a_filter_can_ask_for_two_bytes_at_the_place_of_the_ethertype(
    machine: &mut Machine,
) -> Result<()> {
    machine.sh("modprobe 8021q")?;
    let (mac, spreading) = filters_on(machine)?;
    let flow = spreading.to_queue_0(80)?.next().context("no flow")?;
    let frame = flow.udp(PEER, mac, b"payload")?;
    let frames = [frame.clone(), tagged(&frame, 0), frame.clone()];
    for (bytes, matches) in [(0x0800, 2), (0x8100, 1), (0x86DD, 0)] {
        let filter = format!("udp4 dst-port 80 vlan-etype {bytes:#x} action 1 loc 1");
        add(machine, &filter)?;
        let listing = machine.sh(&format!("ethtool -n {INTERFACE}"))?;
        ensure!(
            listing.contains(&format!("VLAN EtherType: {bytes:#x} mask: 0x0")),
            "{listing}"
        );
        let (seen, received) = arrive(machine, frames.to_vec())?;
        ensure!(
            seen.matched == matches && seen.queues[1] == matches && received == 3,
            "{seen:?} of {received} frames with {bytes:#x}"
        );
        machine.sh(&format!("ethtool -N {INTERFACE} delete 1"))?;
    }
    filters_off(machine)
}

fn the_table_of_ethtool_x_spreads_flows(machine: &mut Machine) -> Result<()> {
    let (mac, _) = two_queues(machine)?;
    let key = (1..=40).map(|byte| format!("{:02x}", byte * 37 % 256));
    let key = key.collect::<Vec<_>>().join(":");
    let flows = (0..96).map(|host| flow(host, 1024 + 7 * host, 80));
    let flows: Vec<Flow> = flows.collect();
    let frames: Result<Vec<_>> = flows
        .iter()
        .map(|flow| flow.tcp(PEER, mac, b"payload"))
        .collect();
    let frames = frames?;
    for (setting, of_queue_1) in [
        ("weight 3 1".to_owned(), 32),
        ("equal 2".to_owned(), 64),
        (format!("hkey {key}"), 64),
    ] {
        machine.sh(&format!("ethtool -X {INTERFACE} {setting}"))?;
        let spreading = Spreading(machine.world()?.rss()?);
        let entries = spreading.0.table.iter().filter(|queue| **queue == 1);
        let entries = entries.count();
        ensure!(entries == of_queue_1, "{entries} entries after {setting}");
        let expected = spreading.counts(&flows);
        let queues = arrive(machine, frames.clone())?.0.queues;
        ensure!(
            queues == expected && expected[1] > 0,
            "{queues:?} instead of {expected:?} after {setting}"
        );
    }
    let shown = machine.sh(&format!("ethtool -x {INTERFACE}"))?;
    ensure!(shown.contains(&key), "another key:\n{shown}");
    machine.sh(&format!("ethtool -X {INTERFACE} default"))?;
    Ok(())
}

fn udp_ports_take_part_in_the_hash_if_asked_for(machine: &mut Machine) -> Result<()> {
    let (mac, spreading) = &two_queues(machine)?;
    // One pair of addresses, many pairs of ports, half of them for each queue.
    let flows = |queue| {
        let flows = (1..=u16::MAX).map(|port| flow(1, port, 80));
        let flows = flows.filter(move |flow| spreading.of_tcp(flow) == queue);
        flows.take(32)
    };
    let flows: Vec<Flow> = flows(0).chain(flows(1)).collect();
    let frames: Result<Vec<_>> = flows
        .iter()
        .map(|flow| flow.udp(PEER, *mac, b"payload"))
        .collect();
    let frames = frames?;

    let queues = arrive(machine, frames.clone())?.0.queues;
    let queue = spreading.of_udp(&flow(1, 0, 0));
    ensure!(queues[queue] == 64, "by addresses alone {queues:?}");

    machine.sh(&format!("ethtool -N {INTERFACE} rx-flow-hash udp4 sdfn"))?;
    let fields = machine.sh(&format!("ethtool -n {INTERFACE} rx-flow-hash udp4"))?;
    ensure!(fields.contains("L4 bytes 2 & 3"), "{fields}");
    let queues = arrive(machine, frames)?.0.queues;
    ensure!(queues == [32, 32], "with ports {queues:?}");

    machine.sh(&format!("ethtool -N {INTERFACE} rx-flow-hash udp4 sd"))?;
    let fields = machine.sh(&format!("ethtool -n {INTERFACE} rx-flow-hash udp4"))?;
    ensure!(!fields.contains("L4 bytes"), "{fields}");
    Ok(())
}

/// The driver's application targeted routing: where a TCP connection begins, it writes a signature filter for what comes
/// back.
fn a_flow_comes_back_in_the_queue_that_it_leaves_by(machine: &mut Machine) -> Result<()> {
    let (_, spreading) = two_queues(machine)?;
    // A processor that serves the interrupt of the other's queue would also answer by its own.
    machine.sh(&format!(
        "for queue in 0 1; do
            irq=$(awk -F: \"/TxRx-$queue/ {{ print \\$1 + 0 }}\" /proc/interrupts)
            echo $((queue + 1)) >/proc/irq/$irq/smp_affinity
         done
         ip address add 10.0.2.15/24 dev {INTERFACE}
         head -c 2000 /dev/urandom >/tmp/there"
    ))?;
    for queue in [0, 1] {
        // Connections whose answers RSS would put in the other queue.
        let answers = |port| Flow {
            source: (Ipv4Addr::new(10, 0, 2, 2).into(), 7),
            destination: (Ipv4Addr::new(10, 0, 2, 15).into(), port),
        };
        let ports = (20000..60000).filter(|port| spreading.of_tcp(&answers(*port)) != queue);
        let ports: Vec<String> = ports.take(10).map(|port| port.to_string()).collect();
        let before = Seen::of(machine)?;
        machine.sh(&format!(
            "for port in {}; do
                taskset {} nc -p $port 10.0.2.2 7 </tmp/there >/tmp/back
                cmp /tmp/there /tmp/back || exit 1
             done",
            ports.join(" "),
            queue + 1
        ))?;
        let seen = Seen::of(machine)?.since(before);
        // What the kernel sends later on, by a timer, it may send on another processor.
        ensure!(
            seen.matched >= 30 && seen.queues[queue] > 3 * seen.queues[1 - queue],
            "on processor {queue}: {seen:?}"
        );
    }
    machine.sh(&format!("ip address flush dev {INTERFACE}"))?;
    Ok(())
}
