//! From power-on to a card that is ready for its rings (4.6.3).

use std::time::Duration;

use ixgbe_spec::register::Reg;

use crate::{Device, DriverError};

const CTRL_GIO_DIS: u32 = 1 << 2;
const CTRL_RST: u32 = 1 << 26;
const STATUS_GIO: u32 = 1 << 19;
const EEC_ARD: u32 = 1 << 9;
const RDRXCTL_DMAIDONE: u32 = 1 << 3;
const LINKS_UP: u32 = 1 << 30;
const EERD_START: u32 = 1;
const EERD_DONE: u32 = 1 << 1;
const COMMAND: u16 = 0x04;
const COMMAND_MEMORY_AND_BUS_MASTER: u16 = 0x0006;
const NVM_CHECKSUM: u16 = 0xBABA;

/// Waits until `register & mask == value`, at most 100 ms of the card's time.
pub(crate) fn wait_for(
    device: &mut dyn Device,
    (register, index): (Reg, usize),
    mask: u32,
    value: u32,
    what: &'static str,
) -> Result<(), DriverError> {
    let mut left = Duration::from_millis(100);
    loop {
        if device.read(register.offset(index))? & mask == value {
            return Ok(());
        }
        if left.is_zero() {
            return Err(DriverError::Timeout(what));
        }
        left = left.saturating_sub(device.pass(left.min(Duration::from_millis(1)))?);
    }
}

/// Turns on memory decode and bus mastering, masks interrupts and resets the card (4.6.3.1, 4.6.3.2).
pub(crate) fn reset(device: &mut dyn Device) -> Result<(), DriverError> {
    let mut command = [0; 2];
    device.config_read(COMMAND, &mut command)?;
    let command = u16::from_le_bytes(command) | COMMAND_MEMORY_AND_BUS_MASTER;
    device.config_write(COMMAND, &command.to_le_bytes())?;
    device.write(Reg::EIMC.offset(0), u32::MAX)?;
    // Nothing of an earlier driver may be under way then (5.2.5.3.2).
    device.write(Reg::CTRL.offset(0), CTRL_GIO_DIS)?;
    wait_for(device, (Reg::STATUS, 0), STATUS_GIO, 0, "master disable")?;
    device.write(Reg::CTRL.offset(0), CTRL_RST)?;
    device.pass(Duration::from_millis(1))?;
    wait_for(device, (Reg::CTRL, 0), CTRL_RST, 0, "reset")?;
    device.write(Reg::EIMC.offset(0), u32::MAX)?;
    wait_for(device, (Reg::EEC, 0), EEC_ARD, EEC_ARD, "NVM auto-read")?;
    let dma_done = RDRXCTL_DMAIDONE;
    wait_for(
        device,
        (Reg::RDRXCTL, 0),
        dma_done,
        dma_done,
        "DMA initialisation",
    )
}

/// Reads a word of the NVM (8.2.3.2.2).
pub(crate) fn nvm_word(device: &mut dyn Device, word: u16) -> Result<u16, DriverError> {
    device.write(Reg::EERD.offset(0), u32::from(word) << 2 | EERD_START)?;
    wait_for(device, (Reg::EERD, 0), EERD_DONE, EERD_DONE, "NVM read")?;
    let [_, _, low, high] = device.read(Reg::EERD.offset(0))?.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

/// Adds up the words that the checksum covers: 0x00 to 0x3F, and the sections that 0x03 to 0x0E point to (6.3.1).
pub(crate) fn check_nvm(device: &mut dyn Device) -> Result<(), DriverError> {
    let mut sum = 0_u16;
    for word in 0..0x40 {
        sum = sum.wrapping_add(nvm_word(device, word)?);
    }
    for pointer in 0x03..0x0F {
        let section = nvm_word(device, pointer)?;
        if matches!(section, 0 | 0xFFFF) {
            continue;
        }
        let len = nvm_word(device, section)?;
        if matches!(len, 0 | 0xFFFF) {
            continue;
        }
        for word in 1..=len {
            sum = sum.wrapping_add(nvm_word(device, section.wrapping_add(word))?);
        }
    }
    if sum == NVM_CHECKSUM {
        Ok(())
    } else {
        Err(DriverError::NvmChecksum(sum))
    }
}

/// The address that the card has loaded into its first receive address register (8.2.3.7.7).
pub(crate) fn mac_address(device: &mut dyn Device) -> Result<[u8; 6], DriverError> {
    let [a, b, c, d] = device.read(Reg::RAL.offset(0))?.to_le_bytes();
    let [e, f, ..] = device.read(Reg::RAH.offset(0))?.to_le_bytes();
    Ok([a, b, c, d, e, f])
}

/// Waits until the link is up (8.2.3.22.20).
pub(crate) fn wait_for_link(device: &mut dyn Device) -> Result<(), DriverError> {
    wait_for(device, (Reg::LINKS, 0), LINKS_UP, LINKS_UP, "link")
}
