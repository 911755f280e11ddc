//! Receive: from the wire's frame to the ring's descriptors (7.1).
//!
//! Receive descriptors of this card have no thresholds: where the 82598's RXDCTL has PTHRESH, HTHRESH and WTHRESH, RLPML
//! stands. They are fetched when a frame needs them and written back when it is done. When a ring runs low is told by
//! SRRCTL.RDMTS, when a packet buffer does by FCRTL and FCRTH.
//!
//! # What is not implemented
//! - The reserved descriptor types (SRRCTL.DESCTYPE 3, 6 and 7): a queue with one of them drops.
//! - LinkSec (7.8).
//! - What a tunnel carries is not looked at. NFS replies are not recognised.

mod buffer;
mod checksum;
mod delivery;
mod diagnosis;
mod express;
mod fc;
pub(crate) mod header;
mod mac;
mod outcome;
mod patience;
pub(crate) mod payload;
mod replication;
mod ring;
mod rsc;
mod saved;
mod secured;
mod split;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;
mod write_back;

use ixgbe_spec::{
    descriptor::rx::{PacketType, Status},
    register::{
        Reg,
        bits::{ctrl_ext, eicr, fccfg, imirvp, qde, rfctl, rxctrl, vlnctrl},
    },
};
use serde::{Deserialize, Serialize};

use buffer::PacketBuffer;
use delivery::Rings;
pub(crate) use express::Express;
use header::{Headers, Settings, Tag, WINDOW};
use mac::{Control, Health};
use outcome::outcome;
use patience::Patience;
use replication::{Counters, Origin};
use ring::{Progress, Queue, Stop};
pub(crate) use rsc::Aging;
use rsc::{Coalescing, Segment};
pub(crate) use saved::Saved;
use tally::Tally;
pub use verdict::{DropReason, Verdict};
use write_back::Outcome;

use crate::{
    fcoe::{self, Fcoe},
    filter::{self, Destination, Filters, Kind, Mac, Match, Number, Replica},
    hw::Hw,
    ipsec::IpSec,
    link::{flow_control::FlowControl, pause::Pauses},
    observe::{Event, Steering},
    queue_counts::QueueCounts,
    regs::RegisterFile,
    time::Time,
    timesync::TimeSync,
    wire::{Fcs, RxFrame},
};

/// Number of receive queues.
const QUEUES: u8 = 128;
/// Number of traffic classes, each with a packet buffer.
const CLASSES: usize = 8;

/// An admitted frame: where it goes, and what its descriptor will say.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Packet {
    queue: u8,
    class: u8,
    tag: Option<Tag>,
    fcs: Fcs,
    outcome: Outcome,
    /// What it is to coalescing, if its queue does that.
    segment: Option<Segment>,
    /// What it is to `FCoE`, if it is an FC frame.
    fc: Option<fcoe::Arrival>,
    counters: Counters,
}

impl Packet {
    /// Bytes that go into the ring of a frame of `len` bytes.
    fn ring_len(&self, len: usize, progress: &Progress) -> usize {
        let tag = self.tag.filter(|_| progress.strip_vlan);
        let fcs = if progress.keep_fcs { mac::FCS_LEN } else { 0 };
        let len = progress.cut(len) + fcs;
        len.saturating_sub(tag.map_or(0, |_| Tag::LEN))
    }
}

/// A frame that the filters let in, before its queue is chosen.
#[derive(Clone, Copy, Debug)]
struct Admitted<'a> {
    headers: &'a Headers,
    mac: Mac,
    accepted: Match,
    health: Health,
    /// Its time stamp is in RXSTMP.
    stamped: bool,
    /// What the security block says of it (7.12).
    security: Status,
    class: u8,
    origin: Origin,
}

/// Receive side of a port.
#[derive(Debug)]
pub struct Receive {
    filters: Filters,
    queues: Vec<Queue>,
    coalescing: Coalescing,
    fcoe: Fcoe,
    buffers: [PacketBuffer; CLASSES],
    patience: Patience,
    pauses: Pauses,
    tally: Tally,
}

impl Default for Receive {
    fn default() -> Self {
        let mut receive = Self {
            filters: Filters::default(),
            queues: (0..QUEUES).map(Queue::new).collect(),
            coalescing: Coalescing::default(),
            fcoe: Fcoe::default(),
            buffers: Default::default(),
            patience: Patience::default(),
            pauses: Pauses::default(),
            tally: Tally::default(),
        };
        receive.reset();
        receive
    }
}

impl Receive {
    /// Puts everything back to the state after a reset of the function. The registers may be reset before or after.
    pub(crate) fn reset(&mut self) {
        let Self {
            filters,
            queues,
            coalescing,
            fcoe,
            buffers,
            patience,
            pauses,
            // What has been counted stays.
            tally: _,
        } = self;
        filters.reset();
        coalescing.clear();
        fcoe.reset();
        for (queue, index) in queues.iter_mut().zip(0..) {
            *queue = Queue::new(index);
        }
        buffers.iter_mut().for_each(PacketBuffer::clear);
        *patience = Patience::default();
        pauses.reset();
    }

    /// Software has written a register of the chapters `Receive`, `Filter` or `Fcoe`; `old` and `new` are its values before and
    /// after.
    pub(crate) fn written(&mut self, reg: Reg, index: usize, old: u32, new: u32, hw: &mut Hw<'_>) {
        match reg {
            Reg::RDBAL
            | Reg::RDBAH
            | Reg::RDLEN
            | Reg::RDH
            | Reg::RDT
            | Reg::SRRCTL
            | Reg::RSCCTL
            | Reg::RXDCTL => {
                if reg != Reg::RDT && !self.coalescing.is_empty() {
                    self.coalescing.complete_queue(index, &mut self.queues, hw);
                }
                if let Some(queue) = self.queues.get_mut(index) {
                    queue.written(reg, old, new, hw);
                }
            }
            Reg::RFCTL if new & rfctl::RSC_DIS != 0 => {
                self.coalescing.complete_all(&mut self.queues, hw);
            }
            Reg::FCFLTRW | Reg::FCDMARW => self.fcoe.written(reg, hw.regs),
            Reg::QDE => self.queue_drop_enable(new, hw.regs),
            _ => self.filters.written(reg, old, new, hw),
        }
    }

    /// QDE: reads or writes the bits of the queue that it names (8.2.3.8).
    fn queue_drop_enable(&mut self, value: u32, regs: &mut RegisterFile) {
        use qde::{ENABLE, HIDE_VLAN, QUEUE_SHIFT, READ, WRITE};
        let Some(queue) = self.queues.get_mut((value >> QUEUE_SHIFT & 0x7F) as usize) else {
            return;
        };
        if value & WRITE != 0 {
            queue.set_drop(value & ENABLE != 0, value & HIDE_VLAN != 0);
        }
        let mut result = value & !(WRITE | READ | ENABLE | HIDE_VLAN);
        let (drop, hide_vlan) = queue.drop();
        if drop {
            result |= ENABLE;
        }
        if hide_vlan {
            result |= HIDE_VLAN;
        }
        regs.set(Reg::QDE, 0, result);
    }

    /// Takes a frame from the wire (or from transmit, in loopback). `express` is what the registers ask for now, if that
    /// is known.
    pub(crate) fn receive(
        &mut self,
        frame: &RxFrame<'_>,
        express: Option<&Express>,
        hw: &mut Hw<'_>,
    ) -> Verdict {
        if !self.coalescing.is_empty() {
            self.coalescing.age(&mut self.queues, hw);
        }
        let Some(window) = frame.head.get(..frame.len().min(WINDOW)) else {
            return self.receive_in_parts(frame, hw);
        };
        let mut headers = Headers::default();
        headers.parse(window, frame.len(), &settings(hw.regs));
        if let Some(express) = express
            && let Some(verdict) = self.express(express, frame, window, &headers, hw)
        {
            return verdict;
        }
        self.receive_parsed(frame, window, &headers, hw)
    }

    /// Takes a frame whose first part ends within the headers that are looked at.
    #[cold]
    fn receive_in_parts(&mut self, frame: &RxFrame<'_>, hw: &mut Hw<'_>) -> Verdict {
        let mut copy = [0; WINDOW];
        let window = window(frame, &mut copy);
        let mut headers = Headers::default();
        headers.parse(window, frame.len(), &settings(hw.regs));
        self.receive_parsed(frame, window, &headers, hw)
    }

    /// Takes a frame whose first bytes are `window`, by the long way.
    fn receive_parsed(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        headers: &Headers,
        hw: &mut Hw<'_>,
    ) -> Verdict {
        let admitted = match self.admit(frame, window, headers, hw) {
            Ok(admitted) => admitted,
            Err(reason) => return Verdict::Dropped(reason),
        };
        let ipsec = PacketType::ESP | PacketType::AH;
        if headers.packet_type.intersects(ipsec) && IpSec::receives(hw.regs) {
            return self.receive_secured(frame, window, admitted, hw);
        }
        self.distribute(frame, window, &admitted, hw)
    }

    /// Puts a frame that has come in where the filters say.
    #[inline]
    fn distribute(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        admitted: &Admitted<'_>,
        hw: &mut Hw<'_>,
    ) -> Verdict {
        if let Some(pools) = Filters::pools(admitted.mac, admitted.headers, hw.regs) {
            return self.replicate(frame, window, admitted, pools, hw);
        }
        let replica = Replica {
            pool: 0,
            number: Number::One,
        };
        self.take(frame, window, admitted, (replica, Counters::First), hw)
    }

    /// Puts a copy of a frame that has come in into its ring, or into the packet buffer.
    #[inline]
    fn take(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        admitted: &Admitted<'_>,
        replica: (Replica, Counters),
        hw: &mut Hw<'_>,
    ) -> Verdict {
        let packet = match self.packet(frame, window, admitted, replica, hw) {
            Ok(packet) => packet,
            Err(reason) => return Verdict::Dropped(reason),
        };
        let mut progress = Progress::default();
        let class = usize::from(packet.class);
        let parts = (frame.head, frame.body);
        if self.buffers.get(class).is_some_and(PacketBuffer::is_empty) {
            match self.rings().deliver(parts, &packet, &mut progress, hw) {
                Ok(()) => {
                    return Verdict::Delivered {
                        queue: packet.queue,
                    };
                }
                Err(Stop::Drop(reason)) => return Verdict::Dropped(reason),
                Err(Stop::Wait) => {}
            }
        }
        let (fc, len) = (packet.fc, frame.len());
        let capacity = capacity(class, hw.regs);
        let Some(buffer) = self.buffers.get_mut(class) else {
            return Verdict::Dropped(DropReason::PacketBuffer);
        };
        if buffer.push(parts, packet, progress, capacity) {
            self.patience.begin(hw.now);
            let class = admitted.class;
            hw.dma.tell(move || Event::Buffered { class, len });
            return Verdict::Buffered;
        }
        hw.regs.count(Reg::MPC, class, 1);
        hw.irq.other(hw.regs, eicr::RX_MISS);
        if let Some(arrival) = fc {
            self.fcoe.lost(&arrival, hw);
        }
        Verdict::Dropped(DropReason::PacketBuffer)
    }

    /// Decides whether a frame comes in.
    #[inline]
    fn admit<'h>(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        headers: &'h Headers,
        hw: &mut Hw<'_>,
    ) -> Result<Admitted<'h>, DropReason> {
        let health = mac::inspect(frame, headers, &mut self.tally, hw.regs)?;
        let control = mac::control(window, headers, &mut self.pauses, hw.now, hw.regs);
        if control == Control::Discard {
            return Err(DropReason::Mac);
        }
        let mac = window.first_chunk().copied().map(Mac::new);
        let mac = mac.ok_or(DropReason::Mac)?;
        let accepted = self.filters.accept_address(mac, hw.regs);
        let accepted = accepted.ok_or(DropReason::Address)?;
        if !self.filters.accept_vlan(headers, hw.regs) {
            return Err(DropReason::Vlan);
        }
        if health == Health::Good && control == Control::No {
            self.tally.good(mac.kind(), frame.len());
        }
        if hw.regs.get(Reg::RXCTRL, 0) & rxctrl::RXEN == 0 {
            return Err(DropReason::Disabled);
        }
        let mut stamped = false;
        if TimeSync::stamps_received(hw.regs) && health == Health::Good {
            let by_filter = filter::is_1588(headers, hw.regs);
            stamped = hw
                .timesync
                .received(window, headers, by_filter, hw.now, hw.regs);
        }
        Ok(Admitted {
            class: traffic_class(headers.tag, hw.regs),
            headers,
            mac,
            accepted,
            health,
            stamped,
            security: Status::empty(),
            origin: Origin::Network,
        })
    }

    /// Where a copy of a frame goes, and everything that its descriptor says about it.
    #[inline]
    fn packet(
        &mut self,
        frame: &RxFrame<'_>,
        window: &[u8],
        admitted: &Admitted<'_>,
        (replica, counters): (Replica, Counters),
        hw: &mut Hw<'_>,
    ) -> Result<Packet, DropReason> {
        let Admitted { headers, class, .. } = *admitted;
        let destination = self
            .filters
            .choose(window, headers, replica, class, hw.regs);
        let queue = destination.queue;
        let ring = self.queues.get(usize::from(queue));
        if destination.drop && !ring.is_some_and(Queue::is_running) {
            return Err(DropReason::FlowDirector);
        }
        let coalesces = admitted.security.is_empty() && ring.is_some_and(Queue::coalesces);
        let mut packet = Packet {
            queue,
            class,
            tag: headers.tag,
            fcs: frame.fcs,
            outcome: outcome(frame, window, admitted, &destination, hw.regs),
            segment: None,
            fc: None,
            counters,
        };
        if destination.fcoe && replica.number == Number::One {
            packet.fc = self.fc_arrival(frame, window, admitted, &mut packet.outcome, hw.regs);
        }
        if coalesces {
            packet.segment = Segment::parse(window, frame.len(), headers, &packet.outcome, hw.regs);
        }
        if hw.dma.is_watched() {
            tell_steered(&packet, &destination, hw);
        }
        Ok(packet)
    }

    /// Ends large receives whose time is over, and moves frames that wait in the packet buffer to rings that have got
    /// descriptors; at most `budget`. Returns whether more can be done at once.
    pub(crate) fn step(&mut self, budget: usize, hw: &mut Hw<'_>) -> bool {
        if !self.coalescing.is_empty() {
            self.coalescing.age(&mut self.queues, hw);
        }
        let mut rings = Rings {
            queues: &mut self.queues,
            coalescing: &mut self.coalescing,
            fcoe: &mut self.fcoe,
            tally: &mut self.tally,
        };
        let mut left = budget;
        'classes: for (class, buffer) in self.buffers.iter_mut().enumerate() {
            while let Some((waiting, parts)) = buffer.front() {
                if left == 0 {
                    break 'classes;
                }
                let progress = &mut waiting.progress;
                let result = rings.deliver(parts, &waiting.packet, progress, hw);
                let verdict = match result {
                    Err(Stop::Wait) => break,
                    Err(Stop::Drop(reason)) => Verdict::Dropped(reason),
                    Ok(()) => Verdict::Delivered {
                        queue: waiting.packet.queue,
                    },
                };
                let Packet {
                    class: of_packet,
                    queue,
                    ..
                } = waiting.packet;
                hw.dma.tell(move || Event::Released {
                    class: of_packet,
                    queue,
                    verdict,
                });
                buffer.pop(capacity(class, hw.regs));
                left -= 1;
            }
        }
        if left == budget {
            self.patience.step(hw.now);
            return false;
        }
        let others = !self.buffers.iter().all(PacketBuffer::is_empty);
        self.patience.progress(others, hw.now);
        left == 0 && others
    }

    /// Whether large receives are being made.
    #[inline]
    pub(crate) fn coalesces(&self) -> bool {
        !self.coalescing.is_empty()
    }

    /// When the first of them has to end.
    pub(crate) fn coalescing_deadline(&self) -> Option<Time> {
        self.coalescing.deadline()
    }

    /// Ends those of the queues of `vectors`.
    pub(crate) fn complete_large_receives(&mut self, vectors: u64, hw: &mut Hw<'_>) {
        self.coalescing
            .complete_vectors(vectors, &mut self.queues, hw);
    }

    fn rings(&mut self) -> Rings<'_> {
        Rings {
            queues: &mut self.queues,
            coalescing: &mut self.coalescing,
            fcoe: &mut self.fcoe,
            tally: &mut self.tally,
        }
    }

    /// Frames that wait in the packet buffer of a class.
    pub(crate) fn waiting_frames(&self, class: usize) -> usize {
        self.buffers.get(class).map_or(0, PacketBuffer::frames)
    }

    /// What each queue has received.
    pub(crate) const fn queue_counts(&self) -> &QueueCounts {
        self.tally.queues()
    }

    /// Brings the statistics registers up to date: the last step of each call that may have received something.
    #[inline]
    pub(crate) fn settle(&mut self, regs: &mut RegisterFile) {
        self.tally.settle(regs);
    }

    /// Lets pauses end that the other end of the cable has asked for (3.7.7).
    #[inline]
    pub(crate) fn end_pauses(&mut self, now: Time, regs: &mut RegisterFile) {
        self.pauses.step(now, regs);
    }

    /// When the next of them ends.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.pauses.deadline()
    }

    /// The kind of a frame's address, if the address filters let it in.
    pub(crate) fn accepts(&mut self, frame: &[u8], regs: &RegisterFile) -> Option<Kind> {
        let mac = Mac::new(*frame.first_chunk()?);
        self.filters.accept_address(mac, regs)?;
        Some(mac.kind())
    }

    /// Bytes that wait in the packet buffer of each traffic class.
    pub(crate) fn levels(&self) -> [usize; CLASSES] {
        self.buffers.each_ref().map(PacketBuffer::level)
    }

    /// Whether the packet buffer has room; if not, frames that come all the same may be dropped and counted (MPC).
    pub(crate) fn has_room(&self) -> bool {
        self.buffers.iter().all(PacketBuffer::has_room)
    }

    /// Whether the wire should hand in more: no frame waits, or has waited for too long; with flow control, whether the
    /// packet buffer has room.
    #[inline]
    pub(crate) fn wants_more(&self, regs: &RegisterFile) -> bool {
        if self.buffers.iter().all(PacketBuffer::is_empty) {
            true
        } else if FlowControl::holds_the_link(regs) {
            self.has_room()
        } else {
            self.patience.is_over()
        }
    }

    /// When the wire has waited for descriptors long enough.
    pub(crate) fn patience_deadline(&self, regs: &RegisterFile) -> Option<Time> {
        self.patience
            .deadline()
            .filter(|_| !FlowControl::holds_the_link(regs))
    }
}

/// Tells where a frame goes.
#[cold]
#[inline(never)]
fn tell_steered(packet: &Packet, destination: &Destination, hw: &mut Hw<'_>) {
    let Outcome {
        info,
        hash,
        status,
        vlan,
        boundary,
        ..
    } = packet.outcome;
    let steering = Steering {
        pool: destination.pool,
        queue: packet.queue,
        class: packet.class,
        chooser: destination.chooser,
        rss_type: info.rss_type(),
        hash,
        packet_type: info.packet_type(),
        status,
        vlan,
        boundary,
    };
    hw.dma.tell(|| Event::Steered(steering));
}

/// The first bytes of a frame in one piece.
#[inline]
fn window<'a>(frame: &RxFrame<'a>, copy: &'a mut [u8; WINDOW]) -> &'a [u8] {
    let len = frame.len().min(WINDOW);
    if let Some(window) = frame.head.get(..len) {
        return window;
    }
    let (head, rest) = copy.split_at_mut(frame.head.len());
    head.copy_from_slice(frame.head);
    for (to, from) in rest.iter_mut().zip(frame.body) {
        *to = *from;
    }
    &copy[..len]
}

/// What registers say about parsing.
#[inline]
pub(crate) fn settings(regs: &RegisterFile) -> Settings {
    let outer = regs.get(Reg::CTRL_EXT, 0) & ctrl_ext::EXTENDED_VLAN != 0;
    Settings {
        vlan_type: (regs.get(Reg::VLNCTRL, 0) & vlnctrl::VET) as u16,
        outer_vlan_type: outer.then(|| (regs.get(Reg::EXVET, 0) >> 16) as u16),
        rfctl: regs.get(Reg::RFCTL, 0),
    }
}

/// The traffic class of a frame: that of its user priority, in the modes that have classes (7.1.2.2, RTRUP2TC).
#[inline]
fn traffic_class(tag: Option<Tag>, regs: &RegisterFile) -> u8 {
    let mapping = regs.get(Reg::RTRUP2TC, 0);
    let priority = tag.map_or(0, Tag::priority);
    (mapping >> (3 * priority) & 7) as u8
}

/// Whether traffic classes are kept apart: by their queues (MRQC), or by priority flow control.
pub(crate) fn has_classes(regs: &RegisterFile) -> bool {
    regs.get(Reg::FCCFG, 0) & fccfg::TFCE_PRIORITY != 0 || filter::rss::has_classes(regs)
}

/// Bytes of the packet buffer of a traffic class.
#[inline]
fn capacity(class: usize, regs: &RegisterFile) -> usize {
    (regs.get(Reg::RXPBSIZE, class) >> 10 & 0x3FF) as usize * 1024
}

/// Whether a frame interrupts at once by its user priority (IMIRVP).
#[inline]
fn is_urgent(tag: Option<Tag>, regs: &RegisterFile) -> bool {
    let filter = regs.get(Reg::IMIRVP, 0);
    filter & imirvp::ENABLE != 0
        && tag.is_some_and(|tag| u32::from(tag.priority()) >= filter & imirvp::PRIORITY)
}
