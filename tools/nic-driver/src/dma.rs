//! Memory that the driver and the card share.

use std::sync::atomic::Ordering;

use guest_memory::SharedMemory;
use vm_memory::{Bytes, VolatileSlice, bitmap::BitmapSlice};

use crate::{Device, DriverError};

/// A piece of memory that is lent to the card. Offsets count from its start; [`DmaMemory::iova`] is where the card sees
/// it.
#[derive(Debug)]
pub struct DmaMemory {
    memory: SharedMemory,
    iova: u64,
}

impl DmaMemory {
    /// Makes at least `len` bytes of memory and lends them to `device` at `iova`.
    ///
    /// # Errors
    /// No memory, or the card could not be reached.
    pub fn new(device: &mut dyn Device, iova: u64, len: usize) -> Result<Self, DriverError> {
        let memory = SharedMemory::new(c"nic-driver", len.next_multiple_of(4096).max(4096))?;
        device.lend(iova, &memory)?;
        Ok(Self { memory, iova })
    }

    /// Address of byte `offset` as the card sees it.
    #[must_use]
    pub fn iova(&self, offset: usize) -> u64 {
        self.iova + offset as u64
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Copies `from` to `offset`.
    ///
    /// # Panics
    /// If it does not fit: offsets are the driver's own.
    pub fn put(&self, offset: usize, from: &[u8]) {
        self.slice(offset, from.len()).copy_from(from);
    }

    /// Copies `len` bytes from `offset`.
    ///
    /// # Panics
    /// As [`DmaMemory::put`].
    #[must_use]
    pub fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut to = vec![0; len];
        self.copy(offset, &mut to);
        to
    }

    /// Copies the bytes from `offset` on to `to`.
    ///
    /// # Panics
    /// As [`DmaMemory::put`].
    pub fn copy(&self, offset: usize, to: &mut [u8]) {
        self.slice(offset, to.len()).copy_to(to);
    }

    /// Copies bytes from `offset` on to somebody else's memory, as many as that has.
    ///
    /// # Panics
    /// As [`DmaMemory::put`].
    pub fn copy_into<B: BitmapSlice>(&self, offset: usize, to: VolatileSlice<'_, B>) {
        self.slice(offset, to.len()).copy_to_volatile_slice(to);
    }

    /// Publishes a little-endian quadword: everything put before is seen by a card that sees it.
    ///
    /// # Panics
    /// As [`DmaMemory::put`].
    pub fn store(&self, offset: usize, value: u64) {
        self.slice(offset, 8)
            .store(value.to_le(), 0, Ordering::Release)
            .expect("aligned and inside");
    }

    /// Reads a little-endian quadword that the card publishes: what is got afterwards is at least as new.
    ///
    /// # Panics
    /// As [`DmaMemory::put`].
    #[must_use]
    pub fn load(&self, offset: usize) -> u64 {
        let slice = self.slice(offset, 8);
        u64::from_le(
            slice
                .load(0, Ordering::Acquire)
                .expect("aligned and inside"),
        )
    }

    fn slice(&self, offset: usize, len: usize) -> VolatileSlice<'_> {
        self.memory
            .slice(offset, len)
            .expect("an offset of the driver's own")
    }
}
