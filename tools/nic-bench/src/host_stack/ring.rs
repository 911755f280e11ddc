//! The driver's side of a split virtqueue (virtio 1.2, 2.7) whose chains have one descriptor each: that with the number
//! of its buffer.

use std::{
    rc::Rc,
    sync::atomic::{AtomicU16, AtomicU64, Ordering, fence},
};

use guest_memory::SharedMemory;
use virtio_bindings::virtio_ring::VRING_DESC_F_WRITE;
use vm_memory::{Bytes, VolatileMemory};

/// Bytes of memory that a ring takes.
pub const BYTES: usize = 0x8000;
/// Descriptors at most.
pub const MAX_SIZE: u16 = 1024;
/// Where its parts begin.
pub const AVAILABLE: usize = 0x4000;
pub const USED: usize = 0x5000;

/// Which way the buffers of a ring go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The stack fills them.
    Receive,
    /// The stack reads them.
    Transmit,
}

/// A ring.
#[derive(Debug)]
pub struct Ring {
    memory: Rc<SharedMemory>,
    /// Where in the memory it begins.
    at: usize,
    way: Way,
    size: u16,
    /// Chains that were made available, and those of them that the stack was told of.
    available: u16,
    told: u16,
    /// Chains that have come back and were taken.
    taken: u16,
}

impl Ring {
    /// A ring of `size` chains, a power of two, in zeroed memory.
    pub fn new(memory: Rc<SharedMemory>, at: usize, way: Way, size: u16) -> Self {
        let ring = Self {
            memory,
            at,
            way,
            size,
            available: 0,
            told: 0,
            taken: 0,
        };
        ring.wake_after(1);
        ring
    }

    /// Chains that have not come back.
    pub fn pending(&self) -> u16 {
        self.available.wrapping_sub(self.taken)
    }

    /// Gives the stack `len` bytes at `address`, which are buffer `index`; it sees them after [`Ring::publish`].
    pub fn put(&mut self, index: u16, address: u64, len: u32) {
        let flags = match self.way {
            Way::Receive => u64::from(VRING_DESC_F_WRITE),
            Way::Transmit => 0,
        };
        let descriptor = self.at + usize::from(index) * 16;
        self.store_64(descriptor, address);
        self.store_64(descriptor + 8, u64::from(len) | flags << 32);
        let slot = usize::from(self.available % self.size);
        self.store_16(AVAILABLE + 4 + slot * 2, index, Ordering::Relaxed);
        self.available = self.available.wrapping_add(1);
    }

    /// Lets the stack see what was put; returns whether it wants to be rung.
    pub fn publish(&mut self) -> bool {
        if self.told == self.available {
            return false;
        }
        self.store_16(AVAILABLE + 2, self.available, Ordering::Release);
        // The stack writes its wish and then looks at the index (2.7.10).
        fence(Ordering::SeqCst);
        let wish = self.load_16(USED + 4 + usize::from(self.size) * 8);
        let since = self.available.wrapping_sub(self.told);
        self.told = self.available;
        self.available.wrapping_sub(wish).wrapping_sub(1) < since
    }

    /// Shows the chains that have come back, at most `limit`, by buffer and length; returns how many there were.
    pub fn take(&mut self, limit: u16, mut each: impl FnMut(u16, u32)) -> u16 {
        let back = self.load_16(USED + 2).wrapping_sub(self.taken);
        let count = back.min(limit);
        for _ in 0..count {
            let slot = usize::from(self.taken % self.size);
            let used = self.load_64(self.at + USED + 4 + slot * 8);
            self.taken = self.taken.wrapping_add(1);
            each((used & 0xFFFF) as u16, (used >> 32) as u32);
        }
        count
    }

    /// Asks to be rung when half of what the stack has is back; returns whether something is back already.
    pub fn sleep(&self) -> bool {
        self.wake_after((self.pending() / 2).max(1));
        fence(Ordering::SeqCst);
        self.load_16(USED + 2) != self.taken
    }

    fn wake_after(&self, count: u16) {
        let wish = self.taken.wrapping_add(count).wrapping_sub(1);
        let place = AVAILABLE + 4 + usize::from(self.size) * 2;
        self.store_16(place, wish, Ordering::Relaxed);
    }

    fn store_16(&self, place: usize, value: u16, ordering: Ordering) {
        let slice = self.memory.slice(self.at + place, 2);
        let slice = slice.expect("inside the ring");
        let cell = slice.get_atomic_ref::<AtomicU16>(0);
        cell.expect("aligned").store(value.to_le(), ordering);
    }

    fn load_16(&self, place: usize) -> u16 {
        let slice = self.memory.slice(self.at + place, 2);
        let value = slice.expect("inside the ring").load(0, Ordering::Acquire);
        u16::from_le(value.expect("aligned"))
    }

    fn store_64(&self, place: usize, value: u64) {
        let slice = self.memory.slice(place, 8).expect("inside the ring");
        let cell = slice.get_atomic_ref::<AtomicU64>(0);
        cell.expect("aligned")
            .store(value.to_le(), Ordering::Relaxed);
    }

    /// Entries of the used ring are at multiples of 4.
    fn load_64(&self, place: usize) -> u64 {
        let slice = self.memory.slice(place, 8).expect("inside the ring");
        u64::from_le(slice.read_obj(0).expect("inside the ring"))
    }
}
