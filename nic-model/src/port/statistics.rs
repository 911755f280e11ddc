//! The counters of a port, for people.

use std::borrow::Cow;

use ixgbe_spec::register::{Access, Chapter, Reg};

use super::Port;
use crate::{faults::GuestFaults, queue_counts::QueueCount, regs::RegisterFile};

impl Port {
    /// All counters since the port was made, with their hardware names; what software reads, and so clears, stays in
    /// them. Those of an array as `NAME[n]`, the two halves of a 36-bit counter as one under their common name; after
    /// them what only the model counts, under `model.`: faults of the guest, and the packets and bytes of each queue that
    /// has moved any (`model.rx_packets[n]`, `model.tx_bytes[n]`, ...).
    pub fn statistics(&self) -> impl Iterator<Item = (Cow<'static, str>, u64)> {
        let hardware = Reg::ALL
            .iter()
            .filter(|reg| {
                let row = reg.row();
                row.chapter == Chapter::Statistics && row.access == Access::ReadClear
            })
            .flat_map(|reg| counters(*reg, &self.regs));
        let queues = [
            ("rx", self.rx.queue_counts()),
            ("tx", self.tx.queue_counts()),
        ];
        let queues = queues
            .into_iter()
            .flat_map(|(way, counts)| counts.used().flat_map(move |used| queue(way, used)));
        hardware.chain(model(&self.faults)).chain(queues)
    }
}

/// What a queue has moved.
fn queue(way: &str, (queue, count): (usize, QueueCount)) -> [(Cow<'static, str>, u64); 2] {
    let QueueCount { packets, bytes } = count;
    [("packets", packets), ("bytes", bytes)]
        .map(|(what, value)| (format!("model.{way}_{what}[{queue}]").into(), value))
}

/// The elements of a counter. A high half gives nothing: it stands behind its low half, which is the counter.
fn counters(reg: Reg, regs: &RegisterFile) -> impl Iterator<Item = (Cow<'static, str>, u64)> {
    let (name, high) = match half(reg) {
        Half::Whole => (Some(reg.row().name), None),
        Half::Low { name, high } => (Some(name), Some(high)),
        Half::High => (None, None),
    };
    name.into_iter().flat_map(move |name| {
        (0..reg.count()).map(move |index| {
            let high = high.map_or(0, |high| regs.total(high, index));
            let value = (high << 32).wrapping_add(regs.total(reg, index));
            let name = if reg.count() == 1 {
                Cow::Borrowed(name)
            } else {
                Cow::Owned(format!("{name}[{index}]"))
            };
            (name, value)
        })
    })
}

enum Half {
    Whole,
    Low { name: &'static str, high: Reg },
    High,
}

fn half(reg: Reg) -> Half {
    let low = |name, high| Half::Low { name, high };
    match reg {
        Reg::GORCL => low("GORC", Reg::GORCH),
        Reg::GOTCL => low("GOTC", Reg::GOTCH),
        Reg::TORL => low("TOR", Reg::TORH),
        Reg::RXNFGBCL => low("RXNFGBC", Reg::RXNFGBCH),
        Reg::RXDGBCL => low("RXDGBC", Reg::RXDGBCH),
        Reg::RXDDGBCL => low("RXDDGBC", Reg::RXDDGBCH),
        Reg::RXLPBKGBCL => low("RXLPBKGBC", Reg::RXLPBKGBCH),
        Reg::RXDLPBKGBCL => low("RXDLPBKGBC", Reg::RXDLPBKGBCH),
        Reg::TXDGBCL => low("TXDGBC", Reg::TXDGBCH),
        Reg::QBRC_L => low("QBRC", Reg::QBRC_H),
        Reg::QBTC_L => low("QBTC", Reg::QBTC_H),
        Reg::GORCH
        | Reg::GOTCH
        | Reg::TORH
        | Reg::RXNFGBCH
        | Reg::RXDGBCH
        | Reg::RXDDGBCH
        | Reg::RXLPBKGBCH
        | Reg::RXDLPBKGBCH
        | Reg::TXDGBCH
        | Reg::QBRC_H
        | Reg::QBTC_H => Half::High,
        _ => Half::Whole,
    }
}

fn model(faults: &GuestFaults) -> impl Iterator<Item = (Cow<'static, str>, u64)> {
    let GuestFaults {
        ring_dma,
        buffer_dma,
        tail_past_end,
        ring_length,
        descriptor,
        offload,
        pool,
        register_access,
    } = *faults;
    [
        ("model.ring_dma", ring_dma),
        ("model.buffer_dma", buffer_dma),
        ("model.tail_past_end", tail_past_end),
        ("model.ring_length", ring_length),
        ("model.descriptor", descriptor),
        ("model.offload", offload),
        ("model.pool", pool),
        ("model.register_access", register_access),
    ]
    .into_iter()
    .map(|(name, value)| (Cow::Borrowed(name), value))
}
