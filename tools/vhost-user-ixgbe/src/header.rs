//! The header that precedes each packet in a virtio-net guest's buffers (virtio 1.2, 5.1.6).

use virtio_bindings::virtio_net::{
    VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_ECN,
    VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
    VIRTIO_NET_HDR_GSO_UDP_L4,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian::U16};

use crate::large::Large;

/// The header as virtio 1 has it, and drivers of before that with mergeable buffers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Header {
    flags: u8,
    gso_type: u8,
    hdr_len: U16,
    gso_size: U16,
    csum_start: U16,
    csum_offset: U16,
    /// Buffers that the packet takes.
    num_buffers: U16,
}

const _: () = assert!(size_of::<Header>() == Header::LEN);

/// What a guest has left to do for the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Where in the frame the L4 header begins; the sum goes from here to the end.
    pub start: u16,
    /// Where behind that the checksum goes.
    pub offset: u16,
}

/// Segmentation that is left to the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// None.
    None,
    /// TCP in segments of this many bytes.
    Tcp(u16),
    /// UDP in datagrams of this many bytes.
    Udp(u16),
    /// What was not negotiated.
    Other,
}

impl Header {
    /// Bytes of it.
    pub const LEN: usize = 12;
    /// Bytes of it in the buffers of a driver from before virtio 1 that has no mergeable buffers.
    pub const LEGACY_LEN: usize = 10;

    /// The header of a received packet in `buffers` buffers. With `verified`, the card has found its L4 checksum right.
    #[must_use]
    pub fn received(buffers: u16, verified: bool) -> Self {
        Self {
            flags: if verified {
                low(VIRTIO_NET_HDR_F_DATA_VALID)
            } else {
                0
            },
            num_buffers: U16::new(buffers),
            ..Self::default()
        }
    }

    /// The same for a large receive: as one packet that could be cut into segments.
    #[must_use]
    pub fn large(buffers: u16, large: &Large) -> Self {
        Self {
            flags: low(VIRTIO_NET_HDR_F_NEEDS_CSUM),
            gso_type: low(VIRTIO_NET_HDR_GSO_TCPV4),
            hdr_len: U16::new(large.headers),
            gso_size: U16::new(large.segment),
            csum_start: U16::new(large.tcp),
            csum_offset: U16::new(16),
            num_buffers: U16::new(buffers),
        }
    }

    /// The header of a packet to send for which nothing is left to do.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.checksum().is_none() && self.segmentation() == Segmentation::None
    }

    /// The checksum that is missing.
    #[must_use]
    pub fn checksum(&self) -> Option<Checksum> {
        (self.flags & low(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0).then(|| Checksum {
            start: self.csum_start.get(),
            offset: self.csum_offset.get(),
        })
    }

    /// The segmentation that is left to do.
    #[must_use]
    pub fn segmentation(&self) -> Segmentation {
        let kind = u32::from(self.gso_type) & !VIRTIO_NET_HDR_GSO_ECN;
        match kind {
            VIRTIO_NET_HDR_GSO_NONE => Segmentation::None,
            VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_TCPV6 => {
                Segmentation::Tcp(self.gso_size.get())
            }
            VIRTIO_NET_HDR_GSO_UDP_L4 => Segmentation::Udp(self.gso_size.get()),
            _ => Segmentation::Other,
        }
    }
}

/// Bits of a field of 8 bits, which the bindings have with 32.
fn low(bits: u32) -> u8 {
    bits.to_le_bytes()[0]
}
