//! What the program is asked for.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the program is to do: its one argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// AF_XDP sockets, until SIGTERM.
    Xdp(Xdp),
    /// `send` with MSG_ZEROCOPY.
    SendZeroCopy(SendZeroCopy),
    /// `sendfile` to a TCP connection.
    SendFile(SendFile),
}

/// AF_XDP sockets on queues of an interface, always bound with XDP_ZEROCOPY: a driver that has to copy refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xdp {
    /// Name of the interface.
    pub interface: String,
    /// One socket for each of these queues.
    pub queues: Vec<u32>,
    /// Whether they share their memory.
    pub umem: UmemUse,
    /// Bytes of a chunk of memory: 2048 or 4096.
    pub chunk: u32,
    /// Chunks of each UMEM: a power of two up to 4096.
    pub chunks: u32,
    /// Who looks for the rings' contents.
    pub wakeup: Wakeup,
    /// How to wait.
    pub wait: Wait,
    /// What to do with frames.
    pub act: Act,
    /// How many of a queue's frames to tell the place of.
    pub tell: u64,
}

/// Whether sockets share their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UmemUse {
    /// Each has a UMEM of its own.
    Each,
    /// One UMEM for all (XDP_SHARED_UMEM).
    Shared,
}

/// Who looks for the rings' contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wakeup {
    /// The kernel by itself.
    Always,
    /// The kernel, when it is told to after it has asked to be told (XDP_USE_NEED_WAKEUP).
    WhenAsked,
}

/// How to wait for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// By `poll`, which sleeps.
    Sleep,
    /// By polling the NIC in the driver (SO_PREFER_BUSY_POLL).
    BusyPoll,
}

/// What to do with frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Keep what is received, each in its chunk.
    Keep,
    /// Forget what is received.
    Forget,
    /// Send what is received back with its addresses swapped, out of the chunk that it lies in. With several queues that
    /// share their memory the next queue sends it.
    Forward,
    /// Send the frames of a file, in turns by all queues, and keep them. Before each frame stands its length in two
    /// bytes, the low one first.
    Send(PathBuf),
}

/// How to send by a connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// In datagrams of at most 1472 bytes.
    Udp,
    /// As a stream.
    Tcp,
}

/// A pattern that is sent with MSG_ZEROCOPY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendZeroCopy {
    /// Where to.
    pub to: SocketAddrV4,
    /// How.
    pub transport: Transport,
    /// How many pages of 4096 bytes: one datagram of each begins with the page, or all are one stream.
    pub pages: usize,
}

/// A file that is sent with sendfile by TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendFile {
    /// Where to.
    pub to: SocketAddrV4,
    /// The file, on a file system in memory.
    pub file: PathBuf,
}
