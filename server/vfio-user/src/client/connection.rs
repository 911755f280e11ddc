//! Bytes and messages to and from a server, with a time limit.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::ClientError;
use crate::frame::{Fds, Frame, FrameBuffer};
use crate::message::Header;
use crate::socket::{self, Received};

/// A message of its own, with everything that came along.
#[derive(Debug)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// What followed it.
    pub payload: Vec<u8>,
    /// The file descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Message {
    pub(super) fn from_frame(frame: Frame<'_>) -> Self {
        Self {
            header: frame.header,
            payload: frame.payload.to_vec(),
            fds: frame.fds.list,
        }
    }
}

/// When a call gives up, and how long it polls before it sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) spin: Duration,
}

#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    pub(super) inbox: FrameBuffer,
}

impl Connection {
    pub(super) fn new(socket: UnixStream, message_size: usize) -> Self {
        Self {
            socket,
            inbox: FrameBuffer::new(message_size),
        }
    }

    /// Sends all of it; the file descriptors go with the first byte.
    pub(super) fn send(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), ClientError> {
        let mut rest = bytes;
        let mut fds = fds;
        let mut deadline = None;
        while !rest.is_empty() {
            let count =
                socket::send(self.socket.as_fd(), rest, fds).map_err(ClientError::from_socket)?;
            if count == 0 {
                let until = *deadline.get_or_insert_with(|| Instant::now() + patience.timeout);
                self.wait(PollFlags::OUT, until, patience.timeout)?;
                continue;
            }
            fds = &[];
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads what is there into the inbox; `false` when nothing is.
    pub(super) fn receive_now(&mut self) -> Result<bool, ClientError> {
        let received = socket::receive(self.socket.as_fd(), self.inbox.space())
            .map_err(ClientError::from_socket)?;
        match received {
            Received::Bytes(count, fds) => {
                let Fds { list, lost } = fds;
                self.inbox.filled(count, Fds { list, lost });
                Ok(true)
            }
            Received::Nothing => Ok(false),
            Received::End => Err(ClientError::Disconnected),
        }
    }

    /// Waits until something is there and reads it into the inbox.
    pub(super) fn receive(
        &mut self,
        started: Instant,
        patience: Patience,
    ) -> Result<(), ClientError> {
        let spin_until = started + patience.spin;
        loop {
            if self.receive_now()? {
                return Ok(());
            }
            if !patience.spin.is_zero() && Instant::now() < spin_until {
                std::hint::spin_loop();
                continue;
            }
            self.wait(PollFlags::IN, started + patience.timeout, patience.timeout)?;
        }
    }

    fn wait(
        &self,
        events: PollFlags,
        until: Instant,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        let mut fds = [PollFd::new(&self.socket, events)];
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(0) => Err(ClientError::Timeout { timeout }),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(ClientError::Socket(error.into())),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ClientError {
    fn from_socket(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        match error.kind() {
            BrokenPipe | ConnectionReset => Self::Disconnected,
            _ => Self::Socket(error),
        }
    }
}
