//! The short way of a frame into its ring, while the registers ask for nothing but addresses, RSS and checksums.
//!
//! Most frames are whole, have no tag, and fit into the next buffer of a queue with one buffer a descriptor; most drivers
//! turn on few of the filters. What the registers ask for is then decided once for a burst, by [`Express::survey`], and
//! such a frame passes only the stages that are left. It ends exactly as it would by the long way. All other frames go
//! that way: whatever is not sure before its first effect is left to it, and so is telling those who look on.

use ixgbe_spec::{
    descriptor::rx::{Fragment, Info, Status},
    register::{
        Reg,
        bits::{fctrl, rxcsum, rxctrl},
    },
};

use super::{
    DropReason, Receive, Verdict,
    buffer::PacketBuffer,
    checksum,
    header::Headers,
    mac,
    replication::Counters,
    ring::{Stop, Supply},
    traffic_class,
    write_back::Outcome,
};
use crate::{
    filter::{
        Kind, Mac, pool,
        rss::{self, Choice},
    },
    hw::Hw,
    ipsec::IpSec,
    regs::RegisterFile,
    timesync::TimeSync,
    wire::{Fcs, RxFrame},
};

/// What the registers ask for, while that is little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Express {
    /// Longest frame, without FCS.
    longest: usize,
    /// The station's address, in the first receive address register.
    own: Option<Mac>,
    unicast: bool,
    multicast: bool,
    broadcast: bool,
    /// Traffic class of frames without a tag.
    class: u8,
    /// The queue of all frames, if RSS is off.
    queue: Option<u8>,
    /// The descriptor has a hash instead of what helps with fragments (RXCSUM.PCSD).
    hash: bool,
}

impl Express {
    /// What the registers ask for; `None` if that is more than the short way has.
    pub(crate) fn survey(receive: &mut Receive, regs: &RegisterFile) -> Option<Self> {
        let plain = regs.get(Reg::RXCTRL, 0) & rxctrl::RXEN != 0
            && mac::strips_fcs(regs)
            && pool::in_force(regs).is_none()
            && !TimeSync::stamps_received(regs)
            && !IpSec::receives(regs)
            && receive.coalescing.is_empty()
            && !receive.filters.choose_by_more_than_rss(regs);
        if !plain {
            return None;
        }
        let control = regs.get(Reg::FCTRL, 0);
        let class = traffic_class(None, regs);
        Some(Self {
            longest: mac::longest(0, regs).saturating_sub(mac::FCS_LEN),
            own: Mac::own(regs),
            unicast: control & fctrl::UPE != 0,
            multicast: control & fctrl::MPE != 0,
            broadcast: control & (fctrl::BAM | fctrl::MPE) != 0,
            class,
            queue: rss::fixed_queue(class, regs),
            hash: regs.get(Reg::RXCSUM, 0) & rxcsum::PCSD != 0,
        })
    }

    /// Whether a frame with these headers is in order, and nothing but a frame.
    #[inline]
    fn is_plain(&self, frame: &RxFrame<'_>, headers: &Headers) -> bool {
        frame.fcs == Fcs::Good
            && (mac::MIN_LEN - mac::FCS_LEN..=self.longest).contains(&frame.len())
            && headers.tag.is_none()
            && !headers.outer_tag
            && headers.length.is_none()
            && headers.ethertype != mac::MAC_CONTROL
    }

    /// The kind of its address, if it is sure that the address filters let it in.
    #[inline]
    fn accepts(&self, mac: Mac) -> Option<Kind> {
        let kind = mac.kind();
        let accepted = match kind {
            Kind::Unicast => self.unicast || self.own == Some(mac),
            Kind::Multicast => self.multicast,
            Kind::Broadcast => self.broadcast,
        };
        accepted.then_some(kind)
    }
}

impl Receive {
    /// Takes a frame by the short way; `None`, without any effect, if it has to go the long way.
    #[inline]
    pub(super) fn express(
        &mut self,
        express: &Express,
        frame: &RxFrame<'_>,
        window: &[u8],
        headers: &Headers,
        hw: &mut Hw<'_>,
    ) -> Option<Verdict> {
        let class = usize::from(express.class);
        if !express.is_plain(frame, headers)
            || !self.buffers.get(class).is_some_and(PacketBuffer::is_empty)
        {
            return None;
        }
        let kind = express.accepts(Mac::new(*window.first_chunk()?))?;
        let rss = match express.queue {
            Some(queue) => Choice::without_hash(queue),
            None => self.filters.rss(window, headers, express.class, hw.regs),
        };
        let index = usize::from(rss.queue);
        let queue = self.queues.get_mut(index)?;
        if !queue.is_ready_for(frame.len()) {
            return None;
        }
        self.tally.plain(kind, frame.len());
        let mut outcome = Outcome {
            info: Info::new().with_packet_type(headers.packet_type),
            hash: 0,
            fragment: Fragment::new(),
            status: checksum::verify(frame, window, headers, hw.regs),
            vlan: None,
            boundary: 0,
        };
        outcome.status.set(Status::PIF, kind != Kind::Unicast);
        if express.hash {
            outcome.info.set_rss_type(rss.rss_type);
            outcome.hash = rss.hash;
        } else {
            outcome.identify(frame, window, headers, hw.regs);
        }
        match queue.put(frame, &outcome, hw) {
            Ok(supply) => {
                self.tally
                    .delivered(index, frame.len(), Counters::First, hw.regs);
                if supply == Supply::Low {
                    hw.irq.rx_queue_low_latency(hw.regs, index);
                } else {
                    hw.irq.rx_queue(hw.regs, index);
                }
                hw.dma.retire();
                Some(Verdict::Delivered { queue: rss.queue })
            }
            Err(Stop::Drop(reason)) => {
                hw.dma.retire();
                Some(Verdict::Dropped(reason))
            }
            // Writes do not wait.
            Err(Stop::Wait) => Some(Verdict::Dropped(DropReason::Dma)),
        }
    }
}
