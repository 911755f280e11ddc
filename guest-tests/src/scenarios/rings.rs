use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ixgbe_spec::register::Reg;
use nic_driver::{Config, DriverError, Packet};

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, from, numbered, same},
    scenario::{Scenario, scenarios},
    world::{Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere a_thousand_frames_come_and_go_in_order,
    OnCard frames_wait_in_the_packet_buffer_until_there_are_descriptors,
    OnCard what_the_packet_buffer_has_no_room_for_is_missed_and_counted,
    OnCard with_drop_en_frames_without_a_descriptor_are_dropped_and_counted,
    OnCard every_queue_sends_and_completes,
    OnCard a_full_ring_takes_more_once_packets_are_done,
    OnCard packets_below_the_write_back_threshold_complete_with_the_interval,
];

fn a_thousand_frames_come_and_go_in_order(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let len = |number: usize| 60 + number * 131 % 1455;
    let arriving: Vec<_> = (0..1000).map(|i| numbered(mac, i, len(i))).collect();
    let received = world.arrive(&arriving)?;
    ensure!(
        received.len() == 1000,
        "{} of 1000 frames came",
        received.len()
    );
    same(&received, &arriving)?;
    let leaving: Vec<_> = (0..1000).map(|i| from(mac, BROADCAST, i, len(i))).collect();
    let sent = world.send(&leaving)?;
    same(&sent, &leaving)?;
    Ok(())
}

fn frames_wait_in_the_packet_buffer_until_there_are_descriptors(
    world: &mut CardWorld,
) -> Result<()> {
    let config = Config {
        ring_len: 8,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let frames: Vec<_> = (0..100).map(|i| numbered(mac, i, 200)).collect();
    world.cable().put(&frames)?;
    // Nobody receives for a while: a ring of 8 takes 7.
    world.pass(Duration::from_millis(20))?;
    let head = world.driver()?.register(Reg::RDH, 0)?;
    ensure!(head == 7, "the ring's head is at {head} instead of 7");
    for frame in &frames {
        let received = world.receive()?;
        ensure!(&received.bytes == frame, "another frame: {received:02x?}");
    }
    let driver = world.driver()?;
    let statistics = driver.statistics()?;
    let lost = statistics.total(Reg::QPRDC, 0) + statistics.total(Reg::MPC, 0);
    ensure!(lost == 0, "{lost} frames are counted as lost");
    Ok(())
}

fn what_the_packet_buffer_has_no_room_for_is_missed_and_counted(
    world: &mut CardWorld,
) -> Result<()> {
    const FRAMES: u32 = 100;
    /// Seven in a ring of 8, and 20 of 1000 bytes in 20 KB.
    const ROOM: u32 = 27;
    const PACKET_BUFFER_OF_20_KB: u32 = 20 << 10;
    let config = Config {
        ring_len: 8,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let driver = world.driver()?;
    driver.set_register(Reg::RXPBSIZE, 0, PACKET_BUFFER_OF_20_KB)?;
    driver.register(Reg::STATUS, 0)?;
    let frames: Vec<_> = (0..100).map(|i| numbered(mac, i, 1000)).collect();
    world.cable().put(&frames)?;
    let mut arrived = 0;
    for _ in 0..2000 {
        arrived += world.driver()?.register(Reg::TPR, 0)?;
        if arrived == FRAMES {
            break;
        }
        world.pass(Duration::from_millis(1))?;
    }
    let missed = world.driver()?.register(Reg::MPC, 0)?;
    ensure!(arrived == FRAMES, "{arrived} of {FRAMES} frames arrived");
    ensure!(missed >= FRAMES - ROOM, "only {missed} are missed");
    let mut left = frames.iter();
    for _ in missed..FRAMES {
        let received = world.receive()?;
        let found = left.any(|frame| *frame == received.bytes);
        ensure!(found, "another frame, or out of order: {received:02x?}");
    }
    let driver = world.driver()?;
    let good = driver.register(Reg::GPRC, 0)?;
    let delivered = driver.register(Reg::QPRC, 0)?;
    ensure!(
        good == FRAMES && delivered == FRAMES - missed,
        "{good} good, {delivered} delivered, {missed} missed"
    );
    Ok(())
}

fn with_drop_en_frames_without_a_descriptor_are_dropped_and_counted(
    world: &mut CardWorld,
) -> Result<()> {
    let config = Config {
        ring_len: 8,
        drop_en: true,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let frames: Vec<_> = (0..50).map(|i| numbered(mac, i, 200)).collect();
    world.cable().put(&frames)?;
    let mut dropped = 0;
    for _ in 0..1000 {
        dropped += world.driver()?.register(Reg::QPRDC, 0)?;
        if dropped >= 43 {
            break;
        }
        world.pass(Duration::from_millis(1))?;
    }
    ensure!(dropped == 43, "{dropped} frames dropped instead of 43");
    for frame in &frames[..7] {
        let received = world.receive()?;
        ensure!(&received.bytes == frame, "another frame: {received:02x?}");
    }
    let next = numbered(mac, 100, 60);
    let received = world.exchange(std::slice::from_ref(&next))?;
    ensure!(
        received[0].bytes == next,
        "after the drops came {received:02x?}"
    );
    Ok(())
}

fn every_queue_sends_and_completes(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        tx_queues: 64,
        ring_len: 8,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    for queue in 0..64 {
        let frame = from(mac, BROADCAST, queue, 64 + queue);
        world.send_packet(queue, &Packet::plain(&frame))?;
        let sent = world.sent(1)?;
        ensure!(sent == [frame], "queue {queue} sent {sent:02x?}");
        world
            .completed(queue)
            .with_context(|| format!("queue {queue}"))?;
    }
    Ok(())
}

fn a_full_ring_takes_more_once_packets_are_done(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        ring_len: 8,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let frame = from(mac, BROADCAST, 1, 60);
    let (ring, _) = world.driver()?.tx(0);
    for _ in 0..7 {
        ring.put(&Packet::plain(&frame))?;
    }
    let full = ring.put(&Packet::plain(&frame));
    ensure!(
        matches!(full, Err(DriverError::RingFull)),
        "8 in a ring of 8"
    );
    let (ring, device) = world.driver()?.tx(0);
    ring.ring_doorbell(device)?;
    world.sent(7)?;
    world.send_packet(0, &Packet::plain(&frame))?;
    let sent = world.sent(1)?;
    same(&sent, &[frame])?;
    Ok(())
}

fn packets_below_the_write_back_threshold_complete_with_the_interval(
    world: &mut CardWorld,
) -> Result<()> {
    const ENABLE: u32 = 1 << 25;
    const WRITE_BACK_OF_8: u32 = 8 << 16;
    const TX_QUEUE_0_VALID: u32 = 0x80 << 8;
    const LONGEST_INTERVAL: u32 = 0x1FF << 3;
    let config = Config {
        ring_len: 32,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let driver = world.driver()?;
    driver.set_register(Reg::IVAR, 0, TX_QUEUE_0_VALID)?;
    driver.set_register(Reg::EITR, 0, LONGEST_INTERVAL)?;
    driver.set_register(Reg::TXDCTL, 0, ENABLE | WRITE_BACK_OF_8)?;
    for count in [1, 7, 8, 20] {
        let frames: Vec<_> = (0..count).map(|i| from(mac, BROADCAST, i, 60)).collect();
        for frame in &frames {
            world.send_packet(0, &Packet::plain(frame))?;
        }
        let sent = world.sent(count)?;
        same(&sent, &frames)?;
        world
            .completed(0)
            .with_context(|| format!("{count} packets"))?;
    }
    Ok(())
}
