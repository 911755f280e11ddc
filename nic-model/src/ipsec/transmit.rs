//! Transmitted packets: they are encrypted and get their check value (7.12.4).

use ixgbe_spec::descriptor::tx::Context;

use super::{Confidentiality, IpSec, PacketError, Place, Protocol, packet::esp_trailer};
use crate::{offload::segmentation::put_u16, wire::IpVersion};

/// What a context descriptor says of IPsec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Security {
    /// Entry of the SA table.
    pub(crate) sa: u16,
    /// Which protocol the packet has.
    pub(crate) protocol: Protocol,
    /// What becomes of the payload of ESP.
    pub(crate) confidentiality: Confidentiality,
    /// Bytes of the ESP trailer, check value included, at the end of a packet that is one frame.
    pub(crate) trailer_len: usize,
}

impl Security {
    /// What `context` says.
    pub(crate) fn of(context: &Context) -> Self {
        let esp = context.high.ipsec_esp();
        Self {
            sa: context.low.ipsec_sa_index(),
            protocol: if esp { Protocol::Esp } else { Protocol::Ah },
            confidentiality: if context.high.ipsec_encrypt() {
                Confidentiality::Encrypted
            } else {
                Confidentiality::None
            },
            trailer_len: if esp {
                context.high.ipsec_esp_len().into()
            } else {
                0
            },
        }
    }
}

/// The protection of a packet, or of the segments of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protection<'a> {
    ipsec: &'a IpSec,
    security: Security,
    place: Place,
}

impl<'a> Protection<'a> {
    /// The protection that `security` means for a packet whose headers are in `frame`; `None` if they do not have that
    /// protocol.
    pub(crate) fn new(
        ipsec: &'a IpSec,
        security: Security,
        frame: &[u8],
        ip_start: usize,
    ) -> Option<Self> {
        let place = Place::find(frame, ip_start)?;
        (place.protocol == security.protocol).then_some(Self {
            ipsec,
            security,
            place,
        })
    }

    /// The first byte behind the IP header.
    pub(crate) fn ip_end(&self) -> usize {
        self.place.start
    }

    /// The first byte behind the IPsec header.
    pub(crate) fn payload_start(&self) -> usize {
        self.place.payload_start()
    }

    /// Longest that a segment gets beyond its headers and payload.
    pub(crate) const LONGEST_TRAILER: usize = 24;

    /// Makes segment number `segment` of the packet in `frame`, whose payload is of the protocol `l4`: the numbers of the
    /// IPsec header are advanced, and ESP gets its trailer. Lengths in the IP header follow; its checksum does not.
    pub(crate) fn complete_segment(&self, frame: &mut Vec<u8>, segment: usize, l4: u8) {
        self.place.advance(frame, segment);
        if self.place.protocol == Protocol::Ah {
            return;
        }
        let payload_len = frame.len().saturating_sub(self.payload_start());
        let trailer = esp_trailer(payload_len, l4);
        frame.extend_from_slice(&trailer);
        let (at, from) = match self.place.ip {
            IpVersion::V4 => (2, self.place.ip_start),
            IpVersion::V6 => (4, self.place.start),
        };
        let len = u16::try_from(frame.len() - from).unwrap_or(u16::MAX);
        put_u16(frame, self.place.ip_start + at, len);
    }

    /// Protects the packet, which ends with the frame.
    pub(crate) fn apply(&self, frame: &mut [u8]) -> Result<(), PacketError> {
        let secret = self.ipsec.transmit.get(usize::from(self.security.sa));
        let secret = secret.ok_or(PacketError::Length)?;
        self.place
            .protect(frame, secret, self.security.confidentiality)
    }
}
