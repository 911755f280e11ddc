//! Frames through testpmd's forwarding modes, with the PMD's vector and scalar paths.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control::Group;
use etherparse::{LinkHeader, NetHeaders, PacketHeaders, TransportHeader};
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{self, FCS, numbered, same},
    server::ControlCable,
    tally::Sent,
};

use super::{
    Test,
    machine::{KernelDriver, Machine},
    testpmd::{PATIENCE, Stats, Testpmd},
};

pub const TESTS: &[Test] = tests![
    the_pmd_takes_the_card_and_shows_what_it_is,
    rxonly_counts_what_arrived_by_length_and_kind,
    io_gives_every_frame_back_as_it_was_by_vector_instructions,
    io_gives_every_frame_back_as_it_was_without_vector_instructions,
    io_gives_every_frame_back_as_it_was_one_buffer_at_a_time,
    io_gives_every_frame_back_as_it_was_over_vfio_and_an_iommu,
    io_gives_every_frame_back_as_it_was_and_keeps_its_fcs_to_itself,
    scatter_takes_jumbo_frames_in_several_buffers_by_vector_instructions,
    scatter_takes_jumbo_frames_in_several_buffers_without_vector_instructions,
    a_jumbo_frame_fits_into_one_large_buffer,
    txonly_sends_right_frames_and_counts_them,
    a_packet_of_several_buffers_leaves_as_one_frame,
    what_is_looped_back_in_the_card_never_leaves_it,
    the_port_stops_and_starts_and_passes_frames_each_time,
    a_queue_that_is_told_to_drop_counts_what_it_drops,
    what_waits_for_too_long_is_missed,
];

/// RTE_ETH_TX_OFFLOAD_MULTI_SEGS.
pub const MULTI_SEGS: &str = "0x8000";
/// Limit of frames with their FCS in tests of jumbo frames, and the longest frame without it.
const JUMBO: usize = 9018;
const LONGEST: usize = JUMBO - FCS;
/// Frames that testpmd handles at once.
const BURST: usize = 32;
/// Lets the PMD use no vector instructions.
pub const SCALAR: &str = "--force-max-simd-bitwidth=64";

fn the_pmd_takes_the_card_and_shows_what_it_is(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, _) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    let info = testpmd.wait_until_said("show port info 0", "Link status: up")?;
    let mac = MAC.map(|byte| format!("{byte:02X}")).join(":");
    for said in [
        "Driver name: net_ixgbe".to_owned(),
        format!("MAC address: {mac}"),
        "Link speed: 10 Gbps".to_owned(),
        "Link duplex: full-duplex".to_owned(),
        "Redirection table size: 128".to_owned(),
        "Hash key size in bytes: 40".to_owned(),
        "Maximum configurable length of RX packet: 15872".to_owned(),
        "Max possible RX queues: 128".to_owned(),
    ] {
        ensure!(info.contains(&said), "no `{said}` in {info}");
    }
    Ok(())
}

fn rxonly_counts_what_arrived_by_length_and_kind(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    testpmd.commands(["set fwd rxonly", "start"])?;
    let lengths = [60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514];
    let mut arriving: Vec<Vec<u8>> = (0..330)
        .map(|number| numbered(MAC, number, lengths[number % lengths.len()]))
        .collect();
    arriving.extend((0..7).map(|number| numbered(frames::BROADCAST, number, 300)));
    arriving.extend((0..5).map(|number| numbered([1, 0, 0x5e, 0, 0, 1], number, 300)));
    cable.put(&arriving)?;
    let count = u64::try_from(arriving.len())?;
    let stats = testpmd.wait_for("what arrived", |stats| stats.received >= count)?;
    // The PMD takes the FCS out of the bytes that the card has counted.
    let bytes = u64::try_from(arriving.iter().map(Vec::len).sum::<usize>())?;
    let expected = Stats {
        received: count,
        received_bytes: bytes,
        ..Stats::default()
    };
    ensure!(stats == expected, "{stats:?} instead of {expected:?}");
    let xstats = testpmd.xstats()?;
    for (name, value) in [
        ("rx_good_packets", count),
        ("rx_q0_packets", count),
        ("rx_size_64_packets", 30),
        ("rx_size_65_to_127_packets", 60),
        ("rx_size_128_to_255_packets", 60),
        ("rx_size_256_to_511_packets", 72),
        ("rx_size_512_to_1023_packets", 60),
        ("rx_size_1024_to_max_packets", 60),
        ("rx_broadcast_packets", 7),
        ("rx_multicast_packets", 5),
        ("rx_total_packets", count),
        ("rx_total_bytes", bytes),
        ("rx_crc_errors", 0),
        ("rx_length_errors", 0),
    ] {
        let is = xstats.get(name).copied();
        ensure!(is == Some(value), "{name} is {is:?} instead of {value}");
    }
    let said = testpmd.command("stop")?;
    let line = format!("RX-packets: {count}");
    ensure!(said.contains(&line), "no `{line}` in {said}");
    Ok(())
}

fn io_gives_every_frame_back_as_it_was_by_vector_instructions(machine: &mut Machine) -> Result<()> {
    let (testpmd, cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    io(testpmd, cable, ["Vector rx enabled", "Vector tx enabled"])
}

fn io_gives_every_frame_back_as_it_was_without_vector_instructions(
    machine: &mut Machine,
) -> Result<()> {
    let (testpmd, cable) = machine.testpmd(KernelDriver::UioPciGeneric, SCALAR, "")?;
    let paths = [
        "Rx Burst Bulk Alloc function will be used",
        "Using simple tx code path",
    ];
    io(testpmd, cable, paths)
}

fn io_gives_every_frame_back_as_it_was_one_buffer_at_a_time(machine: &mut Machine) -> Result<()> {
    // Another threshold forbids the PMD to refill its ring in bulk; this offload forbids it to send in the simple way.
    let arguments = format!("--rxfreet=16 --tx-offloads={MULTI_SEGS}");
    let (testpmd, cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", &arguments)?;
    let paths = [
        "Rx Burst Bulk Alloc Preconditions are not satisfied",
        "Using full-featured tx code path",
    ];
    io(testpmd, cable, paths)
}

fn io_gives_every_frame_back_as_it_was_over_vfio_and_an_iommu(machine: &mut Machine) -> Result<()> {
    let (testpmd, cable) = machine.testpmd(KernelDriver::VfioPci, "", "")?;
    ensure!(
        testpmd.start_log().contains("VFIO support initialized"),
        "{}",
        testpmd.start_log()
    );
    io(testpmd, cable, ["Vector rx enabled", "Vector tx enabled"])
}

/// The card writes the FCS to memory and counts it with the queue's bytes; the PMD takes it off both.
fn io_gives_every_frame_back_as_it_was_and_keeps_its_fcs_to_itself(
    machine: &mut Machine,
) -> Result<()> {
    let (mut testpmd, mut cable) =
        machine.testpmd(KernelDriver::UioPciGeneric, "", "--disable-crc-strip")?;
    let offloads = testpmd.command("show port 0 rx_offload configuration")?;
    ensure!(offloads.contains("KEEP_CRC"), "{offloads}");
    testpmd.commands(["set fwd io", "start"])?;
    let before = hardware(&mut cable, "QBRC[0]")?;
    let frames: Vec<Vec<u8>> = (60..=1514)
        .step_by(7)
        .map(|length| numbered(MAC, length, length))
        .collect();
    there_and_back(&mut cable, &frames)?;
    all_counted(&testpmd.stats()?, &frames)?;
    let bytes: usize = frames.iter().map(|frame| frame.len() + FCS).sum();
    let counted = hardware(&mut cable, "QBRC[0]")? - before;
    ensure!(
        counted == u64::try_from(bytes)?,
        "{counted} bytes of queue 0 instead of {bytes}"
    );
    Ok(())
}

/// What the card has counted since the server started.
fn hardware(cable: &mut ControlCable, name: &str) -> Result<u64> {
    let counters = cable.control().stats()?.counters;
    let mut hardware = counters
        .iter()
        .filter(|counter| counter.group == Group::Hardware);
    let counter = hardware.find(|counter| counter.name == name);
    Ok(counter.with_context(|| format!("no {name}"))?.value)
}

/// Frames of every length go around, several times the length of the rings.
fn io(mut testpmd: Testpmd<'_>, mut cable: ControlCable, paths: [&str; 2]) -> Result<()> {
    on_paths(&testpmd, paths)?;
    testpmd.commands(["set fwd io", "start"])?;
    let frames: Vec<Vec<u8>> = (60..=1514)
        .map(|length| numbered(MAC, length, length))
        .collect();
    there_and_back(&mut cable, &frames)?;
    all_counted(&testpmd.stats()?, &frames)
}

/// Whether the PMD has said that it uses these functions.
fn on_paths(testpmd: &Testpmd<'_>, paths: [&str; 2]) -> Result<()> {
    for path in paths {
        let log = testpmd.start_log();
        ensure!(log.contains(path), "no `{path}` in {log}");
    }
    Ok(())
}

/// Whether these frames, and nothing else, were received and sent.
fn all_counted(stats: &Stats, frames: &[Vec<u8>]) -> Result<()> {
    let count = u64::try_from(frames.len())?;
    let bytes = u64::try_from(frames.iter().map(Vec::len).sum::<usize>())?;
    let expected = Stats {
        received: count,
        received_bytes: bytes,
        sent: count,
        sent_bytes: bytes,
        ..Stats::default()
    };
    ensure!(*stats == expected, "{stats:?} instead of {expected:?}");
    Ok(())
}

fn scatter_takes_jumbo_frames_in_several_buffers_by_vector_instructions(
    machine: &mut Machine,
) -> Result<()> {
    scatter(machine, "", "Using Vector Scattered Rx callback")
}

fn scatter_takes_jumbo_frames_in_several_buffers_without_vector_instructions(
    machine: &mut Machine,
) -> Result<()> {
    scatter(
        machine,
        SCALAR,
        "Using a Scattered with bulk allocation callback",
    )
}

fn scatter(machine: &mut Machine, eal: &str, path: &str) -> Result<()> {
    let arguments = format!("--max-pkt-len={JUMBO} --enable-scatter --tx-offloads={MULTI_SEGS}");
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, eal, &arguments)?;
    on_paths(&testpmd, [path, "Using full-featured tx code path"])?;
    // A packet buffer of testpmd holds 2048 bytes.
    let segments = |length: usize| length.div_ceil(2048);
    let frames = jumbo_frames();
    testpmd.commands(["set fwd io", "set verbose 1", "start"])?;
    there_and_back(&mut cable, &frames)?;
    let packets = testpmd.packets()?;
    for frame in &frames {
        let packet = packets.get(&frame.len());
        let is = packet.map(|packet| packet.segments);
        let expected = segments(frame.len());
        ensure!(
            is == Some(expected),
            "{} bytes came in {is:?} buffers instead of {expected}",
            frame.len()
        );
    }
    too_long(testpmd, cable, &frames)
}

fn a_jumbo_frame_fits_into_one_large_buffer(machine: &mut Machine) -> Result<()> {
    let arguments = format!("--max-pkt-len={JUMBO} --mbuf-size=10240 --total-num-mbufs=2048");
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", &arguments)?;
    on_paths(&testpmd, ["Vector rx enabled", "Vector tx enabled"])?;
    let frames = jumbo_frames();
    testpmd.commands(["set fwd io", "start"])?;
    there_and_back(&mut cable, &frames)?;
    too_long(testpmd, cable, &frames)
}

fn jumbo_frames() -> Vec<Vec<u8>> {
    let lengths = [
        LONGEST, 60, 1514, 2044, 2047, 2048, 2049, 4095, 4096, 4097, 6144, 6145, 8192, 8193,
    ];
    (0..)
        .zip(lengths)
        .map(|(number, length)| numbered(MAC, number, length))
        .collect()
}

/// Frames that are longer than the limit are dropped and counted; what came before them was counted as well.
fn too_long(mut testpmd: Testpmd<'_>, mut cable: ControlCable, before: &[Vec<u8>]) -> Result<()> {
    let last = numbered(MAC, 99, 100);
    let arriving = [
        numbered(MAC, 97, LONGEST + 1),
        numbered(MAC, 98, LONGEST + 100),
        last.clone(),
    ];
    cable.put(&arriving)?;
    same(&take(&mut cable, 1)?, std::slice::from_ref(&last))?;
    let stats = testpmd.stats()?;
    let xstats = testpmd.xstats()?;
    let oversize = xstats.get("rx_oversize_errors").copied();
    ensure!(
        oversize == Some(2) && stats.errors == 2,
        "{oversize:?} counted as too long; {stats:?}"
    );
    let passed: Vec<Vec<u8>> = before.iter().cloned().chain([last]).collect();
    all_counted(&Stats { errors: 0, ..stats }, &passed)
}

/// Lets frames arrive and waits for as many to leave, which have to be the same.
pub fn there_and_back(cable: &mut ControlCable, frames: &[Vec<u8>]) -> Result<()> {
    let mut back = Vec::new();
    // testpmd drops what its transmit ring, of 256 descriptors, has no room for.
    for burst in frames.chunks(128) {
        cable.put(burst)?;
        back.extend(take(cable, burst.len())?);
    }
    same(&back, frames)
}

/// Waits for `count` frames from the card.
pub fn take(cable: &mut ControlCable, count: usize) -> Result<Vec<Vec<u8>>> {
    let begun = Instant::now();
    let mut frames = Vec::new();
    while frames.len() < count && begun.elapsed() < PATIENCE {
        frames.extend(cable.take(Duration::from_millis(100))?);
    }
    Ok(frames)
}

fn txonly_sends_right_frames_and_counts_them(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    // Four bursts by the engine of `txonly`, which can be looked at one by one. They fit into the ring: testpmd lets go
    // of packets that do not.
    testpmd.commands(["set txpkts 200", "set fwd io", "start tx_first 4"])?;
    generated(&take(&mut cable, 4 * BURST)?, 4 * BURST)?;
    // And then as many as there come.
    testpmd.commands(["stop", "clear port stats 0"])?;
    let before = wire_frames(&mut cable)?;
    testpmd.commands(["set fwd txonly", "start"])?;
    testpmd.wait_for("many frames", |stats| stats.sent > 20_000)?;
    let said = testpmd.command("stop")?;
    let said = said.split_whitespace().collect::<Vec<_>>();
    let place = said.iter().position(|word| *word == "TX-packets:");
    let given: u64 = place
        .and_then(|place| said.get(place + 1))
        .context("no TX-packets")?
        .parse()?;
    let stats = testpmd.wait_for("all of them", |stats| stats.sent >= given)?;
    let on_the_wire = wire_frames(&mut cable)? - before;
    ensure!(
        (stats.sent, stats.sent_bytes, on_the_wire) == (given, 200 * given, given),
        "testpmd has sent {given} frames, the card {stats:?}, on the wire were {on_the_wire}"
    );
    Ok(())
}

fn a_packet_of_several_buffers_leaves_as_one_frame(machine: &mut Machine) -> Result<()> {
    let arguments = format!("--tx-offloads={MULTI_SEGS}");
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", &arguments)?;
    // 192 descriptors, which fit into the ring.
    testpmd.commands(["set txpkts 64,100,36", "set fwd io", "start tx_first 2"])?;
    generated(&take(&mut cable, 2 * BURST)?, 2 * BURST)
}

/// Whether these are so many packets of 200 bytes as testpmd makes them.
fn generated(frames: &[Vec<u8>], count: usize) -> Result<()> {
    ensure!(frames.len() == count, "{} frames", frames.len());
    for frame in frames {
        let packet = PacketHeaders::from_ethernet_slice(frame)
            .map_err(|error| anyhow::anyhow!("{error}: {frame:02x?}"))?;
        let link = packet.link.and_then(LinkHeader::ethernet2);
        ensure!(link.context("no Ethernet header")?.source == MAC);
        let Some(NetHeaders::Ipv4(ip, _)) = packet.net else {
            bail!("no IPv4 header in {frame:02x?}");
        };
        ensure!(
            ip.header_checksum == ip.calc_header_checksum()
                && (ip.source, ip.destination) == ([198, 18, 0, 1], [198, 18, 0, 2])
                && usize::from(ip.total_len) + 14 == frame.len()
                && frame.len() == 200,
            "{frame:02x?}"
        );
        let Some(TransportHeader::Udp(udp)) = packet.transport else {
            bail!("no UDP header in {frame:02x?}");
        };
        ensure!((udp.source_port, udp.destination_port) == (9, 9));
    }
    Ok(())
}

fn what_is_looped_back_in_the_card_never_leaves_it(machine: &mut Machine) -> Result<()> {
    machine.sends(Sent::LoopedBack);
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    let before = wire_frames(&mut cable)?;
    testpmd.commands([
        "port stop 0",
        "port config 0 loopback 1",
        "port start 0",
        "set txpkts 100",
        "set fwd io",
        "start tx_first",
    ])?;
    testpmd.wait_for("what goes around", |stats| stats.received > 5000)?;
    testpmd.command("stop")?;
    // What testpmd had sent by then has arrived.
    let stats = testpmd.wait_for("the last", |stats| stats.received == stats.sent)?;
    ensure!(
        stats.received_bytes == 100 * stats.received && stats.errors == 0,
        "{stats:?}"
    );
    let on_the_wire = wire_frames(&mut cable)? - before;
    ensure!(on_the_wire == 0, "{on_the_wire} frames have left the card");
    Ok(())
}

fn the_port_stops_and_starts_and_passes_frames_each_time(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::VfioPci, "", "")?;
    let frames: Vec<_> = (0..100)
        .map(|number| numbered(MAC, number, 60 + number))
        .collect();
    testpmd.commands(["set fwd io", "start"])?;
    for interruption in [
        &["stop", "port stop 0", "port start 0", "start"][..],
        &["stop", "port 0 rxq 0 stop", "port 0 rxq 0 start", "start"],
        &["stop", "port 0 txq 0 stop", "port 0 txq 0 start", "start"],
        &[
            "stop",
            "port stop 0",
            "port reset 0",
            "port start 0",
            "start",
        ],
    ] {
        there_and_back(&mut cable, &frames)?;
        for command in interruption {
            testpmd.command(command)?;
        }
        testpmd.wait_until_said("show port info 0", "Link status: up")?;
        there_and_back(&mut cable, &frames).with_context(|| interruption.join(", "))?;
    }
    Ok(())
}

fn a_queue_that_is_told_to_drop_counts_what_it_drops(machine: &mut Machine) -> Result<()> {
    let arguments = "--rxd=128 --enable-drop-en --no-flush-rx";
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", arguments)?;
    // Nobody takes packets before `start`.
    let frames: Vec<_> = (0..400).map(|number| numbered(MAC, number, 60)).collect();
    let before = hardware(&mut cable, "TPR")?;
    cable.put(&frames)?;
    let begun = Instant::now();
    while hardware(&mut cable, "TPR")? < before + 400 {
        ensure!(begun.elapsed() < PATIENCE, "the frames do not arrive");
    }
    let dropped = testpmd.wait_for_xstat("rx_q0_errors", |dropped| dropped >= 400 - 128)?;
    testpmd.commands(["set fwd io", "start"])?;
    let back = take(&mut cable, 400 - usize::try_from(dropped)?)?;
    // What is first in the ring has come first.
    same(&back, frames.get(..back.len()).unwrap_or_default())?;
    ensure!(
        back.len() + usize::try_from(dropped)? == frames.len() && back.len() >= 64,
        "{} frames taken, {dropped} dropped",
        back.len()
    );
    Ok(())
}

/// Without flow control the packet buffer, of 512 KiB, runs over.
fn what_waits_for_too_long_is_missed(machine: &mut Machine) -> Result<()> {
    const FRAMES: u64 = 700;
    let arguments = "--rxd=128 --no-flush-rx";
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", arguments)?;
    testpmd.command(
        "set flow_ctrl rx off tx off 32768 16384 1664 1 mac_ctrl_frame_fwd off autoneg off 0",
    )?;
    // Nobody takes packets before `start`.
    let frames: Vec<_> = (0..700).map(|number| numbered(MAC, number, 1500)).collect();
    cable.put(&frames)?;
    testpmd.wait_for("a missed frame", |stats| {
        stats.missed >= FRAMES - 128 - 512 * 1024 / 1500
    })?;
    testpmd.commands(["set fwd rxonly", "start"])?;
    testpmd.wait_for("what was not missed", |stats| {
        stats.received + stats.missed == FRAMES
    })?;
    Ok(())
}

fn wire_frames(cable: &mut ControlCable) -> Result<u64> {
    let stats = cable.control().stats()?;
    let counter = stats
        .counters
        .iter()
        .find(|counter| counter.group == Group::Wire && counter.name == "tx_frames");
    Ok(counter.context("no counter of the wire")?.value)
}
