//! Frames as no good sender sends them, and segments as a bad way brings them.

use anyhow::{Context, Result, ensure};
use etherparse::TcpHeader;
use guest_tests::{
    World,
    frames::{BROADCAST, Checked, Flow, Mac, PEER, numbered, padded, same},
    linux_world::INTERFACE,
    world::Setup,
};
use wire::{Damage, Fcs, Short};

use super::{
    life::large_receive,
    machine::{Machine, Test},
};

pub const TESTS: &[Test] = tests![
    bad_frames_are_counted_and_come_only_if_all_are_wanted,
    large_receives_end_where_segments_are_lost_repeated_or_late,
];

/// What the server says that the card has counted since it started.
fn counted(machine: &mut Machine, names: [&str; 7]) -> Result<[u64; 7]> {
    let stats = machine.world()?.cable().control().stats()?;
    let mut values = [0; 7];
    for (value, name) in values.iter_mut().zip(names) {
        let counter = stats
            .counters
            .iter()
            .find(|counter| counter.group == control::Group::Hardware && counter.name == name);
        *value = counter.with_context(|| format!("no {name}"))?.value;
    }
    Ok(values)
}

fn bad_frames_are_counted_and_come_only_if_all_are_wanted(machine: &mut Machine) -> Result<()> {
    const NAMES: [&str; 7] = ["CRCERRS", "RUC", "RFC", "ROC", "RJC", "GPRC", "TPR"];
    machine.world()?.set_up(&Setup::default())?;
    let whole = Damage::default();
    let broken = Damage {
        fcs: Fcs::Bad,
        short: Short::Runt,
    };
    let short = Damage {
        short: Short::Runt,
        ..whole
    };
    // The driver takes 1518 bytes with FCS.
    let bad = [
        (numbered(BROADCAST, 1, 100), broken),
        (numbered(BROADCAST, 2, 1514), broken),
        (numbered(BROADCAST, 3, 59), short),
        (numbered(BROADCAST, 4, 40), short),
        (numbered(BROADCAST, 5, 40), broken),
        (numbered(BROADCAST, 6, 1515), whole),
        // The driver's own buffers take no more: it trusts MAXFRS.
        (numbered(BROADCAST, 7, 1536), whole),
        (numbered(BROADCAST, 8, 1515), broken),
    ];
    let good = numbered(BROADCAST, 9, 60);
    let mut everything: Vec<_> = bad.iter().map(|(frame, _)| padded(frame)).collect();
    everything.push(good.clone());
    for (all, expected) in [("off", vec![good.clone()]), ("on", everything)] {
        machine.sh(&format!("ethtool -K {INTERFACE} rx-all {all}"))?;
        machine.wait_for_link()?;
        let before = counted(machine, NAMES)?;
        for (frame, damage) in bad.clone() {
            machine.world()?.cable().damage(frame, damage);
        }
        let received = machine.world()?.arrive(std::slice::from_ref(&good))?;
        // The driver pads what is shorter than a frame may be.
        same(&received, &expected).with_context(|| format!("with rx-all {all}"))?;
        let after = counted(machine, NAMES)?;
        let counts: Vec<_> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        // CRCERRS counts all from 64 bytes on, also those that are too long.
        ensure!(
            counts == [3, 2, 1, 2, 1, 1, 9],
            "{counts:?} of {NAMES:?} with rx-all {all}"
        );
    }
    machine.sh(&format!("ethtool -K {INTERFACE} rx-all off"))?;
    machine.wait_for_link()
}

/// A segment of a stream of bytes, and the sequence number of its first.
fn segment(mac: Mac, at: usize, len: usize) -> Result<Vec<u8>> {
    let flow = Flow {
        source: ("10.1.0.1".parse()?, 1234),
        destination: ("10.2.0.2".parse()?, 80),
    };
    let mut header = TcpHeader::new(0, 0, u32::try_from(at)?, 0x2000);
    header.ack = true;
    header.acknowledgment_number = 1;
    let payload: Vec<u8> = (at..at + len)
        .map(|at| ((at * 31) >> 4).to_le_bytes()[0])
        .collect();
    flow.tcp_with(PEER, mac, header, &payload)
}

/// The sequence number and the payload of each TCP packet; its checksums are right.
fn pieces(frames: &[Vec<u8>]) -> Result<Vec<(usize, Vec<u8>)>> {
    let mut pieces = Vec::new();
    let is_ip = |frame: &&Vec<u8>| frame.get(12..14) == Some(&[8, 0]);
    for frame in frames.iter().filter(is_ip) {
        let checked = Checked::new(frame)?;
        let at = usize::try_from(checked.tcp()?.sequence_number)?;
        pieces.push((at, checked.payload));
    }
    Ok(pieces)
}

fn large_receives_end_where_segments_are_lost_repeated_or_late(
    machine: &mut Machine,
) -> Result<()> {
    const LEN: usize = 1000;
    machine.world()?.set_up(&Setup::default())?;
    large_receive(machine, "on")?;
    machine.wait_for_link()?;
    let mac = machine.world()?.mac()?;
    // Places in the stream, in segments: 7 comes late, 12 is lost, 18 comes twice, 24 and 25 again at the end.
    let order = [
        0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 7, 11, 13, 14, 15, 16, 17, 18, 18, 19, 20, 21,
    ];
    let order = order.into_iter().chain([22, 23, 24, 25, 24, 25]);
    let order: Vec<usize> = order.map(|place| place * LEN).collect();
    let mut frames = order
        .iter()
        .map(|at| segment(mac, *at, LEN))
        .collect::<Result<Vec<_>>>()?;
    let sent = pieces(&frames)?;
    frames.push(numbered(BROADCAST, 1, 60));

    let received = machine.world()?.arrive(&frames)?;
    large_receive(machine, "off")?;

    let came = pieces(&received)?;
    ensure!(came.len() < sent.len(), "nothing is coalesced");
    // Whatever was joined, the bytes come in the order of the cable, each where it belongs.
    let bytes = |pieces: &[(usize, Vec<u8>)]| -> Vec<(usize, u8)> {
        let places = pieces
            .iter()
            .flat_map(|(at, bytes)| (*at..).zip(bytes.iter().copied()));
        places.collect()
    };
    ensure!(
        bytes(&came) == bytes(&sent),
        "the stream is another: {:?}",
        came.iter()
            .map(|(at, bytes)| (at, bytes.len()))
            .collect::<Vec<_>>()
    );
    Ok(())
}
