use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ixgbe_spec::register::Reg;
use nic_driver::{Config, Device, Packet};

use super::checksums::flow_v4;
use crate::{
    card_world::{CardWorld, RSS_KEY},
    frames::{BROADCAST, PEER, from, numbered},
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard a_received_and_a_sent_frame_each_raise_the_vector_of_their_queue,
    OnCard a_masked_vector_fires_when_it_is_unmasked,
    OnCard moderation_spaces_interrupts_and_loses_none,
    OnCard a_cause_that_software_sets_fires_its_vector,
];

/// Signals of `vector` after some of the card's time.
fn fired(world: &mut CardWorld, vector: u8) -> Result<u64> {
    const STEP: Duration = Duration::from_millis(1);
    let device = world.driver()?.device();
    let mut sum = device.fired(vector)?;
    for _ in 0..100 {
        if sum > 0 {
            break;
        }
        device.pass(STEP)?;
        sum += device.fired(vector)?;
    }
    Ok(sum)
}

fn a_received_and_a_sent_frame_each_raise_the_vector_of_their_queue(
    world: &mut CardWorld,
) -> Result<()> {
    let config = Config {
        rx_queues: 16,
        tx_queues: 16,
        interrupts: Some(0),
        rss: Some(nic_driver::Rss {
            key: RSS_KEY,
            fields: 1,
        }),
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let hash = crate::rss::hash(&RSS_KEY, &flow_v4());
    let vector = (hash & 15).to_le_bytes()[0];
    ensure!(vector != 0, "this flow goes to queue 0 anyway");
    world.exchange(&[flow_v4().tcp(PEER, mac, b"x")?])?;
    let came = fired(world, vector)?;
    ensure!(
        came == 1,
        "vector {vector} fired {came} times for one frame"
    );
    let other = world.driver()?.device().fired(0)?;
    ensure!(other == 0, "vector 0 fired {other} times");

    let frame = from(mac, BROADCAST, 1, 60);
    world.send_packet(15, &Packet::plain(&frame))?;
    let sent = fired(world, 15)?;
    ensure!(sent == 1, "vector 15 fired {sent} times for one frame");
    Ok(())
}

fn a_masked_vector_fires_when_it_is_unmasked(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        interrupts: Some(0),
        ..Config::default()
    };
    let driver = world.bring_up(&config)?;
    let mac = driver.mac();
    driver.set_register(Reg::EIMC_EX, 0, 1)?;
    world.exchange(&[numbered(mac, 1, 60)])?;
    world.pass(Duration::from_millis(5))?;
    let masked = world.driver()?.device().fired(0)?;
    ensure!(masked == 0, "a masked vector fired {masked} times");
    world.driver()?.set_register(Reg::EIMS_EX, 0, 1)?;
    let unmasked = fired(world, 0)?;
    ensure!(unmasked == 1, "unmasked, it fired {unmasked} times");
    Ok(())
}

fn moderation_spaces_interrupts_and_loses_none(world: &mut CardWorld) -> Result<()> {
    // In units of 2.048 µs: nearly 1 ms.
    const MICROSECONDS: u16 = 980;
    let config = Config {
        interrupts: Some(MICROSECONDS),
        ring_len: 256,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let begun = Instant::now();
    let mut passed = Duration::ZERO;
    for number in 0..200 {
        world.cable().put(&[numbered(mac, number, 60)])?;
        passed += world.driver()?.device().pass(Duration::from_micros(50))?;
    }
    for number in 0..200 {
        let received = world.receive()?;
        ensure!(
            received.bytes == numbered(mac, number, 60),
            "{received:02x?}"
        );
    }
    // The last cause fires at the latest when the interval ends.
    world.pass(Duration::from_millis(2))?;
    passed += Duration::from_millis(2);
    let fired = world.driver()?.device().fired(0)?;
    let intervals = passed.max(begun.elapsed()).as_micros() / u128::from(MICROSECONDS);
    ensure!(
        fired >= 2,
        "{fired} interrupts for 200 frames in {intervals} intervals"
    );
    ensure!(
        u128::from(fired) <= intervals + 2,
        "{fired} interrupts in {intervals} intervals"
    );
    world.exchange(&[numbered(mac, 1, 60)])?;
    // A server in another process may be kept from its core for longer than the interval.
    let mut fired = 0;
    for _ in 0..500 {
        world.pass(Duration::from_millis(2))?;
        fired += world.driver()?.device().fired(0)?;
        if fired > 0 {
            break;
        }
    }
    ensure!(fired > 0, "no interrupt for one more frame");
    Ok(())
}

fn a_cause_that_software_sets_fires_its_vector(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        interrupts: Some(0),
        ..Config::default()
    };
    let driver = world.bring_up(&config)?;
    driver.set_register(Reg::EIMS_EX, 0, 1 << 5)?;
    driver.set_register(Reg::EICS_EX, 0, 1 << 5)?;
    let set = fired(world, 5)?;
    ensure!(set == 1, "vector 5 fired {set} times");
    Ok(())
}
