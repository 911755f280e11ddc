//! What the card does for testpmd in passing: checksums, segmentation, VLAN tags.

use anyhow::{Context, Result, bail, ensure};
use etherparse::{TcpHeader, TransportHeader};
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{Checked, Flow, PEER, numbered, padded, same, tagged},
    tally::Sent,
};

use super::{
    Test,
    forwarding::{MULTI_SEGS, take},
    machine::{KernelDriver, Machine},
};

pub const TESTS: &[Test] = tests![
    csum_tells_wrong_checksums_and_sends_right_ones,
    csum_sends_a_long_tcp_packet_in_segments,
    vlan_tags_are_taken_from_what_comes_and_put_on_what_goes,
    lro_joins_the_segments_of_a_tcp_stream,
];

fn flow(source: &str, destination: &str) -> Result<Flow> {
    Ok(Flow {
        source: (source.parse()?, 1234),
        destination: (destination.parse()?, 80),
    })
}

fn csum_tells_wrong_checksums_and_sends_right_ones(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) =
        machine.testpmd(KernelDriver::UioPciGeneric, "", "--enable-rx-cksum")?;
    testpmd.commands([
        "port stop 0",
        "csum set ip hw 0",
        "csum set udp hw 0",
        "csum set tcp hw 0",
        "port start 0",
        "set fwd csum",
        "set verbose 1",
        "start",
    ])?;
    let (four, six) = (flow("10.9.0.1", "10.9.0.2")?, flow("fd00::1", "fd00::2")?);
    let right = [
        four.udp(PEER, MAC, &[1; 100])?,
        four.tcp(PEER, MAC, &[2; 101])?,
        six.udp(PEER, MAC, &[3; 102])?,
        six.tcp(PEER, MAC, &[4; 103])?,
    ];
    // The header checksum of the first, and the L4 checksums of the second and the fourth.
    let mut arriving = right.clone();
    arriving[0][24] ^= 0x40;
    arriving[1][50] ^= 0x40;
    arriving[3][70] ^= 0x40;
    cable.put(&arriving)?;
    let sent = take(&mut cable, 4)?;
    ensure!(sent.len() == 4, "{} frames", sent.len());
    for (is, expected) in sent.iter().zip(&right) {
        let (is, expected) = (Checked::new(is)?, Checked::new(expected)?);
        ensure!(
            (is.net, is.transport, is.payload)
                == (expected.net, expected.transport, expected.payload),
            "not what came, but for its checksums"
        );
        ensure!(is.ethernet.source == MAC, "{:?}", is.ethernet);
    }
    let packets = testpmd.packets()?;
    let flags: Vec<_> = arriving
        .iter()
        .map(|frame| {
            let flags = packets
                .get(&frame.len())
                .map(|packet| packet.flags.as_str());
            let has = |name: &str| flags.unwrap_or_default().contains(name);
            [
                has("RX_IP_CKSUM_BAD"),
                has("RX_IP_CKSUM_GOOD"),
                has("RX_L4_CKSUM_BAD"),
                has("RX_L4_CKSUM_GOOD"),
            ]
        })
        .collect();
    let (good, bad) = ([false, true], [true, false]);
    let expected = [[bad, good], [good, bad], [good, good], [good, bad]].map(|[ip, l4]| {
        let ([ip_bad, ip_good], [l4_bad, l4_good]) = (ip, l4);
        [ip_bad, ip_good, l4_bad, l4_good]
    });
    ensure!(flags == expected, "{flags:?} instead of {expected:?}");
    let said = testpmd.command("stop")?;
    ensure!(
        said.contains("Bad-ipcsum: 1") && said.contains("Bad-l4csum: 2"),
        "{said}"
    );
    Ok(())
}

fn csum_sends_a_long_tcp_packet_in_segments(machine: &mut Machine) -> Result<()> {
    machine.sends(Sent::CutByTheCable);
    let arguments = "--max-pkt-len=9018 --mbuf-size=10240 --total-num-mbufs=2048";
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", arguments)?;
    testpmd.commands([
        "port stop 0",
        "csum set ip hw 0",
        "csum set tcp hw 0",
        "tso set 1000 0",
        "port start 0",
        "set fwd csum",
        "start",
    ])?;
    let payload: Vec<u8> = (0..4500_u32).map(|at| (at * 7).to_le_bytes()[0]).collect();
    for flow in [flow("10.9.0.1", "10.9.0.2")?, flow("fd00::1", "fd00::2")?] {
        cable.put(&[flow.tcp(PEER, MAC, &payload)?])?;
        let sent = take(&mut cable, 5)?;
        let mut whole = Vec::new();
        let mut lengths = Vec::new();
        for frame in &sent {
            let segment = Checked::new(frame)?;
            let TransportHeader::Tcp(header) = &segment.transport else {
                bail!("{segment:?}");
            };
            let place = u32::try_from(whole.len())?;
            ensure!(header.sequence_number == 0x1234_5678 + place, "{header:?}");
            lengths.push(segment.payload.len());
            whole.extend(segment.payload);
        }
        ensure!(
            lengths == [1000, 1000, 1000, 1000, 500] && whole == payload,
            "{lengths:?}"
        );
    }
    Ok(())
}

fn vlan_tags_are_taken_from_what_comes_and_put_on_what_goes(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    testpmd.commands([
        "port stop 0",
        "vlan set strip on 0",
        "port start 0",
        "set fwd io",
        "set verbose 1",
        "start",
    ])?;
    let bare = [numbered(MAC, 1, 100), numbered(MAC, 2, 101)];
    cable.put(&[tagged(&bare[0], 0x6005), bare[1].clone()])?;
    same(&take(&mut cable, 2)?, &bare)?;
    let packets = testpmd.packets()?;
    let tag = |length: usize| packets.get(&length).map(|packet| packet.vlan);
    ensure!(
        (tag(100), tag(101)) == (Some(Some(0x6005)), Some(None)),
        "{packets:?}"
    );
    testpmd.commands([
        "stop",
        "port stop 0",
        "vlan set strip off 0",
        "tx_vlan set 0 7",
        "port start 0",
        "set verbose 0",
        "set txpkts 100",
        "start tx_first",
    ])?;
    let sent = take(&mut cable, 32)?;
    ensure!(sent.len() == 32, "{} frames", sent.len());
    for frame in sent {
        let tag = frame.get(12..16).context("a short frame")?;
        ensure!(tag == [0x81, 0, 0, 7], "{tag:02x?}");
        ensure!(frame.len() == padded(&frame).len() && frame.len() == 104);
    }
    Ok(())
}

fn lro_joins_the_segments_of_a_tcp_stream(machine: &mut Machine) -> Result<()> {
    let arguments = format!("--enable-lro --tx-offloads={MULTI_SEGS}");
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", &arguments)?;
    let log = testpmd.start_log();
    ensure!(log.contains("enabling LRO mode"), "{log}");
    testpmd.commands(["set fwd io", "set verbose 1", "start"])?;
    let flow = flow("10.9.0.1", "10.9.0.2")?;
    let payload: Vec<u8> = (0..5000_u32).map(|at| (at * 11).to_le_bytes()[0]).collect();
    let segments = (0..)
        .zip(payload.chunks(1000))
        .map(|(number, part)| {
            let mut header = TcpHeader::new(0, 0, 0x1000 + 1000 * number, 0x2000);
            (header.ack, header.psh) = (true, number == 4);
            flow.tcp_with(PEER, MAC, header, part)
        })
        .collect::<Result<Vec<_>>>()?;
    cable.put(&segments)?;
    let sent = take(&mut cable, 2)?;
    let packets = testpmd.packets()?;
    // The one with PSH stands alone (7.11.1).
    let lengths: Vec<_> = packets.keys().copied().collect();
    ensure!(lengths == [1054, 4054], "packets of {lengths:?} bytes");
    // testpmd forwards the first four as one frame: a card sends what it is given.
    let [joined, last] = &sent[..] else {
        bail!("{} frames", sent.len());
    };
    ensure!(
        joined.get(54..) == payload.get(..4000) && joined.get(..14) == segments[0].get(..14),
        "the frame that left is another"
    );
    ensure!(*last == segments[4], "the last segment is another");
    Ok(())
}
