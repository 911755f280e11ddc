//! What a person looks at when a NIC is in question: the register dump, the online self test, wake-up settings.

use anyhow::{Context, Result, ensure};
use guest_tests::{World, linux_world::INTERFACE, world::Setup};

use super::{
    endurance::traffic,
    life::field,
    machine::{Machine, Test},
};

pub const TESTS: &[Test] = tests![
    the_register_dump_is_decoded,
    the_online_test_passes_between_frames,
    no_wake_up_is_offered_for_a_board_without_it,
];

fn dump(machine: &mut Machine) -> Result<String> {
    machine.sh(&format!("ethtool -d {INTERFACE}"))
}

/// A register of the dump, by its name.
fn register(dump: &str, name: &str) -> Result<u32> {
    let line = dump
        .lines()
        .find(|line| line.split([' ', ':']).any(|word| word == name));
    let value = line.and_then(|line| line.rsplit("0x").next());
    let value = value.with_context(|| format!("no {name} in\n{dump}"))?;
    Ok(u32::from_str_radix(value.trim(), 16)?)
}

fn the_register_dump_is_decoded(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let [a, b, c, d, e, f] = machine.world()?.mac()?;
    let normal = dump(machine)?;
    for (name, expected) in [
        ("Link Status", "up"),
        ("Link Speed", "10G"),
        ("Broadcast Accept", "enabled"),
        ("Unicast Promiscuous", "disabled"),
        ("Multicast Promiscuous", "disabled"),
        ("Store Bad Packets", "disabled"),
        ("VLAN Mode", "disabled"),
        ("Receive Buffer Size", "2KB"),
        ("Transmit CRC", "enabled"),
        ("Receive CRC Strip", "enabled"),
        ("Pad Short Frames", "enabled"),
        ("Loopback", "disabled"),
    ] {
        let shown = field(&normal, name)?;
        ensure!(shown == expected, "{name} is {shown}");
    }
    for (name, expected) in [
        ("RAL00", u32::from_le_bytes([a, b, c, d])),
        // AV: the address is valid.
        ("RAH00", 1 << 31 | u32::from_le_bytes([e, f, 0, 0])),
        // The longest frame: MTU, header and FCS.
        ("MHADD", 1518 << 16),
        ("RDLEN00", 512 * 16),
        ("TDLEN00", 512 * 16),
    ] {
        let value = register(&normal, name)?;
        ensure!(value == expected, "{name} is {value:#x}");
    }

    machine.sh(&format!(
        "ip link set {INTERFACE} promisc on; ip link set {INTERFACE} mtu 9000"
    ))?;
    machine.wait_for_link()?;
    let changed = dump(machine)?;
    machine.sh(&format!(
        "ip link set {INTERFACE} promisc off; ip link set {INTERFACE} mtu 1500"
    ))?;
    machine.wait_for_link()?;
    ensure!(field(&changed, "Unicast Promiscuous")? == "enabled");
    ensure!(field(&changed, "Multicast Promiscuous")? == "enabled");
    ensure!(register(&changed, "MHADD")? == 9018 << 16);

    machine
        .world()?
        .cable()
        .control()
        .set_link(control::Link::Down)?;
    let carrier = format!("/sys/class/net/{INTERFACE}/carrier");
    machine.sh(&format!(
        "until [ \"$(cat {carrier})\" = 0 ]; do usleep 20000; done"
    ))?;
    let pulled = dump(machine)?;
    machine
        .world()?
        .cable()
        .control()
        .set_link(control::Link::Up)?;
    machine.wait_for_link()?;
    ensure!(field(&pulled, "Link Status")? == "down");
    Ok(())
}

fn the_online_test_passes_between_frames(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    for _ in 0..3 {
        traffic(machine)?;
        let text = machine.sh(&format!("ethtool -t {INTERFACE} online"))?;
        let results: Vec<_> = text.lines().filter(|line| line.contains("line)")).collect();
        ensure!(
            text.contains("PASS")
                && results.len() == 5
                && results.iter().all(|line| line.ends_with(" 0")),
            "{text}"
        );
        // It leaves the link as it is.
        let carrier = machine.sh(&format!("cat /sys/class/net/{INTERFACE}/carrier"))?;
        ensure!(carrier.trim() == "1", "the link is gone");
    }
    traffic(machine)
}

/// The driver knows by the subsystem id which boards have wake-up; ours is one that has not. See
/// [`super::suspend`] for one that has.
fn no_wake_up_is_offered_for_a_board_without_it(machine: &mut Machine) -> Result<()> {
    let settings = machine.sh(&format!(
        "! ethtool -s {INTERFACE} wol g 2>/dev/null && ethtool {INTERFACE}"
    ))?;
    ensure!(field(&settings, "Supports Wake-on")? == "d", "{settings}");
    ensure!(field(&settings, "Wake-on")? == "d", "{settings}");
    Ok(())
}
