//! A ring that is shared with the kernel (Documentation/networking/af_xdp.rst of the kernel).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use nix::libc::{MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::net::xdp::XdpRingOffset;
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};

/// XDP_RING_NEED_WAKEUP (linux/if_xdp.h).
const NEED_WAKEUP: u32 = 1;

/// An entry of the rings for received and sent frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Where the frame begins, in the UMEM.
    pub address: u64,
    /// Its length.
    pub len: u32,
}

/// What a ring's entries are.
pub trait Entry: Sized {
    /// Bytes of one.
    const SIZE: usize;
    /// Writes one at an offset.
    fn write(&self, region: &MmapRegion, offset: usize) -> Result<()>;
    /// Reads one.
    fn read(region: &MmapRegion, offset: usize) -> Result<Self>;
}

/// A chunk's address: an entry of the rings for chunks to be filled and chunks that were sent.
impl Entry for u64 {
    const SIZE: usize = 8;

    fn write(&self, region: &MmapRegion, offset: usize) -> Result<()> {
        let slice = region.as_volatile_slice();
        Ok(slice.write_obj(self.to_ne_bytes(), offset)?)
    }

    fn read(region: &MmapRegion, offset: usize) -> Result<Self> {
        let slice = region.as_volatile_slice();
        Ok(Self::from_ne_bytes(slice.read_obj(offset)?))
    }
}

impl Entry for Descriptor {
    const SIZE: usize = 16;

    fn write(&self, region: &MmapRegion, offset: usize) -> Result<()> {
        self.address.write(region, offset)?;
        // The options behind the length are none.
        u64::from(self.len).write(region, offset + 8)
    }

    fn read(region: &MmapRegion, offset: usize) -> Result<Self> {
        let address = u64::read(region, offset)?;
        let [a, b, c, d, ..] = u64::read(region, offset + 8)?.to_ne_bytes();
        let len = u32::from_ne_bytes([a, b, c, d]);
        Ok(Self { address, len })
    }
}

/// A ring of which the program writes one end and the kernel the other.
#[derive(Debug)]
pub struct Ring {
    region: MmapRegion,
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
    size: u32,
}

impl Ring {
    /// Maps the ring of `size` entries `E` that the socket has at `page_offset`.
    pub fn map<E: Entry>(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &XdpRingOffset,
        size: u32,
    ) -> Result<Self> {
        let entries = usize::try_from(offsets.desc)?;
        let file = File::from(socket.as_fd().try_clone_to_owned()?);
        let region = MmapRegion::build(
            Some(FileOffset::new(file, page_offset)),
            entries + usize::try_from(size)? * E::SIZE,
            PROT_READ | PROT_WRITE,
            MAP_SHARED | MAP_POPULATE,
        );
        Ok(Self {
            region: region.context("cannot map a ring")?,
            producer: usize::try_from(offsets.producer)?,
            consumer: usize::try_from(offsets.consumer)?,
            flags: usize::try_from(offsets.flags.context("a ring without flags")?)?,
            entries,
            size,
        })
    }

    fn load(&self, offset: usize) -> Result<u32> {
        let slice = self.region.as_volatile_slice();
        Ok(slice.load(offset, Ordering::Acquire)?)
    }

    fn offset<E: Entry>(&self, index: u32) -> Result<usize> {
        Ok(self.entries + usize::try_from(index & (self.size - 1))? * E::SIZE)
    }

    /// Puts an entry in, if there is room.
    pub fn push<E: Entry>(&self, entry: &E) -> Result<bool> {
        let (begin, end) = (self.load(self.consumer)?, self.load(self.producer)?);
        if end.wrapping_sub(begin) >= self.size {
            return Ok(false);
        }
        entry.write(&self.region, self.offset::<E>(end)?)?;
        // The kernel sees the entry before it sees that there is one.
        let slice = self.region.as_volatile_slice();
        slice.store(end.wrapping_add(1), self.producer, Ordering::Release)?;
        Ok(true)
    }

    /// Takes the next entry out, if there is one.
    pub fn pop<E: Entry>(&self) -> Result<Option<E>> {
        let (begin, end) = (self.load(self.consumer)?, self.load(self.producer)?);
        if begin == end {
            return Ok(None);
        }
        let entry = E::read(&self.region, self.offset::<E>(begin)?)?;
        let slice = self.region.as_volatile_slice();
        slice.store(begin.wrapping_add(1), self.consumer, Ordering::Release)?;
        Ok(Some(entry))
    }

    /// Whether the kernel asks to be told of what is put in.
    pub fn needs_wakeup(&self) -> Result<bool> {
        Ok(self.load(self.flags)? & NEED_WAKEUP != 0)
    }
}
