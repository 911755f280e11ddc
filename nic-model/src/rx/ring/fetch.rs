//! Descriptors that are fetched ahead of the packets (7.1.9).

use std::ops::Range;

use ixgbe_spec::descriptor::{SIZE, rx::Read};
use zerocopy::IntoBytes;

use super::{Queue, Stop};
use crate::{bus::Iova, hw::Hw, observe::Purpose};

/// Descriptors that are fetched at once, at most.
pub(super) const BATCH: u16 = 32;
/// How many packets before its turn a buffer is announced to the cache.
const AHEAD: u16 = 8;
/// Bytes of a buffer that are announced: those behind them follow by themselves.
const ANNOUNCED: usize = 128;

impl Queue {
    /// The descriptor at the head.
    ///
    /// # Errors
    /// As [`Queue::deliver`].
    #[inline]
    pub(super) fn next_descriptor(&mut self, hw: &mut Hw<'_>) -> Result<Read, Stop> {
        if self.cached == 0 {
            self.fetch(hw)?;
        }
        Ok(self
            .cache
            .get(usize::from(self.first))
            .copied()
            .unwrap_or_default())
    }

    /// Reads descriptors from the head on, as far as the end of the ring's memory.
    fn fetch(&mut self, hw: &mut Hw<'_>) -> Result<(), Stop> {
        let n = self.until_end().min(BATCH);
        if n == 0 {
            return Err(Stop::Wait);
        }
        self.read_into(0..n, Iova(self.place()), hw)?;
        self.first = 0;
        self.cached = n;
        self.tell_fetched(n, hw);
        (0..n.min(AHEAD)).for_each(|nth| self.announce(nth, hw));
        Ok(())
    }

    /// Says that the buffer of the descriptor whose turn comes [`AHEAD`] packets later is going to be written.
    #[inline]
    pub(super) fn announce_next(&self, hw: &mut Hw<'_>) {
        if self.cached >= AHEAD {
            self.announce(AHEAD - 1, hw);
        }
    }

    /// Says that the buffer of the fetched descriptor number `nth` is going to be written.
    #[inline]
    fn announce(&self, nth: u16, hw: &mut Hw<'_>) {
        if let Some(read) = self.cache.get(usize::from(self.first + nth)) {
            let buffer = Iova(read.packet_address.get() & !1);
            hw.dma
                .will_write(self.requester(), buffer, ANNOUNCED.min(self.buffer_len));
        }
    }

    /// Sees to it that the next `n` descriptors can be taken without a further look at the ring; it never
    /// says yes to more than [`BATCH`]. Returns whether there are so many.
    ///
    /// # Errors
    /// As [`Queue::deliver`].
    pub(in crate::rx) fn reserve(&mut self, n: u16, hw: &mut Hw<'_>) -> Result<bool, Stop> {
        if n > self.posted().min(BATCH) {
            return Ok(false);
        }
        if n > self.cached {
            self.forget();
            let all = self.posted().min(BATCH);
            let straight = self.until_end().min(all);
            self.read_into(0..straight, Iova(self.place()), hw)?;
            if straight < all {
                self.read_into(straight..all, Iova(self.base), hw)?;
            }
            self.first = 0;
            self.cached = all;
            self.tell_fetched(all, hw);
        }
        Ok(true)
    }

    /// Reads descriptors at `place` into a part of the cache.
    fn read_into(&mut self, part: Range<u16>, place: Iova, hw: &mut Hw<'_>) -> Result<(), Stop> {
        let by = self.requester();
        let part = usize::from(part.start)..usize::from(part.end);
        let to = self.cache.get_mut(part).unwrap_or_default();
        // They are written back later, so the cache has them for that at once.
        hw.dma.will_write(by, place, to.len() * SIZE);
        let result = hw.dma.read(by, place, to.as_mut_bytes());
        let len = to.len() * SIZE;
        if hw.dma.is_watched() {
            self.tell_transfer(Purpose::DescriptorFetch, (place, len), result, hw);
        }
        result.map_err(|error| self.halt(error, hw))
    }

    /// Posted descriptors from the head on that lie behind one another in memory.
    const fn until_end(&self) -> u16 {
        let posted = self.posted();
        let end = self.count.saturating_sub(self.head);
        if posted < end { posted } else { end }
    }

    /// Where the descriptor at the head lies.
    pub(super) const fn place(&self) -> u64 {
        self.base.wrapping_add(self.head as u64 * SIZE as u64)
    }

    /// Goes on to the next descriptor.
    #[inline]
    pub(super) const fn advance(&mut self) {
        self.first += 1;
        self.cached -= 1;
        self.head += 1;
        if self.head >= self.count {
            self.head = 0;
        }
    }
}
