//! A disk of one sector that ends QEMU: shows whether the firmware comes up, without a kernel.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{ForeignBoot, ForeignGuest, GuestConfig};
use crate::error::{Error, Result};

/// Port of QEMU's `isa-debug-exit`, which ends QEMU with twice the byte written there, and 1.
const PORT: u8 = 0xF4;
const BYTE: u8 = 0x21;
/// `mov al, BYTE; out PORT, al; hlt; jmp` back to the `hlt`.
const CODE: [u8; 7] = [0xB0, BYTE, 0xE6, PORT, 0xF4, 0xEB, 0xFD];
/// A disk of less is none for QEMU.
const SIZE: usize = 1 << 20;

/// A disk that a BIOS takes for one to boot from.
fn disk() -> Vec<u8> {
    let mut disk = CODE.to_vec();
    disk.resize(510, 0);
    disk.extend([0x55, 0xAA]);
    disk.resize(SIZE, 0);
    disk
}

/// Whether the firmware comes up within `limit` in a guest like `config`, and runs what is on a disk.
///
/// # Errors
/// The disk cannot be written.
pub(crate) fn firmware_boots(config: &GuestConfig, limit: Duration) -> Result<bool> {
    let path = config.logs().join("boot-sector");
    fs::write(&path, disk()).map_err(Error::path("write", &path))?;
    let exit = format!("isa-debug-exit,iobase={PORT:#x},iosize=1");
    let config = config.clone().with_arguments(["-device", &exit]);
    let Ok(mut guest) = ForeignGuest::start(&config, &ForeignBoot::Disk(path)) else {
        return Ok(false);
    };
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = guest.ended() {
            return Ok(status.code() == Some(2 * i32::from(BYTE) + 1));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_sector_ends_with_its_signature() {
        let disk = disk();

        assert_eq!(disk.get(510..513), Some(&[0x55, 0xAA, 0][..]));
        assert_eq!(disk.len(), SIZE);
    }
}
