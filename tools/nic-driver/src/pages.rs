//! Registers that are memory: the part of a region that the server lets its client map.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use guest_memory::SharedMemory;
use vfio_user::{client::RegionDetails, message::RegionFlags, server::MappableArea};
use vm_memory::VolatileMemory;

/// Pages of BAR0.
#[derive(Debug)]
pub(crate) struct Pages {
    memory: SharedMemory,
    /// Where the region starts in the memory.
    start: u64,
    areas: Vec<MappableArea>,
}

impl Pages {
    /// Maps what can be mapped of a region; `None` if nothing can.
    pub(crate) fn map(region: RegionDetails) -> io::Result<Option<Self>> {
        let Some(file) = region
            .file
            .filter(|_| region.flags.contains(RegionFlags::MMAP))
        else {
            return Ok(None);
        };
        let mut areas = region.areas;
        if areas.is_empty() {
            areas.push(MappableArea {
                offset: 0,
                size: region.size,
            });
        }
        let ends = areas.iter().map(|area| area.offset.checked_add(area.size));
        let end = ends.max().flatten();
        let end = end.and_then(|end| usize::try_from(end.checked_add(region.offset)?).ok());
        let len = end.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Self {
            memory: SharedMemory::attach(file, len)?,
            start: region.offset,
            areas,
        }))
    }

    /// Whether the register at `offset` is memory.
    pub(crate) fn contain(&self, offset: u32) -> bool {
        let offset = u64::from(offset);
        let inside = |area: &MappableArea| {
            offset.is_multiple_of(4) && offset.wrapping_sub(area.offset) < area.size
        };
        self.areas.iter().any(inside)
    }

    /// What the register at `offset` shows, if it is memory.
    pub(crate) fn load(&self, offset: u32) -> Option<u32> {
        self.with(offset, |word| u32::from_le(word.load(Ordering::Acquire)))
    }

    /// Stores to the register at `offset`, after everything that was stored before.
    pub(crate) fn store(&self, offset: u32, value: u32) {
        self.with(offset, |word| word.store(value.to_le(), Ordering::Release));
    }

    fn with<T>(&self, offset: u32, act: impl FnOnce(&AtomicU32) -> T) -> Option<T> {
        if !self.contain(offset) {
            return None;
        }
        let at = usize::try_from(self.start.checked_add(offset.into())?).ok()?;
        let slice = self.memory.slice(at, 4)?;
        slice.get_atomic_ref::<AtomicU32>(0).ok().map(act)
    }
}
