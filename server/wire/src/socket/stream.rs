//! A stream socket.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, Offload, RxFrame, TxFrame, WireBusy},
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, send},
};

use super::{
    MAX_FRAME, MIN_HEADER, PATIENCE, SocketError, StreamAddress,
    framing::{Framing, Next},
    outbox::Outbox,
    peer::Peer,
};
use crate::{Backend, Counters, host::MIN_FRAME};

/// Bytes that are worth a system call of their own. Fewer are written at the beginning of the next turn.
const BATCH: usize = 64 << 10;
/// When a stream without room is tried again, if no event tells before.
const RETRY: Duration = Duration::from_millis(1);
/// Reads in one turn: a peer that sends as fast as it is read must not keep the rest waiting.
const READS: usize = 8;

/// Frames over a UNIX or TCP stream, as QEMU's `-netdev stream` and passt send them.
///
/// There is a carrier while the stream is connected. A peer that goes, or sends what is no frame, takes it down; it is
/// looked for again, after a pause of 20 ms at first and 1 s at most. One that listens has one peer at a time.
///
/// Frames are gathered and written many at a time, at the end of a turn at the latest. 256 KiB of them wait for a peer
/// that reads slower than the port sends, and then the port waits. A peer that takes nothing for 100 ms no longer holds
/// the port up: frames are lost and counted (`tx_dropped`) until there is room again.
#[derive(Debug)]
pub struct StreamSocket {
    peer: Peer,
    incoming: Framing,
    /// A short frame, padded.
    short: [u8; MIN_FRAME],
    outgoing: Outbox,
    /// The stream had no room, and is tried again then.
    blocked: Option<Time>,
    /// Until when a frame without room waits.
    patience: Option<Time>,
    /// The carrier has gone, which the loop has not seen yet.
    unseen: bool,
    now: Time,
    counters: Counters,
}

impl StreamSocket {
    /// A stream to `address`. The peer need not be there yet.
    ///
    /// # Errors
    /// [`SocketError`], which names the cause and the next step.
    pub fn open(address: &StreamAddress) -> Result<Self, SocketError> {
        Ok(Self {
            peer: Peer::new(address)?,
            incoming: Framing::new(),
            short: [0; MIN_FRAME],
            outgoing: Outbox::new(),
            blocked: None,
            patience: None,
            unseen: false,
            now: Time::ZERO,
            counters: Counters::default(),
        })
    }

    /// Writes what waits, as far as there is room.
    fn flush(&mut self) {
        self.blocked = None;
        while !self.outgoing.pending().is_empty() {
            let Some(stream) = self.peer.stream() else {
                return;
            };
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            match send(stream.as_raw_fd(), self.outgoing.pending(), flags) {
                Ok(count) => self.outgoing.sent(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.blocked = Some(self.now + RETRY);
                    break;
                }
                // Nobody reads any more. That the peer has gone is read, behind what it sent before.
                Err(_) => self.abandon(),
            }
        }
        self.peer.want_room(self.blocked.is_some());
    }

    /// Reads once; whether there is something new.
    fn read(&mut self) -> Read {
        let Some(stream) = self.peer.stream() else {
            return Read::Nothing;
        };
        let space = self.incoming.space();
        match nix::unistd::read(stream, space) {
            Ok(0) => self.end(),
            Ok(count) => {
                let all = count < space.len();
                self.incoming.filled(count);
                return if all { Read::All } else { Read::Some };
            }
            Err(Errno::EINTR) => return Read::Some,
            Err(Errno::EAGAIN) => {}
            Err(_) => self.end(),
        }
        Read::Nothing
    }

    /// What waits is not sent any more.
    fn abandon(&mut self) {
        let lost = self.outgoing.abandon();
        self.counters.tx_dropped = self.counters.tx_dropped.wrapping_add(lost);
    }

    /// The stream is over: there is no further whole frame in it.
    fn end(&mut self) {
        if !self.incoming.is_empty() {
            self.counters.count_framing_error();
        }
        self.abandon();
        self.incoming.clear();
        self.blocked = None;
        self.patience = None;
        self.unseen = true;
        self.peer.lost(self.now);
    }

    /// There is no room for a frame: waits, or loses it.
    fn full(&mut self, len: usize) -> Result<(), WireBusy> {
        let limit = *self.patience.get_or_insert(self.now + PATIENCE);
        if self.now < limit {
            return Err(WireBusy);
        }
        self.lose(len);
        Ok(())
    }

    fn lose(&mut self, len: usize) {
        self.counters.count_tx(len);
        self.counters.count_tx_dropped();
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// No bytes.
    Nothing,
    /// Bytes, and there may be more.
    Some,
    /// All bytes that there were.
    All,
}

impl Wire for StreamSocket {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let len = frame.len();
        let sendable = (1..=MAX_FRAME).contains(&len) && frame.offload == Offload::None;
        if self.peer.stream().is_none() || !sendable {
            self.lose(len);
            return Ok(());
        }
        if !self.outgoing.push(frame) {
            if self.blocked.is_none() {
                self.flush();
            }
            if self.peer.stream().is_none() {
                self.lose(len);
                return Ok(());
            }
            if !self.outgoing.push(frame) {
                return self.full(len);
            }
        }
        self.patience = None;
        self.counters.count_tx(len);
        if self.blocked.is_none() && self.outgoing.pending().len() >= BATCH {
            self.flush();
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let (mut received, mut seen, mut reads) = (0, 0, 0);
        let mut read = Read::Some;
        while seen < budget {
            let frame = match self.incoming.next() {
                Next::Frame(frame) => frame,
                Next::Incomplete if read == Read::Some && reads < READS => {
                    reads += 1;
                    read = self.read();
                    continue;
                }
                Next::Incomplete => break,
                Next::Malformed => {
                    self.end();
                    break;
                }
            };
            seen += 1;
            self.incoming.take(&frame);
            let bytes = self.incoming.bytes(frame);
            let bytes = match bytes.len() {
                ..MIN_HEADER => {
                    self.counters.count_rx_dropped();
                    continue;
                }
                len @ ..MIN_FRAME => {
                    let (start, padding) = self.short.split_at_mut(len);
                    start.copy_from_slice(bytes);
                    padding.fill(0);
                    &self.short[..]
                }
                _ => bytes,
            };
            self.counters.count_rx(bytes.len());
            received += 1;
            if sink(&RxFrame::new(bytes)) == Flow::Stop {
                break;
            }
        }
        received
    }

    fn carrier(&self) -> bool {
        self.peer.stream().is_some()
    }
}

impl Backend for StreamSocket {
    fn describe(&self) -> String {
        format!("stream {}", self.peer.address())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.peer.events())
    }

    fn has_frames(&self) -> bool {
        self.incoming.next() != Next::Incomplete
    }

    fn deadline(&self) -> Option<Time> {
        let waits = !self.outgoing.pending().is_empty() && self.blocked.is_none();
        if waits || self.unseen {
            return Some(Time::ZERO);
        }
        self.blocked.or_else(|| self.peer.deadline())
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        self.unseen = false;
        if self.peer.seek(now) {
            self.counters.count_connection();
        }
        if !self.outgoing.pending().is_empty() {
            self.flush();
        }
    }

    /// A stream cannot say it.
    fn set_far_link(&mut self, _up: bool) {}

    fn counters(&self) -> Counters {
        self.counters
    }
}
