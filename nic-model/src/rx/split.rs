//! Header split: headers into one buffer, payload into another (7.1.10).
//!
//! Header replication, which drivers know by SRRCTL.DESCTYPE 4, is as in the cards before and after this one: a packet
//! longer than the header buffer fills it with its beginning, and lies in the packet buffer as a whole.

use ixgbe_spec::{
    descriptor::rx::{Info, Status},
    register::bits::psrtype,
};
use serde::{Deserialize, Serialize};

use super::header::{Headers, L3, L4};

/// When a queue splits (SRRCTL.DESCTYPE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// Packets whose headers are recognised, and fit into the header buffer.
    Recognised,
    /// All packets; of the others the header buffer takes as much as it holds.
    Always,
    /// None, but the beginning of packets that are longer than the header buffer is there as well.
    ReplicateLarge,
}

/// First byte behind the headers after which PSRTYPE allows a split; 0 if there are none.
#[inline]
pub(crate) fn boundary(headers: &Headers, types: u32) -> u16 {
    let has = |bit| types & bit != 0;
    let after_l4 = match headers.l4 {
        L4::Tcp => has(psrtype::TCP),
        L4::Udp => has(psrtype::UDP),
        L4::Sctp | L4::None => false,
    };
    let after_l3 = match headers.l3 {
        L3::Ipv4 => has(psrtype::IPV4),
        L3::Ipv6 => has(psrtype::IPV6),
        L3::None => false,
    };
    if after_l4 {
        headers.payload_offset
    } else if after_l3 {
        headers.l4_offset
    } else if has(psrtype::L2) {
        headers.l3_offset
    } else {
        0
    }
}

/// What happens to the beginning of a packet.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// Bytes that go into the header buffer.
    pub(crate) len: usize,
    /// Of these, the bytes that are in the header buffer alone.
    pub(crate) split: usize,
    /// The descriptor's word with SPH and the header length.
    #[serde(with = "crate::state::info")]
    pub(crate) info: Info,
    /// HBO, if the headers are longer than their buffer.
    #[serde(with = "crate::state::status")]
    pub(crate) status: Status,
}

impl Head {
    /// Of a packet of `len` bytes whose headers end at `boundary` (0: not recognised), for a header buffer of
    /// `buffer` bytes. `info` is the descriptor's word without split.
    pub(crate) fn new(
        split: Split,
        len: usize,
        boundary: usize,
        buffer: usize,
        info: Info,
    ) -> Self {
        let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX) & 0x3FF;
        let fits = boundary <= buffer;
        let in_header_buffer = match split {
            Split::ReplicateLarge if len > buffer => buffer,
            Split::ReplicateLarge => 0,
            _ if boundary > 0 && fits => boundary,
            Split::Recognised => 0,
            Split::Always => len.min(buffer),
        };
        let reported = match split {
            _ if boundary > 0 => boundary,
            Split::Recognised | Split::ReplicateLarge => 0,
            Split::Always => in_header_buffer,
        };
        let in_header_buffer = in_header_buffer.min(len);
        Self {
            len: in_header_buffer,
            split: match split {
                Split::ReplicateLarge => 0,
                Split::Recognised | Split::Always => in_header_buffer,
            },
            info: info
                .with_sph(boundary > 0)
                .with_header_len(length(reported)),
            status: if fits { Status::empty() } else { Status::HBO },
        }
    }
}
