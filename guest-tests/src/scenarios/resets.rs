use std::time::Duration;

use anyhow::{Result, ensure};
use ixgbe_spec::register::Reg;
use nic_driver::{Config, Device, Packet};

use crate::{
    card_world::{CardWorld, MAC},
    frames::{BROADCAST, from, numbered},
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard a_reset_under_traffic_leaves_a_card_that_works,
    OnCard a_function_level_reset_leaves_a_card_that_works,
    OnCard after_a_reset_nothing_is_written_to_the_old_rings,
];

const CTRL_RST: u32 = 1 << 26;
/// Device control of the PCI Express capability, and its bit that resets the function.
const DEVICE_CONTROL: u16 = 0xA8;
const INITIATE_FLR: u16 = 1 << 15;

/// Keeps frames going in both directions, more than the rings hold.
fn traffic(world: &mut CardWorld) -> Result<()> {
    let arriving: Vec<_> = (0..200).map(|number| numbered(MAC, number, 1000)).collect();
    world.cable().put(&arriving)?;
    let leaving = from(MAC, BROADCAST, 1, 1500);
    for _ in 0..30 {
        let driver = world.driver()?;
        let (ring, _) = driver.tx(0);
        ring.put(&Packet::plain(&leaving))?;
    }
    let (ring, device) = world.driver()?.tx(0);
    ring.ring_doorbell(device)?;
    Ok(())
}

/// After a reset what waited on the cable may still come; then both directions work.
fn works(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&Config::default())?;
    ensure!(driver.mac() == MAC, "the address is {:02x?}", driver.mac());
    world.exchange(&[numbered(MAC, 900, 60)])?;
    let frame = from(MAC, BROADCAST, 901, 60);
    world.send_packet(0, &Packet::plain(&frame))?;
    world.send(&[frame])?;
    Ok(())
}

use crate::world::World as _;

fn a_reset_under_traffic_leaves_a_card_that_works(world: &mut CardWorld) -> Result<()> {
    for _ in 0..5 {
        world.bring_up(&Config::default())?;
        traffic(world)?;
        world.driver()?.set_register(Reg::CTRL, 0, CTRL_RST)?;
        let driver = world.driver()?;
        let queue = driver.register(Reg::RXDCTL, 0)? | driver.register(Reg::TXDCTL, 0)?;
        ensure!(queue >> 25 & 1 == 0, "a queue is enabled after the reset");
        works(world)?;
    }
    Ok(())
}

fn a_function_level_reset_leaves_a_card_that_works(world: &mut CardWorld) -> Result<()> {
    world.bring_up(&Config::default())?;
    traffic(world)?;
    let device = world.driver()?.device();
    let mut control = [0; 2];
    device.config_read(DEVICE_CONTROL, &mut control)?;
    let control = u16::from_le_bytes(control) | INITIATE_FLR;
    device.config_write(DEVICE_CONTROL, &control.to_le_bytes())?;
    world.pass(Duration::from_millis(1))?;
    let device = world.driver()?.device();
    let mut command = [0; 2];
    device.config_read(4, &mut command)?;
    ensure!(
        command[0] & 6 == 0,
        "decode or bus mastering is on: {command:02x?}"
    );
    works(world)
}

fn after_a_reset_nothing_is_written_to_the_old_rings(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&Config::default())?;
    driver.set_register(Reg::CTRL, 0, CTRL_RST)?;
    world
        .cable()
        .put(&[numbered(MAC, 1, 60), numbered(BROADCAST, 2, 60)])?;
    world.pass(Duration::from_millis(5))?;
    let received = world.driver()?.receive()?;
    ensure!(received.is_none(), "after the reset came {received:?}");
    Ok(())
}
