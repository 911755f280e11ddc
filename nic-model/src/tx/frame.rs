//! From a packet's buffers to the frames that leave.
//!
//! Headers are copied once and edited on the copy; the payload stays in the client's pages. Where the model itself has
//! to read the payload, for a checksum that the wire does not complete, it reads it once, into the copy, and what
//! leaves is what was summed.

use ixgbe_spec::register::Reg;

use super::{
    Egress, Reach,
    counters::{FCS, Frames, Tally},
    cursor::Cursor,
    plan::{Cut, FcsBy, Insert, L4Checksum, MAX_FRAME, TAG, Whole, ZeroSum, tag_len},
    queue::{number, tell_before, tell_transfer},
    secured::{self, Segments},
};
use crate::{
    bus::{DmaError, Iova, Requester, Span, Spans},
    fcoe::Sequence,
    hw::Hw,
    observe::Event,
    offload::{
        Layout, Segmenter, Sum, TcpFlagMasks, Transport,
        segmentation::{SegmentationError, put_u16},
    },
    regs::RegisterFile,
    wire::{Capabilities, IpVersion, Offload, TxFrame, WireBusy},
};

/// Frames up to this length are copied whole: for them a list of pages costs more than the copy.
pub(super) const COPY_BREAK: usize = 256;

/// Shortest frame without FCS that padding makes.
const MIN_PADDED: usize = 60;

/// Protocol number of TCP.
const IP_PROTOCOL_TCP: u8 = 6;

/// HLREG0: the MAC adds the FCS (8.2.3.22.8).
pub(super) const HLREG0_TXCRCEN: u32 = 1 << 0;
/// HLREG0: the MAC pads short frames (8.2.3.22.8).
const HLREG0_TXPADEN: u32 = 1 << 10;

/// A packet on its way out.
pub(super) struct Outgoing<'o, 'b> {
    /// Transmit queue it comes from.
    pub queue: usize,
    /// Its length in memory.
    pub len: usize,
    /// Its buffers.
    pub buffers: &'o [Span<'b>],
    /// Memory for a list of what is left of the buffers.
    pub payload: &'o mut Spans<'b>,
    /// What the wire does itself.
    pub capabilities: Capabilities,
    /// Counts the bytes of what was sent, with FCS.
    pub bytes: &'o mut usize,
    /// Counts what was sent.
    pub tally: &'o mut Tally,
    pub hw: &'o mut Hw<'b>,
    pub egress: &'o mut dyn Egress,
}

/// Whether a packet has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it.
    Sent,
    /// Some of its segments wait for a later turn.
    Unfinished,
}

/// Makes frames; holds the memory for headers.
#[derive(Debug)]
pub(super) struct Framer {
    /// First bytes of the frame, or all of them.
    head: Box<[u8]>,
    /// Headers of the packet that is cut.
    template: Vec<u8>,
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            head: vec![0; MAX_FRAME + TAG].into_boxed_slice(),
            template: Vec::new(),
        }
    }
}

impl Framer {
    /// Sends a packet that is one frame of at most [`COPY_BREAK`] bytes, as it lies at `address`.
    pub fn send_short(
        &mut self,
        address: Iova,
        out: &mut Outgoing<'_, '_>,
    ) -> Result<(), ShortError> {
        let head = &mut self.head[..out.len];
        let result = out.hw.dma.read(Requester::Pf, address, head);
        if out.hw.dma.is_watched() {
            tell_short(address, result, out);
        }
        result?;
        out.payload.clear();
        let len = pad(&mut self.head, out.len, out.hw.regs.get(Reg::HLREG0, 0));
        Ok(send(&self.head[..len], Offload::None, out)?)
    }

    /// Sends a packet that is one frame.
    pub fn send_whole(
        &mut self,
        whole: &Whole,
        out: &mut Outgoing<'_, '_>,
    ) -> Result<(), WireBusy> {
        let hlreg0 = out.hw.regs.get(Reg::HLREG0, 0);
        let fcs = if hlreg0 & HLREG0_TXCRCEN == 0 {
            FcsBy::Driver
        } else {
            whole.fcs
        };
        let offload = match whole.l4 {
            L4Checksum::Sum { start, at, .. } if fcs == FcsBy::Mac && whole.ipsec.is_none() => {
                wire_checksum(start, at, out.capabilities)
            }
            _ => Offload::None,
        };
        let reads_all = fcs == FcsBy::Driver
            || whole.ipsec.is_some()
            || offload == Offload::None && whole.l4 != L4Checksum::None;
        let tag = tag_len(whole.tag);
        let copied = if reads_all || out.len <= COPY_BREAK {
            out.len
        } else {
            out.len.min(whole.header_len() - tag)
        };
        let mut cursor = Cursor::new(out.buffers);
        cursor.copy(&mut self.head[tag..tag + copied]);
        out.payload.clear();
        cursor.take(out.len - copied, out.payload);
        insert_tag(&mut self.head, whole.tag, out.hw.regs);

        let head = &mut self.head[..tag + copied];
        if let Some(ipsec) = whole.ipsec {
            if secured::complete(whole, ipsec, fcs, head, out.hw).is_err() {
                out.hw.faults.offload += 1;
                return Ok(());
            }
            let len = pad(&mut self.head, tag + copied, hlreg0);
            return send(&self.head[..len], Offload::None, out);
        }
        if let Some((start, end)) = whole.ip {
            let checksum = Sum::of(&head[start..end]).checksum();
            put_u16(head, start + 10, checksum);
        }
        if offload == Offload::None {
            insert_l4_checksum(head, whole.l4);
        }
        match fcs {
            FcsBy::Mac if copied == out.len => {
                let len = pad(&mut self.head, tag + copied, hlreg0);
                send(&self.head[..len], offload, out)
            }
            FcsBy::Mac => send(&self.head[..tag + copied], offload, out),
            FcsBy::Driver => self.send_with_own_fcs(tag + copied, out),
        }
    }

    /// Sends a frame that ends with the driver's FCS. If it is wrong, the frame goes out and no receiver takes it.
    fn send_with_own_fcs(&self, len: usize, out: &mut Outgoing<'_, '_>) -> Result<(), WireBusy> {
        let (frame, fcs) = self.head[..len].split_at(len - FCS);
        if fcs == crc32fast::hash(frame).to_le_bytes() {
            return send(frame, Offload::None, out);
        }
        out.hw.faults.descriptor += 1;
        let frames = Frames::new(frame, frame.len(), 1);
        count(frames, Reach::Network, out);
        Ok(())
    }

    /// Sends segments of a packet from number `sent` on, at most `budget` frames of which it counts down. `sent` is
    /// kept up to date, also if the wire is busy in between.
    ///
    /// # Errors
    /// A packet that cannot be cut as its context says is [`CutError::Impossible`]; nothing of it was sent.
    pub fn send_cut(
        &mut self,
        cut: &Cut,
        out: &mut Outgoing<'_, '_>,
        sent: &mut usize,
        budget: &mut usize,
    ) -> Result<Progress, CutError> {
        let Self { head, template } = self;
        let tag = tag_len(cut.tag);
        let header_len = tag + cut.header_len;
        let mut cursor = Cursor::new(out.buffers);
        template.clear();
        template.resize(header_len, 0);
        cursor.copy(&mut template[tag..]);
        insert_tag(template, cut.tag, out.hw.regs);
        let mss = usize::from(cut.mss);
        let masks = flag_masks(out.hw.regs);
        let segmenter = Segmenter::new(template, cut.layout, cut.payload_len, mss, masks)?;

        if let Some(ipsec) = cut.ipsec {
            let segments = Segments {
                cut,
                ipsec,
                segmenter: &segmenter,
            };
            return segments.send(&mut cursor, out, sent, budget);
        }
        if *sent == 0
            && segmenter.count() > 1
            && let Some((large, offload)) = for_wire(cut, template, masks, out.capabilities)
        {
            write_headers(&large, 0, cut, head);
            out.payload.clear();
            cursor.take(cut.payload_len, out.payload);
            let frame = TxFrame {
                head: &head[..header_len],
                payload: out.payload,
                offload,
            };
            let reach = hand_over(&frame, out.queue, out.egress, out.hw)?;
            let last = segmenter.count() - 1;
            let full = Frames::new(head, header_len + mss, last);
            count(full, reach, out);
            let rest = header_len + segmenter.payload(last).len();
            count(Frames::new(head, rest, 1), reach, out);
            *budget = budget.saturating_sub(1);
            return Ok(Progress::Sent);
        }

        let hlreg0 = out.hw.regs.get(Reg::HLREG0, 0);
        let offload = match cut.l4_checksum {
            Insert::Yes => wire_checksum(
                cut.layout.l4_start,
                cut.layout.l4_checksum_at(),
                out.capabilities,
            ),
            Insert::No => Offload::None,
        };
        let sums = cut.l4_checksum == Insert::Yes && offload == Offload::None;
        cursor.skip(segmenter.payload(*sent).start);
        while *sent < segmenter.count() {
            if *budget == 0 {
                return Ok(Progress::Unfinished);
            }
            write_headers(&segmenter, *sent, cut, head);
            let len = segmenter.payload(*sent).len();
            out.payload.clear();
            let head_len = if sums || header_len + len <= COPY_BREAK {
                let (headers, rest) = head.split_at_mut(header_len);
                cursor.copy(&mut rest[..len]);
                if sums {
                    segmenter.insert_l4_checksum(headers, Sum::of(&rest[..len]));
                }
                pad(head, header_len + len, hlreg0)
            } else {
                cursor.take(len, out.payload);
                header_len
            };
            send(&head[..head_len], offload, out)?;
            *sent += 1;
            *budget -= 1;
        }
        Ok(Progress::Sent)
    }
}

impl Framer {
    /// Sends FC frames of a packet from number `sent` on, as [`Framer::send_cut`] sends segments. Each is copied whole,
    /// since its CRC covers all of it.
    pub fn send_fc(
        &mut self,
        sequence: &Sequence,
        out: &mut Outgoing<'_, '_>,
        sent: &mut usize,
        budget: &mut usize,
    ) -> Result<Progress, CutError> {
        let Self { head, template } = self;
        let tag = tag_len(sequence.tag);
        let mut cursor = Cursor::new(out.buffers);
        template.clear();
        template.resize(tag + sequence.header_len, 0);
        cursor.copy(&mut template[tag..]);
        insert_tag(template, sequence.tag, out.hw.regs);
        cursor.skip(sequence.payload(*sent).start);
        out.payload.clear();
        let hlreg0 = out.hw.regs.get(Reg::HLREG0, 0);
        while *sent < sequence.count() {
            if *budget == 0 {
                return Ok(Progress::Unfinished);
            }
            let (headers, payload) = head.split_at_mut(template.len());
            headers.copy_from_slice(template);
            cursor.copy(&mut payload[..sequence.payload(*sent).len()]);
            let len = sequence.finish(*sent, head, out.hw.regs);
            let len = pad(head, len, hlreg0);
            send(&head[..len], Offload::None, out)?;
            sequence.count_sent(*sent, out.hw.regs);
            *sent += 1;
            *budget -= 1;
        }
        Ok(Progress::Sent)
    }
}

/// Why a short frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShortError {
    /// It cannot be read, or not now.
    Dma(DmaError),
    /// The wire is busy.
    Busy,
}

impl From<DmaError> for ShortError {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}

impl From<WireBusy> for ShortError {
    fn from(WireBusy: WireBusy) -> Self {
        Self::Busy
    }
}

/// Why no (further) segment of a packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutError {
    /// The wire is busy.
    Busy,
    /// The packet cannot be cut as its context says.
    Impossible,
}

impl From<WireBusy> for CutError {
    fn from(WireBusy: WireBusy) -> Self {
        Self::Busy
    }
}

impl From<SegmentationError> for CutError {
    fn from(_: SegmentationError) -> Self {
        Self::Impossible
    }
}

/// Sends a frame of `head` and the payload of `out`, and counts it.
pub(super) fn send(
    head: &[u8],
    offload: Offload,
    out: &mut Outgoing<'_, '_>,
) -> Result<(), WireBusy> {
    let frame = TxFrame {
        head,
        payload: out.payload,
        offload,
    };
    let frames = Frames::new(head, frame.len(), 1);
    let reach = hand_over(&frame, out.queue, out.egress, out.hw)?;
    count(frames, reach, out);
    Ok(())
}

/// Sends a frame of a queue, and tells of it.
#[inline]
fn hand_over(
    frame: &TxFrame<'_>,
    queue: usize,
    egress: &mut dyn Egress,
    hw: &mut Hw<'_>,
) -> Result<Reach, WireBusy> {
    let reach = egress.send(frame, queue, hw)?;
    if hw.dma.is_watched() {
        tell_sent(frame, queue, hw);
    }
    Ok(reach)
}

#[cold]
#[inline(never)]
fn tell_sent(frame: &TxFrame<'_>, queue: usize, hw: &mut Hw<'_>) {
    hw.dma.tell(|| Event::Sent {
        queue: number(queue),
        frame,
    });
}

/// Counts frames that have left.
fn count(frames: Frames, reach: Reach, out: &mut Outgoing<'_, '_>) {
    *out.bytes += frames.bytes();
    out.tally.count(out.queue, frames, reach, out.hw.regs);
}

/// Writes the headers of segment `i`; the L4 checksum, if wanted, is the pseudo-header sum yet.
fn write_headers(segmenter: &Segmenter<'_>, i: usize, cut: &Cut, head: &mut [u8]) {
    segmenter.write_header(i, head);
    if cut.ip_checksum == Insert::Yes {
        segmenter.insert_ip_checksum(head);
    }
    if cut.l4_checksum == Insert::Yes {
        segmenter.seed_l4_checksum(i, head);
    }
}

/// The offload that completes a checksum over the bytes from `start` on at `at`, if the wire has it.
fn wire_checksum(start: usize, at: usize, capabilities: Capabilities) -> Offload {
    let start_and_offset = || {
        let offset = u16::try_from(at.checked_sub(start)?).ok()?;
        Some((u16::try_from(start).ok()?, offset))
    };
    match start_and_offset() {
        Some((start, offset)) if capabilities.checksum => Offload::Checksum { start, offset },
        _ => Offload::None,
    }
}

/// The packet as one large segment for a wire that cuts it as the card would, if there is such a wire.
///
/// Wires cut as kernels do: TCP in an IP header without tunnel or extension headers, checksums always inserted, flags
/// masked as the card's reset values say.
fn for_wire<'t>(
    cut: &Cut,
    template: &'t [u8],
    masks: TcpFlagMasks,
    capabilities: Capabilities,
) -> Option<(Segmenter<'t>, Offload)> {
    let Layout {
        ip,
        ip_start,
        l4_start,
        transport,
    } = cut.layout;
    let header = template.get(ip_start..l4_start)?;
    let tcp = template.get(l4_start..)?;
    let (able, plain) = match ip {
        IpVersion::V4 => (
            capabilities.tso4 && cut.ip_checksum == Insert::Yes,
            header.first() == Some(&(0x40 | u8::try_from(header.len() / 4).ok()?))
                && header.get(9) == Some(&IP_PROTOCOL_TCP),
        ),
        IpVersion::V6 => (
            capabilities.tso6,
            header.first()? >> 4 == 6
                && header.get(6) == Some(&IP_PROTOCOL_TCP)
                && header.len() == 40,
        ),
    };
    let whole_tcp = usize::from(tcp.get(12)? >> 4) * 4 == tcp.len();
    if !able
        || !plain
        || !whole_tcp
        || transport != Transport::Tcp
        || cut.l4_checksum == Insert::No
        || masks != TcpFlagMasks::default()
    {
        return None;
    }
    let large = Segmenter::new(
        template,
        cut.layout,
        cut.payload_len,
        cut.payload_len,
        masks,
    )
    .ok()?;
    let offload = Offload::Segment {
        ip,
        start: u16::try_from(l4_start).ok()?,
        header_len: u16::try_from(template.len()).ok()?,
        mss: cut.mss,
    };
    Some((large, offload))
}

fn flag_masks(regs: &RegisterFile) -> TcpFlagMasks {
    let [first, middle] = halves(regs.get(Reg::DTXTCPFLGL, 0));
    let [last, _] = halves(regs.get(Reg::DTXTCPFLGH, 0));
    TcpFlagMasks {
        first: first & 0xFFF,
        middle: middle & 0xFFF,
        last: last & 0xFFF,
    }
}

/// The low and the high half.
const fn halves(value: u32) -> [u16; 2] {
    let [a, b, c, d] = value.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

/// Makes room after the addresses of a frame that starts at byte 4, and puts a tag there. Without tag the frame starts
/// at byte 0 and stays.
fn insert_tag(frame: &mut [u8], tag: Option<u16>, regs: &RegisterFile) {
    if let Some(tci) = tag {
        let [_, ethertype] = halves(regs.get(Reg::DMATXCTL, 0));
        frame.copy_within(TAG..TAG + 12, 0);
        put_u16(frame, 12, ethertype);
        put_u16(frame, 14, tci);
    }
}

/// Inserts an L4 checksum into a frame that is complete in `frame`.
pub(super) fn insert_l4_checksum(frame: &mut [u8], checksum: L4Checksum) {
    match checksum {
        L4Checksum::None => {}
        L4Checksum::Sum { start, at, zero } => {
            let sum = Sum::of(frame.get(start..).unwrap_or_default());
            let value = match zero {
                ZeroSum::Zero => sum.checksum(),
                ZeroSum::Ones => sum.udp_checksum(),
            };
            put_u16(frame, at, value);
        }
        L4Checksum::Crc32c { start } => {
            let crc = crc32c::crc32c(frame.get(start..).unwrap_or_default());
            if let Some(field) = frame
                .get_mut(start + 8..)
                .and_then(|rest| rest.first_chunk_mut())
            {
                *field = crc.to_le_bytes();
            }
        }
    }
}

/// Tells of the read of a packet that is copied as a whole, that at the head of the queue.
#[cold]
#[inline(never)]
fn tell_short(address: Iova, result: Result<(), DmaError>, out: &mut Outgoing<'_, '_>) {
    let head = out.hw.regs.get(Reg::TDH, out.queue);
    tell_before(out.queue, head, &mut out.hw.dma);
    tell_transfer(out.queue, (address, out.len), result, &mut out.hw.dma);
}

/// Pads a frame of which all `len` bytes are in `head` if it is short and the MAC pads; returns its length.
fn pad(head: &mut [u8], len: usize, hlreg0: u32) -> usize {
    if len >= MIN_PADDED || hlreg0 & HLREG0_TXPADEN == 0 {
        return len;
    }
    head[len..MIN_PADDED].fill(0);
    MIN_PADDED
}
