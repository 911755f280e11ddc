//! A receive queue: its ring, the descriptors fetched from it, and the way of a packet into it (7.1.4 to 7.1.7).

use std::ops::Range;

use ixgbe_spec::{
    descriptor::{SIZE, rx::Read},
    register::{
        Reg,
        bits::{eicr, hlreg0::RXCRCSTRP, rxdctl, srrctl},
    },
};
use zerocopy::IntoBytes;

use super::{
    DropReason,
    header::Tag,
    payload::Payload,
    split::Head,
    write_back::{Format, Outcome, Piece},
};
use crate::{
    bus::{DmaError, Iova, Requester},
    hw::Hw,
    regs::RegisterFile,
};

/// Descriptors that are fetched at once, at most.
const BATCH: u16 = 32;

/// How far a packet has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes that are in the ring.
    done: usize,
    /// The queue's [`Queue::epoch`] then.
    epoch: u32,
    /// Without the tag.
    pub(crate) strip_vlan: bool,
    /// With the FCS.
    pub(crate) keep_fcs: bool,
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
        let q = usize::from(self.index);
        let get = |reg| hw.regs.get(reg, q);
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
        let was_valid = self.valid;
        self.valid = self.count > 0 && self.buffer_len > 0 && format.is_some();
        if self.enabled && was_valid && !self.valid {
            if self.count == 0 {
                hw.faults.ring_length += 1;
            } else {
                hw.faults.descriptor += 1;
            }
        }
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
    const fn posted(&self) -> u16 {
        if self.head >= self.count || self.tail >= self.count {
            0
        } else if self.tail >= self.head {
            self.tail - self.head
        } else {
            self.count - self.head + self.tail
        }
    }

    /// Settles what is delivered of a packet, unless a part of it already is.
    #[inline]
    pub(crate) fn begin(&self, progress: &mut Progress, regs: &RegisterFile) {
        if progress.done == 0 {
            *progress = Progress {
                done: 0,
                epoch: self.epoch,
                strip_vlan: self.strip,
                keep_fcs: regs.get(Reg::HLREG0, 0) & RXCRCSTRP == 0,
            };
        }
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
            let descriptor = self.next_descriptor(hw)?;
            let start = progress.done;
            let head = self.head(payload.len(), outcome, progress);
            let split = start + head.len;
            let end = payload.len().min(split + self.buffer_len);
            if head.len > 0 {
                self.copy(payload, start..split, descriptor.header_address.get(), hw);
            }
            self.copy(payload, split..end, descriptor.packet_address.get(), hw);
            let place = self.base.wrapping_add(u64::from(self.head) * SIZE as u64);
            self.advance();
            let last = end == payload.len();
            let piece = Piece {
                head,
                len: end - split,
                next: (!last).then_some(self.head),
                vlan: outcome.vlan.filter(|_| !self.hide_vlan),
            };
            let (low, high) = piece.write_back(self.format, &descriptor, outcome);
            progress.done = end;
            hw.regs
                .set(Reg::RDH, self.index.into(), u32::from(self.head));
            if let Err(error) = hw.bus.write_back(self.requester(), Iova(place), low, high) {
                return Err(self.halt(error, hw));
            }
            if last {
                let low = before >= self.low_water && self.posted() < self.low_water;
                return Ok(if low { Supply::Low } else { Supply::Enough });
            }
        }
    }

    /// Copies a piece of a packet into a buffer.
    #[inline]
    fn copy(&self, payload: &Payload<'_>, range: Range<usize>, address: u64, hw: &mut Hw<'_>) {
        // Bit 0 is the no-snoop hint or DD, not part of the address.
        let buffer = Iova(address & !1);
        // A write that nobody claims is lost without a trace on the bus: the card goes on.
        if payload
            .copy(range, hw.bus, self.requester(), buffer)
            .is_err()
        {
            hw.faults.buffer_dma += 1;
        }
    }

    /// What of the packet goes into the header buffer of the next descriptor.
    #[inline]
    fn head(&self, len: usize, outcome: &Outcome, progress: &Progress) -> Head {
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
        let too_long = self.max_len.is_some_and(|max| len > max);
        if !self.is_running() || too_long {
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
        regs.count(Reg::QPRDC, self.statistics(regs), 1);
        Stop::Drop(reason)
    }

    /// The ring cannot be accessed.
    fn halt(&mut self, error: DmaError, hw: &mut Hw<'_>) -> Stop {
        match error {
            DmaError::Pending => Stop::Wait,
            DmaError::Refused { .. } => {
                hw.faults.ring_dma += 1;
                self.halted = true;
                self.forget();
                hw.irq.other(hw.regs, eicr::PCI);
                self.lost(DropReason::Dma, hw.regs)
            }
        }
    }

    #[inline]
    fn next_descriptor(&mut self, hw: &mut Hw<'_>) -> Result<Read, Stop> {
        if self.cached == 0 {
            self.fetch(hw)?;
        }
        Ok(self
            .cache
            .get(usize::from(self.first))
            .copied()
            .unwrap_or_default())
    }

    fn fetch(&mut self, hw: &mut Hw<'_>) -> Result<(), Stop> {
        let n = self
            .posted()
            .min(BATCH)
            .min(self.count - self.head.min(self.count));
        if n == 0 {
            return Err(Stop::Wait);
        }
        let place = self.base.wrapping_add(u64::from(self.head) * SIZE as u64);
        let by = self.requester();
        let to = self
            .cache
            .get_mut(..usize::from(n))
            .unwrap_or_default()
            .as_mut_bytes();
        if let Err(error) = hw.bus.read(by, Iova(place), to) {
            return Err(self.halt(error, hw));
        }
        self.first = 0;
        self.cached = n;
        Ok(())
    }

    /// Goes on to the next descriptor.
    #[inline]
    const fn advance(&mut self) {
        self.first += 1;
        self.cached -= 1;
        self.head += 1;
        if self.head >= self.count {
            self.head = 0;
        }
    }

    /// Statistics registers of this queue (RQSMR).
    pub(crate) fn statistics(&self, regs: &RegisterFile) -> usize {
        let q = usize::from(self.index);
        (regs.get(Reg::RQSMR, q / 4) >> (8 * (q % 4)) & 0xF) as usize
    }

    /// On whose behalf the queue's DMA goes.
    const fn requester(&self) -> Requester {
        Requester::Pf
    }
}

/// The low half of a register.
const fn low_word(value: u32) -> u16 {
    (value & 0xFFFF) as u16
}
