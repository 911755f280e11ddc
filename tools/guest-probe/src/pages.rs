//! Memory whose physical addresses are known.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use guest_probe::Place;
use nix::libc::{MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst of the kernel).
const PRESENT: u64 = 1 << 63;
const FRAME_NUMBER: u64 = (1 << 55) - 1;

/// Pages of this process. What was found of them holds while the kernel cannot move them: the file system in memory keeps
/// its pages, and a UMEM's are pinned.
#[derive(Debug)]
pub struct Pages {
    region: MmapRegion,
}

impl Pages {
    /// New memory, zero at first.
    pub fn anonymous(len: usize) -> Result<Self> {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
        let region = MmapRegion::build(None, len, PROT_READ | PROT_WRITE, flags);
        let region = region.context("cannot map memory")?;
        Ok(Self { region })
    }

    /// The pages of the page cache that hold a file.
    pub fn of_file(file: File) -> Result<Self> {
        let len = usize::try_from(file.metadata()?.len())?;
        let flags = MAP_SHARED | MAP_POPULATE;
        let region = MmapRegion::build(Some(FileOffset::new(file, 0)), len, PROT_READ, flags);
        let region = region.context("cannot map the file")?;
        Ok(Self { region })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.region.size()
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.region.as_ptr().addr() as u64
    }

    /// Some of the bytes.
    pub fn slice(&self, offset: usize, len: usize) -> Result<VolatileSlice<'_>> {
        let slice = self.region.get_slice(offset, len);
        slice.with_context(|| format!("{len} bytes at {offset} of {}", self.len()))
    }

    /// Where some bytes lie, which do not reach over the end of their page.
    pub fn place(&self, offset: usize, len: usize) -> Result<Place> {
        ensure!(
            offset % PAGE + len <= PAGE && offset + len <= self.len(),
            "{len} bytes at {offset} are not in one page"
        );
        place(self.address() + offset as u64, len)
    }

    /// The physical addresses of all pages.
    pub fn physical_addresses(&self) -> Result<Vec<u64>> {
        let offsets = (0..self.len()).step_by(PAGE);
        let places = offsets.map(|offset| Ok(self.place(offset, 1)?.physical_address));
        places.collect()
    }
}

/// Where bytes at this address lie, which do not reach over the end of their page.
pub fn place(virtual_address: u64, len: usize) -> Result<Place> {
    Ok(Place {
        virtual_address,
        physical_address: physical(virtual_address)?,
        len,
    })
}

fn physical(address: u64) -> Result<u64> {
    let page = PAGE as u64;
    let map = File::open("/proc/self/pagemap").context("cannot open the page map")?;
    let mut entry = [0; 8];
    map.read_exact_at(&mut entry, address / page * 8)
        .context("cannot read the page map")?;
    let entry = u64::from_le_bytes(entry);
    let number = entry & FRAME_NUMBER;
    ensure!(
        entry & PRESENT != 0 && number != 0,
        "no page is known at {address:#x}: {entry:#x}; the page map tells root only"
    );
    Ok(number * page + address % page)
}
