//! Echo (RFC 862), discard (RFC 863) and chargen (RFC 864) over TCP and UDP.

use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::{
        tcp::{self, State},
        udp,
    },
    time::Duration,
    wire::IpAddress,
};

/// Connections that wait to be accepted, per service: a connection request never meets a closed port as long as at
/// most this many arrive between two calls of [`Services::serve`].
pub(super) const BACKLOG: usize = 8;
/// Connections of one service at a time, those that wait included.
const MAX_CONNECTIONS: usize = 40;
/// Buffer of a TCP connection in each direction.
const TCP_BUFFER: usize = 512 << 10;
/// Datagrams and bytes that a UDP socket keeps in each direction.
const UDP_DATAGRAMS: usize = 256;
const UDP_BYTES: usize = 512 << 10;
/// Bytes moved at a time.
const SCRATCH: usize = 64 << 10;
/// After this time without a sign of life a connection is asked for one, then given up.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(120);
/// Length of a line of chargen, with its line end.
const LINE: usize = 74;

/// What a port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Echo,
    Discard,
    Chargen,
}

impl Service {
    const ALL: [Self; 3] = [Self::Echo, Self::Discard, Self::Chargen];

    const fn port(self) -> u16 {
        match self {
            Self::Echo => 7,
            Self::Discard => 9,
            Self::Chargen => 19,
        }
    }
}

/// The sockets of all services.
pub(super) struct Services {
    pub(super) sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    datagrams: [(Service, SocketHandle); 3],
    pattern: Vec<u8>,
    scratch: Vec<u8>,
}

struct Connection {
    service: Service,
    handle: SocketHandle,
    /// Bytes of chargen that were sent, modulo the pattern.
    generated: usize,
}

impl Services {
    pub(super) fn new() -> Self {
        let mut sockets = SocketSet::new(Vec::new());
        let datagrams = Service::ALL.map(|service| {
            let mut socket = udp::Socket::new(datagram_buffer(), datagram_buffer());
            socket
                .bind(service.port())
                .expect("a new socket binds to any port but 0");
            (service, sockets.add(socket))
        });
        let mut services = Self {
            sockets,
            connections: Vec::new(),
            datagrams,
            pattern: pattern(),
            scratch: vec![0; SCRATCH],
        };
        services.listen();
        services
    }

    /// Does what each socket's service does with what has arrived, and accepts connections.
    pub(super) fn serve(&mut self) {
        for connection in &mut self.connections {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(connection.handle);
            // Most sockets only listen.
            if socket.state() != State::Listen {
                connection.serve(socket, &self.pattern, &mut self.scratch);
            }
        }
        for (service, handle) in self.datagrams {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
            serve_datagrams(service, socket, &self.pattern, &mut self.scratch);
        }
        self.listen();
    }

    /// Removes closed connections and sees to it that every service listens.
    fn listen(&mut self) {
        let sockets = &mut self.sockets;
        self.connections.retain(|connection| {
            let open = sockets.get::<tcp::Socket<'_>>(connection.handle).state() != State::Closed;
            if !open {
                sockets.remove(connection.handle);
            }
            open
        });
        for service in Service::ALL {
            let (mut all, mut listening, mut waiting) = (0, 0, None);
            for (index, connection) in self.connections.iter().enumerate() {
                if connection.service == service {
                    all += 1;
                    match self
                        .sockets
                        .get::<tcp::Socket<'_>>(connection.handle)
                        .state()
                    {
                        State::Listen => listening += 1,
                        State::TimeWait => waiting = waiting.or(Some(index)),
                        _ => {}
                    }
                }
            }
            // A connection that is over in all but name makes room for a new one.
            if let Some(index) = waiting
                && all >= MAX_CONNECTIONS
            {
                self.sockets.remove(self.connections.remove(index).handle);
                all -= 1;
            }
            while listening < BACKLOG && all < MAX_CONNECTIONS {
                let handle = self.sockets.add(listener(service));
                self.connections.push(Connection {
                    service,
                    handle,
                    generated: 0,
                });
                listening += 1;
                all += 1;
            }
        }
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut tcp::Socket<'_>, pattern: &[u8], scratch: &mut [u8]) {
        match self.service {
            Service::Echo => echo(socket, scratch),
            Service::Discard => discard(socket),
            Service::Chargen => {
                discard(socket);
                self.generate(socket, pattern);
            }
        }
        // The other end has nothing more to say and has had its answer.
        if socket.may_send() && !socket.may_recv() && socket.state() == State::CloseWait {
            socket.close();
        }
    }

    fn generate(&mut self, socket: &mut tcp::Socket<'_>, pattern: &[u8]) {
        while socket.can_send() {
            let Ok(sent) = socket.send_slice(&pattern[self.generated..]) else {
                break;
            };
            self.generated = (self.generated + sent) % pattern.len();
        }
    }
}

/// Sends back what has arrived, as far as there is room.
fn echo(socket: &mut tcp::Socket<'_>, scratch: &mut [u8]) {
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let len = room.min(scratch.len());
        let Ok(received) = socket.recv_slice(&mut scratch[..len]) else {
            break;
        };
        if socket.send_slice(&scratch[..received]).is_err() {
            break;
        }
    }
}

fn discard(socket: &mut tcp::Socket<'_>) {
    while socket.can_recv() {
        if socket.recv(|bytes| (bytes.len(), ())).is_err() {
            break;
        }
    }
}

fn serve_datagrams(
    service: Service,
    socket: &mut udp::Socket<'_>,
    pattern: &[u8],
    scratch: &mut [u8],
) {
    while let Ok((len, from)) = socket.recv_slice(scratch) {
        let answer = match service {
            Service::Echo => &scratch[..len],
            Service::Discard => continue,
            Service::Chargen => &pattern[..LINE],
        };
        // Two such services would answer each other for ever; and an answer has one sender.
        let from_service = Service::ALL
            .iter()
            .any(|service| service.port() == from.endpoint.port);
        if from_service || !from.local_address.is_some_and(|to| is_unicast(&to)) {
            continue;
        }
        // No room: the answer is lost, as datagrams may be.
        let _ = socket.send_slice(answer, from);
    }
}

fn is_unicast(address: &IpAddress) -> bool {
    match address {
        IpAddress::Ipv4(address) => {
            !address.is_broadcast() && !address.is_multicast() && address.octets()[3] != 255
        }
        IpAddress::Ipv6(address) => !address.is_multicast(),
    }
}

fn listener(service: Service) -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; TCP_BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket.set_timeout(Some(TIMEOUT));
    socket
        .listen(service.port())
        .expect("a new socket listens on any port but 0");
    socket
}

fn datagram_buffer() -> udp::PacketBuffer<'static> {
    udp::PacketBuffer::new(
        vec![udp::PacketMetadata::EMPTY; UDP_DATAGRAMS],
        vec![0; UDP_BYTES],
    )
}

/// The pattern of RFC 864: lines of 72 of the 95 printable characters, each line starting one character further.
fn pattern() -> Vec<u8> {
    let printable: Vec<u8> = (b' '..=b'~').collect();
    let mut pattern = Vec::with_capacity(printable.len() * LINE);
    for start in 0..printable.len() {
        pattern.extend(printable.iter().cycle().skip(start).take(LINE - 2));
        pattern.extend_from_slice(b"\r\n");
    }
    pattern
}
