//! The DMA engine: client memory by IOVA, as the descriptors name it.
//!
//! Rings and buffers of a driver lie in a few large ranges. The engine keeps the ranges that it used last for the time of
//! a call, so that a frame costs no look-up; the client can take nothing back before the call is over. What lies in none
//! of them goes to the bus. A client that truncates the file behind its memory loses what the rest of the call writes
//! there; at the next call the bus refuses.
//!
//! Descriptors are written back a few at a time, and all before the call ends: a driver that waits for one looks at the
//! cache line of its neighbours as well, and each write would have to fetch that line from the driver's processor.

use std::sync::atomic::Ordering;

use ixgbe_spec::descriptor;
use smallvec::SmallVec;
use vm_memory::{Bytes, VolatileSlice};

use crate::{
    bus::{Bus, DmaError, Iova, Requester, Right, Span, Spans, Window},
    fault::CardFaults,
    observe::{Event, Using, Watch},
};

/// Descriptors that are written back together: four cache lines.
const BATCH: usize = 16;

/// A descriptor that is to be written back.
#[derive(Clone, Copy)]
struct Done<'a> {
    place: VolatileSlice<'a>,
    low: u64,
    high: u64,
}

/// Accesses to client memory during a call.
pub(crate) struct Dma<'a> {
    bus: &'a dyn Bus,
    read: Windows<'a>,
    write: Windows<'a>,
    /// An access since the last [`Dma::retire`] was the bus's affair.
    asked: bool,
    /// Oldest first.
    done: SmallVec<[Done<'a>; BATCH]>,
    /// Who looks on.
    watch: Option<Watch<'a>>,
    /// What somebody wants to go wrong.
    faults: Option<&'a mut CardFaults>,
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
        match self.in_last(iova, len) {
            None => self.other(bus, (by, right), iova, len),
            slice => slice,
        }
    }

    #[inline]
    fn in_last(&self, iova: Iova, len: usize) -> Option<VolatileSlice<'a>> {
        self.recent[0].as_ref()?.slice(iova, len)
    }

    fn other(
        &mut self,
        bus: &'a dyn Bus,
        (by, right): (Requester, Right),
        iova: Iova,
        len: usize,
    ) -> Option<VolatileSlice<'a>> {
        self.recent.swap(0, 1);
        let slice = self.in_last(iova, len);
        if slice.is_some() || self.none {
            return slice;
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
    #[cfg(test)]
    pub(crate) fn new(bus: &'a dyn Bus) -> Self {
        Self::watched(bus, None)
    }

    /// The engine on this bus, and who looks on.
    #[inline]
    pub(crate) fn watched(bus: &'a dyn Bus, watch: Option<Watch<'a>>) -> Self {
        Self {
            bus,
            read: Windows::default(),
            write: Windows::default(),
            asked: false,
            done: SmallVec::new(),
            watch,
            faults: None,
        }
    }

    /// Lets faults have their say. With those that see each access to memory there are no windows.
    pub(crate) fn set_faults(&mut self, faults: &'a mut CardFaults, sees_memory: bool) {
        self.read.none |= sees_memory;
        self.write.none |= sees_memory;
        self.faults = Some(faults);
    }

    /// The faults that somebody wants, if there are any.
    #[inline]
    pub(crate) fn faults(&mut self) -> Option<&mut CardFaults> {
        self.faults.as_deref_mut()
    }

    /// Tells an event, if there is someone to tell. Where each packet passes, [`Dma::is_watched`] is asked first and the
    /// event made in a function of its own, so that nothing is kept ready for it.
    #[inline]
    pub(crate) fn tell<'e>(&mut self, event: impl FnOnce() -> Event<'e>) {
        if let Some(watch) = &mut self.watch {
            watch.see(&event());
        }
    }

    /// Tells that the buffers of a descriptor are going to be used, if there is someone to tell.
    pub(crate) fn tell_before(&mut self, using: Using) {
        if let Some(watch) = &mut self.watch {
            watch.before(using, self.bus);
        }
    }

    /// Whether someone looks on.
    #[inline]
    pub(crate) const fn is_watched(&self) -> bool {
        self.watch.is_some()
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
        self.read_slowly(by, iova, to)
    }

    #[inline(never)]
    fn read_slowly(&mut self, by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError> {
        self.asked = true;
        match &mut self.faults {
            None => self.bus.read(by, iova, to),
            Some(faults) => faults.read(self.bus, by, iova, to),
        }
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
        self.write_slowly(by, iova, from)
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
        self.write_slowly(by, iova, &value.to_le_bytes())
    }

    #[inline(never)]
    fn write_slowly(&mut self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError> {
        self.asked = true;
        match &mut self.faults {
            None => self.bus.write(by, iova, from),
            Some(faults) => faults.write(self.bus, by, iova, from),
        }
    }

    /// The `len` bytes at `iova` will be read soon. Only a hint.
    #[inline]
    pub(crate) fn will_read(&mut self, by: Requester, iova: Iova, len: usize) {
        if let Some(memory) = self.read.slice(self.bus, (by, Right::Read), iova, len) {
            self.bus.prefetch(&memory, Right::Read);
        }
    }

    /// The `len` bytes at `iova` will be written soon. Only a hint.
    #[inline]
    pub(crate) fn will_write(&mut self, by: Requester, iova: Iova, len: usize) {
        if let Some(memory) = self.write.slice(self.bus, (by, Right::Write), iova, len) {
            self.bus.prefetch(&memory, Right::Write);
        }
    }

    /// As [`Bus::write_back`], before the engine is dropped at the latest.
    #[expect(
        clippy::inline_always,
        reason = "once for each packet: the call costs as much as what is done"
    )]
    #[inline(always)]
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
        if let Some(place) = place
            && iova.0.is_multiple_of(descriptor::SIZE as u64)
        {
            if self.done.len() == BATCH {
                self.write_back_all();
            }
            self.done.push(Done { place, low, high });
            return Ok(());
        }
        self.write_back_slowly(by, iova, low, high)
    }

    #[inline(never)]
    fn write_back_slowly(
        &mut self,
        by: Requester,
        iova: Iova,
        low: u64,
        high: u64,
    ) -> Result<(), DmaError> {
        self.write_back_all();
        self.asked = true;
        match &mut self.faults {
            None => self.bus.write_back(by, iova, low, high),
            Some(faults) => faults.write_back(self.bus, by, iova, low, high),
        }
    }

    /// Writes back what is still to be written, in order.
    fn write_back_all(&mut self) {
        for Done { place, low, high } in &self.done {
            // A window begins at a page, so what is aligned in it is aligned in memory.
            let first = place.store(low.to_le(), 0, Ordering::Relaxed);
            let then = place.store(high.to_le(), 8, Ordering::Release);
            debug_assert!(
                first.is_ok() && then.is_ok(),
                "a window that is not aligned"
            );
        }
        self.done.clear();
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
        self.gather_slowly(by, iova, len, spans)
    }

    #[inline(never)]
    fn gather_slowly(
        &mut self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError> {
        self.asked = true;
        match &mut self.faults {
            None => self.bus.gather(by, iova, len, spans),
            Some(faults) => faults.gather(self.bus, by, iova, len, spans),
        }
    }

    /// As [`Bus::masters`].
    pub(crate) fn masters(&self) -> bool {
        self.bus.masters()
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

impl Drop for Dma<'_> {
    fn drop(&mut self) {
        self.write_back_all();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::TestBus;

    const SIZE: usize = 256;

    #[derive(Clone, Debug)]
    enum Access {
        Read(u64, usize),
        Write(u64, Vec<u8>),
        Publish(u64, u32),
        WriteBack(u64, u64, u64),
        Gather(u64, usize),
    }

    fn access() -> impl Strategy<Value = Access> {
        // Some begin before the memory, some end behind it.
        let iova = TestBus::BASE - 16..TestBus::BASE + SIZE as u64 + 16;
        prop_oneof![
            (iova.clone(), 0_usize..64).prop_map(|(iova, len)| Access::Read(iova, len)),
            (iova.clone(), prop::collection::vec(any::<u8>(), 0..64))
                .prop_map(|(iova, bytes)| Access::Write(iova, bytes)),
            (iova.clone(), any::<u32>())
                .prop_map(|(iova, value)| Access::Publish(iova & !3, value)),
            (iova.clone(), any::<u64>(), any::<u64>())
                .prop_map(|(iova, low, high)| Access::WriteBack(iova, low, high)),
            (iova, 0_usize..64).prop_map(|(iova, len)| Access::Gather(iova, len)),
        ]
    }

    /// What an access returns, and the bytes it has read.
    fn run(dma: &mut Dma<'_>, access: &Access) -> (Result<(), DmaError>, Vec<u8>) {
        let by = Requester::Pf;
        let mut bytes = Vec::new();
        let result = match access {
            Access::Read(iova, len) => {
                bytes.resize(*len, 0);
                dma.read(by, Iova(*iova), &mut bytes)
            }
            Access::Write(iova, from) => dma.write(by, Iova(*iova), from),
            Access::Publish(iova, value) => dma.publish(by, Iova(*iova), *value),
            Access::WriteBack(iova, low, high) => {
                let result = dma.write_back(by, Iova(*iova), *low, *high);
                // What follows may read it.
                dma.write_back_all();
                result
            }
            Access::Gather(iova, len) => {
                let mut spans = Spans::new();
                let result = dma.gather(by, Iova(*iova), *len, &mut spans);
                for span in spans {
                    let mut piece = vec![0; span.len()];
                    span.copy_to(0, &mut piece);
                    bytes.append(&mut piece);
                }
                result
            }
        };
        (result, bytes)
    }

    proptest! {
        #[test]
        fn an_access_by_a_window_is_that_of_the_bus(
            accesses in prop::collection::vec(access(), 1..40),
        ) {
            let plain = TestBus::new(SIZE);
            let windows = TestBus::new(SIZE).without_record();
            let (mut by_bus, mut by_window) = (Dma::new(&plain), Dma::new(&windows));

            for access in &accesses {
                let expected = run(&mut by_bus, access);
                prop_assert_eq!(run(&mut by_window, access), expected, "{:?}", access);
            }

            drop((by_bus, by_window));
            let all = |bus: &TestBus| bus.peek(TestBus::BASE, SIZE);
            prop_assert_eq!(all(&windows), all(&plain));
        }
    }

    #[test]
    fn the_bus_is_told_to_retire_only_what_it_was_asked_for() {
        let bus = TestBus::new(SIZE).without_record();
        let mut dma = Dma::new(&bus);

        dma.write(Requester::Pf, Iova(TestBus::BASE), &[1]).unwrap();
        dma.retire();
        let inside = bus.retired();
        let refused = dma.write(Requester::Pf, Iova(0), &[1]);
        dma.retire();

        assert_eq!((inside, bus.retired()), (0, 1));
        assert_eq!(refused, Err(DmaError::Refused { iova: 0 }));
    }

    #[test]
    fn descriptors_are_written_back_in_order_and_before_the_engine_goes() {
        let bus = TestBus::new(16 * 64).without_record();
        let place = |n: u64| Iova(TestBus::BASE + 16 * n);
        let written = || {
            let bytes = bus.peek(TestBus::BASE, 16 * 64);
            let done = bytes.chunks(16).take_while(|bytes| bytes[8] == 1).count();
            let later = bytes.chunks(16).skip(done).all(|bytes| bytes == [0; 16]);
            later.then_some(done)
        };

        let mut dma = Dma::new(&bus);
        for n in 0..40 {
            dma.write_back(Requester::Pf, place(n), n, 1).unwrap();
        }
        let before = written();
        drop(dma);

        assert!(before.is_some_and(|done| done + BATCH >= 40), "{before:?}");
        assert_eq!(written(), Some(40));
    }
}
