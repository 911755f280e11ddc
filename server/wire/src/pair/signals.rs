//! What the two ends of a cable tell each other beside the frames: whether they send light, and that there is something
//! to look at. The atomics of the cable are here and nowhere else.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering, fence},
};

use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};

/// One end's part. Both ends' threads see it.
#[derive(Debug)]
pub(super) struct Signals {
    /// This end sends light. It stands alone: no other memory is published with it.
    lit: AtomicBool,
    /// This end has found no frame and may sleep: whoever sends one rings.
    sleeps: AtomicBool,
    bell: EventFd,
}

impl Signals {
    /// An end that sends light, and sleeps until it is rung for.
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            lit: AtomicBool::new(true),
            sleeps: AtomicBool::new(true),
            bell: EventFd::from_value_and_flags(0, flags)?,
        })
    }

    /// Whether this end sends light.
    pub(super) fn is_lit(&self) -> bool {
        self.lit.load(Ordering::Relaxed)
    }

    /// Says whether this end sends light; true if that is a change.
    pub(super) fn set_lit(&self, lit: bool) -> bool {
        self.lit.swap(lit, Ordering::Relaxed) != lit
    }

    /// For the owner, which has found no frame: from now on the other end rings. Frames have to be looked for once more
    /// after it.
    ///
    /// Owner and other end each write one thing and then read what the other writes: the owner `sleeps`, then the queue;
    /// the other end the queue, then `sleeps`. Between the two stands a sequentially consistent fence on both sides, so
    /// at least one of them sees what the other wrote: the frame is found now, or rung for.
    pub(super) fn fall_asleep(&self) {
        self.sleeps.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Whether the owner has been rung for since it fell asleep.
    pub(super) fn was_woken(&self) -> bool {
        !self.sleeps.load(Ordering::Relaxed)
    }

    /// For the other end, which has put a frame into the queue: rings if the owner may sleep. See
    /// [`Signals::fall_asleep`].
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeps.load(Ordering::Relaxed) && self.sleeps.swap(false, Ordering::Relaxed) {
            self.ring();
        }
    }

    /// For the other end: lets the owner look.
    pub(super) fn ring(&self) {
        // A full counter rings as well.
        let _ = self.bell.write(1);
    }

    /// For the owner: silences the bell.
    pub(super) fn silence(&self) {
        match self.bell.read() {
            // Nothing to silence is as good.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => tracing::debug!(%errno, "cannot silence the bell of a cable"),
        }
    }

    /// Readable while the bell rings.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
