//! The control socket and its threads.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::{
        fd::AsFd,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf, absolute},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket,
            sockopt,
        },
        stat::{Mode, fchmod},
    },
    unistd::geteuid,
};

use crate::{session, worker::Handle};

/// Clients at a time; one more is turned away.
pub(crate) const MAX_CLIENTS: usize = 32;

/// How long a server that ends waits for clients to take the rest of their answers.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait when the system refuses to accept a client, at most.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another server has it.
    #[error("another server listens at {}; stop it or choose another --control path", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} exists and is no socket; choose another --control path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The path is too long for a socket.
    #[error("{} is too long for a socket (107 bytes); choose a shorter --control path", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot make the control socket {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The control path that belongs to a server on this vfio-user socket.
#[must_use]
pub fn default_path(vfio_user_socket: &Path) -> PathBuf {
    let mut path = vfio_user_socket.as_os_str().to_owned();
    path.push(".control");
    path.into()
}

/// A control socket to which clients can connect already, but which nobody serves yet. Dropping it removes the socket.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// Device and inode of the path, if it is ours to remove.
    identity: Option<(u64, u64)>,
    listener: Arc<UnixListener>,
    /// Readable when nobody is to be accepted any more. To shut the socket down would do it for the supervisor, too.
    stop: Arc<EventFd>,
}

impl Bound {
    /// Listens at `path`, for this user alone (mode 0600). A socket that nobody listens on is replaced.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        // `ixgbectl` finds the socket by the path that it is bound to.
        let path = absolute(path).unwrap_or_else(|_| path.to_owned());
        make_room(&path)?;
        let listener = bind_private(&path)?;
        let identity = identity(&path);
        Self::new(listener, path, identity)
    }

    /// Takes over a socket that listens already, as a supervisor passes it. It is not removed in the end, and the
    /// supervisor can go on to listen on it.
    ///
    /// # Errors
    /// [`BindError::Io`].
    pub fn adopt(listener: UnixListener) -> Result<Self, BindError> {
        let address = listener.local_addr().ok();
        let path = address.as_ref().and_then(|address| address.as_pathname());
        let path = path.map(Path::to_owned).unwrap_or_default();
        Self::new(listener, path, None)
    }

    fn new(
        listener: UnixListener,
        path: PathBuf,
        identity: Option<(u64, u64)>,
    ) -> Result<Self, BindError> {
        let nonblocking = listener.set_nonblocking(true);
        let stop = nonblocking.and_then(|()| {
            Ok(EventFd::from_value_and_flags(
                0,
                EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC,
            )?)
        });
        match stop {
            Ok(stop) => Ok(Self {
                path,
                identity,
                listener: Arc::new(listener),
                stop: Arc::new(stop),
            }),
            Err(source) => Err(BindError::Io { path, source }),
        }
    }

    /// Lets clients ask the workers of `ports`, in their order. The threads that it starts have the rights of the caller.
    ///
    /// # Errors
    /// [`BindError::Io`]: no thread can be started.
    pub fn serve(self, ports: impl IntoIterator<Item = Handle>) -> Result<Server, BindError> {
        let ports: Arc<[Handle]> = ports.into_iter().collect();
        let clients = Clients::default();
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn({
                let (listener, stop) = (Arc::clone(&self.listener), Arc::clone(&self.stop));
                let clients = clients.clone();
                move || accept(&listener, &stop, &clients, &ports)
            })
            .map_err(|source| BindError::Io {
                path: self.path.clone(),
                source,
            })?;
        Ok(Server {
            socket: self,
            clients,
            thread: Some(thread),
        })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Whoever replaced the socket keeps it.
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A control socket with its threads: one that accepts, and one for each client. Dropping it ends them and removes the
/// socket.
#[derive(Debug)]
pub struct Server {
    socket: Bound,
    clients: Clients,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// [`Bound::bind`] and [`Bound::serve`].
    ///
    /// # Errors
    /// [`BindError`].
    pub fn start(path: &Path, ports: impl IntoIterator<Item = Handle>) -> Result<Self, BindError> {
        Bound::bind(path)?.serve(ports)
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.socket.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.clients.accept_no_more();
        // The count is far from its end, so this succeeds.
        let _ = self.socket.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.clients.end();
    }
}

/// Removes a socket that nobody listens on.
fn make_room(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket { path });
    }
    match UnixStream::connect(&path) {
        Ok(_) => Err(BindError::InUse { path }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(&path).map_err(|source| BindError::Io { path, source })
        }
        Err(source) => Err(BindError::Io { path, source }),
    }
}

fn bind_private(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |errno: Errno| BindError::Io {
        path: path.to_owned(),
        source: errno.into(),
    };
    let address = UnixAddr::new(path).map_err(|_| BindError::TooLong {
        path: path.to_owned(),
    })?;
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(failed)?;
    // The file takes the mode that the socket has when it is bound, so there is no moment with another one.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
    let raw = std::os::fd::AsRawFd::as_raw_fd(&fd);
    bind(raw, &address).map_err(failed)?;
    listen(&fd, Backlog::new(16).unwrap_or(Backlog::MAXCONN)).map_err(failed)?;
    Ok(UnixListener::from(fd))
}

/// Device and inode of the file at `path`.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn accept(listener: &UnixListener, stop: &EventFd, clients: &Clients, ports: &Arc<[Handle]>) {
    loop {
        let mut fds = [listener.as_fd(), stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::debug!(%error, "the control socket accepts no more");
                return;
            }
        }
        if stop.read().is_ok() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) if is_owner(&stream) => clients.start(stream, ports),
            Ok(_) => tracing::debug!("a control client of another user was turned away"),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // There was none, or it went.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The client went before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // The system has no descriptor or memory left: that comes back.
            Err(error) => {
                if clients.rest() == Accepting::Over {
                    return;
                }
                tracing::debug!(%error, "cannot take a control client now; trying again");
            }
        }
    }
}

/// Whether the client is a process of this server's user, or of root, who may do anything to it anyway. The socket's mode
/// says the same, but a mode can be changed, and a descriptor be handed on.
fn is_owner(stream: &UnixStream) -> bool {
    getsockopt(stream, sockopt::PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

/// Whether clients are still accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Accepting {
    #[default]
    Yes,
    /// The server ends.
    Over,
}

/// The connections that are served, by number, so that they can be ended.
///
/// Shared by the accepting thread, the clients' threads and the owner of the server.
#[derive(Clone, Default)]
struct Clients(Arc<Shared>);

#[derive(Default)]
struct Shared {
    connections: Mutex<Connections>,
    /// A connection was closed, or no more are accepted.
    changed: Condvar,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, UnixStream>,
    threads: Vec<JoinHandle<()>>,
    accepting: Accepting,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clients")
            .field(&self.lock().open.len())
            .finish()
    }
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        // A thread that died left the map as it was.
        self.0
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, stream: UnixStream, ports: &Arc<[Handle]>) {
        let mut connections = self.lock();
        connections.threads.retain(|thread| !thread.is_finished());
        let Ok(second) = stream.try_clone() else {
            return;
        };
        if connections.open.len() >= MAX_CLIENTS {
            tracing::debug!("too many control clients: one was turned away");
            return;
        }
        let number = connections.next;
        connections.next += 1;
        let thread = thread::Builder::new().name("control-client".to_owned());
        let started = thread.spawn({
            let (clients, ports) = (self.clone(), Arc::clone(ports));
            move || {
                if let Err(error) = session::serve(&stream, &ports) {
                    tracing::debug!(%error, "a control client is gone");
                }
                clients.lock().open.remove(&number);
                clients.0.changed.notify_all();
            }
        });
        if let Ok(thread) = started {
            connections.open.insert(number, second);
            connections.threads.push(thread);
        }
    }

    /// Waits until another try to accept may succeed: a client has gone, with its descriptors, or some time has passed.
    fn rest(&self) -> Accepting {
        let connections = self.lock();
        let open = connections.open.len();
        let waited = self
            .0
            .changed
            .wait_timeout_while(connections, ACCEPT_AGAIN, |connections| {
                connections.accepting == Accepting::Yes && connections.open.len() >= open
            });
        let (connections, _) = waited.unwrap_or_else(PoisonError::into_inner);
        connections.accepting
    }

    fn accept_no_more(&self) {
        self.lock().accepting = Accepting::Over;
        self.0.changed.notify_all();
    }

    /// Lets every client have the rest of its answer, if it takes that soon, and closes its connection.
    fn end(&self) {
        let connections = self.lock();
        shut_down(&connections, std::net::Shutdown::Read);
        let waited = self
            .0
            .changed
            .wait_timeout_while(connections, GRACE, |connections| {
                !connections.open.is_empty()
            });
        let (mut connections, _) = waited.unwrap_or_else(PoisonError::into_inner);
        shut_down(&connections, std::net::Shutdown::Both);
        let threads = std::mem::take(&mut connections.threads);
        drop(connections);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn shut_down(connections: &Connections, how: std::net::Shutdown) {
    for stream in connections.open.values() {
        // A client that has gone needs no shutdown.
        let _ = stream.shutdown(how);
    }
}
