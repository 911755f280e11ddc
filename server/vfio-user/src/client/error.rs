//! Why a client's call failed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Errno;
use crate::frame::FrameError;
use crate::message::{Command, VersionDataError};

/// Why a client's call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody can be reached at the path.
    #[error("cannot connect to {}; is the server running, and is this its socket?", .path.display())]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Disconnected,
    /// The server did not answer in time. A late answer is passed over.
    #[error("the server did not answer within {timeout:?}")]
    Timeout {
        /// How long was waited.
        timeout: Duration,
    },
    /// The server answered by an error.
    #[error("the server refused {command}")]
    Refused {
        /// The command.
        command: Command,
        /// The server's errno.
        #[source]
        errno: Errno,
    },
    /// The server's answer does not fit the command.
    #[error("the server's answer to {command} is malformed: {problem}")]
    Malformed {
        /// The command.
        command: Command,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The server's capabilities cannot be read.
    #[error("the server's capabilities cannot be read")]
    Capabilities(#[source] VersionDataError),
    /// More data than the server takes in one message.
    #[error("{count} bytes are more than the {limit} that the server takes in one message")]
    TooMuch {
        /// Bytes in the call.
        count: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The stream from the server is broken.
    #[error("the server's message stream is broken")]
    Frame(#[from] FrameError),
    /// The socket failed.
    #[error("the connection to the server cannot be used any longer")]
    Socket(#[source] io::Error),
}

impl ClientError {
    /// The server's errno, where it answered by one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}
