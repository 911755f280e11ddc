//! Bytes in and out of client memory at an IOVA: what the DMA engine does.

use std::sync::atomic::Ordering;

use vm_memory::{Bytes, Permissions, VolatileSlice};

use crate::error::AccessError;
use crate::mapping::Mapping;
use crate::table::{IovaTable, Source};

/// The part of an access that lies in one mapping.
#[derive(Debug)]
struct Piece<'a> {
    slice: VolatileSlice<'a>,
    mapping: &'a Mapping,
}

impl Piece<'_> {
    /// What the caller of a copy is told, once the copy is done.
    #[inline]
    fn verdict(&self, iova: u64) -> Result<(), AccessError> {
        if self.mapping.is_torn() {
            return Err(AccessError::Gone { iova });
        }
        Ok(())
    }
}

/// The slices of client memory that make up a range, in order. All of the range was found accessible.
#[derive(Debug)]
pub struct Slices<'a> {
    table: &'a IovaTable,
    /// The slice to give out next; the rest of the range lies behind it.
    next: Option<VolatileSlice<'a>>,
    iova: u64,
    left: usize,
    access: Permissions,
}

impl<'a> Iterator for Slices<'a> {
    type Item = VolatileSlice<'a>;

    #[inline]
    fn next(&mut self) -> Option<VolatileSlice<'a>> {
        let slice = self.next.take()?;
        self.left -= slice.len();
        if self.left > 0 {
            self.iova = self.iova.wrapping_add(bytes(slice.len()));
            // Cannot fail: the table was checked, and is borrowed. A file that was torn since is still mapped.
            let piece = self.table.resolve(self.iova, self.left, self.access).ok();
            self.next = piece.map(|piece| piece.slice);
        }
        Some(slice)
    }
}

impl IovaTable {
    /// Copies client memory at `iova` into `to`. Ranges that adjoin count as one.
    ///
    /// An aligned access of 4 or 8 bytes is a single load.
    ///
    /// # Errors
    /// [`AccessError`]; `to` is then unchanged, except after [`AccessError::Gone`].
    pub fn read(&self, iova: u64, to: &mut [u8]) -> Result<(), AccessError> {
        let mut iova = iova;
        let mut to = to;
        let mut checked = false;
        while !to.is_empty() {
            let piece = self.piece(iova, to.len(), Permissions::Read)?;
            let len = piece.slice.len();
            if len < to.len() && !checked {
                self.check(iova, to.len(), Permissions::Read)?;
                checked = true;
            }
            let (now, later) = to.split_at_mut(len);
            copy_out(&piece.slice, now);
            piece.verdict(iova)?;
            iova = iova.wrapping_add(bytes(len));
            to = later;
        }
        Ok(())
    }

    /// Copies `from` into client memory at `iova`. Ranges that adjoin count as one.
    ///
    /// An aligned access of 4 or 8 bytes is a single store, so the client sees all of it or nothing. Use
    /// [`store_release_u64`](Self::store_release_u64) or [`write_back`](Self::write_back) for what must become
    /// visible after earlier writes.
    ///
    /// # Errors
    /// [`AccessError`]; client memory is then unchanged, except after [`AccessError::Gone`].
    pub fn write(&self, iova: u64, from: &[u8]) -> Result<(), AccessError> {
        let mut iova = iova;
        let mut from = from;
        let mut checked = false;
        while !from.is_empty() {
            let piece = self.piece(iova, from.len(), Permissions::Write)?;
            let len = piece.slice.len();
            if len < from.len() && !checked {
                self.check(iova, from.len(), Permissions::Write)?;
                checked = true;
            }
            let (now, later) = from.split_at(len);
            copy_in(&piece.slice, now);
            piece.verdict(iova)?;
            iova = iova.wrapping_add(bytes(len));
            from = later;
        }
        Ok(())
    }

    /// Stores `value`, little-endian, at `iova` in one piece and with release ordering: a client that sees it sees
    /// all that was written before.
    ///
    /// # Errors
    /// [`AccessError`]; [`AccessError::Misaligned`] unless `iova` is a multiple of 8.
    pub fn store_release_u64(&self, iova: u64, value: u64) -> Result<(), AccessError> {
        if !iova.is_multiple_of(8) {
            return Err(AccessError::Misaligned { iova });
        }
        // Ranges are whole pages, so eight aligned bytes lie in one.
        let piece = self.piece(iova, 8, Permissions::Write)?;
        store(&piece.slice, 0, value, iova)?;
        piece.verdict(iova)
    }

    /// Writes a 16-byte descriptor back: `low` at `iova`, then `high` 8 bytes further on, each little-endian and in
    /// one piece, `high` with release ordering. A driver that finds the done bit in `high` finds everything that was
    /// written before: `low`, and the frame.
    ///
    /// # Errors
    /// [`AccessError`]; [`AccessError::Misaligned`] unless `iova` is a multiple of 16, as those of the 82599's rings
    /// are.
    pub fn write_back(&self, iova: u64, low: u64, high: u64) -> Result<(), AccessError> {
        if !iova.is_multiple_of(16) {
            return Err(AccessError::Misaligned { iova });
        }
        let piece = self.piece(iova, 16, Permissions::Write)?;
        store(&piece.slice, 0, low, iova)?;
        store(&piece.slice, 8, high, iova)?;
        piece.verdict(iova)
    }

    /// The slices of client memory that make up the `len` bytes at `iova`, for scatter lists. They are good until
    /// the table is mapped into or unmapped from; after copying, ask [`is_intact`](Self::is_intact).
    ///
    /// # Errors
    /// [`AccessError`], unless the whole range allows `access`.
    pub fn slices(
        &self,
        iova: u64,
        len: usize,
        access: Permissions,
    ) -> Result<Slices<'_>, AccessError> {
        let next = match len {
            0 => None,
            _ => Some(self.piece(iova, len, access)?.slice),
        };
        if next.is_some_and(|slice| slice.len() < len) {
            self.check(iova, len, access)?;
        }
        Ok(Slices {
            table: self,
            next,
            iova,
            left: len,
            access,
        })
    }

    /// The range of client memory around `iova` that lies in one piece and allows `access`: its first address, and the
    /// memory. It is good until the table is mapped into or unmapped from. `None` if nothing is mapped there, or by
    /// messages only, or if the file behind it is torn.
    #[must_use]
    pub fn window(&self, iova: u64, access: Permissions) -> Option<(u64, VolatileSlice<'_>)> {
        let region = self.region_at(iova)?;
        let piece = self.piece(region.first, usize::MAX, access).ok()?;
        Some((region.first, piece.slice))
    }

    /// Walks a range without touching it.
    fn check(&self, iova: u64, len: usize, access: Permissions) -> Result<(), AccessError> {
        let mut at = iova;
        let mut left = len;
        while left > 0 {
            let piece = self.piece(at, left, access)?.slice.len();
            left -= piece;
            at = match at.checked_add(bytes(piece)) {
                Some(next) => next,
                None if left == 0 => break,
                None => return Err(AccessError::Unmapped { iova }),
            };
        }
        Ok(())
    }

    /// The first part of the `len` bytes at `iova`, as far as one region goes, unless its file is torn.
    #[inline]
    fn piece(&self, iova: u64, len: usize, access: Permissions) -> Result<Piece<'_>, AccessError> {
        let piece = self.resolve(iova, len, access)?;
        piece.verdict(iova)?;
        Ok(piece)
    }

    /// The first part of the `len` bytes at `iova`, as far as one region goes.
    #[inline]
    fn resolve(
        &self,
        iova: u64,
        len: usize,
        access: Permissions,
    ) -> Result<Piece<'_>, AccessError> {
        let region = self.region_at(iova).ok_or(AccessError::Unmapped { iova })?;
        if !region.access.allow(access) {
            return Err(AccessError::Permission { iova });
        }
        let behind = usize::try_from(region.last - iova).unwrap_or(usize::MAX);
        let len = len.min(behind.saturating_add(1));
        let Source::File { file, offset } = region.source else {
            return Err(AccessError::MessageBacked { iova, len });
        };
        let piece = self.files.mapping(file).and_then(|mapping| {
            let into = usize::try_from(iova - region.first).ok()?;
            let slice = mapping.slice(offset.checked_add(into)?, len)?;
            Some(Piece { slice, mapping })
        });
        piece.ok_or(AccessError::Unmapped { iova })
    }
}

/// Bytes as a distance between addresses.
#[inline]
fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Copies out of client memory; both sides are of one length.
#[inline]
fn copy_out(from: &VolatileSlice<'_>, to: &mut [u8]) {
    // A misaligned address makes `load` fail, and the bytes go one by one.
    let whole = match to.len() {
        4 => from
            .load(0, Ordering::Acquire)
            .map(|n: u32| to.copy_from_slice(&n.to_ne_bytes())),
        8 => from
            .load(0, Ordering::Acquire)
            .map(|n: u64| to.copy_from_slice(&n.to_ne_bytes())),
        _ => {
            from.copy_to(to);
            return;
        }
    };
    if whole.is_err() {
        from.copy_to(to);
    }
}

/// Copies into client memory; both sides are of one length.
#[inline]
fn copy_in(to: &VolatileSlice<'_>, from: &[u8]) {
    let whole = if let Ok(n) = <[u8; 4]>::try_from(from) {
        to.store(u32::from_ne_bytes(n), 0, Ordering::Release)
    } else if let Ok(n) = <[u8; 8]>::try_from(from) {
        to.store(u64::from_ne_bytes(n), 0, Ordering::Release)
    } else {
        to.copy_from(from);
        return;
    };
    if whole.is_err() {
        to.copy_from(from);
    }
}

/// Stores eight bytes in one piece, after all that was stored before.
#[inline]
fn store(to: &VolatileSlice<'_>, offset: usize, value: u64, iova: u64) -> Result<(), AccessError> {
    to.store(value.to_le(), offset, Ordering::Release)
        .map_err(|_| AccessError::Misaligned { iova })
}
