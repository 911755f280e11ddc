//! Statistics of what was sent (8.2.3.23): frames as they are on the wire, from the destination address to the FCS.

use ixgbe_spec::register::Reg;

use super::Reach;
use crate::regs::RegisterFile;

/// Length of the FCS.
pub(super) const FCS: usize = 4;

/// Equal frames that were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    /// How many.
    pub count: u32,
    /// Length of each, without FCS.
    pub len: usize,
    /// Destination address.
    pub to: [u8; 6],
}

impl Frames {
    /// Bytes of all of them, with FCS.
    pub fn bytes(self) -> usize {
        (self.len + FCS).saturating_mul(self.count as usize)
    }

    /// `count` frames of `len` bytes that start as `head`.
    pub fn new(head: &[u8], len: usize, count: usize) -> Self {
        Self {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            len,
            to: head.first_chunk().copied().unwrap_or_default(),
        }
    }
}

/// Counts `frames` of `queue` that have come as far as `reach`: the counters of DMA have those for other pools as well,
/// the counters of the MAC only those for the network.
pub(super) fn count(regs: &mut RegisterFile, queue: usize, frames: Frames, reach: Reach) {
    let Frames { count, len, .. } = frames;
    let total = u64::try_from(len + FCS)
        .unwrap_or(u64::MAX)
        .saturating_mul(u64::from(count));
    match reach {
        Reach::Network => count_in_mac(regs, frames, total),
        Reach::Inside => {}
        Reach::Nowhere => return,
    }
    regs.count(Reg::TXDGPC, 0, count);
    regs.count36(Reg::TXDGBCL, Reg::TXDGBCH, 0, total);
    let mapping = regs.get(Reg::TQSM, queue / 4).to_le_bytes();
    let index = usize::from(mapping[queue % 4] & 0xF);
    regs.count(Reg::QPTC, index, count);
    regs.count36(Reg::QBTC_L, Reg::QBTC_H, index, total);
}

/// Counts a frame of the MAC's own, `len` bytes long without FCS: the counters of the MAC include flow control, from
/// which drivers subtract it; those of DMA and of queues do not.
pub(crate) fn count_control_frame(regs: &mut RegisterFile, to: &[u8; 6], len: usize) {
    count_in_mac(regs, Frames::new(to, len, 1), (len + FCS) as u64);
}

fn count_in_mac(regs: &mut RegisterFile, frames: Frames, total: u64) {
    let Frames { count, len, to } = frames;
    regs.count(Reg::GPTC, 0, count);
    regs.count(Reg::TPT, 0, count);
    regs.count36(Reg::GOTCL, Reg::GOTCH, 0, total);
    let size = match len + FCS {
        ..=64 => Reg::PTC64,
        65..=127 => Reg::PTC127,
        128..=255 => Reg::PTC255,
        256..=511 => Reg::PTC511,
        512..=1023 => Reg::PTC1023,
        1024.. => Reg::PTC1522,
    };
    regs.count(size, 0, count);
    if to == [0xFF; 6] {
        regs.count(Reg::BPTC, 0, count);
    } else if to[0] & 1 != 0 {
        regs.count(Reg::MPTC, 0, count);
    }
}
