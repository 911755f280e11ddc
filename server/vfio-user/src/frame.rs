//! Cuts a byte stream into messages, and finds for each the file descriptors that came with it.
//!
//! # Whose file descriptors?
//!
//! One read takes in many messages. The kernel ends a read behind the piece that carried file
//! descriptors, so they belong to the end of the bytes that the read brought. A sender gives
//! every message its own `sendmsg` (QEMU and cloud-hypervisor do), so its owner is the last
//! message of the read. Should a sender put several messages into one call, the last of them
//! that can take file descriptors gets them.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;

use zerocopy::FromBytes;

use crate::message::{Command, HEADER_SIZE, Header, MessageType};

/// At least so much room is offered to one read, in bytes.
const READ_WINDOW: usize = 64 * 1024;

/// The most file descriptors that Linux passes in one go (`SCM_MAX_FD`), and so the most that
/// are kept for one message.
pub(crate) const SCM_MAX_FD: usize = 253;

/// A message that arrived whole. Its file descriptors are closed with it, unless taken.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The header; its size is the frame's true length.
    pub header: Header,
    /// Everything behind the header.
    pub payload: &'a [u8],
    /// What came along.
    pub fds: Fds,
}

/// The file descriptors of one message.
#[derive(Debug, Default)]
pub struct Fds {
    /// In the order in which they were sent.
    pub list: Vec<OwnedFd>,
    /// Some were lost: this process had no free number for them, or they were too many for one
    /// message.
    pub lost: bool,
}

/// The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a {command} message says that it is {size} bytes long; {HEADER_SIZE} to {limit} are possible"
)]
pub struct FrameError {
    /// The command field of the header.
    pub command: Command,
    /// What the header says.
    pub size: u32,
    /// The longest message that is taken.
    pub limit: usize,
}

/// Bytes in, messages out, with one buffer for ever.
#[derive(Debug)]
pub struct FrameBuffer {
    buffer: Vec<u8>,
    /// The bytes that are not consumed yet.
    filled: Range<usize>,
    /// The longest message that is taken.
    limit: usize,
    /// File descriptors of messages not yet consumed, by where the message starts, counted from
    /// the beginning of the stream.
    fds: VecDeque<(u64, Fds)>,
    /// Position in the stream of `filled.start`.
    position: u64,
}

impl FrameBuffer {
    /// A buffer for messages of up to `limit` bytes, header included.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(HEADER_SIZE);
        Self {
            // Zero pages of the kernel until they are first used.
            buffer: vec![0; limit.saturating_add(READ_WINDOW)],
            filled: 0..0,
            limit,
            fds: VecDeque::new(),
            position: 0,
        }
    }

    /// Where the next read should put its bytes: never empty, enough for the rest of the
    /// message that has begun.
    ///
    /// Complete messages should be consumed first, as what is left moves to the front.
    pub fn space(&mut self) -> &mut [u8] {
        if self.filled.start != 0 {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        let missing = match self.header_at(self.filled.start) {
            Some(header) => frame_length(&header).saturating_sub(self.filled.len()),
            None => 0,
        };
        let end = self
            .filled
            .end
            .saturating_add(missing.max(READ_WINDOW))
            .min(self.buffer.len());
        self.buffer
            .get_mut(self.filled.end..end)
            .unwrap_or_default()
    }

    /// Tells that a read put `count` bytes into [`Self::space`], with these file descriptors.
    ///
    /// # Panics
    ///
    /// When `count` is more than the space was.
    pub fn filled(&mut self, count: usize, fds: Fds) {
        let start = self.filled.end;
        let end = start
            .checked_add(count)
            .filter(|end| *end <= self.buffer.len())
            .expect("a read cannot bring more than it had room for");
        self.filled.end = end;
        if !fds.list.is_empty() || fds.lost {
            let owner = self.owner(start);
            self.keep_fds(owner, fds);
        }
    }

    /// The next complete message.
    ///
    /// # Errors
    ///
    /// When its size is impossible. The stream is then of no more use.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let Some(header) = self.header_at(self.filled.start) else {
            return Ok(None);
        };
        let length = frame_length(&header);
        if length < HEADER_SIZE || length > self.limit {
            return Err(FrameError {
                command: header.number(),
                size: header.size.get(),
                limit: self.limit,
            });
        }
        if length > self.filled.len() {
            return Ok(None);
        }
        let fds = self.take_fds();
        let start = self.filled.start;
        self.filled.start = start.saturating_add(length);
        self.position = self
            .position
            .wrapping_add(u64::try_from(length).unwrap_or_default());
        let payload = self
            .buffer
            .get(start.saturating_add(HEADER_SIZE)..self.filled.start)
            .unwrap_or_default();
        Ok(Some(Frame {
            header,
            payload,
            fds,
        }))
    }

    /// Whether [`Self::next_frame`] would find a message, or an error, without another read.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.header_at(self.filled.start).is_some_and(|header| {
            let length = frame_length(&header);
            length < HEADER_SIZE || length > self.limit || length <= self.filled.len()
        })
    }

    /// The file descriptors of the message at the front.
    #[inline]
    fn take_fds(&mut self) -> Fds {
        match self.fds.front() {
            Some((owner, _)) if *owner == self.position => {
                self.fds.pop_front().map(|(_, fds)| fds).unwrap_or_default()
            }
            _ => Fds::default(),
        }
    }

    /// Adds to what the message at `owner` has, as far as one message can have it.
    fn keep_fds(&mut self, owner: u64, more: Fds) {
        match self.fds.back_mut() {
            Some((last, fds)) if *last == owner => {
                let room = SCM_MAX_FD.saturating_sub(fds.list.len());
                fds.lost |= more.lost || more.list.len() > room;
                fds.list.extend(more.list.into_iter().take(room));
            }
            _ => self.fds.push_back((owner, more)),
        }
    }

    #[inline]
    fn header_at(&self, at: usize) -> Option<Header> {
        let bytes = self.buffer.get(at..self.filled.end)?;
        Header::read_from_prefix(bytes)
            .ok()
            .map(|(header, _)| header)
    }

    /// Where in the stream the message starts that owns file descriptors which came with the
    /// bytes from `read_start` to the end.
    fn owner(&self, read_start: usize) -> u64 {
        let mut at = self.filled.start;
        let mut last = at;
        let mut taker = None;
        while at < self.filled.end {
            last = at;
            let Some(header) = self.header_at(at) else {
                break;
            };
            let end = at.saturating_add(frame_length(&header));
            if end > read_start && takes_fds(&header) {
                taker = Some(at);
            }
            if frame_length(&header) < HEADER_SIZE {
                break;
            }
            at = end;
        }
        let owner = taker.unwrap_or(last);
        let ahead = owner.saturating_sub(self.filled.start);
        self.position
            .wrapping_add(u64::try_from(ahead).unwrap_or_default())
    }
}

/// Whether this message can make use of file descriptors.
fn takes_fds(header: &Header) -> bool {
    let command = header.number();
    match header.message_type() {
        MessageType::Command => {
            matches!(command, Command::DMA_MAP | Command::DEVICE_SET_IRQS)
        }
        MessageType::Reply => matches!(
            command,
            Command::VERSION | Command::DEVICE_GET_REGION_INFO | Command::DEVICE_GET_REGION_IO_FDS
        ),
        MessageType::Unknown(_) => false,
    }
}

fn frame_length(header: &Header) -> usize {
    usize::try_from(header.size.get()).unwrap_or(usize::MAX)
}
