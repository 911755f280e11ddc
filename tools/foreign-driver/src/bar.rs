//! Registers behind a pointer.
//!
//! The driver's pointer leads to pages without rights. An access faults, and the handler of SIGSEGV:
//!
//! 1. for a read, asks the card and puts the value where the driver looks (through a second view of the same memory);
//! 2. opens the page and sets the trap flag, so that the processor runs the driver's own instruction, and just that one.
//!
//! The handler of SIGTRAP takes the rights away again and, after a write, sends to the card what is there now. The
//! instruction is never emulated; of a write its code is looked at, lest one that also reads (`or [register], bit`) works
//! on what nobody asked the card for.
//!
//! Both signals come from the thread's own instruction, which is a volatile access of the driver's: no lock is held and
//! no allocation is under way there, so the handlers may do what a called function may do.
#![expect(
    unsafe_code,
    reason = "faults and mappings are outside what the compiler can check"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::num::NonZeroUsize;
use std::process::abort;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use guest_memory::SharedMemory;
use nix::errno::Errno;
use nix::libc::{REG_EFL, REG_ERR, REG_RIP, siginfo_t, ucontext_t};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mprotect};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use vm_memory::Bytes;

use crate::card;

/// Bytes of the 82599's BAR0.
pub(crate) const LEN: usize = 512 << 10;
/// The trap flag of RFLAGS.
const TRAP: i64 = 1 << 8;
/// The bit of a page fault's error code that tells a write.
const WRITE: i64 = 1 << 1;

/// A BAR that a driver can point to.
#[derive(Debug)]
pub(crate) struct Bar {
    /// What the driver sees: no rights, but during one instruction.
    driver: NonNull<c_void>,
    /// The same memory, for us.
    ours: SharedMemory,
}

/// An access to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Bar {
    /// Makes the pages, and catches faults from now on.
    pub(crate) fn new() -> io::Result<Self> {
        catch_faults()?;
        let ours = SharedMemory::new(c"BAR0", LEN)?;
        let len = NonZeroUsize::new(LEN).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping, wherever the kernel has room, replaces nothing; it is never unmapped.
        // Test: `a_driver_that_we_did_not_write_brings_the_card_up`.
        let driver = unsafe {
            mmap(
                None,
                len,
                ProtFlags::PROT_NONE,
                MapFlags::MAP_SHARED,
                &ours,
                0,
            )
        }?;
        Ok(Self { driver, ours })
    }

    /// The address for the driver.
    pub(crate) fn address(&self) -> usize {
        self.driver.as_ptr().addr()
    }

    /// The register at an address, if it is in this BAR.
    pub(crate) fn offset(&self, address: usize) -> Option<u32> {
        let offset = address.checked_sub(self.address())?;
        let whole = offset.is_multiple_of(4) && offset < LEN;
        u32::try_from(offset).ok().filter(|_| whole)
    }

    /// What the driver has written to a register.
    pub(crate) fn written(&self, offset: u32) -> Option<u32> {
        let slice = self.ours.slice(usize::try_from(offset).ok()?, 4)?;
        slice.load(0, Ordering::Acquire).ok()
    }

    /// Lets the driver read `value` from a register.
    pub(crate) fn show(&self, offset: u32, value: u32) -> Option<()> {
        let slice = self.ours.slice(usize::try_from(offset).ok()?, 4)?;
        slice.store(value, 0, Ordering::Release).ok()
    }

    /// Opens the pages for an access.
    pub(crate) fn open(&self, access: Access) -> Option<()> {
        self.protect(match access {
            Access::Read => ProtFlags::PROT_READ,
            Access::Write => ProtFlags::PROT_WRITE,
        })
    }

    /// Closes them.
    pub(crate) fn close(&self) -> Option<()> {
        self.protect(ProtFlags::PROT_NONE)
    }

    fn protect(&self, rights: ProtFlags) -> Option<()> {
        // SAFETY: the range is the mapping of `new`, which nothing but a driver's volatile accesses touches.
        // Test: `a_driver_that_we_did_not_write_brings_the_card_up`.
        unsafe { mprotect(self.driver, LEN, rights) }.ok()
    }
}

/// Installs the handlers, once for the process.
fn catch_faults() -> Result<(), Errno> {
    static CAUGHT: OnceLock<Result<(), Errno>> = OnceLock::new();
    *CAUGHT.get_or_init(|| {
        for (signal, handler) in [
            (Signal::SIGSEGV, SigHandler::SigAction(on_fault)),
            (Signal::SIGTRAP, SigHandler::SigAction(on_step)),
        ] {
            // On the thread's own stack: the alternate one is too small for a session's work.
            let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
            // SAFETY:
            // 1. The handlers have the signature that SA_SIGINFO asks for.
            // 2. They act only where the signal was raised by an access to a BAR, where any function may be called
            //    (see above). Otherwise they put the default action back or abort.
            // Test: `a_driver_that_we_did_not_write_brings_the_card_up`.
            unsafe { sigaction(signal, &action) }?;
        }
        Ok(())
    })
}

extern "C" fn on_fault(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY:
    // 1. The kernel passes a valid `siginfo_t` and `ucontext_t` to a handler installed with SA_SIGINFO, and nobody else
    //    has a reference to them.
    // 2. `si_addr` reads a plain integer from a union.
    // Test: `a_driver_that_we_did_not_write_brings_the_card_up`.
    let (address, context) =
        unsafe { ((*info).si_addr().addr(), &mut *context.cast::<ucontext_t>()) };
    let registers = &mut context.uc_mcontext.gregs;
    let access = if registers[REG_ERR as usize] & WRITE == 0 {
        Access::Read
    } else {
        Access::Write
    };
    let code = usize::try_from(registers[REG_RIP as usize]).unwrap_or_default();
    let code = std::ptr::with_exposed_provenance::<u8>(code);
    let stores = || {
        // SAFETY: the processor has just read this instruction: it and its first two bytes are readable. A store to
        // memory is at least two bytes long.
        // Test: as above.
        let (first, second) = unsafe { (code.read(), code.add(1).read()) };
        is_store(first, second)
    };
    match card::begin(address, access, stores) {
        Some(()) => registers[REG_EFL as usize] |= TRAP,
        None => {
            // Not a register: the instruction faults again and ends the process, as ever.
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action is not a function.
            // Test: none; this is a bug in a test.
            let _ = unsafe { sigaction(Signal::SIGSEGV, &default) };
        }
    }
}

extern "C" fn on_step(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: as in `on_fault`.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    context.uc_mcontext.gregs[REG_EFL as usize] &= !TRAP;
    if card::end().is_none() {
        // Somebody's breakpoint.
        abort();
    }
}

/// Whether an instruction that begins so does nothing but store 32 bits: `mov [..], register` or `mov [..], constant`,
/// with or without a REX prefix that does not make it 64 bits.
fn is_store(first: u8, second: u8) -> bool {
    let opcode = if first & 0xF8 == 0x40 { second } else { first };
    matches!(opcode, 0x89 | 0xC7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_stores_of_32_bits_are_stores() {
        let mov_from_register = [0x89, 0x01];
        let mov_of_constant = [0xC7, 0x01];
        let mov_from_r8d = [0x44, 0x89];
        let or_with_register = [0x09, 0x01];
        let mov_64_bits = [0x48, 0x89];
        let mov_16_bits = [0x66, 0x89];

        let stores =
            [mov_from_register, mov_of_constant, mov_from_r8d].map(|[a, b]| is_store(a, b));
        let others = [or_with_register, mov_64_bits, mov_16_bits].map(|[a, b]| is_store(a, b));

        assert_eq!(stores, [true; 3]);
        assert_eq!(others, [false; 3]);
    }
}
