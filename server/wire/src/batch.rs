//! Many frames in one buffer, in order.

use std::collections::VecDeque;

/// Bytes of frames in a batch, but for a single frame that has more.
const BATCH: usize = 64 << 10;
/// Bytes that a frame costs beside its own.
const RECORD: usize = 64;
/// Empty batches that are kept for later.
const SPARE: usize = 16;

/// Frames one behind the other in one buffer, each with a label. They are taken out in the order in which they were put
/// in.
#[derive(Debug)]
pub(crate) struct Batch<L> {
    bytes: Vec<u8>,
    /// Label and end of each frame.
    frames: Vec<(L, usize)>,
    /// Which is next, and where it starts.
    next: usize,
    start: usize,
}

impl<L> Default for Batch<L> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            frames: Vec::new(),
            next: 0,
            start: 0,
        }
    }
}

impl<L> Batch<L> {
    /// Whether a frame of `len` bytes fits beside those that are there.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.frames.is_empty() || self.cost().saturating_add(len).saturating_add(RECORD) <= BATCH
    }

    /// Bytes that it holds, and an allowance for each frame.
    fn cost(&self) -> usize {
        self.bytes.len() + RECORD * self.frames.len()
    }

    /// Appends a frame, room or not. `fill` gets `len` zeros to write on.
    pub(crate) fn push_with(&mut self, label: L, len: usize, fill: impl FnOnce(&mut [u8])) {
        let start = self.bytes.len();
        let end = start.saturating_add(len);
        self.bytes.resize(end, 0);
        fill(&mut self.bytes[start..]);
        self.frames.push((label, end));
    }

    /// The frame that is next.
    pub(crate) fn front(&self) -> Option<(&L, &[u8])> {
        let (label, end) = self.frames.get(self.next)?;
        Some((label, &self.bytes[self.start..*end]))
    }

    /// Goes on to the frame after that.
    pub(crate) fn pop(&mut self) {
        if let Some((_, end)) = self.frames.get(self.next) {
            self.start = *end;
            self.next += 1;
        }
    }

    /// Frames that are left in it.
    pub(crate) fn len(&self) -> usize {
        self.frames.len() - self.next
    }

    /// Whether no frame is left in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.frames.len()
    }

    /// Forgets its frames and keeps its memory.
    pub(crate) fn clear(&mut self) {
        let Self {
            bytes,
            frames,
            next,
            start,
        } = self;
        bytes.clear();
        frames.clear();
        (*next, *start) = (0, 0);
    }
}

/// A queue of frames, bounded in bytes (64 more for each frame), in as many batches as it needs.
#[derive(Debug)]
pub(crate) struct BatchQueue<L> {
    batches: VecDeque<Batch<L>>,
    spare: Vec<Batch<L>>,
    bytes: usize,
    max_bytes: usize,
}

impl<L> BatchQueue<L> {
    pub(crate) const fn new(max_bytes: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            spare: Vec::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Appends a frame of `len` bytes, which `fill` writes; false, and nothing done, if there is no room.
    pub(crate) fn push_with(&mut self, label: L, len: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        let bytes = self.bytes.saturating_add(len).saturating_add(RECORD);
        if bytes > self.max_bytes {
            return false;
        }
        self.bytes = bytes;
        if !self.batches.back().is_some_and(|batch| batch.has_room(len)) {
            self.batches.push_back(self.spare.pop().unwrap_or_default());
        }
        if let Some(batch) = self.batches.back_mut() {
            batch.push_with(label, len, fill);
        }
        true
    }

    /// The first frame.
    pub(crate) fn front(&self) -> Option<(&L, &[u8])> {
        self.batches.front()?.front()
    }

    /// Takes the first frame away.
    pub(crate) fn pop(&mut self) {
        let Some(batch) = self.batches.front_mut() else {
            return;
        };
        let len = batch.front().map_or(0, |(_, bytes)| bytes.len() + RECORD);
        self.bytes = self.bytes.saturating_sub(len);
        batch.pop();
        if batch.is_empty()
            && let Some(mut batch) = self.batches.pop_front()
            && self.spare.len() < SPARE
        {
            batch.clear();
            self.spare.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_that_finds_no_room_is_refused_until_one_is_taken() {
        let mut queue = BatchQueue::new(2 * (100 + RECORD));
        let push = |queue: &mut BatchQueue<u8>| queue.push_with(0, 100, |_| {});

        let pushed = [(); 3].map(|()| push(&mut queue));
        queue.pop();
        let again = push(&mut queue);

        assert_eq!((pushed, again), ([true, true, false], true));
    }

    #[test]
    fn a_frame_longer_than_a_batch_has_one_of_its_own() {
        let mut queue = BatchQueue::new(1 << 20);
        queue.push_with(1, 10, |to| to.fill(1));
        queue.push_with(2, 200_000, |to| to.fill(2));

        let short = queue.front().map(|(label, bytes)| (*label, bytes.len()));
        queue.pop();
        let long = queue.front().map(|(label, bytes)| (*label, bytes.len()));

        assert_eq!((short, long), (Some((1, 10)), Some((2, 200_000))));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_and_in_the_order_in_which_they_went_in(
            acts in prop::collection::vec(prop::option::weighted(0.6, 0_usize..20_000), 1..300),
        ) {
            let mut queue = BatchQueue::new(1 << 20);
            let mut expected: VecDeque<(usize, usize)> = VecDeque::new();
            for (number, act) in acts.into_iter().enumerate() {
                if let Some(len) = act {
                    let [low, ..] = number.to_le_bytes();
                    if queue.push_with(number, len, |to| to.fill(low)) {
                        expected.push_back((number, len));
                    }
                } else {
                    queue.pop();
                    expected.pop_front();
                }
                let front = queue.front().map(|(label, bytes)| {
                    assert!(bytes.iter().all(|byte| *byte == label.to_le_bytes()[0]));
                    (*label, bytes.len())
                });
                prop_assert_eq!(front, expected.front().copied());
            }
        }
    }
}
