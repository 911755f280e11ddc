//! Which pages of the client's memory the card has written: what a client that copies memory while the card works has to
//! copy again.
//!
//! While nothing is logged a write costs one branch. While something is, the model is lent no windows into memory, so that
//! each of its writes passes the bus and is seen.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use guest_memory::PAGE_SIZE;
use vfio_user::{Errno, server::IovaRange};

/// Pages of an entry of the log.
const CHUNK: u64 = 512;
/// Entries of the log: enough for every page of 512 GiB. A client decides what the card writes, and where, so there has to be
/// an end.
const MAX_CHUNKS: usize = 1 << 18;

/// The log of one client's memory.
#[derive(Debug, Default)]
pub(crate) struct DirtyLog {
    is_on: Cell<bool>,
    /// What is logged, or nothing for all of memory: first and last pages, in order, with others in between.
    ranges: Vec<(u64, u64)>,
    /// Bits of pages, by the number of their chunk. A page that is in it was written, so this is small beside what the client
    /// has.
    chunks: RefCell<BTreeMap<u64, [u64; 8]>>,
    /// There were too many chunks: from now on every page counts as written.
    is_full: Cell<bool>,
}

impl DirtyLog {
    /// The size of a page.
    pub(crate) const PAGE: u64 = PAGE_SIZE;

    /// Logs writes from now on: those to `ranges`, or all of them.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if it does so already.
    pub(crate) fn start(&mut self, ranges: Vec<IovaRange>) -> Result<(), Errno> {
        if self.is_on.replace(true) {
            return Err(Errno::INVAL);
        }
        let page = |address| address / Self::PAGE;
        let pages = |range: &IovaRange| (page(range.first()), page(range.last()));
        let mut pages: Vec<_> = ranges.iter().map(pages).collect();
        pages.sort_unstable();
        // Each write looks a page up: ranges that touch become one.
        pages.dedup_by(|(first, last), (_, before)| {
            let touches = *first <= before.saturating_add(1);
            if touches {
                *before = (*before).max(*last);
            }
            touches
        });
        self.ranges = pages;
        Ok(())
    }

    /// Logs nothing any more, and forgets what was.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    /// Whether writes are to be told.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// `len` bytes at `iova` were written.
    #[inline]
    pub(crate) fn wrote(&self, iova: u64, len: usize) {
        if self.is_on() && len > 0 {
            self.note(iova, len);
        }
    }

    #[cold]
    fn note(&self, iova: u64, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let last = iova.saturating_add(len - 1);
        if self.is_full.get() {
            return;
        }
        let mut chunks = self.chunks.borrow_mut();
        for page in iova / Self::PAGE..=last / Self::PAGE {
            if !self.is_watched(page) {
                continue;
            }
            if chunks.len() >= MAX_CHUNKS && !chunks.contains_key(&(page / CHUNK)) {
                self.is_full.set(true);
                chunks.clear();
                return;
            }
            let chunk = chunks.entry(page / CHUNK).or_default();
            if let Some(word) = chunk.get_mut(word_of(page)) {
                *word |= 1 << (page % 64);
            }
        }
    }

    /// Whether a page has a byte in one of the ranges.
    fn is_watched(&self, page: u64) -> bool {
        let behind = self.ranges.partition_point(|(first, _)| *first <= page);
        let range = behind.checked_sub(1).and_then(|at| self.ranges.get(at));
        self.ranges.is_empty() || range.is_some_and(|(_, last)| page <= *last)
    }

    /// Sets the bits of the pages of `page_size` bytes, counted from the beginning of `range`, that were written, and
    /// forgets them. If the log has run full, all of them were, each time.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if nothing is logged, or the range does not consist of such pages, or of those of the log.
    pub(crate) fn take(
        &mut self,
        range: IovaRange,
        page_size: u64,
        bitmap: &mut [u64],
    ) -> Result<(), Errno> {
        let granule = page_size.max(Self::PAGE);
        let whole = |n: u64| n.is_multiple_of(granule);
        if !self.is_on() || !whole(range.first()) || !whole(range.size()) {
            return Err(Errno::INVAL);
        }
        if self.is_full.get() {
            (0..range.size() / page_size).for_each(|bit| set(bitmap, bit));
            return Ok(());
        }
        let chunks = self.chunks.get_mut();
        let mut empty = Vec::new();
        let (first, last) = (range.first() / Self::PAGE, range.last() / Self::PAGE);
        for (number, chunk) in chunks.range_mut(first / CHUNK..=last / CHUNK) {
            let pages = number * CHUNK..(number + 1) * CHUNK;
            for page in pages.start.max(first)..pages.end.min(last + 1) {
                let Some(word) = chunk.get_mut(word_of(page)) else {
                    continue;
                };
                let bit = 1 << (page % 64);
                if *word & bit != 0 {
                    *word &= !bit;
                    let offset = (page - first) * Self::PAGE;
                    // A page may be many bits, and many pages one bit.
                    let bits = offset / page_size..=(offset + (Self::PAGE - 1)) / page_size;
                    bits.for_each(|bit| set(bitmap, bit));
                }
            }
            if *chunk == [0; 8] {
                empty.push(*number);
            }
        }
        for number in empty {
            chunks.remove(&number);
        }
        Ok(())
    }
}

/// The word of a chunk that has the bit of `page`.
fn word_of(page: u64) -> usize {
    usize::try_from(page % CHUNK / 64).unwrap_or(0)
}

fn set(bitmap: &mut [u64], bit: u64) {
    let word = usize::try_from(bit / 64).ok();
    if let Some(word) = word.and_then(|word| bitmap.get_mut(word)) {
        *word |= 1 << (bit % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn range(first: u64, size: u64) -> IovaRange {
        IovaRange::new(first, size).unwrap()
    }

    /// The addresses of the pages that are taken.
    fn take(log: &mut DirtyLog, first: u64, size: u64, page_size: u64) -> BTreeSet<u64> {
        let mut bitmap = vec![0; usize::try_from((size / page_size).div_ceil(64)).unwrap()];
        log.take(range(first, size), page_size, &mut bitmap)
            .unwrap();
        (0..size / page_size)
            .filter(|bit| bitmap[usize::try_from(bit / 64).unwrap()] >> (bit % 64) & 1 == 1)
            .map(|bit| first + bit * page_size)
            .collect()
    }

    #[test]
    fn a_write_over_the_end_of_a_page_makes_both_dirty_once() {
        let mut log = DirtyLog::default();
        log.start(Vec::new()).unwrap();

        log.wrote(0x2FFF, 2);
        log.wrote(0x9000, 0);

        let first = take(&mut log, 0, 0x10_0000, 4096);
        let second = take(&mut log, 0, 0x10_0000, 4096);
        assert_eq!(first, BTreeSet::from([0x2000, 0x3000]));
        assert_eq!(second, BTreeSet::new());
    }

    #[test]
    fn what_is_not_asked_for_stays_and_what_is_not_watched_is_not_logged() {
        let mut log = DirtyLog::default();
        log.start(vec![range(0x1000, 0x3000)]).unwrap();

        log.wrote(0, 0x1_0000);

        assert_eq!(take(&mut log, 0x2000, 0x1000, 4096).len(), 1);
        let rest = take(&mut log, 0, 0x10_0000, 4096);
        assert_eq!(rest, BTreeSet::from([0x1000, 0x3000]));
    }

    #[test]
    fn larger_pages_are_dirty_as_a_whole_and_smaller_ones_all_of_them() {
        let mut log = DirtyLog::default();
        log.start(Vec::new()).unwrap();

        log.wrote(0x5123, 1);
        let large = take(&mut log, 0, 0x10_0000, 0x4000);
        log.wrote(0x5123, 1);
        let small = take(&mut log, 0x4000, 0x2000, 1024);

        assert_eq!(large, BTreeSet::from([0x4000]));
        assert_eq!(small, BTreeSet::from([0x5000, 0x5400, 0x5800, 0x5C00]));
    }

    #[test]
    fn ranges_in_any_order_that_overlap_are_watched_whole_and_nothing_else_is() {
        let mut log = DirtyLog::default();
        let ranges = [(0x8001, 2), (0x3000, 0x1000), (0x1000, 0x4000), (0x5000, 1)];
        log.start(ranges.map(|(first, size)| range(first, size)).to_vec())
            .unwrap();

        log.wrote(0, 0x1_0000);

        let pages = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x8000];
        assert_eq!(log.ranges.len(), 2);
        assert_eq!(take(&mut log, 0, 0x10_0000, 4096), BTreeSet::from(pages));
    }

    #[test]
    fn a_log_that_runs_full_takes_every_page_for_written_until_it_is_ended() {
        let mut log = DirtyLog::default();
        log.start(Vec::new()).unwrap();
        let chunk = CHUNK * DirtyLog::PAGE;

        (0..MAX_CHUNKS as u64).for_each(|number| log.wrote(number * chunk, 1));
        log.wrote(chunk + 4096, 1);
        let not_yet = take(&mut log, chunk, 0x4000, 4096);
        log.wrote(chunk, 1);
        log.wrote(MAX_CHUNKS as u64 * chunk, 1);
        let kept = log.chunks.borrow().len();
        let full = [(); 2].map(|()| take(&mut log, chunk, 0x2000, 1024).len());
        log.stop();
        log.start(Vec::new()).unwrap();

        assert_eq!(not_yet, BTreeSet::from([chunk, chunk + 4096]));
        assert_eq!((kept, full), (0, [8, 8]));
        assert_eq!(take(&mut log, chunk, 0x2000, 4096), BTreeSet::new());
    }

    #[test]
    fn a_report_of_what_is_not_logged_or_of_parts_of_pages_is_refused() {
        let mut log = DirtyLog::default();
        assert_eq!(log.take(range(0, 4096), 4096, &mut [0]), Err(Errno::INVAL));
        log.start(Vec::new()).unwrap();

        assert_eq!(log.start(Vec::new()), Err(Errno::INVAL));
        assert_eq!(log.take(range(1, 4096), 4096, &mut [0]), Err(Errno::INVAL));
        assert_eq!(log.take(range(0, 4096), 8192, &mut [0]), Err(Errno::INVAL));
        assert_eq!(log.take(range(0, 512), 512, &mut [0]), Err(Errno::INVAL));
        let last = range(u64::MAX - 0xFFF, 0x1000);
        log.wrote(u64::MAX, 1);
        let mut bitmap = [0];
        assert_eq!(log.take(last, 4096, &mut bitmap), Ok(()));
        assert_eq!(bitmap, [1]);
    }

    proptest! {
        #[test]
        fn the_log_is_what_a_set_of_pages_holds(
            acts in vec((any::<bool>(), 0_u64..0x40_0000, 1_usize..20_000), 1..60),
        ) {
            let mut log = DirtyLog::default();
            let mut shadow = BTreeSet::new();
            log.start(Vec::new()).unwrap();

            for (reports, iova, len) in acts {
                if reports {
                    let first = iova & !0xFFF;
                    let size = (len as u64).next_multiple_of(4096);
                    let inside = shadow.extract_if(first..first + size, |_| true);
                    prop_assert_eq!(take(&mut log, first, size, 4096), inside.collect());
                } else {
                    log.wrote(iova, len);
                    let last = iova + len as u64 - 1;
                    shadow.extend((iova & !0xFFF..=last).step_by(4096));
                }
            }
            prop_assert_eq!(take(&mut log, 0, 0x80_0000, 4096), shadow);
        }
    }
}
