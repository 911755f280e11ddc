//! Large TCP and UDP frames as kernels and the port hand them over, cut into frames as they lie on a cable.

use std::ops::Range;

use nic_model::{
    offload::{
        Layout, Segmenter, Sum, TcpFlagMasks, Transport,
        segmentation::{SegmentationError, template_from_large_frame},
    },
    wire::{Fcs, IpVersion, L4Checksum, RxFrame},
};

use crate::host::MIN_FRAME;

/// Ethertypes of IPv4, IPv6 and of VLAN tags.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// At most this many tags are looked through.
const MAX_TAGS: usize = 2;

/// Why a large frame is none that can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LargeFrameError {
    /// No IP behind the Ethernet header and its tags.
    #[error("the large frame is no IP packet")]
    NotIp,
    /// The TCP or UDP header lies outside.
    #[error("the TCP or UDP header of the large frame ends outside of it")]
    L4Header,
    /// The rest.
    #[error(transparent)]
    Segmentation(#[from] SegmentationError),
}

/// A large TCP or UDP frame that is being cut: whoever has its bytes asks for one segment after the other.
#[derive(Debug)]
pub(crate) struct LargeFrame {
    template: Vec<u8>,
    layout: Layout,
    payload_len: usize,
    mss: usize,
    next: usize,
    count: usize,
}

impl LargeFrame {
    /// Takes the headers of `frame`: an IP length and a pseudo-header sum of the whole, TCP at `l4_start`, segments of
    /// `mss` bytes wanted.
    pub(crate) fn new(frame: &[u8], l4_start: usize, mss: usize) -> Result<Self, LargeFrameError> {
        let data_offset = l4_start
            .checked_add(12)
            .and_then(|at| frame.get(at))
            .ok_or(LargeFrameError::L4Header)?;
        let header_len = l4_start + usize::from(data_offset >> 4) * 4;
        Self::with_headers(frame, l4_start, header_len, Transport::Tcp, mss)
    }

    /// Takes the headers of `frame`, as above, with UDP at `l4_start`, datagrams of `size` bytes wanted.
    pub(crate) fn of_datagrams(
        frame: &[u8],
        l4_start: usize,
        size: usize,
    ) -> Result<Self, LargeFrameError> {
        let header_len = l4_start.saturating_add(Transport::Udp.min_header_len());
        Self::with_headers(frame, l4_start, header_len, Transport::Udp, size)
    }

    fn with_headers(
        frame: &[u8],
        l4_start: usize,
        header_len: usize,
        transport: Transport,
        mss: usize,
    ) -> Result<Self, LargeFrameError> {
        let (ip, ip_start) = ip_start(frame).ok_or(LargeFrameError::NotIp)?;
        let layout = Layout {
            ip,
            ip_start,
            l4_start,
            transport,
        };
        let mut template = frame
            .get(..header_len)
            .ok_or(LargeFrameError::L4Header)?
            .to_vec();
        let payload_len = frame.len() - header_len;
        let masks = TcpFlagMasks::default();
        let count = Segmenter::new(&template, layout, payload_len, mss, masks)?.count();
        template_from_large_frame(&mut template, &layout, payload_len);
        Ok(Self {
            template,
            layout,
            payload_len,
            mss,
            next: 0,
            count,
        })
    }

    /// The next segment of `bytes`, from which this was made, as the port receives it, its headers in `header`; `None`
    /// when all were given.
    pub(crate) fn next_frame<'a>(
        &mut self,
        bytes: &'a [u8],
        header: &'a mut Vec<u8>,
    ) -> Option<RxFrame<'a>> {
        let piece = self.next_segment(bytes, header)?;
        let mut body = bytes.get(piece)?;
        // The last segment may be shorter than an Ethernet frame.
        if header.len() + body.len() < MIN_FRAME {
            header.extend_from_slice(body);
            header.resize(MIN_FRAME, 0);
            body = &[];
        }
        Some(RxFrame {
            head: header,
            body,
            fcs: Fcs::Good,
            l4_checksum: L4Checksum::Valid,
        })
    }

    /// Writes the headers of the next segment to `header` and returns where in `frame`, the bytes that this was made
    /// from, its payload lies; `None` when all segments were given.
    pub(crate) fn next_segment(
        &mut self,
        frame: &[u8],
        header: &mut Vec<u8>,
    ) -> Option<Range<usize>> {
        if self.is_done() {
            return None;
        }
        let segmenter = Segmenter::new(
            &self.template,
            self.layout,
            self.payload_len,
            self.mss,
            TcpFlagMasks::default(),
        )
        .ok()?;
        let piece = segmenter.payload(self.next);
        let piece = self.template.len() + piece.start..self.template.len() + piece.end;
        header.resize(self.template.len(), 0);
        segmenter.write_header(self.next, header);
        segmenter.insert_ip_checksum(header);
        segmenter.seed_l4_checksum(self.next, header);
        segmenter.insert_l4_checksum(header, Sum::of(frame.get(piece.clone())?));
        self.next += 1;
        Some(piece)
    }

    /// Whether all segments were given.
    pub(crate) const fn is_done(&self) -> bool {
        self.next >= self.count
    }
}

/// IP version and place of the IP header.
pub(crate) fn ip_start(frame: &[u8]) -> Option<(IpVersion, usize)> {
    let mut at = 12;
    for _ in 0..=MAX_TAGS {
        let ethertype = u16::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        match ethertype {
            IPV4 => return Some((IpVersion::V4, at + 2)),
            IPV6 => return Some((IpVersion::V6, at + 2)),
            tag if VLAN.contains(&tag) => at += 4,
            _ => return None,
        }
    }
    None
}

/// Completes the checksum of `frame` at `start + offset` over everything from `start`; false if that lies outside.
pub(crate) fn complete_checksum(frame: &mut [u8], start: usize, offset: usize) -> bool {
    let Some(covered) = frame.get_mut(start..) else {
        return false;
    };
    let sum = Sum::of(covered);
    // Of the two protocols only UDP keeps its checksum at byte 6, and 0 means something else there.
    let checksum = match offset {
        6 => sum.udp_checksum(),
        _ => sum.checksum(),
    };
    let field = covered
        .get_mut(offset..)
        .and_then(|rest| rest.first_chunk_mut());
    field.is_some_and(|field| {
        *field = checksum.to_be_bytes();
        true
    })
}

/// Makes a large frame whose L4 checksum is complete, as a network card that joins segments leaves it, into one whose
/// checksum field holds the pseudo-header sum; where L4 begins comes back.
pub(crate) fn seed_checksum(frame: &mut [u8], transport: Transport) -> Option<usize> {
    let protocol = match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    let (ip, at) = ip_start(frame)?;
    let (l4_start, found, addresses) = match ip {
        IpVersion::V4 => {
            let len = usize::from(frame.get(at)? & 0xF) * 4;
            (at + len, frame.get(at + 9)?, at + 12..at + 20)
        }
        IpVersion::V6 => (at + 40, frame.get(at + 6)?, at + 8..at + 40),
    };
    let l4_len = frame.len().checked_sub(l4_start)?;
    if *found != protocol {
        return None;
    }
    let mut seed = Sum::of(frame.get(addresses)?);
    seed.add_number(u64::from(protocol) + u64::try_from(l4_len).ok()?);
    let field = frame
        .get_mut(l4_start + transport.checksum_offset()..)?
        .first_chunk_mut()?;
    *field = seed.folded().to_be_bytes();
    Some(l4_start)
}

/// Completes the CRC of the SCTP packet at `start`; false if that lies outside.
pub(crate) fn complete_sctp_checksum(frame: &mut [u8], start: usize) -> bool {
    let Some(packet) = frame.get_mut(start..) else {
        return false;
    };
    let Some(field) = packet.get_mut(8..12) else {
        return false;
    };
    field.fill(0);
    let crc = crc32c::crc32c(packet).to_le_bytes();
    packet[8..12].copy_from_slice(&crc);
    true
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use nic_model::offload::Sum;
    use proptest::prelude::*;

    use super::*;

    /// A large frame as a kernel hands it over: lengths of the whole, the checksum field seeded with the pseudo-header.
    fn large(
        v6: bool,
        tags: usize,
        payload: &[u8],
        flags: fn(&mut etherparse::TcpHeader),
    ) -> (Vec<u8>, usize) {
        let mut tcp = etherparse::TcpHeader::new(5000, 80, 0xffff_ff00, 1000);
        flags(&mut tcp);
        let mut frame = Vec::new();
        if v6 {
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv6([1; 16], [2; 16], 64)
                .tcp_header(tcp)
                .write(&mut frame, payload)
                .unwrap();
        } else {
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .tcp_header(tcp)
                .write(&mut frame, payload)
                .unwrap();
        }
        let (addresses, l4) = if v6 { (22..54, 54) } else { (26..34, 34) };
        let mut seed = Sum::of(&frame[addresses]);
        seed.add_number(6 + (frame.len() - l4) as u64);
        frame[l4 + 16..l4 + 18].copy_from_slice(&seed.folded().to_be_bytes());
        for tag in 0..tags {
            frame.splice(12..12, [0x81, 0, 0, tag.to_le_bytes()[0]]);
        }
        (frame, l4 + 4 * tags)
    }

    fn segments(frame: &[u8], l4: usize, mss: usize) -> Vec<Vec<u8>> {
        let mut large = LargeFrame::new(frame, l4, mss).unwrap();
        let mut header = Vec::new();
        let mut segments = Vec::new();
        while let Some(piece) = large.next_segment(frame, &mut header) {
            segments.push([&header, &frame[piece]].concat());
        }
        segments
    }

    #[test]
    fn a_frame_that_is_not_ip_is_refused() {
        let (mut frame, l4) = large(false, 0, &[1; 100], |_| {});
        frame[12] = 0x99;

        assert_eq!(
            LargeFrame::new(&frame, l4, 10).unwrap_err(),
            LargeFrameError::NotIp
        );
    }

    #[test]
    fn a_tcp_header_that_ends_outside_is_refused() {
        let (frame, _) = large(false, 0, &[0xff; 10], |_| {});

        assert_eq!(
            LargeFrame::new(&frame, 50, 10).unwrap_err(),
            LargeFrameError::L4Header
        );
        assert_eq!(
            LargeFrame::new(&frame, 60_000, 10).unwrap_err(),
            LargeFrameError::L4Header
        );
    }

    #[test]
    fn fin_and_psh_are_in_the_last_segment_and_cwr_in_the_first() {
        let (frame, l4) = large(false, 0, &[7; 300], |tcp| {
            tcp.fin = true;
            tcp.psh = true;
            tcp.cwr = true;
            tcp.ack = true;
        });

        let flags: Vec<_> = segments(&frame, l4, 100)
            .iter()
            .map(|segment| segment[l4 + 13])
            .collect();

        assert_eq!(flags, [0x90, 0x10, 0x19]);
    }

    proptest! {
        #[test]
        fn segments_are_valid_packets_that_join_to_the_payload(
            v6: bool,
            tags in 0_usize..3,
            payload in prop::collection::vec(any::<u8>(), 1..9000),
            mss in 1_usize..2000,
        ) {
            let (frame, l4) = large(v6, tags, &payload, |tcp| tcp.ack = true);

            let segments = segments(&frame, l4, mss.max(payload.len() / 50));

            let mut joined = Vec::new();
            for segment in &segments {
                let packet = SlicedPacket::from_ethernet(segment).unwrap();
                let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("no TCP") };
                let checksum = match &packet.net {
                    Some(etherparse::NetSlice::Ipv4(ip)) => {
                        let header = ip.header().to_header();
                        prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
                        tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
                    }
                    Some(etherparse::NetSlice::Ipv6(ip)) => tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()),
                    _ => panic!("no IP"),
                };
                prop_assert_eq!(checksum.unwrap(), tcp.checksum());
                prop_assert_eq!(tcp.sequence_number(), 0xffff_ff00_u32.wrapping_add(u32::try_from(joined.len()).unwrap()));
                joined.extend_from_slice(tcp.payload());
            }
            prop_assert_eq!(joined, payload);
        }

        #[test]
        fn a_completed_udp_checksum_is_that_of_etherparse(payload in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2).write(&mut frame, &payload).unwrap();
            let expected = frame.clone();
            let mut seed = Sum::of(&frame[26..34]);
            seed.add_number(17 + (frame.len() - 34) as u64);
            frame[40..42].copy_from_slice(&seed.folded().to_be_bytes());

            prop_assert!(complete_checksum(&mut frame, 34, 6));

            prop_assert_eq!(frame, expected);
        }

        #[test]
        fn any_bytes_and_places_are_cut_or_refused(
            frame in prop::collection::vec(any::<u8>(), 0..200),
            start in 0_usize..70_000,
            mss in 0_usize..70_000,
            ip in prop::option::of(prop::sample::select(vec![[8, 0], [0x86, 0xdd]])),
        ) {
            let mut frame = frame;
            if let (Some(ip), Some(place)) = (ip, frame.get_mut(12..14)) {
                place.copy_from_slice(&ip);
            }
            if let Ok(mut large) = LargeFrame::new(&frame, start % 100, mss) {
                let mut header = Vec::new();
                let mut count = 0;
                while large.next_segment(&frame, &mut header).is_some() {
                    count += 1;
                }
                prop_assert!(count <= frame.len());
            }
            complete_checksum(&mut frame, start, mss);
        }
    }

    #[test]
    fn the_crc_of_an_sctp_packet_is_completed() {
        // The CRC of 32 bytes of zeros is 8A9136AA (RFC 3720, B.4), and SCTP sends its lowest byte first.
        let mut frame = [0; 34 + 32];
        frame[42..46].fill(0x55);

        assert!(complete_sctp_checksum(&mut frame, 34));

        assert_eq!(frame[42..46], [0xaa, 0x36, 0x91, 0x8a]);
        assert!(!complete_sctp_checksum(&mut frame, 56));
    }
}
