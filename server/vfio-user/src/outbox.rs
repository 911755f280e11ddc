//! Messages that wait to be sent.
//!
//! QEMU takes a header that arrives in two pieces for the end of the connection. A UNIX socket
//! queues up to about 48 KiB as one piece or not at all, so what goes into one system call is
//! either several whole messages within that size, or one message that is longer.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use zerocopy::{FromBytes, IntoBytes};

use crate::message::{HEADER_SIZE, Header};
use crate::{Errno, socket};

/// Messages are put together up to this many bytes in one system call.
const PIECE: usize = 32 * 1024;

/// Above this capacity an emptied buffer is given back.
const KEPT_CAPACITY: usize = 256 * 1024;

/// A queue of encoded messages.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How much of `bytes` is sent already.
    sent: usize,
    /// How much of the message at `sent` is still to go, if it is cut in two.
    cut: usize,
    /// A file descriptor for the message that starts there in `bytes`.
    fds: VecDeque<(usize, Arc<OwnedFd>)>,
}

/// Where a message begins that may have to be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize);

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Remembers where the next message begins.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.bytes.len())
    }

    /// Takes back everything since the mark.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.0);
        while self.fds.back().is_some_and(|(at, _)| *at >= mark.0) {
            self.fds.pop_back();
        }
    }

    /// Queues a message, its payload in parts.
    pub(crate) fn push(&mut self, header: &Header, parts: &[&[u8]]) {
        self.bytes.extend_from_slice(header.as_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Queues a message that carries a file descriptor.
    pub(crate) fn push_with_fd(&mut self, header: &Header, parts: &[&[u8]], fd: Arc<OwnedFd>) {
        self.fds.push_back((self.bytes.len(), fd));
        self.push(header, parts);
    }

    /// Queues a message whose last `count` bytes the caller fills in.
    pub(crate) fn push_zeroed(&mut self, header: &Header, fixed: &[u8], count: usize) -> &mut [u8] {
        self.push(header, &[fixed]);
        let start = self.bytes.len();
        self.bytes.resize(start.saturating_add(count), 0);
        self.bytes.get_mut(start..).unwrap_or_default()
    }

    /// Queues an error reply.
    pub(crate) fn push_error(&mut self, request: &Header, errno: Errno) {
        self.push(&request.error_reply(errno), &[]);
    }

    /// The buffer, to encode a command at its end.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sends what the socket takes without waiting.
    ///
    /// # Errors
    ///
    /// When the peer is gone, or the socket fails in another way.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while !self.is_empty() {
            let length = self.next_piece();
            let piece = self
                .bytes
                .get(self.sent..self.sent.saturating_add(length))
                .unwrap_or_default();
            let count = match self.fds.front() {
                Some((at, fd)) if *at == self.sent => socket::send(socket, piece, &[fd.as_fd()])?,
                _ => socket::send(socket, piece, &[])?,
            };
            if count == 0 {
                break;
            }
            self.advance(count);
        }
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_CAPACITY);
            self.sent = 0;
        } else if self.sent > KEPT_CAPACITY {
            self.bytes.drain(..self.sent);
            for (at, _) in &mut self.fds {
                *at = at.saturating_sub(self.sent);
            }
            self.sent = 0;
        }
        Ok(())
    }

    /// How many bytes from `sent` on may go into one system call.
    fn next_piece(&self) -> usize {
        if self.cut != 0 {
            return self.cut;
        }
        let next_fd = match self.fds.front() {
            Some((at, _)) if *at == self.sent => return self.message_length(self.sent),
            Some((at, _)) => *at,
            None => self.bytes.len(),
        };
        let whole = next_fd.saturating_sub(self.sent);
        if whole <= PIECE {
            return whole;
        }
        let mut end = self.sent;
        while end < next_fd {
            let longer = end.saturating_add(self.message_length(end));
            if longer.saturating_sub(self.sent) > PIECE {
                break;
            }
            end = longer;
        }
        match end.saturating_sub(self.sent) {
            0 => self.message_length(self.sent),
            length => length,
        }
    }

    /// The length of the message that starts there, header included.
    fn message_length(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = match Header::read_from_prefix(rest) {
            Ok((header, _)) => usize::try_from(header.size.get()).unwrap_or(usize::MAX),
            Err(_) => rest.len(),
        };
        length.clamp(HEADER_SIZE.min(rest.len()), rest.len())
    }

    /// Notes that `count` bytes went out.
    fn advance(&mut self, count: usize) {
        let end = self.sent.saturating_add(count);
        if end >= self.bytes.len() {
            self.cut = 0;
        } else if self.cut != 0 {
            self.cut = self.cut.saturating_sub(count);
        } else {
            let mut at = self.sent;
            while at < end {
                at = at.saturating_add(self.message_length(at));
            }
            self.cut = at.saturating_sub(end);
        }
        self.sent = end;
        while self.fds.front().is_some_and(|(at, _)| *at < end) {
            self.fds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::message::{Command, HeaderFlags};

    fn header(id: u16, payload: usize) -> Header {
        let payload = u32::try_from(payload).unwrap();
        Header::command(id, Command::DMA_WRITE, payload, HeaderFlags::empty())
    }

    /// An outbox with messages of these payload lengths.
    fn outbox(lengths: &[usize]) -> Outbox {
        let mut outbox = Outbox::default();
        for (id, length) in (0..).zip(lengths) {
            outbox.push(&header(id, *length), &[&vec![0x11; *length]]);
        }
        outbox
    }

    #[test]
    fn short_messages_go_out_together() {
        assert_eq!(outbox(&[16, 0, 100]).next_piece(), 3 * 16 + 116);
    }

    #[test]
    fn a_piece_ends_with_a_whole_message() {
        let outbox = outbox(&[20_000, 10_000, 10_000]);
        assert_eq!(outbox.next_piece(), 30_032);
    }

    #[test]
    fn a_long_message_goes_out_alone() {
        let mut outbox = outbox(&[100_000, 16]);
        assert_eq!(outbox.next_piece(), 100_016);
        outbox.advance(100_016);
        assert_eq!(outbox.next_piece(), 32);
    }

    #[test]
    fn the_rest_of_a_cut_message_goes_out_alone() {
        let mut outbox = outbox(&[100_000, 16]);
        outbox.advance(40_000);
        assert_eq!(outbox.next_piece(), 60_016);
        outbox.advance(60_015);
        assert_eq!(outbox.next_piece(), 1);
        outbox.advance(1);
        assert_eq!(outbox.next_piece(), 32);
    }

    #[test]
    fn a_message_with_a_file_begins_a_piece() {
        let (fd, _) = UnixStream::pair().unwrap();
        let fd = Arc::new(OwnedFd::from(fd));
        let mut outbox = outbox(&[16]);
        outbox.push_with_fd(&header(1, 4), &[&[0; 4]], fd);
        outbox.push(&header(2, 0), &[]);
        assert_eq!(outbox.next_piece(), 32);
        outbox.advance(32);
        assert_eq!(outbox.next_piece(), 20);
    }

    #[test]
    fn a_message_that_is_taken_back_leaves_nothing() {
        let (fd, _) = UnixStream::pair().unwrap();
        let mut outbox = outbox(&[8]);
        let mark = outbox.mark();
        outbox.push_with_fd(&header(1, 4), &[&[0; 4]], Arc::new(OwnedFd::from(fd)));
        outbox.rewind(mark);
        assert_eq!(outbox.len(), 24);
        assert!(outbox.fds.is_empty());
    }

    #[test]
    fn what_a_full_socket_does_not_take_follows_when_it_is_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let lengths = [100, 300_000, 7, 200_000, 0, 400_000];
        let mut outbox = outbox(&lengths);
        let expected = outbox.bytes.clone();
        let mut received = Vec::new();

        outbox.flush(ours.as_fd()).unwrap();
        assert!(!outbox.is_empty());
        while received.len() < expected.len() {
            let mut part = [0; 10_000];
            let count = theirs.read(&mut part).unwrap();
            received.extend_from_slice(&part[..count]);
            outbox.flush(ours.as_fd()).unwrap();
        }

        assert!(received == expected);
        assert!(outbox.is_empty());
    }
}
