//! The module in the cage under Linux: what `ethtool -m` shows, and modules that come and go while the NIC runs.

use anyhow::{Result, ensure};
use control::Module;
use guest_tests::linux_world::INTERFACE;

use super::{
    life::field,
    machine::{self, Machine, Test},
};

/// The tests.
pub const TESTS: &[Test] = tests![
    a_module_that_is_drawn_takes_the_link_down_and_another_brings_it_up,
    a_module_in_place_of_another_is_a_link_that_goes_and_comes,
    every_module_is_identified_and_shown,
    the_diagnostics_of_an_optical_module_are_shown,
    a_gigabit_module_has_a_link_of_1000_full,
    a_module_of_both_speeds_follows_what_is_advertised,
    the_driver_loads_without_a_module_and_finds_one_later,
];

/// Changes the module and waits until the driver has identified it, which the kernel's log tells.
pub fn plug(machine: &mut Machine, module: Module) -> Result<()> {
    const SEEN: &str = "dmesg | grep -c 'detected SFP+'";
    let before = machine.sh(&format!("{SEEN} || true"))?;
    machine.world()?.cable().control().set_module(module)?;
    machine.sh(&format!(
        "until [ \"$({SEEN})\" != {} ]; do usleep 20000; done",
        before.trim()
    ))?;
    Ok(())
}

/// Draws the module.
pub fn draw(machine: &mut Machine) -> Result<()> {
    let control = machine.world()?.cable().control();
    Ok(control.set_module(Module::Absent)?)
}

/// Waits until the driver has (1) or has not (0) a carrier.
pub fn wait_for_carrier(machine: &mut Machine, carrier: u8) -> Result<()> {
    machine.sh(&format!(
        "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = {carrier} ]; do usleep 20000; done"
    ))?;
    Ok(())
}

fn shown(machine: &mut Machine) -> Result<String> {
    machine.sh(&format!("ethtool -m {INTERFACE}"))
}

fn a_module_that_is_drawn_takes_the_link_down_and_another_brings_it_up(
    machine: &mut Machine,
) -> Result<()> {
    draw(machine)?;
    wait_for_carrier(machine, 0)?;
    let log = machine.sh("dmesg | tail -n 20")?;
    ensure!(log.contains("NIC Link is Down"), "{log}");
    plug(machine, Module::Lr)?;
    wait_for_carrier(machine, 1)?;
    let module = shown(machine)?;
    ensure!(field(&module, "Vendor PN")? == "E10GSFPLR", "{module}");
    plug(machine, Module::Sr)?;
    wait_for_carrier(machine, 1)
}

fn a_module_in_place_of_another_is_a_link_that_goes_and_comes(machine: &mut Machine) -> Result<()> {
    const GONE: &str = "dmesg | grep -c 'NIC Link is Down'";
    for module in [Module::Lr, Module::Sr] {
        let before = machine.sh(&format!("{GONE} || true"))?;
        plug(machine, module)?;
        machine.sh(&format!(
            "until [ \"$({GONE})\" != {} ]; do usleep 20000; done",
            before.trim()
        ))?;
        wait_for_carrier(machine, 1)?;
    }
    Ok(())
}

fn every_module_is_identified_and_shown(machine: &mut Machine) -> Result<()> {
    for (module, name, value) in [
        (Module::DirectAttachPassive, "Passive Cu cmplnce.", "0x01"),
        (Module::DirectAttachActive, "Active Cu cmplnce.", "0x04"),
        (Module::BaseT, "Length (Copper or Active cable)", "100m"),
        (Module::Sx, "Laser wavelength", "850nm"),
        (Module::Lr, "Laser wavelength", "1310nm"),
        (Module::Sr, "Laser wavelength", "850nm"),
    ] {
        plug(machine, module)?;
        let text = shown(machine)?;
        let seen = field(&text, name)?;
        ensure!(
            seen.starts_with(value),
            "{module}: {name} is {seen}\n{text}"
        );
        ensure!(field(&text, "Vendor name")? == "Intel Corp", "{text}");
    }
    wait_for_carrier(machine, 1)
}

fn the_diagnostics_of_an_optical_module_are_shown(machine: &mut Machine) -> Result<()> {
    let control = machine.world()?.cable().control();
    control.set_module(Module::Sr)?;
    wait_for_carrier(machine, 1)?;
    let with_light = shown(machine)?;
    let temperature = field(&with_light, "Module temperature")?;
    ensure!(temperature.starts_with("35.00 degrees C"), "{temperature}");
    let voltage = field(&with_light, "Module voltage")?;
    ensure!(voltage.starts_with("3.3"), "{voltage}");
    let power = |text: &str| -> Result<String> {
        Ok(field(text, "Receiver signal average optical power")?.to_owned())
    };
    ensure!(power(&with_light)?.starts_with("0.5000 mW"), "{with_light}");

    let pulled = {
        let control = machine.world()?.cable().control();
        control.set_link(control::Link::Down)?;
        wait_for_carrier(machine, 0)?;
        shown(machine)?
    };
    let control = machine.world()?.cable().control();
    control.set_link(control::Link::Up)?;
    wait_for_carrier(machine, 1)?;
    ensure!(power(&pulled)?.starts_with("0.0001 mW"), "{pulled}");
    let alarm = field(&pulled, "Laser rx power low alarm")?;
    ensure!(alarm == "On", "{pulled}");
    Ok(())
}

fn a_gigabit_module_has_a_link_of_1000_full(machine: &mut Machine) -> Result<()> {
    for module in [Module::Sx, Module::BaseT] {
        plug(machine, module)?;
        wait_for_carrier(machine, 1)?;
        let settings = machine.sh(&format!("ethtool {INTERFACE}"))?;
        ensure!(field(&settings, "Speed")? == "1000Mb/s", "{settings}");
        ensure!(field(&settings, "Duplex")? == "Full", "{settings}");
    }
    plug(machine, Module::Sr)?;
    wait_for_carrier(machine, 1)?;
    let settings = machine.sh(&format!("ethtool {INTERFACE}"))?;
    ensure!(field(&settings, "Speed")? == "10000Mb/s", "{settings}");
    Ok(())
}

fn a_module_of_both_speeds_follows_what_is_advertised(machine: &mut Machine) -> Result<()> {
    // Bits of the link modes 1000baseT/Full and 10000baseT/Full.
    const GIGABIT: &str = "0x20";
    const TEN_GIGABIT: &str = "0x1000";
    plug(machine, Module::SrDualRate)?;
    wait_for_carrier(machine, 1)?;
    for (advertised, speed) in [(GIGABIT, "1000Mb/s"), (TEN_GIGABIT, "10000Mb/s")] {
        machine.sh(&format!(
            "ethtool -s {INTERFACE} advertise {advertised}
             until ethtool {INTERFACE} | grep -q 'Speed: {speed}'; do usleep 100000; done"
        ))?;
        wait_for_carrier(machine, 1)?;
    }
    machine.sh(&format!("ethtool -s {INTERFACE} advertise 0x1020"))?;
    plug(machine, Module::Sr)?;
    wait_for_carrier(machine, 1)
}

fn the_driver_loads_without_a_module_and_finds_one_later(machine: &mut Machine) -> Result<()> {
    machine.sh(&format!("ip link set {INTERFACE} down; rmmod ixgbe"))?;
    draw(machine)?;
    machine.sh(&format!(
        "modprobe ixgbe && ip link set {INTERFACE} up && [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 0 ]"
    ))?;
    plug(machine, Module::Sr)?;
    wait_for_carrier(machine, 1)?;
    machine::load(machine.world()?)
}
