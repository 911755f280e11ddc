//! What the descriptor of an admitted frame will say of it (7.1.6).

use ixgbe_spec::{
    descriptor::rx::{Fragment, Info, RssType, Status},
    register::{Reg, bits::rxcsum},
};

use super::{
    Admitted, checksum,
    header::{Headers, Tag},
    is_urgent,
    mac::Health,
    replication::Origin,
    split,
    write_back::Outcome,
};
use crate::{
    filter::{Destination, Match},
    regs::RegisterFile,
    wire::RxFrame,
};

/// The descriptor's words of an admitted frame.
#[inline]
pub(super) fn outcome(
    frame: &RxFrame<'_>,
    window: &[u8],
    admitted: &Admitted<'_>,
    destination: &Destination,
    regs: &mut RegisterFile,
) -> Outcome {
    let headers = admitted.headers;
    let settings = regs.get(Reg::RXCSUM, 0);
    let mut status = destination.status | checksum::verify(frame, window, headers, regs);
    status.set(Status::VEXT, headers.outer_tag);
    let immediate = destination.immediate || is_urgent(headers.tag, regs);
    status.set(Status::LLINT, immediate && admitted.health == Health::Good);
    status |= admitted.security;
    status.set(Status::PIF, admitted.accepted == Match::Inexact);
    status.set(Status::RXE, admitted.health == Health::Bad);
    status.set(Status::TS, admitted.stamped);
    status.set(Status::LB, admitted.origin == Origin::Pool);
    let mut info =
        Info::new().with_packet_type(destination.packet_type.unwrap_or(headers.packet_type));
    let hashed = settings & rxcsum::PCSD != 0 || destination.rss_type == RssType::FlowDirector;
    if hashed {
        info.set_rss_type(destination.rss_type);
    }
    let mut outcome = Outcome {
        info,
        hash: destination.hash,
        fragment: Fragment::new(),
        status,
        vlan: headers.tag.map(Tag::tci),
        boundary: split::boundary(
            headers,
            regs.get(Reg::PSRTYPE, usize::from(destination.pool)),
        ),
    };
    if !hashed {
        outcome.identify(frame, window, headers, regs);
    }
    outcome
}

impl Outcome {
    /// Puts what helps with fragments in the place of the hash (7.1.13).
    #[inline]
    pub(super) fn identify(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        headers: &Headers,
        regs: &RegisterFile,
    ) {
        let payload_sum = regs.get(Reg::RXCSUM, 0) & rxcsum::IPPCSE != 0;
        let valid;
        (self.fragment, valid) = checksum::fragment(frame, window, headers, payload_sum);
        self.hash = self.fragment.into_bits();
        self.status |= valid;
    }
}
