//! A socket path that clients connect to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest path that fits into a socket address, in bytes.
const LONGEST_PATH: usize = 107;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// How often, and with what pause, the folder's lock is tried. Whoever binds a socket holds it
/// for well under a millisecond.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A listening UNIX socket that does not block. The path is removed on drop, unless the socket was passed by a supervisor.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the path, to remove our own file only; none if the path is a supervisor's.
    file: Option<(u64, u64)>,
}

/// A socket path that is taken, but that nobody can connect to yet.
///
/// For a server that has something to get ready in between, within milliseconds: other processes of this crate wait for
/// about 100 ms before they take the path for a stale one, and no client comes too early. The path is removed on drop.
#[derive(Debug)]
pub struct Reservation {
    listener: Listener,
    /// Of the folder: until somebody listens, others would take the socket for a stale one.
    _lock: Option<OwnedFd>,
}

/// Why a path cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The path does not fit into a socket address.
    #[error(
        "the socket path {} is {} bytes long, but a socket path can have {LONGEST_PATH} at most; choose a shorter one",
        .path.display(), .path.as_os_str().len()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The path is empty or has a NUL byte in it.
    #[error("{path:?} is not a path that a socket can have; choose another")]
    Invalid {
        /// The path.
        path: PathBuf,
    },
    /// The folder cannot be used.
    #[error(
        "the folder {} of the socket path cannot be used; create it or choose another path",
        .folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Something else than a socket is there.
    #[error(
        "{} exists and is not a socket, so it is left alone; remove it or choose another path",
        .path.display()
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A live socket is there.
    #[error(
        "another process listens on {}; stop it or choose another path",
        .path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {doing} the socket {}", .path.display())]
    System {
        /// What was tried.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Listener {
    /// Listens on a path that only the owner may connect to (mode 0600).
    ///
    /// A socket that is there already is replaced if nobody listens on it, as after a crash.
    /// Two processes of this crate that try at the same time do not disturb each other.
    ///
    /// # Errors
    ///
    /// When the path is unusable or taken. The text names the next step.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, ListenError> {
        Self::reserve(path)?.listen()
    }

    /// Takes over a socket that listens already, as a supervisor passes it. Its path and mode stay as they are.
    ///
    /// # Errors
    ///
    /// When the system does not let it stop blocking.
    pub fn adopt(socket: UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            path: address
                .as_pathname()
                .map(Path::to_owned)
                .unwrap_or_default(),
            file: None,
        })
    }

    /// Does all of [`Listener::bind`] but to listen.
    ///
    /// # Errors
    ///
    /// See [`Listener::bind`].
    pub fn reserve(path: impl AsRef<Path>) -> Result<Reservation, ListenError> {
        let path = path.as_ref().to_path_buf();
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(ListenError::TooLong { path });
        }
        if path.file_name().is_none() || path.as_os_str().as_bytes().contains(&0) {
            return Err(ListenError::Invalid { path });
        }
        let system = |doing| {
            let path = path.clone();
            move |error: rustix::io::Errno| ListenError::System {
                doing,
                path,
                source: error.into(),
            }
        };
        // Held to the end, so that of two processes the second one sees the first one's socket.
        let lock = lock_folder(&path)?;
        remove_stale(&path)?;

        let address = SocketAddrUnix::new(&path).map_err(system("name"))?;
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(system("create"))?;
        rustix::net::bind(&socket, &address).map_err(system("bind"))?;
        // From here on the path is removed again when something fails.
        let mut listener = Self {
            socket: UnixListener::from(socket),
            path: path.clone(),
            file: None,
        };
        let file = identity(&path).map_err(|source| ListenError::System {
            doing: "look at",
            path: path.clone(),
            source,
        })?;
        listener.file = Some(file);
        // Nobody can connect before `listen`, so the mode is in force for everybody.
        rustix::fs::chmodat(
            CWD,
            &path,
            Mode::RUSR | Mode::WUSR,
            rustix::fs::AtFlags::empty(),
        )
        .map_err(system("set the mode of"))?;
        Ok(Reservation {
            listener,
            _lock: lock,
        })
    }

    /// The next client; `None` when nobody waits.
    ///
    /// # Errors
    ///
    /// When the system has no room for another connection. The client keeps waiting.
    pub fn accept(&self) -> io::Result<Option<UnixStream>> {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    // The client went away while it waited.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Reservation {
    /// Lets clients connect.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn listen(self) -> Result<Listener, ListenError> {
        let Self { listener, _lock } = self;
        match rustix::net::listen(&listener.socket, BACKLOG) {
            Ok(()) => Ok(listener),
            Err(error) => Err(ListenError::System {
                doing: "listen on",
                path: listener.path.clone(),
                source: error.into(),
            }),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path).ok() == self.file {
            // Nothing is to be done about a failure: a stale socket is replaced the next time.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Locks the folder against others who are about to replace a socket in it.
fn lock_folder(path: &Path) -> Result<Option<OwnedFd>, ListenError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(folder) => Ok(try_lock(&folder).then_some(folder)),
        // A folder can be writable and not readable.
        Err(rustix::io::Errno::ACCESS) => Ok(None),
        Err(error) => Err(ListenError::Folder {
            folder: folder.to_path_buf(),
            source: error.into(),
        }),
    }
}

/// Waits a little for the lock. Without it, on a file system that has none or in a folder that a
/// stranger keeps locked, a rare race remains, which is better than to hang.
fn try_lock(folder: &OwnedFd) -> bool {
    (0..LOCK_TRIES).any(|_| {
        match rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(_) => {
                std::thread::sleep(LOCK_PAUSE);
                false
            }
        }
    })
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let system = |doing, source| ListenError::System {
        doing,
        path: path.to_path_buf(),
        source,
    };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket {
            path: path.to_path_buf(),
        });
    }
    match try_connect(path) {
        // A full backlog is somebody's, too.
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Err(ListenError::InUse {
            path: path.to_path_buf(),
        }),
        Err(rustix::io::Errno::CONNREFUSED) => {
            std::fs::remove_file(path).map_err(|error| system("remove", error))
        }
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(system("find out who listens on", error.into())),
    }
}

/// Connects for a moment, without waiting.
fn try_connect(path: &Path) -> rustix::io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
