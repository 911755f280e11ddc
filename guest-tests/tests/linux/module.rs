//! The module in the cage under Linux: what `ethtool -m` shows, and modules that come and go while the NIC runs.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use control::Module;
use guest_tests::linux_world::INTERFACE;

use super::{
    life::field,
    machine::{self, LIMIT, Machine, Test},
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
    let place = machine.place()?;
    machine.world()?.cable().control().set_module(module)?;
    machine.wait_until_said(&place, "detected SFP+")
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

/// What `ethtool` shows of the module. The driver says that it is busy for as long as it sets the module up, which it goes
/// on with after it has told which one it is.
fn shown(machine: &mut Machine) -> Result<String> {
    let begun = Instant::now();
    loop {
        let guest = machine.world()?.guest();
        let output = guest.run(&format!("ethtool -m {INTERFACE}"), LIMIT)?;
        if output.status == 0 {
            return Ok(output.stdout);
        }
        let busy = output.stderr.contains("Device or resource busy");
        ensure!(busy && begun.elapsed() < LIMIT, "{output:?}");
    }
}

/// Waits until `ethtool` shows this link: a module that takes the place of another may leave the carrier as it is.
fn wait_for_speed(machine: &mut Machine, speed: &str) -> Result<()> {
    machine.sh(&format!(
        "until ethtool {INTERFACE} | grep -q 'Speed: {speed}'; do usleep 100000; done"
    ))?;
    wait_for_carrier(machine, 1)
}

fn a_module_that_is_drawn_takes_the_link_down_and_another_brings_it_up(
    machine: &mut Machine,
) -> Result<()> {
    let place = machine.place()?;
    draw(machine)?;
    machine.wait_until_said(&place, "NIC Link is Down")?;
    wait_for_carrier(machine, 0)?;
    plug(machine, Module::Lr)?;
    wait_for_carrier(machine, 1)?;
    let module = shown(machine)?;
    ensure!(field(&module, "Vendor PN")? == "E10GSFPLR", "{module}");
    plug(machine, Module::Sr)?;
    wait_for_carrier(machine, 1)
}

fn a_module_in_place_of_another_is_a_link_that_goes_and_comes(machine: &mut Machine) -> Result<()> {
    // The interrupts of a link that has changed. A driver that gets no processor meanwhile finds it up again.
    const CHANGES: &str = "lsc_int";
    for module in [Module::Lr, Module::Sr] {
        let statistics = machine.world()?.statistics()?;
        let before = statistics.get(CHANGES).context("no such counter")?;
        plug(machine, module)?;
        machine.sh(&format!(
            "until ethtool -S {INTERFACE} | awk '$1 == \"{CHANGES}:\" && $2 > {before} {{ ok = 1 }} END {{ exit !ok }}'
             do usleep 20000; done"
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
        wait_for_speed(machine, "1000Mb/s")?;
        let settings = machine.sh(&format!("ethtool {INTERFACE}"))?;
        ensure!(field(&settings, "Duplex")? == "Full", "{settings}");
    }
    plug(machine, Module::Sr)?;
    wait_for_speed(machine, "10000Mb/s")
}

fn a_module_of_both_speeds_follows_what_is_advertised(machine: &mut Machine) -> Result<()> {
    // Bits of the link modes 1000baseT/Full and 10000baseT/Full.
    const GIGABIT: &str = "0x20";
    const TEN_GIGABIT: &str = "0x1000";
    plug(machine, Module::SrDualRate)?;
    wait_for_carrier(machine, 1)?;
    for (advertised, speed) in [(GIGABIT, "1000Mb/s"), (TEN_GIGABIT, "10000Mb/s")] {
        machine.sh(&format!("ethtool -s {INTERFACE} advertise {advertised}"))?;
        wait_for_speed(machine, speed)?;
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
