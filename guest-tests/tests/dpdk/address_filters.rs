//! Which frames the PMD lets the card take, by address and VLAN.

use anyhow::Result;
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{BROADCAST, numbered, same, tagged},
    server::ControlCable,
};

use super::{
    Test,
    forwarding::take,
    machine::{KernelDriver, Machine},
};

pub const TESTS: &[Test] = tests![
    frames_are_taken_by_the_addresses_that_testpmd_names,
    frames_are_taken_by_the_vlans_that_testpmd_names,
];

const OTHER: [u8; 6] = [0x02, 0x82, 0x59, 0x00, 0x01, 0x01];
const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x05];

fn frames_are_taken_by_the_addresses_that_testpmd_names(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    let own = numbered(MAC, 1, 101);
    let other = numbered(OTHER, 2, 102);
    let group = numbered(GROUP, 3, 103);
    let all = numbered(BROADCAST, 4, 104);
    let frames = [other.clone(), group.clone(), own.clone(), all.clone()];
    testpmd.commands(["set fwd io", "set promisc 0 off", "start"])?;
    passes(&mut cable, &frames, &[&own, &all])?;
    testpmd.command("mac_addr add 0 02:82:59:00:01:01")?;
    passes(&mut cable, &frames, &[&other, &own, &all])?;
    testpmd.command("mcast_addr add 0 01:00:5e:00:00:05")?;
    passes(&mut cable, &frames, &[&other, &group, &own, &all])?;
    testpmd.command("mac_addr remove 0 02:82:59:00:01:01")?;
    passes(&mut cable, &frames, &[&group, &own, &all])?;
    testpmd.command("mcast_addr remove 0 01:00:5e:00:00:05")?;
    passes(&mut cable, &frames, &[&own, &all])?;
    testpmd.command("set allmulti 0 on")?;
    passes(&mut cable, &frames, &[&group, &own, &all])?;
    testpmd.commands(["set allmulti 0 off", "set promisc 0 on"])?;
    passes(&mut cable, &frames, &[&other, &group, &own, &all])
}

fn frames_are_taken_by_the_vlans_that_testpmd_names(machine: &mut Machine) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(KernelDriver::UioPciGeneric, "", "")?;
    let bare = numbered(MAC, 1, 101);
    let five = tagged(&numbered(MAC, 2, 102), 5);
    let last = tagged(&numbered(MAC, 3, 103), 0xEFFE);
    let end = numbered(MAC, 4, 104);
    let frames = [bare.clone(), five.clone(), last.clone(), end.clone()];
    testpmd.commands(["set fwd io", "start"])?;
    passes(&mut cable, &frames, &[&bare, &five, &last, &end])?;
    testpmd.commands(["set promisc 0 off", "vlan set filter on 0"])?;
    passes(&mut cable, &frames, &[&bare, &end])?;
    testpmd.command("rx_vlan add 5 0")?;
    passes(&mut cable, &frames, &[&bare, &five, &end])?;
    testpmd.commands(["rx_vlan add 4094 0", "rx_vlan rm 5 0"])?;
    passes(&mut cable, &frames, &[&bare, &last, &end])?;
    testpmd.command("vlan set filter off 0")?;
    passes(&mut cable, &frames, &[&bare, &five, &last, &end])
}

/// Of these frames, exactly `expected` come back. The last one passes in any case: what comes after the others would have.
fn passes(cable: &mut ControlCable, frames: &[Vec<u8>], expected: &[&Vec<u8>]) -> Result<()> {
    cable.put(frames)?;
    let expected: Vec<Vec<u8>> = expected.iter().copied().cloned().collect();
    same(&take(cable, expected.len())?, &expected)
}
