//! Which queue a packet goes to: RSS, and a rule of rte_flow for each kind of filter that the card has.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use etherparse::TcpHeader;
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{Flow, PEER, padded, same},
    rss,
    server::ControlCable,
    world::Rss,
};

use super::{
    Test,
    forwarding::{SCALAR, take},
    machine::{KernelDriver, Machine},
    testpmd::{Packet, Testpmd},
};

pub const TESTS: &[Test] = tests![
    rss_spreads_packets_by_key_and_table_over_four_queues,
    rss_over_vfio_uses_the_key_that_testpmd_gives,
    four_queues_forward_what_rss_gives_them,
    an_ntuple_rule_sends_its_flow_to_its_queue,
    an_ethertype_rule_sends_its_frames_to_its_queue,
    a_syn_rule_sends_segments_with_syn_to_its_queue,
    perfect_flow_director_rules_send_their_flows_to_their_queues,
    perfect_flow_director_rules_drop,
    signature_flow_director_rules_send_their_flows_to_their_queues,
    an_rss_rule_chooses_types_and_queues,
];

const QUEUES: &str = "--rxq=4 --txq=4";
/// Everything goes to queue 0 that no filter wants elsewhere.
const UNSPREAD: &str = "--rxq=4 --txq=4 --disable-rss";

fn flow(source: &str, source_port: u16, destination: &str, destination_port: u16) -> Result<Flow> {
    Ok(Flow {
        source: (source.parse()?, source_port),
        destination: (destination.parse()?, destination_port),
    })
}

/// Frames of TCP and UDP over both versions of IP, from many ports, each of another length.
fn many_flows() -> Result<Vec<(Flow, Vec<u8>)>> {
    let mut frames = Vec::new();
    for port in 0..8_u16 {
        for (version, (from, to)) in (0..).zip([("10.1.2.3", "10.1.2.4"), ("fd00::3", "fd00::4")]) {
            let flow = flow(from, 1000 + port, to, 80)?;
            let payload = vec![0x5A; usize::from(100 + 10 * port + 2 * version)];
            frames.push((flow, flow.udp(PEER, MAC, &payload)?));
            let payload = [&payload[..], &[1; 200]].concat();
            frames.push((flow, flow.tcp(PEER, MAC, &payload)?));
        }
    }
    Ok(frames)
}

fn rss_spreads_packets_by_key_and_table_over_four_queues(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", QUEUES)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1", "port config all rss all"])?;
    // Another order of queues than the one that the PMD starts with.
    for entry in 0..8 {
        let queue = 3 - entry % 4;
        testpmd.command(&format!("port config 0 rss reta ({entry},{queue})"))?;
    }
    let rss = rss(&mut testpmd)?;
    ensure!(
        rss.table[..9] == [3, 2, 1, 0, 3, 2, 1, 0, 0],
        "{:?}",
        rss.table
    );
    spread(&mut testpmd, &mut cable, &rss)
}

fn rss_over_vfio_uses_the_key_that_testpmd_gives(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::VfioPci, SCALAR, QUEUES)?;
    let key: String = (1..=40_u8)
        .map(|byte| format!("{:02x}", byte.wrapping_mul(37)))
        .collect();
    testpmd.commands(["set fwd rxonly", "set verbose 1", "port config all rss all"])?;
    testpmd.command(&format!("port config 0 rss-hash-key ipv4 {key}"))?;
    let rss = rss(&mut testpmd)?;
    ensure!(rss.key[..3] == [37, 74, 111], "{:02x?}", rss.key);
    testpmd.command("port config all rss all")?;
    spread(&mut testpmd, &mut cable, &rss)
}

fn four_queues_forward_what_rss_gives_them(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", QUEUES)?;
    testpmd.commands(["port config all rss all", "set fwd io", "start"])?;
    for queue in 0..4 {
        for way in ["rx", "tx"] {
            // Counters of the queues are what registers say, and the PMD starts with one for all.
            testpmd.command(&format!("set stat_qmap {way} 0 {queue} {queue}"))?;
        }
    }
    let mut frames: Vec<_> = many_flows()?.into_iter().map(|(_, frame)| frame).collect();
    cable.put(&frames)?;
    let mut back = take(&mut cable, frames.len())?;
    // The order is kept only within a queue.
    frames.sort();
    back.sort();
    same(&back, &frames)?;
    let xstats = testpmd.xstats()?;
    let by_queue = |way: &str| {
        (0..4)
            .map(|queue| xstats.get(&format!("{way}_q{queue}_packets")).copied())
            .collect()
    };
    let (received, sent): (Vec<_>, Vec<_>) = (by_queue("rx"), by_queue("tx"));
    ensure!(
        received == sent && received.iter().all(|count| *count > Some(0)),
        "received {received:?}, sent {sent:?}"
    );
    Ok(())
}

/// Hash and queue of many packets are what an independent Toeplitz says.
fn spread(testpmd: &mut Testpmd<'_>, cable: &mut ControlCable, rss: &Rss) -> Result<()> {
    let flows = many_flows()?;
    let frames: Vec<_> = flows.iter().map(|(_, frame)| frame.clone()).collect();
    let packets = arrive(testpmd, cable, &frames)?;
    let mut seen = [0; 4];
    for ((flow, _), packet) in flows.iter().zip(packets) {
        let hash = rss::hash(&rss.key, flow);
        let entry = usize::try_from(hash & 127)?;
        let queue = *rss.table.get(entry).context("no such entry")?;
        ensure!(
            (packet.rss_hash, packet.queue) == (Some(hash), queue),
            "{flow:?}: {packet:?} instead of hash {hash:#x} and queue {queue}"
        );
        seen[queue] += 1;
    }
    ensure!(seen.iter().all(|count| *count > 0), "by queue {seen:?}");
    Ok(())
}

/// Key and table by which testpmd says that packets are spread.
fn rss(testpmd: &mut Testpmd<'_>) -> Result<Rss> {
    let said = testpmd.command("show port 0 rss-hash key")?;
    let (_, key) = said.split_once("RSS key:").context(said.clone())?;
    let key = key.split_whitespace().next().context(said.clone())?;
    let key: Vec<u8> = (0..key.len() / 2)
        .map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16))
        .collect::<Result<_, _>>()?;
    let all = "(0xffffffffffffffff,0xffffffffffffffff)";
    let said = testpmd.command(&format!("show port 0 rss reta 128 {all}"))?;
    let table: Vec<usize> = said
        .lines()
        .filter_map(|line| line.split_once("queue=")?.1.trim().parse().ok())
        .collect();
    ensure!(table.len() == 128, "{} entries in {said}", table.len());
    let key = key
        .try_into()
        .map_err(|_| anyhow::anyhow!("key in {said}"))?;
    Ok(Rss { key, table })
}

/// Lets frames of different lengths arrive, and tells what testpmd was given of them, in this order.
fn arrive(
    testpmd: &mut Testpmd<'_>,
    cable: &mut ControlCable,
    frames: &[Vec<u8>],
) -> Result<Vec<Packet>> {
    testpmd.commands(["clear port stats 0", "start"])?;
    cable.put(frames)?;
    let count = u64::try_from(frames.len())?;
    testpmd.wait_for("what arrived", |stats| stats.received >= count)?;
    testpmd.command("stop")?;
    let packets = testpmd.packets()?;
    frames
        .iter()
        .map(|frame| {
            let length = padded(frame).len();
            let packet = packets.get(&length).cloned();
            packet.with_context(|| format!("no packet of {length} bytes in {packets:?}"))
        })
        .collect()
}

/// Queues that frames come in.
fn queues(
    testpmd: &mut Testpmd<'_>,
    cable: &mut ControlCable,
    frames: &[Vec<u8>],
) -> Result<Vec<usize>> {
    let packets = arrive(testpmd, cable, frames)?;
    Ok(packets.iter().map(|packet| packet.queue).collect())
}

/// A frame whose length is `14 + 20 + 8 + len`.
fn udp(source: &str, ports: (u16, u16), len: usize) -> Result<Vec<u8>> {
    flow(source, ports.0, "10.9.0.2", ports.1)?.udp(PEER, MAC, &vec![7; len])
}

fn an_ntuple_rule_sends_its_flow_to_its_queue(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", UNSPREAD)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    let tcp = flow("10.9.0.1", 32, "10.9.0.2", 33)?;
    let frames = [
        udp("10.9.0.1", (32, 33), 100)?,
        udp("10.9.0.1", (32, 34), 101)?,
        udp("10.9.0.1", (31, 33), 102)?,
        udp("10.9.0.3", (32, 33), 103)?,
        tcp.tcp(PEER, MAC, &[7; 104])?,
    ];
    ensure!(queues(&mut testpmd, &mut cable, &frames)? == [0; 5]);
    let exact = testpmd.flow(
        "pattern eth / ipv4 src is 10.9.0.1 dst is 10.9.0.2 proto is 17 / \
         udp src is 32 dst is 33 / end actions queue index 2 / end",
    )?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [2, 0, 0, 0, 0], "{is:?}");
    // One with fewer fields, and a lower priority.
    testpmd.flow(
        "priority 2 pattern eth / ipv4 proto is 17 / udp dst is 33 / end actions queue index 3 / end",
    )?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is[1..] == [0, 3, 3, 0], "{is:?}");
    testpmd.command(&format!("flow destroy 0 rule {exact}"))?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [3, 0, 3, 3, 0], "{is:?}");
    testpmd.command("flow flush 0")?;
    ensure!(queues(&mut testpmd, &mut cable, &frames)? == [0; 5]);
    Ok(())
}

fn an_ethertype_rule_sends_its_frames_to_its_queue(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", UNSPREAD)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    let of_type = |kind: u16, len| {
        let mut frame = [&MAC[..], &PEER, &kind.to_be_bytes()].concat();
        frame.resize(len, 9);
        frame
    };
    let frames = [
        of_type(0x88B5, 100),
        of_type(0x88B6, 101),
        udp("10.9.0.1", (1, 2), 102)?,
    ];
    let rule = testpmd.flow("pattern eth type is 0x88B5 / end actions queue index 1 / end")?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [1, 0, 0], "{is:?}");
    testpmd.flow("pattern eth type is 0x88B6 / end actions queue index 3 / end")?;
    testpmd.command(&format!("flow destroy 0 rule {rule}"))?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [0, 3, 0], "{is:?}");
    Ok(())
}

fn a_syn_rule_sends_segments_with_syn_to_its_queue(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", UNSPREAD)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    let segment = |source: &str, destination: &str, syn, ack, len| {
        let mut header = TcpHeader::new(0, 0, 1, 1000);
        (header.syn, header.ack) = (syn, ack);
        flow(source, 1, destination, 2)?.tcp_with(PEER, MAC, header, &vec![3; len])
    };
    let frames = [
        segment("10.9.0.1", "10.9.0.2", true, false, 100)?,
        segment("10.9.0.1", "10.9.0.2", false, true, 101)?,
        segment("10.9.0.1", "10.9.0.2", true, true, 102)?,
        segment("fd00::1", "fd00::2", true, false, 103)?,
    ];
    testpmd.flow(
        "pattern eth / ipv4 / tcp flags spec 2 flags mask 2 / end actions queue index 3 / end",
    )?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    // Whatever else is set (7.1.2.5).
    ensure!(is == [3, 0, 3, 3], "{is:?}");
    testpmd.command("flow flush 0")?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [0; 4], "{is:?}");
    Ok(())
}

fn perfect_flow_director_rules_send_their_flows_to_their_queues(
    machine: &mut Machine,
) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", UNSPREAD)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    let frames = [
        udp("10.9.0.1", (32, 33), 100)?,
        udp("10.9.0.1", (32, 34), 101)?,
        udp("10.9.0.1", (31, 33), 102)?,
        udp("10.9.0.3", (32, 33), 103)?,
    ];
    // With a mark it is no rule for a 5-tuple filter.
    let rule = |port, actions| {
        format!(
            "pattern eth / ipv4 src is 10.9.0.1 dst is 10.9.0.2 / udp src is 32 dst is {port} / \
             end actions {actions} / end"
        )
    };
    let first = testpmd.flow(&rule(33, "queue index 2 / mark id 11"))?;
    testpmd.flow(&rule(34, "queue index 3 / mark id 12"))?;
    testpmd.command("clear port xstats 0")?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [2, 3, 0, 0], "{is:?}");
    let xstats = testpmd.xstats()?;
    let (matches, misses) = (
        xstats.get("flow_director_matched_filters").copied(),
        xstats.get("flow_director_missed_filters").copied(),
    );
    ensure!(
        (matches, misses) == (Some(2), Some(2)),
        "{matches:?} matches, {misses:?} misses"
    );
    testpmd.command(&format!("flow destroy 0 rule {first}"))?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [0, 3, 0, 0], "{is:?}");
    testpmd.command("flow flush 0")?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [0; 4], "{is:?}");
    Ok(())
}

fn perfect_flow_director_rules_drop(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", UNSPREAD)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    let (unwanted, other) = (udp("10.9.0.1", (1, 2), 100)?, udp("10.9.0.3", (1, 2), 101)?);
    // The PMD lets an 82599 drop only by rules without ports.
    let rule = "pattern eth / ipv4 src is 10.9.0.1 dst is 10.9.0.2 / end actions drop / end";
    let rule = testpmd.flow(rule)?;
    testpmd.command("start")?;
    // The last frame tells that the others have been dropped.
    cable.put(&[unwanted.clone(), unwanted.clone(), other.clone()])?;
    testpmd.wait_for("the frame that passes", |stats| stats.received >= 1)?;
    testpmd.command("stop")?;
    let lengths: Vec<_> = testpmd.packets()?.into_keys().collect();
    ensure!(lengths == [other.len()], "lengths {lengths:?}");
    testpmd.command(&format!("flow destroy 0 rule {rule}"))?;
    let is = queues(&mut testpmd, &mut cable, &[unwanted, other])?;
    ensure!(is == [0, 0], "{is:?}");
    Ok(())
}

fn signature_flow_director_rules_send_their_flows_to_their_queues(
    machine: &mut Machine,
) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", UNSPREAD)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    let tcp = flow("10.9.0.1", 32, "10.9.0.2", 33)?;
    let frames = [
        udp("10.9.0.1", (32, 33), 100)?,
        udp("10.9.0.1", (32, 34), 101)?,
        tcp.tcp(PEER, MAC, &[7; 102])?,
    ];
    testpmd.flow(
        "pattern fuzzy thresh is 6 / eth / ipv4 src is 10.9.0.1 dst is 10.9.0.2 / \
         udp src is 32 dst is 33 / end actions queue index 2 / mark id 5 / end",
    )?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [2, 0, 0], "{is:?}");
    testpmd.command("flow flush 0")?;
    let is = queues(&mut testpmd, &mut cable, &frames)?;
    ensure!(is == [0; 3], "{is:?}");
    Ok(())
}

fn an_rss_rule_chooses_types_and_queues(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", QUEUES)?;
    testpmd.commands(["set fwd rxonly", "set verbose 1"])?;
    testpmd.flow("pattern end actions rss types ipv4-udp end queues 1 3 end / end")?;
    let rss = rss(&mut testpmd)?;
    let flows = many_flows()?;
    let frames: Vec<_> = flows.iter().map(|(_, frame)| frame.clone()).collect();
    let packets = arrive(&mut testpmd, &mut cable, &frames)?;
    let mut hashed = 0;
    for ((flow, frame), packet) in flows.iter().zip(packets) {
        // UDP is protocol 17. What has no hash goes to queue 0, whatever the table says (7.1.2.8).
        let wanted = matches!(flow.source.0, IpAddr::V4(_)) && frame.get(23) == Some(&17);
        let expected = if wanted {
            let hash = rss::hash(&rss.key, flow);
            (Some(hash), [1, 3][usize::try_from(hash & 127)? % 2])
        } else {
            (None, 0)
        };
        ensure!(
            (packet.rss_hash, packet.queue) == expected,
            "{packet:?} instead of hash and queue {expected:x?}"
        );
        hashed += usize::from(wanted);
    }
    ensure!(hashed == 8, "{hashed} packets with a hash");
    Ok(())
}
