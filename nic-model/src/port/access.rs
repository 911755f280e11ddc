//! What an access of the bus touches, parsed once.

use std::ops::Range;

/// A read or write of a BAR.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    offset: u64,
    len: usize,
}

/// The part of an access that lies in one dword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Offset of the dword in the BAR.
    pub(super) offset: u64,
    /// First byte of the dword that is touched.
    first: usize,
    /// Place of the touched bytes in the access's data.
    data: Range<usize>,
}

impl Access {
    /// An access of `len` bytes at `offset`.
    pub(super) fn new(offset: u64, len: usize) -> Self {
        Self { offset, len }
    }

    /// Whether registers have this width and alignment: one dword, or two.
    pub(super) fn is_regular(self) -> bool {
        self.offset.is_multiple_of(4) && matches!(self.len, 4 | 8)
    }

    /// Its dwords, low ones first, as far as the address space goes.
    pub(super) fn pieces(self) -> impl Iterator<Item = Piece> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = self.offset.checked_add(u64::try_from(done).ok()?)?;
            let first = usize::try_from(at % 4).ok()?;
            let len = (4 - first).min(self.len - done);
            let data = done..done + len;
            done += len;
            (len != 0).then_some(Piece {
                offset: at - at % 4,
                first,
                data,
            })
        })
    }
}

impl Piece {
    /// All bits of the bytes that are touched, in their places in the dword.
    pub(super) fn mask(&self) -> u32 {
        let ones = u32::MAX >> (8 * (4 - self.data.len()));
        ones << (8 * self.first)
    }

    /// The touched bytes of a write, in their places in the dword; the others are 0.
    pub(super) fn value(&self, data: &[u8]) -> u32 {
        let mut bytes = [0; 4];
        if let (Some(to), Some(from)) = (
            bytes.get_mut(self.first..self.first + self.data.len()),
            data.get(self.data.clone()),
        ) {
            to.copy_from_slice(from);
        }
        u32::from_le_bytes(bytes)
    }

    /// Puts the touched bytes of a dword that was read where they belong.
    pub(super) fn put(&self, dword: u32, data: &mut [u8]) {
        let bytes = dword.to_le_bytes();
        if let (Some(to), Some(from)) = (
            data.get_mut(self.data.clone()),
            bytes.get(self.first..self.first + self.data.len()),
        ) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aligned_qword_is_its_two_dwords_low_first() {
        let pieces: Vec<_> = Access::new(0x28, 8).pieces().collect();
        assert_eq!(pieces.len(), 2);
        assert_eq!((pieces[0].offset, pieces[0].mask()), (0x28, u32::MAX));
        assert_eq!((pieces[1].offset, pieces[1].data.clone()), (0x2C, 4..8));
    }

    #[test]
    fn an_unaligned_access_is_cut_at_the_dwords() {
        let data = [0x11, 0x22, 0x33, 0x44];
        let parts: Vec<_> = Access::new(0x17, 4)
            .pieces()
            .map(|piece| (piece.offset, piece.mask(), piece.value(&data)))
            .collect();
        assert_eq!(
            parts,
            [
                (0x14, 0xFF00_0000, 0x1100_0000),
                (0x18, 0x00FF_FFFF, 0x0044_3322)
            ]
        );
    }

    #[test]
    fn an_access_at_the_end_of_the_address_space_ends_there() {
        assert_eq!(Access::new(u64::MAX, 8).pieces().count(), 1);
        assert_eq!(Access::new(0, 0).pieces().count(), 0);
    }
}
