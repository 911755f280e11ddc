//! Delivery: an admitted frame goes into the ring of its queue, is counted and reported (7.1.9, 7.1.11).

use ixgbe_spec::{
    descriptor::rx::Status,
    register::{Reg, bits::rfctl},
};

use super::{
    DropReason, Packet,
    mac::FCS_LEN,
    payload::Payload,
    ring::{Progress, Queue, Stop, Supply},
    rsc::{Arrival, Coalesced, Coalescing, Segment},
    tally::Tally,
};
use crate::{fcoe::Fcoe, hw::Hw, observe::Event, wire::Fcs};

/// Where admitted frames go.
pub(super) struct Rings<'a> {
    pub(super) queues: &'a mut [Queue],
    pub(super) coalescing: &'a mut Coalescing,
    pub(super) fcoe: &'a mut Fcoe,
    pub(super) tally: &'a mut Tally,
}

impl Rings<'_> {
    /// Puts a frame into its queue's ring, or the rest of it, and counts and reports it when it is there.
    pub(super) fn deliver(
        &mut self,
        parts: (&[u8], &[u8]),
        packet: &Packet,
        progress: &mut Progress,
        hw: &mut Hw<'_>,
    ) -> Result<(), Stop> {
        match &packet.fc {
            None => self.post(parts, packet, progress, hw),
            Some(arrival) => self.deliver_fc(parts, packet, arrival, progress, hw),
        }
    }

    /// Puts what the ring gets of a frame into it.
    #[inline]
    pub(super) fn post(
        &mut self,
        (head, body): (&[u8], &[u8]),
        packet: &Packet,
        progress: &mut Progress,
        hw: &mut Hw<'_>,
    ) -> Result<(), Stop> {
        let index = usize::from(packet.queue);
        let Some(queue) = self.queues.get_mut(index) else {
            return Err(Stop::Drop(DropReason::Queue));
        };
        let begins = queue.begin(progress, hw.regs);
        let tag = packet.tag.filter(|_| progress.strip_vlan);
        let fcs = progress.keep_fcs.then(|| fcs_of(head, body, packet.fcs));
        let fcs = fcs.as_ref().map_or(&[][..], |fcs| &fcs[..]);
        let payload = Payload::new(head, body, tag, fcs);
        let len = head.len() + body.len() + fcs.len();
        if let Some(segment) = &packet.segment
            && begins
            && self.coalesce(&payload, segment, packet, progress, hw)? == Coalesced::Yes
        {
            self.tally.delivered(index, len, packet.counters, hw.regs);
            let queue = packet.queue;
            hw.dma.tell(move || Event::Coalesced { queue });
            hw.dma.retire();
            return Ok(());
        }
        let Some(queue) = self.queues.get_mut(index) else {
            return Err(Stop::Drop(DropReason::Queue));
        };
        let result = queue.deliver(&payload, &packet.outcome, progress, hw);
        match result {
            Ok(supply) => {
                self.tally.delivered(index, len, packet.counters, hw.regs);
                if supply == Supply::Low || packet.outcome.status.contains(Status::LLINT) {
                    hw.irq.rx_queue_low_latency(hw.regs, index);
                } else {
                    hw.irq.rx_queue(hw.regs, index);
                }
                hw.dma.retire();
            }
            Err(Stop::Drop(_)) => hw.dma.retire(),
            Err(Stop::Wait) => {}
        }
        result.map(|_| ())
    }

    /// Offers a packet to coalescing (7.11).
    fn coalesce(
        &mut self,
        payload: &Payload<'_>,
        segment: &Segment,
        packet: &Packet,
        progress: &Progress,
        hw: &mut Hw<'_>,
    ) -> Result<Coalesced, Stop> {
        let index = usize::from(packet.queue);
        let Some(queue) = self.queues.get(index) else {
            return Ok(Coalesced::No);
        };
        if hw.regs.get(Reg::RFCTL, 0) & rfctl::RSC_DIS != 0 {
            return Ok(Coalesced::No);
        }
        let arrival = Arrival {
            segment,
            outcome: &packet.outcome,
            payload,
            head: queue.head(payload.len(), &packet.outcome, progress),
        };
        let result = self.coalescing.take(self.queues, index, &arrival, hw);
        if matches!(result, Err(Stop::Drop(_))) {
            hw.dma.retire();
        }
        result
    }
}

/// The FCS with which a frame arrived.
fn fcs_of(head: &[u8], body: &[u8], fcs: Fcs) -> [u8; FCS_LEN] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(body);
    let crc = crc.finalize();
    match fcs {
        Fcs::Good => crc,
        Fcs::Bad => !crc,
    }
    .to_le_bytes()
}
