//! FC frames that leave: SOF, FC CRC and EOF of each, and the frames into which a large packet is cut (7.13.2).

use std::ops::Range;

use ixgbe_spec::{
    descriptor::tx::{Context, DataControl, FcoeFlags},
    register::Reg,
};

use super::frame::{CRC, FC_HEADER, TRAILER, f_ctl};
use crate::regs::RegisterFile;

/// A packet of FC frames: one, or those of a sequence. Offsets are those in the frame that leaves, after a VLAN tag was
/// inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// VLAN tag control information to insert into each frame.
    pub(crate) tag: Option<u16>,
    /// First byte of the FC frame; SOF lies before it.
    fc: usize,
    /// First byte behind the FC header.
    payload: usize,
    /// Length of the headers in memory, that is, without the tag.
    pub(crate) header_len: usize,
    /// Length of the payload.
    pub(crate) payload_len: usize,
    /// Payload bytes in each frame but the last, not 0.
    size: usize,
    flags: FcoeFlags,
}

impl Sequence {
    /// What a packet of `len` bytes in memory asks for, whose frames get a tag of `tag_len` bytes; `None` if its context
    /// contradicts it. In memory it ends with its payload: the trailer is inserted.
    pub(crate) fn new(
        control: DataControl,
        context: Context,
        (tag, tag_len): (Option<u16>, usize),
        (len, longest): (usize, usize),
    ) -> Option<Self> {
        // The offset of the DWord with SOF, and that of the first byte behind the FC header.
        let sof = usize::from(context.low.maclen());
        let header_len = usize::from(context.low.iplen());
        let payload_len = len.checked_sub(header_len)?;
        let fc = sof + 4;
        let size = if control.tse() {
            usize::from(context.high.mss())
        } else {
            payload_len.max(1)
        };
        let aligned = (header_len.checked_sub(fc)?).is_multiple_of(4)
            && payload_len.is_multiple_of(4)
            && (!control.tse() || size.is_multiple_of(4));
        let tells_len = !control.tse() || usize::try_from(control.paylen()) == Ok(payload_len);
        let fits = header_len + size.min(payload_len) + TRAILER <= longest;
        if sof < 14 || header_len < fc + FC_HEADER || size == 0 || !aligned || !tells_len || !fits {
            return None;
        }
        Some(Self {
            tag,
            fc: fc + tag_len,
            payload: header_len + tag_len,
            header_len,
            payload_len,
            size,
            flags: context.low.fcoe(),
        })
    }

    /// Number of frames.
    pub(crate) fn count(&self) -> usize {
        self.payload_len.div_ceil(self.size).max(1)
    }

    /// The bytes of the payload in frame `i`.
    pub(crate) fn payload(&self, i: usize) -> Range<usize> {
        let start = i.saturating_mul(self.size).min(self.payload_len);
        start..start.saturating_add(self.size).min(self.payload_len)
    }

    /// Makes frame `i` of the headers of the packet and the frame's payload, which are in `frame`; returns its length.
    pub(crate) fn finish(&self, i: usize, frame: &mut [u8], regs: &RegisterFile) -> usize {
        let (first, last) = (i == 0, i + 1 == self.count());
        let bytes = self.payload(i);
        if let Some(header) = self.fc_header(frame) {
            edit(header, i, bytes.start, last, self.flags.parinc);
        }
        put(frame, self.fc - 1, &[self.sof(first, regs)]);
        let end = self.payload + bytes.len();
        let crc = crc32fast::hash(frame.get(self.fc..end).unwrap_or_default());
        put(frame, end, &crc.to_le_bytes());
        put(frame, end + CRC, &[self.eof(last, regs), 0, 0, 0]);
        end + TRAILER
    }

    /// Counts frame `i`, which has been sent.
    pub(crate) fn count_sent(&self, i: usize, regs: &mut RegisterFile) {
        let bytes = self.payload - self.fc + self.payload(i).len() + CRC;
        regs.count(Reg::FCOEPTC, 0, 1);
        regs.count(Reg::FCOEDWTC, 0, u32::try_from(bytes / 4).unwrap_or(0));
    }

    /// The FC header: the last one, where extended headers lie before it.
    fn fc_header<'f>(&self, frame: &'f mut [u8]) -> Option<&'f mut [u8; FC_HEADER]> {
        let start = self.payload.checked_sub(FC_HEADER)?;
        frame.get_mut(start..)?.first_chunk_mut()
    }

    /// SOFi in the first frame of a sequence, SOFn in the others, of the class that the context says.
    fn sof(&self, first: bool, regs: &RegisterFile) -> u8 {
        let [i2, i3, n2, n3] = regs.get(Reg::TSOFF, 0).to_le_bytes();
        match (self.flags.oris && first, self.flags.class3) {
            (true, false) => i2,
            (true, true) => i3,
            (false, false) => n2,
            (false, true) => n3,
        }
    }

    /// EOFt in the last frame of a sequence, what the context says in the others.
    fn eof(&self, last: bool, regs: &RegisterFile) -> u8 {
        let codes = regs.get(Reg::TEOFF, 0).to_le_bytes();
        let [_, terminate, ..] = codes;
        if last && self.flags.orie && self.flags.eof == 0 {
            return terminate;
        }
        codes
            .get(usize::from(self.flags.eof))
            .copied()
            .unwrap_or(terminate)
    }
}

/// Makes the FC header of frame `i`, whose payload begins at `offset`, of that of the packet.
fn edit(header: &mut [u8; FC_HEADER], i: usize, offset: usize, last: bool, parinc: bool) {
    if !last {
        let of_last =
            f_ctl::END_SEQUENCE | f_ctl::SEQUENCE_INITIATIVE | f_ctl::CONTINUE | f_ctl::FILL;
        let [_, masks @ ..] = (!of_last).to_be_bytes();
        for (byte, mask) in header.iter_mut().skip(9).zip(masks) {
            *byte &= mask;
        }
    }
    let [.., seq_high, seq_low, _, _, _, _, a, b, c, d] = header;
    let seq_cnt = u16::from_be_bytes([*seq_high, *seq_low]);
    let seq_cnt = seq_cnt.wrapping_add(u16::try_from(i & 0xFFFF).unwrap_or(0));
    [*seq_high, *seq_low] = seq_cnt.to_be_bytes();
    if parinc {
        let parameter = u32::from_be_bytes([*a, *b, *c, *d]);
        let parameter = parameter.wrapping_add(u32::try_from(offset).unwrap_or(0));
        [*a, *b, *c, *d] = parameter.to_be_bytes();
    }
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
