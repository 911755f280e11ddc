use anyhow::Result;

use crate::{
    frames::{BROADCAST, Mac, numbered, same},
    scenario::{Scenario, scenarios},
    world::{Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere frames_for_other_addresses_are_not_received,
    Anywhere only_multicasts_that_were_asked_for_are_received,
    Anywhere a_promiscuous_nic_receives_everything,
];

const STRANGER: Mac = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
const WANTED: Mac = [0x01, 0x00, 0x5E, 0x01, 0x02, 0x03];
/// Other bits than [`WANTED`] in what the multicast hash looks at, bits 47:36.
const UNWANTED: Mac = [0x01, 0x00, 0x5E, 0x01, 0x33, 0x55];

fn frames_for_other_addresses_are_not_received(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    let mut near = mac;
    near[5] ^= 1;
    let frames = [
        numbered(STRANGER, 1, 60),
        numbered(near, 2, 60),
        numbered(mac, 3, 60),
        numbered(STRANGER, 4, 1514),
        numbered(BROADCAST, 5, 60),
    ];
    let received = world.arrive(&frames)?;
    same(&received, &[frames[2].clone(), frames[4].clone()])?;
    Ok(())
}

fn only_multicasts_that_were_asked_for_are_received(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup {
        multicast: vec![WANTED],
        ..Setup::default()
    })?;
    let mac = world.mac()?;
    let frames = [
        numbered(UNWANTED, 1, 60),
        numbered(WANTED, 2, 60),
        numbered(UNWANTED, 3, 60),
        numbered(mac, 4, 60),
    ];
    let received = world.arrive(&frames)?;
    same(&received, &[frames[1].clone(), frames[3].clone()])?;
    Ok(())
}

fn a_promiscuous_nic_receives_everything(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup {
        promiscuous: true,
        ..Setup::default()
    })?;
    let frames = [
        numbered(STRANGER, 1, 60),
        numbered(UNWANTED, 2, 60),
        numbered(BROADCAST, 3, 60),
        numbered(STRANGER, 4, 60),
    ];
    let received = world.arrive(&frames)?;
    same(&received, &frames)?;
    Ok(())
}
