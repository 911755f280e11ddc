//! What the MAC and the DMA unit count for each frame that arrives (8.2.3.23), collected until the registers can be
//! looked at.

use ixgbe_spec::register::{Reg, bits::rxdstatctrl};

use super::{mac::FCS_LEN, replication::Counters};
use crate::{
    amount::{self, Amount, Sizes},
    filter::Kind,
    queue_counts::QueueCounts,
    regs::RegisterFile,
};

/// The registers of [`Sizes`].
const SIZES: [Reg; 6] = [
    Reg::PRC64,
    Reg::PRC127,
    Reg::PRC255,
    Reg::PRC511,
    Reg::PRC1023,
    Reg::PRC1522,
];

/// Counts that are not in their registers yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    arrived: Amount,
    intact: Amount,
    good: Amount,
    /// Frames that are all three.
    plain: Amount,
    sizes: Sizes,
    multicast: u32,
    broadcast: u32,
    /// Packets in the ring of this queue that are nowhere else yet, and what counts them beside the queue's own.
    of_queue: Amount,
    queue: usize,
    counters: Counters,
    /// Packets in the rings of queues that have these statistics registers (RQSMR), and what counts them as well.
    delivered: Amount,
    statistics: (usize, Counters),
    /// Packets by the queue itself.
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

    /// A frame of `len` bytes with FCS has arrived.
    #[inline]
    pub(super) fn arrived(&mut self, len: usize) {
        self.arrived.add(1, len as u64);
    }

    /// It has no error.
    #[inline]
    pub(super) fn intact(&mut self, len: usize) {
        self.intact.add(1, len as u64);
    }

    /// A good frame of `len` bytes without FCS has passed the filters.
    #[inline]
    pub(super) fn good(&mut self, kind: Kind, len: usize) {
        let len = len + FCS_LEN;
        self.good.add(1, len as u64);
        self.class(kind, len);
    }

    /// A frame of `len` bytes without FCS has arrived, has no error and has passed the filters.
    #[inline]
    pub(super) fn plain(&mut self, kind: Kind, len: usize) {
        let len = len + FCS_LEN;
        self.plain.add(1, len as u64);
        self.class(kind, len);
    }

    #[inline]
    fn class(&mut self, kind: Kind, len: usize) {
        self.sizes.add(1, len);
        match kind {
            Kind::Unicast => {}
            Kind::Multicast => self.multicast = self.multicast.saturating_add(1),
            Kind::Broadcast => self.broadcast = self.broadcast.saturating_add(1),
        }
    }

    /// A packet of `len` bytes is in the ring of `queue`.
    #[inline]
    pub(super) fn delivered(
        &mut self,
        queue: usize,
        len: usize,
        counters: Counters,
        regs: &mut RegisterFile,
    ) {
        if self.queue != queue || self.counters != counters {
            self.settle_queue(regs);
            self.queue = queue;
            self.counters = counters;
        }
        self.of_queue.add(1, len as u64);
    }

    /// What each queue has received, but for what [`Tally::settle`] has still to bring there.
    pub(super) const fn queues(&self) -> &QueueCounts {
        &self.queues
    }

    /// Brings the registers up to date.
    #[inline]
    pub(super) fn settle(&mut self, regs: &mut RegisterFile) {
        if !self.arrived.is_empty() || !self.plain.is_empty() || !self.of_queue.is_empty() {
            self.settle_all(regs);
        }
    }

    fn settle_all(&mut self, regs: &mut RegisterFile) {
        self.settle_queue(regs);
        self.settle_delivered(regs);
        let Self {
            arrived,
            intact,
            good,
            plain,
            sizes,
            multicast,
            broadcast,
            of_queue: _,
            queue: _,
            counters: _,
            delivered: _,
            statistics: _,
            queues: _,
        } = self;
        let plain = std::mem::take(plain);
        for amount in [&mut *arrived, &mut *intact, &mut *good] {
            amount.append(plain);
        }
        arrived.settle(Reg::TPR, (Reg::TORL, Reg::TORH), 0, regs);
        intact.settle(Reg::RXNFGPC, (Reg::RXNFGBCL, Reg::RXNFGBCH), 0, regs);
        good.settle(Reg::GPRC, (Reg::GORCL, Reg::GORCH), 0, regs);
        sizes.settle(SIZES, regs);
        amount::settle(multicast, Reg::MPRC, regs);
        amount::settle(broadcast, Reg::BPRC, regs);
    }

    /// Software changes RQSMR between two calls only, when all is settled: the mapping is that of when it was counted.
    fn settle_queue(&mut self, regs: &mut RegisterFile) {
        let of_queue = std::mem::take(&mut self.of_queue);
        let (packets, bytes) = of_queue.parts();
        self.queues.add(self.queue, packets, bytes);
        let statistics = (statistics(self.queue, regs), self.counters);
        if self.statistics != statistics {
            self.settle_delivered(regs);
            self.statistics = statistics;
        }
        self.delivered.append(of_queue);
    }

    fn settle_delivered(&mut self, regs: &mut RegisterFile) {
        let (statistics, counters) = self.statistics;
        let control = regs.get(Reg::RXDSTATCTRL, 0) & rxdstatctrl::QSEL;
        if control & rxdstatctrl::ALL != 0 || control as usize == statistics {
            let (packets, bytes) = counters.registers();
            let mut delivered = self.delivered;
            delivered.settle(packets, bytes, 0, regs);
        }
        let bytes = (Reg::QBRC_L, Reg::QBRC_H);
        self.delivered.settle(Reg::QPRC, bytes, statistics, regs);
    }
}

/// Statistics registers of a queue (RQSMR).
pub(super) fn statistics(queue: usize, regs: &RegisterFile) -> usize {
    let mapping = regs.get(Reg::RQSMR, queue / 4).to_le_bytes();
    usize::from(mapping[queue % 4] & 0xF)
}
