//! FC frames in Ethernet frames: headers, trailer and CRC (FC-BB-5, FC-FS-2).

use std::ops::Range;

use crate::{
    rx::header::{Headers, word},
    wire::RxFrame,
};

/// The `FCoE` header: version, reserved bytes, and SOF as its last byte.
const FCOE_HEADER: usize = 14;
/// The FC header.
pub(super) const FC_HEADER: usize = 24;
/// The FC CRC.
pub(super) const CRC: usize = 4;
/// The trailer: FC CRC, EOF and three reserved bytes.
pub(super) const TRAILER: usize = 8;

/// R_CTL of a VFT header, which lies before the FC header.
const VFT: u8 = 0x50;
const VFT_LEN: usize = 8;

/// R_CTL and TYPE of what contexts know.
pub(super) mod kind {
    /// Solicited data.
    pub(in super::super) const SOLICITED_DATA: u8 = 0x01;
    /// Command status: an `FCP_RSP`, if the type is FCP.
    pub(in super::super) const COMMAND_STATUS: u8 = 0x07;
    /// SCSI FCP.
    pub(in super::super) const FCP: u8 = 0x08;
}

/// Bits of F_CTL.
pub(super) mod f_ctl {
    /// The sender has answered the exchange.
    pub(in super::super) const EXCHANGE_CONTEXT: u32 = 1 << 23;
    /// The last frame of its sequence.
    pub(in super::super) const END_SEQUENCE: u32 = 1 << 19;
    /// The receiver may send the next sequence.
    pub(in super::super) const SEQUENCE_INITIATIVE: u32 = 1 << 16;
    /// When the next sequence comes.
    pub(in super::super) const CONTINUE: u32 = 3 << 6;
    /// Abort sequence condition.
    pub(in super::super) const ABORT: u32 = 3 << 4;
    /// The parameter is the relative offset of the payload.
    pub(in super::super) const RELATIVE_OFFSET: u32 = 1 << 3;
    /// Bytes at the end of the payload that only fill it.
    pub(in super::super) const FILL: u32 = 3;
}

/// The FC header of a frame that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FcHeader {
    /// Version of the `FCoE` header.
    pub version: u8,
    /// Start of frame code.
    pub sof: u8,
    pub r_ctl: u8,
    pub fc_type: u8,
    pub f_ctl: u32,
    pub seq_id: u8,
    pub df_ctl: u8,
    pub seq_cnt: u16,
    pub ox_id: u16,
    pub rx_id: u16,
    pub parameter: u32,
    /// First byte of the FC frame, a VFT header included.
    pub start: usize,
    /// First byte behind the FC header and the optional headers.
    pub payload: usize,
}

impl FcHeader {
    /// The header in the first bytes of a frame; `None` if it is cut short.
    pub fn parse(window: &[u8], headers: &Headers) -> Option<Self> {
        let fcoe = usize::from(headers.l3_offset);
        let start = fcoe + FCOE_HEADER;
        let byte = |at: usize| window.get(at).copied();
        let mut at = start;
        if byte(at)? == VFT {
            at += VFT_LEN;
        }
        let df_ctl = byte(at + 13)?;
        let f_ctl = [0, byte(at + 9)?, byte(at + 10)?, byte(at + 11)?];
        let [high, low] = [word(window, at + 20)?, word(window, at + 22)?];
        Some(Self {
            version: byte(fcoe)? >> 4,
            sof: byte(start - 1)?,
            r_ctl: byte(at)?,
            fc_type: byte(at + 8)?,
            f_ctl: u32::from_be_bytes(f_ctl),
            seq_id: byte(at + 12)?,
            df_ctl,
            seq_cnt: word(window, at + 14)?,
            ox_id: word(window, at + 16)?,
            rx_id: word(window, at + 18)?,
            parameter: u32::from(high) << 16 | u32::from(low),
            start,
            payload: at + FC_HEADER + optional_headers(df_ctl),
        })
    }

    /// The sender has answered the exchange, which the receiver has begun.
    pub const fn is_answer(&self) -> bool {
        self.f_ctl & f_ctl::EXCHANGE_CONTEXT != 0
    }

    /// The receiver's id of the exchange.
    pub const fn exchange(&self) -> u16 {
        if self.is_answer() {
            self.ox_id
        } else {
            self.rx_id
        }
    }

    /// Whether an ESP header follows.
    pub const fn is_encrypted(&self) -> bool {
        self.df_ctl & 0x40 != 0
    }
}

/// Length of the network, association and device headers that DF_CTL tells of.
const fn optional_headers(df_ctl: u8) -> usize {
    let network = if df_ctl & 0x20 == 0 { 0 } else { 16 };
    let association = if df_ctl & 0x10 == 0 { 0 } else { 32 };
    let device = match df_ctl & 3 {
        0 => 0,
        1 => 16,
        2 => 32,
        _ => 64,
    };
    network + association + device
}

/// Where the FC frame lies in the Ethernet frame, from its header to its CRC.
///
/// `None` if there is no such frame. An Ethernet frame with an FC frame in it is never so short that it is padded.
pub(super) fn extent(frame: &RxFrame<'_>, header: &FcHeader) -> Option<Range<usize>> {
    let crc = frame.len().checked_sub(TRAILER)?;
    let intact = header.payload <= crc && (crc - header.start).is_multiple_of(4);
    intact.then_some(header.start..crc)
}

/// The end of frame code.
pub(super) fn eof(frame: &RxFrame<'_>) -> u8 {
    let at = frame.len().saturating_sub(TRAILER - CRC);
    part(frame, at..at + 1).next().unwrap_or(0)
}

/// Whether the CRC over `fc` is the one that follows it, least significant byte first or last.
pub(super) fn crc_is_good(frame: &RxFrame<'_>, fc: Range<usize>, first: First) -> bool {
    let mut crc = crc32fast::Hasher::new();
    crc.update(clamped(frame.head, fc.clone()));
    let offset = frame.head.len();
    crc.update(clamped(
        frame.body,
        fc.start.saturating_sub(offset)..fc.end.saturating_sub(offset),
    ));
    let crc = match first {
        First::LeastSignificant => crc.finalize().to_le_bytes(),
        First::MostSignificant => crc.finalize().to_be_bytes(),
    };
    part(frame, fc.end..fc.end + CRC).eq(crc)
}

/// Which byte of the FC CRC comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// As in the Ethernet FCS.
    LeastSignificant,
    /// The other way round.
    MostSignificant,
}

/// A few bytes of a frame.
fn part(frame: &RxFrame<'_>, range: Range<usize>) -> impl Iterator<Item = u8> {
    let offset = frame.head.len();
    range.filter_map(move |at| match at.checked_sub(offset) {
        None => frame.head.get(at).copied(),
        Some(at) => frame.body.get(at).copied(),
    })
}

fn clamped(bytes: &[u8], range: Range<usize>) -> &[u8] {
    let end = range.end.min(bytes.len());
    &bytes[range.start.min(end)..end]
}
