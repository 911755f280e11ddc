//! The DMA engine: client memory by IOVA, as the descriptors name it.
//!
//! Rings and buffers of a driver lie in a few large ranges. The engine keeps the ranges that it used last for the time of
//! a call, so that a frame costs no look-up; the client can take nothing back before the call is over. What lies in none
//! of them goes to the bus.

use std::sync::atomic::Ordering;

use ixgbe_spec::descriptor;
use vm_memory::{Bytes, VolatileSlice};

use crate::bus::{Bus, DmaError, Iova, Requester, Right, Span, Spans, Window};

/// Accesses to client memory during a call.
#[derive(Clone)]
pub(crate) struct Dma<'a> {
    bus: &'a dyn Bus,
    read: Windows<'a>,
    write: Windows<'a>,
    /// An access since the last [`Dma::retire`] was the bus's affair.
    asked: bool,
}

/// The ranges that were used last.
#[derive(Clone, Copy, Default)]
struct Windows<'a> {
    /// The one that was used last, and the one before.
    recent: [Option<Window<'a>>; 2],
    /// The bus has none to offer.
    none: bool,
}

impl<'a> Windows<'a> {
    #[inline]
    fn slice(
        &mut self,
        bus: &'a dyn Bus,
        (by, right): (Requester, Right),
        iova: Iova,
        len: usize,
    ) -> Option<VolatileSlice<'a>> {
        if let Some(window) = &self.recent[0]
            && let Some(slice) = window.slice(iova, len)
        {
            return Some(slice);
        }
        self.other(bus, (by, right), iova, len)
    }

    fn other(
        &mut self,
        bus: &'a dyn Bus,
        (by, right): (Requester, Right),
        iova: Iova,
        len: usize,
    ) -> Option<VolatileSlice<'a>> {
        self.recent.swap(0, 1);
        if let Some(window) = &self.recent[0]
            && let Some(slice) = window.slice(iova, len)
        {
            return Some(slice);
        }
        if self.none {
            return None;
        }
        let Some(window) = bus.window(by, iova, right) else {
            // A bus without any is not asked for each access.
            self.none = self.recent[1].is_none();
            return None;
        };
        self.recent[0] = Some(window);
        window.slice(iova, len)
    }
}

impl<'a> Dma<'a> {
    /// The engine on this bus.
    pub(crate) fn new(bus: &'a dyn Bus) -> Self {
        Self {
            bus,
            read: Windows::default(),
            write: Windows::default(),
            asked: false,
        }
    }

    /// As [`Bus::read`].
    #[inline]
    pub(crate) fn read(
        &mut self,
        by: Requester,
        iova: Iova,
        to: &mut [u8],
    ) -> Result<(), DmaError> {
        let place = self.read.slice(self.bus, (by, Right::Read), iova, to.len());
        if let Some(from) = place {
            from.copy_to(to);
            return Ok(());
        }
        self.asked = true;
        self.bus.read(by, iova, to)
    }

    /// As [`Bus::write`].
    #[inline]
    pub(crate) fn write(&mut self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        let place = self
            .write
            .slice(self.bus, (by, Right::Write), iova, from.len());
        if let Some(to) = place {
            to.copy_from(from);
            return Ok(());
        }
        self.asked = true;
        self.bus.write(by, iova, from)
    }

    /// Writes four bytes in one piece, after all that was written before: a head that the driver polls.
    pub(crate) fn publish(
        &mut self,
        by: Requester,
        iova: Iova,
        value: u32,
    ) -> Result<(), DmaError> {
        let place = self.write.slice(self.bus, (by, Right::Write), iova, 4);
        if let Some(to) = place
            && to.store(value.to_le(), 0, Ordering::Release).is_ok()
        {
            return Ok(());
        }
        self.asked = true;
        self.bus.write(by, iova, &value.to_le_bytes())
    }

    /// As [`Bus::write_back`].
    #[inline]
    pub(crate) fn write_back(
        &mut self,
        by: Requester,
        iova: Iova,
        low: u64,
        high: u64,
    ) -> Result<(), DmaError> {
        let place = self
            .write
            .slice(self.bus, (by, Right::Write), iova, descriptor::SIZE);
        // A ring that is not aligned is the bus's to refuse.
        if let Some(to) = place
            && iova.0.is_multiple_of(descriptor::SIZE as u64)
            && to.store(low.to_le(), 0, Ordering::Relaxed).is_ok()
            && to.store(high.to_le(), 8, Ordering::Release).is_ok()
        {
            return Ok(());
        }
        self.asked = true;
        self.bus.write_back(by, iova, low, high)
    }

    /// As [`Bus::gather`].
    #[inline]
    pub(crate) fn gather(
        &mut self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        if let Some(slice) = self.read.slice(self.bus, (by, Right::Read), iova, len) {
            spans.push(Span::Mapped(slice));
            return Ok(());
        }
        self.asked = true;
        self.bus.gather(by, iova, len, spans)
    }

    /// As [`Bus::retire`].
    #[inline]
    pub(crate) fn retire(&mut self) {
        if self.asked {
            self.asked = false;
            self.bus.retire();
        }
    }
}
