//! The link under Linux: flow control, and what a person sees of the port.

use anyhow::{Result, ensure};
use guest_tests::{cable::Cable, linux_world::INTERFACE};

use super::{
    life::field,
    machine::{self, Machine, Test},
};

/// The tests.
pub const TESTS: &[Test] = tests![
    flow_control_is_shown_and_changed,
    pause_frames_count_while_flow_control_is_on,
    the_identifying_led_blinks_and_is_as_before_afterwards,
    the_link_goes_down_and_up_many_times,
];

/// A PAUSE frame for no time at all (IEEE 802.3 annex 31B).
fn xon() -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[0x01, 0x80, 0xC2, 0, 0, 1]);
    frame[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 1]);
    frame[12..16].copy_from_slice(&[0x88, 0x08, 0, 1]);
    frame
}

fn set(machine: &mut Machine, flow_control: &str) -> Result<()> {
    machine.sh(&format!(
        "ethtool -A {INTERFACE} rx {flow_control} tx {flow_control}"
    ))?;
    // The driver restarts the link.
    machine::load(machine.world()?)
}

fn flow_control_is_shown_and_changed(machine: &mut Machine) -> Result<()> {
    for state in ["off", "on"] {
        set(machine, state)?;
        let shown = machine.sh(&format!("ethtool -a {INTERFACE}"))?;
        ensure!(field(&shown, "RX")? == state, "{shown}");
        ensure!(field(&shown, "TX")? == state, "{shown}");
    }
    Ok(())
}

fn pause_frames_count_while_flow_control_is_on(machine: &mut Machine) -> Result<()> {
    const COUNTER: &str = "rx_flow_control_xon";
    let mut counted = Vec::new();
    for state in ["off", "on"] {
        set(machine, state)?;
        let before = machine.world()?.statistics()?;
        machine.world()?.cable().put(&[xon(), xon(), xon()])?;
        // The driver reads the card's counters at every other second.
        machine.sh("sleep 3")?;
        let after = machine.world()?.statistics()?;
        counted.push(
            after.get(COUNTER).copied().unwrap_or(0) - before.get(COUNTER).copied().unwrap_or(0),
        );
    }
    ensure!(counted == [0, 3], "{COUNTER} grew by {counted:?}");
    Ok(())
}

fn the_identifying_led_blinks_and_is_as_before_afterwards(machine: &mut Machine) -> Result<()> {
    let text = machine.sh(&format!(
        "led() {{ ethtool -d {INTERFACE} | awk '/LEDCTL/ {{ print $NF }}'; }}
         before=$(led); ethtool -p {INTERFACE} &
         until [ \"$(led)\" != $before ]; do usleep 20000; done; echo changed
         kill $!; wait; [ \"$(led)\" = $before ] && echo as before"
    ))?;
    ensure!(text == "changed\nas before\n", "{text}");
    let before = turned_on(machine)?;
    machine.sh(&format!("ethtool -p {INTERFACE} 2"))?;
    let turned_on = turned_on(machine)? - before;
    // On and off twice in each of two seconds.
    ensure!(turned_on == 4, "{turned_on} times");
    Ok(())
}

/// How often the driver has turned an LED on, as the control socket shows it. Which one it takes depends on whether it
/// has reset the card since it was loaded.
fn turned_on(machine: &mut Machine) -> Result<u64> {
    let leds = machine.world()?.cable().control().leds()?;
    Ok(leds.iter().map(|led| led.turned_on).sum())
}

fn the_link_goes_down_and_up_many_times(machine: &mut Machine) -> Result<()> {
    for _ in 0..5 {
        for (state, carrier) in [(control::Link::Down, 0), (control::Link::Up, 1)] {
            machine.world()?.cable().control().set_link(state)?;
            machine.sh(&format!(
                "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = {carrier} ]; do usleep 20000; done"
            ))?;
        }
    }
    let settings = machine.sh(&format!("ethtool {INTERFACE}"))?;
    ensure!(field(&settings, "Speed")? == "10000Mb/s", "{settings}");
    Ok(())
}
