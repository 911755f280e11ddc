//! A transmit queue: its ring, the descriptors fetched from it, and the contexts that persist in it (7.2.3.3).

mod saved;

use ixgbe_spec::{
    descriptor::{
        self,
        tx::{Context, DD, DataControl, Descriptor, Kind, LegacyControl},
    },
    register::Reg,
};
use zerocopy::IntoBytes;

use crate::{
    bus::{DmaError, Iova, Requester, Spans},
    dma::Dma,
    faults::GuestFaults,
    hw::Hw,
    observe::{Descriptor as Told, Direction, Event, Purpose, Transfer, Using},
    regs::RegisterFile,
    time::Time,
};

use super::write_back::{Accumulated, Done};
pub(super) use saved::Saved;

/// Descriptors of one fetch.
const BATCH: u32 = 64;
/// How many descriptors before its turn a buffer is announced to the cache.
const AHEAD: usize = 8;
/// Bytes of a buffer that are announced: those behind them follow by themselves.
const ANNOUNCED: usize = 64;

/// Most descriptors of a packet. Drivers use up to 50; what is longer has lost its end.
pub(super) const MAX_PACKET_DESCRIPTORS: usize = 256;

/// TXDCTL.ENABLE (8.2.3.9.10).
pub(super) const TXDCTL_ENABLE: u32 = 1 << 25;
/// TXDCTL.SWFLSH: writes back what waits for it; clears itself.
const TXDCTL_SWFLSH: u32 = 1 << 26;

/// TDWBAL: head write-back enable (8.2.3.9.11).
const HEAD_WRITE_BACK_ENABLE: u32 = 1;

/// What stands next in a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Number of its descriptors.
    pub descriptors: usize,
    /// Sum of their lengths.
    pub len: usize,
    /// What its first descriptor says.
    pub request: Request,
    /// Whether one of its descriptors has RS.
    pub report: bool,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// To be sent as a legacy descriptor says.
    Legacy(LegacyControl),
    /// To be sent as an advanced data descriptor says, with the context that it names if the driver has provided one.
    Advanced(DataControl, Option<Context>),
    /// Nothing: its descriptors are only to be passed.
    Pass,
}

/// A queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    index: u8,
    enabled: bool,
    /// Does nothing more until it is enabled anew, as its ring could not be accessed.
    stalled: bool,
    base: u64,
    /// Number of descriptors.
    len: u32,
    /// First descriptor that is not done.
    head: u32,
    tail: u32,
    /// TDT was written since the queue was disabled.
    rung: bool,
    head_write_back: Option<Iova>,
    accumulated: Accumulated,
    contexts: [Option<Context>; 2],
    /// Fetched descriptors; those from `next` on are not done, and the first of them is that at `head`.
    fetched: Vec<Descriptor>,
    next: usize,
    /// Descriptors up to the next end of packet are passed.
    passing: bool,
    /// Segments of the packet at the head that have been sent.
    pub segments_sent: usize,
}

impl Queue {
    /// Queue `index` after a reset.
    pub fn new(index: u8) -> Self {
        Self {
            index,
            ..Self::default()
        }
    }

    pub fn reset(&mut self) {
        let Self {
            index: _,
            enabled,
            stalled,
            base,
            len,
            head,
            tail,
            rung,
            head_write_back,
            accumulated,
            contexts,
            fetched,
            next,
            passing,
            segments_sent,
        } = self;
        *enabled = false;
        *stalled = false;
        *base = 0;
        *len = 0;
        *head = 0;
        *tail = 0;
        *rung = false;
        *head_write_back = None;
        accumulated.reset();
        *contexts = [None; 2];
        fetched.clear();
        *next = 0;
        *passing = false;
        *segments_sent = 0;
    }

    /// Whether there may be work.
    pub fn is_runnable(&self) -> bool {
        self.enabled && !self.stalled && self.head != self.tail
    }

    /// Takes over TDT, the doorbell.
    pub fn set_tail(&mut self, tail: u32, faults: &mut GuestFaults) {
        self.tail = tail;
        self.rung = true;
        if self.len != 0 && tail >= self.len {
            faults.tail_past_end += 1;
            self.tail = tail % self.len;
        }
    }

    /// Takes over where the ring lies and what goes with it. Descriptors that were fetched before are forgotten, and so are those that
    /// wait to be written back.
    pub fn set_ring(&mut self, index: usize, regs: &RegisterFile) {
        let (low, high) = (regs.get(Reg::TDBAL, index), regs.get(Reg::TDBAH, index));
        self.base = u64::from(high) << 32 | u64::from(low);
        self.len = regs.get(Reg::TDLEN, index) / 16;
        let wrapped = |position: u32| position.checked_rem(self.len).unwrap_or(position);
        self.head = wrapped(regs.get(Reg::TDH, index));
        self.tail = wrapped(regs.get(Reg::TDT, index));
        self.fetched.clear();
        self.next = 0;
        self.segments_sent = 0;
        self.accumulated.forget();
    }

    /// Takes over TDWBAL and TDWBAH.
    pub fn set_head_write_back(&mut self, index: usize, regs: &RegisterFile) {
        let low = regs.get(Reg::TDWBAL, index);
        let high = regs.get(Reg::TDWBAH, index);
        self.head_write_back = (low & HEAD_WRITE_BACK_ENABLE != 0)
            .then_some(Iova(u64::from(high) << 32 | u64::from(low & !3)));
        // The head tells of what waits, and the driver posts over it.
        if self.head_write_back.is_some() {
            self.accumulated.forget();
        }
    }

    /// Takes over TXDCTL. A flush, like the end of the queue, writes back what waits for it.
    pub fn set_control(&mut self, txdctl: u32, index: usize, hw: &mut Hw<'_>) {
        let enabled = txdctl & TXDCTL_ENABLE != 0;
        self.accumulated.set_threshold(txdctl);
        // Without the right to write, what waits does so until there is one, or is lost with the queue.
        if !self.accumulated.is_empty()
            && hw.dma.masters()
            && (!enabled || txdctl & TXDCTL_SWFLSH != 0 || self.accumulated.is_due(hw.now))
        {
            self.write_back(index, hw);
        }
        hw.regs.set(Reg::TXDCTL, index, txdctl & !TXDCTL_SWFLSH);
        self.set_enabled(enabled, index, hw.regs);
    }

    /// Takes over TXDCTL.ENABLE. A queue that is disabled loses its contexts, and one that was stalled can go on after
    /// it.
    ///
    /// A TDT from before the queue was disabled is no doorbell any more: DPDK starts a queue again with a TDH of 0 and the
    /// TDT of before, over descriptors that it has cleared, and writes TDT once the queue is enabled.
    fn set_enabled(&mut self, enabled: bool, index: usize, regs: &RegisterFile) {
        if enabled == self.enabled {
            return;
        }
        self.enabled = enabled;
        self.stalled = false;
        self.passing = false;
        self.contexts = [None; 2];
        self.set_ring(index, regs);
        if !self.rung {
            self.tail = self.head;
        }
        self.rung &= enabled;
        self.set_head_write_back(index, regs);
    }

    /// The first descriptor that is not done.
    pub const fn head(&self) -> u32 {
        self.head
    }

    /// Stops the queue until it is enabled anew.
    pub fn stall(&mut self) {
        self.stalled = true;
    }

    /// Finds the packet at the head; `None` if the driver has not provided (all of) one. A packet without descriptors
    /// stands for a turn that went into context descriptors.
    pub fn packet(&mut self, index: usize, hw: &mut Hw<'_>) -> Result<Option<Packet>, DmaError> {
        if self.len == 0 {
            hw.faults.ring_length += 1;
            self.stalled = true;
            return Ok(None);
        }
        let mut packet = Packet {
            descriptors: 0,
            len: 0,
            request: Request::Pass,
            report: false,
        };
        if !self.passing && self.take_contexts(index, hw)? == Contexts::More {
            return Ok(Some(packet));
        }
        let mut intact = !self.passing;
        loop {
            let Some(descriptor) = self.fetched.get(self.next + packet.descriptors) else {
                if self.fetch(&mut hw.dma)? == 0 {
                    return Ok(None);
                }
                continue;
            };
            let first = packet.descriptors == 0;
            packet.descriptors += 1;
            let eop = match descriptor.decode() {
                Kind::Data(data) => {
                    let control = data.control;
                    if first && intact {
                        let context = self.contexts.get(usize::from(control.idx()));
                        packet.request = Request::Advanced(control, context.copied().flatten());
                    }
                    intact &= matches!(packet.request, Request::Advanced(..));
                    packet.len += usize::from(control.dtalen());
                    packet.report |= control.rs();
                    control.eop()
                }
                Kind::Legacy(legacy) => {
                    let control = legacy.control;
                    if first && intact {
                        packet.request = Request::Legacy(control);
                    }
                    intact &= matches!(packet.request, Request::Legacy(_));
                    packet.len += usize::from(control.length());
                    packet.report |= control.rs();
                    control.eop()
                }
                // A context between the descriptors of a packet, or a type that there is not.
                Kind::Context(_) => {
                    intact = false;
                    false
                }
                Kind::Reserved { .. } => {
                    intact = false;
                    let control = DataControl::from_bits(descriptor.high.get());
                    packet.report |= control.rs();
                    control.eop()
                }
            };
            let too_long = !eop && packet.descriptors == MAX_PACKET_DESCRIPTORS;
            if eop || too_long {
                if !self.passing && (!intact || too_long) {
                    hw.faults.descriptor += 1;
                }
                self.passing = too_long;
                if !intact || too_long {
                    packet.request = Request::Pass;
                }
                return Ok(Some(packet));
            }
        }
    }

    /// Where the first buffer of `packet` lies.
    pub fn first_buffer(&self, packet: &Packet) -> Iova {
        let first = self.descriptors(packet).first();
        Iova(first.map_or(0, |descriptor| descriptor.low.get()))
    }

    /// Appends the buffers of `packet` to `spans`. Where some are pending, all of them are asked for before it says so.
    pub fn gather<'b>(
        &self,
        packet: &Packet,
        dma: &mut Dma<'b>,
        spans: &mut Spans<'b>,
    ) -> Result<(), DmaError> {
        let mut outcome = Ok(());
        for (nth, descriptor) in self.descriptors(packet).iter().enumerate() {
            // The address is in the low quadword and the length in the lowest word of the high one, in both formats.
            let len = DataControl::from_bits(descriptor.high.get()).dtalen();
            if len == 0 {
                continue;
            }
            let address = Iova(descriptor.low.get());
            let len = usize::from(len);
            let result = dma.gather(Requester::Pf, address, len, spans);
            if dma.is_watched() {
                // Nothing of it is read before it is sent.
                tell_before(self.index.into(), self.position(nth), dma);
                tell_transfer(self.index.into(), (address, len), result, dma);
            }
            match result {
                Err(DmaError::Pending) => outcome = Err(DmaError::Pending),
                other => other?,
            }
        }
        outcome
    }

    /// The card is through with `packet`: advances the head and reports as far as the descriptors ask for it.
    pub fn complete(&mut self, index: usize, packet: &Packet, hw: &mut Hw<'_>) {
        let start = self.head;
        self.segments_sent = 0;
        self.head = self.position(packet.descriptors);
        hw.regs.set(Reg::TDH, index, self.head);
        if self.accumulated.has_threshold() && self.head_write_back.is_none() {
            self.accumulate(start, packet, index, hw);
        } else if packet.report {
            if self.report(start, packet, &mut hw.dma).is_err() {
                hw.faults.ring_dma += 1;
                self.stalled = true;
            }
            hw.irq.tx_queue(hw.regs, index);
        }
        for nth in 0..packet.descriptors.min(AHEAD) {
            self.announce(AHEAD + nth, &mut hw.dma);
        }
        self.next += packet.descriptors;
        if self.next >= self.fetched.len() {
            self.fetched.clear();
            self.next = 0;
        }
        hw.dma.retire();
    }

    fn descriptors(&self, packet: &Packet) -> &[Descriptor] {
        self.fetched
            .get(self.next..self.next + packet.descriptors)
            .unwrap_or_default()
    }

    /// Writes the head, or DD into each descriptor with RS. The rest of a descriptor is written as it was.
    fn report(&self, start: u32, packet: &Packet, dma: &mut Dma<'_>) -> Result<(), DmaError> {
        if let Some(address) = self.head_write_back {
            let result = dma.publish(Requester::Pf, address, self.head);
            dma.tell(move || self.ring_transfer(Purpose::HeadWriteBack, address, 4, result));
            return result;
        }
        let mut position = start;
        for descriptor in self.descriptors(packet) {
            if reports(*descriptor) {
                let done = Done {
                    position,
                    low: descriptor.low.get(),
                    high: descriptor.high.get() | DD,
                };
                self.write_one_back(done, dma)?;
            }
            position = self.wrapped(position + 1);
        }
        Ok(())
    }

    #[inline]
    fn write_one_back(&self, done: Done, dma: &mut Dma<'_>) -> Result<(), DmaError> {
        let Done {
            position,
            low,
            high,
        } = done;
        let place = self.address(position)?;
        let result = dma.write_back(Requester::Pf, place, low, high);
        if dma.is_watched() {
            self.tell_written_back(position, (low, high), result, dma);
        }
        result
    }

    /// The descriptors of `packet` are done, and written back when enough are (TXDCTL.WTHRESH).
    fn accumulate(&mut self, start: u32, packet: &Packet, index: usize, hw: &mut Hw<'_>) {
        let mut position = start;
        for nth in self.next..self.next + packet.descriptors {
            if let Some(descriptor) = self.fetched.get(nth)
                && !matches!(descriptor.decode(), Kind::Context(_))
            {
                self.accumulated.add(Done {
                    position,
                    low: descriptor.low.get(),
                    high: descriptor.high.get() | DD,
                });
            }
            position = self.wrapped(position + 1);
        }
        if self.accumulated.is_empty() {
            return;
        }
        if self.accumulated.until().is_none() {
            let until = hw.irq.write_back_timer(hw.regs, index, hw.now);
            self.accumulated.wait(until);
        }
        if self.accumulated.is_due(hw.now) {
            self.write_back(index, hw);
        }
    }

    /// When [`Queue::write_back`] has to be called at the latest; `None` if nothing waits.
    pub fn waits_until(&self) -> Option<Time> {
        self.accumulated.until()
    }

    /// Writes back what waits for it.
    pub fn write_back(&mut self, index: usize, hw: &mut Hw<'_>) {
        let done = self.accumulated.take();
        let mut all = done.iter();
        if all
            .try_for_each(|done| self.write_one_back(*done, &mut hw.dma))
            .is_err()
        {
            hw.faults.ring_dma += 1;
            self.stalled = true;
        }
        self.accumulated.give_back(done);
        hw.irq.tx_queue(hw.regs, index);
        hw.dma.retire();
    }

    /// Takes the context descriptors at the head into their slots. They need no more than that, so they are done.
    fn take_contexts(&mut self, index: usize, hw: &mut Hw<'_>) -> Result<Contexts, DmaError> {
        for _ in 0..BATCH {
            let Some(descriptor) = self.fetched.get(self.next) else {
                if self.fetch(&mut hw.dma)? == 0 {
                    return Ok(Contexts::Taken);
                }
                continue;
            };
            let Kind::Context(context) = descriptor.decode() else {
                return Ok(Contexts::Taken);
            };
            match self.contexts.get_mut(usize::from(context.high.idx())) {
                Some(slot) => *slot = Some(context),
                None => hw.faults.descriptor += 1,
            }
            self.next += 1;
            self.head = self.wrapped(self.head + 1);
            hw.regs.set(Reg::TDH, index, self.head);
        }
        Ok(Contexts::More)
    }

    /// Fetches the descriptors that follow, as far as the driver has provided them and the ring goes on without a
    /// break. Returns their number.
    fn fetch(&mut self, dma: &mut Dma<'_>) -> Result<u32, DmaError> {
        let position = self.position(self.fetched.len() - self.next);
        let provided = (self.tail + self.len - position) % self.len;
        let count = provided.min(BATCH).min(self.len - position);
        if count == 0 {
            return Ok(0);
        }
        let address = self.address(position)?;
        self.fetched.drain(..self.next);
        self.next = 0;
        let old = self.fetched.len();
        let new = old + usize::try_from(count).unwrap_or(0);
        self.fetched.resize(new, Descriptor::default());
        let room = self.fetched[old..].as_mut_bytes();
        let len = room.len();
        let result = dma.read(Requester::Pf, address, room);
        dma.tell(|| self.ring_transfer(Purpose::DescriptorFetch, address, len, result));
        result.inspect_err(|_| self.fetched.truncate(old))?;
        if dma.is_watched() {
            self.tell_fetched(position, old, dma);
        }
        (0..AHEAD).for_each(|nth| self.announce(nth, dma));
        Ok(count)
    }

    /// Says that the buffer of the descriptor number `nth` of those fetched is going to be read.
    #[inline]
    fn announce(&self, nth: usize, dma: &mut Dma<'_>) {
        if let Some(descriptor) = self.fetched.get(self.next + nth)
            && let Kind::Data(data) = descriptor.decode()
        {
            let len = usize::from(data.control.dtalen()).min(ANNOUNCED);
            dma.will_read(Requester::Pf, Iova(data.address), len);
        }
    }

    /// Tells of the descriptors that were fetched from `position` on, which lie behind `old` others.
    #[cold]
    #[inline(never)]
    fn tell_fetched(&self, position: u32, old: usize, dma: &mut Dma<'_>) {
        let new = self.fetched.get(old..).unwrap_or_default();
        for (index, descriptor) in (position..).zip(new) {
            let (low, high) = (descriptor.low.get(), descriptor.high.get());
            if let Ok(told) = self.told(index, low, high) {
                dma.tell(move || Event::Fetched(told));
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_written_back(
        &self,
        position: u32,
        (low, high): (u64, u64),
        result: Result<(), DmaError>,
        dma: &mut Dma<'_>,
    ) {
        if let Ok(told) = self.told(position, low, high) {
            let (purpose, len) = (Purpose::DescriptorWriteBack, descriptor::SIZE);
            dma.tell(move || self.ring_transfer(purpose, told.iova, len, result));
            if result.is_ok() {
                dma.tell(move || Event::WrittenBack(told));
            }
        }
    }

    /// A descriptor of this ring, as it is told.
    fn told(&self, position: u32, low: u64, high: u64) -> Result<Told, DmaError> {
        Ok(Told {
            direction: Direction::Transmit,
            queue: self.index,
            // A ring has 32768 descriptors at most.
            index: u16::try_from(position).unwrap_or(u16::MAX),
            iova: self.address(position)?,
            low,
            high,
        })
    }

    /// An access to this ring, as it is told.
    const fn ring_transfer(
        &self,
        purpose: Purpose,
        iova: Iova,
        len: usize,
        result: Result<(), DmaError>,
    ) -> Event<'static> {
        Transfer::told(
            Direction::Transmit,
            Some(self.index),
            purpose,
            (iova, len),
            result,
        )
    }

    /// The ring position `ahead` descriptors after the head.
    fn position(&self, ahead: usize) -> u32 {
        let ahead = u32::try_from(ahead).unwrap_or(0);
        self.wrapped(self.head + ahead)
    }

    /// A position that is seldom more than one round ahead: a tail that goes back provides descriptors twice.
    const fn wrapped(&self, position: u32) -> u32 {
        if position < self.len {
            return position;
        }
        match position.checked_rem(self.len) {
            Some(position) => position,
            None => position,
        }
    }

    fn address(&self, position: u32) -> Result<Iova, DmaError> {
        const SIZE: u64 = descriptor::SIZE as u64;
        Iova(self.base)
            .checked_add(u64::from(position) * SIZE)
            .ok_or(DmaError::Refused { iova: self.base })
    }
}

/// The number of a queue, as it is told.
pub(super) fn number(queue: usize) -> u8 {
    u8::try_from(queue).unwrap_or(u8::MAX)
}

/// Tells that the buffer of the descriptor at `position` is going to be read.
#[cold]
#[inline(never)]
pub(super) fn tell_before(queue: usize, position: u32, dma: &mut Dma<'_>) {
    dma.tell_before(Using {
        direction: Direction::Transmit,
        queue: number(queue),
        // A ring has 65536 descriptors at most.
        index: u16::try_from(position).unwrap_or(u16::MAX),
    });
}

/// Tells of a read of a packet's bytes.
#[cold]
#[inline(never)]
pub(super) fn tell_transfer(
    queue: usize,
    (iova, len): (Iova, usize),
    result: Result<(), DmaError>,
    dma: &mut Dma<'_>,
) {
    let queue = Some(number(queue));
    dma.tell(|| {
        Transfer::told(
            Direction::Transmit,
            queue,
            Purpose::Packet,
            (iova, len),
            result,
        )
    });
}

/// What stands at the head after context descriptors were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contexts {
    /// Something else, or nothing.
    Taken,
    /// Perhaps more of them: their number per call is bounded.
    More,
}

/// Whether a data descriptor has RS, which is the same bit in all formats.
fn reports(descriptor: Descriptor) -> bool {
    DataControl::from_bits(descriptor.high.get()).rs()
}
