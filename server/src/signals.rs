//! SIGTERM and SIGINT as something to wait for.

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// Takes SIGTERM and SIGINT out of asynchronous delivery, for this thread and those it starts later, and returns a
/// descriptor that becomes readable when one of them comes. To be called before any thread is started.
///
/// # Errors
/// What the system says to `sigprocmask` or `signalfd`.
pub fn termination() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}
