use anyhow::{Result, ensure};

use crate::{
    cable::Plug,
    frames::{BROADCAST, from, numbered, same},
    scenario::{Scenario, scenarios},
    world::{Setup, World},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    Anywhere the_link_is_up_and_frames_pass_both_ways,
    Anywhere the_link_follows_the_cable_and_frames_pass_again_afterwards,
];

fn the_link_is_up_and_frames_pass_both_ways(world: &mut dyn World) -> Result<()> {
    world.set_up(&Setup::default())?;
    let mac = world.mac()?;
    ensure!(
        mac[0] & 1 == 0 && mac != [0; 6],
        "the address is {mac:02x?}"
    );
    ensure!(world.link_is_up()?, "no link");
    both_ways(world)
}

fn the_link_follows_the_cable_and_frames_pass_again_afterwards(
    world: &mut dyn World,
) -> Result<()> {
    world.set_up(&Setup::default())?;
    world.plug(Plug::Out)?;
    ensure!(!world.link_is_up()?, "a link without a cable");
    world.plug(Plug::In)?;
    ensure!(world.link_is_up()?, "no link with the cable in");
    both_ways(world)
}

fn both_ways(world: &mut dyn World) -> Result<()> {
    let mac = world.mac()?;
    let arriving = vec![numbered(mac, 1, 100), numbered(BROADCAST, 2, 60)];
    let received = world.arrive(&arriving)?;
    same(&received, &arriving)?;
    let leaving = vec![from(mac, BROADCAST, 3, 60), from(mac, BROADCAST, 4, 1514)];
    let sent = world.send(&leaving)?;
    same(&sent, &leaving)?;
    Ok(())
}
