//! The mailbox between the physical function and its virtual ones (7.10.2.9, 8.2.3.27).
//!
//! For each VF there are 64 bytes of memory (PFMBMEM), a register on either side, and bits that the two ends set for each
//! other: who owns the memory, that there is a message, that it was read. The PF hears of it by the cause EICR.MAILBOX.
//!
//! The VFs are functions that no client can reach, so their end is there as the PF sees it: what a VF would write and read
//! is written and read at VFMAILBOX. There is no VF that an interrupt could tell of a message.

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, pfmailbox, pfmbicr, vfmailbox},
};

use crate::{interrupt::Interrupts, regs::RegisterFile};

/// VFs whose causes are in one element of PFMBICR.
const VFS_OF_PFMBICR: usize = 16;
/// VFs whose enable bits are in one element of PFMBIMR.
const VFS_OF_PFMBIMR: usize = 32;

/// Software reads a register of the mailbox: what a VF has been told of is told once.
pub(crate) fn read(reg: Reg, vf: usize, regs: &mut RegisterFile) -> u32 {
    let value = regs.read(reg, vf);
    if reg == Reg::VFMAILBOX {
        regs.set(reg, vf, value & !vfmailbox::READ_TO_CLEAR);
    }
    value
}

/// Software has written a register of the mailbox.
pub(crate) fn written(
    reg: Reg,
    index: usize,
    value: u32,
    regs: &mut RegisterFile,
    irq: &mut Interrupts,
) {
    match reg {
        Reg::PFMAILBOX => by_the_pf(index, value, regs),
        Reg::VFMAILBOX => by_the_vf(index, value, regs, irq),
        _ => {}
    }
}

/// The PF has come back from its reset (CTRL_EXT.PFRSTD): its VFs see it.
pub(crate) fn pf_is_back(regs: &mut RegisterFile) {
    for vf in 0..Reg::VFMAILBOX.count() {
        let tells = regs.get(Reg::VFMAILBOX, vf) & !vfmailbox::RSTI;
        regs.set(Reg::VFMAILBOX, vf, tells | vfmailbox::RSTD);
    }
}

fn by_the_pf(vf: usize, value: u32, regs: &mut RegisterFile) {
    let mut tells = regs.get(Reg::VFMAILBOX, vf);
    if value & pfmailbox::RVFU != 0 {
        tells &= !vfmailbox::VFU;
        let (element, bit) = (vf / VFS_OF_PFMBICR, 1 << (vf % VFS_OF_PFMBICR));
        let causes = regs.get(Reg::PFMBICR, element);
        let both = bit | bit << pfmbicr::VFACK_SHIFT;
        regs.set(Reg::PFMBICR, element, causes & !both);
    }
    if value & pfmailbox::STS != 0 {
        tells |= vfmailbox::PFSTS;
    }
    if value & pfmailbox::ACK != 0 {
        tells |= vfmailbox::PFACK;
    }
    if value & pfmailbox::PFU == 0 {
        tells &= !vfmailbox::PFU;
    } else if tells & vfmailbox::VFU == 0 {
        tells |= vfmailbox::PFU;
    }
    publish(vf, tells, regs);
}

fn by_the_vf(vf: usize, value: u32, regs: &mut RegisterFile, irq: &mut Interrupts) {
    let mut tells = regs.get(Reg::VFMAILBOX, vf);
    if value & vfmailbox::VFU == 0 {
        tells &= !vfmailbox::VFU;
    } else if tells & vfmailbox::PFU == 0 {
        tells |= vfmailbox::VFU;
    }
    publish(vf, tells, regs);
    let (element, bit) = (vf / VFS_OF_PFMBICR, 1 << (vf % VFS_OF_PFMBICR));
    let mut causes = 0;
    if value & vfmailbox::REQ != 0 {
        causes |= bit;
    }
    if value & vfmailbox::ACK != 0 {
        causes |= bit << pfmbicr::VFACK_SHIFT;
    }
    if causes != 0 {
        let pending = regs.get(Reg::PFMBICR, element) | causes;
        regs.set(Reg::PFMBICR, element, pending);
        let enabled = regs.get(Reg::PFMBIMR, vf / VFS_OF_PFMBIMR);
        if enabled >> (vf % VFS_OF_PFMBIMR) & 1 != 0 {
            irq.other(regs, eicr::MAILBOX);
        }
    }
}

/// Both ends see who owns the memory; what else stands in `tells` is for the VF alone.
fn publish(vf: usize, tells: u32, regs: &mut RegisterFile) {
    const OWNERS: u32 = vfmailbox::VFU | vfmailbox::PFU;
    regs.set(Reg::VFMAILBOX, vf, tells);
    regs.set(Reg::PFMAILBOX, vf, tells & OWNERS);
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;

    use crate::port::tests::world::World;

    const MAILBOX: u32 = 1 << 19;
    /// Bits of both ends' registers.
    const MESSAGE: u32 = 1 << 0;
    const READ: u32 = 1 << 1;
    const VFU: u32 = 1 << 2;
    const PFU: u32 = 1 << 3;
    /// What the PF takes from a VF that is stuck.
    const RVFU: u32 = 1 << 4;
    /// What a VF sees.
    const PFSTS: u32 = 1 << 4;
    const PFACK: u32 = 1 << 5;
    const RSTI: u32 = 1 << 6;
    const RSTD: u32 = 1 << 7;

    /// A port whose PF is up, so that no reset is told of any more.
    fn up() -> World {
        let mut world = World::enabled();
        let ctrl_ext = world.get(Reg::CTRL_EXT);
        world.set(Reg::CTRL_EXT, ctrl_ext | 1 << 14);
        for vf in 0..64 {
            world.get_at(Reg::VFMAILBOX, vf);
        }
        world
    }

    #[test]
    fn a_message_of_a_vf_is_a_cause_and_is_acknowledged() {
        let mut world = up();
        world.set_at(Reg::VFMAILBOX, 37, VFU);
        let owner = world.get_at(Reg::PFMAILBOX, 37);
        world.set_at(Reg::PFMBMEM, 37 * 16, 0x0000_0001);
        world.set_at(Reg::VFMAILBOX, 37, VFU | MESSAGE);
        let cause = world.get(Reg::EICR);
        let from = world.get_at(Reg::PFMBICR, 2);
        world.set_at(Reg::PFMBICR, 2, from);
        world.set_at(Reg::PFMAILBOX, 37, READ);

        assert_eq!(owner, VFU);
        assert_eq!(cause & MAILBOX, MAILBOX);
        assert_eq!(from, 1 << 5, "VF 37 is the sixth of the third 16");
        assert_eq!(world.get_at(Reg::PFMBICR, 2), 0);
        assert_eq!(world.get_at(Reg::VFMAILBOX, 37), VFU | PFACK);
        assert_eq!(world.get_at(Reg::VFMAILBOX, 37), VFU, "told once");
    }

    #[test]
    fn a_message_of_the_pf_is_acknowledged_by_the_vf() {
        let mut world = up();
        world.set_at(Reg::PFMAILBOX, 3, PFU);
        world.set_at(Reg::PFMAILBOX, 3, PFU | MESSAGE);
        let told = world.get_at(Reg::VFMAILBOX, 3);
        world.set_at(Reg::VFMAILBOX, 3, READ);

        assert_eq!(told, PFU | PFSTS);
        assert_eq!(world.get_at(Reg::PFMBICR, 0), 1 << (16 + 3));
        assert_eq!(world.get(Reg::EICR) & MAILBOX, MAILBOX);
        assert_eq!(world.get_at(Reg::PFMAILBOX, 3), PFU);
        world.set_at(Reg::PFMAILBOX, 3, 0);
        assert_eq!(world.get_at(Reg::VFMAILBOX, 3), 0);
    }

    #[test]
    fn the_memory_belongs_to_who_took_it_first() {
        let mut world = up();
        world.set_at(Reg::VFMAILBOX, 0, VFU);
        world.set_at(Reg::PFMAILBOX, 0, PFU);
        let while_the_vf_has_it = world.get_at(Reg::PFMAILBOX, 0);
        world.set_at(Reg::VFMAILBOX, 0, 0);
        world.set_at(Reg::PFMAILBOX, 0, PFU);
        world.set_at(Reg::VFMAILBOX, 0, VFU);

        assert_eq!(while_the_vf_has_it, VFU);
        assert_eq!(world.get_at(Reg::PFMAILBOX, 0), PFU);
    }

    #[test]
    fn the_pf_takes_the_memory_from_a_vf_and_forgets_what_it_told() {
        let mut world = up();
        world.set_at(Reg::VFMAILBOX, 17, VFU | MESSAGE | READ);
        world.set_at(Reg::VFMAILBOX, 18, MESSAGE);

        world.set_at(Reg::PFMAILBOX, 17, RVFU | PFU);

        assert_eq!(world.get_at(Reg::PFMAILBOX, 17), PFU);
        assert_eq!(world.get_at(Reg::PFMBICR, 1), 1 << 2, "VF 18 alone");
    }

    #[test]
    fn a_vf_whose_interrupt_is_masked_is_no_cause() {
        let mut world = up();
        world.set_at(Reg::PFMBIMR, 1, !(1 << 1));
        world.set_at(Reg::VFMAILBOX, 33, MESSAGE);
        let masked = world.get(Reg::EICR) & MAILBOX;
        world.set_at(Reg::VFMAILBOX, 34, MESSAGE);

        assert_eq!(masked, 0);
        assert_eq!(world.get_at(Reg::PFMBICR, 2), 0b110);
        assert_eq!(world.get(Reg::EICR) & MAILBOX, MAILBOX);
    }

    #[test]
    fn a_vf_sees_the_reset_of_its_pf_and_its_end() {
        let mut world = up();
        world.set(Reg::CTRL, 1 << 26);
        let meanwhile = world.get_at(Reg::VFMAILBOX, 63);
        world.set(Reg::CTRL_EXT, 1 << 14);

        assert_eq!(meanwhile, RSTI);
        assert_eq!(world.get_at(Reg::VFMAILBOX, 63), RSTD);
        assert_eq!(world.get_at(Reg::VFMAILBOX, 63), 0, "told once");
    }
}
