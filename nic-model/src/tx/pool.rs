//! Transmit queues and the VM pools that they belong to (7.2.1.2.1, 7.10.3).

use ixgbe_spec::register::{
    Reg,
    bits::{mtqc, vmvir},
};

use crate::regs::RegisterFile;

/// The pool of a transmit queue by MTQC; `None` if queues belong to none.
#[inline]
pub(crate) fn of_queue(queue: usize, regs: &RegisterFile) -> Option<u8> {
    let control = regs.get(Reg::MTQC, 0);
    if control & mtqc::VT_ENA == 0 {
        return None;
    }
    // Two, four or eight queues; a pool has at least two.
    let queues_shift = control >> mtqc::QUEUES_SHIFT & 3;
    u8::try_from(queue >> queues_shift.max(1)).ok()
}

/// What VLAN tag goes into the frames of a packet (VMVIR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VlanInsertion {
    /// What the descriptor says.
    AsAsked,
    /// This one, whatever the descriptor says.
    Always(u16),
    /// None, whatever the descriptor says.
    Never,
}

impl VlanInsertion {
    /// The insertion for a queue.
    #[inline]
    pub fn of_queue(queue: usize, regs: &RegisterFile) -> Self {
        let Some(pool) = of_queue(queue, regs) else {
            return Self::AsAsked;
        };
        let control = regs.get(Reg::VMVIR, usize::from(pool));
        match control >> vmvir::VLANA_SHIFT {
            1 => Self::Always((control & vmvir::PORT_VLAN) as u16),
            2 => Self::Never,
            _ => Self::AsAsked,
        }
    }

    /// The tag, if the descriptor asks for `asked`.
    pub fn tag(self, asked: Option<u16>) -> Option<u16> {
        match self {
            Self::AsAsked => asked,
            Self::Always(tag) => Some(tag),
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_of(queue: usize, mtqc: u32) -> Option<u8> {
        let mut regs = RegisterFile::default();
        regs.set(Reg::MTQC, 0, mtqc);
        of_queue(queue, &regs)
    }

    #[test]
    fn a_queue_belongs_to_the_pool_that_the_mode_says() {
        // Linux: IXGBE_MTQC_64VF, IXGBE_MTQC_32VF, and 8 traffic classes in 16 pools, each with VT_ENA.
        assert_eq!(pool_of(127, 0x4 | 0x2), Some(63));
        assert_eq!(pool_of(3, 0x4 | 0x2), Some(1));
        assert_eq!(pool_of(127, 0x8 | 0x2), Some(31));
        assert_eq!(pool_of(3, 0x8 | 0x2), Some(0));
        assert_eq!(pool_of(127, 0xC | 0x2 | 0x1), Some(15));
        assert_eq!(pool_of(8, 0xC | 0x2 | 0x1), Some(1));
    }

    #[test]
    fn without_pools_a_queue_belongs_to_none() {
        assert_eq!(pool_of(127, 0), None);
        // DCB alone.
        assert_eq!(pool_of(127, 0xC | 0x1), None);
    }
}
