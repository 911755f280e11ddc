//! Cutting a large TCP or UDP frame into segments (7.2.4).

use std::ops::Range;

use super::Sum;
use crate::wire::IpVersion;

/// L4 protocol of a frame that is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP: each segment is a datagram of its own.
    Udp,
}

impl Transport {
    /// Shortest header.
    #[must_use]
    pub const fn min_header_len(self) -> usize {
        match self {
            Self::Tcp => 20,
            Self::Udp => 8,
        }
    }

    /// Place of the checksum in the header.
    #[must_use]
    pub const fn checksum_offset(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// Where the headers of a frame lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// IP version of the header at `ip_start`.
    pub ip: IpVersion,
    /// First byte of the IP header.
    pub ip_start: usize,
    /// First byte of the L4 header. What lies between is the IP header with its options or extension headers, for a
    /// tunnel also the inner headers.
    pub l4_start: usize,
    /// L4 protocol.
    pub transport: Transport,
}

impl Layout {
    const fn min_ip_len(&self) -> usize {
        match self.ip {
            IpVersion::V4 => 20,
            IpVersion::V6 => 40,
        }
    }

    /// Place of the L4 checksum in the frame.
    #[must_use]
    pub const fn l4_checksum_at(&self) -> usize {
        self.l4_start + self.transport.checksum_offset()
    }
}

/// Which of the twelve TCP flag bits (reserved, NS, CWR ... FIN) the segments keep: DTXTCPFLGL and DTXTCPFLGH
/// (8.2.3.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlagMasks {
    /// Of the first segment.
    pub first: u16,
    /// Of those between.
    pub middle: u16,
    /// Of the last segment.
    pub last: u16,
}

impl Default for TcpFlagMasks {
    /// FIN and PSH in the last segment only, CWR in the first only: the card's reset values, and what a kernel's own
    /// segmentation does.
    fn default() -> Self {
        Self {
            first: 0xFF6,
            middle: 0xF76,
            last: 0xF7F,
        }
    }
}

/// Why a frame cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentationError {
    /// Segments without payload would never come to an end.
    #[error("the segment size is 0")]
    NoSegmentSize,
    /// There is nothing to cut.
    #[error("the frame has no payload")]
    NoPayload,
    /// The headers are shorter than their protocols allow, or one lies outside the frame.
    #[error(
        "IP header at {ip_start}, L4 header at {l4_start} do not fit in headers of {header_len} bytes"
    )]
    Headers {
        /// First byte of the IP header.
        ip_start: usize,
        /// First byte of the L4 header.
        l4_start: usize,
        /// Length of all headers.
        header_len: usize,
    },
    /// A segment is longer than an IP length field can say.
    #[error("a segment of {len} bytes is longer than IP can carry")]
    TooLong {
        /// Bytes from the IP header to the end of the longest segment.
        len: usize,
    },
}

/// A large frame and how it is cut. Segments are numbered from 0 and can be asked for in any order.
///
/// The *template* are the headers of the large frame. Its IPv4 checksum field is summed as it stands (0, or the
/// complement of what a tunnel adds), and its L4 checksum field is the folded pseudo-header sum without a length.
#[derive(Clone, Debug)]
pub struct Segmenter<'t> {
    template: &'t [u8],
    layout: Layout,
    payload_len: usize,
    mss: usize,
    masks: TcpFlagMasks,
    count: usize,
}

impl<'t> Segmenter<'t> {
    /// Cuts a frame with the headers `template` and `payload_len` bytes of payload into segments of `mss` payload
    /// bytes.
    ///
    /// # Errors
    /// [`SegmentationError`].
    pub fn new(
        template: &'t [u8],
        layout: Layout,
        payload_len: usize,
        mss: usize,
        masks: TcpFlagMasks,
    ) -> Result<Self, SegmentationError> {
        if mss == 0 {
            return Err(SegmentationError::NoSegmentSize);
        }
        if payload_len == 0 {
            return Err(SegmentationError::NoPayload);
        }
        let Layout {
            ip_start, l4_start, ..
        } = layout;
        let ip_fits = l4_start
            .checked_sub(ip_start)
            .is_some_and(|len| len >= layout.min_ip_len());
        let l4_fits = template
            .len()
            .checked_sub(l4_start)
            .is_some_and(|len| len >= layout.transport.min_header_len());
        if !ip_fits || !l4_fits {
            return Err(SegmentationError::Headers {
                ip_start,
                l4_start,
                header_len: template.len(),
            });
        }
        let len = (template.len() - ip_start).saturating_add(mss.min(payload_len));
        if len > usize::from(u16::MAX) {
            return Err(SegmentationError::TooLong { len });
        }
        Ok(Self {
            template,
            layout,
            payload_len,
            mss,
            masks,
            count: payload_len.div_ceil(mss),
        })
    }

    /// Number of segments, at least 1.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The payload of segment `i`, from the start of the large frame's payload; empty past the last.
    #[must_use]
    pub fn payload(&self, i: usize) -> Range<usize> {
        let start = i.saturating_mul(self.mss).min(self.payload_len);
        start..start.saturating_add(self.mss).min(self.payload_len)
    }

    /// Length of the headers of a segment.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.template.len()
    }

    /// Writes the headers of segment `i` to the start of `frame`: lengths, IPv4 identification, TCP sequence number and
    /// flags. The checksum fields are still those of the template. Nothing happens if `frame` is shorter than
    /// [`Segmenter::header_len`].
    pub fn write_header(&self, i: usize, frame: &mut [u8]) {
        let Some(header) = frame.get_mut(..self.template.len()) else {
            return;
        };
        header.copy_from_slice(self.template);
        let Layout {
            ip_start, l4_start, ..
        } = self.layout;
        let payload = self.payload(i);
        let (ip, l4) = header[ip_start..].split_at_mut(l4_start - ip_start);
        match self.layout.ip {
            IpVersion::V4 => {
                put_u16(ip, 2, low_u16(ip.len() + l4.len() + payload.len()));
                let id = get_u16(ip, 4).wrapping_add(low_u16(i));
                put_u16(ip, 4, id);
            }
            IpVersion::V6 => put_u16(ip, 4, low_u16(ip.len() - 40 + l4.len() + payload.len())),
        }
        match self.layout.transport {
            Transport::Tcp => {
                if let Some(seq) = l4[4..].first_chunk_mut::<4>() {
                    let advance = u32::try_from(payload.start).unwrap_or(u32::MAX);
                    *seq = u32::from_be_bytes(*seq).wrapping_add(advance).to_be_bytes();
                }
                let flags = get_u16(l4, 12);
                put_u16(l4, 12, flags & (0xF000 | self.flag_mask(i)));
            }
            Transport::Udp => put_u16(l4, 4, low_u16(l4.len() + payload.len())),
        }
    }

    /// Completes the IPv4 checksum of headers made by [`Segmenter::write_header`]; nothing for IPv6.
    pub fn insert_ip_checksum(&self, header: &mut [u8]) {
        if self.layout.ip == IpVersion::V4
            && let Some(ip) = header.get_mut(self.layout.ip_start..self.layout.l4_start)
        {
            let checksum = Sum::of(ip).checksum();
            put_u16(ip, 10, checksum);
        }
    }

    /// Adds the length of segment `i` to the pseudo-header sum in the L4 checksum field of `header`: what an offload
    /// that completes the checksum starts from.
    pub fn seed_l4_checksum(&self, i: usize, header: &mut [u8]) {
        let l4_len = self.template.len() - self.layout.l4_start;
        add_length_to_seed(
            header,
            self.layout.l4_checksum_at(),
            l4_len + self.payload(i).len(),
        );
    }

    /// Completes the L4 checksum of a `header` whose field was seeded; `payload` is the sum of the segment's payload
    /// alone.
    pub fn insert_l4_checksum(&self, header: &mut [u8], payload: Sum) {
        let Some(l4) = header.get_mut(self.layout.l4_start..) else {
            return;
        };
        let mut sum = Sum::of(l4);
        sum.append(payload);
        let checksum = match self.layout.transport {
            Transport::Tcp => sum.checksum(),
            Transport::Udp => sum.udp_checksum(),
        };
        put_u16(l4, self.layout.transport.checksum_offset(), checksum);
    }

    /// Makes `frame` the complete segment `i` of a large frame whose payload is `payload`.
    pub fn write_frame(&self, i: usize, payload: &[u8], frame: &mut Vec<u8>) {
        frame.clear();
        frame.resize(self.template.len(), 0);
        self.write_header(i, frame);
        self.insert_ip_checksum(frame);
        self.seed_l4_checksum(i, frame);
        let piece = payload.get(self.payload(i)).unwrap_or_default();
        self.insert_l4_checksum(frame, Sum::of(piece));
        frame.extend_from_slice(piece);
    }

    fn flag_mask(&self, i: usize) -> u16 {
        match i {
            _ if self.count == 1 => 0xFFF,
            0 => self.masks.first,
            _ if i + 1 == self.count => self.masks.last,
            _ => self.masks.middle,
        }
    }
}

/// Makes a template of the headers of a large frame as kernels hand them over (`virtio_net_hdr` with `NEEDS_CSUM` and a
/// GSO type): there the IPv4 checksum is that of the large frame, and the pseudo-header sum includes its length.
pub fn template_from_large_frame(header: &mut [u8], layout: &Layout, payload_len: usize) {
    if layout.ip == IpVersion::V4
        && let Some(checksum) = header
            .get_mut(layout.ip_start..)
            .and_then(|ip| ip.get_mut(10..12))
    {
        checksum.fill(0);
    }
    let at = layout.l4_checksum_at();
    if at + 2 <= header.len() {
        let l4_len = header.len() - layout.l4_start + payload_len;
        let mut sum = Sum::of(&header[at..at + 2]);
        sum.subtract_number(u64::try_from(l4_len).unwrap_or(u64::MAX));
        put_u16(header, at, sum.folded());
    }
}

/// Adds an L4 length to the folded pseudo-header sum at byte `at` of `header`.
fn add_length_to_seed(header: &mut [u8], at: usize, len: usize) {
    if let Some(field) = header.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        let mut sum = Sum::of(field);
        sum.add_number(u64::try_from(len).unwrap_or(u64::MAX));
        *field = sum.folded().to_be_bytes();
    }
}

/// The big-endian word at byte `at`; 0 if the bytes end first.
fn get_u16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |word| u16::from_be_bytes(*word))
}

/// Writes a big-endian word at byte `at`, if it is there.
pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(word) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *word = value.to_be_bytes();
    }
}

/// The low 16 bits, for fields that count modulo 65536.
fn low_u16(value: usize) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests;
