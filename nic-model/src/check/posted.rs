//! The buffers that the card has, as an interval map.

use std::collections::BTreeSet;

use crate::observe::Direction;

/// Longest buffer of a descriptor: DTALEN has 16 bits, SRRCTL.BSIZEPACKET 5 bits of KB.
const LONGEST: u64 = 1 << 16;
/// Most buffers that are looked at for one question; a client that posts one page a thousand times does not hold up others.
const LOOKS: usize = 256;

/// A range of client memory: first byte, and the byte behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// The byte behind the last one.
    pub end: u64,
}

impl Range {
    /// `len` bytes from `start` on, as far as the address space goes.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Self {
        Self {
            start,
            end: start.saturating_add(len),
        }
    }

    /// Whether there is a byte in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// Whose a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Holder {
    pub(super) queue: u8,
    pub(super) index: u16,
    pub(super) part: Part,
}

/// Which buffer of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Packet,
    Header,
}

/// Buffers that the card has, by address. Those to send may overlap each other, the card only reads them.
#[derive(Debug, Default)]
pub(super) struct Posted {
    /// Descriptors of all rings that are followed.
    pub(super) followed: usize,
    /// Bytes of all buffers whose content is remembered.
    pub(super) watched: u64,
    /// How often all contents have been forgotten at once.
    pub(super) generation: u64,
    receive: BTreeSet<(Range, Holder)>,
    transmit: BTreeSet<(Range, Holder)>,
}

impl Posted {
    fn of(&mut self, direction: Direction) -> &mut BTreeSet<(Range, Holder)> {
        match direction {
            Direction::Receive => &mut self.receive,
            Direction::Transmit => &mut self.transmit,
        }
    }

    pub(super) fn insert(&mut self, direction: Direction, range: Range, holder: Holder) {
        self.of(direction).insert((range, holder));
    }

    pub(super) fn remove(&mut self, direction: Direction, range: Range, holder: Holder) {
        self.of(direction).remove(&(range, holder));
    }

    /// A buffer in this direction that has a byte in `range`, among those that are looked at for one question.
    pub(super) fn overlapping(
        &self,
        direction: Direction,
        range: Range,
    ) -> Option<(Range, Holder)> {
        self.near(direction, range)
            .take(LOOKS)
            .find(|(other, _)| other.overlaps(range))
            .copied()
    }

    /// All buffers in this direction that have a byte in `range`; `None` if there is too much to look at.
    pub(super) fn all_overlapping(
        &self,
        direction: Direction,
        range: Range,
    ) -> Option<Vec<Holder>> {
        let mut near = self.near(direction, range);
        let looked_at = near.by_ref().take(LOOKS);
        let overlapping = looked_at.filter(|(other, _)| other.overlaps(range));
        let holders = overlapping.map(|(_, holder)| *holder).collect();
        near.next().is_none().then_some(holders)
    }

    /// Forgets what was in any buffer.
    pub(super) const fn forget_contents(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.watched = 0;
    }

    /// Buffers that may have a byte in `range`, and all that have.
    fn near(&self, direction: Direction, range: Range) -> impl Iterator<Item = &(Range, Holder)> {
        let buffers = match direction {
            Direction::Receive => &self.receive,
            Direction::Transmit => &self.transmit,
        };
        let least = Holder {
            queue: 0,
            index: 0,
            part: Part::Packet,
        };
        let at = |start: u64| (Range { start, end: 0 }, least);
        // What begins at `range.end` or later does not overlap, nor does what begins too far before it.
        buffers
            .range(at(range.start.saturating_sub(LONGEST))..at(range.end))
            .rev()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(index: u16) -> Holder {
        Holder {
            queue: 0,
            index,
            part: Part::Packet,
        }
    }

    proptest! {
        #[test]
        fn an_overlap_is_found_as_by_looking_at_all(
            buffers in prop::collection::vec((0_u64..4096, 1_u64..300), 0..40),
            start in 0_u64..4096,
            len in 1_u64..300,
        ) {
            let mut posted = Posted::default();
            let range = Range::new(start, len);
            for (index, (start, len)) in (0..).zip(&buffers) {
                posted.insert(Direction::Receive, Range::new(*start, *len), holder(index));
            }

            let found = posted.overlapping(Direction::Receive, range);

            let bytes = range.start..range.end;
            let expected = buffers
                .iter()
                .any(|(start, len)| (*start..start + len).any(|byte| bytes.contains(&byte)));
            prop_assert_eq!(found.is_some(), expected);
        }
    }

    #[test]
    fn one_page_in_a_thousand_buffers_is_too_much_to_look_at() {
        let mut posted = Posted::default();
        let range = Range::new(0x1000, 2048);
        for index in 0..1000 {
            posted.insert(Direction::Receive, range, holder(index));
        }

        assert_eq!(posted.all_overlapping(Direction::Receive, range), None);
        let beyond = posted.all_overlapping(Direction::Receive, Range::new(0x10_0000, 1));
        assert_eq!(beyond, Some(Vec::new()));
    }

    #[test]
    fn a_buffer_that_was_given_back_overlaps_nothing() {
        let mut posted = Posted::default();
        let range = Range::new(0x1000, 2048);
        posted.insert(Direction::Transmit, range, holder(1));

        posted.remove(Direction::Transmit, range, holder(1));

        assert_eq!(posted.overlapping(Direction::Transmit, range), None);
        assert!(posted.receive.is_empty() && posted.transmit.is_empty());
    }
}
