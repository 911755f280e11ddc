//! A large receive as the guest is told of it: as segments that it could be cut into again (virtio 1.2, 5.1.6.4.1).
//!
//! The card makes one packet of segments that follow one another, with the headers of one packet (7.11.5.3). Virtio wants
//! such a packet with the length of a segment, and with a checksum that is not complete: the pseudo header's sum.

use crate::offload::tcp_pseudo_header;

/// Bytes at the beginning of a frame in which the headers end: Ethernet with a tag, IPv4 and TCP with a time stamp.
pub const LOOK: usize = 70;

const TCP_CHECKSUM: usize = 16;

/// What virtio's header says of it, and what is to be written into the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Large {
    /// Bytes of payload in a segment.
    pub segment: u16,
    /// Bytes of headers.
    pub headers: u16,
    /// Where the TCP header begins.
    pub tcp: u16,
    /// Where the checksum is.
    pub checksum_at: usize,
    /// What has to be there.
    pub checksum: [u8; 2],
}

impl Large {
    /// A packet of `len` bytes whose first ones are `look`, made of `segments`. `None` if it is not IPv4 and TCP with a
    /// payload of more than one segment: then it is a packet as any other.
    #[must_use]
    pub fn new(look: &[u8], len: usize, segments: usize) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*look.get(at)?, *look.get(at + 1)?]));
        let (ip, kind) = match word(12)? {
            0x8100 => (18, word(16)?),
            kind => (14, kind),
        };
        if kind != 0x0800 || *look.get(ip)? != 0x45 || *look.get(ip + 9)? != 6 {
            return None;
        }
        let tcp = ip + 20;
        let headers = tcp + usize::from(look.get(tcp + 12)? >> 4) * 4;
        let payload = len.checked_sub(headers)?;
        if segments < 2 || payload == 0 {
            return None;
        }
        let tcp_len = u16::try_from(len - tcp).ok()?;
        let sum = tcp_pseudo_header(look.get(ip + 12..tcp)?, tcp_len);
        Some(Self {
            segment: u16::try_from(payload.div_ceil(segments)).ok()?,
            headers: u16::try_from(headers).ok()?,
            tcp: u16::try_from(tcp).ok()?,
            checksum_at: tcp + TCP_CHECKSUM,
            checksum: sum.to_be_bytes(),
        })
    }
}
