//! Why a socket could not be opened.

use std::{io, path::PathBuf};

/// Why the socket of a wire could not be opened. A peer that is not there yet is no error: it is waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The path does not fit into a socket address.
    #[error("{path:?} is no path that a socket can have: 1 to 107 bytes; choose a shorter one")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// Something else than a socket is there.
    #[error("{} exists and is not a socket, so it is left alone; remove it or choose another path", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A live socket is there.
    #[error("another process listens on {}; stop it or choose another path", .path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// A name without an address.
    #[error("{address} has no address; check the name, or write the address itself")]
    Resolve {
        /// Host and port.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The two ends of a datagram socket do not go together.
    #[error("{local} and {remote} are not both IPv4 or both IPv6; write two addresses of one kind")]
    Families {
        /// The own address.
        local: String,
        /// The peer's.
        remote: String,
    },
    /// Many peers behind one address.
    #[error("{remote} is a multicast group, which dgram does not join; name one peer")]
    Multicast {
        /// The address.
        remote: String,
    },
    /// A system call failed.
    #[error("cannot {doing} {place}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Where.
        place: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}
