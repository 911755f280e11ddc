use anyhow::{Result, ensure};
use ixgbe_spec::{descriptor::rx::Status, register::Reg};
use nic_driver::{Config, Packet, Received};

use super::rss::flows;
use crate::{
    card_world::{CardWorld, RSS_KEY},
    frames::{BROADCAST, Mac, PEER, from, numbered, padded, same, tagged},
    rss,
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard a_frame_arrives_in_the_pool_of_its_address,
    OnCard a_broadcast_arrives_in_every_pool_that_wants_it,
    OnCard a_vlan_arrives_in_its_pools,
    OnCard a_multicast_arrives_in_the_pools_that_take_the_hash,
    OnCard flows_are_spread_within_their_pool,
    OnCard pools_talk_without_the_cable,
    OnCard a_broadcast_of_a_pool_goes_to_the_cable_and_to_the_other_pools,
    OnCard a_pool_cannot_take_the_address_of_another,
    OnCard a_mirror_sees_what_its_pool_sees,
    OnCard the_tag_of_a_pool_is_inserted,
];

/// Pools of two queues that take part: 0 to 7.
const POOLS: u8 = 8;
/// Each one's address.
fn mac(pool: u8) -> Mac {
    [0x02, 0x82, 0x59, 0x01, 0x00, pool]
}

/// The first queue of a pool.
fn queue(pool: u8) -> usize {
    2 * usize::from(pool)
}

/// MRQC: 64 pools with RSS; TCP over IPv4, TCP over IPv6.
const POOLS_WITH_RSS: u32 = 0xB | 1 << 16 | 1 << 21;
/// VMOLR: broadcasts.
const BAM: u32 = 1 << 27;
/// VMOLR: frames without tag.
const AUPE: u32 = 1 << 24;
/// VMOLR: multicasts by the hash table.
const ROMPE: u32 = 1 << 25;

/// A card whose 64 pools have two queues each. Pools 0 to 7 have an address; a frame of no pool is dropped.
fn with_pools(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        rx_queues: 16,
        tx_queues: 16,
        rss: Some(nic_driver::Rss {
            key: RSS_KEY,
            fields: 1 | 1 << 5,
        }),
        ..Config::default()
    };
    let driver = world.bring_up(&config)?;
    driver.set_register(Reg::MRQC, 0, POOLS_WITH_RSS)?;
    // 64 pools of two queues, as Linux and DPDK write it.
    driver.set_register(Reg::MTQC, 0, 0x4 | 0x2)?;
    driver.set_register(Reg::VT_CTL, 0, 1 | 1 << 29 | 1 << 30)?;
    driver.set_register(Reg::PFVFRE, 0, 0xFF)?;
    driver.set_register(Reg::PFVFTE, 0, 0xFF)?;
    driver.set_register(Reg::MPSAR, 0, 0)?;
    for pool in 0..POOLS {
        let n = usize::from(pool) + 1;
        let [a, b, c, d, e, f] = mac(pool);
        driver.set_register(Reg::RAL, n, u32::from_le_bytes([a, b, c, d]))?;
        driver.set_register(Reg::RAH, n, u32::from_le_bytes([e, f, 0, 0x80]))?;
        driver.set_register(Reg::MPSAR, 2 * n, 1 << pool)?;
        // One queue of the pool is in use, unless the scenario says more.
        driver.set_register(Reg::PSRTYPE, usize::from(pool), 0)?;
    }
    Ok(())
}

/// The frames that came in the first queue of a pool.
fn of_pool(received: &[Received], pool: u8) -> Vec<Vec<u8>> {
    received
        .iter()
        .filter(|received| received.queue == queue(pool))
        .map(|received| received.bytes.clone())
        .collect()
}

fn a_frame_arrives_in_the_pool_of_its_address(world: &mut CardWorld) -> Result<()> {
    with_pools(world)?;
    let frames = [
        numbered(mac(1), 1, 60),
        numbered(mac(7), 2, 1514),
        numbered([2, 0, 0, 0, 0, 9], 3, 60),
        numbered(mac(0), 4, 100),
        numbered(mac(1), 5, 100),
    ];
    let received = world.exchange(&frames)?;
    ensure!(received.len() == 4, "{} came", received.len());
    same(&of_pool(&received, 0), &[frames[3].clone()])?;
    same(
        &of_pool(&received, 1),
        &[frames[0].clone(), frames[4].clone()],
    )?;
    same(&of_pool(&received, 7), &[frames[1].clone()])?;
    Ok(())
}

fn a_broadcast_arrives_in_every_pool_that_wants_it(world: &mut CardWorld) -> Result<()> {
    with_pools(world)?;
    let driver = world.driver()?;
    for pool in [0, 3, 6] {
        driver.set_register(Reg::VMOLR, pool, BAM)?;
    }
    let frames = [numbered(BROADCAST, 1, 1000), numbered(mac(5), 2, 60)];
    let received = world.exchange(&frames)?;
    ensure!(received.len() == 4, "{} came", received.len());
    for pool in [0, 3, 6] {
        same(&of_pool(&received, pool), &frames[..1])?;
    }
    let statistics = world.driver()?.statistics()?;
    let [good, copies] = [Reg::RXDGPC, Reg::RXDDGPC].map(|reg| statistics.total(reg, 0));
    ensure!(
        (good, copies) == (2, 2),
        "{good} packets and {copies} copies are counted"
    );
    Ok(())
}

fn a_vlan_arrives_in_its_pools(world: &mut CardWorld) -> Result<()> {
    with_pools(world)?;
    let driver = world.driver()?;
    for pool in [1, 2, 3] {
        driver.set_register(Reg::VMOLR, pool, BAM)?;
    }
    driver.set_register(Reg::VMOLR, 4, BAM | AUPE)?;
    for row in 0..128 {
        driver.set_register(Reg::VFTA, row, u32::MAX)?;
    }
    // VLAN 5 has pools 1 and 2, VLAN 6 pool 3.
    driver.set_register(Reg::VLVF, 1, 1 << 31 | 5)?;
    driver.set_register(Reg::VLVFB, 2, 1 << 1 | 1 << 2)?;
    driver.set_register(Reg::VLVF, 2, 1 << 31 | 6)?;
    driver.set_register(Reg::VLVFB, 4, 1 << 3)?;
    driver.set_register(Reg::VLNCTRL, 0, 0x8100 | 1 << 30)?;
    let frames = [
        tagged(&numbered(BROADCAST, 1, 100), 5),
        tagged(&numbered(BROADCAST, 2, 100), 6),
        tagged(&numbered(BROADCAST, 3, 100), 7),
        numbered(BROADCAST, 4, 100),
        numbered(mac(4), 5, 100),
    ];
    let received = world.exchange(&frames)?;
    same(&of_pool(&received, 1), &frames[..1])?;
    same(&of_pool(&received, 2), &frames[..1])?;
    same(&of_pool(&received, 3), &frames[1..2])?;
    same(&of_pool(&received, 4), &frames[3..])?;
    ensure!(received.len() == 5, "{} came", received.len());
    Ok(())
}

fn a_multicast_arrives_in_the_pools_that_take_the_hash(world: &mut CardWorld) -> Result<()> {
    const GROUP: Mac = [0x01, 0x00, 0x5E, 0x01, 0x02, 0x03];
    const OTHER: Mac = [0x01, 0x00, 0x5E, 0x01, 0x33, 0x55];
    with_pools(world)?;
    let driver = world.driver()?;
    // Bits 47:36 of the address: 0x030.
    driver.set_register(Reg::MTA, 1, 1 << 16)?;
    driver.set_register(Reg::MCSTCTRL, 0, 1 << 2)?;
    driver.set_register(Reg::VMOLR, 2, ROMPE)?;
    driver.set_register(Reg::VMOLR, 6, ROMPE)?;
    let frames = [
        numbered(GROUP, 1, 100),
        numbered(OTHER, 2, 100),
        numbered(mac(0), 3, 100),
    ];
    let received = world.exchange(&frames)?;
    same(&of_pool(&received, 2), &frames[..1])?;
    same(&of_pool(&received, 6), &frames[..1])?;
    ensure!(received.len() == 3, "{} came", received.len());
    Ok(())
}

fn flows_are_spread_within_their_pool(world: &mut CardWorld) -> Result<()> {
    with_pools(world)?;
    // Two queues for pool 3; pool 4 keeps one.
    world.driver()?.set_register(Reg::PSRTYPE, 3, 1 << 29)?;
    let mut seen = [0; 2];
    for flow in flows() {
        let hash = rss::hash(&RSS_KEY, &flow);
        let expected = queue(3) + (hash & 1) as usize;
        let received = world.exchange(&[flow.tcp(PEER, mac(3), b"payload")?])?;
        ensure!(
            received[0].queue == expected && received[0].hash == hash,
            "{flow:?}: {:?} instead of queue {expected}, {hash:#010x}",
            received[0]
        );
        seen[(hash & 1) as usize] += 1;
        let received = world.exchange(&[flow.tcp(PEER, mac(4), b"payload")?])?;
        ensure!(received[0].queue == queue(4), "{:?}", received[0]);
    }
    ensure!(seen.iter().all(|count| *count > 0), "{seen:?}");
    Ok(())
}

/// As [`with_pools`], with the switch between the pools on; all take broadcasts.
fn switching(world: &mut CardWorld) -> Result<()> {
    with_pools(world)?;
    let driver = world.driver()?;
    for pool in 0..POOLS {
        driver.set_register(Reg::VMOLR, pool.into(), BAM)?;
    }
    driver
        .set_register(Reg::PFDTXGSWC, 0, 1)
        .map_err(Into::into)
}

/// Sends a frame by the first queue of a pool and waits until it is done.
fn send(world: &mut CardWorld, pool: u8, frame: &[u8]) -> Result<()> {
    world.send_packet(queue(pool), &Packet::plain(frame))?;
    world.completed(queue(pool))
}

fn pools_talk_without_the_cable(world: &mut CardWorld) -> Result<()> {
    switching(world)?;
    for len in [60, 1514] {
        let frame = from(mac(1), mac(2), len, len);
        send(world, 1, &frame)?;
        let received = world.receive()?;
        ensure!(
            received.queue == queue(2) && received.status.contains(Status::LB),
            "{received:?}"
        );
        same(&[received.bytes], &[frame])?;
    }
    // What comes from the cable is no frame of another pool, and it is the first frame there.
    let last = from(mac(1), PEER, 1, 100);
    send(world, 1, &last)?;
    same(&world.sent(1)?, &[last])?;
    let received = world.exchange(&[numbered(mac(2), 2, 100)])?;
    ensure!(!received[0].status.contains(Status::LB), "{received:?}");
    Ok(())
}

fn a_broadcast_of_a_pool_goes_to_the_cable_and_to_the_other_pools(
    world: &mut CardWorld,
) -> Result<()> {
    switching(world)?;
    let frame = from(mac(1), BROADCAST, 1, 100);
    send(world, 1, &frame)?;
    same(&world.sent(1)?, std::slice::from_ref(&frame))?;
    let received = world.exchange(&[numbered(mac(1), 2, 100)])?;
    ensure!(received.len() == 8, "{} came", received.len());
    for pool in (0..POOLS).filter(|pool| *pool != 1) {
        same(&of_pool(&received, pool), std::slice::from_ref(&frame))?;
    }
    Ok(())
}

fn a_pool_cannot_take_the_address_of_another(world: &mut CardWorld) -> Result<()> {
    switching(world)?;
    let driver = world.driver()?;
    driver.set_register(Reg::PFVFSPOOF, 0, 1 << 1)?;
    driver.set_register(Reg::VMECM, 0, 1 << 1)?;
    let own = from(mac(1), PEER, 3, 1000);
    send(world, 1, &from(mac(2), PEER, 1, 1000))?;
    send(world, 1, &from(mac(2), mac(3), 2, 1000))?;
    send(world, 1, &own)?;
    same(&world.sent(1)?, &[own])?;
    let received = world.exchange(&[numbered(mac(3), 4, 100)])?;
    ensure!(received.len() == 1, "{received:?}");
    let spoofed = world.driver()?.register(Reg::SSVPC, 0)?;
    ensure!(spoofed == 2, "{spoofed} are counted");
    Ok(())
}

fn a_mirror_sees_what_its_pool_sees(world: &mut CardWorld) -> Result<()> {
    switching(world)?;
    let driver = world.driver()?;
    // What goes to pool 2 goes to pool 5, too.
    driver.set_register(Reg::MRCTL, 0, 1 | 5 << 8)?;
    driver.set_register(Reg::VMRVM, 0, 1 << 2)?;
    let inside = from(mac(1), mac(2), 1, 100);
    send(world, 1, &inside)?;
    let outside = numbered(mac(2), 2, 100);
    let received = world.exchange(&[
        outside.clone(),
        numbered(mac(3), 3, 100),
        numbered(mac(4), 4, 100),
    ])?;
    let expected = [inside, outside];
    same(&of_pool(&received, 2), &expected)?;
    same(&of_pool(&received, 5), &expected)?;
    ensure!(received.len() == 6, "{} came", received.len());
    Ok(())
}

fn the_tag_of_a_pool_is_inserted(world: &mut CardWorld) -> Result<()> {
    with_pools(world)?;
    world
        .driver()?
        .set_register(Reg::VMVIR, 1, 1 << 30 | 3 << 13 | 77)?;
    let frame = from(mac(1), PEER, 1, 100);
    send(world, 1, &frame)?;
    send(world, 2, &frame)?;
    let expected = [tagged(&frame, 3 << 13 | 77), padded(&frame)];
    same(&world.sent(2)?, &expected)?;
    Ok(())
}
