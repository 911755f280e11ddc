//! A datagram socket.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, Offload, RxFrame, TxFrame, WireBusy},
};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, recv, send, sendto, setsockopt,
        socket, sockopt,
    },
};

use super::{
    DatagramAddress, InetAddress, MAX_FRAME, MIN_HEADER, PATIENCE, SocketError,
    peer::resolve,
    unix_path::{self, UnixPath},
};
use crate::{Backend, Counters, host::MIN_FRAME, queue::copy_tx};

/// When a frame that the system had no room for is offered again.
const RETRY: Duration = Duration::from_micros(100);
/// Bytes that the system is asked to keep for a port that is busy with other things. It may give less.
const RECEIVE_ROOM: usize = 4 << 20;

/// A frame a datagram, over UDP or UNIX sockets, as QEMU's `-netdev dgram` sends them.
///
/// Nothing tells whether the peer is there, so there always is a carrier. A frame that it does not take is lost: counted
/// (`tx_dropped`) where the system says so, and silently where it does not. Where the system has no room, or a UNIX
/// socket's peer has as many datagrams waiting as it may, the port waits for at most 100 ms.
///
/// UDP takes datagrams from the peer's address alone.
#[derive(Debug)]
pub struct DatagramSocket {
    address: DatagramAddress,
    socket: OwnedFd,
    /// Where datagrams go, if the socket itself does not know; and the own path.
    unix: Option<(UnixAddr, UnixPath)>,
    buffer: Box<[u8]>,
    outgoing: Vec<u8>,
    again: Option<Time>,
    /// Until when a frame without room waits.
    patience: Option<Time>,
    now: Time,
    counters: Counters,
}

impl DatagramSocket {
    /// A socket between the two addresses. The peer need not be there yet.
    ///
    /// # Errors
    /// [`SocketError`], which names the cause and the next step.
    pub fn open(address: &DatagramAddress) -> Result<Self, SocketError> {
        let (socket, unix) = match address {
            DatagramAddress::Udp { local, remote } => (udp(local, remote)?, None),
            DatagramAddress::Unix { local, remote } => {
                let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
                let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).map_err(
                    |errno| SocketError::System {
                        doing: "make the socket",
                        place: local.display().to_string(),
                        source: errno.into(),
                    },
                )?;
                let remote = unix_path::address(remote)?;
                let path = UnixPath::bind(&socket, SockType::Datagram, local)?;
                (socket, Some((remote, path)))
            }
        };
        // The most that it may have is good, too.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_ROOM);
        Ok(Self {
            address: address.clone(),
            socket,
            unix,
            buffer: vec![0; MAX_FRAME].into_boxed_slice(),
            outgoing: Vec::new(),
            again: None,
            patience: None,
            now: Time::ZERO,
            counters: Counters::default(),
        })
    }

    /// Sends what is in `outgoing`.
    fn send(&self) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let socket = self.socket.as_raw_fd();
        loop {
            let sent = match &self.unix {
                Some((remote, _)) => sendto(socket, &self.outgoing, remote, flags),
                None => send(socket, &self.outgoing, flags),
            };
            if sent != Err(Errno::EINTR) {
                return sent;
            }
        }
    }
}

/// A UDP socket between two addresses of the same family.
fn udp(local: &InetAddress, remote: &InetAddress) -> Result<OwnedFd, SocketError> {
    let (locals, remotes) = (resolve(local)?, resolve(remote)?);
    let mut pairs = locals.iter().flat_map(|local| {
        let remotes = remotes.iter().map(move |remote| (local, remote));
        remotes.filter(|(local, remote)| local.is_ipv4() == remote.is_ipv4())
    });
    let Some((own, peer)) = pairs.next() else {
        return Err(SocketError::Families {
            local: local.to_string(),
            remote: remote.to_string(),
        });
    };
    if is_multicast(peer) {
        return Err(SocketError::Multicast {
            remote: remote.to_string(),
        });
    }
    let system = |doing, place: &InetAddress| {
        let place = format!("udp:{place}");
        move |source| SocketError::System {
            doing,
            place,
            source,
        }
    };
    let socket = UdpSocket::bind(own).map_err(system("bind", local))?;
    socket.connect(peer).map_err(system("send to", remote))?;
    socket
        .set_nonblocking(true)
        .map_err(system("send to", remote))?;
    Ok(socket.into())
}

fn is_multicast(address: &SocketAddr) -> bool {
    address.ip().is_multicast()
}

impl Wire for DatagramSocket {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let len = frame.len();
        if len <= MAX_FRAME && frame.offload == Offload::None {
            self.outgoing.clear();
            self.outgoing.resize(len.max(MIN_FRAME), 0);
            copy_tx(frame, &mut self.outgoing[..len]);
            match self.send() {
                Ok(_) => self.patience = None,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    let limit = *self.patience.get_or_insert(self.now + PATIENCE);
                    if self.now < limit {
                        self.again = Some(self.now + RETRY);
                        return Err(WireBusy);
                    }
                    self.counters.count_tx_dropped();
                }
                // Nobody there, or too long for the way.
                Err(_) => self.counters.count_tx_dropped(),
            }
        } else {
            self.counters.count_tx_dropped();
        }
        self.counters.count_tx(len);
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let mut received = 0;
        for _ in 0..budget {
            // The length is that of the datagram, which may be longer than the buffer.
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
            let len = match recv(self.socket.as_raw_fd(), &mut self.buffer, flags) {
                Ok(len) => len,
                Err(Errno::EAGAIN) => break,
                // What became of a datagram that was sent.
                Err(_) => continue,
            };
            let padded = len.max(MIN_FRAME);
            if len < MIN_HEADER || padded > self.buffer.len() {
                self.counters.count_rx_dropped();
                continue;
            }
            self.buffer[len..padded].fill(0);
            self.counters.count_rx(padded);
            received += 1;
            if sink(&RxFrame::new(&self.buffer[..padded])) == Flow::Stop {
                break;
            }
        }
        received
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for DatagramSocket {
    fn describe(&self) -> String {
        format!("dgram {}", self.address)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn has_frames(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Time> {
        self.again
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
        }
    }

    /// Datagrams cannot say it.
    fn set_far_link(&mut self, _up: bool) {}

    fn counters(&self) -> Counters {
        self.counters
    }
}
