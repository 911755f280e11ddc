//! A piece of a guest's memory for whoever reaches it through `vm-memory`: as the crate's own region, under the watch of
//! the SIGBUS handler.

use std::io;
use std::sync::Arc;

use vm_memory::bitmap::{BS, Bitmap};
use vm_memory::guest_memory::Result;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryRegion, GuestMemoryRegionBytes, GuestRegionMmap,
    GuestUsize, MemoryRegionAddress, VolatileSlice,
};

use crate::files;
use crate::registry::{self, Extent, Slot};
use crate::sigbus;
use nix::sys::mman::{MapFlags, ProtFlags};

/// A part of a file of the guest's, shared and writable, at a guest-physical address.
///
/// Should the file be truncated, the lost pages read as zeros, what is written to them goes nowhere, and the region
/// [is torn](GuardedRegion::is_torn).
#[derive(Debug)]
pub struct GuardedRegion<B> {
    region: GuestRegionMmap<B>,
    slot: &'static Slot,
}

impl<B: Bitmap> GuardedRegion<B> {
    /// Maps `size` bytes (a multiple of 4096, not 0) of `file` for guest-physical addresses from `base` on.
    ///
    /// # Errors
    /// `EINVAL` for what lies beyond the file or the address space; else as `fstatfs`, `sigaction` and `mmap`.
    pub fn map(file: FileOffset, size: usize, base: GuestAddress, bitmap: B) -> io::Result<Self> {
        sigbus::install()?;
        let granule = files::granule(file.file()).map_err(io::Error::other)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        let mapping = MmapRegionBuilder::new_with_bitmap(size, bitmap)
            .with_file_offset(file)
            .with_mmap_prot(protection.bits())
            .with_mmap_flags(flags.bits())
            .build()
            .map_err(io::Error::other)?;
        let start = mapping.as_ptr().addr();
        let end = start.saturating_add(size.next_multiple_of(granule));
        let region = GuestRegionMmap::with_arc(Arc::new(mapping), base)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let slot = registry::register(Extent {
            start,
            end,
            granule,
            writable: true,
        });
        Ok(Self { region, slot })
    }

    /// Whether the file's owner took pages away, as far as somebody has touched them.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.slot.is_torn()
    }
}

impl<B> Drop for GuardedRegion<B> {
    fn drop(&mut self) {
        // From here on a fault at these addresses is not ours; the mapping goes after this.
        self.slot.release();
    }
}

impl<B: Bitmap> GuestMemoryRegion for GuardedRegion<B> {
    type B = B;

    fn len(&self) -> GuestUsize {
        self.region.len()
    }

    fn start_addr(&self) -> GuestAddress {
        self.region.start_addr()
    }

    fn bitmap(&self) -> BS<'_, B> {
        self.region.bitmap()
    }

    fn get_slice(
        &self,
        offset: MemoryRegionAddress,
        count: usize,
    ) -> Result<VolatileSlice<'_, BS<'_, B>>> {
        self.region.get_slice(offset, count)
    }
}

impl<B: Bitmap> GuestMemoryRegionBytes for GuardedRegion<B> {}
