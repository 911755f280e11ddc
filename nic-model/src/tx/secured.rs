//! Packets to which IPsec is applied before they leave (7.12.4). All of such a packet is read, and it leaves from the
//! model's own copy.

use super::{
    cursor::Cursor,
    frame::{CutError, Outgoing, Progress, insert_l4_checksum, send},
    plan::{Cut, FcsBy, Insert, IpSecAt, Whole},
};
use crate::{
    hw::Hw,
    ipsec::{IpSec, Protection},
    offload::{Segmenter, Sum, Transport, segmentation::put_u16},
    wire::{IpVersion, Offload},
};

/// Protocol numbers in an ESP trailer.
const IP_PROTOCOL_TCP: u8 = 6;
const IP_PROTOCOL_UDP: u8 = 17;

/// The descriptors of a packet contradict it; it is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

/// Inserts the checksums into `frame`, a packet that is one frame, and protects it.
pub(super) fn complete(
    whole: &Whole,
    ipsec: IpSecAt,
    fcs: FcsBy,
    frame: &mut [u8],
    hw: &mut Hw<'_>,
) -> Result<(), Contradiction> {
    let IpSecAt { ip_start, security } = ipsec;
    let protection = Protection::new(hw.ipsec, security, frame, ip_start);
    let protection = protection.ok_or(Contradiction)?;
    if fcs == FcsBy::Driver {
        return Err(Contradiction);
    }
    if whole.ip.is_some() {
        insert_ip_checksum(frame, ip_start, &protection);
    }
    let end = frame.len().saturating_sub(security.trailer_len);
    insert_l4_checksum(&mut frame[..end], whole.l4);
    protect(frame, &protection, hw)
}

/// Protects a frame, if the security block is on; if not, the frame stays as it is.
fn protect(
    frame: &mut [u8],
    protection: &Protection<'_>,
    hw: &mut Hw<'_>,
) -> Result<(), Contradiction> {
    if IpSec::transmits(hw.regs) {
        protection.apply(frame).map_err(|_| Contradiction)
    } else {
        hw.faults.offload += 1;
        Ok(())
    }
}

/// Inserts the checksum of the IPv4 header alone: IPLEN counts the IPsec header as well.
fn insert_ip_checksum(frame: &mut [u8], ip_start: usize, protection: &Protection<'_>) {
    let header = frame.get(ip_start..protection.ip_end());
    let checksum = Sum::of(header.unwrap_or_default()).checksum();
    put_u16(frame, ip_start + 10, checksum);
}

/// A packet that is cut into segments, each with IPsec of its own.
pub(super) struct Segments<'s, 't> {
    pub cut: &'s Cut,
    pub ipsec: IpSecAt,
    pub segmenter: &'s Segmenter<'t>,
}

impl Segments<'_, '_> {
    /// Sends segments from number `sent` on, at most `budget` frames of which it counts down. `payload` is at the payload
    /// of the first.
    pub fn send(
        &self,
        payload: &mut Cursor<'_, '_>,
        out: &mut Outgoing<'_, '_>,
        sent: &mut usize,
        budget: &mut usize,
    ) -> Result<Progress, CutError> {
        payload.skip(self.segmenter.payload(*sent).start);
        while *sent < self.segmenter.count() {
            if *budget == 0 {
                return Ok(Progress::Unfinished);
            }
            let frame = self.segment(*sent, payload, out.hw);
            let frame = frame.map_err(|Contradiction| CutError::Impossible)?;
            out.payload.clear();
            send(&frame, Offload::None, out)?;
            *sent += 1;
            *budget -= 1;
        }
        Ok(Progress::Sent)
    }

    /// Segment number `i`; its payload is read.
    fn segment(
        &self,
        i: usize,
        payload: &mut Cursor<'_, '_>,
        hw: &mut Hw<'_>,
    ) -> Result<Vec<u8>, Contradiction> {
        let Self {
            cut,
            ipsec: IpSecAt { ip_start, security },
            segmenter,
        } = *self;
        let header_len = segmenter.header_len();
        let mut frame = vec![0; header_len + segmenter.payload(i).len()];
        segmenter.write_header(i, &mut frame);
        payload.copy(&mut frame[header_len..]);
        let protection = Protection::new(hw.ipsec, security, &frame, ip_start);
        // In tunnel mode, an inner IP header follows.
        let protection = protection
            .filter(|protection| protection.payload_start() == cut.layout.l4_start)
            .ok_or(Contradiction)?;
        if cut.l4_checksum == Insert::Yes {
            segmenter.seed_l4_checksum(i, &mut frame);
            let (headers, payload) = frame.split_at_mut(header_len);
            segmenter.insert_l4_checksum(headers, Sum::of(payload));
        }
        let protocol = match cut.layout.transport {
            Transport::Tcp => IP_PROTOCOL_TCP,
            Transport::Udp => IP_PROTOCOL_UDP,
        };
        protection.complete_segment(&mut frame, i, protocol);
        if cut.ip_checksum == Insert::Yes && cut.layout.ip == IpVersion::V4 {
            insert_ip_checksum(&mut frame, ip_start, &protection);
        }
        protect(&mut frame, &protection, hw)?;
        Ok(frame)
    }
}
