//! The header that a kernel puts before frames, by which checksums and segmentation are left to the other side.

use std::{io, os::fd::AsFd};

use guest_memory::write_vectored;
use nic_model::{
    bus::Span,
    wire::{IpVersion, L4Checksum, Offload, TxFrame},
};
use smallvec::SmallVec;
use vm_memory::VolatileSlice;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned, byteorder::LE};

use crate::segment::{LargeFrame, complete_checksum, complete_sctp_checksum};

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
            GSO_TCPV4 | GSO_TCPV6 if needs_checksum => {
                LargeFrame::new(frame, start, size).ok().map(Arrival::Large)
            }
            GSO_UDP if needs_checksum => LargeFrame::of_datagrams(frame, start, size)
                .ok()
                .map(Arrival::Large),
            _ => None,
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
