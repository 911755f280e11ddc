//! ESP and AH in software: what the far end of the cable does with a protected packet, and what a driver hands to a card
//! that protects (RFC 4303, RFC 4106; RFC 4302, RFC 4543).
//!
//! It works on packets as the RFCs draw them and shares nothing with the model but the cipher, which published vectors
//! pin.

use std::net::IpAddr;

use aes_gcm::{Aes128Gcm, KeyInit, aead::AeadInOut};
use anyhow::{Context, Result, bail, ensure};

use crate::frames::ETHERNET;

/// Bytes of the check value.
pub const ICV: usize = 16;
const ESP_HEADER: usize = 16;

/// What a security association does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ESP, encrypted.
    Esp,
    /// ESP that only authenticates.
    EspNull,
    /// AH.
    Ah,
}

/// A security association: one direction between two hosts.
#[derive(Clone, Copy, Debug)]
pub struct Association {
    /// What it does.
    pub kind: Kind,
    /// Security parameters index.
    pub spi: u32,
    /// Key.
    pub key: [u8; 16],
    /// The part of the nonce that is not in the packets.
    pub salt: [u8; 4],
}

/// How an IP packet is put into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its payload is.
    Transport,
    /// All of it is, between these two hosts.
    Tunnel(IpAddr, IpAddr),
}

/// A packet that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Sequence number.
    pub sequence: u32,
    /// Initialisation vector.
    pub iv: u64,
    /// What was protected: of transport mode the whole IP packet, as it was before.
    pub packet: Vec<u8>,
}

/// The two parts of an IP packet that protection keeps apart.
struct IpParts<'a> {
    header: &'a [u8],
    protocol: u8,
    payload: &'a [u8],
}

fn split(packet: &[u8]) -> Result<IpParts<'_>> {
    let (len, at, total) = match packet.first().map(|first| first >> 4) {
        Some(4) => (20, 9, be16(packet, 2)?),
        Some(6) => (40, 6, 40 + be16(packet, 4)?),
        _ => bail!("no IP packet: {packet:02x?}"),
    };
    let protocol = *packet.get(at).context("cut short")?;
    Ok(IpParts {
        header: packet.get(..len).context("cut short")?,
        protocol,
        payload: packet.get(len..total).context("cut short")?,
    })
}

fn be16(bytes: &[u8], at: usize) -> Result<usize> {
    let [high, low] = *bytes
        .get(at..at + 2)
        .and_then(|word| word.as_array())
        .context("cut short")?;
    Ok(u16::from_be_bytes([high, low]).into())
}

/// An IP packet with the header of another, a new protocol and a new payload.
fn with_payload(header: &[u8], protocol: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet = [header, payload].concat();
    let total = u16::try_from(packet.len())?;
    if header[0] >> 4 == 4 {
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[9] = protocol;
        packet[10..12].fill(0);
        let (header, _) = etherparse::Ipv4Header::from_slice(&packet)?;
        packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    } else {
        packet[4..6].copy_from_slice(&(total - 40).to_be_bytes());
        packet[6] = protocol;
    }
    Ok(packet)
}

fn outer_header(from: IpAddr, to: IpAddr) -> Result<Vec<u8>> {
    Ok(match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let protocol = etherparse::IpNumber::ENCAPSULATING_SECURITY_PAYLOAD;
            let header = etherparse::Ipv4Header::new(0, 64, protocol, from.octets(), to.octets())?;
            header.to_bytes().to_vec()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, 50, 64];
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => bail!("a tunnel between IP versions"),
    })
}

impl Association {
    fn nonce(&self, iv: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&iv.to_be_bytes());
        nonce
    }

    fn cipher(&self) -> Aes128Gcm {
        Aes128Gcm::new(&self.key.into())
    }

    /// Puts an IP packet into one of this association with a check value of zeros: what a driver hands to a card.
    ///
    /// # Errors
    /// It is no IP packet, or gets too long.
    pub fn prepare(&self, packet: &[u8], mode: Mode, sequence: u32, iv: u64) -> Result<Vec<u8>> {
        let parts = split(packet)?;
        let outer;
        let (header, inner_protocol, payload) = match mode {
            Mode::Transport => (parts.header, parts.protocol, parts.payload),
            Mode::Tunnel(from, to) => {
                outer = outer_header(from, to)?;
                let inner = if parts.header.len() == 20 { 4 } else { 41 };
                (&outer[..], inner, packet)
            }
        };
        let numbers = [&self.spi.to_be_bytes()[..], &sequence.to_be_bytes()].concat();
        if self.kind == Kind::Ah {
            let mut body = vec![inner_protocol, 0, 0, 0];
            body.extend(numbers);
            body.extend(iv.to_be_bytes());
            body.extend([0; ICV]);
            if header.len() == 40 {
                body.extend([0; 4]);
            }
            body[1] = u8::try_from(body.len() / 4 - 2)?;
            body.extend(payload);
            return with_payload(header, 51, &body);
        }
        let mut body = numbers;
        body.extend(iv.to_be_bytes());
        body.extend(payload);
        let padding = (4 - (payload.len() + 2) % 4) % 4;
        body.extend((1..).take(padding));
        body.extend([u8::try_from(padding)?, inner_protocol]);
        body.extend([0; ICV]);
        with_payload(header, 50, &body)
    }

    /// Bytes behind the payload of a prepared ESP packet: what the card is told as the length of the trailer.
    ///
    /// # Errors
    /// It is too short.
    pub fn trailer_len(prepared: &[u8]) -> Result<u16> {
        let at = prepared.len().checked_sub(ICV + 2).context("too short")?;
        Ok(u16::from(prepared[at]) + 2 + 16)
    }

    /// Protects a packet of [`Association::prepare`].
    ///
    /// # Errors
    /// It is too short.
    pub fn protect(&self, prepared: &[u8]) -> Result<Vec<u8>> {
        let header = split(prepared)?.header.len();
        let (covered, mut text, iv, icv_at) = self.parts(prepared, header)?;
        let tag = self
            .cipher()
            .encrypt_inout_detached(&self.nonce(iv).into(), &covered, text.as_mut_slice().into())
            .map_err(|_| anyhow::anyhow!("too long"))?;
        let mut packet = prepared.to_vec();
        packet[header + ESP_HEADER..][..text.len()].copy_from_slice(&text);
        packet[icv_at..icv_at + ICV].copy_from_slice(&tag);
        Ok(packet)
    }

    /// A protected packet.
    ///
    /// # Errors
    /// As [`Association::prepare`].
    pub fn seal(&self, packet: &[u8], mode: Mode, sequence: u32, iv: u64) -> Result<Vec<u8>> {
        self.protect(&self.prepare(packet, mode, sequence, iv)?)
    }

    /// The parts of a packet for the cipher: what is covered only, what is encrypted, the initialisation vector, and the
    /// place of the check value.
    fn parts(&self, packet: &[u8], header: usize) -> Result<(Vec<u8>, Vec<u8>, u64, usize)> {
        let iv_at = header + if self.kind == Kind::Ah { 12 } else { 8 };
        let iv = packet.get(iv_at..iv_at + 8).context("too short")?;
        let iv = u64::from_be_bytes(iv.try_into()?);
        if self.kind == Kind::Ah {
            let mut covered = packet.to_vec();
            if header == 20 {
                for at in [1, 6, 7, 8, 10, 11] {
                    covered[at] = 0;
                }
            } else {
                covered[..4].copy_from_slice(&[0x60, 0, 0, 0]);
                covered[7] = 0;
            }
            covered[iv_at..iv_at + 8 + ICV].fill(0);
            return Ok((covered, Vec::new(), iv, iv_at + 8));
        }
        let icv_at = packet.len() - ICV;
        let text = &packet[header + ESP_HEADER..icv_at];
        Ok(match self.kind {
            Kind::EspNull => (packet[header..icv_at].to_vec(), Vec::new(), iv, icv_at),
            _ => (
                packet[header..header + 8].to_vec(),
                text.to_vec(),
                iv,
                icv_at,
            ),
        })
    }

    /// Opens a protected packet.
    ///
    /// # Errors
    /// It is not of this association, or not as its sender made it.
    pub fn open(&self, packet: &[u8]) -> Result<Opened> {
        let IpParts {
            header,
            protocol,
            payload,
        } = split(packet)?;
        let packet = &packet[..header.len() + payload.len()];
        let expected = if self.kind == Kind::Ah { 51 } else { 50 };
        ensure!(protocol == expected, "protocol {protocol}");
        let numbers = if self.kind == Kind::Ah { 4 } else { 0 };
        let number = |at: usize| -> Result<u32> {
            let bytes = payload
                .get(numbers + at..numbers + at + 4)
                .context("short")?;
            Ok(u32::from_be_bytes(bytes.try_into()?))
        };
        ensure!(number(0)? == self.spi, "SPI {:#x}", number(0)?);
        let (covered, mut text, iv, icv_at) = self.parts(packet, header.len())?;
        let tag: [u8; ICV] = packet[icv_at..icv_at + ICV].try_into()?;
        self.cipher()
            .decrypt_inout_detached(
                &self.nonce(iv).into(),
                &covered,
                text.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| anyhow::anyhow!("authentication failed"))?;
        let (next, inner) = if self.kind == Kind::Ah {
            let len = (usize::from(payload[1]) + 2) * 4;
            (payload[0], payload[len..].to_vec())
        } else {
            if self.kind == Kind::EspNull {
                text = packet[header.len() + ESP_HEADER..icv_at].to_vec();
            }
            let next = text.pop().context("no trailer")?;
            let padding = usize::from(text.pop().context("no trailer")?);
            let end = text.len().checked_sub(padding).context("padding")?;
            ensure!(
                text[end..]
                    .iter()
                    .zip(1..)
                    .all(|(is, number)| *is == number),
                "padding {:02x?}",
                &text[end..]
            );
            ensure!(packet.len() % 4 == header.len() % 4, "not aligned");
            (next, text[..end].to_vec())
        };
        Ok(Opened {
            sequence: number(4)?,
            iv,
            packet: if matches!(next, 4 | 41) {
                inner
            } else {
                with_payload(header, next, &inner)?
            },
        })
    }
}

/// The frame with another IP packet in it.
#[must_use]
pub fn reframed(frame: &[u8], packet: &[u8]) -> Vec<u8> {
    let mut frame = [&frame[..ETHERNET], packet].concat();
    frame[12..14].copy_from_slice(if packet[0] >> 4 == 4 {
        &[0x08, 0x00]
    } else {
        &[0x86, 0xDD]
    });
    frame
}
