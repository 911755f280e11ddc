//! The link as the PMD sees it, by interrupt: INTx under uio_pci_generic, MSI-X under vfio-pci.

use anyhow::{Result, ensure};
use guest_tests::cable::{Cable, Plug};

use super::{
    Test,
    machine::{KernelDriver, Machine},
};

pub const TESTS: &[Test] = tests![
    the_link_goes_and_comes_with_an_interrupt_under_uio,
    the_link_goes_and_comes_with_an_interrupt_under_vfio,
];

fn the_link_goes_and_comes_with_an_interrupt_under_uio(machine: &mut Machine) -> Result<()> {
    link(machine, KernelDriver::UioPciGeneric)
}

fn the_link_goes_and_comes_with_an_interrupt_under_vfio(machine: &mut Machine) -> Result<()> {
    link(machine, KernelDriver::VfioPci)
}

fn link(machine: &mut Machine, driver: KernelDriver) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(driver, "", "")?;
    testpmd.wait_until_said("show port info 0", "Link status: up")?;
    let at_start = testpmd.link_events()?;
    cable.plug(Plug::Out)?;
    // The PMD waits some seconds before it believes what its interrupt says.
    testpmd.wait_for_link_events(at_start + 1)?;
    testpmd.wait_until_said("show port info 0", "Link status: down")?;
    cable.plug(Plug::In)?;
    testpmd.wait_for_link_events(at_start + 2)?;
    let info = testpmd.command("show port info 0")?;
    ensure!(
        info.contains("Link status: up") && info.contains("Link speed: 10 Gbps"),
        "{info}"
    );
    Ok(())
}
