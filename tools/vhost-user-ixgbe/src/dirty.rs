//! The log of pages that were written to, by which a guest moves to another host while it runs.
//!
//! The front-end shares a bitmap: one bit for each 4096 bytes of guest-physical address space. Whoever writes to the
//! guest's memory sets the bits: this process for what it writes itself, and for the card, which knows nothing of it.

use std::{
    fs::File,
    io,
    sync::{Arc, atomic::AtomicU8, atomic::Ordering},
};

use guest_memory::SharedMemory;
use vm_memory::{
    VolatileMemory,
    bitmap::{Bitmap, BitmapSlice, WithBitmapSlice},
    mmap::NewBitmap,
};

/// Bytes that one bit stands for (`VHOST_LOG_PAGE`).
const PAGE: u64 = 4096;

/// The front-end's bitmap of dirty pages.
#[derive(Debug)]
pub struct DirtyLog(SharedMemory);

impl DirtyLog {
    /// Maps the bitmap, `len` bytes from the beginning of `file`.
    ///
    /// # Errors
    /// It lies elsewhere in the file, or cannot be mapped.
    pub fn attach(file: File, offset: u64, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).ok().filter(|_| offset == 0);
        let len = len.and_then(|len| len.checked_next_multiple_of(4096));
        let len = len.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(SharedMemory::attach(file.into(), len)?))
    }

    /// Sets the bits of the pages that have one of `len` bytes at the guest-physical `address`.
    pub fn mark(&self, address: u64, len: usize) {
        let Some(last) = (len as u64)
            .checked_sub(1)
            .and_then(|more| address.checked_add(more))
        else {
            return;
        };
        for page in address / PAGE..=last / PAGE {
            let byte = usize::try_from(page / 8).ok();
            let slice = byte.and_then(|byte| self.0.slice(byte, 1));
            // A page that the bitmap has no bit for is none of the guest's.
            let Some(slice) = slice else { return };
            if let Ok(bits) = slice.get_atomic_ref::<AtomicU8>(0) {
                // The front-end takes the bits by an exchange. It has to see what was written before them.
                bits.fetch_or(1 << (page % 8), Ordering::Release);
            }
        }
    }
}

/// The part of the log that belongs to a piece of guest memory; writes through `vm-memory` come by here.
#[derive(Clone, Debug, Default)]
pub struct DirtyPages {
    log: Option<Arc<DirtyLog>>,
    /// Guest-physical address of the piece.
    base: u64,
}

impl DirtyPages {
    /// The part from guest-physical address `base` on, of the log if there is one now.
    #[must_use]
    pub fn new(log: Option<Arc<DirtyLog>>, base: u64) -> Self {
        Self { log, base }
    }
}

impl Bitmap for DirtyPages {
    fn mark_dirty(&self, offset: usize, len: usize) {
        if let Some(log) = &self.log {
            log.mark(self.base.saturating_add(offset as u64), len);
        }
    }

    fn dirty_at(&self, _offset: usize) -> bool {
        // Only the front-end reads the log.
        false
    }

    fn slice_at(&self, offset: usize) -> Self {
        Self {
            log: self.log.clone(),
            base: self.base.saturating_add(offset as u64),
        }
    }
}

impl BitmapSlice for DirtyPages {}

impl WithBitmapSlice<'_> for DirtyPages {
    type S = Self;
}

impl NewBitmap for DirtyPages {
    fn with_len(_len: usize) -> Self {
        Self::default()
    }
}
