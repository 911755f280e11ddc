//! Unicast addresses beyond the NIC's own: the receive address registers, and what comes after the last of them.

use anyhow::{Result, ensure};
use guest_tests::{
    World,
    frames::{Mac, numbered, same},
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    frames_for_an_address_of_bridge_fdb_are_received,
    more_addresses_than_the_card_holds_make_it_promiscuous,
];

/// Locally administered, and unlike the NIC's own.
fn address(number: usize) -> Mac {
    let [high, low, ..] = [number / 256, number % 256].map(|part| part.to_le_bytes()[0]);
    [0x02, 0xAD, 0xD0, 0, high, low]
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn frame(number: usize) -> Vec<u8> {
    numbered(address(number), number, 100)
}

fn frames_for_an_address_of_bridge_fdb_are_received(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let last = numbered(world.mac()?, 0, 100);
    machine.sh(&format!(
        "bridge fdb add {} dev {INTERFACE}; bridge fdb add {} dev {INTERFACE}",
        text(address(1)),
        text(address(2))
    ))?;
    let frames = [frame(1), frame(2), frame(3), last.clone()];
    let received = machine.world()?.arrive(&frames)?;
    same(&received, &[frame(1), frame(2), last.clone()])?;

    machine.sh(&format!(
        "bridge fdb del {} dev {INTERFACE}",
        text(address(1))
    ))?;
    let received = machine.world()?.arrive(&frames)?;
    same(&received, &[frame(2), last])?;
    machine.sh(&format!(
        "bridge fdb del {} dev {INTERFACE}",
        text(address(2))
    ))?;
    Ok(())
}

fn more_addresses_than_the_card_holds_make_it_promiscuous(machine: &mut Machine) -> Result<()> {
    // Of 128 receive address registers one holds the NIC's own.
    const FREE: usize = 127;
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let last = numbered(world.mac()?, 0, 100);
    let add: String = (1..=FREE)
        .map(|number| format!("fdb add {} dev {INTERFACE}\n", text(address(number))))
        .collect();
    machine.sh(&format!("echo '{add}' | bridge -batch -"))?;
    let inside = [1, FREE / 2, FREE].map(frame);
    let stranger = frame(999);
    let frames = [&inside[..], &[stranger.clone(), last.clone()]].concat();
    let received = machine.world()?.arrive(&frames)?;
    let wanted = [&inside[..], std::slice::from_ref(&last)].concat();
    same(&received, &wanted)?;
    // The bridge tool is refused what has no register; another device on top of the NIC is not.
    let refused = machine.sh(&format!(
        "! bridge fdb add {} dev {INTERFACE} 2>&1",
        text(address(FREE + 1))
    ))?;
    ensure!(refused.contains("Cannot allocate memory"), "{refused}");
    machine.sh(&format!(
        "modprobe macvlan; ip link add link {INTERFACE} name beyond address {} type macvlan mode private
         ip link set beyond up",
        text(address(FREE + 1))
    ))?;
    let frames = [&inside[..], &[frame(FREE + 1), stranger, last.clone()]].concat();
    // tcpdump sees what the card has let pass.
    let received = machine.world()?.arrive(&frames)?;
    same(&received, &frames)?;
    let registers = machine.sh(&format!("ethtool -d {INTERFACE}"))?;
    ensure!(
        registers.contains("Unicast Promiscuous:                           enabled"),
        "{registers}"
    );

    machine.sh("ip link del beyond")?;
    let received = machine.world()?.arrive(&frames)?;
    same(&received, &wanted)?;
    let remove = add.replace("fdb add", "fdb del");
    machine.sh(&format!("echo '{remove}' | bridge -batch -"))?;
    Ok(())
}
