//! What is known of a client's memory: the bytes that the card has read or written.
//!
//! The model takes each read from the recording itself. This is for people: rings, descriptors and buffers as they were last
//! seen by the card. What it never touched reads as zero where memory was mapped.

use std::collections::BTreeMap;

use nic_model::bus::{Iova, Window};
use vm_memory::{MmapRegion, VolatileMemory};

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;
/// Chunks of a port: 1 GB.
const MAX_CHUNKS: usize = 16_384;
/// Ranges of a port.
const MAX_RANGES: usize = 65_536;

/// A range that the client had mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub first: u64,
    /// Last address.
    pub last: u64,
}

/// What is known of a client's memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// By the number of the chunk.
    chunks: BTreeMap<u64, MmapRegion<()>>,
    /// By first address.
    ranges: BTreeMap<u64, u64>,
    /// Stands for what was mapped and never touched.
    zeros: Option<MmapRegion<()>>,
    left_out: u64,
}

impl Memory {
    /// The ranges that are mapped, by address.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        let ranges = self.ranges.iter();
        ranges.map(|(first, last)| Range {
            first: *first,
            last: *last,
        })
    }

    /// Bytes that the card has moved, and that are not kept: there were too many of them.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The memory around an address, as far as it lies in one piece.
    #[must_use]
    pub fn look(&self, iova: Iova) -> Option<Window<'_>> {
        let size = CHUNK as u64;
        let number = iova.0 / size;
        if let Some(chunk) = self.chunks.get(&number) {
            let all = chunk.get_slice(0, CHUNK).ok()?;
            return Some(Window::new(Iova(number.checked_mul(size)?), all));
        }
        let (_, last) = self.ranges.range(..=iova.0).next_back()?;
        let zeros = self.zeros.as_ref()?.get_slice(0, CHUNK).ok()?;
        (iova.0 <= *last).then_some(Window::new(Iova(number.checked_mul(size)?), zeros))
    }

    /// The client has mapped a range.
    pub(super) fn map(&mut self, iova: Iova, len: u64) {
        if self.zeros.is_none() {
            self.zeros = MmapRegion::new(CHUNK).ok();
        }
        if let Some(more) = len.checked_sub(1)
            && self.ranges.len() < MAX_RANGES
        {
            self.ranges.insert(iova.0, iova.0.saturating_add(more));
        }
    }

    /// The client has taken back a range: all that were mapped within it. What was in them can still be looked at.
    pub(super) fn unmap(&mut self, iova: Iova, len: u64) {
        let end = iova.0.saturating_add(len);
        while let Some((first, _)) = self.ranges.range(iova.0..end).next() {
            let first = *first;
            self.ranges.remove(&first);
        }
    }

    /// The card has seen these bytes.
    pub(super) fn seen(&mut self, iova: Iova, mut bytes: &[u8]) {
        let size = CHUNK as u64;
        let mut at = iova.0;
        while !bytes.is_empty() {
            let within = usize::try_from(at % size).unwrap_or(0);
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - within));
            let number = at / size;
            if !self.chunks.contains_key(&number)
                && self.chunks.len() < MAX_CHUNKS
                && let Ok(chunk) = MmapRegion::new(CHUNK)
            {
                self.chunks.insert(number, chunk);
            }
            let chunk = self.chunks.get(&number);
            match chunk.and_then(|chunk| chunk.get_slice(within, now.len()).ok()) {
                Some(place) => place.copy_from(now),
                None => self.left_out = self.left_out.saturating_add(now.len() as u64),
            }
            let Some(next) = at.checked_add(now.len() as u64) else {
                return;
            };
            at = next;
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(memory: &Memory, iova: u64, len: usize) -> Option<Vec<u8>> {
        let window = memory.look(Iova(iova))?;
        let mut bytes = vec![0xEE; len];
        window.slice(Iova(iova), len)?.copy_to(&mut bytes);
        Some(bytes)
    }

    #[test]
    fn what_was_seen_is_there_also_across_chunks() {
        let mut memory = Memory::default();
        let edge = CHUNK as u64;

        memory.seen(Iova(edge - 2), &[1, 2, 3, 4]);

        assert_eq!(bytes(&memory, edge - 2, 2), Some(vec![1, 2]));
        assert_eq!(bytes(&memory, edge, 3), Some(vec![3, 4, 0]));
    }

    #[test]
    fn what_was_mapped_and_never_touched_reads_as_zero() {
        let mut memory = Memory::default();
        memory.map(Iova(0x10_0000), 0x2000);

        assert_eq!(bytes(&memory, 0x10_1000, 2), Some(vec![0, 0]));
        assert_eq!(bytes(&memory, 0x10_2000, 2), None);
        assert_eq!(bytes(&memory, 0xF_F000, 2), None);
    }

    #[test]
    fn what_was_taken_back_is_mapped_no_more() {
        let mut memory = Memory::default();
        memory.map(Iova(0x1000), 0x1000);
        memory.map(Iova(0x8000), 0x1000);

        memory.unmap(Iova(0), 0x4000);

        let left: Vec<Range> = memory.ranges().collect();
        assert_eq!(
            left,
            [Range {
                first: 0x8000,
                last: 0x8FFF
            }]
        );
    }

    #[test]
    fn the_end_of_the_address_space_is_an_end() {
        let mut memory = Memory::default();

        memory.seen(Iova(u64::MAX), &[1, 2]);
        memory.map(Iova(u64::MAX), u64::MAX);

        assert_eq!(bytes(&memory, u64::MAX, 1), Some(vec![1]));
    }
}
