//! The socket of `/metrics` and its thread.

use std::{
    io::{self, ErrorKind},
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use control::Handle;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use thiserror::Error;
use vfio_user::{ListenError, Listener};

use super::{
    MetricsAddress,
    connection::{Connection, Outcome, Socket, Waiting},
    scrape::Scraper,
};

/// Connections at a time. One more, and the oldest is closed: clients that do nothing keep no scraper out.
const MOST_CONNECTIONS: usize = 16;
/// How long to wait when the system refuses to accept a connection.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Why there is no socket for metrics.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen at {address} for metrics; give --metrics another address or port")]
    Tcp {
        /// The address.
        address: MetricsAddress,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The path cannot be listened on.
    #[error(transparent)]
    Unix(#[from] ListenError),
    /// The thread cannot be started, or has nothing to be woken by.
    #[error("cannot start the thread for metrics")]
    Thread(#[source] io::Error),
}

/// Where scrapers connect.
#[derive(Debug)]
enum Door {
    Tcp(TcpListener),
    Unix(Listener),
}

impl Door {
    /// The next connection, if one waits.
    fn accept(&self) -> io::Result<Option<Socket>> {
        match self {
            Self::Unix(listener) => {
                let stream = listener.accept()?;
                stream
                    .map(|stream| stream.set_nonblocking(true).map(|()| Socket::Unix(stream)))
                    .transpose()
            }
            Self::Tcp(listener) => match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    Ok(Some(Socket::Tcp(stream)))
                }
                Err(error) => match error.kind() {
                    // The client went before it was accepted.
                    ErrorKind::WouldBlock
                    | ErrorKind::Interrupted
                    | ErrorKind::ConnectionAborted => Ok(None),
                    _ => Err(error),
                },
            },
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A socket to which scrapers can connect already, but which nobody serves yet.
#[derive(Debug)]
pub struct Bound {
    door: Door,
    address: MetricsAddress,
}

impl Bound {
    /// Listens. A UNIX socket is for this user alone (mode 0600), and goes when this is dropped.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: &MetricsAddress) -> Result<Self, BindError> {
        let (door, address) = match address {
            MetricsAddress::Unix(path) => (Door::Unix(Listener::bind(path)?), address.clone()),
            MetricsAddress::Tcp(wanted) => {
                let listen = || {
                    let listener = TcpListener::bind(wanted)?;
                    listener.set_nonblocking(true)?;
                    let address = listener.local_addr()?;
                    Ok((Door::Tcp(listener), MetricsAddress::Tcp(address)))
                };
                let failed = |source| BindError::Tcp {
                    address: address.clone(),
                    source,
                };
                listen().map_err(failed)?
            }
        };
        Ok(Self { door, address })
    }

    /// Lets scrapers ask the workers of `ports`, in their order. The thread has the rights of the caller.
    ///
    /// # Errors
    /// [`BindError::Thread`].
    pub fn serve(self, ports: impl IntoIterator<Item = Handle>) -> Result<Metrics, BindError> {
        let Self { door, address } = self;
        let stop = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map(Arc::new)
            .map_err(|errno| BindError::Thread(errno.into()))?;
        let scraper = Scraper::new(ports);
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn({
                let stop = Arc::clone(&stop);
                move || run(&door, &stop, scraper)
            })
            .map_err(BindError::Thread)?;
        tracing::info!("metrics: {address}");
        Ok(Metrics {
            stop,
            thread: Some(thread),
        })
    }
}

/// The thread of `/metrics`. Dropping it ends the thread and its connections, and removes the socket.
#[derive(Debug)]
pub struct Metrics {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Metrics {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(door: &Door, stop: &EventFd, mut scraper: Scraper) {
    let mut connections: Vec<Connection> = Vec::new();
    let mut accept_again = None;
    loop {
        let ready = match wait(door, stop, &connections, accept_again) {
            Ok(ready) => ready,
            Err(errno) => {
                tracing::warn!(%errno, "metrics are served no more");
                return;
            }
        };
        if ready.stop {
            return;
        }
        let mut readies = ready.connections.into_iter();
        connections.retain_mut(|connection| {
            let is_ready = readies.next().unwrap_or(false);
            let goes_on =
                !is_ready || connection.advance(|| scraper.text(Instant::now)) == Outcome::GoesOn;
            goes_on && Instant::now() < connection.deadline()
        });
        accept_again = accept_again.filter(|again| Instant::now() < *again);
        if !ready.door || accept_again.is_some() {
            continue;
        }
        match door.accept() {
            Ok(Some(socket)) => {
                if connections.len() >= MOST_CONNECTIONS {
                    connections.remove(0);
                }
                connections.push(Connection::new(socket, Instant::now()));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot take a scraper now; trying again in a second");
                accept_again = Some(Instant::now() + ACCEPT_AGAIN);
            }
        }
    }
}

/// What there is to do.
#[derive(Debug)]
struct Ready {
    stop: bool,
    door: bool,
    /// Of each connection.
    connections: Vec<bool>,
}

/// Sleeps until there is something to do, or a connection has lasted long enough.
fn wait(
    door: &Door,
    stop: &EventFd,
    connections: &[Connection],
    accept_again: Option<Instant>,
) -> nix::Result<Ready> {
    let door_events = match accept_again {
        Some(_) => PollFlags::empty(),
        None => PollFlags::POLLIN,
    };
    let mut fds = vec![
        PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        PollFd::new(door.as_fd(), door_events),
    ];
    fds.extend(connections.iter().map(|connection| {
        let events = match connection.waiting() {
            Waiting::ToRead => PollFlags::POLLIN,
            Waiting::ToWrite => PollFlags::POLLOUT,
        };
        PollFd::new(connection.fd(), events)
    }));
    let deadlines = connections.iter().map(Connection::deadline);
    let next = deadlines.chain(accept_again).min();
    let timeout = next.map_or(PollTimeout::NONE, |next| {
        // Rounded up: not to wake just before.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut fds, timeout) {
        Ok(_) => {}
        Err(nix::errno::Errno::EINTR) => {
            return Ok(Ready {
                stop: false,
                door: false,
                connections: vec![false; connections.len()],
            });
        }
        Err(errno) => return Err(errno),
    }
    let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
    Ok(Ready {
        stop: ready.next().unwrap_or(false),
        door: ready.next().unwrap_or(false),
        connections: ready.collect(),
    })
}
