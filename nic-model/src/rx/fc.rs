//! FC frames on their way to the ring (7.13.3): what the units of `FCoE` say of them goes into their descriptors.

use ixgbe_spec::{
    descriptor::rx::Status,
    register::{Reg, bits::fcrxctrl},
};

use super::{
    Admitted, Outcome, Packet, Receive, Rings,
    mac::Health,
    replication::Origin,
    ring::{Progress, Stop},
};
use crate::{
    fcoe::{Arrival, Extent},
    hw::Hw,
    regs::RegisterFile,
    wire::RxFrame,
};

impl Receive {
    /// Shows an intact frame from the network to the filter unit.
    pub(super) fn fc_arrival(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        admitted: &Admitted<'_>,
        outcome: &mut Outcome,
        regs: &mut RegisterFile,
    ) -> Option<Arrival> {
        if admitted.health == Health::Bad || admitted.origin == Origin::Pool {
            return None;
        }
        let headers = admitted.headers;
        let arrival = self.fcoe.arrive(frame, window, headers, regs)?;
        outcome.status |= arrival.status;
        outcome.hash = arrival.parameter;
        if arrival.has_context() && regs.get(Reg::FCRXCTRL, 0) & fcrxctrl::FCOELLI != 0 {
            outcome.status |= Status::LLINT;
        }
        Some(arrival)
    }
}

impl Rings<'_> {
    /// Has the DMA unit place what it can of a frame, and puts into the ring what that leaves.
    pub(super) fn deliver_fc(
        &mut self,
        (head, body): (&[u8], &[u8]),
        packet: &Packet,
        arrival: &Arrival,
        progress: &mut Progress,
        hw: &mut Hw<'_>,
    ) -> Result<(), Stop> {
        let posting = match progress.fc {
            Some(posting) => posting,
            None => {
                let posting = self.fcoe.place(arrival, (head, body), hw);
                *progress.fc.insert(posting.map_err(|_pending| Stop::Wait)?)
            }
        };
        let parts = match posting.extent {
            Extent::Whole => (head, body),
            Extent::Headers(len) => {
                let in_head = len.min(head.len());
                let in_body = (len - in_head).min(body.len());
                (&head[..in_head], &body[..in_body])
            }
            Extent::Nothing => {
                arrival.count_received(hw.regs);
                hw.dma.retire();
                return Ok(());
            }
        };
        let mut packet = *packet;
        packet.outcome.status |= posting.status;
        let result = self.post(parts, &packet, progress, hw);
        match result {
            Ok(()) => arrival.count_received(hw.regs),
            Err(Stop::Drop(_)) => self.fcoe.lost(arrival, hw),
            Err(Stop::Wait) => {}
        }
        result
    }
}
