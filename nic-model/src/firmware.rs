//! Semaphores between drivers and firmware (10.5.4). There is no firmware: it never holds one.

use ixgbe_spec::register::{Reg, bits::swsm};

use crate::regs::RegisterFile;

/// Reads a register of the firmware chapter. A read of SWSM takes the semaphore SMBI.
pub(crate) fn read(reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
    let value = regs.read(reg, index);
    if reg == Reg::SWSM {
        regs.set(reg, index, value | swsm::SMBI);
    }
    value
}

/// Software has written a register of the firmware chapter; `value` is what it wrote.
pub(crate) fn written(reg: Reg, value: u32, regs: &mut RegisterFile) {
    if reg == Reg::SWSM {
        regs.set(reg, 0, value & swsm::STORED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reader_of_swsm_takes_smbi_and_a_written_zero_gives_it_back() {
        let mut regs = RegisterFile::default();
        assert_eq!(read(Reg::SWSM, 0, &mut regs), 0);
        assert_eq!(read(Reg::SWSM, 0, &mut regs), 1);
        written(Reg::SWSM, 0, &mut regs);
        assert_eq!(read(Reg::SWSM, 0, &mut regs), 0);
    }

    #[test]
    fn swesmbi_sticks_for_there_is_no_firmware_that_holds_it() {
        let mut regs = RegisterFile::default();
        written(Reg::SWSM, 0x3, &mut regs);
        assert_eq!(read(Reg::SWSM, 0, &mut regs) & 0x2, 0x2);
    }
}
