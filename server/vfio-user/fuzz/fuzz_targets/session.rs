//! A client that sends anything to a server session.
//!
//! Run it from `server/vfio-user` by `cargo +nightly fuzz run session`.
//!
//! The first byte of an input is its kind:
//!
//! - even: the rest is the byte stream of a client that has not sent anything yet;
//! - odd: the client has negotiated, and the rest is a list of steps. A step is a head of four
//!   bytes and a payload:
//!
//!   | byte | meaning |
//!   |---|---|
//!   | 0 | the command's number; from 240 on something else, see [`Step::other`] |
//!   | 1 | the header's flags |
//!   | 2 | low nibble: eventfds to send along; high nibble: hold the message back if it is not 0 |
//!   | 3 | the payload's length |
//!
//! A message that is held back goes out in one piece with the next.
//!
//! Besides not panicking, the session must give its device nothing but what the description
//! allows, and its client nothing but well-formed messages, as many replies as it is owed.

#![no_main]

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vfio_user::Errno;
use vfio_user::client::Options;
use vfio_user::frame::{Fds, FrameBuffer};
use vfio_user::message::{
    Command, DeviceFlags, HEADER_SIZE, Header, HeaderFlags, IrqFlags, MessageType,
};
use vfio_user::server::{
    Description, Device, DmaMapping, DmaRange, Irq, IrqOperation, IrqSelection, IrqUpdate, Limits,
    Migratable,
    Region, RequestId, Session, SessionError,
};

const REGION_SIZES: [u64; 9] = [512 << 10, 0, 32, 0, 16 << 10, 0, 0, 4096, 0];
const IRQ_COUNTS: [u32; 5] = [1, 1, 64, 1, 1];
const MAX_DATA_XFER_SIZE: u32 = 64 << 10;

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    let mut world = World::new();
    if kind % 2 == 0 {
        world.stream(rest);
    } else {
        world.steps(rest);
    }
});

struct World {
    session: Session,
    device: Checked,
    peer: UnixStream,
    /// What the peer was sent.
    inbox: FrameBuffer,
    /// Replies that the peer is owed at most.
    owed: u64,
    replies: u64,
}

/// A device that looks at its callers' promises.
#[derive(Default)]
struct Checked {
    last_done: Option<RequestId>,
}

impl World {
    fn new() -> Self {
        let (ours, peer) = UnixStream::pair().unwrap();
        peer.set_nonblocking(true).unwrap();
        let limits = Limits {
            max_data_xfer_size: MAX_DATA_XFER_SIZE,
            messages_per_turn: 7,
            queued_bytes: 1 << 20,
            dma_bytes: 200_000,
            ..Limits::default()
        };
        let description = Description {
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            regions: REGION_SIZES.map(Region::trapped).to_vec(),
            irqs: IRQ_COUNTS
                .map(|count| Irq {
                    flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
                    count,
                })
                .to_vec(),
        };
        Self {
            session: Session::new(ours, limits, description),
            device: Checked::default(),
            peer,
            inbox: FrameBuffer::new(100_000),
            owed: 0,
            replies: 0,
        }
    }

    fn stream(&mut self, bytes: &[u8]) {
        // Sixteen bytes are the least that can earn a reply.
        self.owed = u64::try_from(bytes.len() / HEADER_SIZE).unwrap();
        for piece in bytes.chunks(1000) {
            self.peer.write_all(piece).unwrap();
            if self.run().is_err() {
                return;
            }
        }
    }

    fn steps(&mut self, bytes: &[u8]) {
        self.negotiate();
        let mut rest = bytes;
        let mut held = Vec::new();
        while let [command, flags, how, length, after @ ..] = rest {
            let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
            rest = after;
            let step = Step {
                command: *command,
                flags: *flags,
                payload,
            };
            if step.command >= 240 {
                step.other(&mut self.session);
            } else {
                step.message(&mut held);
                let header = HeaderFlags::from_bits_retain(u32::from(*flags));
                self.owed += u64::from(!header.contains(HeaderFlags::NO_REPLY));
                if how >> 4 != 0 && held.len() < 8000 {
                    continue;
                }
                let fds: Vec<OwnedFd> = (0..how & 0xf)
                    .map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap())
                    .collect();
                self.send(&held, &fds);
                held.clear();
            }
            if self.run().is_err() {
                return;
            }
        }
    }

    fn negotiate(&mut self) {
        let mut hello = Vec::new();
        let data = Options::default().capabilities.to_version_data();
        let payload = [&[0; 4][..], &data].concat();
        let header = Header::command(
            0,
            Command::VERSION,
            u32::try_from(payload.len()).unwrap(),
            HeaderFlags::empty(),
        );
        push(&mut hello, &header, &payload);
        self.owed += 1;
        self.send(&hello, &[]);
        self.run().unwrap();
    }

    fn send(&self, bytes: &[u8], fds: &[OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let mut control = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(15))];
        let mut control = SendAncillaryBuffer::new(&mut control);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let iov = [IoSlice::new(bytes)];
        let sent = sendmsg(&self.peer, &iov, &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()));
    }

    /// Lets the session work until it rests, and checks what it sent.
    fn run(&mut self) -> Result<(), SessionError> {
        loop {
            let outcome = self.session.receive(&mut self.device);
            self.read_replies();
            match outcome {
                Ok(progress) if progress.more || self.session.wants_write() => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read_replies(&mut self) {
        loop {
            let count = match self.peer.read(self.inbox.space()) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // The session is gone, and left something of ours unread.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            };
            self.inbox.filled(count, Fds::default());
            while let Some(frame) = self.inbox.next_frame().unwrap() {
                let header = frame.header;
                match header.message_type() {
                    MessageType::Command => assert!(matches!(
                        header.number(),
                        Command::DMA_READ | Command::DMA_WRITE
                    )),
                    MessageType::Reply => {
                        self.replies += 1;
                        assert!(self.replies <= self.owed);
                        let failed = header.flags().contains(HeaderFlags::ERROR);
                        assert_eq!(failed, header.error.get() != 0);
                        assert!(!failed || frame.payload.is_empty());
                    }
                    MessageType::Unknown(_) => panic!("{header:?}"),
                }
            }
        }
    }
}

struct Step<'a> {
    command: u8,
    flags: u8,
    payload: &'a [u8],
}

impl Step<'_> {
    /// Appends a message with a true size.
    fn message(&self, out: &mut Vec<u8>) {
        let header = Header::command(
            // Small numbers, so that replies hit what is under way.
            u16::from(self.payload.first().copied().unwrap_or(0)),
            Command(u16::from(self.command)),
            u32::try_from(self.payload.len()).unwrap(),
            HeaderFlags::from_bits_retain(u32::from(self.flags)),
        );
        push(out, &header, self.payload);
    }

    /// 240 to 247: message DMA read, 248 to 255: write; the length is in units of 1 KiB.
    fn other(&self, session: &mut Session) {
        let length = usize::from(self.flags) * 1024;
        let iova = u64::from(self.payload.first().copied().unwrap_or(0)) << 12;
        // May be refused for good reasons.
        if self.command < 248 {
            let _ = session.dma_read(iova, length);
        } else {
            let _ = session.dma_write(iova, &vec![0xd3; length]);
        }
    }
}

fn push(out: &mut Vec<u8>, header: &Header, payload: &[u8]) {
    out.extend_from_slice(&header.id.get().to_le_bytes());
    out.extend_from_slice(&header.command.get().to_le_bytes());
    out.extend_from_slice(&header.size.get().to_le_bytes());
    out.extend_from_slice(&header.flags.get().to_le_bytes());
    out.extend_from_slice(&header.error.get().to_le_bytes());
    out.extend_from_slice(payload);
}

impl Checked {
    fn access(region: u32, offset: u64, length: usize) {
        let size = REGION_SIZES[usize::try_from(region).unwrap()];
        assert!(length > 0);
        assert!(offset + u64::try_from(length).unwrap() <= size);
    }
}

impl Device for Checked {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        Self::access(region, offset, data.len());
        assert!(data.len() <= usize::try_from(MAX_DATA_XFER_SIZE).unwrap());
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        Self::access(region, offset, data.len());
        if offset % 3 == 2 {
            Err(Errno::ACCES)
        } else {
            Ok(())
        }
    }

    fn reset(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    fn dma_map(&mut self, mapping: DmaMapping) -> Result<(), Errno> {
        assert!(!mapping.protection.is_empty());
        assert!(mapping.range.first() <= mapping.range.last());
        assert!(mapping.offset.checked_add(mapping.range.size()).is_some());
        Ok(())
    }

    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        match range {
            DmaRange::All => Ok(()),
            DmaRange::Range(range) => {
                assert!(range.size() > 0);
                Ok(())
            }
        }
    }

    fn set_irqs(&mut self, update: IrqUpdate<'_>) -> Result<(), Errno> {
        let vectors = IRQ_COUNTS[usize::try_from(update.index).unwrap()];
        assert!(update.start.checked_add(update.count).unwrap() <= vectors);
        let count = usize::try_from(update.count).unwrap();
        match update.operation {
            IrqOperation::Disable => assert_eq!(count, 0),
            IrqOperation::Act(_, IrqSelection::All) => assert!(count > 0),
            IrqOperation::Act(_, IrqSelection::Chosen(bytes)) => assert_eq!(bytes.len(), count),
            IrqOperation::Assign(_, eventfds) => assert_eq!(eventfds.len(), count),
        }
        Ok(())
    }

    fn migration(&mut self) -> Option<&mut dyn Migratable> {
        None
    }

    fn dma_read_done(&mut self, id: RequestId, result: Result<&[u8], Errno>) {
        assert_ne!(self.last_done.replace(id), Some(id));
        assert!(result.is_err() || result.is_ok_and(|data| data.len() % 1024 == 0));
    }

    fn dma_write_done(&mut self, id: RequestId, _: Result<(), Errno>) {
        assert_ne!(self.last_done.replace(id), Some(id));
    }
}
