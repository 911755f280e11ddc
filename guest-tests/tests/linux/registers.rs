//! What the driver touches of the card: asked of the server's log at the end of the machine's life.

use anyhow::{Result, ensure};
use guest_tests::linux_world::INTERFACE;

use super::machine::{Machine, Test};

pub const TESTS: &[Test] = tests![no_register_that_the_driver_touches_is_missing];

fn no_register_that_the_driver_touches_is_missing(machine: &mut Machine) -> Result<()> {
    // Reads what nothing else of the driver's does; also registers of the 82598, of which this card has none.
    machine.sh(&format!("ethtool -d {INTERFACE} >/dev/null"))?;

    let missing = machine.world()?.server().missing_registers()?;

    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}
