//! Receive rings (7.1.9), one-buffer advanced descriptors (7.1.6).

use ixgbe_spec::{
    descriptor::{
        self,
        rx::{Info, Status, WriteBack},
    },
    register::Reg,
};
use zerocopy::FromBytes;

use crate::{Device, DmaMemory, DriverError};

/// A packet that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The frame as the card delivered it.
    pub bytes: Vec<u8>,
    /// Queue it came in.
    pub queue: usize,
    /// Number of descriptors it took.
    pub descriptors: usize,
    /// Status and errors of its last descriptor.
    pub status: Status,
    /// Packet and RSS type of its last descriptor.
    pub info: Info,
    /// RSS hash or Flow Director id.
    pub hash: u32,
    /// Tag that the card removed.
    pub vlan: Option<u16>,
}

/// A receive ring with its buffers.
#[derive(Debug)]
pub struct RxRing {
    queue: usize,
    memory: DmaMemory,
    len: usize,
    buffer_len: usize,
    tags: Tags,
    next: usize,
    tail: usize,
}

/// What the card does with VLAN tags of a ring's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// They stay in the packet. The descriptor tells of them all the same (7.1.6.2, VP).
    Keep,
    /// They go to the descriptor.
    Strip,
}

impl RxRing {
    /// Bytes of memory that a ring takes.
    pub(crate) fn bytes(len: usize, buffer_len: usize) -> usize {
        len * (descriptor::SIZE + buffer_len)
    }

    pub(crate) fn new(
        queue: usize,
        memory: DmaMemory,
        (len, buffer_len): (usize, usize),
        tags: Tags,
    ) -> Self {
        Self {
            queue,
            memory,
            len,
            buffer_len,
            tags,
            next: 0,
            tail: 0,
        }
    }

    /// The ring's memory: descriptors first, then the buffers.
    #[must_use]
    pub fn memory(&self) -> &DmaMemory {
        &self.memory
    }

    /// Offset of buffer `index` in the ring's memory.
    #[must_use]
    pub fn buffer_offset(&self, index: usize) -> usize {
        self.len * descriptor::SIZE + index * self.buffer_len
    }

    /// Number of descriptors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives all buffers to the card but one, as a ring that is not empty has to look.
    pub(crate) fn fill(&mut self, device: &mut dyn Device) -> Result<(), DriverError> {
        (0..self.len).for_each(|index| self.post(index));
        self.next = 0;
        self.tail = self.len - 1;
        self.ring_doorbell(device)
    }

    /// The next packet, if the card has completed one; its buffers go back to the card at once.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn receive(&mut self, device: &mut dyn Device) -> Result<Option<Received>, DriverError> {
        let mut bytes = Vec::new();
        let mut descriptors = 0;
        loop {
            let index = (self.next + descriptors) % self.len;
            let offset = index * descriptor::SIZE;
            let done = self.memory.load(offset + 8);
            if descriptors == self.len || done & u64::from(Status::DD.bits()) == 0 {
                return Ok(None);
            }
            let raw = self.memory.get(offset, descriptor::SIZE);
            let Ok(write_back) = WriteBack::read_from_bytes(&raw) else {
                return Ok(None);
            };
            let len = usize::from(write_back.length.get()).min(self.buffer_len);
            bytes.extend_from_slice(&self.memory.get(self.buffer_offset(index), len));
            descriptors += 1;
            let status = write_back.status();
            if status.contains(Status::EOP) {
                self.give_back(device, descriptors)?;
                let stripped = self.tags == Tags::Strip && status.contains(Status::VP);
                return Ok(Some(Received {
                    bytes,
                    queue: self.queue,
                    descriptors,
                    status,
                    info: write_back.info(),
                    hash: write_back.hash.get(),
                    vlan: stripped.then(|| write_back.vlan.get()),
                }));
            }
        }
    }

    fn give_back(
        &mut self,
        device: &mut dyn Device,
        descriptors: usize,
    ) -> Result<(), DriverError> {
        (0..descriptors).for_each(|i| self.post((self.next + i) % self.len));
        self.next = (self.next + descriptors) % self.len;
        self.tail = (self.tail + descriptors) % self.len;
        self.ring_doorbell(device)
    }

    fn post(&self, index: usize) {
        let offset = index * descriptor::SIZE;
        self.memory
            .store(offset, self.memory.iova(self.buffer_offset(index)));
        self.memory.store(offset + 8, 0);
    }

    fn ring_doorbell(&self, device: &mut dyn Device) -> Result<(), DriverError> {
        let tail = u32::try_from(self.tail).map_err(|_| DriverError::Config("ring length"))?;
        Ok(device.write(Reg::RDT.offset(self.queue), tail)?)
    }
}
