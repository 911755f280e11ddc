//! Wires over sockets, in the framing of QEMU's `-netdev stream` and `-netdev dgram`.
//!
//! A stream carries each frame behind its length, four bytes in network order; a datagram is a frame. Neither carries an
//! FCS, and nothing tells the other side of a link that is down: the port's own light is not seen there. QEMU's own
//! NICs, passt and other servers of this kind are on the other end.
//!
//! Not there: a virtio-net header before each frame, which no peer asks for by itself; multicast groups; descriptors that
//! another process has opened.

mod address;
mod datagram;
mod error;
mod framing;
mod outbox;
mod peer;
mod stream;
mod unix_path;

pub use address::{DatagramAddress, InetAddress, Place, Role, StreamAddress};
pub use datagram::DatagramSocket;
pub use error::SocketError;
pub use stream::StreamSocket;

use std::time::Duration;

/// Longest frame in bytes: a peer that announces more is none. QEMU's own limit (`NET_BUFSIZE`).
const MAX_FRAME: usize = 4096 + 65_536;
/// Shortest frame in bytes that is one: addresses and type.
const MIN_HEADER: usize = 14;
/// How long a frame waits for a peer that takes nothing.
const PATIENCE: Duration = Duration::from_millis(100);
