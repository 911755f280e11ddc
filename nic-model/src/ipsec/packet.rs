//! Where ESP and AH lie in a frame, and what of it they protect (RFC 4303, RFC 4106; RFC 4302, RFC 4543).

use super::{
    cipher::{ICV_LEN, IV_LEN},
    tables::Secret,
};
use crate::wire::IpVersion;

/// SPI and sequence number of ESP.
const ESP_FIXED_LEN: usize = 8;
/// ESP header with the initialisation vector.
const ESP_LEN: usize = ESP_FIXED_LEN + IV_LEN;
/// Pad length and next header, behind the payload of ESP.
const ESP_TAIL_LEN: usize = 2;
/// AH up to its authentication data.
const AH_FIXED_LEN: usize = 12;
/// AH with initialisation vector and check value.
const AH_LEN: usize = AH_FIXED_LEN + IV_LEN + ICV_LEN;
/// AH over IPv6, where its length is a multiple of eight (RFC 4543, erratum 3643).
const AH_LEN_V6: usize = AH_LEN + 4;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;

const PROTOCOL_ESP: u8 = 50;
const PROTOCOL_AH: u8 = 51;

/// An IPsec protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Encapsulating Security Payload.
    Esp,
    /// Authentication Header.
    Ah,
}

/// What ESP does with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confidentiality {
    /// It is encrypted (RFC 4106).
    Encrypted,
    /// It is authenticated only (RFC 4543).
    None,
}

/// Why a packet cannot be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketError {
    /// It is too short for its headers, or cut short.
    Length,
    /// Authentication failed.
    Authentication,
}

/// What a packet carries, after its protection was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Protocol of the payload.
    pub(crate) protocol: u8,
    /// Its first byte.
    pub(crate) start: usize,
    /// The first byte behind it.
    pub(crate) end: usize,
}

/// An IP packet with an IPsec header that follows the IP header at once. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// IP version.
    pub(crate) ip: IpVersion,
    /// First byte of the IP header.
    pub(crate) ip_start: usize,
    /// Which protocol.
    pub(crate) protocol: Protocol,
    /// First byte of the IPsec header.
    pub(crate) start: usize,
}

impl Place {
    /// Finds the IPsec header behind the IP header at `ip_start`; `None` if there is none, or extension headers come before
    /// it.
    pub(crate) fn find(frame: &[u8], ip_start: usize) -> Option<Self> {
        let packet = frame.get(ip_start..)?;
        let first = *packet.first()?;
        let (ip, len, protocol) = match first >> 4 {
            4 => (IpVersion::V4, usize::from(first & 0xF) * 4, *packet.get(9)?),
            6 => (IpVersion::V6, IPV6_LEN, *packet.get(6)?),
            _ => return None,
        };
        let protocol = match protocol {
            PROTOCOL_ESP => Protocol::Esp,
            PROTOCOL_AH => Protocol::Ah,
            _ => return None,
        };
        (len >= IPV4_LEN && len <= packet.len()).then_some(Self {
            ip,
            ip_start,
            protocol,
            start: ip_start + len,
        })
    }

    /// The security parameters index.
    pub(crate) fn spi(&self, frame: &[u8]) -> Option<[u8; 4]> {
        let at = match self.protocol {
            Protocol::Esp => self.start,
            Protocol::Ah => self.start + 4,
        };
        frame.get(at..)?.first_chunk().copied()
    }

    /// The place of the sequence number.
    fn sequence_at(&self) -> usize {
        match self.protocol {
            Protocol::Esp => self.start + 4,
            Protocol::Ah => self.start + 8,
        }
    }

    /// The place of the initialisation vector.
    fn iv_at(&self) -> usize {
        match self.protocol {
            Protocol::Esp => self.start + ESP_FIXED_LEN,
            Protocol::Ah => self.start + AH_FIXED_LEN,
        }
    }

    /// The first byte behind the IPsec header.
    pub(crate) fn payload_start(&self) -> usize {
        self.start
            + match (self.protocol, self.ip) {
                (Protocol::Esp, _) => ESP_LEN,
                (Protocol::Ah, IpVersion::V4) => AH_LEN,
                (Protocol::Ah, IpVersion::V6) => AH_LEN_V6,
            }
    }

    fn iv(&self, frame: &[u8]) -> Option<[u8; IV_LEN]> {
        frame.get(self.iv_at()..)?.first_chunk().copied()
    }

    /// Makes the packet of `frame`, which ends with the frame, that of a segment which is `by` segments after the one whose
    /// headers it has: its sequence number and its initialisation vector are advanced.
    pub(crate) fn advance(&self, frame: &mut [u8], by: usize) {
        if let Some(field) = field::<4>(frame, self.sequence_at()) {
            let by = u32::try_from(by).unwrap_or(u32::MAX);
            *field = u32::from_be_bytes(*field).wrapping_add(by).to_be_bytes();
        }
        if let Some(field) = field::<IV_LEN>(frame, self.iv_at()) {
            let by = u64::try_from(by).unwrap_or(u64::MAX);
            *field = u64::from_be_bytes(*field).wrapping_add(by).to_be_bytes();
        }
    }

    /// Protects the packet, which ends with the frame and has room for its check value.
    pub(crate) fn protect(
        &self,
        frame: &mut [u8],
        secret: &Secret,
        confidentiality: Confidentiality,
    ) -> Result<(), PacketError> {
        let iv = self.iv(frame).ok_or(PacketError::Length)?;
        let (cipher, nonce) = secret.cipher(iv);
        match self.protocol {
            Protocol::Esp => {
                let parts = EspParts::of(frame, self.start, confidentiality)?;
                let icv = cipher.seal(&nonce, parts.covered, parts.text);
                *parts.icv = icv.ok_or(PacketError::Length)?;
            }
            Protocol::Ah => {
                let covered = self.ah_covered(frame).ok_or(PacketError::Length)?;
                let icv = cipher.seal(&nonce, &covered, &mut []);
                let field = field(frame, self.iv_at() + IV_LEN).ok_or(PacketError::Length)?;
                *field = icv.ok_or(PacketError::Length)?;
            }
        }
        Ok(())
    }

    /// Checks the packet, which ends with `frame`, and decrypts it in place.
    pub(crate) fn open(
        &self,
        frame: &mut [u8],
        secret: &Secret,
        confidentiality: Confidentiality,
    ) -> Result<Inner, PacketError> {
        let iv = self.iv(frame).ok_or(PacketError::Length)?;
        let (cipher, nonce) = secret.cipher(iv);
        match self.protocol {
            Protocol::Esp => {
                let parts = EspParts::of(frame, self.start, confidentiality)?;
                cipher
                    .open(&nonce, parts.covered, parts.text, parts.icv)
                    .map_err(|_| PacketError::Authentication)?;
                self.esp_inner(frame)
            }
            Protocol::Ah => {
                let covered = self.ah_covered(frame).ok_or(PacketError::Length)?;
                let icv = *field(frame, self.iv_at() + IV_LEN).ok_or(PacketError::Length)?;
                cipher
                    .open(&nonce, &covered, &mut [], &icv)
                    .map_err(|_| PacketError::Authentication)?;
                Ok(Inner {
                    protocol: *frame.get(self.start).ok_or(PacketError::Length)?,
                    start: self.payload_start(),
                    end: frame.len(),
                })
            }
        }
    }

    /// What the trailer of a decrypted ESP packet says.
    fn esp_inner(&self, frame: &[u8]) -> Result<Inner, PacketError> {
        let inner = || {
            let tail = frame.len().checked_sub(ICV_LEN + ESP_TAIL_LEN)?;
            let [padding, protocol] = *frame.get(tail..)?.first_chunk()?;
            let end = tail.checked_sub(usize::from(padding))?;
            let start = self.payload_start();
            (start <= end).then_some(Inner {
                protocol,
                start,
                end,
            })
        };
        inner().ok_or(PacketError::Length)
    }

    /// What AH covers: the packet with the fields that change on the way, and its authentication data, as 0
    /// (RFC 4302, 3.3.3). `None` if the packet is too short, or has IPv4 options, some of which may change as well.
    fn ah_covered(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut covered = frame.get(self.ip_start..)?.to_vec();
        let header_len = self.start - self.ip_start;
        let payload = self.payload_start() - self.ip_start;
        if covered.len() < payload {
            return None;
        }
        match self.ip {
            IpVersion::V4 if header_len == IPV4_LEN => {
                // Type of service; flags and fragment offset; time to live; checksum.
                clear(&mut covered, 1, 1);
                clear(&mut covered, 6, 3);
                clear(&mut covered, 10, 2);
            }
            IpVersion::V4 => return None,
            IpVersion::V6 => {
                // Traffic class and flow label; hop limit.
                clear(&mut covered, 0, 4);
                *covered.first_mut()? = 0x60;
                clear(&mut covered, 7, 1);
            }
        }
        clear(&mut covered, header_len + AH_FIXED_LEN, IV_LEN + ICV_LEN);
        Some(covered)
    }
}

/// The parts of an ESP packet for the cipher.
struct EspParts<'a> {
    covered: &'a [u8],
    text: &'a mut [u8],
    icv: &'a mut [u8; ICV_LEN],
}

impl<'a> EspParts<'a> {
    fn of(
        frame: &'a mut [u8],
        start: usize,
        confidentiality: Confidentiality,
    ) -> Result<Self, PacketError> {
        let packet = frame.get_mut(start..).ok_or(PacketError::Length)?;
        let (packet, icv) = packet.split_last_chunk_mut().ok_or(PacketError::Length)?;
        if packet.len() < ESP_LEN + ESP_TAIL_LEN {
            return Err(PacketError::Length);
        }
        Ok(match confidentiality {
            Confidentiality::Encrypted => {
                let (header, text) = packet.split_at_mut(ESP_LEN);
                Self {
                    covered: &header[..ESP_FIXED_LEN],
                    text,
                    icv,
                }
            }
            Confidentiality::None => Self {
                covered: packet,
                text: &mut [],
                icv,
            },
        })
    }
}

/// The ESP trailer of a payload of `payload_len` bytes: padding, pad length, next header, and room for the check value
/// (RFC 4303, 2.4).
pub(crate) fn esp_trailer(payload_len: usize, next_header: u8) -> Vec<u8> {
    let padding = (payload_len + ESP_TAIL_LEN).next_multiple_of(4) - payload_len - ESP_TAIL_LEN;
    let mut trailer: Vec<u8> = (1..).take(padding).collect();
    trailer.push(u8::try_from(padding).unwrap_or(0));
    trailer.push(next_header);
    trailer.resize(trailer.len() + ICV_LEN, 0);
    trailer
}

fn field<const N: usize>(frame: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    frame.get_mut(at..)?.first_chunk_mut()
}

fn clear(bytes: &mut [u8], at: usize, len: usize) {
    if let Some(bytes) = bytes.get_mut(at..at + len) {
        bytes.fill(0);
    }
}
