//! What each VM pool has received and sent: the counters of its VF, as the PF sees them (8.2.3.23, 8.3).
//!
//! Unlike the port's, a read does not clear them, and they wrap. They count frames as they are on a cable, from the
//! destination address to the FCS, those from and for other pools of the port as well. A frame that waits in the packet
//! buffer counts as received, whatever its ring does with it later.

use ixgbe_spec::register::Reg;

use crate::{
    filter::Kind,
    regs::RegisterFile,
    wire::{Offload, TxFrame},
};

/// Length of the FCS.
const FCS: usize = 4;

/// Bits of a counter of octets.
const OCTETS: u64 = (1 << 36) - 1;

/// A pool has got a frame of `len` bytes without FCS.
pub(crate) fn received(pool: u8, kind: Kind, len: usize, regs: &mut RegisterFile) {
    let pool = usize::from(pool);
    frames(Reg::PVFGPRC, pool, 1, regs);
    octets(Reg::PVFGORC_LSB, Reg::PVFGORC_MSB, pool, len + FCS, regs);
    if kind == Kind::Multicast {
        frames(Reg::PVFMPRC, pool, 1, regs);
    }
}

/// A queue of the pool has sent a frame, which may be one that the wire cuts into several.
pub(crate) fn sent(pool: u8, frame: &TxFrame<'_>, regs: &mut RegisterFile) {
    let (count, len) = match frame.offload {
        Offload::Segment {
            header_len, mss, ..
        } => {
            let header = usize::from(header_len);
            let payload = frame.len().saturating_sub(header);
            let segments = payload.div_ceil(usize::from(mss).max(1)).max(1);
            (segments, payload + segments * header)
        }
        Offload::None | Offload::Checksum { .. } => (1, frame.len()),
    };
    let pool = usize::from(pool);
    frames(Reg::PVFGPTC, pool, count, regs);
    let bytes = len + count * FCS;
    octets(Reg::PVFGOTC_LSB, Reg::PVFGOTC_MSB, pool, bytes, regs);
}

fn frames(counter: Reg, pool: usize, count: usize, regs: &mut RegisterFile) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    regs.set(counter, pool, regs.get(counter, pool).wrapping_add(count));
}

fn octets(low: Reg, high: Reg, pool: usize, bytes: usize, regs: &mut RegisterFile) {
    let value = u64::from(regs.get(high, pool)) << 32 | u64::from(regs.get(low, pool));
    let value = value.wrapping_add(bytes as u64) & OCTETS;
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    regs.set(low, pool, u32::from_le_bytes([a, b, c, d]));
    regs.set(high, pool, u32::from_le_bytes([e, f, g, h]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::IpVersion;

    #[test]
    fn a_pools_counters_wrap_and_stay_when_they_are_read() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::PVFGPRC, 63, u32::MAX);
        regs.set(Reg::PVFGORC_LSB, 63, u32::MAX);
        regs.set(Reg::PVFGORC_MSB, 63, 0xF);
        regs.set(Reg::PVFGOTC_LSB, 5, u32::MAX - 63);

        received(63, Kind::Multicast, 60, &mut regs);
        let frame = TxFrame {
            head: &[0; 60],
            payload: &[],
            offload: Offload::None,
        };
        sent(5, &frame, &mut regs);
        regs.read(Reg::PVFGPTC, 5);

        assert_eq!(regs.get(Reg::PVFGPRC, 63), 0);
        assert_eq!(regs.get(Reg::PVFGORC_LSB, 63), 63);
        assert_eq!(regs.get(Reg::PVFGORC_MSB, 63), 0);
        assert_eq!(regs.get(Reg::PVFMPRC, 63), 1);
        assert_eq!(regs.get(Reg::PVFGPTC, 5), 1);
        assert_eq!(regs.get(Reg::PVFGOTC_LSB, 5), 0);
        assert_eq!(regs.get(Reg::PVFGOTC_MSB, 5), 1);
    }

    #[test]
    fn a_frame_that_the_wire_cuts_counts_as_its_segments() {
        let mut regs = RegisterFile::default();
        let frame = TxFrame {
            head: &[0; 54 + 3000],
            payload: &[],
            offload: Offload::Segment {
                ip: IpVersion::V4,
                start: 34,
                header_len: 54,
                mss: 1460,
            },
        };

        sent(1, &frame, &mut regs);

        assert_eq!(regs.get(Reg::PVFGPTC, 1), 3);
        assert_eq!(regs.get(Reg::PVFGOTC_LSB, 1), 3000 + 3 * (54 + 4));
    }
}
