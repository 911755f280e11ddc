//! The SYN filter and the 5-tuple filters (7.1.2.5, 7.1.2.6).

use ixgbe_spec::register::{
    Reg,
    bits::{ftqf, l34t_imir, llithresh, synqf},
};

use crate::{
    regs::RegisterFile,
    rx::header::{Headers, L3, L4, protocol, word},
};

/// TCP flag SYN.
const SYN: u8 = 1 << 1;

/// What a filter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Receive queue.
    pub(crate) queue: u8,
    /// The frame interrupts at once.
    pub(crate) immediate: bool,
}

impl Route {
    /// To a queue, without haste.
    pub(crate) const fn to(queue: u8) -> Self {
        Self {
            queue,
            immediate: false,
        }
    }
}

/// The 5-tuple filters that are enabled, strongest first.
#[derive(Debug, Default)]
pub(crate) struct FiveTupleFilters {
    enabled: Vec<usize>,
    stale: bool,
}

impl FiveTupleFilters {
    /// The state after a reset; the registers are looked at when the next frame comes.
    pub(crate) fn reset(&mut self) {
        self.changed();
    }

    /// FTQF has been written.
    pub(crate) fn changed(&mut self) {
        let Self { enabled, stale } = self;
        enabled.clear();
        *stale = true;
    }

    /// Whether the SYN filter or any 5-tuple filter is enabled.
    pub(crate) fn are_on(&mut self, regs: &RegisterFile) -> bool {
        if self.stale {
            self.refresh(regs);
        }
        !self.enabled.is_empty() || regs.get(Reg::SYNQF, 0) & synqf::ENABLE != 0
    }

    /// The queue by SYN filter or 5-tuple filter.
    #[inline]
    pub(crate) fn route(
        &mut self,
        window: &[u8],
        headers: &Headers,
        pool: u8,
        regs: &RegisterFile,
    ) -> Option<Route> {
        let syn = regs.get(Reg::SYNQF, 0);
        if syn & synqf::ENABLE == 0 {
            return self.five_tuple(window, headers, pool, regs);
        }
        let is_syn = headers.l4 == L4::Tcp
            && window
                .get(usize::from(headers.l4_offset) + 13)
                .is_some_and(|flags| flags & SYN != 0);
        let by_syn = is_syn.then_some(Route {
            queue: (syn >> synqf::QUEUE_SHIFT & 0x7F) as u8,
            immediate: false,
        });
        if syn & synqf::PRIORITY != 0 {
            by_syn.or_else(|| self.five_tuple(window, headers, pool, regs))
        } else {
            self.five_tuple(window, headers, pool, regs).or(by_syn)
        }
    }

    fn five_tuple(
        &mut self,
        window: &[u8],
        headers: &Headers,
        pool: u8,
        regs: &RegisterFile,
    ) -> Option<Route> {
        if self.stale {
            self.refresh(regs);
        }
        if self.enabled.is_empty() || headers.l3 != L3::Ipv4 {
            return None;
        }
        let n = self
            .enabled
            .iter()
            .copied()
            .find(|n| matches(*n, window, headers, pool, regs))?;
        let action = regs.get(Reg::L34T_IMIR, n);
        Some(Route {
            queue: (action >> l34t_imir::QUEUE_SHIFT & 0x7F) as u8,
            immediate: action & l34t_imir::LLI != 0 && is_urgent(action, headers, regs),
        })
    }

    fn refresh(&mut self, regs: &RegisterFile) {
        self.stale = false;
        self.enabled = (0..Reg::FTQF.count())
            .filter(|n| regs.get(Reg::FTQF, *n) & ftqf::ENABLE != 0)
            .collect();
        // Of equal priorities the filter with the lower index wins: the sort is stable.
        self.enabled.sort_by_key(|n| {
            std::cmp::Reverse(regs.get(Reg::FTQF, *n) >> ftqf::PRIORITY_SHIFT & 7)
        });
    }
}

/// Whether the size of a frame lets a filter interrupt at once: any does, unless LLITHRESH sets a limit and the filter
/// looks at it.
fn is_urgent(action: u32, headers: &Headers, regs: &RegisterFile) -> bool {
    let limit = regs.get(Reg::LLITHRESH, 0) & llithresh::SIZE;
    action & l34t_imir::SIZE_BP != 0 || limit == 0 || u32::from(headers.frame_len) < limit
}

fn matches(n: usize, window: &[u8], headers: &Headers, pool: u8, regs: &RegisterFile) -> bool {
    let filter = regs.get(Reg::FTQF, n);
    let ports = regs.get(Reg::SDPQF, n);
    let (source, destination) = headers.addresses(window);
    let l4 = usize::from(headers.l4_offset);
    // Addresses and ports lie in the registers as on the wire, first byte lowest.
    let port = |offset: usize, value: u32| {
        headers.l4 != L4::None
            && word(window, l4 + offset).map(u16::swap_bytes) == Some((value & 0xFFFF) as u16)
    };
    let compared = |field: u32| filter >> (ftqf::MASK_SHIFT + field) & 1 == 0;
    let is_protocol = match filter & ftqf::PROTOCOL {
        0 => headers.ip_protocol == protocol::TCP,
        1 => headers.ip_protocol == protocol::UDP,
        2 => headers.ip_protocol == protocol::SCTP,
        _ => headers.l4 == L4::None,
    };
    (filter & ftqf::POOL_MASK != 0 || (filter >> ftqf::POOL_SHIFT & 0x3F) as u8 == pool)
        && (!compared(0) || source == regs.get(Reg::SAQF, n).to_le_bytes())
        && (!compared(1) || destination == regs.get(Reg::DAQF, n).to_le_bytes())
        && (!compared(2) || port(0, ports))
        && (!compared(3) || port(2, ports >> 16))
        && (!compared(4) || is_protocol)
}
