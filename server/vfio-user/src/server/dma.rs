//! Access to client memory by messages: `DMA_READ` and `DMA_WRITE` from server to client.
//!
//! Two habits of QEMU shape it. It serves these messages when it gets to it, and not while it
//! waits for an answer of ours, so nothing here waits. And it drops the connection when its
//! answers do not fit into its socket at once, so no more than [`READ_WINDOW`] bytes of reads
//! are under way at a time; what is beyond waits here.

use std::collections::VecDeque;

use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use super::{Device, IovaRange, RequestId};
use crate::Errno;
use crate::message::{Command, DmaAccess, Header, HeaderFlags, Request};
use crate::outbox::Outbox;

/// Data bytes of reads under way, and so also the most for one read message.
const READ_WINDOW: usize = 64 * 1024;

/// Messages under way.
const MESSAGE_WINDOW: usize = 256;

/// Why a message DMA was not even begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DmaError {
    /// Only a client that once mapped memory without a file is known to take such messages;
    /// cloud-hypervisor's does not.
    #[error("the client has not mapped any memory without a file, so it may not take DMA messages")]
    NotOffered,
    /// The length is 0, or more than [`Limits::dma_bytes`](super::Limits::dma_bytes).
    #[error("{length} bytes are no length for a DMA message; 1 to {limit} are")]
    Length {
        /// What was asked for.
        length: usize,
        /// The most at once.
        limit: usize,
    },
    /// The range ends above 2^64.
    #[error("the range of {length} bytes at {address:#x} ends above 2^64")]
    Range {
        /// The range's first address.
        address: u64,
        /// Its length in bytes.
        length: usize,
    },
    /// Too much is under way; answers have to come in first.
    #[error("too many DMA messages are waiting for the client")]
    Busy,
}

/// The operations that the client has not finished, and their messages.
#[derive(Debug)]
pub(super) struct MessageDma {
    offered: bool,
    /// The most data bytes in one message.
    largest: usize,
    /// See [`Limits::dma_bytes`](super::Limits::dma_bytes).
    limit: usize,
    last_request: u64,
    last_message: u16,
    /// Not all of it is sent; ordered by id. Only the first may be sent in part.
    waiting: VecDeque<Operation>,
    /// All of it is sent; ordered by id.
    issued: VecDeque<Operation>,
    in_flight: VecDeque<InFlight>,
    /// Data bytes of the reads in `in_flight`.
    reading: usize,
    read_bytes: usize,
    write_bytes: usize,
}

#[derive(Debug)]
struct Operation {
    id: RequestId,
    direction: Direction,
    address: u64,
    length: usize,
    issued: usize,
    finished: usize,
    failure: Option<Errno>,
    /// Of a read in several messages: what came so far. Of a waiting write: what to send.
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

#[derive(Debug)]
struct InFlight {
    message: u16,
    operation: RequestId,
    direction: Direction,
    /// Where in the operation.
    offset: usize,
    length: usize,
}

impl MessageDma {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            offered: false,
            largest: READ_WINDOW,
            limit,
            last_request: 0,
            last_message: 0,
            waiting: VecDeque::new(),
            issued: VecDeque::new(),
            in_flight: VecDeque::new(),
            reading: 0,
            read_bytes: 0,
            write_bytes: 0,
        }
    }

    /// Takes over what both sides agreed on as the most data bytes in a message.
    pub(super) fn negotiated(&mut self, max_data_xfer_size: u32) {
        self.largest = usize::try_from(max_data_xfer_size)
            .unwrap_or(usize::MAX)
            .min(READ_WINDOW);
    }

    /// The client mapped memory without a file, so it takes messages.
    pub(super) fn offered(&mut self) {
        self.offered = true;
    }

    /// Whether messages can be sent at all.
    pub(super) fn is_offered(&self) -> bool {
        self.offered && self.largest != 0
    }

    pub(super) fn read(
        &mut self,
        address: u64,
        length: usize,
        outbox: &mut Outbox,
    ) -> Result<RequestId, DmaError> {
        let id = self.admit(address, length, self.read_bytes)?;
        self.read_bytes = self.read_bytes.saturating_add(length);
        let data = if length > self.largest {
            vec![0; length]
        } else {
            Vec::new()
        };
        self.waiting
            .push_back(Operation::new(id, Direction::Read, address, length, data));
        self.issue(outbox);
        Ok(id)
    }

    pub(super) fn write(
        &mut self,
        address: u64,
        data: &[u8],
        outbox: &mut Outbox,
    ) -> Result<RequestId, DmaError> {
        let id = self.admit(address, data.len(), self.write_bytes)?;
        self.write_bytes = self.write_bytes.saturating_add(data.len());
        let mut operation = Operation::new(id, Direction::Write, address, data.len(), Vec::new());
        if self.waiting.is_empty() {
            // The usual case: from the caller's bytes straight into the outbox.
            while operation.issued < operation.length && self.in_flight.len() < MESSAGE_WINDOW {
                self.issue_one(&mut operation, data, outbox);
            }
        }
        if operation.issued == operation.length {
            self.issued.push_back(operation);
        } else {
            operation.data = data.to_vec();
            self.waiting.push_back(operation);
        }
        Ok(id)
    }

    /// Takes a reply; tells the device when it was the last of its operation. `false` when
    /// nobody waits for such a reply.
    pub(super) fn complete(
        &mut self,
        header: &Header,
        payload: &[u8],
        device: &mut dyn Device,
        outbox: &mut Outbox,
    ) -> bool {
        let direction = match header.number() {
            Command::DMA_READ => Direction::Read,
            Command::DMA_WRITE => Direction::Write,
            _ => return false,
        };
        let id = header.id.get();
        let Some(place) = self
            .in_flight
            .iter()
            .position(|message| message.message == id && message.direction == direction)
        else {
            return false;
        };
        let Some(message) = self.in_flight.remove(place) else {
            return false;
        };
        if direction == Direction::Read {
            self.reading = self.reading.saturating_sub(message.length);
        }
        let outcome = match header.failure() {
            Some(errno) => Err(errno),
            None if direction == Direction::Read => read_data(payload, message.length),
            None => Ok(&[][..]),
        };
        self.account(&message, outcome, device);
        self.issue(outbox);
        true
    }

    /// Checks what can be checked at once, and gives the operation its number.
    fn admit(&mut self, address: u64, length: usize, queued: usize) -> Result<RequestId, DmaError> {
        if !self.is_offered() {
            return Err(DmaError::NotOffered);
        }
        let size = u64::try_from(length).unwrap_or(u64::MAX);
        if length == 0 || length > self.limit {
            return Err(DmaError::Length {
                length,
                limit: self.limit,
            });
        }
        if IovaRange::new(address, size).is_none() {
            return Err(DmaError::Range { address, length });
        }
        let operations = self.waiting.len().saturating_add(self.issued.len());
        if queued.saturating_add(length) > self.limit || operations >= 4 * MESSAGE_WINDOW {
            return Err(DmaError::Busy);
        }
        self.last_request = self.last_request.wrapping_add(1);
        Ok(RequestId(self.last_request))
    }

    /// Sends what the windows allow, in order.
    fn issue(&mut self, outbox: &mut Outbox) {
        while let Some(mut operation) = self.waiting.pop_front() {
            let data = std::mem::take(&mut operation.data);
            while operation.issued < operation.length && self.may_issue(&operation) {
                self.issue_one(&mut operation, &data, outbox);
            }
            if operation.issued < operation.length {
                operation.data = data;
                self.waiting.push_front(operation);
                return;
            }
            if operation.direction == Direction::Read {
                operation.data = data;
            }
            self.issued.push_back(operation);
        }
    }

    fn may_issue(&self, operation: &Operation) -> bool {
        let next = operation.next_length(self.largest);
        let fits = match operation.direction {
            Direction::Read => self.reading.saturating_add(next) <= READ_WINDOW,
            Direction::Write => true,
        };
        fits && self.in_flight.len() < MESSAGE_WINDOW
    }

    /// Sends the operation's next message; `data` is all of a write's.
    fn issue_one(&mut self, operation: &mut Operation, data: &[u8], outbox: &mut Outbox) {
        let offset = operation.issued;
        let length = operation.next_length(self.largest);
        let end = offset.saturating_add(length);
        let access = DmaAccess {
            address: U64::new(
                operation
                    .address
                    .wrapping_add(u64::try_from(offset).unwrap_or_default()),
            ),
            count: U64::new(u64::try_from(length).unwrap_or_default()),
        };
        let request = match operation.direction {
            Direction::Read => {
                self.reading = self.reading.saturating_add(length);
                Request::DmaRead(access)
            }
            Direction::Write => {
                Request::DmaWrite(access, data.get(offset..end).unwrap_or_default())
            }
        };
        let message = self.free_message_id();
        request.encode_into(message, HeaderFlags::empty(), outbox.buffer());
        self.in_flight.push_back(InFlight {
            message,
            operation: operation.id,
            direction: operation.direction,
            offset,
            length,
        });
        operation.issued = end;
    }

    /// The next number that no message under way has.
    fn free_message_id(&mut self) -> u16 {
        loop {
            self.last_message = self.last_message.wrapping_add(1);
            let id = self.last_message;
            // Ends at once, as at most `MESSAGE_WINDOW` of 65536 numbers are taken.
            if self.in_flight.iter().all(|message| message.message != id) {
                return id;
            }
        }
    }

    /// Books one message's outcome on its operation.
    fn account(
        &mut self,
        message: &InFlight,
        outcome: Result<&[u8], Errno>,
        device: &mut dyn Device,
    ) {
        let place = self
            .issued
            .binary_search_by_key(&message.operation, |operation| operation.id);
        let operation = match place {
            Ok(place) => self.issued.get_mut(place),
            // All but the first of the waiting have nothing under way.
            Err(_) => self.waiting.front_mut(),
        };
        let Some(operation) = operation.filter(|operation| operation.id == message.operation)
        else {
            return;
        };
        operation.finished = operation.finished.saturating_add(message.length);
        let direct = match outcome {
            Ok(data) if message.length == operation.length => data,
            Ok(data) => {
                let end = message.offset.saturating_add(data.len());
                if let Some(part) = operation.data.get_mut(message.offset..end)
                    && operation.direction == Direction::Read
                {
                    part.copy_from_slice(data);
                }
                &[]
            }
            Err(errno) => {
                operation.failure.get_or_insert(errno);
                &[]
            }
        };
        let stopped = operation.failure.is_some();
        let end = if stopped {
            operation.issued
        } else {
            operation.length
        };
        if operation.finished < end {
            return;
        }
        let done = match place {
            Ok(place) => self.issued.remove(place),
            Err(_) => self.waiting.pop_front(),
        };
        if let Some(done) = done {
            self.finish(&done, direct, device);
        }
    }

    fn finish(&mut self, operation: &Operation, direct: &[u8], device: &mut dyn Device) {
        match operation.direction {
            Direction::Read => {
                self.read_bytes = self.read_bytes.saturating_sub(operation.length);
                let data = if operation.data.is_empty() {
                    direct
                } else {
                    &operation.data
                };
                device.dma_read_done(operation.id, operation.failure.map_or(Ok(data), Err));
            }
            Direction::Write => {
                self.write_bytes = self.write_bytes.saturating_sub(operation.length);
                device.dma_write_done(operation.id, operation.failure.map_or(Ok(()), Err));
            }
        }
    }
}

impl Operation {
    fn new(
        id: RequestId,
        direction: Direction,
        address: u64,
        length: usize,
        data: Vec<u8>,
    ) -> Self {
        Self {
            id,
            direction,
            address,
            length,
            issued: 0,
            finished: 0,
            failure: None,
            data,
        }
    }

    /// Data bytes of the next message.
    fn next_length(&self, largest: usize) -> usize {
        self.length.saturating_sub(self.issued).min(largest)
    }
}

/// The data of a reply to a read of `length` bytes.
fn read_data(payload: &[u8], length: usize) -> Result<&[u8], Errno> {
    let (access, data) = DmaAccess::read_from_prefix(payload).map_err(|_| Errno::IO)?;
    let complete = data.len() == length && u64::try_from(length) == Ok(access.count.get());
    if complete { Ok(data) } else { Err(Errno::IO) }
}
