//! Survives a client that truncates the file behind its memory.
//!
//! A touch of a mapped page that its file no longer has raises SIGBUS in the thread that touches. The handler here
//! looks the address up in the registry. Inside one of our mappings, it marks the mapping as torn, puts an anonymous
//! page of zeros in the lost page's place and returns: the instruction runs again and succeeds. Any other SIGBUS is
//! handed to the action that was installed before.
#![expect(
    unsafe_code,
    reason = "signal handlers are outside what the compiler can check"
)]

use std::ffi::{c_int, c_void};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc::siginfo_t;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::registry::{self, Extent};

/// What SIGBUS did before us. Empty only between the two halves of the installation.
static PREVIOUS: OnceLock<SigAction> = OnceLock::new();

/// Installs the handler, once for the process.
pub(crate) fn install() -> Result<(), Errno> {
    static INSTALLED: OnceLock<Result<(), Errno>> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let action = SigAction::new(
            SigHandler::SigAction(on_sigbus),
            // The alternate stack, because the previous handler may be one that reports stack overflows.
            SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK,
            SigSet::empty(),
        );
        // SAFETY:
        // 1. `on_sigbus` has the signature that SA_SIGINFO asks for.
        // 2. It calls only async-signal-safe functions: it reads atomics and a `OnceLock` that is set, makes
        //    `mmap`, `sigaction` and `raise` system calls, and restores `errno`.
        // Test: `a_truncated_file_reads_as_gone_and_the_process_lives`.
        let previous = unsafe { sigaction(Signal::SIGBUS, &action) }?;
        let _ = PREVIOUS.set(previous);
        Ok(())
    })
}

extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY:
    // 1. The kernel passes a valid `siginfo_t` to a handler installed with SA_SIGINFO, and so must a handler that
    //    chains to us.
    // 2. `si_addr` reads a plain integer from a union; it is an address only if the kernel raised the signal
    //    (`si_code` above 0), which is asked before it is used.
    // Test: `a_foreign_sigbus_reaches_the_previous_handler`.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr()) };
    let fault = code > 0;
    if !(fault && patch(address.addr())) {
        pass_on(fault, signal, info, context);
    }
    Errno::set_raw(errno);
}

/// Puts zeros in place of the lost page at `address`, if that is one of ours. False if it is not, or if the kernel
/// has no page to give.
fn patch(address: usize) -> bool {
    let Some((slot, extent)) = registry::find(address) else {
        return false;
    };
    slot.tear();
    let page = address & !(extent.granule - 1);
    // The whole mapping is the way out where a page alone cannot be replaced.
    replace(page, extent.granule, &extent)
        || replace(extent.start, extent.end - extent.start, &extent)
}

/// Replaces `len` bytes at `start`, which lie inside `extent`, with zeros.
fn replace(start: usize, len: usize, extent: &Extent) -> bool {
    let (Some(start), Some(len)) = (NonZeroUsize::new(start), NonZeroUsize::new(len)) else {
        return false;
    };
    let protection = if extent.writable {
        ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
    } else {
        ProtFlags::PROT_READ
    };
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE;
    // SAFETY:
    // 1. The range lies inside a registered mapping. That mapping is alive, for a thread is touching it, and it is
    //    deregistered before it is unmapped: no foreign memory is replaced.
    // 2. Its memory is client memory, which changes under us anyhow; nobody holds a reference to it, only volatile
    //    slices. The new pages allow what the old ones allowed.
    // 3. `mmap` is a bare system call here, so it may be made in a signal handler.
    // Test: `threads_that_race_into_a_truncated_file_all_see_gone`.
    unsafe { mmap_anonymous(Some(start), len, protection, flags) }.is_ok()
}

/// Does with the signal what would have happened without us.
fn pass_on(fault: bool, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    match PREVIOUS
        .get()
        .map_or(SigHandler::SigDfl, SigAction::handler)
    {
        SigHandler::SigAction(handler) => handler(signal, info, context),
        SigHandler::Handler(handler) => handler(signal),
        SigHandler::SigIgn if !fault => {}
        SigHandler::SigDfl | SigHandler::SigIgn => {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action is not a function, and setting it is async-signal-safe.
            // Test: `a_foreign_sigbus_still_kills`.
            let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
            // A fault comes back by itself when the instruction runs again; a sent signal has to be sent again,
            // and arrives when this handler returns.
            if !fault {
                let _ = raise(Signal::SIGBUS);
            }
        }
    }
}
