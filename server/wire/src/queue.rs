//! A bounded queue of frames whose buffers are used again.

use std::collections::VecDeque;

use nic_model::wire::{Fcs, Flow, RxFrame, TxFrame};

use crate::Counters;

/// Frames in order, at most so many and so many bytes. Buffers of frames that were taken are kept for later ones.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    frames: VecDeque<Buffer>,
    free: Vec<Buffer>,
    bytes: usize,
    max_frames: usize,
    max_bytes: usize,
}

/// A frame of `len` bytes at the start of a buffer that may be longer.
#[derive(Debug, Default)]
struct Buffer {
    storage: Vec<u8>,
    len: usize,
    fcs: Fcs,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        &self.storage[..self.len]
    }
}

impl FrameQueue {
    pub(crate) const fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            free: Vec::new(),
            bytes: 0,
            max_frames,
            max_bytes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether a frame of `len` bytes fits.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.frames.len() < self.max_frames
            && self
                .bytes
                .checked_add(len)
                .is_some_and(|sum| sum <= self.max_bytes)
    }

    /// Appends a frame of `len` bytes that `fill` writes, room or not: the caller asks [`FrameQueue::has_room`]
    /// before. The buffer holds the bytes of some earlier frame, so `fill` must write all of it.
    pub(crate) fn push_with<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = self.free.pop().unwrap_or_default();
        if buffer.storage.len() < len {
            buffer.storage.resize(len, 0);
        }
        buffer.len = len;
        buffer.fcs = Fcs::Good;
        let result = fill(&mut buffer.storage[..len]);
        self.bytes = self.bytes.saturating_add(len);
        self.frames.push_back(buffer);
        result
    }

    /// Appends a copy of `frame`; false if there is no room.
    pub(crate) fn push(&mut self, frame: &[u8]) -> bool {
        let room = self.has_room(frame.len());
        if room {
            self.push_with(frame.len(), |to| to.copy_from_slice(frame));
        }
        room
    }

    /// Appends a copy of a frame that leaves the port; false if there is no room.
    pub(crate) fn push_tx(&mut self, frame: &TxFrame<'_>) -> bool {
        let len = frame.len();
        let room = self.has_room(len);
        if room {
            self.push_with(len, |to| copy_tx(frame, to));
        }
        room
    }

    /// Gives the frame that was appended last this FCS instead of a good one.
    pub(crate) fn mark_last(&mut self, fcs: Fcs) {
        if let Some(buffer) = self.frames.back_mut() {
            buffer.fcs = fcs;
        }
    }

    /// The first frame as it arrives at the port.
    pub(crate) fn arriving(&self) -> Option<RxFrame<'_>> {
        self.frames.front().map(|buffer| RxFrame {
            fcs: buffer.fcs,
            ..RxFrame::new(buffer.bytes())
        })
    }

    /// The first frame.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        self.frames.front().map(Buffer::bytes)
    }

    /// Takes the first frame away.
    pub(crate) fn pop(&mut self) {
        if let Some(buffer) = self.frames.pop_front() {
            self.bytes = self.bytes.saturating_sub(buffer.len);
            self.free.push(buffer);
        }
    }

    /// Hands up to `budget` frames to `sink` and counts them, as `Wire::receive` does.
    pub(crate) fn deliver(
        &mut self,
        counters: &mut Counters,
        budget: usize,
        sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow,
    ) -> usize {
        let mut delivered = 0;
        while delivered < budget {
            let Some(frame) = self.front() else { break };
            counters.count_rx(frame.len());
            let flow = sink(&RxFrame::new(frame));
            self.pop();
            delivered += 1;
            if flow == Flow::Stop {
                break;
            }
        }
        delivered
    }

    /// Takes the first frame out, to be given back with [`FrameQueue::recycle`].
    pub(crate) fn take(&mut self) -> Option<TakenFrame> {
        let buffer = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(buffer.len);
        Some(TakenFrame(buffer))
    }

    /// Gives a frame's buffer back for later frames.
    pub(crate) fn recycle(&mut self, frame: TakenFrame) {
        self.free.push(frame.0);
    }
}

/// A frame out of its queue.
#[derive(Debug)]
pub(crate) struct TakenFrame(Buffer);

impl TakenFrame {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Copies a frame that leaves the port into `to`, which has its length.
pub(crate) fn copy_tx(frame: &TxFrame<'_>, to: &mut [u8]) {
    let (head, mut rest) = to.split_at_mut(frame.head.len());
    head.copy_from_slice(frame.head);
    for span in frame.payload {
        let (piece, tail) = rest.split_at_mut(span.len());
        // A span that gives less than it promised must not leave an earlier frame's bytes in place.
        let copied = span.copy_to(0, piece);
        piece[copied..].fill(0);
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_in_order_and_with_their_own_length() {
        let mut queue = FrameQueue::new(4, 1000);

        assert!(queue.push(b"long frame"));
        queue.pop();
        assert!(queue.push(b"ab"));
        assert!(queue.push(b"c"));

        assert_eq!(queue.front(), Some(&b"ab"[..]));
        queue.pop();
        assert_eq!(queue.front(), Some(&b"c"[..]));
    }

    #[test]
    fn a_frame_beyond_the_number_of_frames_is_refused() {
        let mut queue = FrameQueue::new(1, 1000);

        assert!(queue.push(b"a"));
        assert!(!queue.push(b"b"));
    }

    #[test]
    fn a_frame_beyond_the_number_of_bytes_is_refused_until_room_is_made() {
        let mut queue = FrameQueue::new(10, 5);

        assert!(queue.push(b"abc"));
        assert!(!queue.push(b"def"));
        queue.pop();
        assert!(queue.push(b"def"));
    }
}
