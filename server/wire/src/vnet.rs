//! The header that a kernel puts before frames, by which checksums and segmentation are left to the other side.

use std::{io, os::fd::AsFd};

use guest_memory::write_vectored;
use nic_model::{
    bus::Span,
    offload::Transport,
    wire::{IpVersion, L4Checksum, Offload, TxFrame},
};
use smallvec::SmallVec;
use vm_memory::VolatileSlice;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned, byteorder::LE};

use crate::segment::{LargeFrame, complete_checksum, complete_sctp_checksum, seed_checksum};

/// Most pieces of a frame that go out in one system call beside the headers (`UIO_MAXIOV` is 1024).
const MAX_PIECES: usize = 1023;
/// Place of the checksum in a TCP header, and in an SCTP header, where it is a CRC.
const TCP_CHECKSUM: u16 = 16;
const SCTP_CHECKSUM: u16 = 8;

/// `flags`: the checksum is to be completed.
const NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum was found right.
const DATA_VALID: u8 = 2;
/// `gso_type`.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP: u8 = 5;
/// Beside a `gso_type`: the first segment alone has CWR.
const GSO_ECN: u8 = 0x80;

/// `virtio_net_hdr` of virtio 1 (5.1.6), without the field that only that version has.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct VnetHeader {
    flags: u8,
    gso_type: u8,
    hdr_len: U16<LE>,
    gso_size: U16<LE>,
    csum_start: U16<LE>,
    csum_offset: U16<LE>,
}

const _: () = assert!(size_of::<VnetHeader>() == 10);

/// What a frame with a header is for the port.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A frame as it lies on a cable, and what is known of its checksum.
    Whole(L4Checksum),
    /// One that has to be cut.
    Large(LargeFrame),
}

impl VnetHeader {
    /// The header for a frame with this work left.
    pub(crate) fn of(frame: &TxFrame<'_>) -> Self {
        match frame.offload {
            Offload::None => Self::default(),
            Offload::Checksum { start, offset } => Self {
                flags: NEEDS_CSUM,
                csum_start: start.into(),
                csum_offset: offset.into(),
                ..Self::default()
            },
            Offload::Segment {
                ip,
                start,
                header_len,
                mss,
            } => {
                // CWR is bit 7 of the second byte of flags (RFC 3168).
                let flags = frame.head.get(usize::from(start).saturating_add(13));
                let ecn = match flags {
                    Some(flags) if flags & 0x80 != 0 => GSO_ECN,
                    _ => 0,
                };
                let gso_type = match ip {
                    IpVersion::V4 => GSO_TCPV4,
                    IpVersion::V6 => GSO_TCPV6,
                };
                Self {
                    flags: NEEDS_CSUM,
                    gso_type: gso_type | ecn,
                    hdr_len: header_len.into(),
                    gso_size: mss.into(),
                    csum_start: start.into(),
                    csum_offset: TCP_CHECKSUM.into(),
                }
            }
        }
    }

    /// Does what is left to do for `frame`, to whose headers `tag_len` bytes were added since its header was written.
    /// `None` for nothing that the port could receive.
    pub(crate) fn arrival(&self, frame: &mut [u8], tag_len: usize) -> Option<Arrival> {
        let start = usize::from(self.csum_start.get()) + tag_len;
        let needs_checksum = self.flags & NEEDS_CSUM != 0;
        let size = usize::from(self.gso_size.get());
        match self.gso_type & !GSO_ECN {
            GSO_NONE => {
                let offset = self.csum_offset.get();
                let completed = !needs_checksum
                    || match offset {
                        SCTP_CHECKSUM => complete_sctp_checksum(frame, start),
                        _ => complete_checksum(frame, start, offset.into()),
                    };
                let known = needs_checksum || self.flags & DATA_VALID != 0;
                completed.then_some(Arrival::Whole(if known {
                    L4Checksum::Valid
                } else {
                    L4Checksum::Unknown
                }))
            }
            GSO_TCPV4 | GSO_TCPV6 => {
                let start = self.seeded(frame, start, Transport::Tcp)?;
                LargeFrame::new(frame, start, size).ok().map(Arrival::Large)
            }
            GSO_UDP => {
                let start = self.seeded(frame, start, Transport::Udp)?;
                LargeFrame::of_datagrams(frame, start, size)
                    .ok()
                    .map(Arrival::Large)
            }
            _ => None,
        }
    }

    /// Where L4 begins in a large frame, whose checksum field holds the pseudo-header sum from here on.
    fn seeded(&self, frame: &mut [u8], start: usize, transport: Transport) -> Option<usize> {
        if self.flags & NEEDS_CSUM != 0 {
            Some(start)
        } else {
            seed_checksum(frame, transport)
        }
    }
}

/// Writes one packet: `header`, then `frame`, straight out of the client's pages where they are mapped.
pub(crate) fn write(
    fd: impl AsFd,
    header: &[u8],
    frame: &TxFrame<'_>,
    scratch: &mut Vec<u8>,
) -> io::Result<()> {
    scratch.clear();
    scratch.extend_from_slice(header);
    scratch.extend_from_slice(frame.head);
    let mut pieces = SmallVec::<[VolatileSlice<'_>; 16]>::new();
    for span in frame.payload {
        if let Span::Mapped(slice) = span {
            pieces.push(*slice);
        }
    }
    // What came by message, or in more pieces than a system call takes, is copied.
    if pieces.len() < frame.payload.len() || pieces.len() > MAX_PIECES {
        pieces.clear();
        for span in frame.payload {
            let at = scratch.len();
            scratch.resize(at + span.len(), 0);
            span.copy_to(0, &mut scratch[at..]);
        }
    }
    write_vectored(fd, scratch, &pieces).map(drop)
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    use super::*;

    /// The segments that a large frame with this header becomes.
    fn segments(header: VnetHeader, mut frame: Vec<u8>) -> Vec<Vec<u8>> {
        let Some(Arrival::Large(mut large)) = header.arrival(&mut frame, 0) else {
            panic!("not a large frame")
        };
        let mut scratch = Vec::new();
        std::iter::from_fn(|| {
            let segment = large.next_frame(&frame, &mut scratch)?;
            Some([segment.head, segment.body].concat())
        })
        .collect()
    }

    fn joined(of_a_card: u8, frame: Vec<u8>) -> Vec<Vec<u8>> {
        let header = VnetHeader {
            flags: DATA_VALID,
            gso_type: of_a_card,
            gso_size: 100.into(),
            ..VnetHeader::default()
        };
        segments(header, frame)
    }

    #[test]
    fn segments_that_a_network_card_joined_are_cut_again() {
        let payload: Vec<u8> = (0..250).collect();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(5000, 80, 1000, 500)
            .write(&mut frame, &payload)
            .unwrap();

        let segments = joined(GSO_TCPV4, frame);

        let mut whole = Vec::new();
        for segment in &segments {
            let packet = SlicedPacket::from_ethernet(segment).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
                panic!("no TCP")
            };
            let expected = tcp.calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2]);
            assert_eq!(tcp.checksum(), expected.unwrap());
            whole.extend_from_slice(tcp.payload());
        }
        assert_eq!((segments.len(), whole), (3, payload));
    }

    #[test]
    fn datagrams_over_ipv6_that_a_network_card_joined_are_cut_again() {
        let payload: Vec<u8> = (0..250).collect();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6([1; 16], [2; 16], 64)
            .udp(5000, 80)
            .write(&mut frame, &payload)
            .unwrap();

        let segments = joined(GSO_UDP, frame);

        let mut whole = Vec::new();
        for segment in &segments {
            let packet = SlicedPacket::from_ethernet(segment).unwrap();
            let Some(TransportSlice::Udp(udp)) = packet.transport else {
                panic!("no UDP")
            };
            let header = etherparse::Ipv6Header {
                source: [1; 16],
                destination: [2; 16],
                ..etherparse::Ipv6Header::default()
            };
            let expected = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
            assert_eq!(udp.checksum(), expected.unwrap());
            whole.extend_from_slice(udp.payload());
        }
        assert_eq!((segments.len(), whole), (3, payload));
    }

    #[test]
    fn a_large_frame_that_is_not_what_its_header_says_is_none() {
        let header = VnetHeader {
            gso_type: GSO_TCPV4,
            gso_size: 100.into(),
            ..VnetHeader::default()
        };

        let arrivals =
            [0, 13, 20, 40, 60].map(|len| header.arrival(&mut vec![8; len], 0).is_none());

        assert_eq!(arrivals, [true; 5]);
    }
}
