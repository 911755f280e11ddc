//! The filter unit: the FC CRC of a frame, its context, and whether it is what the context expects (7.13.3.3).

use ixgbe_spec::{
    descriptor::rx::Status,
    register::{Reg, bits::fcrxctrl},
};
use serde::{Deserialize, Serialize};

use super::{
    Fcoe,
    context::{Context, FilterContext},
    frame::{self, CRC, FcHeader, First, f_ctl, kind},
};
use crate::{regs::RegisterFile, rx::header::Headers, state::StateError, wire::RxFrame};

/// An FC frame that the filter unit has looked at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arrival {
    /// What its descriptor says of it so far.
    #[serde(with = "crate::state::status")]
    pub(crate) status: Status,
    /// What the exchange expects next; 0 without a context.
    pub(crate) parameter: u32,
    /// DWords from the FC header to the FC CRC.
    dwords: u32,
    pub(super) way: Way,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Way {
    /// To the ring; it has no context.
    Ring,
    /// To the ring, as a frame of this exchange.
    Exchange(u16),
    /// To the ring; it ends this exchange.
    Response(u16),
    /// To user buffers.
    Buffers(Data),
}

/// Payload that is placed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub exchange: u16,
    /// First byte of the payload in the frame.
    pub from: u16,
    pub len: u16,
    /// It is the first of the exchange.
    pub begins: bool,
    /// The ring gets the headers.
    pub posts_header: bool,
}

impl Arrival {
    /// Whether it can be what is known of a frame of `len` bytes.
    pub(crate) fn check(&self, len: usize) -> Result<(), StateError> {
        let Way::Buffers(data) = self.way else {
            return Ok(());
        };
        let end = usize::from(data.from) + usize::from(data.len);
        StateError::unless(end <= len, "way", "the payload ends behind the frame")
    }

    /// The exchange, if it has a context.
    pub(super) const fn exchange(&self) -> Option<u16> {
        match self.way {
            Way::Ring => None,
            Way::Exchange(exchange) | Way::Response(exchange) => Some(exchange),
            Way::Buffers(data) => Some(data.exchange),
        }
    }

    /// Whether it belongs to an exchange with a context.
    pub(crate) const fn has_context(&self) -> bool {
        self.exchange().is_some()
    }

    /// Counts the frame as one that has reached the client's memory.
    pub(crate) fn count_received(&self, regs: &mut RegisterFile) {
        regs.count(Reg::FCOEPRC, 0, 1);
        if !self.has_bad_crc() {
            regs.count(Reg::FCOEDWRC, 0, self.dwords);
        }
    }

    fn has_bad_crc(&self) -> bool {
        self.status.contains(Status::FCERR_BAD_CRC)
    }
}

impl Fcoe {
    /// Looks at a frame of an ethertype filter of `FCoE`; `None` if it is no FC frame of the version that is handled.
    pub(crate) fn arrive(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        headers: &Headers,
        regs: &mut RegisterFile,
    ) -> Option<Arrival> {
        let control = regs.get(Reg::FCRXCTRL, 0);
        let header = FcHeader::parse(window, headers)?;
        let fc = frame::extent(frame, &header)?;
        if u32::from(header.version) != control >> fcrxctrl::FCOEVER_SHIFT & 0xF {
            return None;
        }
        let mut arrival = Arrival {
            status: delimiters(header.sof, frame::eof(frame), regs),
            parameter: 0,
            dwords: u32::try_from((fc.len() + CRC) / 4).unwrap_or(0),
            way: Way::Ring,
        };
        let first = if control & fcrxctrl::FCCRCBO == 0 {
            First::MostSignificant
        } else {
            First::LeastSignificant
        };
        let payload_end = fc.end;
        if !frame::crc_is_good(frame, fc, first) {
            regs.count16(Reg::FCCRC, 0);
            if control & fcrxctrl::ICRC == 0 {
                arrival.status |= Status::FCERR_BAD_CRC;
                return Some(arrival);
            }
        }
        if arrival.status.contains(Status::FCEOFE) {
            arrival.status |= Status::FCERR_FILTER;
        }
        let exchange = header.exchange();
        let context = self.contexts.get(exchange);
        let Some(context) = context.filter(|context| is_of(context, &header)) else {
            return Some(arrival);
        };
        let filter = &mut context.filter;
        arrival.way = Way::Exchange(exchange);
        let is_fcp = header.fc_type == kind::FCP;
        match header.r_ctl {
            kind::COMMAND_STATUS if is_fcp => {
                filter.valid = false;
                arrival.status |= Status::FCSTAT_FCP_RSP;
                arrival.way = Way::Response(exchange);
            }
            kind::SOLICITED_DATA if is_fcp && header.f_ctl & f_ctl::RELATIVE_OFFSET != 0 => {
                let posts_header = posts_header(control, filter, &header, regs);
                let len = payload_len(&header, payload_end).ok_or(Status::FCERR_OUT_OF_ORDER);
                match filter.expects(&header, arrival.status, regs).and(len) {
                    Ok(len) => {
                        arrival.way = Way::Buffers(Data {
                            exchange,
                            from: u16::try_from(header.payload).unwrap_or(u16::MAX),
                            len,
                            begins: !filter.first,
                            posts_header,
                        });
                        filter.advance(&header, len);
                    }
                    Err(why) => {
                        filter.valid = false;
                        arrival.status |= Status::FCSTAT_NO_DDP | why;
                    }
                }
            }
            _ => arrival.status |= Status::FCSTAT_NO_DDP,
        }
        arrival.parameter = filter.parameter;
        Some(arrival)
    }
}

impl FilterContext {
    /// Whether a data frame with these delimiters is the one that comes next; if not, FCERR says why.
    fn expects(
        &self,
        header: &FcHeader,
        delimiters: Status,
        regs: &RegisterFile,
    ) -> Result<(), Status> {
        if header.is_encrypted() {
            return Err(Status::empty());
        }
        if delimiters.contains(Status::FCEOFE) || header.f_ctl & f_ctl::ABORT != 0 {
            return Err(Status::FCERR_FILTER);
        }
        let in_sequence = begins_sequence(header.sof, regs)
            || self.first && header.seq_id == self.seq_id && header.seq_cnt == self.seq_cnt;
        if in_sequence && header.parameter == self.parameter {
            Ok(())
        } else {
            Err(Status::FCERR_OUT_OF_ORDER)
        }
    }

    fn advance(&mut self, header: &FcHeader, len: u16) {
        self.first = true;
        self.seq_id = header.seq_id;
        self.seq_cnt = header.seq_cnt.wrapping_add(1);
        self.parameter = self.parameter.wrapping_add(len.into());
    }
}

/// Whether a context is in force and the frame comes from the end that it is for.
fn is_of(context: &Context, header: &FcHeader) -> bool {
    context.filter.valid && context.dma.target != header.is_answer()
}

/// Bytes of payload, without those that fill it.
fn payload_len(header: &FcHeader, end: usize) -> Option<u16> {
    let fill = (header.f_ctl & f_ctl::FILL) as usize;
    let len = end.checked_sub(header.payload)?.checked_sub(fill)?;
    u16::try_from(len).ok()
}

/// Whether FCRXCTRL asks for the headers of a frame that is placed.
fn posts_header(
    control: u32,
    filter: &FilterContext,
    header: &FcHeader,
    regs: &RegisterFile,
) -> bool {
    let asks = |bit| control & bit != 0;
    asks(fcrxctrl::ALLH)
        || asks(fcrxctrl::FRSTRDH) && !filter.first
        || asks(fcrxctrl::FRSTSEQH) && begins_sequence(header.sof, regs)
        || asks(fcrxctrl::LASTSEQH) && header.f_ctl & f_ctl::END_SEQUENCE != 0
}

/// Whether a SOF code is one of the first two of RSOFF, those of the first frame of a sequence.
fn begins_sequence(sof: u8, regs: &RegisterFile) -> bool {
    matches!(place_of(sof, regs.get(Reg::RSOFF, 0)), Some(0 | 1))
}

/// FCEOFS and FCEOFE by the places of the codes in RSOFF and REOFF.
fn delimiters(sof: u8, eof: u8, regs: &RegisterFile) -> Status {
    let mut status = match place_of(eof, regs.get(Reg::REOFF, 0)) {
        Some(0) => Status::empty(),
        Some(1) => Status::FCEOFS,
        Some(2) => Status::FCEOFE,
        _ => Status::FCEOFE | Status::FCEOFS,
    };
    if place_of(sof, regs.get(Reg::RSOFF, 0)).is_none() {
        status |= Status::FCEOFE;
    }
    status
}

fn place_of(code: u8, codes: u32) -> Option<usize> {
    codes.to_le_bytes().iter().position(|one| *one == code)
}
