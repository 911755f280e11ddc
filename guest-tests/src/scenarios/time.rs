use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ixgbe_spec::{
    descriptor::rx::{PacketType, Status},
    register::Reg,
};
use nic_driver::{Config, Packet};

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, PEER, from, numbered},
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard the_system_time_keeps_pace_with_the_free_running_timer,
    OnCard a_frame_that_leaves_is_stamped_if_it_asks_for_it,
    OnCard a_message_that_arrives_is_stamped_and_holds_the_stamp_until_it_is_read,
];

/// Increment for 6.4 ns in units of 2^-21 ns, as Linux has it at 10 Gbit/s.
const TIMINCA: u32 = 1 << 24 | 0xCC_CCCC;
const SHIFT: u32 = 21;
/// TSYNCTXCTL and TSYNCRXCTL: a stamp is there; stamps are taken.
const VALID: u32 = 1;
const ENABLED: u32 = 1 << 4;
/// TSYNCRXCTL: all event messages of version 2.
const EVENTS: u32 = 5 << 1;
/// ETQF: PTP over Ethernet, with the 1588 bit.
const ETQF: u32 = 1 << 31 | 1 << 30 | 0x88F7;

/// A card whose system time runs from 0 on.
fn clock(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&Config {
        promiscuous: true,
        ..Config::default()
    })?;
    driver.set_register(Reg::TIMINCA, 0, 0)?;
    driver.set_register(Reg::SYSTIML, 0, 0)?;
    driver.set_register(Reg::SYSTIMH, 0, 0)?;
    driver.set_register(Reg::TIMINCA, 0, TIMINCA)?;
    Ok(())
}

fn pair(world: &mut CardWorld, low: Reg, high: Reg) -> Result<u64> {
    let driver = world.driver()?;
    let low = driver.register(low, 0)?;
    Ok(u64::from(driver.register(high, 0)?) << 32 | u64::from(low))
}

fn system_time(world: &mut CardWorld) -> Result<u64> {
    pair(world, Reg::SYSTIML, Reg::SYSTIMH)
}

/// The system time in microseconds, and the free running timer before and after it was read.
fn both_clocks(world: &mut CardWorld) -> Result<(u64, u32, u32)> {
    let before = world.driver()?.register(Reg::FRTIMER, 0)?;
    let time = (system_time(world)? >> SHIFT) / 1000;
    let after = world.driver()?.register(Reg::FRTIMER, 0)?;
    Ok((time, before, after))
}

fn the_system_time_keeps_pace_with_the_free_running_timer(world: &mut CardWorld) -> Result<()> {
    clock(world)?;
    let (start, start_before, start_after) = both_clocks(world)?;
    world.pass(Duration::from_millis(20))?;
    let (end, end_before, end_after) = both_clocks(world)?;
    let at_least = u64::from(end_before.wrapping_sub(start_after));
    let at_most = u64::from(end_after.wrapping_sub(start_before));
    ensure!(at_least >= 19_000, "only {at_least} us have passed");
    // Both are cut to whole microseconds.
    ensure!(
        (at_least.saturating_sub(2)..=at_most + 2).contains(&(end - start)),
        "{} us by SYSTIM, {at_least} to {at_most} us by FRTIMER",
        end - start
    );
    Ok(())
}

fn a_frame_that_leaves_is_stamped_if_it_asks_for_it(world: &mut CardWorld) -> Result<()> {
    clock(world)?;
    let mac = world.driver()?.mac();
    let frame = from(mac, BROADCAST, 1, 100);
    let plain = Packet::plain(&frame);
    let stamped = Packet {
        timestamp: true,
        ..plain
    };
    let driver = world.driver()?;
    driver.set_register(Reg::TSYNCTXCTL, 0, ENABLED)?;
    world.send_packet(0, &plain)?;
    world.completed(0)?;
    let control = world.driver()?.register(Reg::TSYNCTXCTL, 0)?;
    ensure!(control == ENABLED, "TSYNCTXCTL is {control:#x}");
    world.pass(Duration::from_millis(2))?;
    let before = system_time(world)?;
    world.send_packet(0, &stamped)?;
    world.completed(0)?;
    let after = system_time(world)?;
    world.pass(Duration::from_millis(2))?;
    // The stamp is taken, hence this one has none.
    world.send_packet(0, &stamped)?;
    world.completed(0)?;
    let control = world.driver()?.register(Reg::TSYNCTXCTL, 0)?;
    ensure!(control == ENABLED | VALID, "TSYNCTXCTL is {control:#x}");
    let stamp = pair(world, Reg::TXSTMPL, Reg::TXSTMPH)?;
    ensure!(
        (before..=after).contains(&stamp) && before > 0,
        "{stamp} is not in {before}..={after}"
    );
    let control = world.driver()?.register(Reg::TSYNCTXCTL, 0)?;
    ensure!(control == ENABLED, "TSYNCTXCTL is {control:#x}");
    ensure!(world.sent(3)?.len() == 3);
    Ok(())
}

/// A Sync of version 2 over Ethernet.
fn sync(sequence: u8) -> Vec<u8> {
    let mut message = vec![0; 46];
    message[1] = 2;
    message[3] = 44;
    message[20..30].copy_from_slice(&[2, 0x82, 0x59, 0xFF, 0xFE, 1, 2, 3, 0, 1]);
    message[31] = sequence;
    let multicast = [0x01, 0x1B, 0x19, 0, 0, 0];
    [&multicast[..], &PEER, &[0x88, 0xF7], &message].concat()
}

fn a_message_that_arrives_is_stamped_and_holds_the_stamp_until_it_is_read(
    world: &mut CardWorld,
) -> Result<()> {
    clock(world)?;
    let driver = world.driver()?;
    driver.set_register(Reg::ETQF, 3, ETQF)?;
    driver.set_register(Reg::TSYNCRXCTL, 0, ENABLED | EVENTS)?;
    let before = system_time(world)?;
    let last = numbered(BROADCAST, 1, 100);
    let received = world.exchange(&[sync(1), sync(2), last.clone()])?;
    let after = system_time(world)?;
    let stamped = received.iter().map(|one| one.status.contains(Status::TS));
    let stamped: Vec<_> = stamped.collect();
    ensure!(stamped == [true, false, false], "stamped: {stamped:?}");
    let first = received.first().context("no packet")?;
    let kind = first.info.packet_type();
    // Ethertype filter 3 has matched.
    let expected = PacketType::L2 | PacketType::from_bits_retain(3);
    ensure!(kind == expected, "packet type {kind:?}");
    // The bytes of the cable in their order: the source's last two, and the sequence.
    let attributes = world.driver()?.register(Reg::RXSATRH, 0)?.to_le_bytes();
    ensure!(attributes == [2, 3, 0, 1], "RXSATRH is {attributes:02x?}");
    let stamp = pair(world, Reg::RXSTMPL, Reg::RXSTMPH)?;
    ensure!(
        (before..=after).contains(&stamp),
        "{stamp} is not in {before}..={after}"
    );
    let received = world.exchange(&[sync(3), last])?;
    let again = received.first().context("no packet")?;
    ensure!(again.status.contains(Status::TS), "{:?}", again.status);
    let later = pair(world, Reg::RXSTMPL, Reg::RXSTMPH)?;
    ensure!(later >= after, "{later} is before {after}");
    Ok(())
}
