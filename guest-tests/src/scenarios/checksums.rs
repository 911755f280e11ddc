use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use ixgbe_spec::descriptor::rx::Status;
use nic_driver::{Config, L4};

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, Checked, ETHERNET, Flow, PEER, numbered, padded, same},
    offload,
    scenario::{Scenario, scenarios},
    world::{Counter, Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere wrong_checksums_are_counted_and_right_ones_are_not,
    OnCard the_descriptor_says_which_checksum_was_checked_and_which_is_wrong,
    OnCard checksums_are_inserted_on_request,
];

/// Place of the IPv4 header checksum.
const IP_CHECKSUM: usize = ETHERNET + 10;

pub(super) fn flow_v4() -> Flow {
    Flow {
        source: (Ipv4Addr::new(10, 0, 0, 1).into(), 4000),
        destination: (Ipv4Addr::new(10, 0, 0, 2).into(), 5001),
    }
}

pub(super) fn flow_v6() -> Flow {
    Flow {
        source: (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(), 4000),
        destination: (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into(), 5001),
    }
}

/// The same frame with another last byte.
fn spoiled(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(last) = frame.last_mut() {
        *last ^= 0x10;
    }
    frame
}

/// The same frame with another IPv4 header checksum.
fn spoiled_header(mut frame: Vec<u8>) -> Vec<u8> {
    frame[IP_CHECKSUM] ^= 1;
    frame
}

fn wrong_checksums_are_counted_and_right_ones_are_not(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let payload = [0x5A; 200];
    let right = [
        flow_v4().tcp(PEER, mac, &payload)?,
        flow_v6().tcp(PEER, mac, &payload)?,
        flow_v4().udp(PEER, mac, &payload[1..])?,
        flow_v6().udp(PEER, mac, &payload)?,
        numbered(mac, 1, 60),
    ];
    let received = world.arrive(&right)?;
    same(&received, &right)?;
    let bad = world.counter(Counter::BadChecksums)?;
    ensure!(bad == 0, "{bad} right checksums are called wrong");
    // Linux does not believe the card about checksums of UDP, but it does about headers.
    let wrong = [
        spoiled(flow_v4().tcp(PEER, mac, &payload)?),
        spoiled(flow_v6().tcp(PEER, mac, &payload)?),
        spoiled_header(flow_v4().tcp(PEER, mac, &payload)?),
        spoiled_header(flow_v4().udp(PEER, mac, &payload)?),
        numbered(mac, 2, 60),
    ];
    let received = world.arrive(&wrong)?;
    same(&received, &wrong)?;
    let bad = world.counter(Counter::BadChecksums)?;
    ensure!(bad == 4, "{bad} wrong checksums instead of 4");
    Ok(())
}

fn the_descriptor_says_which_checksum_was_checked_and_which_is_wrong(
    world: &mut CardWorld,
) -> Result<()> {
    let mac = world.bring_up(&Config::default())?.mac();
    let payload = [0xA5; 99];
    let tcp4 = flow_v4().tcp(PEER, mac, &payload)?;
    let tcp6 = flow_v6().tcp(PEER, mac, &payload)?;
    let udp4 = flow_v4().udp(PEER, mac, &payload)?;
    let mut no_checksum = udp4.clone();
    no_checksum[ETHERNET + 26..ETHERNET + 28].fill(0);
    let cases = [
        (tcp4.clone(), Status::IPCS | Status::L4CS),
        (tcp6.clone(), Status::L4CS),
        (udp4, Status::IPCS | Status::L4CS | Status::UDPCS),
        (no_checksum, Status::IPCS),
        (
            spoiled(tcp4.clone()),
            Status::IPCS | Status::L4CS | Status::L4E,
        ),
        (spoiled(tcp6), Status::L4CS | Status::L4E),
        (
            spoiled_header(tcp4),
            Status::IPCS | Status::L4CS | Status::IPE,
        ),
        (numbered(mac, 1, 60), Status::empty()),
    ];
    let looked_at = Status::IPCS | Status::L4CS | Status::L4E | Status::IPE;
    for (frame, expected) in cases {
        let received = world.exchange(std::slice::from_ref(&frame))?;
        ensure!(
            received[0].status & looked_at == expected & looked_at,
            "{:?} instead of {expected:?} for {frame:02x?}",
            received[0].status
        );
    }
    Ok(())
}

fn checksums_are_inserted_on_request(world: &mut CardWorld) -> Result<()> {
    let mac = world.bring_up(&Config::default())?.mac();
    let mut expected = Vec::new();
    for len in [0, 1, 2, 63, 500, 1400] {
        let payload: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
        for (frame, l4) in [
            (flow_v4().tcp(mac, BROADCAST, &payload)?, L4::Tcp),
            (flow_v6().tcp(mac, BROADCAST, &payload)?, L4::Tcp),
            (flow_v4().udp(mac, BROADCAST, &payload)?, L4::Udp),
            (flow_v6().udp(mac, BROADCAST, &payload)?, L4::Udp),
        ] {
            world.send_packet(0, &offload::checksum(&frame, l4)?.packet())?;
            expected.push(padded(&frame));
        }
    }
    let sent = world.sent(expected.len())?;
    same(&sent, &expected)?;
    for frame in &sent {
        Checked::new(frame)?;
    }
    Ok(())
}
