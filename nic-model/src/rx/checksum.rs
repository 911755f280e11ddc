//! Verification of checksums on the way in (7.1.11, 7.1.12).

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use ixgbe_spec::{
    descriptor::rx::{Fragment, Status},
    register::{Reg, bits::rfctl::IPV6_XSUM_DIS},
};

use super::header::{Headers, L3, L4, protocol, word};
use crate::{
    offload::{Sum, checksum},
    regs::RegisterFile,
    wire::{L4Checksum, RxFrame},
};

/// Place of the UDP checksum in its header.
const UDP_CHECKSUM: usize = 6;
/// Place of the SCTP checksum in its header.
const SCTP_CHECKSUM: usize = 8;

/// The status bits of what was verified; wrong checksums are counted (XEC).
#[inline]
pub(crate) fn verify(
    frame: &RxFrame<'_>,
    window: &[u8],
    headers: &Headers,
    regs: &mut RegisterFile,
) -> Status {
    if headers.l3 == L3::None || headers.snap {
        return Status::empty();
    }
    verify_ip(frame, window, headers, regs)
}

fn verify_ip(
    frame: &RxFrame<'_>,
    window: &[u8],
    headers: &Headers,
    regs: &mut RegisterFile,
) -> Status {
    let mut status = ip(window, headers);
    if l4_is_covered(frame, headers, regs) {
        status |= l4(frame, window, headers);
    }
    if status.intersects(Status::IPE | Status::L4E) {
        regs.count(Reg::XEC, 0, 1);
    }
    status
}

fn ip(window: &[u8], headers: &Headers) -> Status {
    if headers.l3 != L3::Ipv4 {
        return Status::empty();
    }
    let header = window
        .get(usize::from(headers.l3_offset)..)
        .unwrap_or_default();
    // An IPsec header may lie between this header and L4.
    let len = header
        .first()
        .map_or(0, |first| usize::from(first & 0xF) * 4);
    let header = header.get(..len).unwrap_or_default();
    if checksum::ipv4_header(header) == 0 {
        Status::IPCS
    } else {
        Status::IPCS | Status::IPE
    }
}

/// Whether the whole of the L4 packet is in this frame and its checksum is for the addresses in the IP header.
fn l4_is_covered(frame: &RxFrame<'_>, headers: &Headers, regs: &RegisterFile) -> bool {
    headers.l4 != L4::None
        && !headers.source_routed
        && usize::from(headers.ip_end) <= frame.len()
        && (headers.l3 == L3::Ipv4 || regs.get(Reg::RFCTL, 0) & IPV6_XSUM_DIS == 0)
}

fn l4(frame: &RxFrame<'_>, window: &[u8], headers: &Headers) -> Status {
    let start = usize::from(headers.l4_offset);
    let mut status = match headers.l4 {
        L4::Udp if word(window, start + UDP_CHECKSUM) == Some(0) => {
            // "None" over IPv4; over IPv6 there has to be one (RFC 8200, 8.1).
            return if headers.l3 == L3::Ipv4 {
                Status::empty()
            } else {
                Status::UDPCS | Status::L4CS | Status::L4E
            };
        }
        L4::Udp => Status::UDPCS | Status::L4CS,
        _ => Status::L4CS,
    };
    if frame.l4_checksum == L4Checksum::Unknown && !l4_is_right(frame, window, headers) {
        status |= Status::L4E;
    }
    status
}

fn l4_is_right(frame: &RxFrame<'_>, window: &[u8], headers: &Headers) -> bool {
    let range = usize::from(headers.l4_offset)..usize::from(headers.ip_end);
    if headers.l4 == L4::Sctp {
        return sctp_is_right(frame, range);
    }
    let len = headers.ip_end - headers.l4_offset;
    let mut sum = pseudo_header(window, headers, u32::from(len)).unwrap_or_default();
    for part in parts(frame, range) {
        sum.add(part);
    }
    sum.folded() == 0xFFFF
}

fn pseudo_header(window: &[u8], headers: &Headers, len: u32) -> Option<Sum> {
    let (from, to) = headers.addresses(window);
    let protocol = headers.ip_protocol;
    match headers.l3 {
        L3::None => None,
        L3::Ipv4 => {
            let [from, to]: [[u8; 4]; 2] = [from.try_into().ok()?, to.try_into().ok()?];
            Some(Sum::pseudo_header_v4(
                Ipv4Addr::from(from),
                Ipv4Addr::from(to),
                protocol,
                len,
            ))
        }
        L3::Ipv6 => {
            let [from, to]: [[u8; 16]; 2] = [from.try_into().ok()?, to.try_into().ok()?];
            Some(Sum::pseudo_header_v6(
                Ipv6Addr::from(from),
                Ipv6Addr::from(to),
                protocol,
                len,
            ))
        }
    }
}

/// CRC32c over the packet with its checksum field as zero (RFC 9260, 6.8).
fn sctp_is_right(frame: &RxFrame<'_>, range: Range<usize>) -> bool {
    let field = range.start + SCTP_CHECKSUM..range.start + SCTP_CHECKSUM + 4;
    let mut found = [0; 4];
    let mut at = 0;
    for part in parts(frame, field.clone()) {
        found[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let mut crc = 0;
    for part in parts(frame, range.start..field.start) {
        crc = crc32c::crc32c_append(crc, part);
    }
    crc = crc32c::crc32c_append(crc, &[0; 4]);
    for part in parts(frame, field.end..range.end) {
        crc = crc32c::crc32c_append(crc, part);
    }
    crc.to_le_bytes() == found
}

/// For a descriptor without RSS hash: identification, and for a fragment that carries UDP the sum over its payload,
/// with [`Status::UDPV`] if it holds the UDP header and that has a checksum (7.1.13).
pub(crate) fn fragment(
    frame: &RxFrame<'_>,
    window: &[u8],
    headers: &Headers,
    payload_sum: bool,
) -> (Fragment, Status) {
    let mut fragment = Fragment::new();
    if headers.l3 != L3::Ipv4 {
        return (fragment, Status::empty());
    }
    let l3 = usize::from(headers.l3_offset);
    fragment.set_ip_id(word(window, l3 + 4).unwrap_or(0));
    let range = usize::from(headers.l4_offset)..usize::from(headers.ip_end);
    if !payload_sum
        || !headers.fragment
        || headers.ip_protocol != protocol::UDP
        || range.end > frame.len()
    {
        return (fragment, Status::empty());
    }
    let mut sum = Sum::new();
    for part in parts(frame, range.clone()) {
        sum.add(part);
    }
    fragment.set_checksum(sum.folded());
    let first = word(window, l3 + 6).is_some_and(|word| word & 0x1FFF == 0);
    let has_checksum = word(window, range.start + UDP_CHECKSUM).is_some_and(|sum| sum != 0);
    if first && has_checksum {
        (fragment, Status::UDPV)
    } else {
        (fragment, Status::empty())
    }
}

/// `range` of the frame in its two parts.
fn parts<'a>(frame: &RxFrame<'a>, range: Range<usize>) -> [&'a [u8]; 2] {
    let split = frame.head.len();
    let part = |bytes: &'a [u8], start: usize, end: usize| {
        bytes
            .get(start.min(bytes.len())..end.min(bytes.len()))
            .unwrap_or_default()
    };
    [
        part(frame.head, range.start, range.end),
        part(
            frame.body,
            range.start.saturating_sub(split),
            range.end.saturating_sub(split),
        ),
    ]
}
