//! Who looks on at what a port does: the seam for traces, accounts and checkers.
//!
//! A port without observers pays one predictable branch where an event would be told, and builds no event. Observers are
//! told in the order in which they were added, in the thread of the port, while it works: they must be quick, and
//! cannot change what they see.
//!
//! # What is told, and when
//! - An access of software to a register: a read when its value is known, a write before anything comes of it.
//! - What the DMA engine does, as it does it: descriptors fetched, bytes moved, descriptors written back. An access that
//!   waits for the client's answer ([`DmaError::Pending`]) is told each time that it is tried.
//! - A frame of the cable: [`Event::Arrived`]; for each copy that a queue is chosen for, [`Event::Steered`]; what the DMA
//!   engine does with it; [`Event::Received`] with its fate. A frame that waits in the packet buffer ends with
//!   [`Event::Released`], in the order in which the frames of its class came.
//! - A frame to send, when the wire (or another pool, or receive in loopback) has taken it: [`Event::Sent`].
//! - Causes that have become pending, and signals, at the end of the call in which they came up.
//! - The use of a descriptor's buffers ([`Observer::before`]), with a look at client memory.
//! - The end of a call ([`Observer::settle`]), with a look at registers and client memory.
//!
//! Accesses to the MSI-X table (BAR 4), to the flash (its window in BAR 0, the expansion ROM) and reads of configuration
//! space are not told.

mod account;
#[cfg(test)]
mod tests;
mod told;

use ixgbe_spec::{
    descriptor::rx::{PacketType, RssType, Status},
    register::Reg,
};

use crate::{
    bus::{Bus, DmaError, Iova, Requester, Signal},
    regs::RegisterFile,
    rx::Verdict,
    time::Time,
    wire::{RxFrame, TxFrame},
};

pub use account::{Account, QueueAccount};
pub(crate) use told::Told;

/// Looks on at what a port does.
pub trait Observer: Send {
    /// Something has happened at `now`.
    fn see(&mut self, now: Time, event: &Event<'_>);

    /// A call of the port that can have changed something is over. What was told during it has come to pass. Nothing is to
    /// be done for this by an observer of events alone.
    fn settle(&mut self, scene: &Scene<'_>) {
        let _ = scene;
    }

    /// The DMA engine is going to fill, or to read, the buffers of a descriptor, which still hold what the driver has left
    /// there. It may read them several times before the packet is sent. `bus` is only looked at ([`Bus::look`]). Nothing is
    /// to be done for this by an observer of events alone.
    fn before(&mut self, now: Time, using: Using, bus: &dyn Bus) {
        let _ = (now, using, bus);
    }
}

/// The descriptor whose buffers the DMA engine is going to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Using {
    /// Whose ring; buffers of a receive ring are filled, those of a transmit ring read.
    pub direction: Direction,
    /// Queue, 0 to 127.
    pub queue: u8,
    /// Its index in the ring.
    pub index: u16,
}

/// What an observer may look at when a call is over.
#[expect(missing_debug_implementations, reason = "borrows a trait object")]
pub struct Scene<'a> {
    pub(crate) now: Time,
    pub(crate) bus: &'a dyn Bus,
    pub(crate) regs: &'a RegisterFile,
    pub(crate) masters: bool,
}

impl<'a> Scene<'a> {
    /// When the call was made.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Client memory. An observer only looks at it ([`Bus::look`]): other accesses may ask the client.
    #[must_use]
    pub const fn bus(&self) -> &'a dyn Bus {
        self.bus
    }

    /// As [`crate::Port::register`].
    #[must_use]
    pub fn register(&self, reg: Reg, index: usize) -> u32 {
        self.regs.get(reg, index)
    }

    /// Whether the function may issue requests: DMA, and messages of interrupts.
    #[must_use]
    pub const fn masters(&self) -> bool {
        self.masters
    }
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the wire to client memory.
    Receive,
    /// From client memory to the wire.
    Transmit,
}

/// How far a reset reaches (4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetKind {
    /// By the driver, CTRL.RST or CTRL.LRST: registers, DMA and MAC of the port.
    Device,
    /// By the move from D3hot to D0: all registers.
    Power,
    /// By the bus, as a whole or as a function level reset: configuration space as well.
    Bus,
}

/// What bytes are moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Descriptors are read from a ring.
    DescriptorFetch,
    /// A descriptor is written back.
    DescriptorWriteBack,
    /// The head of a transmit ring is written (TDWBAL).
    HeadWriteBack,
    /// The headers of a packet are written to a header buffer (7.1.10), or those of a large receive anew (7.11.5.3).
    Header,
    /// A packet, or its part behind the headers that were split off.
    Packet,
    /// The buffer list of an FC exchange is read (7.13.3.3).
    BufferList,
    /// FC payload is placed directly (7.13.3).
    DirectData,
}

/// A descriptor of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whose ring.
    pub direction: Direction,
    /// Queue, 0 to 127.
    pub queue: u8,
    /// Its index in the ring.
    pub index: u16,
    /// Where it lies.
    pub iova: Iova,
    /// Its first eight bytes as a little-endian number.
    pub low: u64,
    /// Its last eight bytes.
    pub high: u64,
}

/// An access of the DMA engine to client memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which way the data it belongs to goes.
    pub direction: Direction,
    /// The queue it is for; `None` for what belongs to no queue (FC payload that is placed directly).
    pub queue: Option<u8>,
    /// First byte.
    pub iova: Iova,
    /// Number of bytes.
    pub len: usize,
    /// What for.
    pub purpose: Purpose,
    /// Whether it has happened.
    pub result: Result<(), DmaError>,
}

impl Transfer {
    /// An access, as it is told.
    pub(crate) const fn told(
        direction: Direction,
        queue: Option<u8>,
        purpose: Purpose,
        (iova, len): (Iova, usize),
        result: Result<(), DmaError>,
    ) -> Event<'static> {
        Event::Dma(Self {
            direction,
            queue,
            iova,
            len,
            purpose,
            result,
        })
    }

    /// Whether the engine reads client memory.
    #[must_use]
    pub fn reads(&self) -> bool {
        match self.purpose {
            Purpose::DescriptorFetch | Purpose::BufferList => true,
            Purpose::Packet => self.direction == Direction::Transmit,
            Purpose::DescriptorWriteBack
            | Purpose::HeadWriteBack
            | Purpose::Header
            | Purpose::DirectData => false,
        }
    }
}

/// Which filter has chosen a frame's queue (7.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Chooser {
    /// MRQC: RSS, traffic class or pool, or queue 0 if it says nothing.
    #[default]
    Mrqc,
    /// The Flow Director.
    FlowDirector,
    /// An ethertype filter, the redirection table of `FCoE`, the SYN filter or a 5-tuple filter.
    Filter,
}

/// Where a copy of a frame goes, and what its descriptor will say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering {
    /// VM pool; 0 without virtualisation.
    pub pool: u8,
    /// Receive queue, 0 to 127.
    pub queue: u8,
    /// Traffic class, 0 to 7.
    pub class: u8,
    /// What has chosen the queue.
    pub chooser: Chooser,
    /// What `hash` is.
    pub rss_type: RssType,
    /// RSS hash, or what the descriptor has in its place.
    pub hash: u32,
    /// Packet type.
    pub packet_type: PacketType,
    /// Status and errors of the last descriptor, without DD, EOP and VP.
    pub status: Status,
    /// Tag control information, if the frame has a tag.
    pub vlan: Option<u16>,
    /// First byte behind the headers that header split would split off; 0 if there are none.
    pub boundary: u16,
}

/// Something that has happened in a port.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Software has read a register.
    RegisterRead {
        /// Its offset in BAR 0, a multiple of 4; there may be no register.
        offset: u32,
        /// What was read.
        value: u32,
    },
    /// Software writes a register.
    RegisterWrite {
        /// Its offset in BAR 0, a multiple of 4; there may be no register.
        offset: u32,
        /// What was written; bytes that are not in `mask` are 0.
        value: u32,
        /// The bytes that were written.
        mask: u32,
    },
    /// Configuration space is written.
    ConfigWrite {
        /// First byte.
        offset: u16,
        /// What was written.
        data: &'a [u8],
    },
    /// The port was reset.
    Reset(ResetKind),
    /// The carrier has come (`true`) or gone.
    Carrier(bool),
    /// The client has mapped memory for the card ([`crate::Port::client_mapped`]).
    Mapped {
        /// First byte.
        iova: Iova,
        /// Number of bytes.
        len: u64,
    },
    /// The client takes back memory ([`crate::Port::client_unmaps`]).
    Unmapped {
        /// First byte.
        iova: Iova,
        /// Number of bytes.
        len: u64,
    },
    /// The DMA engine has fetched a descriptor. Receive descriptors are fetched again when what was fetched is forgotten.
    Fetched(Descriptor),
    /// The DMA engine has moved bytes, or tried to.
    Dma(Transfer),
    /// A descriptor is written back: before the call ends it is in client memory.
    WrittenBack(Descriptor),
    /// A frame has come from the cable, back from transmit in the MAC, or from another VM pool of the port.
    Arrived {
        /// The frame.
        frame: &'a RxFrame<'a>,
    },
    /// A queue was chosen for (a copy of) the frame that has arrived.
    Steered(Steering),
    /// The packet is part of a large receive in this queue, whose descriptors come later (7.11).
    Coalesced {
        /// Receive queue.
        queue: u8,
    },
    /// The frame waits in a packet buffer.
    Buffered {
        /// Traffic class.
        class: u8,
        /// Bytes that were copied there.
        len: usize,
    },
    /// This is the fate of a copy of the frame, of those that VM pools get (7.10.3).
    Replica {
        /// The pool.
        pool: u8,
        /// What became of the copy.
        verdict: Verdict,
    },
    /// This is the fate of the frame that has arrived; with VM pools the best of its copies'.
    Received {
        /// The frame.
        frame: &'a RxFrame<'a>,
        /// What became of it.
        verdict: Verdict,
    },
    /// The frame at the head of a packet buffer has left it.
    Released {
        /// Traffic class.
        class: u8,
        /// Receive queue that was chosen for it, 0 to 127.
        queue: u8,
        /// Delivered or dropped.
        verdict: Verdict,
    },
    /// A frame was sent.
    Sent {
        /// Transmit queue, 0 to 127.
        queue: u8,
        /// The frame; its head is the model's copy.
        frame: &'a TxFrame<'a>,
    },
    /// Causes have become pending.
    Cause {
        /// Queue causes (or MSI-X vectors), one bit each.
        vectors: u64,
        /// Other causes, in their places in EICR.
        other: u32,
    },
    /// An interrupt was signalled, or the pin released.
    Interrupt {
        /// Whose.
        by: Requester,
        /// The signal.
        signal: Signal,
    },
}

/// Names an observer of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObserverId(u64);

/// The observers of a port.
#[derive(Default)]
pub(crate) struct Observers {
    list: Vec<(ObserverId, Box<dyn Observer>)>,
    next: u64,
    /// Pending causes at the end of the last call.
    causes: (u64, u32),
}

impl Observers {
    pub(crate) fn add(&mut self, observer: Box<dyn Observer>) -> ObserverId {
        let id = ObserverId(self.next);
        self.next += 1;
        self.list.push((id, observer));
        id
    }

    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<Box<dyn Observer>> {
        let at = self.list.iter().position(|(other, _)| *other == id)?;
        Some(self.list.remove(at).1)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Tells an event, if there is someone to tell.
    #[inline]
    pub(crate) fn tell<'e>(&mut self, now: Time, event: impl FnOnce() -> Event<'e>) {
        if !self.is_empty() {
            self.see(now, &event());
        }
    }

    /// Tells an event.
    #[cold]
    pub(crate) fn see(&mut self, now: Time, event: &Event<'_>) {
        for (_, observer) in &mut self.list {
            observer.see(now, event);
        }
    }

    /// Tells that a call is over.
    pub(crate) fn settle(&mut self, scene: &Scene<'_>) {
        for (_, observer) in &mut self.list {
            observer.settle(scene);
        }
    }

    /// Tells of causes that were not pending at the end of the call before.
    pub(crate) fn see_causes(&mut self, now: Time, (vectors, other): (u64, u32)) {
        let (old_vectors, old_other) = std::mem::replace(&mut self.causes, (vectors, other));
        let (vectors, other) = (vectors & !old_vectors, other & !old_other);
        if vectors != 0 || other != 0 {
            self.see(now, &Event::Cause { vectors, other });
        }
    }

    /// These causes are pending at the end of a call.
    pub(crate) const fn keep_causes(&mut self, causes: (u64, u32)) {
        self.causes = causes;
    }

    /// For the time of a call; `None` if there are none.
    #[inline]
    pub(crate) fn watch(&mut self, now: Time) -> Option<Watch<'_>> {
        (!self.is_empty()).then_some(Watch {
            now,
            observers: self,
        })
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observers")
            .field("count", &self.list.len())
            .finish_non_exhaustive()
    }
}

/// The observers of a port during a call.
pub(crate) struct Watch<'a> {
    now: Time,
    observers: &'a mut Observers,
}

impl Watch<'_> {
    /// Tells an event.
    #[cold]
    pub(crate) fn see(&mut self, event: &Event<'_>) {
        self.observers.see(self.now, event);
    }

    /// Tells that buffers are going to be used.
    #[cold]
    pub(crate) fn before(&mut self, using: Using, bus: &dyn Bus) {
        for (_, observer) in &mut self.observers.list {
            observer.before(self.now, using, bus);
        }
    }
}
