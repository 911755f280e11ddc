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
    use ixgbe_spec::register::Reg;

    use crate::port::tests::world::World;

    /// Takes the semaphore as drivers do: SMBI by a read that finds it 0, then SWESMBI until it reads back.
    fn acquire(world: &mut World) -> bool {
        if world.get(Reg::SWSM) & 0x1 != 0 {
            return false;
        }
        let value = world.get(Reg::SWSM);
        world.set(Reg::SWSM, value | 0x2);
        assert_eq!(world.get(Reg::SWSM) & 0x2, 0x2, "no firmware holds it");
        true
    }

    fn release(world: &mut World) {
        let value = world.get(Reg::SWSM);
        world.set(Reg::SWSM, value & !0x3);
    }

    #[test]
    fn one_owner_at_a_time_has_the_software_semaphore() {
        let mut world = World::cold();
        assert!(acquire(&mut world));
        assert!(!acquire(&mut world));
        release(&mut world);
        assert!(acquire(&mut world));
    }

    #[test]
    fn resources_stay_owned_until_software_gives_them_back() {
        let mut world = World::cold();
        for resource in [0x1, 0x2, 0x4, 0x8, 0x400] {
            assert!(acquire(&mut world));
            let owned = world.get(Reg::GSSR);
            let by_firmware = resource << 5;
            assert_eq!(owned & (resource | by_firmware), 0);
            world.set(Reg::GSSR, owned | resource);
            release(&mut world);
        }
        assert_eq!(world.get(Reg::GSSR), 0x40F);
    }

    #[test]
    fn firmware_is_valid_without_a_mode_and_without_a_host_interface() {
        let mut world = World::cold();
        assert_eq!(world.get(Reg::FWSM), 0x8000);
        world.set(Reg::HICR, 0x2);
        assert_eq!(world.get(Reg::HICR), 0);
        assert_eq!(world.get(Reg::EEMNGCTL) & 0x000C_0000, 0x000C_0000);
    }
}
