//! The frames of one direction, with the times at which they are at their end of the cable.

use std::collections::BTreeMap;

use nic_model::{
    Time,
    wire::{Fcs, L4Checksum, RxFrame},
};

/// Frames that may be under way, and their bytes; what comes more goes at once.
const MAX_FRAMES: usize = 16_384;
const MAX_BYTES: usize = 32 << 20;

/// A frame on the cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) fcs: Fcs,
    pub(super) l4_checksum: L4Checksum,
}

impl Frame {
    /// As the port gets it.
    pub(crate) fn received(&self) -> RxFrame<'_> {
        RxFrame {
            head: &self.bytes,
            body: &[],
            fcs: self.fcs,
            l4_checksum: self.l4_checksum,
        }
    }
}

/// Frames in the order of their times, and of their coming where these are the same.
#[derive(Debug, Default)]
pub(super) struct Lane {
    frames: BTreeMap<(Time, u64), Frame>,
    /// Frames that the next one overtakes, and when they go on without.
    overtaken: Vec<(Time, Frame)>,
    bytes: usize,
    number: u64,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.overtaken.is_empty()
    }

    /// Puts a frame on the lane, there at `due`, or behind the next one and at the latest at `overtaken`.
    pub(super) fn push(&mut self, frame: Frame, due: Time, overtaken: Option<Time>) {
        let held = self.frames.len().saturating_add(self.overtaken.len());
        let full = held >= MAX_FRAMES || self.bytes >= MAX_BYTES;
        self.bytes = self.bytes.saturating_add(frame.bytes.len());
        match overtaken.filter(|_| !full) {
            Some(until) => self.overtaken.push((until, frame)),
            None => {
                let due = if full { Time::ZERO } else { due };
                self.insert(due, frame);
                for (_, frame) in std::mem::take(&mut self.overtaken) {
                    self.insert(due, frame);
                }
            }
        }
    }

    fn insert(&mut self, due: Time, frame: Frame) {
        self.number = self.number.wrapping_add(1);
        self.frames.insert((due, self.number), frame);
    }

    /// Lets frames go on that nothing has overtaken.
    pub(super) fn advance(&mut self, now: Time) {
        let (on, wait): (Vec<_>, Vec<_>) = std::mem::take(&mut self.overtaken)
            .into_iter()
            .partition(|(until, _)| *until <= now);
        self.overtaken = wait;
        for (until, frame) in on {
            self.insert(until, frame);
        }
    }

    /// The first frame that is there.
    pub(super) fn front(&self, now: Time) -> Option<&Frame> {
        let (key, frame) = self.frames.first_key_value()?;
        (key.0 <= now).then_some(frame)
    }

    /// Takes the first frame that is there.
    pub(super) fn take(&mut self, now: Time) -> Option<Frame> {
        self.front(now)?;
        let (_, frame) = self.frames.pop_first()?;
        self.bytes = self.bytes.saturating_sub(frame.bytes.len());
        Some(frame)
    }

    /// Whether a frame is there.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.front(now).is_some()
    }

    /// How many are there, counted up to `most`.
    pub(super) fn due(&self, now: Time, most: usize) -> usize {
        self.frames.range(..=(now, u64::MAX)).take(most).count()
    }

    /// When the next one is there or goes on.
    pub(super) fn deadline(&self) -> Option<Time> {
        let first = self.frames.first_key_value().map(|(key, _)| key.0);
        let overtaken = self.overtaken.iter().map(|(until, _)| *until);
        overtaken.chain(first).min()
    }

    /// Takes all frames off, and returns how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let held = self.frames.len().saturating_add(self.overtaken.len());
        self.frames.clear();
        self.overtaken.clear();
        self.bytes = 0;
        held
    }
}
