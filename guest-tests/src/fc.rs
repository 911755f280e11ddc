//! FC frames in Ethernet frames (FC-FS-2, FC-BB-5), as scenarios make them and take them apart.

use anyhow::{Context, Result, ensure};

use crate::frames::{ETHERNET, Mac};

/// Ethertype of `FCoE`.
pub const FCOE: [u8; 2] = [0x89, 0x06];
/// Ethernet, `FCoE` and FC header.
pub const HEADERS: usize = FC + 24;
/// First byte of the FC frame.
const FC: usize = ETHERNET + 14;

/// SOF of the first frame of a class 3 sequence.
pub const SOF_I3: u8 = 0x2E;
/// SOF of its other frames.
pub const SOF_N3: u8 = 0x36;
/// EOF of a frame that is not the last of its sequence.
pub const EOF_N: u8 = 0x41;
/// EOF of the last one.
pub const EOF_T: u8 = 0x42;

/// F_CTL: the sender has answered the exchange.
pub const EXCHANGE_CONTEXT: u32 = 1 << 23;
/// F_CTL: the last sequence of its exchange.
pub const LAST_SEQUENCE: u32 = 1 << 20;
/// F_CTL: the last frame of its sequence.
pub const END_SEQUENCE: u32 = 1 << 19;
/// F_CTL: the receiver may send the next sequence.
pub const SEQUENCE_INITIATIVE: u32 = 1 << 16;
/// F_CTL: the parameter is a relative offset.
pub const RELATIVE_OFFSET: u32 = 1 << 3;

/// A frame of class 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fc {
    /// Ethernet addresses, destination first.
    pub addresses: [Mac; 2],
    /// Start of frame code.
    pub sof: u8,
    /// End of frame code.
    pub eof: u8,
    /// Kind of frame.
    pub r_ctl: u8,
    /// FC addresses, destination first.
    pub ids: [[u8; 3]; 2],
    /// Protocol.
    pub fc_type: u8,
    /// Frame control, 24 bits.
    pub f_ctl: u32,
    /// Sequence id.
    pub seq_id: u8,
    /// Sequence count.
    pub seq_cnt: u16,
    /// Exchange ids, the originator's first.
    pub exchange: [u16; 2],
    /// Relative offset, or whatever the kind says.
    pub parameter: u32,
    /// What it carries; a multiple of 4 bytes.
    pub payload: Vec<u8>,
}

impl Fc {
    /// The whole frame with its FC CRC.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.without_trailer();
        let crc = crc32(&bytes[FC..]);
        bytes.extend(crc.to_le_bytes());
        bytes.extend([self.eof, 0, 0, 0]);
        bytes
    }

    /// The frame up to the end of its payload.
    #[must_use]
    pub fn without_trailer(&self) -> Vec<u8> {
        let [to, from] = self.addresses;
        let mut bytes = [&to[..], &from, &FCOE, &[0; 13], &[self.sof]].concat();
        let [d_id, s_id] = self.ids;
        let [_, f_ctl @ ..] = self.f_ctl.to_be_bytes();
        bytes.push(self.r_ctl);
        bytes.extend(d_id);
        bytes.push(0);
        bytes.extend(s_id);
        bytes.push(self.fc_type);
        bytes.extend(f_ctl);
        bytes.extend([self.seq_id, 0]);
        let [ox_id, rx_id] = self.exchange;
        bytes.extend([self.seq_cnt, ox_id, rx_id].map(u16::to_be_bytes).concat());
        bytes.extend(self.parameter.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Takes a frame apart whose FC CRC is right.
    ///
    /// # Errors
    /// It is no such frame.
    pub fn parse(frame: &[u8]) -> Result<Self> {
        ensure!(
            frame.get(12..14) == Some(&FCOE),
            "no FCoE frame: {frame:02x?}"
        );
        let (start, end) = frame
            .split_at_checked(frame.len().saturating_sub(8))
            .context("no trailer")?;
        let payload = start.get(HEADERS..).context("no FC header")?;
        let byte = |at: usize| start.get(at).copied().unwrap_or(0);
        let word = |at| u16::from_be_bytes([byte(at), byte(at + 1)]);
        let [d_id, s_id] = [FC + 1, FC + 5].map(|at| [byte(at), byte(at + 1), byte(at + 2)]);
        let mac = |at: usize| [0, 1, 2, 3, 4, 5].map(|n| byte(at + n));
        let fc = Self {
            addresses: [mac(0), mac(6)],
            sof: byte(FC - 1),
            eof: end[4],
            r_ctl: byte(FC),
            ids: [d_id, s_id],
            fc_type: byte(FC + 8),
            f_ctl: u32::from(byte(FC + 9)) << 16 | u32::from(word(FC + 10)),
            seq_id: byte(FC + 12),
            seq_cnt: word(FC + 14),
            exchange: [word(FC + 16), word(FC + 18)],
            parameter: u32::from(word(FC + 20)) << 16 | u32::from(word(FC + 22)),
            payload: payload.to_vec(),
        };
        ensure!(
            fc.bytes() == frame,
            "the frame is {frame:02x?} instead of {:02x?}",
            fc.bytes()
        );
        Ok(fc)
    }
}

/// The CRC of Ethernet and Fibre Channel by its definition.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let feedback = (crc ^ u32::from(byte >> bit)) & 1;
            crc = (crc >> 1) ^ (feedback * 0xEDB8_8320);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_gives_the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
