//! Shared memory, one atomic word at a time.
//!
//! The client's stores are a driver's: x86 keeps their order, so a word that is read with acquire shows everything that
//! the driver stored before it. No reference to the memory lives longer than the access of one word.

use std::sync::atomic::{AtomicU32, Ordering};

use guest_memory::SharedMemory;
use vm_memory::VolatileMemory;

// `Mirror` compares the pages with its own words byte by byte.
const _: () = assert!(cfg!(target_endian = "little"));

/// Words that somebody else may write at any time.
pub(super) trait Words {
    /// The word, and with it everything that its writer stored before.
    fn load(&self, word: usize) -> u32;

    /// Puts `new` in the place of `current`, unless somebody has written something else there.
    fn replace(&self, word: usize, current: u32, new: u32);
}

/// Words of memory that a client maps.
#[derive(Debug)]
pub(super) struct SharedWords(pub(super) SharedMemory);

impl SharedWords {
    fn with<T: Default>(&self, word: usize, act: impl FnOnce(&AtomicU32) -> T) -> T {
        let slice = self.0.slice(4 * word, 4);
        // Every word that the worker knows of is inside.
        slice
            .and_then(|slice| slice.get_atomic_ref::<AtomicU32>(0).ok().map(act))
            .unwrap_or_default()
    }
}

impl Words for SharedWords {
    #[inline]
    fn load(&self, word: usize) -> u32 {
        self.with(word, |place| place.load(Ordering::Acquire))
    }

    #[inline]
    fn replace(&self, word: usize, current: u32, new: u32) {
        self.with(word, |place| {
            // What the client has written instead is found by the next look.
            let _ = place.compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed);
        });
    }
}
