//! Which address ranges are mappings of client memory, in a form that a signal handler may read.
//!
//! This is the only file of the crate with atomics. Writers (threads that map and unmap) claim a slot each; the
//! reader is the SIGBUS handler, which may run in any thread at any instruction. So the reader takes no lock,
//! allocates nothing and follows only memory that is never freed: slots live in a static chunk and in further
//! chunks that hang off it and stay for ever.
//!
//! A slot's range is guarded by a version count (a sequence lock): odd while a writer is at it. The handler skips a
//! slot whose version is odd or moves while it looks. That loses nothing: a fault inside a mapping means that the
//! mapping is alive, hence its slot was filled before (in the faulting thread's past) and stands still.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence};

/// Slots per chunk: more than the files of any usual client.
const CHUNK: usize = 64;

static FIRST: Chunk = Chunk::new();

/// How many faults were patched in this process, ever.
static TEARS: AtomicU64 = AtomicU64::new(0);

struct Chunk {
    slots: [Slot; CHUNK],
    next: OnceLock<Box<Chunk>>,
}

impl Chunk {
    const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; CHUNK],
            next: OnceLock::new(),
        }
    }
}

/// One mapping's entry.
#[derive(Debug)]
pub(crate) struct Slot {
    claimed: AtomicBool,
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    granule: AtomicUsize,
    writable: AtomicBool,
    torn: AtomicBool,
}

/// Where a mapping lies and how to patch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First address.
    pub(crate) start: usize,
    /// First address behind it.
    pub(crate) end: usize,
    /// Size of the pages that the kernel uses for it: a power of two, and `start` and `end` are multiples.
    pub(crate) granule: usize,
    /// Whether the mapping may be written.
    pub(crate) writable: bool,
}

impl Slot {
    const fn new() -> Self {
        Self {
            claimed: AtomicBool::new(false),
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            granule: AtomicUsize::new(0),
            writable: AtomicBool::new(false),
            torn: AtomicBool::new(false),
        }
    }

    /// Takes the slot if it is free. Acquire pairs with the release in [`release`](Self::release): the next owner
    /// writes after the last owner.
    fn claim(&self) -> bool {
        self.claimed
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Fills the slot; only its owner calls this.
    fn fill(&self, extent: Extent) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        // The odd version is seen no later than any of the new values.
        fence(Ordering::Release);
        self.start.store(extent.start, Ordering::Relaxed);
        self.end.store(extent.end, Ordering::Relaxed);
        self.granule.store(extent.granule, Ordering::Relaxed);
        self.writable.store(extent.writable, Ordering::Relaxed);
        self.torn.store(false, Ordering::Relaxed);
        // The new values are seen no later than the even version.
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Gives the slot back. The owner calls this before it unmaps the range, so that the handler never patches
    /// addresses that belong to somebody else by then.
    pub(crate) fn release(&self) {
        self.fill(Extent {
            start: 0,
            end: 0,
            granule: 0,
            writable: false,
        });
        self.claimed.store(false, Ordering::Release);
    }

    /// The range, unless a writer is at it.
    fn extent(&self) -> Option<Extent> {
        let version = self.version.load(Ordering::Acquire);
        let extent = Extent {
            start: self.start.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
            granule: self.granule.load(Ordering::Relaxed),
            writable: self.writable.load(Ordering::Relaxed),
        };
        // The values were read before the version is read again.
        fence(Ordering::Acquire);
        let settled = version.is_multiple_of(2) && version == self.version.load(Ordering::Relaxed);
        settled.then_some(extent)
    }

    /// Marks the mapping as torn. The handler calls this before it patches the page: whoever sees the patch sees
    /// the mark (the system call that patches is a full barrier).
    pub(crate) fn tear(&self) {
        self.torn.store(true, Ordering::Release);
        TEARS.fetch_add(1, Ordering::Release);
    }

    /// Whether a page of the mapping was lost. Called after a copy, it covers that copy: the fence keeps the
    /// compiler from moving the copy behind the load, and a fault is raised at the instruction that causes it.
    #[inline]
    pub(crate) fn is_torn(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        self.torn.load(Ordering::Acquire)
    }
}

/// How many faults were patched in this process, ever; with the fence of [`Slot::is_torn`].
pub(crate) fn tears() -> u64 {
    compiler_fence(Ordering::SeqCst);
    TEARS.load(Ordering::Acquire)
}

/// Enters a mapping. Grows the registry if need be; must not be called from a signal handler.
pub(crate) fn register(extent: Extent) -> &'static Slot {
    let mut chunk = &FIRST;
    loop {
        if let Some(slot) = chunk.slots.iter().find(|slot| slot.claim()) {
            slot.fill(extent);
            return slot;
        }
        chunk = chunk.next.get_or_init(|| Box::new(Chunk::new()));
    }
}

/// The mapping that holds `address`, if it is one of ours. Safe to call from a signal handler.
pub(crate) fn find(address: usize) -> Option<(&'static Slot, Extent)> {
    let mut chunk = Some(&FIRST);
    while let Some(Chunk { slots, next }) = chunk {
        for slot in slots {
            if let Some(extent) = slot.extent()
                && (extent.start..extent.end).contains(&address)
            {
                return Some((slot, extent));
            }
        }
        chunk = next.get().map(Box::as_ref);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // Addresses that no mapping of this process can have: the registry is shared by all tests.
    const TOP: usize = usize::MAX - 0x10_0000;

    fn extent(page: usize) -> Extent {
        Extent {
            start: TOP + page * 0x1000,
            end: TOP + (page + 1) * 0x1000,
            granule: 0x1000,
            writable: true,
        }
    }

    #[test]
    fn an_address_is_found_only_while_its_mapping_is_registered() {
        let slot = register(extent(0));

        let inside = find(TOP + 0xfff).map(|(_, extent)| extent);
        let behind = find(TOP + 0x1000).map(|(_, extent)| extent);
        slot.release();
        let after = find(TOP + 0xfff).map(|(_, extent)| extent);

        assert_eq!(inside, Some(extent(0)));
        assert_eq!(behind, None);
        assert_eq!(after, None);
    }

    #[test]
    fn the_registry_grows_past_its_first_chunk() {
        let slots: Vec<_> = (16..16 + 2 * CHUNK)
            .map(|page| register(extent(page)))
            .collect();

        let all_found = (16..16 + 2 * CHUNK).all(|page| find(extent(page).start).is_some());
        slots.iter().for_each(|slot| slot.release());

        assert!(all_found);
    }

    #[test]
    fn a_reused_slot_is_not_torn() {
        let first = register(extent(8));
        first.tear();
        let torn = first.is_torn();
        first.release();

        let second = register(extent(9));
        let fresh = second.is_torn();
        second.release();

        assert!(torn);
        assert!(!fresh);
    }
}
