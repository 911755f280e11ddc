//! A receive queue: its ring, the descriptors fetched from it, and the way of a packet into it (7.1.4 to 7.1.7).

mod fetch;
mod saved;
mod told;

use std::ops::Range;

use fetch::BATCH;
use ixgbe_spec::{
    descriptor::{SIZE, rx::Read},
    register::{
        Reg,
        bits::{rscctl, rxdctl, srrctl},
    },
};
pub(super) use saved::Saved;
use serde::{Deserialize, Serialize};

use super::{
    DropReason,
    header::Tag,
    mac,
    payload::Payload,
    split::Head,
    tally,
    write_back::{Format, Outcome, Piece},
};
use crate::{
    bus::{DmaError, Iova, Requester},
    fcoe,
    hw::Hw,
    observe::Purpose,
    regs::RegisterFile,
    wire::RxFrame,
};

/// How far a packet has come.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Bytes that are in the ring.
    done: usize,
    /// The queue's [`Queue::epoch`] then.
    epoch: u32,
    /// What became of an FC frame in the DMA unit, once it is known.
    pub(crate) fc: Option<fcoe::Posting>,
    /// Without the tag.
    pub(crate) strip_vlan: bool,
    /// With the FCS.
    pub(crate) keep_fcs: bool,
}

impl Progress {
    /// Whether only the headers of the frame go into the ring.
    fn is_cut(&self) -> bool {
        let extent = self.fc.map(|posting| posting.extent);
        matches!(extent, Some(fcoe::Extent::Headers(_)))
    }
}

/// How many descriptors a packet has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// At least as many as SRRCTL.RDMTS says, or it had been less before.
    Enough,
    /// The packet has taken the descriptor that made it less.
    Low,
}

/// Why a packet is not (wholly) in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It waits for descriptors, or for the content of the ring.
    Wait,
    /// It is lost.
    Drop(DropReason),
}

/// A descriptor that was taken from the ring.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Taken {
    /// As the driver wrote it.
    #[serde(with = "saved::descriptor")]
    pub(super) read: Read,
    /// Its index in the ring.
    pub(super) index: u16,
    /// Where it lies.
    place: Iova,
}

impl Taken {
    /// Where the packet buffer lies. Bit 0 is the no-snoop hint, not part of the address.
    #[inline]
    pub(super) fn packet_buffer(&self) -> Iova {
        Iova(self.read.packet_address.get() & !1)
    }

    /// Where the header buffer lies. Bit 0 is DD.
    #[inline]
    pub(super) fn header_buffer(&self) -> Iova {
        Iova(self.read.header_address.get() & !1)
    }
}

/// A receive queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    index: u8,
    enabled: bool,
    /// How often the queue was enabled: the rest of a packet does not go into another ring than its beginning.
    epoch: u32,
    /// The ring could not be read; nothing happens until the queue is enabled again.
    halted: bool,
    /// What the registers say can be worked with.
    valid: bool,
    base: u64,
    count: u16,
    head: u16,
    tail: u16,
    format: Format,
    buffer_len: usize,
    header_len: usize,
    /// Posted descriptors below which the driver is to be told at once (SRRCTL.RDMTS).
    low_water: u16,
    drop_en: bool,
    /// QDE.
    drop_by_qde: bool,
    hide_vlan: bool,
    strip: bool,
    max_len: Option<usize>,
    /// Longest packet that goes into one buffer without being cut, split or coalesced; 0 if none does.
    whole_len: usize,
    /// Descriptors that a large receive may take (RSCCTL); `None` without coalescing.
    max_descriptors: Option<u16>,
    /// Descriptors from `head` on, at `first..first + cached`.
    cache: [Read; BATCH as usize],
    first: u16,
    cached: u16,
}

impl Queue {
    /// Queue `index` after a reset.
    pub(crate) fn new(index: u8) -> Self {
        Self {
            index,
            enabled: false,
            epoch: 0,
            halted: false,
            valid: false,
            base: 0,
            count: 0,
            head: 0,
            tail: 0,
            format: Format::Legacy,
            buffer_len: 0,
            header_len: 0,
            low_water: 0,
            drop_en: false,
            drop_by_qde: false,
            hide_vlan: false,
            strip: false,
            max_len: None,
            whole_len: 0,
            max_descriptors: None,
            cache: [Read::default(); BATCH as usize],
            first: 0,
            cached: 0,
        }
    }

    /// Software has written a register of this queue.
    pub(crate) fn written(&mut self, reg: Reg, old: u32, new: u32, hw: &mut Hw<'_>) {
        match reg {
            Reg::RXDCTL if new & !old & rxdctl::ENABLE != 0 => {
                self.enabled = true;
                self.epoch = self.epoch.wrapping_add(1);
                self.halted = false;
                self.head = low_word(hw.regs.get(Reg::RDH, self.index.into()));
                self.tail = low_word(hw.regs.get(Reg::RDT, self.index.into()));
                self.forget();
                self.valid = true;
            }
            Reg::RXDCTL if new & rxdctl::ENABLE == 0 => {
                self.enabled = false;
                self.forget();
            }
            Reg::RDH => {
                self.head = low_word(new);
                self.forget();
            }
            Reg::RDT => {
                self.tail = low_word(new);
                if self.enabled && self.tail >= self.count {
                    hw.faults.tail_past_end += 1;
                }
                self.cached = self.cached.min(self.posted());
                return;
            }
            Reg::RDBAL | Reg::RDBAH | Reg::RDLEN => self.forget(),
            _ => {}
        }
        self.refresh(hw);
    }

    /// QDE: drop packets that find no descriptors, and keep the VLAN tag from the descriptor.
    pub(crate) fn set_drop(&mut self, drop: bool, hide_vlan: bool) {
        self.drop_by_qde = drop;
        self.hide_vlan = hide_vlan;
    }

    /// The bits that [`Queue::set_drop`] sets.
    pub(crate) const fn drop(&self) -> (bool, bool) {
        (self.drop_by_qde, self.hide_vlan)
    }

    /// Decodes the registers; counts what cannot be worked with, once.
    fn refresh(&mut self, hw: &mut Hw<'_>) {
        let was_valid = self.valid;
        self.decode(hw.regs);
        if self.enabled && was_valid && !self.valid {
            if self.count == 0 {
                hw.faults.ring_length += 1;
            } else {
                hw.faults.descriptor += 1;
            }
        }
    }

    /// Decodes the registers.
    fn decode(&mut self, regs: &RegisterFile) {
        let q = usize::from(self.index);
        let get = |reg| regs.get(reg, q);
        self.base = u64::from(get(Reg::RDBAH)) << 32 | u64::from(get(Reg::RDBAL));
        self.count = u16::try_from(get(Reg::RDLEN) as usize / SIZE).unwrap_or(u16::MAX);
        let control = get(Reg::RXDCTL);
        self.strip = control & rxdctl::VME != 0;
        self.max_len =
            (control & rxdctl::RLPML_EN != 0).then_some((control & rxdctl::RLPML) as usize);
        let split = get(Reg::SRRCTL);
        self.drop_en = split & srrctl::DROP_EN != 0;
        self.buffer_len = (split & srrctl::BSIZEPACKET) as usize * 1024;
        self.header_len = (split >> srrctl::BSIZEHEADER_SHIFT & 0x3F) as usize * 64;
        self.low_water = 64 * low_word(split >> srrctl::RDMTS_SHIFT & 7);
        let format = Format::new(split >> srrctl::DESCTYPE_SHIFT & 7);
        self.format = format.unwrap_or(Format::OneBuffer);
        let coalescing = get(Reg::RSCCTL);
        let coalesces = coalescing & rscctl::RSCEN != 0 && self.format != Format::Legacy;
        self.max_descriptors = coalesces.then_some(match coalescing >> rscctl::MAXDESC_SHIFT & 3 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 16,
        });
        self.valid = self.count > 0 && self.buffer_len > 0 && format.is_some();
        let whole =
            self.is_running() && self.format == Format::OneBuffer && self.max_descriptors.is_none();
        self.whole_len = if whole {
            self.max_len.unwrap_or(usize::MAX).min(self.buffer_len)
        } else {
            0
        };
    }

    /// Drops the fetched descriptors.
    fn forget(&mut self) {
        self.cached = 0;
    }

    /// Whether packets can go into the ring or wait for it.
    pub(crate) const fn is_running(&self) -> bool {
        self.enabled && self.valid && !self.halted
    }

    /// Descriptors between head and tail; none while one of them lies outside of the ring.
    pub(super) const fn posted(&self) -> u16 {
        if self.head >= self.count || self.tail >= self.count {
            0
        } else if self.tail >= self.head {
            self.tail - self.head
        } else {
            self.count - self.head + self.tail
        }
    }

    /// Its number.
    pub(super) const fn index(&self) -> u8 {
        self.index
    }

    /// Whether it is to coalesce (RSCCTL.RSCEN).
    #[inline]
    pub(super) const fn coalesces(&self) -> bool {
        self.max_descriptors.is_some()
    }

    /// Descriptors that a large receive may take.
    pub(super) fn max_descriptors(&self) -> u16 {
        self.max_descriptors.unwrap_or(0)
    }

    /// Bytes that a packet buffer takes.
    pub(super) const fn buffer_len(&self) -> usize {
        self.buffer_len
    }

    /// Bytes that a header buffer takes, or would take.
    pub(super) const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Whether headers go into buffers of their own.
    pub(super) const fn splits(&self) -> bool {
        matches!(self.format, Format::Split(_))
    }

    /// Whether packets of this length are too long for the queue (RXDCTL.RLPML).
    pub(super) fn refuses(&self, len: usize) -> bool {
        self.max_len.is_some_and(|max| len > max)
    }

    /// The tag that a descriptor tells.
    pub(super) fn told(&self, tag: Option<u16>) -> Option<u16> {
        tag.filter(|_| !self.hide_vlan)
    }

    /// Settles what is delivered of a packet, unless a part of it already is. Returns whether none is.
    #[inline]
    pub(crate) fn begin(&self, progress: &mut Progress, regs: &RegisterFile) -> bool {
        let begins = progress.done == 0;
        if begins {
            *progress = Progress {
                done: 0,
                epoch: self.epoch,
                fc: progress.fc,
                strip_vlan: self.strip,
                keep_fcs: !progress.is_cut() && !mac::strips_fcs(regs),
            };
        }
        begins
    }

    /// Puts the rest of `payload` into the ring, descriptor by descriptor. `progress` says how far it came, since
    /// [`Queue::begin`].
    ///
    /// # Errors
    /// [`Stop`]; after [`Stop::Wait`] the call is to be repeated.
    pub(crate) fn deliver(
        &mut self,
        payload: &Payload<'_>,
        outcome: &Outcome,
        progress: &mut Progress,
        hw: &mut Hw<'_>,
    ) -> Result<Supply, Stop> {
        if progress.done == 0 {
            self.admit(payload.len(), hw)?;
        } else if !self.is_running() || progress.epoch != self.epoch {
            return Err(self.lost(DropReason::Queue, hw.regs));
        }
        let before = self.posted();
        loop {
            let taken = self.take(hw)?;
            if hw.dma.is_watched() {
                self.tell_before(&taken, hw);
            }
            let start = progress.done;
            let head = self.head(payload.len(), outcome, progress);
            let split = start + head.split;
            let end = payload.len().min(split + self.buffer_len);
            if head.len > 0 {
                let headers = start..start + head.len;
                self.copy(
                    payload,
                    headers,
                    (taken.header_buffer(), Purpose::Header),
                    hw,
                );
            }
            let buffer = (taken.packet_buffer(), Purpose::Packet);
            self.copy(payload, split..end, buffer, hw);
            let last = end == payload.len();
            let piece = Piece {
                head,
                len: end - split,
                next: (!last).then_some(self.head),
                vlan: self.told(outcome.vlan),
            };
            progress.done = end;
            self.complete(&taken, &piece, outcome, hw)?;
            if last {
                return Ok(self.supply(before));
            }
        }
    }

    /// Whether a packet of this length is sure to go into the next buffer as a whole ([`Queue::put`]): the descriptor is
    /// fetched, and nothing has to be cut, split or coalesced.
    #[inline]
    pub(super) const fn is_ready_for(&self, len: usize) -> bool {
        self.cached > 0 && len <= self.whole_len
    }

    /// Puts a packet without a tag, for which the queue is ready, into the next buffer. What [`Queue::deliver`] does in
    /// this case.
    ///
    /// # Errors
    /// Why the packet is lost: the descriptor cannot be written back.
    #[inline]
    pub(super) fn put(
        &mut self,
        frame: &RxFrame<'_>,
        outcome: &Outcome,
        hw: &mut Hw<'_>,
    ) -> Result<Supply, Stop> {
        let before = self.posted();
        let taken = self.take(hw)?;
        let (by, buffer) = (self.requester(), taken.packet_buffer());
        let behind = buffer.checked_add(frame.head.len() as u64);
        let mut written = hw.dma.write(by, buffer, frame.head);
        if !frame.body.is_empty() && written.is_ok() {
            let refused = DmaError::Refused { iova: buffer.0 };
            written = behind
                .ok_or(refused)
                .and_then(|iova| hw.dma.write(by, iova, frame.body));
        }
        // As in `copy`.
        if written.is_err() {
            hw.faults.buffer_dma += 1;
        }
        let piece = Piece {
            head: Head {
                info: outcome.info,
                ..Head::default()
            },
            len: frame.len(),
            next: None,
            vlan: None,
        };
        self.complete(&taken, &piece, outcome, hw)?;
        Ok(self.supply(before))
    }

    /// Takes the next descriptor from the ring.
    #[expect(
        clippy::inline_always,
        reason = "once for each packet: the call costs as much as what is done"
    )]
    #[inline(always)]
    pub(super) fn take(&mut self, hw: &mut Hw<'_>) -> Result<Taken, Stop> {
        let read = self.next_descriptor(hw)?;
        let taken = Taken {
            read,
            index: self.head,
            place: Iova(self.place()),
        };
        self.advance();
        self.announce_next(hw);
        hw.regs
            .set(Reg::RDH, self.index.into(), u32::from(self.head));
        Ok(taken)
    }

    /// Writes a descriptor back.
    #[expect(
        clippy::inline_always,
        reason = "once for each packet: the call costs as much as what is done"
    )]
    #[inline(always)]
    pub(super) fn complete(
        &mut self,
        taken: &Taken,
        piece: &Piece,
        outcome: &Outcome,
        hw: &mut Hw<'_>,
    ) -> Result<(), Stop> {
        let (low, high) = piece.write_back(self.format, &taken.read, outcome);
        let result = hw.dma.write_back(self.requester(), taken.place, low, high);
        if hw.dma.is_watched() {
            self.tell_written_back(taken, (low, high), result, hw);
        }
        result.map_err(|error| self.halt(error, hw))
    }

    /// What is left, when there were `before` descriptors before a packet.
    #[inline]
    pub(super) const fn supply(&self, before: u16) -> Supply {
        if self.low_water > 0 && before >= self.low_water && self.posted() < self.low_water {
            Supply::Low
        } else {
            Supply::Enough
        }
    }

    /// Copies a piece of a packet into a buffer.
    #[inline]
    pub(super) fn copy(
        &self,
        payload: &Payload<'_>,
        range: Range<usize>,
        (buffer, purpose): (Iova, Purpose),
        hw: &mut Hw<'_>,
    ) {
        let len = range.len();
        let result = payload.copy(range, &mut hw.dma, self.requester(), buffer);
        if hw.dma.is_watched() {
            self.tell_transfer(purpose, (buffer, len), result, hw);
        }
        // A write that nobody claims is lost without a trace on the bus: the card goes on.
        if result.is_err() {
            hw.faults.buffer_dma += 1;
        }
    }

    /// What of the packet goes into the header buffer of the next descriptor.
    #[inline]
    pub(super) fn head(&self, len: usize, outcome: &Outcome, progress: &Progress) -> Head {
        let whole = Head {
            info: outcome.info,
            ..Head::default()
        };
        match self.format {
            Format::Split(split) if progress.done == 0 => {
                let stripped =
                    progress.strip_vlan && outcome.vlan.is_some() && outcome.boundary > 0;
                let tag = if stripped { Tag::LEN } else { 0 };
                let boundary = usize::from(outcome.boundary).saturating_sub(tag);
                Head::new(split, len, boundary, self.header_len, outcome.info)
            }
            _ => whole,
        }
    }

    /// What can be said before the first byte is written.
    #[inline]
    fn admit(&mut self, len: usize, hw: &mut Hw<'_>) -> Result<(), Stop> {
        if !self.is_running() || self.refuses(len) {
            return Err(self.lost(DropReason::Queue, hw.regs));
        }
        let drops = self.drop_en || self.drop_by_qde;
        if drops && len.div_ceil(self.buffer_len) > usize::from(self.posted()) {
            return Err(self.lost(DropReason::Queue, hw.regs));
        }
        Ok(())
    }

    /// Counts a packet that is dropped at this queue.
    fn lost(&self, reason: DropReason, regs: &mut RegisterFile) -> Stop {
        let statistics = tally::statistics(self.index.into(), regs);
        regs.count(Reg::QPRDC, statistics, 1);
        Stop::Drop(reason)
    }

    /// The ring cannot be accessed.
    fn halt(&mut self, error: DmaError, hw: &mut Hw<'_>) -> Stop {
        match error {
            DmaError::Pending => Stop::Wait,
            DmaError::Refused { .. } => {
                hw.faults.ring_dma += 1;
                self.halted = true;
                self.whole_len = 0;
                self.forget();
                self.lost(DropReason::Dma, hw.regs)
            }
        }
    }

    /// On whose behalf the queue's DMA goes.
    pub(super) const fn requester(&self) -> Requester {
        Requester::Pf
    }
}

/// The low half of a register.
const fn low_word(value: u32) -> u16 {
    (value & 0xFFFF) as u16
}
