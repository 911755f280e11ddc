//! The counters that a read clears, in pages whose reads nobody sees.
//!
//! QPRC, QBRC, QPRDC and, by its second place, QPTC of queues 0 to 15 lie in the pages. A store there cannot tell that a
//! driver has read them, and a counter that is never cleared would be added again at each reading. But the drivers read
//! all statistics in one go (Linux's `ixgbe_update_stats`, DPDK's `ixgbe_read_stats_registers`): first counters that are
//! read by messages, then those of the queues, one queue after the other, each together with its QBTC, which has no place
//! in the pages. So the page shows what stood in the counters at the last message that read another counter, keeps
//! still, and a queue's counters count as read with its QBTC.

use ixgbe_spec::register::{Chapter, Reg};
use nic_model::Port;

/// Queues with counters.
pub(super) const QUEUES: usize = 16;

/// What the page shows of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// QPRC.
    pub(super) packets_received: u32,
    /// QBRC, 36 bits.
    pub(super) bytes_received: u64,
    /// QPRDC.
    pub(super) dropped: u32,
    /// QPTC.
    pub(super) packets_sent: u32,
}

impl Shown {
    fn now(port: &Port, queue: usize) -> Self {
        let get = |reg| port.register(reg, queue);
        Self {
            packets_received: get(Reg::QPRC),
            bytes_received: u64::from(get(Reg::QBRC_H)) << 32 | u64::from(get(Reg::QBRC_L)),
            dropped: get(Reg::QPRDC),
            packets_sent: get(Reg::QPTC),
        }
    }

    /// What is shown in the place of a counter's register.
    pub(super) fn register(&self, counter: Reg) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.bytes_received.to_le_bytes();
        match counter {
            Reg::QPRC => self.packets_received,
            Reg::QBRC_L => u32::from_le_bytes([a, b, c, d]),
            Reg::QBRC_H => u32::from_le_bytes([e, f, g, h]),
            Reg::QPRDC => self.dropped,
            Reg::QPTC => self.packets_sent,
            _ => 0,
        }
    }
}

/// What the page shows of all queues, and how far a driver has got with reading it.
#[derive(Debug, Default)]
pub(super) struct Collected {
    shown: [Shown; QUEUES],
    /// The queue whose QBTC was read last.
    reading: Option<usize>,
}

impl Collected {
    /// What is shown of a queue.
    pub(super) fn shown(&self, queue: usize) -> Shown {
        self.shown.get(queue).copied().unwrap_or_default()
    }

    /// A message reads a register, or (`None`) does something else, and is to be served after this.
    pub(super) fn message(&mut self, read: Option<(Reg, usize)>, port: &mut Port) {
        let bytes_sent = match read {
            Some((Reg::QBTC_L | Reg::QBTC_H, queue)) => Some(queue),
            _ => None,
        };
        // Linux reads QBRC after QBTC: what follows another message is the next queue's.
        if let Some(queue) = self.reading
            && bytes_sent != Some(queue)
            && let Some(shown) = self.shown.get_mut(queue)
        {
            let taken = std::mem::take(shown);
            port.take_counter(Reg::QPRC, queue, taken.packets_received);
            port.take_counter36(Reg::QBRC_L, Reg::QBRC_H, queue, taken.bytes_received);
            port.take_counter(Reg::QPRDC, queue, taken.dropped);
            port.take_counter(Reg::QPTC, queue, taken.packets_sent);
        }
        self.reading = bytes_sent;
        let another = |(reg, _): (Reg, usize)| reg.row().chapter == Chapter::Statistics;
        if bytes_sent.is_none() && read.is_some_and(another) {
            for (queue, shown) in self.shown.iter_mut().enumerate() {
                *shown = Shown::now(port, queue);
            }
        }
    }

    /// Shows no more than there is, after a reset or after a counter was read by a message.
    pub(super) fn follow(&mut self, port: &Port) {
        for (queue, shown) in self.shown.iter_mut().enumerate() {
            let now = Shown::now(port, queue);
            *shown = Shown {
                packets_received: shown.packets_received.min(now.packets_received),
                bytes_received: shown.bytes_received.min(now.bytes_received),
                dropped: shown.dropped.min(now.dropped),
                packets_sent: shown.packets_sent.min(now.packets_sent),
            };
        }
    }
}
