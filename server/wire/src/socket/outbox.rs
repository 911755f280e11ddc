//! Frames on their way into a stream: put together, so that one write takes many.

use nic_model::wire::TxFrame;

use super::{MAX_FRAME, framing::PREFIX};
use crate::{host::MIN_FRAME, queue::copy_tx};

/// Bytes that wait at most.
const ROOM: usize = 256 << 10;
const _: () = assert!(ROOM >= 2 * (PREFIX + MAX_FRAME));

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Where a frame begins, at or before `start`: the first of those that may not have gone out whole.
    frame: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; ROOM].into_boxed_slice(),
            start: 0,
            end: 0,
            frame: 0,
        }
    }

    /// Appends a frame of at most [`MAX_FRAME`] bytes, padded as on a cable; false if there is no room now.
    pub(super) fn push(&mut self, frame: &TxFrame<'_>) -> bool {
        let len = frame.len();
        let padded = len.max(MIN_FRAME);
        let Ok(prefix) = u32::try_from(padded) else {
            return false;
        };
        if self.start > 0 && ROOM - self.end < PREFIX + padded {
            self.move_up();
        }
        let Some(place) = self.buffer[self.end..].get_mut(..PREFIX + padded) else {
            return false;
        };
        let (length, bytes) = place.split_at_mut(PREFIX);
        length.copy_from_slice(&prefix.to_be_bytes());
        let (bytes, padding) = bytes.split_at_mut(len);
        copy_tx(frame, bytes);
        padding.fill(0);
        self.end += PREFIX + padded;
        true
    }

    /// What is to be written next.
    pub(super) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// So many of the pending bytes were written.
    pub(super) fn sent(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Forgets everything; how many frames have not gone out whole.
    pub(super) fn abandon(&mut self) -> u64 {
        self.skip_sent();
        let mut lost = 0;
        while self.frame < self.end {
            self.frame = self.behind(self.frame);
            lost += 1;
        }
        self.clear();
        lost
    }

    const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.frame = 0;
    }

    /// Moves everything from the first frame that is not out to the front.
    fn move_up(&mut self) {
        self.skip_sent();
        self.buffer.copy_within(self.frame..self.end, 0);
        self.start -= self.frame;
        self.end -= self.frame;
        self.frame = 0;
    }

    fn skip_sent(&mut self) {
        while self.frame < self.start && self.behind(self.frame) <= self.start {
            self.frame = self.behind(self.frame);
        }
    }

    /// Where the frame that begins here ends.
    fn behind(&self, frame: usize) -> usize {
        let prefix = self.buffer[frame..self.end].first_chunk();
        let len = prefix.map_or(u32::MAX, |prefix| u32::from_be_bytes(*prefix));
        usize::try_from(len)
            .map_or(self.end, |len| frame.saturating_add(PREFIX + len))
            .min(self.end)
    }
}

#[cfg(test)]
mod tests {
    use nic_model::wire::Offload;
    use proptest::prelude::*;

    use super::*;

    fn push(outbox: &mut Outbox, bytes: &[u8]) -> bool {
        outbox.push(&TxFrame {
            head: bytes,
            payload: &[],
            offload: Offload::None,
        })
    }

    #[test]
    fn a_short_frame_is_padded_whatever_the_buffer_held_before() {
        let mut outbox = Outbox::new();
        push(&mut outbox, &[0xFF; 100]);
        outbox.sent(104);

        push(&mut outbox, &[7; 20]);

        assert_eq!(
            outbox.pending(),
            [&[0, 0, 0, 60][..], &[7; 20], &[0; 40]].concat()
        );
    }

    #[test]
    fn what_has_not_gone_out_whole_is_lost_with_the_connection() {
        let mut outbox = Outbox::new();
        (0..3).for_each(|_| assert!(push(&mut outbox, &[1; 60])));
        outbox.sent(65);

        let lost = (outbox.abandon(), outbox.abandon());

        assert_eq!(lost, (2, 0));
        assert_eq!(outbox.pending(), b"");
    }

    proptest! {
        #[test]
        fn the_bytes_of_a_stream_are_those_of_its_frames_however_little_is_sent_at_a_time(
            acts in prop::collection::vec((60_usize..20_000, 0_usize..40_000), 1..200),
        ) {
            let mut outbox = Outbox::new();
            let (mut expected, mut written, mut ends) = (Vec::new(), Vec::new(), vec![0]);
            for (len, count) in acts {
                let frame = vec![len.to_le_bytes()[0]; len];
                if push(&mut outbox, &frame) {
                    expected.extend(u32::try_from(len).unwrap().to_be_bytes());
                    expected.extend(&frame);
                    ends.push(expected.len());
                }
                let count = count.min(outbox.pending().len());
                written.extend_from_slice(&outbox.pending()[..count]);
                outbox.sent(count);
            }
            prop_assert_eq!(&expected[..written.len()], &written[..]);
            prop_assert_eq!(&expected[written.len()..], outbox.pending());
            let lost = ends.iter().filter(|end| **end > written.len()).count();
            prop_assert_eq!(outbox.abandon(), lost as u64);
        }
    }
}
