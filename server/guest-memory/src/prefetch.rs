//! Has client memory in this processor's cache before it is touched.
//!
//! The driver has touched it last, on another processor, and an access waits until it has come from there. These ask for
//! it early and return at once. They do nothing on other machines than x86.
#![expect(
    unsafe_code,
    reason = "the instructions are outside what the compiler can check"
)]

use vm_memory::{VolatileSlice, bitmap::BitmapSlice};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of `memory`, to read them soon.
#[inline]
pub fn prefetch_for_read<B: BitmapSlice>(memory: &VolatileSlice<'_, B>) {
    for line in lines(memory) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: The instruction is a hint: it changes nothing that a program can see, and raises no fault, whatever the
        // address.
        // Test: `a_prefetch_changes_nothing_and_survives_lost_pages`.
        unsafe {
            std::arch::asm!(
                "prefetcht0 [{}]",
                in(reg) line,
                options(nostack, preserves_flags, readonly)
            );
        }
        let _ = line;
    }
}

/// Asks for the cache lines of `memory`, to write them soon.
#[inline]
pub fn prefetch_for_write<B: BitmapSlice>(memory: &VolatileSlice<'_, B>) {
    for line in lines(memory) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: As above; a processor that does not have the instruction passes over it.
        // Test: `a_prefetch_changes_nothing_and_survives_lost_pages`.
        unsafe {
            std::arch::asm!(
                "prefetchw [{}]",
                in(reg) line,
                options(nostack, preserves_flags, readonly)
            );
        }
        let _ = line;
    }
}

/// An address in each cache line of `memory`, if it begins at one.
#[inline]
fn lines<B: BitmapSlice>(
    memory: &VolatileSlice<'_, B>,
) -> impl Iterator<Item = *const u8> + use<B> {
    let start = memory.ptr_guard().as_ptr();
    (0..memory.len())
        .step_by(LINE)
        .map(move |offset| start.wrapping_add(offset))
}
