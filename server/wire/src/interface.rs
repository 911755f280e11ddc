//! Waiting for an interface of this machine: its socket, and what becomes of the interface.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket},
    },
};

use crate::OpenError;

/// Notices of changed interfaces that are read at a time; the rest comes next time.
const MAX_NOTICES: usize = 64;
/// `RTMGRP_LINK`: the kernel's notices of interfaces that come, go and change.
const LINK_NOTICES: u32 = 1;

/// One descriptor to wait for, which stays the same while the interface and its socket come and go.
#[derive(Debug)]
pub(crate) struct InterfaceWatch {
    events: Epoll,
    notices: OwnedFd,
}

impl InterfaceWatch {
    /// Watches the interfaces of this thread's network namespace.
    pub(crate) fn new() -> Result<Self, OpenError> {
        let open = || {
            let notices = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkRoute,
            )?;
            bind(notices.as_raw_fd(), &NetlinkAddr::new(0, LINK_NOTICES))?;
            let events = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            let watch = Self { events, notices };
            watch.add(&watch.notices)?;
            Ok(watch)
        };
        open().map_err(|errno: Errno| OpenError::Watch(errno.into()))
    }

    /// Waits for input of `socket`, too, until that is closed.
    pub(crate) fn add(&self, socket: impl AsFd) -> Result<(), Errno> {
        self.events
            .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))
    }

    /// What is readable when a socket is or something became of an interface.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.events.0.as_fd()
    }

    /// Reads the kernel's notices, which say no more than that it is worth a look.
    pub(crate) fn take_notices(&self) {
        let mut notice = [0; 8192];
        for _ in 0..MAX_NOTICES {
            // ENOBUFS: some were lost, which is as good as having read them.
            if !matches!(
                nix::unistd::read(&self.notices, &mut notice),
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR)
            ) {
                return;
            }
        }
    }
}
