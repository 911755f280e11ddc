//! Has client memory in this processor's cache before it is written.
#![expect(
    unsafe_code,
    reason = "the instruction is outside what the compiler can check"
)]

use vm_memory::VolatileSlice;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache lines of `memory`, to write to them soon; returns at once. The driver has looked at them last, on
/// another processor, and a write would wait until they have come from there. Does nothing on other machines than x86.
#[inline]
pub fn prefetch_for_write(memory: &VolatileSlice<'_>) {
    let guard = memory.ptr_guard_mut();
    let start = guard.as_ptr();
    for offset in (0..memory.len()).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY:
        // 1. The instruction is a hint: it reads and writes nothing that a program can see, and raises no fault,
        //    whatever the address.
        // 2. A processor that does not have it does nothing.
        // Test: `a_prefetch_changes_nothing_and_survives_lost_pages`.
        unsafe {
            std::arch::asm!(
                "prefetchw [{}]",
                in(reg) start.wrapping_add(offset),
                options(nostack, preserves_flags, readonly)
            );
        }
    }
}
