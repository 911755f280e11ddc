//! A smoltcp stack as the port's owner.

use std::collections::VecDeque;

use nic_model::{
    Time, Wire,
    wire::{Flow, Offload, TxFrame},
};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, DeviceCapabilities, Medium},
    socket::{dhcpv4, icmp, tcp, udp},
    time::Instant,
    wire::{
        EthernetAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpCidr,
        IpEndpoint, Ipv4Address, Ipv4Cidr, Ipv6Address,
    },
};
use wire::{Backend, Host, HostConfig};

pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];
const ADDRESS_V6: Ipv6Address = Ipv6Address::new(0xfd00, 0x8259, 0, 0, 0, 0, 0, 0x77);

pub struct Client {
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    pub largest_received: usize,
    host: Host,
    port: Port,
    now: Time,
    next_local_port: u16,
}

/// What a DHCP client learned.
pub struct Lease {
    pub address: Ipv4Cidr,
    pub router: Option<Ipv4Address>,
    pub dns_servers: Vec<Ipv4Address>,
}

impl Client {
    /// A client with addresses of its own.
    pub fn new(mtu: usize) -> Self {
        let mut client = Self::without_address(mtu);
        client.interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(Ipv4Address::new(10, 0, 2, 77).into(), 24))
                .unwrap();
            addresses.push(IpCidr::new(ADDRESS_V6.into(), 64)).unwrap();
        });
        client
    }

    /// A client that knows nothing but its MAC address, with SLAAC.
    pub fn without_address(mtu: usize) -> Self {
        let mut port = Port {
            received: VecDeque::new(),
            sent: VecDeque::new(),
            mtu,
        };
        let mut config = Config::new(EthernetAddress(MAC).into());
        config.random_seed = 0x8259;
        config.slaac = true;
        let mut interface = Interface::new(config, &mut port, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let link_local = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
            addresses.push(IpCidr::new(link_local.into(), 64)).unwrap();
        });
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            largest_received: 0,
            host: Host::new(HostConfig::default()),
            port,
            now: Time::ZERO,
            next_local_port: 50_000,
        }
    }

    /// A host without anyone on the cable, after a turn of the loop.
    pub fn idle_host(&self) -> Host {
        let mut host = Host::new(HostConfig::default());
        host.advance(self.now);
        host
    }

    /// Runs both ends for at most `millis` of their time, until `done`; returns whether that came.
    pub fn run_until(&mut self, millis: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now.plus_nanos(millis * 1_000_000);
        loop {
            self.turn();
            if done(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.now = self.next_event().min(end);
        }
    }

    fn turn(&mut self) {
        let instant = self.instant();
        self.interface
            .poll(instant, &mut self.port, &mut self.sockets);
        while let Some(frame) = self.port.sent.front() {
            let frame = TxFrame {
                head: frame,
                payload: &[],
                offload: Offload::None,
            };
            if self.host.transmit(&frame).is_err() {
                break;
            }
            self.port.sent.pop_front();
        }
        self.host.advance(self.now);
        let (received, largest) = (&mut self.port.received, &mut self.largest_received);
        self.host.receive(64, &mut |frame| {
            assert!(frame.len() >= 60, "a frame below Ethernet's minimum");
            *largest = (*largest).max(frame.len());
            received.push_back([frame.head, frame.body].concat());
            Flow::More
        });
    }

    fn next_event(&mut self) -> Time {
        let instant = self.instant();
        let busy =
            !self.port.received.is_empty() || !self.port.sent.is_empty() || self.host.has_frames();
        let client = self
            .interface
            .poll_at(instant, &self.sockets)
            .map(|at| Time::from_nanos(u64::try_from(at.total_micros()).unwrap() * 1000));
        let next = if busy {
            self.now
        } else {
            client
                .into_iter()
                .chain(self.host.deadline())
                .min()
                .unwrap_or(self.now.plus_nanos(1_000_000_000))
        };
        next.max(self.now.plus_nanos(1000))
    }

    fn instant(&self) -> Instant {
        Instant::from_micros(i64::try_from(self.now.as_micros()).unwrap())
    }

    /// Gets an address as a DHCP client does.
    pub fn dhcp(&mut self) -> Lease {
        let handle = self.sockets.add(dhcpv4::Socket::new());
        let mut lease = None;
        self.run_until(60_000, |client| {
            let socket = client.sockets.get_mut::<dhcpv4::Socket<'_>>(handle);
            if let Some(dhcpv4::Event::Configured(config)) = socket.poll() {
                lease = Some(Lease {
                    address: config.address,
                    router: config.router,
                    dns_servers: config.dns_servers.to_vec(),
                });
            }
            lease.is_some()
        });
        let lease = lease.expect("a lease");
        self.sockets.remove(handle);
        self.interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::Ipv4(lease.address)).unwrap();
        });
        lease
    }

    /// Sends an echo request with `len` bytes; whether the same bytes came back.
    pub fn ping(&mut self, to: IpAddress, len: usize) -> bool {
        const IDENT: u16 = 0x8259;
        let buffer =
            || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 70_000]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Ident(IDENT)).unwrap();
        let data: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
        let checksums = phy::ChecksumCapabilities::default();
        match to {
            IpAddress::Ipv4(_) => {
                let request = Icmpv4Repr::EchoRequest {
                    ident: IDENT,
                    seq_no: 1,
                    data: &data,
                };
                let payload = socket.send(request.buffer_len(), to).unwrap();
                request.emit(&mut Icmpv4Packet::new_unchecked(payload), &checksums);
            }
            IpAddress::Ipv6(address) => {
                let request = Icmpv6Repr::EchoRequest {
                    ident: IDENT,
                    seq_no: 1,
                    data: &data,
                };
                let payload = socket.send(request.buffer_len(), to).unwrap();
                let source = self.interface.get_source_address_ipv6(&address);
                request.emit(
                    &source,
                    &address,
                    &mut Icmpv6Packet::new_unchecked(payload),
                    &checksums,
                );
            }
        }
        let handle = self.sockets.add(socket);
        let answered = self.run_until(5000, |client| {
            client.sockets.get::<icmp::Socket<'_>>(handle).can_recv()
        });
        let mut socket = self.sockets.remove(handle);
        let smoltcp::socket::Socket::Icmp(socket) = &mut socket else {
            unreachable!()
        };
        answered
            && socket
                .recv()
                .is_ok_and(|(answer, from)| from == to && answer[8..] == data)
    }

    pub fn connect(&mut self, to: IpAddress, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        self.next_local_port += 1;
        socket
            .connect(self.interface.context(), (to, port), self.next_local_port)
            .unwrap();
        self.sockets.add(socket)
    }

    /// Sends `bytes` over a new TCP connection, reads `expected` bytes, closes, and reads what still comes.
    pub fn exchange(&mut self, to: IpAddress, port: u16, bytes: &[u8], expected: usize) -> Vec<u8> {
        let handle = self.connect(to, port);
        let (mut sent, mut received) = (0, Vec::new());
        let mut closing = false;
        let closed = self.run_until(60_000, |client| {
            let socket = client.sockets.get_mut::<tcp::Socket<'_>>(handle);
            if sent < bytes.len() && socket.can_send() {
                sent += socket.send_slice(&bytes[sent..]).unwrap();
            }
            while socket.can_recv() {
                let more = expected - received.len().min(expected);
                socket
                    .recv(|data| {
                        received.extend_from_slice(&data[..data.len().min(more)]);
                        (data.len(), ())
                    })
                    .unwrap();
            }
            if sent == bytes.len() && received.len() == expected && socket.may_send() && !closing {
                socket.close();
                closing = true;
            }
            closing && matches!(socket.state(), tcp::State::TimeWait | tcp::State::FinWait2)
        });
        assert!(closed, "sent {sent}, received {}", received.len());
        self.sockets.remove(handle);
        received
    }

    pub fn udp_socket(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4000]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    /// Sends a datagram and returns the answer with its sender.
    pub fn datagram(
        &mut self,
        to: IpAddress,
        port: u16,
        bytes: &[u8],
    ) -> Option<(Vec<u8>, IpEndpoint)> {
        let handle = self.udp_socket(40_000);
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
        socket.send_slice(bytes, (to, port)).unwrap();
        self.run_until(2000, |client| {
            client.sockets.get::<udp::Socket<'_>>(handle).can_recv()
        });
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
        socket
            .recv()
            .ok()
            .map(|(bytes, from)| (bytes.to_vec(), from.endpoint))
    }
}

struct Port {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    mtu: usize,
}

impl phy::Device for Port {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.received.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        capabilities
    }
}

struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}
