//! Frames and bytes that are counted together, for statistics registers that come in such pairs (8.2.3.23).
//!
//! A call that moves many frames collects them here and brings the registers up to date once.

use ixgbe_spec::register::Reg;

use crate::regs::RegisterFile;

/// Frames, and the bytes in them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amount {
    frames: u32,
    bytes: u64,
}

impl Amount {
    /// Adds frames that have so many bytes together.
    #[inline]
    pub(crate) fn add(&mut self, frames: u32, bytes: u64) {
        self.frames = self.frames.saturating_add(frames);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Adds those of `other`.
    pub(crate) fn append(&mut self, other: Self) {
        self.add(other.frames, other.bytes);
    }

    /// The frames alone.
    pub(crate) const fn frames(&self) -> u32 {
        self.frames
    }

    /// The frames, and their bytes.
    pub(crate) const fn parts(self) -> (u32, u64) {
        let Self { frames, bytes } = self;
        (frames, bytes)
    }

    /// Whether there is nothing in it.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Moves it into element `index` of the registers for frames, and for bytes (low, high).
    pub(crate) fn settle(
        &mut self,
        frames: Reg,
        (low, high): (Reg, Reg),
        index: usize,
        regs: &mut RegisterFile,
    ) {
        let amount = std::mem::take(self);
        regs.count(frames, index, amount.frames);
        regs.count36(low, high, index, amount.bytes);
    }
}

/// Frames by their length, as PRC64 to PRC1522 and PTC64 to PTC1522 count them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes([u32; 6]);

impl Sizes {
    /// Adds frames of `len` bytes, FCS included.
    #[inline]
    pub(crate) fn add(&mut self, frames: u32, len: usize) {
        let [to_64, to_127, to_255, to_511, to_1023, longer] = &mut self.0;
        let count = match len {
            ..=64 => to_64,
            65..=127 => to_127,
            128..=255 => to_255,
            256..=511 => to_511,
            512..=1023 => to_1023,
            _ => longer,
        };
        *count = count.saturating_add(frames);
    }

    /// Moves them into their registers, the shortest first.
    pub(crate) fn settle(&mut self, registers: [Reg; 6], regs: &mut RegisterFile) {
        for (count, reg) in std::mem::take(self).0.into_iter().zip(registers) {
            regs.count(reg, 0, count);
        }
    }
}

/// Moves a count into its register.
pub(crate) fn settle(count: &mut u32, reg: Reg, regs: &mut RegisterFile) {
    regs.count(reg, 0, std::mem::take(count));
}
