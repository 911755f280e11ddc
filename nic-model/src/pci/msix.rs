//! The MSI-X table and its pending bits, behind BAR4 (9.3.8).

use ixgbe_spec::pci::{MSIX_PBA, MSIX_VECTORS};
use serde::{Deserialize, Serialize};

/// An entry of the table.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Address low, address high, data, vector control.
    words: [u32; 4],
    /// Whether software has written the entry here. A client that keeps the table to itself (QEMU does) masks vectors
    /// on its side; an entry that it never wrote here counts as not masked.
    known: bool,
}

impl Entry {
    const MASKED: u32 = 1;

    pub(super) const fn reset() -> Self {
        Self {
            words: [0, 0, 0, Self::MASKED],
            known: false,
        }
    }

    fn masked(&self) -> bool {
        self.known && self.words[3] & Self::MASKED != 0
    }
}

/// Table and pending bits.
#[derive(Debug)]
pub(super) struct MsixTable {
    pub(super) entries: [Entry; MSIX_VECTORS as usize],
    pub(super) pending: u64,
}

impl MsixTable {
    pub(super) fn new() -> Self {
        Self {
            entries: [Entry::reset(); MSIX_VECTORS as usize],
            pending: 0,
        }
    }

    /// Reads dword `dword` of BAR4.
    pub(super) fn read(&self, dword: usize) -> u32 {
        const PBA: usize = MSIX_PBA as usize / 4;
        let [a, b, c, d, e, f, g, h] = self.pending.to_le_bytes();
        match dword {
            PBA => u32::from_le_bytes([a, b, c, d]),
            _ if dword == PBA + 1 => u32::from_le_bytes([e, f, g, h]),
            _ => self
                .entries
                .get(dword / 4)
                .map_or(0, |entry| entry.words[dword % 4]),
        }
    }

    /// Writes the bytes of dword `dword` of BAR4 that `mask` selects. The pending bits are read-only.
    pub(super) fn write(&mut self, dword: usize, value: u32, mask: u32) {
        const WRITABLE: [u32; 4] = [0xFFFF_FFFC, u32::MAX, u32::MAX, Entry::MASKED];
        if let Some(entry) = self.entries.get_mut(dword / 4) {
            let mask = mask & WRITABLE[dword % 4];
            let word = &mut entry.words[dword % 4];
            *word = *word & !mask | value & mask;
            entry.known = true;
        }
    }

    pub(super) fn set_pending(&mut self, vector: u32) {
        self.pending |= 1 << (vector % u32::from(MSIX_VECTORS));
    }

    pub(super) fn clear_pending(&mut self, vectors: u64) {
        self.pending &= !vectors;
    }

    /// A pending vector that is not masked any more; it is then not pending any more.
    pub(super) fn take_unmasked(&mut self) -> Option<u8> {
        (0..MSIX_VECTORS)
            .zip(&self.entries)
            .find(|(vector, entry)| self.pending >> vector & 1 != 0 && !entry.masked())
            .map(|(vector, _)| {
                self.pending &= !(1 << vector);
                vector
            })
    }

    pub(super) fn any_pending(&self) -> bool {
        self.pending != 0
    }
}
