//! Messages built byte by byte, and what comes back.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use vfio_user::Errno;
use vfio_user::client::{Client, ClientError, Message, Options};
use vfio_user::message::Command;
use vfio_user::server::Limits;

use crate::migration::Movable;
use crate::support::{Server, description};

/// The whole bytes of a message with these header fields and payload.
pub fn message(id: u16, command: Command, flags: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(16 + payload.len()).unwrap();
    with_size(id, command, size, flags, payload)
}

/// The same, with a size field that may not be true.
pub fn with_size(id: u16, command: Command, size: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&command.0.to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields of a payload one after the other.
#[derive(Default)]
pub struct Payload(pub Vec<u8>);

impl Payload {
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }
}

pub fn payload() -> Payload {
    Payload::default()
}

/// A client that sends whatever it is told to.
pub struct Raw {
    pub server: Server,
    pub client: Client,
    last_id: u16,
}

impl Raw {
    /// A connection that has negotiated.
    pub fn new() -> Self {
        let (server, client) = Server::with_client();
        Self {
            server,
            client,
            last_id: 0x7000,
        }
    }

    /// The same, with a device that can be moved.
    pub fn movable(movable: Movable) -> Self {
        let (server, client) = Server::with_movable(movable);
        Self {
            server,
            client,
            last_id: 0x7000,
        }
    }

    /// A connection on which nothing has been sent yet.
    pub fn unnegotiated() -> Self {
        let (server, stream): (Server, UnixStream) =
            Server::start(Limits::default(), description());
        Self {
            server,
            client: Client::attach(stream, Options::default()),
            last_id: 0x7000,
        }
    }

    /// Sends a command and returns its reply.
    pub fn reply(&mut self, command: Command, payload: &Payload) -> Message {
        self.reply_with_fds(command, payload, &[])
    }

    pub fn reply_with_fds(
        &mut self,
        command: Command,
        payload: &Payload,
        fds: &[OwnedFd],
    ) -> Message {
        self.last_id += 1;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let bytes = message(self.last_id, command, 0, &payload.0);
        self.client.send_raw(&bytes, &fds).unwrap();
        let reply = self.client.receive_raw().unwrap();
        assert_eq!(reply.header.id.get(), self.last_id);
        assert_eq!(reply.header.command.get(), command.0);
        assert_eq!(reply.header.size.get() as usize, 16 + reply.payload.len());
        assert_eq!(reply.header.flags.get() & 0xf, 1);
        reply
    }

    /// Sends a command that must fail; returns the errno, and makes sure that the stream is
    /// still in step.
    pub fn refusal(&mut self, command: Command, payload: &Payload) -> Errno {
        self.refusal_with_fds(command, payload, &[])
    }

    pub fn refusal_with_fds(
        &mut self,
        command: Command,
        payload: &Payload,
        fds: &[OwnedFd],
    ) -> Errno {
        let reply = self.reply_with_fds(command, payload, fds);
        assert!(reply.payload.is_empty(), "an error reply is a header only");
        let errno = reply.header.failure().expect("the command must fail");
        assert_ne!(reply.header.error.get(), 0);
        self.assert_in_step();
        errno
    }

    /// Makes sure that the next request is served and that nothing lies before its reply.
    pub fn assert_in_step(&mut self) {
        let reply = self.reply(
            Command::DEVICE_GET_INFO,
            &payload().u32(16).u32(0).u32(0).u32(0),
        );
        assert_eq!(reply.payload, payload().u32(16).u32(3).u32(9).u32(5).0);
    }

    /// Makes sure that the server closes the connection and says nothing more.
    pub fn assert_closed(mut self) -> vfio_user::server::SessionError {
        let end = self.client.receive_raw().unwrap_err();
        assert!(matches!(end, ClientError::Disconnected), "{end}");
        self.server.end()
    }
}
