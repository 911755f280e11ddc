//! What the PMD touches of the card: asked of the server's log after all else.

use anyhow::{Result, ensure};

use super::{Test, machine::Machine};

pub const TESTS: &[Test] = tests![no_register_that_the_pmd_touches_is_missing];

fn no_register_that_the_pmd_touches_is_missing(machine: &mut Machine) -> Result<()> {
    let missing = machine.server()?.missing_registers()?;

    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}
