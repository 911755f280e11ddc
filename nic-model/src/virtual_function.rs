//! Virtual functions as the physical one sees them: their resets and their causes (7.10.2, 8.2.3.27, 8.3).
//!
//! The VFs are functions that no client can reach, so their end is there as the PF sees it, as with the mailbox: what a VF
//! would write and read is written and read at VTCTRL, VTEICR, VTEICS, VTEIMS, VTEIMC and VTEIAM. With them a test of a
//! PF's driver plays the VFs. There is no function whose vectors the causes could signal.
//!
//! The reset of a VF closes its pool (PFVFRE, PFVFTE) and shows in PFVFLRE until the PF clears it there (PFVFLREC); the
//! PF hears of it by the cause EICR.MAILBOX, after which drivers look for both.

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, vtctrl},
};

use crate::{interrupt::Interrupts, mailbox, regs::RegisterFile};

/// VFs in an element of PFVFLRE, PFVFLREC, PFVFRE and PFVFTE.
const VFS_OF_AN_ELEMENT: usize = 32;

/// Software reads a register of virtualisation.
pub(crate) fn read(reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
    match reg {
        Reg::VTEICR => {
            let causes = regs.get(reg, index);
            clear_causes(index, causes, regs);
            causes
        }
        _ => mailbox::read(reg, index, regs),
    }
}

/// Software has written a register of virtualisation.
pub(crate) fn written(
    reg: Reg,
    index: usize,
    value: u32,
    regs: &mut RegisterFile,
    irq: &mut Interrupts,
) {
    let write_mask = reg.row().write_mask;
    match reg {
        Reg::VTCTRL if value & vtctrl::RST != 0 => {
            reset(index, regs);
            let (element, bit) = place(index);
            let told = regs.get(Reg::PFVFLRE, element) | bit;
            regs.set(Reg::PFVFLRE, element, told);
            irq.other(regs, eicr::MAILBOX);
        }
        Reg::PFVFLREC => {
            let left = regs.get(Reg::PFVFLRE, index) & !value;
            regs.set(Reg::PFVFLRE, index, left);
        }
        Reg::VTEICR => clear_causes(index, value, regs),
        Reg::VTEICS => {
            let causes = regs.get(Reg::VTEICR, index) | value & write_mask;
            regs.set(Reg::VTEICR, index, causes);
        }
        Reg::VTEIMS => {
            let mask = regs.get(Reg::VTEIMS, index) | value & write_mask;
            regs.set(Reg::VTEIMS, index, mask);
        }
        Reg::VTEIMC => {
            let mask = regs.get(Reg::VTEIMS, index) & !value;
            regs.set(Reg::VTEIMS, index, mask);
        }
        _ => mailbox::written(reg, index, value, regs, irq),
    }
}

/// The VFs, so many, are no longer enabled in configuration space: nothing of them is left. The pools behind theirs are
/// the PF's.
pub(crate) fn are_gone(vfs: usize, regs: &mut RegisterFile) {
    (0..vfs.min(Reg::VTCTRL.count())).for_each(|vf| reset(vf, regs));
    regs.reset(Reg::PFVFLRE);
}

/// What the reset of a VF does to its registers and its pool.
fn reset(vf: usize, regs: &mut RegisterFile) {
    for reg in [
        Reg::VTEICR,
        Reg::VTEIMS,
        Reg::VTEIAC,
        Reg::VTEIAM,
        Reg::VTIVAR,
        Reg::VTIVAR_MISC,
    ] {
        regs.set(reg, vf, reg.row().reset);
    }
    let (element, bit) = place(vf);
    for enables in [Reg::PFVFRE, Reg::PFVFTE] {
        let others = regs.get(enables, element) & !bit;
        regs.set(enables, element, others);
    }
}

/// Causes are cleared; those that VTEIAM names are masked.
fn clear_causes(vf: usize, causes: u32, regs: &mut RegisterFile) {
    let left = regs.get(Reg::VTEICR, vf) & !causes;
    regs.set(Reg::VTEICR, vf, left);
    let masked = causes & regs.get(Reg::VTEIAM, vf);
    let mask = regs.get(Reg::VTEIMS, vf) & !masked;
    regs.set(Reg::VTEIMS, vf, mask);
}

/// The element and the bit of a VF.
const fn place(vf: usize) -> (usize, u32) {
    (vf / VFS_OF_AN_ELEMENT, 1 << (vf % VFS_OF_AN_ELEMENT))
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;

    use crate::port::tests::world::World;

    const MAILBOX: u32 = 1 << 19;
    const RST: u32 = 1 << 26;
    /// In the SR-IOV capability.
    const CONTROL: u16 = 0x168;
    const NUM_VFS: u16 = 0x170;

    #[test]
    fn the_reset_of_a_vf_is_told_and_closes_its_pool_until_the_pf_has_seen_it() {
        let mut world = World::enabled();
        for enables in [Reg::PFVFRE, Reg::PFVFTE] {
            world.set_at(enables, 1, u32::MAX);
        }
        world.set_at(Reg::VTEIMS, 37, 7);

        world.set_at(Reg::VTCTRL, 37, RST);
        let cause = world.get(Reg::EICR) & MAILBOX;
        let told = [0, 1].map(|element| world.get_at(Reg::PFVFLRE, element));
        world.set_at(Reg::PFVFLREC, 1, 1 << 6);
        let still = world.get_at(Reg::PFVFLRE, 1);
        world.set_at(Reg::PFVFLREC, 1, 1 << 5);

        assert_eq!(cause, MAILBOX);
        assert_eq!(told, [0, 1 << 5]);
        assert_eq!(still, 1 << 5, "VF 38 is another");
        assert_eq!(world.get_at(Reg::PFVFLRE, 1), 0);
        assert_eq!(world.get_at(Reg::PFVFRE, 1), !(1 << 5));
        assert_eq!(world.get_at(Reg::PFVFTE, 1), !(1 << 5));
        assert_eq!(world.get_at(Reg::VTEIMS, 37), 0);
    }

    #[test]
    fn the_causes_of_a_vf_are_set_read_once_and_masked_by_themselves() {
        let mut world = World::enabled();
        world.set_at(Reg::VTEIMS, 5, 0b111);
        world.set_at(Reg::VTEIMC, 5, 0b001);
        world.set_at(Reg::VTEIAM, 5, 0b010);
        let before = world.get_at(Reg::VTEIMS, 5);

        world.set_at(Reg::VTEICS, 5, 0b011);
        let causes = world.get_at(Reg::VTEICR, 5);

        assert_eq!(before, 0b110);
        assert_eq!(causes, 0b011);
        assert_eq!(world.get_at(Reg::VTEICR, 5), 0);
        assert_eq!(world.get_at(Reg::VTEIMS, 5), 0b100);
        assert_eq!(world.get_at(Reg::VTEIMS, 4), 0, "another VF");
    }

    #[test]
    fn a_written_one_clears_a_cause_of_a_vf() {
        let mut world = World::enabled();
        world.set_at(Reg::VTEICS, 63, 0b111);

        world.set_at(Reg::VTEICR, 63, 0b101);

        assert_eq!(world.get_at(Reg::VTEICR, 63), 0b010);
    }

    #[test]
    fn with_vf_enable_cleared_nothing_is_left_of_the_vfs() {
        let mut world = World::enabled();
        world.config_write16(NUM_VFS, 8);
        world.config_write16(CONTROL, 0x0001);
        world.set_at(Reg::PFVFRE, 0, 0x1FF);
        world.set_at(Reg::VTEIMS, 2, 7);
        world.set_at(Reg::VTCTRL, 3, RST);

        world.config_write16(CONTROL, 0);

        assert_eq!(world.get_at(Reg::PFVFLRE, 0), 0);
        assert_eq!(world.get_at(Reg::VTEIMS, 2), 0);
        assert_eq!(world.get_at(Reg::PFVFRE, 0), 0x100, "the PF's own pool");
    }
}
