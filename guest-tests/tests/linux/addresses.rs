//! Addresses beyond the NIC's own and the VLANs of a bridge: the receive address registers and what comes after the last
//! of them, the multicast and the VLAN filter.

use anyhow::{Result, ensure};
use guest_tests::{
    World,
    frames::{BROADCAST, Mac, numbered, same, tagged},
    linux_world::INTERFACE,
    world::Setup,
};

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![
    frames_for_an_address_of_bridge_fdb_are_received,
    more_addresses_than_the_card_holds_make_it_promiscuous,
    every_multicast_is_received_with_allmulticast,
    a_bridge_opens_the_vlan_filter_for_its_vlans,
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

fn every_multicast_is_received_with_allmulticast(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup::default())?;
    let last = numbered(world.mac()?, 0, 100);
    // Other bits 47:36, which the multicast hash looks at, than those of any group that the guest is in.
    let multicast = |number| numbered([0x01, 0x00, 0x5E, 0x77, 0x33, number], 1, 100);
    let frames = [multicast(0x51), frame(1), multicast(0x52), last.clone()];
    for (state, wanted) in [
        ("off", vec![last.clone()]),
        ("on", vec![multicast(0x51), multicast(0x52), last.clone()]),
        ("off", vec![last.clone()]),
    ] {
        machine.sh(&format!("ip link set {INTERFACE} allmulticast {state}"))?;
        same(&machine.world()?.arrive(&frames)?, &wanted)?;
    }
    Ok(())
}

/// A bridge of one port leaves its NIC the filters, and tells it of its VLANs.
fn a_bridge_opens_the_vlan_filter_for_its_vlans(machine: &mut Machine) -> Result<()> {
    let world = machine.world()?;
    world.set_up(&Setup {
        vlans: Some(Vec::new()),
        ..Setup::default()
    })?;
    let last = numbered(world.mac()?, 0, 100);
    let of_vlan = |tag| tagged(&numbered(BROADCAST, usize::from(tag), 100), tag);
    let frames = [of_vlan(7), of_vlan(8), frame(1), last.clone()];
    machine.sh(&format!(
        "modprobe bridge
         ip link add bridge0 type bridge vlan_filtering 1 mcast_snooping 0
         ip link set {INTERFACE} master bridge0"
    ))?;
    let result = vlans_of_bridge(
        machine,
        &frames,
        &[
            ("add", vec![of_vlan(7), last.clone()]),
            ("del", vec![last.clone()]),
        ],
    );
    machine.sh("ip link del bridge0")?;
    result
}

/// Lets the frames arrive after each change to VLAN 7 of the bridge's port.
fn vlans_of_bridge(
    machine: &mut Machine,
    frames: &[Vec<u8>],
    changes: &[(&str, Vec<Vec<u8>>)],
) -> Result<()> {
    for (change, wanted) in changes {
        machine.sh(&format!("bridge vlan {change} vid 7 dev {INTERFACE}"))?;
        same(&machine.world()?.arrive(frames)?, wanted)?;
    }
    Ok(())
}
