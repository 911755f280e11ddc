//! The link as the PMD sees it, by interrupt: INTx under uio_pci_generic, MSI-X or MSI under vfio-pci.

use anyhow::{Result, ensure};
use guest_tests::cable::{Cable, Plug};

use super::{
    Test,
    machine::{KernelDriver, Machine},
};

pub const TESTS: &[Test] = tests![
    the_link_goes_and_comes_with_an_interrupt_under_uio,
    the_link_goes_and_comes_with_an_interrupt_under_vfio,
    the_link_goes_and_comes_with_an_interrupt_by_msi,
];

fn the_link_goes_and_comes_with_an_interrupt_under_uio(machine: &mut Machine) -> Result<()> {
    link(machine, KernelDriver::UioPciGeneric, "", "uio_pci_generic")
}

fn the_link_goes_and_comes_with_an_interrupt_under_vfio(machine: &mut Machine) -> Result<()> {
    link(machine, KernelDriver::VfioPci, "", "vfio-msix[0]")
}

fn the_link_goes_and_comes_with_an_interrupt_by_msi(machine: &mut Machine) -> Result<()> {
    link(
        machine,
        KernelDriver::VfioPci,
        "--vfio-intr=msi",
        "vfio-msi[0]",
    )
}

/// Pulls the cable and puts it in again; `interrupt` is the name of the interrupt in the kernel's list.
fn link(machine: &mut Machine, driver: KernelDriver, eal: &str, interrupt: &str) -> Result<()> {
    let (mut testpmd, mut cable) = machine.testpmd(driver, eal, "")?;
    let interrupts = testpmd.sh("cat /proc/interrupts")?;
    ensure!(interrupts.contains(interrupt), "{interrupts}");
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
