//! What a completed descriptor says (7.1.5, 7.1.6.2).

use ixgbe_spec::descriptor::rx::{Fragment, Info, Legacy, LegacyErrors, Read, Status, WriteBack};
use serde::{Deserialize, Serialize};

use super::split::{Head, Split};

/// SRRCTL.DESCTYPE (8.2.3.8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Legacy.
    Legacy,
    /// Advanced, one buffer a descriptor.
    OneBuffer,
    /// Advanced, with a header buffer.
    Split(Split),
}

impl Format {
    /// The format for a value of the field; the others are reserved.
    pub(crate) const fn new(descriptor_type: u32) -> Option<Self> {
        match descriptor_type {
            0 => Some(Self::Legacy),
            1 => Some(Self::OneBuffer),
            2 => Some(Self::Split(Split::Recognised)),
            4 => Some(Self::Split(Split::ReplicateLarge)),
            5 => Some(Self::Split(Split::Always)),
            _ => None,
        }
    }
}

/// What is known of a packet when it goes into a ring.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    /// Packet type and RSS type.
    #[serde(with = "crate::state::info")]
    pub(crate) info: Info,
    /// RSS hash, filter id or [`Fragment`].
    pub(crate) hash: u32,
    /// What a legacy descriptor has for `hash`.
    #[serde(with = "crate::state::fragment")]
    pub(crate) fragment: Fragment,
    /// Status of the last descriptor, without DD, EOP and VP.
    #[serde(with = "crate::state::status")]
    pub(crate) status: Status,
    /// Tag control information, if the frame has a tag.
    pub(crate) vlan: Option<u16>,
    /// First byte of the frame behind the headers that are split off; 0 if there are none.
    pub(crate) boundary: u16,
}

/// The part of a packet that a descriptor is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// What is in the header buffer.
    pub(crate) head: Head,
    /// Bytes in the packet buffer.
    pub(crate) len: usize,
    /// Where the packet goes on; `None` after its end.
    pub(crate) next: Option<u16>,
    /// Tag control information, if it is told.
    pub(crate) vlan: Option<u16>,
}

impl Piece {
    /// The two quadwords of the descriptor that was `read`.
    #[inline]
    pub(crate) fn write_back(&self, format: Format, read: &Read, outcome: &Outcome) -> (u64, u64) {
        let length = u16::try_from(self.len).unwrap_or(u16::MAX);
        let mut status = Status::DD | self.head.status;
        if self.next.is_none() {
            status |= Status::EOP | outcome.status;
            status.set(Status::VP, self.vlan.is_some());
        }
        if format == Format::Legacy {
            return Legacy {
                address: read.packet_address,
                length: length.into(),
                checksum: outcome.fragment.checksum().into(),
                status: (status.difference(Status::FLM).bits() & 0xFF) as u8,
                errors: LegacyErrors::from_status(status).bits(),
                vlan: self.vlan.unwrap_or(0).into(),
            }
            .to_words();
        }
        if let Some(next) = self.next {
            status |= Status::next_descriptor(next);
        }
        WriteBack {
            info: self.head.info.into_bits().into(),
            hash: outcome.hash.into(),
            status: status.bits().into(),
            length: length.into(),
            vlan: self.vlan.unwrap_or(0).into(),
        }
        .to_words()
    }
}
