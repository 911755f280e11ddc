//! The function on its bus, as `lspci -vvv` shows it, and errors of the hardware under Linux.
//!
//! What is expected of `lspci` are lines of public listings of an X520, less what a root port of QEMU decides. QEMU takes
//! ARI and SR-IOV out of the list of capabilities.

use anyhow::{Context, Result, ensure};
use control::HardwareError;
use guest_tests::linux_world::INTERFACE;
use nic_model::BusError;

use super::{
    machine::{Machine, Test},
    module::wait_for_carrier,
};

/// The tests.
pub const TESTS: &[Test] = tests![
    lspci_shows_what_it_shows_of_an_x520,
    errors_of_the_bus_are_shown_and_cleared,
    the_driver_resets_the_card_after_an_ecc_error,
];

/// Listings of a card. Letters of the state of drivers and links are left out.
const LISTING: &[&str] = &[
    "Ethernet controller: Intel Corporation 82599ES 10-Gigabit SFI/SFP+ Network Connection (rev 01)",
    "Subsystem: Intel Corporation",
    "(64-bit, prefetchable) [size=512K]",
    "[size=32]",
    "(64-bit, prefetchable) [size=16K]",
    "Expansion ROM at ",
    "[disabled] [size=512K]",
    "Capabilities: [40] Power Management version 3",
    "Flags: PMEClk- DSI+ D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold-)",
    "Status: D0 NoSoftRst- PME-Enable- DSel=0 DScale=1 PME-",
    "Capabilities: [50] MSI: Enable- Count=1/1 Maskable+ 64bit+",
    "Capabilities: [70] MSI-X: Enable+ Count=64 Masked-",
    "Vector table: BAR=4 offset=00000000",
    "PBA: BAR=4 offset=00002000",
    "Capabilities: [a0] Express (v2) Endpoint,",
    "MaxPayload 512 bytes, PhantFunc 0, Latency L0s <512ns, L1 <64us",
    "ExtTag- AttnBtn- AttnInd- PwrInd- RBE+ FLReset+",
    "Speed 5GT/s, Width x8, ASPM L0s, Exit Latency L0s <1us",
    "Completion Timeout: Range ABCD, TimeoutDis+",
    "Capabilities: [e0] Vital Product Data",
    "Product Name: ",
    "[PN] Part number: ",
    "[SN] Serial number: ",
    "[RV] Reserved: checksum good,",
    "[RW] Read-write area: 61 byte(s) free",
    "Capabilities: [100 v1] Advanced Error Reporting",
    "UESta:\tDLP- SDES- TLP- FCP- CmpltTO- CmpltAbrt- UnxCmplt- RxOF- MalfTLP-",
    "UESvrt:\tDLP+ SDES- TLP- FCP+ CmpltTO- CmpltAbrt- UnxCmplt- RxOF+ MalfTLP+",
    "ECRCGenCap+ ECRCGenEn- ECRCChkCap+ ECRCChkEn-",
    "HeaderLog: 00000000 00000000 00000000 00000000",
    "Capabilities: [140 v1] Device Serial Number",
];

fn listing(machine: &mut Machine) -> Result<String> {
    machine.sh("lspci -vvv -s 01:00.0")
}

/// The line of a listing that begins with `name`.
fn line<'a>(listing: &'a str, name: &str) -> Result<&'a str> {
    let mut lines = listing.lines().map(str::trim);
    lines
        .find(|line| line.starts_with(name))
        .with_context(|| format!("no {name} in\n{listing}"))
}

fn lspci_shows_what_it_shows_of_an_x520(machine: &mut Machine) -> Result<()> {
    let shown = listing(machine)?;
    for expected in LISTING {
        ensure!(shown.contains(expected), "no `{expected}` in\n{shown}");
    }
    // QEMU leaves them out of the list; they lie where the card has them.
    let hidden = machine.sh("setpci -s 01:00.0 150.L 160.L 16c.L 178.L")?;
    let hidden: Vec<_> = hidden.split_whitespace().collect();
    ensure!(
        hidden == ["1601000e", "00010010", "00400040", "10ed0000"],
        "{hidden:?}"
    );
    Ok(())
}

fn errors_of_the_bus_are_shown_and_cleared(machine: &mut Machine) -> Result<()> {
    for error in [BusError::PoisonedTlp, BusError::BadTlp] {
        let control = machine.world()?.cable().control();
        control.inject_error(HardwareError::Bus(error))?;
    }
    let shown = listing(machine)?;
    let uncorrectable = line(&shown, "UESta:")?;
    ensure!(uncorrectable.contains(" TLP+ "), "{uncorrectable}");
    let correctable = line(&shown, "CESta:")?;
    ensure!(correctable.contains(" BadTLP+ "), "{correctable}");
    let log = line(&shown, "HeaderLog:")?;
    ensure!(log.starts_with("HeaderLog: 40000001"), "{log}");
    let pointer = line(&shown, "AERCap:")?;
    ensure!(pointer.contains("First Error Pointer: 0c"), "{pointer}");

    machine.sh("setpci -s 01:00.0 104.L=ffffffff 110.L=ffffffff aa.W=f 6.W=f900")?;
    let shown = listing(machine)?;
    ensure!(line(&shown, "UESta:")?.contains(" TLP- "), "{shown}");
    ensure!(line(&shown, "CESta:")?.contains(" BadTLP- "), "{shown}");
    ensure!(
        line(&shown, "DevSta:")?.starts_with("DevSta:\tCorrErr- NonFatalErr-"),
        "{shown}"
    );
    ensure!(line(&shown, "Status:")?.contains("<PERR-"), "{shown}");
    Ok(())
}

fn the_driver_resets_the_card_after_an_ecc_error(machine: &mut Machine) -> Result<()> {
    let place = machine.place()?;
    let control = machine.world()?.cable().control();
    control.inject_error(HardwareError::ReceiveEcc)?;
    machine.wait_until_said(&place, "Received ECC Err, initiating reset")?;
    machine.wait_until_said(&place, "NIC Link is Up")?;
    wait_for_carrier(machine, 1)?;
    let statistics = machine.sh(&format!(
        "ethtool -t {INTERFACE} online; ethtool {INTERFACE}"
    ))?;
    ensure!(statistics.contains("Link detected: yes"), "{statistics}");
    // The driver has told of the reset as an error, which it was.
    machine.mark("after the ECC error")
}
