//! What a driver does to a frame before the card completes it: pseudo-header sums instead of checksums, lengths of
//! headers (7.2.3.2, 7.2.4).

use anyhow::{Result, bail, ensure};
use nic_driver::{L4, Packet};

use crate::frames::ETHERNET;

/// A frame that the card is to complete.
#[derive(Clone, Debug)]
pub struct Prepared {
    bytes: Vec<u8>,
    request: Packet<'static>,
}

impl Prepared {
    /// What to ask the card for.
    #[must_use]
    pub fn packet(&self) -> Packet<'_> {
        Packet {
            bytes: &self.bytes,
            ..self.request
        }
    }
}

/// Takes the checksums out of a finished frame and asks for them.
///
/// # Errors
/// The frame is not of IPv4 without options or IPv6 without extensions.
pub fn checksum(frame: &[u8], l4: L4) -> Result<Prepared> {
    prepare(frame, l4, None)
}

/// Makes a large frame of TCP out of a finished one with little or no payload, to be cut into pieces of `mss` bytes.
///
/// # Errors
/// As [`checksum`].
pub fn segmentation(small: &[u8], payload: &[u8], mss: u16) -> Result<Prepared> {
    let headers = header_lens(small)?;
    let tcp = headers.mac + headers.ip;
    let l4_len = usize::from(small[tcp + 12] >> 4) * 4;
    let mut large = small[..tcp + l4_len].to_vec();
    large.extend(payload);
    prepare(&large, L4::Tcp, Some((mss, l4_len)))
}

struct HeaderLens {
    mac: usize,
    ip: usize,
    v4: bool,
}

fn header_lens(frame: &[u8]) -> Result<HeaderLens> {
    ensure!(frame.len() >= ETHERNET + 20, "too short for IP");
    Ok(match frame[12..14] {
        [0x08, 0x00] => HeaderLens {
            mac: ETHERNET,
            ip: usize::from(frame[ETHERNET] & 15) * 4,
            v4: true,
        },
        [0x86, 0xDD] => HeaderLens {
            mac: ETHERNET,
            ip: 40,
            v4: false,
        },
        _ => bail!("no IP"),
    })
}

fn prepare(frame: &[u8], l4: L4, segments: Option<(u16, usize)>) -> Result<Prepared> {
    let mut bytes = frame.to_vec();
    let HeaderLens { mac, ip, v4 } = header_lens(frame)?;
    let transport = mac + ip;
    let (protocol, field) = match l4 {
        L4::Tcp => (6, transport + 16),
        L4::Udp => (17, transport + 6),
        other => bail!("no checksum of {other:?} here"),
    };
    let addresses = if v4 {
        mac + 12..mac + 20
    } else {
        mac + 8..mac + 40
    };
    let mut sum: u64 = protocol;
    for pair in frame[addresses].chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    if segments.is_none() {
        sum += (frame.len() - transport) as u64;
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    bytes[field..field + 2].copy_from_slice(&[high, low]);
    if v4 {
        bytes[mac + 10..mac + 12].fill(0);
    }
    if segments.is_some() {
        // The card writes the length of each segment.
        let length = if v4 { mac + 2 } else { mac + 4 };
        bytes[length..length + 2].fill(0);
    }
    let request = Packet {
        ip_checksum: v4,
        ipv4: v4,
        l4: Some(l4),
        mss: segments.map(|(mss, _)| mss),
        mac_len: u8::try_from(mac)?,
        ip_len: u16::try_from(ip)?,
        l4_len: segments.map_or(Ok(0), |(_, len)| u8::try_from(len))?,
        ..Packet::default()
    };
    Ok(Prepared { bytes, request })
}
