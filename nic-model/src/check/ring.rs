//! A ring, and who has its descriptors: the driver, or the card.

mod buffers;

use std::collections::BTreeMap;

use ixgbe_spec::{
    descriptor::SIZE,
    register::{
        Reg,
        bits::{hlreg0, rscctl, rxdctl, srrctl},
    },
};

use super::{
    Range, Rule,
    content::Watched,
    desk::Desk,
    finding::RingState,
    history::History,
    memory,
    posted::{Holder, Part, Posted},
    transmit::Stream,
};
use crate::{
    bus::Iova,
    observe::{Descriptor, Direction, Scene},
};

/// Accesses to its registers that a ring remembers.
const HISTORY: usize = 12;
/// Most descriptors that are followed in all rings together: 64 rings of the longest that drivers use. A hostile client
/// cannot make the checker keep more.
const MOST_DESCRIPTORS: usize = 1 << 18;
/// Longest frame without HLREG0.JUMBOEN: with a VLAN tag.
const PLAIN_FRAME: u32 = 1522;

/// Which of a ring's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    BaseLow,
    BaseHigh,
    Length,
    Head,
    Tail,
    /// RXDCTL, TXDCTL.
    Control,
    /// SRRCTL.
    Buffers,
}

/// The ring that a register belongs to, by direction.
pub(super) const fn kind(reg: Reg) -> Option<(Direction, Kind)> {
    Some(match reg {
        Reg::RDBAL => (Direction::Receive, Kind::BaseLow),
        Reg::RDBAH => (Direction::Receive, Kind::BaseHigh),
        Reg::RDLEN => (Direction::Receive, Kind::Length),
        Reg::RDH => (Direction::Receive, Kind::Head),
        Reg::RDT => (Direction::Receive, Kind::Tail),
        Reg::RXDCTL => (Direction::Receive, Kind::Control),
        Reg::SRRCTL => (Direction::Receive, Kind::Buffers),
        Reg::TDBAL => (Direction::Transmit, Kind::BaseLow),
        Reg::TDBAH => (Direction::Transmit, Kind::BaseHigh),
        Reg::TDLEN => (Direction::Transmit, Kind::Length),
        Reg::TDH => (Direction::Transmit, Kind::Head),
        Reg::TDT => (Direction::Transmit, Kind::Tail),
        Reg::TXDCTL => (Direction::Transmit, Kind::Control),
        _ => return None,
    })
}

/// Whether a queue is enabled, as far as its driver can know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Enable {
    #[default]
    Off,
    /// The bit was written, and not read since.
    Asked,
    On,
}

/// What a driver has seen of the packets in a receive queue since that was enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// There was none.
    Nothing,
    /// There was one, and it has not moved the tail since.
    Waiting,
    /// It has moved the tail after one.
    Taken,
}

/// A descriptor that the card has.
#[derive(Clone, Copy, Debug)]
struct Held {
    low: u64,
    high: u64,
    packet: Range,
    header: Range,
    /// What was in the packet buffer and in the header buffer.
    contents: [Option<Watched>; 2],
}

/// A ring.
#[derive(Debug)]
pub(super) struct Ring {
    direction: Direction,
    queue: u8,
    enable: Enable,
    base: u64,
    count: u32,
    head: u32,
    tail: u32,
    /// Its tail was written since the queue was disabled.
    rung: bool,
    /// What the driver has seen of a receive queue's packets.
    notice: Notice,
    /// Longest part of a packet buffer and of a header buffer that the card writes.
    buffers: (u64, u64),
    /// SRRCTL, as far as it must not change.
    layout: u32,
    held: BTreeMap<u16, Held>,
    stream: Stream,
    /// The next descriptor of a transmit ring begins a packet.
    begins: bool,
    history: History,
}

impl Ring {
    pub(super) const fn new(direction: Direction, queue: u8) -> Self {
        Self {
            direction,
            queue,
            enable: Enable::Off,
            base: 0,
            count: 0,
            head: 0,
            tail: 0,
            rung: false,
            notice: Notice::Nothing,
            buffers: (0, 0),
            layout: 0,
            held: BTreeMap::new(),
            stream: Stream::new(),
            begins: false,
            history: History::new(HISTORY),
        }
    }

    pub(super) const fn direction(&self) -> Direction {
        self.direction
    }

    pub(super) const fn queue(&self) -> u8 {
        self.queue
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enable != Enable::Off
    }

    /// Where its descriptors are.
    pub(super) const fn memory(&self) -> Range {
        Range::new(self.base, self.count as u64 * SIZE as u64)
    }

    pub(super) const fn history(&self) -> &History {
        &self.history
    }

    pub(super) const fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    pub(super) fn state(&self) -> RingState {
        RingState {
            memory: self.memory(),
            count: self.count,
            head: self.head,
            tail: self.tail,
            enabled: self.is_enabled(),
        }
    }

    /// The queue is off, and everything is the driver's again.
    pub(super) fn disable(&mut self, posted: &mut Posted) {
        self.enable = Enable::Off;
        self.rung = false;
        self.stream.reset();
        self.release_all(posted);
    }

    /// After a reset of the card.
    pub(super) fn reset(&mut self, posted: &mut Posted) {
        self.disable(posted);
        (self.base, self.count, self.head, self.tail) = (0, 0, 0, 0);
    }

    /// The driver has read RXDCTL or TXDCTL.
    pub(super) fn control_read(&mut self, value: u32) {
        if self.enable == Enable::Asked && value & rxdctl::ENABLE != 0 {
            self.enable = Enable::On;
        }
    }

    /// The driver has written one of its registers; `scene` shows it as it is after that.
    pub(super) fn written(
        &mut self,
        kind: Kind,
        value: u32,
        scene: &Scene<'_>,
        (desk, posted, rings): (&Desk<'_>, &mut Posted, &[Range]),
    ) {
        match kind {
            Kind::BaseLow if value & 0x7F != 0 => {
                desk.ring(Rule::RingBaseMisaligned, self, None, || {
                    format!("{value:#x} is written; the low 7 bits are 0 in a base")
                });
            }
            Kind::Length if value & !0xF_FF80 != 0 => {
                desk.ring(Rule::RingLengthIllegal, self, None, || {
                    format!("{value:#x} bytes is no multiple of 128 below 1 MB")
                });
            }
            _ => {}
        }
        match kind {
            Kind::BaseLow | Kind::BaseHigh | Kind::Length => self.place(scene, desk),
            Kind::Head => self.head_written(value, scene, (desk, posted)),
            Kind::Buffers => self.buffers_written(value, desk),
            Kind::Control => self.control_written(value, scene, (desk, posted, rings)),
            Kind::Tail => self.tail_written(value, scene, (desk, posted, rings)),
        }
    }

    fn register(&self, receive: Reg, transmit: Reg, scene: &Scene<'_>) -> u32 {
        let reg = match self.direction {
            Direction::Receive => receive,
            Direction::Transmit => transmit,
        };
        scene.register(reg, self.queue.into())
    }

    fn place(&mut self, scene: &Scene<'_>, desk: &Desk<'_>) {
        let low = self.register(Reg::RDBAL, Reg::TDBAL, scene);
        let high = self.register(Reg::RDBAH, Reg::TDBAH, scene);
        let len = self.register(Reg::RDLEN, Reg::TDLEN, scene);
        let base = u64::from(high) << 32 | u64::from(low);
        let count = len / 16;
        if self.is_enabled() && (base, count) != (self.base, self.count) {
            let to = Range::new(base, len.into());
            desk.ring(Rule::RingChangedWhileEnabled, self, None, || {
                format!("the ring moves from {} to {to}", self.memory())
            });
        }
        (self.base, self.count) = (base, count);
    }

    fn head_written(
        &mut self,
        value: u32,
        scene: &Scene<'_>,
        (desk, posted): (&Desk<'_>, &mut Posted),
    ) {
        if self.is_enabled() && value != self.head {
            desk.ring(Rule::RingChangedWhileEnabled, self, None, || {
                format!("the head is moved from {} to {value}", self.head)
            });
            self.release_all(posted);
        }
        self.head = self.register(Reg::RDH, Reg::TDH, scene);
    }

    fn buffers_written(&mut self, value: u32, desk: &Desk<'_>) {
        let layout = value
            & (srrctl::BSIZEPACKET
                | 0x3F << srrctl::BSIZEHEADER_SHIFT
                | 7 << srrctl::DESCTYPE_SHIFT);
        if self.is_enabled() && layout != self.layout {
            desk.ring(Rule::RingChangedWhileEnabled, self, None, || {
                format!(
                    "SRRCTL's sizes and type change from {:#x} to {layout:#x}",
                    self.layout
                )
            });
        }
        self.layout = layout;
    }

    fn control_written(
        &mut self,
        value: u32,
        scene: &Scene<'_>,
        (desk, posted, rings): (&Desk<'_>, &mut Posted, &[Range]),
    ) {
        let on = value & rxdctl::ENABLE != 0;
        if !on {
            self.disable(posted);
            return;
        }
        if self.is_enabled() {
            return;
        }
        self.enable = Enable::Asked;
        self.place(scene, desk);
        self.stream.reset();
        self.begins = true;
        self.notice = Notice::Nothing;
        self.layout = {
            let value = scene.register(Reg::SRRCTL, self.queue.into());
            value
                & (srrctl::BSIZEPACKET
                    | 0x3F << srrctl::BSIZEHEADER_SHIFT
                    | 7 << srrctl::DESCTYPE_SHIFT)
        };
        self.head = self.register(Reg::RDH, Reg::TDH, scene);
        self.tail = self.register(Reg::RDT, Reg::TDT, scene);
        // A TDT from before the queue was disabled is no doorbell any more.
        if self.direction == Direction::Transmit && !self.rung {
            self.tail = self.head;
        }
        if self.count == 0 {
            desk.ring(Rule::RingLengthIllegal, self, None, || {
                "the queue is enabled with a ring of length 0".to_owned()
            });
            return;
        }
        if self.tail >= self.count {
            desk.ring(Rule::TailPastRing, self, None, || {
                format!("the queue is enabled with a tail of {}", self.tail)
            });
            self.tail %= self.count;
            return;
        }
        self.hand_over(self.head, scene, (desk, posted, rings));
    }

    fn tail_written(
        &mut self,
        value: u32,
        scene: &Scene<'_>,
        (desk, posted, rings): (&Desk<'_>, &mut Posted, &[Range]),
    ) {
        self.rung = true;
        if self.notice == Notice::Waiting {
            self.notice = Notice::Taken;
        }
        if !self.is_enabled() || self.count == 0 {
            self.tail = value;
            return;
        }
        self.follow_head(scene, posted);
        if value >= self.count {
            desk.ring(Rule::TailPastRing, self, None, || {
                format!(
                    "the tail is {value}; the ring has {} descriptors",
                    self.count
                )
            });
            self.release_all(posted);
            self.stream.reset();
            self.begins = false;
            self.tail = value % self.count;
            return;
        }
        if self.enable == Enable::Asked && value != self.tail {
            desk.ring(Rule::TailBeforeEnabled, self, None, || {
                "the enable bit was not read after it was written".to_owned()
            });
        }
        if !scene.masters() && value != self.tail {
            desk.ring(Rule::TailWithoutBusMaster, self, None, || {
                "bus mastering is off in the command register, or by CTRL.GIO_DIS".to_owned()
            });
        }
        let (owned, more) = (
            self.distance(self.head, self.tail),
            self.distance(self.tail, value),
        );
        if owned + more >= self.count {
            desk.ring(Rule::TailOverOwned, self, None, || {
                format!(
                    "the tail goes from {} to {value}; the card has {owned} of {} descriptors, so {} are free",
                    self.tail,
                    self.count,
                    (self.count - 1).saturating_sub(owned)
                )
            });
            self.release_all(posted);
            self.stream.reset();
            self.begins = false;
            self.tail = value;
            return;
        }
        let from = std::mem::replace(&mut self.tail, value);
        self.hand_over(from, scene, (desk, posted, rings));
    }

    /// Steps from one place of the ring to another.
    const fn distance(&self, from: u32, to: u32) -> u32 {
        if to >= from {
            to - from
        } else {
            self.count.saturating_sub(from) + to
        }
    }

    /// Looks at the descriptors from `from` up to the tail, which the driver has handed over.
    fn hand_over(
        &mut self,
        from: u32,
        scene: &Scene<'_>,
        (desk, posted, rings): (&Desk<'_>, &mut Posted, &[Range]),
    ) {
        self.find_sizes(scene);
        let mut place = from;
        while place != self.tail && place < self.count {
            if let Some(descriptor) = self.read(place, scene) {
                self.hold(&descriptor, (desk, posted, rings));
                self.watch(&descriptor, scene.bus(), (posted, rings));
                if self.direction == Direction::Transmit {
                    for (rule, what) in self.stream.next(&descriptor, scene.bus()) {
                        desk.ring(rule, self, Some(descriptor), || what);
                    }
                }
            } else {
                // What is not seen can have been anything.
                self.stream.reset();
                self.begins = false;
            }
            place = (place + 1) % self.count;
        }
    }

    fn read(&self, place: u32, scene: &Scene<'_>) -> Option<Descriptor> {
        let iova = self.base.checked_add(u64::from(place) * SIZE as u64)?;
        let mut bytes = [0; SIZE];
        if !memory::read(scene.bus(), iova, &mut bytes) {
            return None;
        }
        let [low, high] = [0, 8].map(|at| {
            let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
            u64::from_le_bytes(word.unwrap_or_default())
        });
        Some(Descriptor {
            direction: self.direction,
            queue: self.queue,
            index: u16::try_from(place).ok()?,
            iova: Iova(iova),
            low,
            high,
        })
    }

    /// How much of a buffer the card writes: as much as SRRCTL says, but no more than the longest frame.
    fn find_sizes(&mut self, scene: &Scene<'_>) {
        if self.direction == Direction::Transmit {
            return;
        }
        let get = |reg| scene.register(reg, self.queue.into());
        let split = get(Reg::SRRCTL);
        let packet = (split & srrctl::BSIZEPACKET) * 1024;
        let control = get(Reg::RXDCTL);
        let coalesces = get(Reg::RSCCTL) & rscctl::RSCEN != 0;
        let longest = if coalesces {
            u32::MAX
        } else if control & rxdctl::RLPML_EN != 0 {
            control & rxdctl::RLPML
        } else if scene.register(Reg::HLREG0, 0) & hlreg0::JUMBOEN == 0 {
            PLAIN_FRAME
        } else {
            scene.register(Reg::MAXFRS, 0) >> 16
        };
        // DESCTYPE 2 and 5 are those with header buffers (8.2.3.8.7).
        let header = match split >> srrctl::DESCTYPE_SHIFT & 7 {
            2 | 5 => (split >> srrctl::BSIZEHEADER_SHIFT & 0x3F) * 64,
            _ => 0,
        };
        self.buffers = (packet.min(longest).into(), header.into());
    }

    /// The card has this descriptor from now on.
    fn hold(
        &mut self,
        descriptor: &Descriptor,
        (desk, posted, rings): (&Desk<'_>, &mut Posted, &[Range]),
    ) {
        let Descriptor {
            index, low, high, ..
        } = *descriptor;
        self.release(index, posted);
        let room = posted.followed < MOST_DESCRIPTORS;
        let (packet, header) = match self.direction {
            Direction::Receive => (
                Range::new(low & !1, self.buffers.0),
                Range::new(high & !1, self.buffers.1),
            ),
            Direction::Transmit => (sent_buffer(low, high), Range::new(0, 0)),
        };
        for (part, range) in [(Part::Packet, packet), (Part::Header, header)] {
            if range.start >= range.end {
                continue;
            }
            self.compare(range, descriptor, (desk, posted, rings));
            if room {
                posted.insert(self.direction, range, self.holder(index, part));
            }
        }
        if room {
            posted.followed += 1;
            let held = Held {
                low,
                high,
                packet,
                header,
                contents: [None; 2],
            };
            self.held.insert(index, held);
        }
    }

    const fn holder(&self, index: u16, part: Part) -> Holder {
        Holder {
            queue: self.queue,
            index,
            part,
        }
    }

    /// Holds a new buffer against those that the card has.
    fn compare(
        &self,
        range: Range,
        descriptor: &Descriptor,
        (desk, posted, rings): (&Desk<'_>, &Posted, &[Range]),
    ) {
        let other = posted.overlapping(Direction::Receive, range);
        let rule = match self.direction {
            Direction::Receive => Rule::BufferPostedTwice,
            Direction::Transmit => Rule::BufferPostedWhileSent,
        };
        if let Some((other, holder)) = other {
            desk.ring(rule, self, Some(*descriptor), || {
                overlap(descriptor.index, range, other, "receive", holder)
            });
        }
        if self.direction == Direction::Transmit {
            return;
        }
        if let Some((other, holder)) = posted.overlapping(Direction::Transmit, range) {
            desk.ring(Rule::BufferPostedWhileSent, self, Some(*descriptor), || {
                overlap(descriptor.index, range, other, "transmit", holder)
            });
        }
        if let Some(ring) = rings.iter().find(|ring| ring.overlaps(range)) {
            desk.ring(Rule::BufferOverRing, self, Some(*descriptor), || {
                format!(
                    "the buffer {range} of descriptor {} overlaps the ring {ring}",
                    descriptor.index
                )
            });
        }
    }

    /// The card has fetched a descriptor.
    pub(super) fn fetched(
        &mut self,
        descriptor: &Descriptor,
        (desk, posted, rings): (&Desk<'_>, &mut Posted, &[Range]),
    ) {
        match self.held.get(&descriptor.index) {
            Some(held) if (held.low, held.high) != (descriptor.low, descriptor.high) => {
                let (low, high) = (held.low, held.high);
                desk.ring(
                    Rule::DescriptorChangedWhileOwned,
                    self,
                    Some(*descriptor),
                    || {
                        format!(
                            "descriptor {} was {low:#018x} {high:#018x} when it was handed over",
                            descriptor.index
                        )
                    },
                );
                self.hold(descriptor, (desk, posted, rings));
            }
            Some(_) => {}
            // It could not be read when it was handed over.
            None => self.hold(descriptor, (desk, posted, rings)),
        }
    }

    /// The card has written a descriptor back.
    pub(super) fn written_back(&mut self, index: u16, posted: &mut Posted) {
        if self.direction == Direction::Receive {
            self.release(index, posted);
            if self.notice == Notice::Nothing {
                self.notice = Notice::Waiting;
            }
        }
    }

    /// Takes note of how far the card has come.
    pub(super) fn follow_head(&mut self, scene: &Scene<'_>, posted: &mut Posted) {
        let head = self.register(Reg::RDH, Reg::TDH, scene);
        if self.direction == Direction::Transmit {
            let mut place = self.head;
            // A head that lies outside of the ring is never met.
            for _ in 0..self.distance(self.head, head).min(self.count) {
                if let Ok(index) = u16::try_from(place) {
                    self.release(index, posted);
                }
                place = (place + 1) % self.count;
            }
        }
        self.head = head;
    }

    /// Whether the card has filled all that the driver ever gave to this receive queue, and the driver has not noticed.
    pub(super) fn is_forgotten(&self, scene: &Scene<'_>) -> bool {
        self.notice == Notice::Waiting
            && self.is_enabled()
            && self.head == self.register(Reg::RDT, Reg::TDT, scene)
    }

    /// Whether its descriptors or a buffer of one of them have a byte in `range`, and which.
    pub(super) fn uses(&self, range: Range) -> Option<Range> {
        if !self.is_enabled() {
            return None;
        }
        let memory = self.memory();
        if memory.overlaps(range) {
            return Some(memory);
        }
        self.held
            .values()
            .flat_map(|held| [held.packet, held.header])
            .find(|buffer| buffer.overlaps(range))
    }

    fn release(&mut self, index: u16, posted: &mut Posted) {
        if let Some(held) = self.held.remove(&index) {
            posted.followed -= 1;
            for watched in held.contents.into_iter().flatten() {
                watched.forget(posted);
            }
            for (part, range) in [(Part::Packet, held.packet), (Part::Header, held.header)] {
                posted.remove(self.direction, range, self.holder(index, part));
            }
        }
    }

    fn release_all(&mut self, posted: &mut Posted) {
        while let Some((index, _)) = self.held.first_key_value() {
            self.release(*index, posted);
        }
    }
}

/// The buffer of a transmit descriptor; none of a context.
fn sent_buffer(low: u64, high: u64) -> Range {
    use ixgbe_spec::descriptor::tx::{Descriptor, Kind};
    let raw = Descriptor {
        low: low.into(),
        high: high.into(),
    };
    match raw.decode() {
        Kind::Data(data) => Range::new(data.address, data.control.dtalen().into()),
        Kind::Legacy(legacy) => Range::new(legacy.address, legacy.control.length().into()),
        Kind::Context(_) | Kind::Reserved { .. } => Range::new(0, 0),
    }
}

fn overlap(index: u16, range: Range, other: Range, direction: &str, holder: Holder) -> String {
    let part = match holder.part {
        Part::Packet => "buffer",
        Part::Header => "header buffer",
    };
    format!(
        "the buffer {range} of descriptor {index} overlaps {other}, the {part} of descriptor {} of {direction} queue {}",
        holder.index, holder.queue
    )
}
