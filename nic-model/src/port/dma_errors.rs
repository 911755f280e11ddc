//! Accesses to memory that the bus has refused (3.1.3.2).

use ixgbe_spec::register::bits::eicr;

use super::Port;

impl Port {
    /// Tells of what was refused since the last call: cause EICR.PCI, and in configuration space that the function, as the
    /// bus's master, got no answer.
    pub(super) fn report_refused_dma(&mut self) {
        let refused = self.faults.ring_dma.wrapping_add(self.faults.buffer_dma);
        if refused != self.refused_dma {
            let poisoned = self.report_poisoned();
            // What was answered with a poisoned TLP was answered.
            if refused.wrapping_sub(self.refused_dma) > poisoned {
                self.pci.set_master_abort();
            }
            self.refused_dma = refused;
            self.irq.other(&mut self.regs, eicr::PCI);
        }
    }
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;

    use crate::port::tests::world::World;

    const PCI: u32 = 1 << 18;
    const STATUS: u16 = 0x06;
    const MASTER_ABORT: u16 = 1 << 13;

    const RING: u64 = 0x1_0000;

    /// Sends one descriptor of a ring at this address, whose buffer is at another.
    fn send_from(ring: u32, buffer: u64) -> World {
        let mut world = World::enabled();
        // Length 60, EOP, IFCS and RS.
        world.bus.poke(RING, &buffer.to_le_bytes());
        world
            .bus
            .poke(RING + 8, &(60_u64 | 0xB << 24).to_le_bytes());
        world.set(Reg::DMATXCTL, 0x8100_0001);
        world.set(Reg::TDBAL, ring);
        world.set(Reg::TDLEN, 128);
        world.set(Reg::TXDCTL, 0x0200_0000);
        world.set(Reg::TDT, 1);
        while world.step() {}
        world
    }

    #[test]
    fn a_ring_in_memory_that_is_not_there_is_a_cause_and_a_master_abort() {
        let mut world = send_from(0x4000_0000, 0x1000);
        assert_eq!(world.get(Reg::EICR) & PCI, PCI);
        assert_eq!(world.config_read16(STATUS) & MASTER_ABORT, MASTER_ABORT);

        world.step();
        assert_eq!(world.get(Reg::EICR) & PCI, 0, "told once");
        world.config_write16(STATUS, MASTER_ABORT);
        assert_eq!(world.config_read16(STATUS) & MASTER_ABORT, 0);
    }

    #[test]
    fn a_buffer_in_memory_that_is_not_there_is_a_cause_too() {
        let mut world = send_from(0x1_0000, 0x4000_0000);
        assert_eq!(world.get(Reg::EICR) & PCI, PCI);
    }

    #[test]
    fn memory_that_is_there_is_no_error() {
        let mut world = send_from(0x1_0000, 0x2_0000);
        assert_eq!(world.get(Reg::EICR) & PCI, 0);
        assert_eq!(world.config_read16(STATUS) & MASTER_ABORT, 0);
    }
}
