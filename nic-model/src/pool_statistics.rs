//! What each VM pool has received and sent: the counters of its VF, as the PF sees them (8.2.3.23, 8.3).
//!
//! Unlike the port's, a read does not clear them, and they wrap. They count frames as they are on a cable, from the
//! destination address to the FCS, those from and for other pools of the port as well.

use ixgbe_spec::register::Reg;

use crate::{filter::Kind, regs::RegisterFile};

/// Length of the FCS.
const FCS: usize = 4;

/// Bits of a counter of octets.
const OCTETS: u64 = (1 << 36) - 1;

/// A pool has got a frame of `len` bytes without FCS.
pub(crate) fn received(pool: u8, kind: Kind, len: usize, regs: &mut RegisterFile) {
    let pool = usize::from(pool);
    frame(Reg::PVFGPRC, pool, regs);
    octets(Reg::PVFGORC_LSB, Reg::PVFGORC_MSB, pool, len, regs);
    if kind == Kind::Multicast {
        frame(Reg::PVFMPRC, pool, regs);
    }
}

/// A queue of the pool has sent a frame of `len` bytes without FCS.
pub(crate) fn sent(pool: u8, len: usize, regs: &mut RegisterFile) {
    let pool = usize::from(pool);
    frame(Reg::PVFGPTC, pool, regs);
    octets(Reg::PVFGOTC_LSB, Reg::PVFGOTC_MSB, pool, len, regs);
}

fn frame(counter: Reg, pool: usize, regs: &mut RegisterFile) {
    regs.set(counter, pool, regs.get(counter, pool).wrapping_add(1));
}

fn octets(low: Reg, high: Reg, pool: usize, len: usize, regs: &mut RegisterFile) {
    let value = u64::from(regs.get(high, pool)) << 32 | u64::from(regs.get(low, pool));
    let value = value.wrapping_add((len + FCS) as u64) & OCTETS;
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    regs.set(low, pool, u32::from_le_bytes([a, b, c, d]));
    regs.set(high, pool, u32::from_le_bytes([e, f, g, h]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_counters_wrap_and_stay_when_they_are_read() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::PVFGPRC, 63, u32::MAX);
        regs.set(Reg::PVFGORC_LSB, 63, u32::MAX);
        regs.set(Reg::PVFGORC_MSB, 63, 0xF);
        regs.set(Reg::PVFGOTC_LSB, 5, u32::MAX - 63);

        received(63, Kind::Multicast, 60, &mut regs);
        sent(5, 60, &mut regs);
        regs.read(Reg::PVFGPTC, 5);

        assert_eq!(regs.get(Reg::PVFGPRC, 63), 0);
        assert_eq!(regs.get(Reg::PVFGORC_LSB, 63), 63);
        assert_eq!(regs.get(Reg::PVFGORC_MSB, 63), 0);
        assert_eq!(regs.get(Reg::PVFMPRC, 63), 1);
        assert_eq!(regs.get(Reg::PVFGPTC, 5), 1);
        assert_eq!(regs.get(Reg::PVFGOTC_LSB, 5), 0);
        assert_eq!(regs.get(Reg::PVFGOTC_MSB, 5), 1);
    }
}
