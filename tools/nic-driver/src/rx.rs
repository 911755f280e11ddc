//! Receive rings (7.1.9), one-buffer advanced descriptors (7.1.6).
//!
//! The descriptors of a large receive need not be neighbours: each names the next (NEXTP), and other packets may lie
//! between them (7.11.5). The card may write to all of its buffers until it is complete.

use std::collections::BTreeMap;

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
    /// Packets on the cable that the card has coalesced into it; 0 if it was none of those (7.11).
    pub coalesced: usize,
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
    /// The descriptor that is looked at next.
    next: usize,
    /// The oldest descriptor that has not gone back to the card.
    oldest: usize,
    /// The packets that have begun, by the descriptor with which they go on.
    begun: BTreeMap<usize, Begun>,
    /// Descriptors of complete packets that have not gone back to the card.
    finished: Vec<bool>,
    /// Descriptors that have gone back by [`RxRing::burst`] and that the card has not been told of.
    owed: usize,
}

/// A buffer that the card has filled.
#[derive(Clone, Copy, Debug)]
pub struct Filled<'a> {
    memory: &'a DmaMemory,
    offset: usize,
    len: usize,
    status: Status,
}

impl Filled<'_> {
    /// Bytes in the buffer.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Status and errors of its descriptor. Without [`Status::EOP`] the packet goes on in the next buffer.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The little-endian quadword at `place`, a multiple of 8.
    ///
    /// # Panics
    /// If it lies beyond the ring's memory.
    #[must_use]
    pub fn load(&self, place: usize) -> u64 {
        self.memory.load(self.offset + place)
    }

    /// Copies the bytes to the beginning of `to`, as far as there is room.
    pub fn copy_to(&self, to: &mut [u8]) {
        let len = self.len.min(to.len());
        self.memory.copy(self.offset, &mut to[..len]);
    }
}

/// The beginning of a packet.
#[derive(Debug, Default)]
struct Begun {
    /// Its descriptors, and the bytes in the buffer of each.
    pieces: Vec<(usize, usize)>,
    coalesced: usize,
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
            oldest: 0,
            begun: BTreeMap::new(),
            finished: vec![false; len],
            owed: 0,
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

    /// Gives all buffers to the card but one.
    pub(crate) fn fill(&mut self, device: &mut dyn Device) -> Result<(), DriverError> {
        (0..self.len).for_each(|index| self.post(index));
        self.next = 0;
        self.oldest = 0;
        self.begun.clear();
        self.finished.fill(false);
        self.owed = 0;
        self.ring_doorbell(device)
    }

    /// The next packet, if the card has completed one; its buffers go back to the card as soon as all before them do.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn receive(&mut self, device: &mut dyn Device) -> Result<Option<Received>, DriverError> {
        loop {
            let index = self.next;
            let offset = index * descriptor::SIZE;
            // A finished one that has not gone back was seen already.
            let seen = self.finished[index] || self.holds(index);
            if seen || self.memory.load(offset + 8) & u64::from(Status::DD.bits()) == 0 {
                return Ok(None);
            }
            let raw = self.memory.get(offset, descriptor::SIZE);
            let Ok(write_back) = WriteBack::read_from_bytes(&raw) else {
                return Ok(None);
            };
            let mut packet = self.begun.remove(&index).unwrap_or_default();
            let len = usize::from(write_back.length.get()).min(self.buffer_len);
            packet.pieces.push((index, len));
            let count = usize::from(write_back.info().rsc_count());
            packet.coalesced += count.saturating_sub(1);
            self.next = (index + 1) % self.len;
            let status = write_back.status();
            if status.contains(Status::EOP) {
                return self.finish(device, &packet, &write_back).map(Some);
            }
            let goes_on = if count > 0 {
                (status.bits() >> 4 & 0xFFFF) as usize
            } else {
                self.next
            };
            self.begun.insert(goes_on, packet);
        }
    }

    /// Shows the buffers that the card has filled, at most `limit` of them and in the order of the ring, and gives them
    /// back: for whoever has no need of a copy. The doorbell is rung once an eighth of the ring has gone back.
    ///
    /// Not for large receives, nor together with [`RxRing::receive`] while a packet has begun: the card may then still
    /// write to a buffer that it has completed.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn burst(
        &mut self,
        device: &mut dyn Device,
        limit: usize,
        mut look: impl FnMut(&Filled<'_>),
    ) -> Result<usize, DriverError> {
        let mut count = 0;
        while count < limit {
            let index = self.next;
            let high = self.memory.load(index * descriptor::SIZE + 8);
            if high & u64::from(Status::DD.bits()) == 0 {
                break;
            }
            look(&Filled {
                memory: &self.memory,
                offset: self.buffer_offset(index),
                len: ((high >> 32 & 0xFFFF) as usize).min(self.buffer_len),
                status: Status::from_bits_retain((high & 0xFFFF_FFFF) as u32),
            });
            self.post(index);
            self.next = if index + 1 == self.len { 0 } else { index + 1 };
            count += 1;
        }
        self.oldest = self.next;
        self.owed += count;
        if self.owed >= self.len / 8 {
            self.owed = 0;
            self.ring_doorbell(device)?;
        }
        Ok(count)
    }

    /// Whether a descriptor is of a packet that has begun and is not complete.
    fn holds(&self, index: usize) -> bool {
        let mut pieces = self.begun.values().flat_map(|begun| &begun.pieces);
        pieces.any(|(held, _)| *held == index)
    }

    /// A complete packet.
    fn finish(
        &mut self,
        device: &mut dyn Device,
        packet: &Begun,
        last: &WriteBack,
    ) -> Result<Received, DriverError> {
        let mut bytes = Vec::new();
        for (index, len) in &packet.pieces {
            bytes.extend_from_slice(&self.memory.get(self.buffer_offset(*index), *len));
            self.finished[*index] = true;
        }
        while std::mem::take(&mut self.finished[self.oldest]) {
            self.post(self.oldest);
            self.oldest = (self.oldest + 1) % self.len;
        }
        self.ring_doorbell(device)?;
        let status = last.status();
        let stripped = self.tags == Tags::Strip && status.contains(Status::VP);
        Ok(Received {
            bytes,
            queue: self.queue,
            descriptors: packet.pieces.len(),
            coalesced: packet.coalesced,
            status,
            info: last.info(),
            hash: last.hash.get(),
            vlan: stripped.then(|| last.vlan.get()),
        })
    }

    fn post(&self, index: usize) {
        let offset = index * descriptor::SIZE;
        self.memory
            .store(offset, self.memory.iova(self.buffer_offset(index)));
        self.memory.store(offset + 8, 0);
    }

    fn ring_doorbell(&self, device: &mut dyn Device) -> Result<(), DriverError> {
        // One descriptor less than there are, as a ring that is not empty has to look.
        let tail = (self.oldest + self.len - 1) % self.len;
        let tail = u32::try_from(tail).map_err(|_| DriverError::Config("ring length"))?;
        Ok(device.write(Reg::RDT.offset(self.queue), tail)?)
    }
}
