//! Finding the peer of a stream, and finding it again after it has gone.
//!
//! Everything that is waited for is in one epoll set, whose descriptor stays the same while sockets come and go.

use std::{
    io::{self, ErrorKind},
    mem,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    time::Duration,
};

use nic_model::Time;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr,
            connect, getsockopt, listen, setsockopt, socket, sockopt,
        },
    },
};

use super::{
    InetAddress, Place, Role, SocketError, StreamAddress,
    unix_path::{self, UnixPath},
};

/// Pause before a peer that has gone is looked for; doubled each time in vain.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause. A connection that lived for longer has proved that the peer is one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a peer may take to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Peers that wait until the present one has gone.
const BACKLOG: i32 = 4;
/// Seconds of silence after which a TCP peer is asked for a sign of life, and how many such questions, one a second, may
/// stay without an answer.
const SILENCE: u32 = 5;
const SIGNS: u32 = 5;
/// Milliseconds for which a TCP peer may leave bytes unacknowledged.
const UNANSWERED: u32 = 10_000;

/// Who is at the other end of a stream, or will be.
#[derive(Debug)]
pub(super) struct Peer {
    address: StreamAddress,
    way: Way,
    _path: Option<UnixPath>,
    events: Epoll,
    state: State,
    pause: Duration,
    /// That nobody is there was told, once for each peer that has gone.
    told: bool,
}

/// How a peer is found.
#[derive(Debug)]
enum Way {
    /// At one of these addresses; the number is that of the next to be tried.
    Connect(Vec<Target>, usize),
    Listen(Listener),
}

#[derive(Debug)]
enum Target {
    Unix(UnixAddr),
    Tcp(SocketAddr),
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// The epoll set holds the listener, the socket, or nothing, as the state says.
#[derive(Debug)]
enum State {
    Pausing {
        until: Time,
    },
    Listening,
    Connecting {
        socket: OwnedFd,
        limit: Time,
    },
    Connected {
        socket: OwnedFd,
        since: Time,
        /// Whether room is waited for.
        room: bool,
    },
}

impl Peer {
    /// Resolves names and binds what is to be bound. Both may take a while, so this is for the start.
    pub(super) fn new(address: &StreamAddress) -> Result<Self, SocketError> {
        let system = |doing, source| SocketError::System {
            doing,
            place: address.place.to_string(),
            source,
        };
        let events = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| system("make an epoll set for", errno.into()))?;
        let mut bound = None;
        let way = match (&address.place, address.role) {
            (Place::Unix(path), Role::Connect) => {
                Way::Connect(vec![Target::Unix(unix_path::address(path)?)], 0)
            }
            (Place::Tcp(host), Role::Connect) => {
                Way::Connect(resolve(host)?.into_iter().map(Target::Tcp).collect(), 0)
            }
            (Place::Unix(path), Role::Listen) => {
                let unbound = new_socket(AddressFamily::Unix)
                    .map_err(|errno| system("make the socket", errno.into()))?;
                let path = UnixPath::bind(&unbound, SockType::Stream, path)?;
                Backlog::new(BACKLOG)
                    .and_then(|backlog| listen(&unbound, backlog))
                    .map_err(|errno| system("listen on", errno.into()))?;
                bound = Some(path);
                Way::Listen(Listener::Unix(unbound.into()))
            }
            (Place::Tcp(host), Role::Listen) => {
                let listener = TcpListener::bind(&resolve(host)?[..])
                    .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                    .map_err(|source| system("listen on", source))?;
                Way::Listen(Listener::Tcp(listener))
            }
        };
        Ok(Self {
            address: address.clone(),
            way,
            _path: bound,
            events,
            state: State::Pausing { until: Time::ZERO },
            pause: FIRST_PAUSE,
            told: false,
        })
    }

    /// Where it is.
    pub(super) const fn address(&self) -> &StreamAddress {
        &self.address
    }

    /// Readable when [`Peer::seek`] may get on, when the stream has bytes, or when it has the room that was asked for.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.0.as_fd()
    }

    /// The stream, while there is one.
    pub(super) const fn stream(&self) -> Option<&OwnedFd> {
        match &self.state {
            State::Connected { socket, .. } => Some(socket),
            _ => None,
        }
    }

    /// When [`Peer::seek`] is due by itself.
    pub(super) const fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Pausing { until } => Some(until),
            State::Connecting { limit, .. } => Some(limit),
            State::Listening | State::Connected { .. } => None,
        }
    }

    /// Gets on with finding the peer; true when it has just been found.
    pub(super) fn seek(&mut self, now: Time) -> bool {
        let found = match &self.state {
            State::Pausing { until } if *until <= now => self.begin(now),
            State::Listening if self.is_ready() => self.accept(),
            State::Connecting { .. } if self.is_ready() => self.finish(),
            State::Connecting { limit, .. } if *limit <= now => Err(Errno::ETIMEDOUT.into()),
            _ => Ok(None),
        };
        match found.and_then(|socket| socket.map(|socket| self.keep(socket, now)).transpose()) {
            Ok(found) => found.is_some(),
            Err(error) => {
                if !self.told {
                    tracing::info!(peer = %self.address, %error, "the peer is not there yet; it is looked for");
                    self.told = true;
                }
                self.rest(now);
                false
            }
        }
    }

    /// The stream is over.
    pub(super) fn lost(&mut self, now: Time) {
        if let State::Connected { since, .. } = self.state {
            if now.since(since) >= LONGEST_PAUSE {
                self.pause = FIRST_PAUSE;
            }
            tracing::debug!(peer = %self.address, "the peer has gone");
            self.told = false;
            self.rest(now);
        }
    }

    /// Asks for an event when the stream has room again, or no longer.
    pub(super) fn want_room(&mut self, wanted: bool) {
        if let State::Connected { socket, room, .. } = &mut self.state
            && *room != wanted
        {
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, wanted);
            match self.events.modify(&*socket, &mut EpollEvent::new(flags, 0)) {
                Ok(()) => *room = wanted,
                Err(errno) => tracing::debug!(%errno, "cannot change what to wait for"),
            }
        }
    }

    /// Begins to listen or to connect, which may be done at once.
    fn begin(&mut self, now: Time) -> io::Result<Option<OwnedFd>> {
        let (targets, next) = match &mut self.way {
            Way::Connect(targets, next) => (targets, next),
            Way::Listen(listener) => {
                self.events
                    .add(listener, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
                self.state = State::Listening;
                return Ok(None);
            }
        };
        *next = (*next + 1) % targets.len();
        let (socket, connected) = match &targets[*next] {
            Target::Unix(address) => begin_connect(AddressFamily::Unix, address)?,
            Target::Tcp(address) => {
                let family = match address {
                    SocketAddr::V4(_) => AddressFamily::Inet,
                    SocketAddr::V6(_) => AddressFamily::Inet6,
                };
                begin_connect(family, &SockaddrStorage::from(*address))?
            }
        };
        if connected {
            return Ok(Some(socket));
        }
        self.events
            .add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, 0))?;
        let limit = now + CONNECT_LIMIT;
        self.state = State::Connecting { socket, limit };
        Ok(None)
    }

    /// Takes a peer that wants to connect, and no further one.
    fn accept(&mut self) -> io::Result<Option<OwnedFd>> {
        let Way::Listen(listener) = &self.way else {
            return Ok(None);
        };
        let socket = match listener {
            Listener::Unix(listener) => listener.accept().map(|(socket, _)| socket.into()),
            Listener::Tcp(listener) => listener.accept().map(|(socket, _)| socket.into()),
        };
        match socket {
            Ok(socket) => {
                self.unwatch();
                Ok(Some(socket))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks how the connecting ended.
    fn finish(&mut self) -> io::Result<Option<OwnedFd>> {
        self.unwatch();
        let state = mem::replace(&mut self.state, State::Pausing { until: Time::ZERO });
        let State::Connecting { socket, .. } = state else {
            return Ok(None);
        };
        match getsockopt(&socket, sockopt::SocketError)? {
            0 => Ok(Some(socket)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// The peer is there.
    fn keep(&mut self, socket: OwnedFd, now: Time) -> io::Result<()> {
        // A listener's socket blocks at first.
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        if let Place::Tcp(_) = self.address.place {
            watch_over(&socket)?;
        }
        self.events
            .add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        tracing::debug!(peer = %self.address, "the peer is there");
        self.state = State::Connected {
            socket,
            since: now,
            room: false,
        };
        Ok(())
    }

    /// Does nothing for a while.
    fn rest(&mut self, now: Time) {
        self.unwatch();
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.state = State::Pausing { until };
    }

    /// Whether what the state waits for has come.
    fn is_ready(&self) -> bool {
        let mut events = [EpollEvent::empty()];
        // What cannot be told now is told later.
        matches!(self.events.wait(&mut events, EpollTimeout::ZERO), Ok(1))
    }

    /// Takes out of the epoll set what the state put there.
    fn unwatch(&self) {
        let deleted = match (&self.state, &self.way) {
            (State::Pausing { .. }, _) | (State::Listening, Way::Connect(..)) => return,
            (State::Listening, Way::Listen(listener)) => self.events.delete(listener),
            (State::Connecting { socket, .. } | State::Connected { socket, .. }, _) => {
                self.events.delete(socket)
            }
        };
        if let Err(errno) = deleted {
            tracing::debug!(%errno, "a socket was not in the epoll set");
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

fn new_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(family, SockType::Stream, flags, None)
}

/// A socket that connects; whether it already is connected.
fn begin_connect(family: AddressFamily, address: &dyn SockaddrLike) -> io::Result<(OwnedFd, bool)> {
    let socket = new_socket(family)?;
    match connect(socket.as_raw_fd(), address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::EINPROGRESS) => Ok((socket, false)),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends frames at once, and notices a peer whose machine has vanished.
fn watch_over(socket: &OwnedFd) -> nix::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &SILENCE)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &1)?;
    setsockopt(socket, sockopt::TcpKeepCount, &SIGNS)?;
    setsockopt(socket, sockopt::TcpUserTimeout, &UNANSWERED)
}

/// All addresses of a host.
pub(super) fn resolve(address: &InetAddress) -> Result<Vec<SocketAddr>, SocketError> {
    let failed = |source| SocketError::Resolve {
        address: address.to_string(),
        source,
    };
    let found: Vec<SocketAddr> = address
        .as_str()
        .to_socket_addrs()
        .map_err(failed)?
        .collect();
    if found.is_empty() {
        return Err(failed(ErrorKind::NotFound.into()));
    }
    Ok(found)
}
