//! One file of the client, mapped whole into this process.
#![expect(
    unsafe_code,
    reason = "mapping a file is outside what the compiler can check"
)]

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

use crate::error::MapError;
use crate::registry::{self, Extent, Slot};
use crate::sigbus;

/// A shared mapping of a file from its start. Its pages may be touched by volatile copies only, and vanish with it.
#[derive(Debug)]
pub(crate) struct Mapping {
    region: MmapRegion,
    slot: &'static Slot,
    writable: bool,
}

impl Mapping {
    /// Maps `pages` pages of `granule` bytes each (the page size of the file's file system for huge pages, of the
    /// machine otherwise). The descriptor may be closed afterwards.
    pub(crate) fn new(
        fd: impl AsFd,
        len: NonZeroUsize,
        granule: usize,
        writable: bool,
    ) -> Result<Self, MapError> {
        let os = |call| move |source| MapError::Os { call, source };
        sigbus::install().map_err(os("sigaction"))?;
        let protection = if writable {
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
        } else {
            ProtFlags::PROT_READ
        };
        // SAFETY:
        // 1. Without MAP_FIXED the kernel picks addresses that nobody uses.
        // 2. The mapping is handed out as volatile slices only, so nothing assumes that its bytes stand still.
        // Test: `reads_and_writes_match_a_byte_map`.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, fd, 0) }
            .map_err(os("mmap"))?;
        // SAFETY:
        // 1. The range was mapped just now with this protection, at a page boundary.
        // 2. It stays mapped until `Mapping` is dropped, which `region` does not outlive.
        // Test: `reads_and_writes_match_a_byte_map`.
        let region = unsafe {
            MmapRegion::build_raw(
                start.as_ptr().cast(),
                len.get(),
                protection.bits(),
                MapFlags::MAP_SHARED.bits(),
            )
        }
        .expect("mmap returns whole pages");
        let slot = registry::register(Extent {
            start: start.addr().get(),
            end: start.addr().get() + len.get(),
            granule,
            writable,
        });
        Ok(Self {
            region,
            slot,
            writable,
        })
    }

    /// Bytes that are mapped, whole pages.
    pub(crate) fn len(&self) -> usize {
        self.region.size()
    }

    /// Whether the pages may be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// `len` bytes at `offset`, or nothing if they are not all mapped.
    #[inline]
    pub(crate) fn slice(&self, offset: usize, len: usize) -> Option<VolatileSlice<'_>> {
        self.region.get_slice(offset, len).ok()
    }

    /// Whether the file's owner took pages away, as far as somebody has touched them.
    #[inline]
    pub(crate) fn is_torn(&self) -> bool {
        self.slot.is_torn()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // From here on a fault at these addresses is not ours.
        self.slot.release();
        if let Some(start) = NonNull::new(self.region.as_ptr()) {
            // SAFETY:
            // 1. The range is the one that `new` mapped, and is unmapped nowhere else.
            // 2. Every slice of it borrows from `self`, so none is left.
            // Test: `a_storm_of_single_page_maps_keeps_descriptors_and_mappings_flat`.
            let unmapped = unsafe { munmap(start.cast(), self.region.size()) };
            debug_assert_eq!(
                unmapped,
                Ok(()),
                "the range is mapped and made of whole pages"
            );
        }
    }
}
