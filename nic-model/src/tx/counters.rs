//! Statistics of what was sent (8.2.3.23): frames as they are on the wire, from the destination address to the FCS.

use ixgbe_spec::register::Reg;

use super::Reach;
use crate::{
    amount::{self, Amount, Sizes},
    queue_counts::QueueCounts,
    regs::RegisterFile,
};

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

/// The registers of [`Sizes`].
const SIZES: [Reg; 6] = [
    Reg::PTC64,
    Reg::PTC127,
    Reg::PTC255,
    Reg::PTC511,
    Reg::PTC1023,
    Reg::PTC1522,
];

/// What the MAC has sent.
#[derive(Debug, Default)]
struct Mac {
    good: Amount,
    sizes: Sizes,
    multicast: u32,
    broadcast: u32,
}

impl Mac {
    #[inline]
    fn count(&mut self, frames: Frames, total: u64) {
        let Frames { count, len, to } = frames;
        self.good.add(count, total);
        self.sizes.add(count, len + FCS);
        if to == [0xFF; 6] {
            self.broadcast = self.broadcast.saturating_add(count);
        } else if to[0] & 1 != 0 {
            self.multicast = self.multicast.saturating_add(count);
        }
    }

    fn settle(&mut self, regs: &mut RegisterFile) {
        let Self {
            good,
            sizes,
            multicast,
            broadcast,
        } = self;
        regs.count(Reg::TPT, 0, good.frames());
        good.settle(Reg::GPTC, (Reg::GOTCL, Reg::GOTCH), 0, regs);
        sizes.settle(SIZES, regs);
        amount::settle(multicast, Reg::MPTC, regs);
        amount::settle(broadcast, Reg::BPTC, regs);
    }
}

/// Counts that are not in their registers yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    mac: Mac,
    /// Frames that the DMA unit has read.
    read: Amount,
    /// Of these, frames of this queue that are not among those by queue, or in its statistics registers, yet.
    of_queue: Amount,
    queue: usize,
    /// Frames by the queue itself.
    queues: QueueCounts,
}

impl Tally {
    /// A tally that has counted so much, and put it into the registers.
    pub(super) fn settled(queues: QueueCounts) -> Self {
        Self {
            queues,
            ..Self::default()
        }
    }

    /// Counts `frames` of `queue` that have come as far as `reach`: the counters of DMA have those for other pools as
    /// well, the counters of the MAC only those for the network.
    #[inline]
    pub(super) fn count(
        &mut self,
        queue: usize,
        frames: Frames,
        reach: Reach,
        regs: &mut RegisterFile,
    ) {
        let total = frames.bytes() as u64;
        match reach {
            Reach::Network => self.mac.count(frames, total),
            Reach::Inside => {}
            Reach::Nowhere => return,
        }
        self.read.add(frames.count, total);
        if self.queue != queue {
            self.settle_queue(regs);
            self.queue = queue;
        }
        self.of_queue.add(frames.count, total);
    }

    /// What each queue has sent, but for what [`Tally::settle`] has still to bring there.
    pub(super) const fn queues(&self) -> &QueueCounts {
        &self.queues
    }

    /// Brings the registers up to date.
    pub(super) fn settle(&mut self, regs: &mut RegisterFile) {
        if !self.read.is_empty() {
            self.mac.settle(regs);
            let bytes = (Reg::TXDGBCL, Reg::TXDGBCH);
            self.read.settle(Reg::TXDGPC, bytes, 0, regs);
            self.settle_queue(regs);
        }
    }

    /// Software changes TQSM between two calls only, when all is settled: the mapping is that of when it was counted.
    fn settle_queue(&mut self, regs: &mut RegisterFile) {
        let (frames, total) = self.of_queue.parts();
        self.queues.add(self.queue, frames, total);
        let mapping = regs.get(Reg::TQSM, self.queue / 4).to_le_bytes();
        let statistics = usize::from(mapping[self.queue % 4] & 0xF);
        let bytes = (Reg::QBTC_L, Reg::QBTC_H);
        self.of_queue.settle(Reg::QPTC, bytes, statistics, regs);
    }
}

/// Counts a frame of the MAC's own, `len` bytes long without FCS: the counters of the MAC include flow control, from
/// which drivers subtract it; those of DMA and of queues do not.
pub(crate) fn count_control_frame(regs: &mut RegisterFile, to: &[u8; 6], len: usize) {
    let frames = Frames::new(to, len, 1);
    let mut mac = Mac::default();
    mac.count(frames, frames.bytes() as u64);
    mac.settle(regs);
}
