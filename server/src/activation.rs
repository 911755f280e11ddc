//! Sockets that a supervisor has opened and passes, as systemd does (`sd_listen_fds(3)`).
//!
//! A passed socket stands for the path that it is bound to: the port, or the control socket, that is to listen there takes
//! it over. The path stays the supervisor's, which starts the server again when a client comes, so it is not removed.
//!
//! Not there: the names of `LISTEN_FDNAMES`, since paths tell sockets apart; sockets without a path.

use std::{
    io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use thiserror::Error;

/// Sockets that were passed and that nobody has taken yet.
#[derive(Debug, Default)]
pub struct PassedSockets {
    sockets: Vec<(PathBuf, UnixListener)>,
}

/// Why a passed descriptor is of no use. They are counted from 0, as in the supervisor's configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PassedError {
    /// Not a UNIX stream socket.
    #[error(
        "what was passed as socket {number} (LISTEN_FDS) is of no use; pass UNIX stream sockets (ListenStream=/PATH)"
    )]
    NotASocket {
        /// Which one.
        number: usize,
        /// Why.
        source: io::Error,
    },
    /// A socket that nobody can connect to.
    #[error(
        "socket {number} (LISTEN_FDS) does not listen; pass one that does (ListenStream= with Accept=no)"
    )]
    NotListening {
        /// Which one.
        number: usize,
    },
    /// A socket that is not in the file system.
    #[error(
        "socket {number} (LISTEN_FDS) has no path; pass one that is bound to a path (ListenStream=/PATH)"
    )]
    NoPath {
        /// Which one.
        number: usize,
    },
}

impl PassedSockets {
    /// What the environment says was passed (`LISTEN_FDS`, `LISTEN_PID`); nothing where it does not. To be called once,
    /// before any thread is started: the variables go.
    ///
    /// # Errors
    /// [`PassedError`]: something was passed that no client can connect to.
    pub fn from_environment() -> Result<Self, PassedError> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for number in 0..passed.len() {
            let socket = passed
                .take_unix_listener(number)
                .map_err(|source| PassedError::NotASocket { number, source })?;
            let Some(socket) = socket else { continue };
            if !socket_acceptconn(&socket).unwrap_or(false) {
                return Err(PassedError::NotListening { number });
            }
            let address = socket.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            let path = path.ok_or(PassedError::NoPath { number })?.to_owned();
            sockets.push((path, socket));
        }
        Ok(Self { sockets })
    }

    /// Paths of the sockets, in the order in which they were passed.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.sockets.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The socket that is bound to `path`, if it was passed.
    pub fn take(&mut self, path: &Path) -> Option<UnixListener> {
        let place = self.sockets.iter().position(|(bound, _)| bound == path)?;
        Some(self.sockets.swap_remove(place).1)
    }
}
