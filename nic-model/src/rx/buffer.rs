//! The receive packet buffer: frames that wait for descriptors (7.1.4).
//!
//! One first-in first-out memory for each traffic class. As on the card the frame at its head holds up those behind it,
//! whatever their queue; a queue that must not do that has SRRCTL.DROP_EN.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Packet, mac::LONGEST_LEN, ring::Progress};
use crate::state::{StateError, hex::Hex};

/// Least memory that a frame takes; a longer one takes whole lines.
const GRANULE: usize = 64;

/// What RXPBSIZE can give a class at most (8.2.3.8.9).
const MEMORY: usize = 1024 << 10;

/// The saved form of a packet buffer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    frames: Vec<Waiting>,
    bytes: Hex,
    full: bool,
    first_line: usize,
}

/// A frame that waits, and how much of it is in the ring already.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waiting {
    /// Bytes of the frame, without FCS.
    len: usize,
    /// Where it goes, and its descriptor.
    pub(crate) packet: Packet,
    /// How much of it is in the ring.
    pub(crate) progress: Progress,
}

impl Waiting {
    fn size(&self) -> usize {
        self.len.max(GRANULE).next_multiple_of(PacketBuffer::LINE)
    }
}

/// A frame's two parts.
pub(crate) type Parts<'a> = (&'a [u8], &'a [u8]);

/// The packet buffer of a traffic class.
#[derive(Debug, Default)]
pub(crate) struct PacketBuffer {
    frames: VecDeque<Waiting>,
    /// The frames' bytes, one after the other.
    bytes: VecDeque<u8>,
    used: usize,
    full: bool,
    /// Where the frame at the head begins, and what all of them take, in lines.
    first_line: usize,
    used_lines: usize,
}

impl PacketBuffer {
    /// Bytes of a line, in which diagnosis sees the memory.
    pub(super) const LINE: usize = 16;

    /// Lines that so many bytes take.
    pub(super) const fn lines_of(bytes: usize) -> usize {
        bytes.div_ceil(Self::LINE)
    }

    /// The saved form.
    pub(super) fn save(&self) -> Saved {
        let Self {
            frames,
            bytes,
            used: _,
            full,
            first_line,
            used_lines: _,
        } = self;
        Saved {
            frames: frames.iter().cloned().collect(),
            bytes: Hex(bytes.iter().copied().collect()),
            full: *full,
            first_line: *first_line,
        }
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// Frames that no buffer can hold, or that are not those of its bytes.
    pub(super) fn restore(saved: Saved) -> Result<Self, StateError> {
        let Saved {
            frames,
            bytes: Hex(bytes),
            full,
            first_line,
        } = saved;
        let (mut used, mut sum, mut used_lines) = (0_usize, 0_usize, 0_usize);
        for (nth, waiting) in frames.iter().enumerate() {
            let fits = waiting.len <= LONGEST_LEN;
            let field = |field| format!("frames.{nth}.{field}");
            StateError::unless(fits, field("len"), "longer than any frame")?;
            waiting
                .packet
                .check(waiting.len)
                .map_err(|error| error.within(field("packet")))?;
            let progress = &waiting.progress;
            progress
                .check(waiting.packet.ring_len(waiting.len, progress))
                .map_err(|error| error.within(field("progress")))?;
            used = used.saturating_add(waiting.size());
            sum = sum.saturating_add(waiting.len);
            used_lines = used_lines.saturating_add(Self::lines_of(waiting.len));
        }
        let inside = first_line < Self::lines_of(MEMORY);
        StateError::unless(inside, "first_line", "it lies behind the memory")?;
        StateError::unless(used <= MEMORY, "frames", "more than the memory holds")?;
        StateError::unless(
            sum == bytes.len(),
            "bytes",
            "not as many as the frames have",
        )?;
        Ok(Self {
            frames: frames.into(),
            bytes: bytes.into(),
            used,
            full,
            first_line,
            used_lines,
        })
    }

    /// Whether no frame waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Frames that wait.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Bytes that wait.
    pub(crate) const fn level(&self) -> usize {
        self.used
    }

    /// Whether a further frame should be offered. Once it is not, it is again when half of the memory is free.
    pub(crate) const fn has_room(&self) -> bool {
        !self.full
    }

    /// Takes a frame, of which `progress` is in the ring, if `capacity` bytes hold it too.
    pub(crate) fn push(
        &mut self,
        (head, body): Parts<'_>,
        packet: Packet,
        progress: Progress,
        capacity: usize,
    ) -> bool {
        let waiting = Waiting {
            len: head.len() + body.len(),
            packet,
            progress,
        };
        let used = self.used + waiting.size();
        if used > capacity {
            self.full = !self.frames.is_empty();
            return false;
        }
        self.used = used;
        self.full = used + LONGEST_LEN > capacity;
        self.bytes.extend(head);
        self.bytes.extend(body);
        self.used_lines += Self::lines_of(waiting.len);
        self.frames.push_back(waiting);
        true
    }

    /// The frame that is next.
    pub(crate) fn front(&mut self) -> Option<(&mut Waiting, Parts<'_>)> {
        let waiting = self.frames.front_mut()?;
        let (first, second) = self.bytes.as_slices();
        let head = first.get(..waiting.len).unwrap_or(first);
        let body = second.get(..waiting.len - head.len());
        Some((waiting, (head, body.unwrap_or_default())))
    }

    /// Removes the frame that was next.
    pub(crate) fn pop(&mut self, capacity: usize) {
        if let Some(waiting) = self.frames.pop_front() {
            self.used -= waiting.size();
            self.bytes.drain(..waiting.len.min(self.bytes.len()));
            let lines = Self::lines_of(waiting.len);
            self.used_lines -= lines;
            self.first_line = (self.first_line + lines) % Self::lines_of(capacity).max(1);
        }
        self.full &= self.used > capacity / 2 && !self.frames.is_empty();
    }

    /// Loses all frames.
    pub(crate) fn clear(&mut self) {
        let Self {
            frames,
            bytes,
            used,
            full,
            first_line,
            used_lines,
        } = self;
        frames.clear();
        bytes.clear();
        *used = 0;
        *full = false;
        *first_line = 0;
        *used_lines = 0;
    }

    /// The line where the frame at the head begins.
    pub(super) const fn first_line(&self) -> usize {
        self.first_line
    }

    /// Lines of frames that wait.
    pub(super) const fn used_lines(&self) -> usize {
        self.used_lines
    }

    /// What a line holds, the first one being that of the frame at the head; zeros where no frame waits.
    pub(super) fn line(&self, mut number: usize) -> [u8; Self::LINE] {
        let mut line = [0; Self::LINE];
        let mut begin = 0;
        for frame in &self.frames {
            let lines = Self::lines_of(frame.len);
            if number < lines {
                let end = begin + frame.len;
                let at = (begin + number * Self::LINE).min(self.bytes.len());
                let bytes = self.bytes.range(at..end.min(self.bytes.len()));
                for (to, from) in line.iter_mut().zip(bytes) {
                    *to = *from;
                }
                break;
            }
            number -= lines;
            begin += frame.len;
        }
        line
    }
}
