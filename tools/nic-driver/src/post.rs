//! Receive rings for buffers of somebody else (7.1.9): a host stack posts them by address, and is told which of them
//! the card has filled. Nothing is copied, and no byte of a buffer is looked at.

use ixgbe_spec::{
    descriptor::{
        self,
        rx::{Status, WriteBack},
    },
    register::Reg,
};
use zerocopy::FromBytes;

use crate::{Device, DmaMemory, DriverError};

/// With so many buffers the card has enough for several of the longest packets.
const PLENTY: usize = 64;

/// A receive ring without buffers of its own.
#[derive(Debug)]
pub struct PostRing {
    queue: usize,
    memory: DmaMemory,
    len: usize,
    /// The oldest descriptor that the card has not returned.
    next: usize,
    /// Where the next buffer goes.
    tail: usize,
    /// Where the card was told that the tail is.
    told: usize,
}

/// A descriptor that the card has returned.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// Which one of the ring, as [`PostRing::post`] said.
    pub slot: usize,
    /// What the card has written into it.
    pub write_back: WriteBack,
}

impl PostRing {
    pub(crate) fn new(queue: usize, memory: DmaMemory, len: usize) -> Self {
        Self {
            queue,
            memory,
            len,
            next: 0,
            tail: 0,
            told: 0,
        }
    }

    /// The ring's memory: descriptors only.
    #[must_use]
    pub fn memory(&self) -> &DmaMemory {
        &self.memory
    }

    /// Number of descriptors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the card has no buffer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == self.tail
    }

    /// Buffers that can be posted. One descriptor less than there are, as a full ring looks like an empty one.
    #[must_use]
    pub fn free(&self) -> usize {
        // By comparison: a division takes as long as a good part of what is done for a packet.
        let ahead = if self.next > self.tail {
            self.next
        } else {
            self.next + self.len
        };
        ahead - self.tail - 1
    }

    /// Buffers that the card has.
    #[must_use]
    pub fn posted(&self) -> usize {
        self.behind_next(self.tail)
    }

    /// The descriptor that the next buffer takes.
    #[must_use]
    pub fn tail(&self) -> usize {
        self.tail
    }

    /// Puts a buffer into the ring without telling the card: at least SRRCTL.BSIZEPACKET bytes at `address`, or as many
    /// as the longest frame has. Returns the descriptor that it took.
    ///
    /// # Errors
    /// [`DriverError::RingFull`].
    pub fn post(&mut self, address: u64) -> Result<usize, DriverError> {
        self.post_split(address, 0)
    }

    /// As [`PostRing::post`], with a buffer for the headers at `header`, an even address, where headers are split off.
    ///
    /// # Errors
    /// [`DriverError::RingFull`].
    pub fn post_split(&mut self, address: u64, header: u64) -> Result<usize, DriverError> {
        if self.free() == 0 {
            return Err(DriverError::RingFull);
        }
        let slot = self.tail;
        let offset = slot * descriptor::SIZE;
        self.memory.store(offset, address);
        self.memory.store(offset + 8, header);
        self.tail = self.after(slot);
        Ok(slot)
    }

    /// Tells the card of what was posted, if something was.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn ring_doorbell(&mut self, device: &mut dyn Device) -> Result<(), DriverError> {
        if self.told == self.tail {
            return Ok(());
        }
        self.told = self.tail;
        let tail = u32::try_from(self.tail).map_err(|_| DriverError::Config("ring length"))?;
        Ok(device.write(Reg::RDT.offset(self.queue), tail)?)
    }

    /// The same once it is worth its message: where the card has little, or could have a quarter more.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn ring_doorbell_in_time(&mut self, device: &mut dyn Device) -> Result<(), DriverError> {
        let told = self.behind_next(self.told);
        if told >= PLENTY && self.posted() - told < told / 4 {
            return Ok(());
        }
        self.ring_doorbell(device)
    }

    /// The descriptor `ahead` behind the next one, if the card has returned it.
    #[must_use]
    pub fn returned(&self, ahead: usize) -> Option<usize> {
        if ahead >= self.posted() {
            return None;
        }
        let slot = self.next + ahead;
        let slot = if slot < self.len {
            slot
        } else {
            slot - self.len
        };
        let high = self.memory.load(slot * descriptor::SIZE + 8);
        (high & u64::from(Status::DD.bits()) != 0).then_some(slot)
    }

    /// Descriptors from the oldest one that the card has not returned to this one.
    fn behind_next(&self, slot: usize) -> usize {
        if slot >= self.next {
            slot - self.next
        } else {
            slot + self.len - self.next
        }
    }

    /// The next descriptor that the card has returned, in the order of the ring. Its buffer is then no longer the card's.
    pub fn completed(&mut self) -> Option<Completed> {
        if self.is_empty() {
            return None;
        }
        let slot = self.next;
        let offset = slot * descriptor::SIZE;
        if self.memory.load(offset + 8) & u64::from(Status::DD.bits()) == 0 {
            return None;
        }
        let mut raw = [0; descriptor::SIZE];
        self.memory.copy(offset, &mut raw);
        let write_back = WriteBack::read_from_bytes(&raw).ok()?;
        self.next = self.after(slot);
        Some(Completed { slot, write_back })
    }

    /// Forgets what is in the ring, which the card has been made to do as well.
    pub(crate) fn forget(&mut self) {
        self.next = 0;
        self.tail = 0;
        self.told = 0;
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.len { 0 } else { slot + 1 }
    }
}
