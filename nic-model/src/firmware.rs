//! Semaphores between drivers and firmware (10.5.4). There is no firmware: it never holds one.
//!
//! The two ports of a card share them: what a driver of one port holds, a driver of the other finds taken. What a port
//! holds when it is reset by the bus, or its client goes, is free again.

use ixgbe_spec::register::{Reg, bits::swsm};
use serde::{Deserialize, Serialize};

use crate::{card::Card, port::LanId, regs::RegisterFile};

/// The semaphores of a card.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Semaphores {
    /// SWSM: SMBI, and what its holder set besides.
    swsm: u32,
    /// Who took SMBI.
    holder: Option<LanId>,
    /// `SW_FW_SYNC`.
    sync: u32,
    /// Bits of it that each port has set.
    claimed: [u32; 2],
}

impl Semaphores {
    /// SWSM as `by` reads it; the read takes SMBI if it is free.
    fn take(&mut self, by: LanId) -> u32 {
        let before = self.swsm;
        if before & swsm::SMBI == 0 {
            self.swsm |= swsm::SMBI;
            self.holder = Some(by);
        }
        before
    }

    /// `by` writes SWSM.
    fn set(&mut self, value: u32, by: LanId) {
        self.swsm = value & swsm::STORED;
        self.holder = (self.swsm != 0).then(|| self.holder.unwrap_or(by));
    }

    /// `by` writes `SW_FW_SYNC`.
    fn claim(&mut self, value: u32, by: LanId) {
        let new = value & !self.sync;
        self.sync = value;
        for claimed in &mut self.claimed {
            *claimed &= value;
        }
        self.claimed[by.index()] |= new;
    }

    /// Frees what `by` holds.
    fn release(&mut self, by: LanId) {
        if self.holder == Some(by) {
            self.swsm = 0;
            self.holder = None;
        }
        let claimed = std::mem::take(&mut self.claimed[by.index()]);
        self.sync &= !claimed;
    }
}

/// A port's registers of the firmware chapter.
#[derive(Debug)]
pub(crate) struct Firmware {
    card: Card,
    lan_id: LanId,
}

impl Firmware {
    /// The registers of the port `lan_id` of `card`.
    pub(crate) fn new(card: Card, lan_id: LanId) -> Self {
        Self { card, lan_id }
    }

    /// Frees what the port holds.
    pub(crate) fn reset(&mut self) {
        let Self { card, lan_id } = self;
        card.lock().semaphores.release(*lan_id);
    }

    /// Reads a register of the firmware chapter. A read of SWSM takes the semaphore SMBI.
    pub(crate) fn read(&mut self, reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
        match reg {
            Reg::SWSM => self.card.lock().semaphores.take(self.lan_id),
            Reg::GSSR => self.refreshed(regs),
            _ => regs.read(reg, index),
        }
    }

    /// `SW_FW_SYNC` as it stands, also in the port's register file.
    pub(crate) fn refreshed(&mut self, regs: &mut RegisterFile) -> u32 {
        let value = self.card.lock().semaphores.sync;
        regs.set(Reg::GSSR, 0, value);
        value
    }

    /// Software has written a register of the firmware chapter; `value` is what it wrote.
    pub(crate) fn written(&mut self, reg: Reg, value: u32) {
        let semaphores = &mut self.card.lock().semaphores;
        match reg {
            Reg::SWSM => semaphores.set(value, self.lan_id),
            Reg::GSSR => semaphores.claim(value, self.lan_id),
            _ => {}
        }
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
    fn the_ports_of_a_card_share_the_semaphores() {
        let [mut first, mut second] = World::pair();

        let (here, there) = (acquire(&mut first), acquire(&mut second));
        let sync = first.get(Reg::GSSR);
        first.set(Reg::GSSR, sync | 0x2);
        release(&mut first);
        let later = acquire(&mut second);
        let seen = second.get(Reg::GSSR);

        assert_eq!((here, there, later), (true, false, true));
        assert_eq!(seen, 0x2);
    }

    #[test]
    fn a_port_that_is_reset_by_the_bus_frees_what_it_held_and_nothing_else() {
        let [mut first, mut second] = World::pair();
        assert!(acquire(&mut second));
        second.set(Reg::GSSR, 0x8);
        release(&mut second);
        assert!(acquire(&mut first));
        let sync = first.get(Reg::GSSR);
        first.set(Reg::GSSR, sync | 0x2);

        first.call(crate::Port::reset);

        assert!(acquire(&mut second), "the first port held it");
        assert_eq!(second.get(Reg::GSSR), 0x8);
    }

    #[test]
    fn a_reset_by_the_driver_frees_no_semaphore() {
        let mut world = World::cold();
        assert!(acquire(&mut world));
        world.set(Reg::GSSR, 0x2);

        world.set(Reg::CTRL, 1 << 26);

        assert!(!acquire(&mut world));
        assert_eq!(world.get(Reg::GSSR), 0x2);
    }

    #[test]
    fn a_byte_of_the_synchronisation_register_keeps_what_the_other_port_owns() {
        let [mut first, mut second] = World::pair();
        second.set(Reg::GSSR, 0x400);

        let offset = u64::from(Reg::GSSR.offset(0));
        first.call(|port, context| port.bar_write(crate::Bar::Csr, offset, &[0x1], context));

        assert_eq!(second.get(Reg::GSSR), 0x401);
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
