//! A client's connection, driven by the owner's event loop.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::engine::Engine;
use super::{ClientInfo, Description, Device, DmaError, Limits, NegotiationError, RequestId};
use crate::frame::{FrameBuffer, FrameError};
use crate::message::Command;
use crate::socket::{self, Received};

/// Replies are sent before the end of the turn once they are this many bytes.
const EARLY_FLUSH: usize = 32 * 1024;

/// One client, from its connection to its end. Owned and driven by one thread.
///
/// The owner waits for [`Self::as_fd`] to become readable, level-triggered, and calls
/// [`Self::receive`]; while [`Self::wants_write`] it waits for writability too and calls
/// [`Self::flush`]. No call blocks. Any error ends the session: the owner drops it, and with it
/// its device's mappings and eventfds of this client; the device's state it keeps.
#[derive(Debug)]
pub struct Session {
    socket: UnixStream,
    inbox: FrameBuffer,
    engine: Engine,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "messages that are left do not make the socket readable"]
pub struct Progress {
    /// How many messages were served.
    pub messages: u32,
    /// Messages were left in the buffer to bound the turn. [`Session::receive`] has to be called
    /// again without waiting for the socket.
    pub more: bool,
}

/// What happened in a session since it began. All numbers wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages from the client, replies included.
    pub messages: u64,
    /// Commands that failed, whether or not the client was told.
    pub refused: u64,
    /// Replies that nothing waited for.
    pub stray_replies: u64,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The client has gone. This is how most sessions end.
    #[error("the client closed the connection")]
    Disconnected,
    /// The stream is broken.
    #[error("the client's message stream is broken, so the connection is closed")]
    Frame(#[from] FrameError),
    /// The first message was not `VERSION`.
    #[error("the client began with {command} instead of VERSION, so the connection is closed")]
    NotNegotiated {
        /// What it sent instead.
        command: Command,
    },
    /// The version or the capabilities cannot be agreed on.
    #[error("no agreement with the client was reached, so the connection is closed")]
    Negotiation(#[source] NegotiationError),
    /// The client does not read what it is sent.
    #[error(
        "the client leaves {queued} bytes of replies unread, {limit} are the limit, \
         so the connection is closed"
    )]
    NotReading {
        /// Bytes that wait.
        queued: usize,
        /// See [`Limits::queued_bytes`].
        limit: usize,
    },
    /// The socket failed.
    #[error("the client's socket cannot be used any longer")]
    Socket(#[source] std::io::Error),
}

impl Session {
    /// Begins a session on a connection that was just accepted.
    #[must_use]
    pub fn new(socket: UnixStream, limits: Limits, description: Description) -> Self {
        Self {
            socket,
            inbox: FrameBuffer::new(limits.message_size()),
            engine: Engine::new(limits, description),
        }
    }

    /// Serves what has arrived, and sends the replies.
    ///
    /// # Errors
    ///
    /// When the session is over, [`SessionError::Disconnected`] being the ordinary way.
    pub fn receive(&mut self, device: &mut dyn Device) -> Result<Progress, SessionError> {
        let outcome = self.turn(device);
        // Also after an error: the client may still learn what it did wrong.
        let flushed = self.flush();
        let progress = outcome?;
        flushed?;
        Ok(progress)
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub fn flush(&mut self) -> Result<(), SessionError> {
        let outbox = &mut self.engine.outbox;
        if outbox.is_empty() {
            return Ok(());
        }
        outbox.flush(self.socket.as_fd()).map_err(socket_error)?;
        let (queued, limit) = (outbox.len(), self.engine.limits.queued_bytes);
        if queued > limit {
            return Err(SessionError::NotReading { queued, limit });
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.engine.outbox.is_empty()
    }

    /// Whether the client takes [`Self::dma_read`] and [`Self::dma_write`].
    #[must_use]
    pub fn offers_message_dma(&self) -> bool {
        self.engine.dma.is_offered()
    }

    /// Begins to read client memory by messages. The message leaves with the next
    /// [`Self::flush`] or [`Self::receive`]; the answer comes as [`Device::dma_read_done`].
    ///
    /// Long reads are several messages, and become one answer. What is under way when the session
    /// ends is never answered.
    ///
    /// # Errors
    ///
    /// When the range is unusable, too much is under way, or the client takes no such messages.
    pub fn dma_read(&mut self, iova: u64, length: usize) -> Result<RequestId, DmaError> {
        let engine = &mut self.engine;
        engine.dma.read(iova, length, &mut engine.outbox)
    }

    /// Begins to write client memory by messages. The data are copied; the message leaves with
    /// the next [`Self::flush`] or [`Self::receive`]; the answer comes as
    /// [`Device::dma_write_done`].
    ///
    /// # Errors
    ///
    /// When the range is unusable, too much is under way, or the client takes no such messages.
    pub fn dma_write(&mut self, iova: u64, data: &[u8]) -> Result<RequestId, DmaError> {
        let engine = &mut self.engine;
        engine.dma.write(iova, data, &mut engine.outbox)
    }

    /// What the client said about itself; `None` before its first message.
    #[must_use]
    pub fn client(&self) -> Option<&ClientInfo> {
        self.engine.client.as_ref()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.engine.counters
    }

    fn turn(&mut self, device: &mut dyn Device) -> Result<Progress, SessionError> {
        let mut progress = Progress {
            messages: 0,
            more: false,
        };
        let mut budget = self.engine.limits.messages_per_turn.max(1);
        let mut drained = false;
        loop {
            while let Some(frame) = self.inbox.next_frame()? {
                let cost = self.engine.handle(frame, device)?;
                progress.messages = progress.messages.wrapping_add(1);
                if self.engine.outbox.len() > EARLY_FLUSH {
                    self.flush()?;
                }
                budget = budget.saturating_sub(cost);
                if budget == 0 {
                    // What the socket holds makes it readable again; what the buffer holds
                    // does not.
                    progress.more = self.inbox.has_frame();
                    return Ok(progress);
                }
            }
            if drained {
                return Ok(progress);
            }
            let space = self.inbox.space();
            let room = space.len();
            match socket::receive(self.socket.as_fd(), space).map_err(socket_error)? {
                Received::Bytes(count, fds) => {
                    // The kernel ends a read behind file descriptors; any other short read
                    // means that the socket is empty.
                    drained = count < room && fds.list.is_empty() && !fds.lost;
                    self.inbox.filled(count, fds);
                }
                Received::Nothing => return Ok(progress),
                Received::End => return Err(SessionError::Disconnected),
            }
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket_error(error: std::io::Error) -> SessionError {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    match error.kind() {
        BrokenPipe | ConnectionReset => SessionError::Disconnected,
        _ => SessionError::Socket(error),
    }
}
