//! Short accesses to the guest's memory.
//!
//! `vm-memory` reaches bytes that may lie in several regions, piece by piece, which takes longer than all else that is
//! done with a packet. What is short and lies in one region is reached here by one look-up; anything else goes its way.

use std::sync::atomic::{AtomicU16, Ordering};

use guest_memory::{prefetch_for_read, prefetch_for_write};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileMemory, VolatileSlice};

use crate::{dirty::DirtyPages, memory::Mapped};

/// `len` bytes at `address`, if they are all in one region.
#[must_use]
pub fn slice(
    memory: &Mapped,
    address: GuestAddress,
    len: usize,
) -> Option<VolatileSlice<'_, DirtyPages>> {
    GuestMemoryBackend::get_slice(memory, address, len).ok()
}

/// Whether all of `len` bytes at `address` are memory.
#[must_use]
pub fn is_memory(memory: &Mapped, address: GuestAddress, len: usize) -> bool {
    slice(memory, address, len).is_some() || GuestMemoryBackend::check_range(memory, address, len)
}

/// Fills `to`; whether all of it is memory.
#[must_use]
pub fn read(memory: &Mapped, address: GuestAddress, to: &mut [u8]) -> bool {
    match slice(memory, address, to.len()) {
        Some(slice) => slice.copy_to(to) == to.len(),
        None => memory.read_slice(to, address).is_ok(),
    }
}

/// Writes `from`; whether all of it is memory.
#[must_use]
pub fn write(memory: &Mapped, address: GuestAddress, from: &[u8]) -> bool {
    match slice(memory, address, from.len()) {
        Some(slice) => {
            slice.copy_from(from);
            true
        }
        None => memory.write_slice(from, address).is_ok(),
    }
}

/// The little-endian word at `address`; nothing if it is not memory, or not aligned.
#[must_use]
pub fn load(memory: &Mapped, address: GuestAddress, ordering: Ordering) -> Option<u16> {
    let word = slice(memory, address, 2)?.load(0, ordering).ok()?;
    Some(u16::from_le(word))
}

/// Publishes a little-endian word; whether it is memory, and aligned.
#[must_use]
pub fn store(memory: &Mapped, address: GuestAddress, value: u16, ordering: Ordering) -> bool {
    let Some(slice) = slice(memory, address, 2) else {
        return false;
    };
    let Ok(word) = slice.get_atomic_ref::<AtomicU16>(0) else {
        return false;
    };
    word.store(value.to_le(), ordering);
    vm_memory::bitmap::Bitmap::mark_dirty(slice.bitmap(), 0, 2);
    true
}

/// Has the byte at `address` in this processor's cache when it will be written.
pub fn expect_write(memory: &Mapped, address: GuestAddress) {
    if let Some(slice) = slice(memory, address, 1) {
        prefetch_for_write(&slice);
    }
}

/// Has the byte at `address` in this processor's cache when it will be read.
pub fn expect_read(memory: &Mapped, address: GuestAddress) {
    if let Some(slice) = slice(memory, address, 1) {
        prefetch_for_read(&slice);
    }
}
