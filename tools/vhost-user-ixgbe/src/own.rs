//! Buffers of ours, for each descriptor of the card's ring: one for headers where they are split off, and one for what
//! the guest has no buffer for that the card could write to.

use nic_driver::{Device, DmaMemory, DriverError, HEADER_BUFFER};
use vm_memory::{VolatileSlice, bitmap::BitmapSlice};

use crate::negotiated::Switch;

/// The buffers of one receive ring.
#[derive(Debug)]
pub struct Own {
    memory: DmaMemory,
    split: Switch,
    buffer_len: usize,
}

impl Own {
    /// Buffers for `descriptors`, each of `buffer_len` bytes and, with packet `split`, one for headers, lent to the card
    /// at `iova`.
    ///
    /// # Errors
    /// No memory, or the card could not be reached.
    pub fn new(
        device: &mut dyn Device,
        iova: u64,
        split: Switch,
        (descriptors, buffer_len): (usize, usize),
    ) -> Result<Self, DriverError> {
        let headers = header_bytes(split);
        let memory = DmaMemory::new(device, iova, descriptors * (headers + buffer_len))?;
        Ok(Self {
            memory,
            split,
            buffer_len,
        })
    }

    /// Bytes of a packet buffer.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.buffer_len
    }

    /// Whether there are header buffers.
    #[must_use]
    pub fn split(&self) -> Switch {
        self.split
    }

    /// Where the card sees a descriptor's header buffer, or 0 if there is none.
    #[must_use]
    pub fn headers_iova(&self, slot: usize) -> u64 {
        match self.split {
            Switch::On => self.memory.iova(self.start(slot)),
            Switch::Off => 0,
        }
    }

    /// Where the card sees a descriptor's packet buffer.
    #[must_use]
    pub fn packet_iova(&self, slot: usize) -> u64 {
        self.memory.iova(self.packet(slot))
    }

    /// Copies the beginning of a header buffer.
    pub fn copy_headers(&self, slot: usize, to: &mut [u8]) {
        self.memory.copy(self.start(slot), to);
    }

    /// Copies the beginning of a packet buffer.
    pub fn copy_packet(&self, slot: usize, to: &mut [u8]) {
        self.memory.copy(self.packet(slot), to);
    }

    /// Fills somebody else's memory with a packet buffer's bytes from `skip` on.
    pub fn copy_packet_into<B: BitmapSlice>(
        &self,
        slot: usize,
        skip: usize,
        to: VolatileSlice<'_, B>,
    ) {
        self.memory.copy_into(self.packet(slot) + skip, to);
    }

    fn start(&self, slot: usize) -> usize {
        slot * (header_bytes(self.split) + self.buffer_len)
    }

    fn packet(&self, slot: usize) -> usize {
        self.start(slot) + header_bytes(self.split)
    }
}

fn header_bytes(split: Switch) -> usize {
    match split {
        Switch::On => HEADER_BUFFER,
        Switch::Off => 0,
    }
}
