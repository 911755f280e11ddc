//! PTP messages in received frames, as far as the card reads them (7.9.4).

use ixgbe_spec::register::{
    Reg,
    bits::{
        rxmtrl,
        tsyncrxctl::{EVENT_V2, L2_L4_V2, L2_V2, L4_V1, TYPE_MASK, TYPE_SHIFT},
    },
};

use crate::{
    regs::RegisterFile,
    rx::header::{Headers, L4, word},
};

/// Shortest message, from its header's first byte.
const MESSAGE_LEN: usize = 36;

/// How a message is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// By an Ethernet frame that an ethertype filter with the 1588 bit matches.
    Ethernet,
    /// By UDP, over IPv4 or IPv6.
    Udp,
}

/// Fields of a message's header. They lie at the same places in version 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    carrier: Carrier,
    version: u8,
    /// Message id of version 2.
    id: u8,
    /// Control field, which version 1 goes by.
    control: u8,
    /// Six bytes of the source's identity, as they are on the cable.
    pub(super) source: [u8; 6],
    /// Sequence id, as it is on the cable.
    pub(super) sequence: [u8; 2],
}

impl Message {
    /// The message that a frame carries. `window` is its first bytes; `by_filter` says that an ethertype filter with
    /// the 1588 bit matches it.
    pub(super) fn find(
        window: &[u8],
        headers: &Headers,
        by_filter: bool,
        regs: &RegisterFile,
    ) -> Option<Self> {
        if by_filter {
            return Self::at(window, headers.l3_offset.into(), Carrier::Ethernet);
        }
        let port = regs.get(Reg::RXMTRL, 0) >> rxmtrl::UDPT_SHIFT;
        let to = word(window, usize::from(headers.l4_offset) + 2)?;
        if headers.l4 != L4::Udp || u32::from(to) != port {
            return None;
        }
        Self::at(window, headers.payload_offset.into(), Carrier::Udp)
    }

    fn at(window: &[u8], offset: usize, carrier: Carrier) -> Option<Self> {
        let bytes: &[u8; MESSAGE_LEN] = window.get(offset..)?.first_chunk()?;
        Some(Self {
            carrier,
            version: bytes[1] & 0xF,
            id: bytes[0] & 0xF,
            control: bytes[32],
            source: [
                bytes[22], bytes[23], bytes[24], bytes[25], bytes[26], bytes[27],
            ],
            sequence: [bytes[30], bytes[31]],
        })
    }

    /// Whether TSYNCRXCTL and RXMTRL want a time stamp of it.
    pub(super) fn is_wanted(&self, regs: &RegisterFile) -> bool {
        let kind = regs.get(Reg::TSYNCRXCTL, 0) >> TYPE_SHIFT & TYPE_MASK;
        let wanted = regs.get(Reg::RXMTRL, 0);
        let control = wanted & rxmtrl::CTRLT;
        let id = wanted >> rxmtrl::MSGT_SHIFT & rxmtrl::MSGT_MASK;
        // Pdelay_Req and Pdelay_Resp are stamped whatever message is selected.
        let selected = u32::from(self.id) == id || matches!(self.id, 2 | 3);
        match (self.version, kind) {
            (1, L4_V1) => self.carrier == Carrier::Udp && u32::from(self.control) == control,
            (2, L2_V2) => self.carrier == Carrier::Ethernet && selected,
            (2, L2_L4_V2) => selected,
            (2, EVENT_V2) => self.id & 8 == 0,
            _ => false,
        }
    }
}
