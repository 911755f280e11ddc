//! What can go wrong between a package archive and a running guest.

use std::io;
use std::path::PathBuf;

use crate::guest::GuestError;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with its cause and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the host that this crate needs is not there.
    #[error("`{program}` is not on this machine; {remedy}")]
    MissingProgram {
        /// The program's name.
        program: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// A file or folder could not be used.
    #[error("cannot {action} {path}")]
    Path {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A helper program could not be started.
    #[error("cannot start {what}")]
    Start {
        /// The program.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A helper program ended with an error.
    #[error("{what} failed ({status}){}", detail(.stderr))]
    Failed {
        /// The program and what it was for.
        what: String,
        /// How it ended.
        status: String,
        /// What it said last.
        stderr: String,
    },
    /// The package archive cannot be used.
    #[error("{0}")]
    Archive(String),
    /// A file from a package is not what was expected.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No usable QEMU.
    #[error("{0}")]
    Qemu(String),
    /// The network namespace or a device in it cannot be made.
    #[error("{0}")]
    Namespace(String),
    /// QEMU's monitor or test socket did not answer as it should.
    #[error("{socket} of QEMU: {reason}")]
    Monitor {
        /// Which of QEMU's sockets.
        socket: &'static str,
        /// What happened.
        reason: String,
    },
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl Error {
    /// Wraps an I/O error with what was done to which path.
    pub(crate) fn path(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Path {
            action,
            path,
            source,
        }
    }
}

fn detail(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(":\n{}", stderr.trim_end())
    }
}
