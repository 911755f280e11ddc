//! The few system calls on a connected UNIX socket, none of which blocks.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::frame::{Fds, SCM_MAX_FD};

/// What a read brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// So many bytes (more than 0), and what came along.
    Bytes(usize, Fds),
    /// Nothing is there yet.
    Nothing,
    /// The peer has closed its end.
    End,
}

/// Takes what is there, up to the length of `space`. File descriptors are close-on-exec.
pub(crate) fn receive(socket: BorrowedFd<'_>, space: &mut [u8]) -> io::Result<Received> {
    let mut control = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
    let mut control = RecvAncillaryBuffer::new(&mut control);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(space)],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )
    });
    let received = match received {
        Ok(received) => received,
        Err(rustix::io::Errno::AGAIN) => return Ok(Received::Nothing),
        // A UNIX peer that closes with something unread behind it resets the connection.
        Err(rustix::io::Errno::CONNRESET) => return Ok(Received::End),
        Err(error) => return Err(error.into()),
    };
    if received.bytes == 0 {
        return Ok(Received::End);
    }
    let mut fds = Fds {
        list: Vec::new(),
        lost: received.flags.contains(ReturnFlags::CTRUNC),
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.list.extend(rights);
        }
    }
    Ok(Received::Bytes(received.bytes, fds))
}

/// Sends as much as fits; 0 when nothing does.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = rustix::io::retry_on_intr(|| {
        if fds.is_empty() {
            return rustix::net::send(socket, bytes, flags);
        }
        let mut control = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SCM_MAX_FD))];
        let mut control = SendAncillaryBuffer::new(&mut control);
        if !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(rustix::io::Errno::TOOMANYREFS);
        }
        rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, flags)
    });
    match sent {
        Ok(count) => Ok(count),
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
