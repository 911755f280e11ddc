//! Not listening to a wire for a while.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::Backend;

/// The descriptor of a decorated wire: readable when that of the wire is, but for the time in which nobody wants to know.
///
/// It is an epoll set with that one descriptor in it or not: whoever waits for the set needs not know that it opens and
/// closes.
#[derive(Debug)]
pub(super) struct Gate {
    /// `None` if the system has none left; then the wire is always listened to, which only costs turns.
    epoll: Option<Epoll>,
    /// The descriptor that is in the set.
    inside: Option<RawFd>,
}

impl Gate {
    /// An open one.
    pub(super) fn new(wire: &impl Backend) -> Self {
        let mut gate = Self {
            epoll: wire
                .poll_fd()
                .and_then(|_| Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok()),
            inside: None,
        };
        gate.open(wire);
        gate
    }

    /// Listens to `wire`.
    pub(super) fn open(&mut self, wire: &impl Backend) {
        let (Some(epoll), Some(fd)) = (&self.epoll, wire.poll_fd()) else {
            return;
        };
        let number = fd.as_raw_fd();
        if self.inside == Some(number) {
            return;
        }
        if epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))
            .is_ok()
        {
            self.inside = Some(number);
        }
    }

    /// Does not listen to `wire`.
    pub(super) fn close(&mut self, wire: &impl Backend) {
        let (Some(epoll), Some(inside)) = (&self.epoll, self.inside.take()) else {
            return;
        };
        // A descriptor that has been closed is out of the set already.
        if let Some(fd) = wire.poll_fd().filter(|fd| fd.as_raw_fd() == inside) {
            let _ = epoll.delete(fd);
        }
    }

    /// What to wait for instead of the descriptor of `wire`.
    pub(super) fn poll_fd<'a>(&'a self, wire: &'a impl Backend) -> Option<BorrowedFd<'a>> {
        let fd = wire.poll_fd()?;
        Some(self.epoll.as_ref().map_or(fd, |epoll| epoll.0.as_fd()))
    }
}
