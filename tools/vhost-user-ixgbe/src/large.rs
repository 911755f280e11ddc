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

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of an IPv4 packet of `len` bytes behind the MAC header `mac`, with `options` bytes of TCP options.
    fn headers(mac: &[u8], options: u8, len: u16) -> Vec<u8> {
        let mut ip = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        let mut tcp = vec![0; 20 + usize::from(options)];
        tcp[12] = ((20 + options) / 4) << 4;
        [mac, &ip, &tcp].concat()
    }

    fn ethernet() -> Vec<u8> {
        let mut mac = vec![2; 14];
        mac[12..].copy_from_slice(&[8, 0]);
        mac
    }

    #[test]
    fn a_segment_is_the_payload_by_the_packets_rounded_up() {
        let look = headers(&ethernet(), 0, 40 + 2921);

        let large = Large::new(&look, 14 + 40 + 2921, 2).unwrap();

        assert_eq!(
            (large.headers, large.tcp, large.segment, large.checksum_at),
            (54, 34, 1461, 50)
        );
        // 6 + (20 + 2921) + 0x0A00 + 1 + 0x0A00 + 2.
        assert_eq!(large.checksum, 8070_u16.to_be_bytes());
    }

    #[test]
    fn a_tag_and_a_time_stamp_move_what_is_behind_them() {
        let mut mac = vec![2; 18];
        mac[12..].copy_from_slice(&[0x81, 0, 0, 5, 8, 0]);
        let look = headers(&mac, 12, 52 + 3000);

        let large = Large::new(&look, 18 + 52 + 3000, 3).unwrap();

        assert_eq!(
            (large.headers, large.tcp, large.segment, large.checksum_at),
            (70, 38, 1000, 54)
        );
    }

    #[test]
    fn what_is_no_large_packet_of_tcp_is_a_packet_as_any_other() {
        let look = headers(&ethernet(), 0, 40 + 100);
        let mut udp = look.clone();
        udp[23] = 17;
        let mut options = look.clone();
        options[14] = 0x46;
        let mut ipv6 = look.clone();
        ipv6[12..14].copy_from_slice(&[0x86, 0xDD]);

        let taken = [
            Large::new(&look, 154, 1),
            Large::new(&look, 54, 2),
            Large::new(&look[..40], 154, 2),
            Large::new(&udp, 154, 2),
            Large::new(&options, 154, 2),
            Large::new(&ipv6, 154, 2),
        ];

        assert_eq!(taken, [None; 6]);
    }
}
