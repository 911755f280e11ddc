//! smoltcp on a wire: the far end of the kernel's connections.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    time::{Duration, Instant as Clock},
};

use nic_model::{
    Time, Wire,
    wire::{Flow, L4Checksum, Offload, TxFrame},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, DeviceCapabilities, Medium},
    socket::tcp,
    time::Instant,
    wire::{EthernetAddress, IpCidr},
};
use wire::Backend;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    port: Port,
    start: Clock,
    /// Longest frame that was received.
    pub longest: usize,
    /// Frames whose headers and payload came apart.
    pub in_two_pieces: usize,
    /// Frames whose L4 checksum the wire vouched for.
    pub valid: usize,
}

struct Port {
    wire: Box<dyn Backend>,
    received: VecDeque<Vec<u8>>,
}

impl Stack {
    /// 10.9.8.2 on `wire`.
    pub fn new(wire: impl Backend + 'static) -> Self {
        let mut port = Port {
            wire: Box::new(wire),
            received: VecDeque::new(),
        };
        let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 2]).into());
        let mut interface = Interface::new(config, &mut port, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(Ipv4Addr::new(10, 9, 8, 2).into(), 24))
                .unwrap();
        });
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            port,
            start: Clock::now(),
            longest: 0,
            in_two_pieces: 0,
            valid: 0,
        }
    }

    fn turn(&mut self) {
        let now = self.start.elapsed();
        self.port
            .wire
            .advance(Time::from_nanos(now.as_nanos().try_into().unwrap()));
        let Self {
            port: Port { wire, received },
            longest,
            in_two_pieces,
            valid,
            ..
        } = self;
        // One frame a call: the rest of a large one must not be lost.
        while received.len() < 64
            && wire.receive(100, &mut |frame| {
                *longest = (*longest).max(frame.len());
                *in_two_pieces += usize::from(!frame.body.is_empty());
                *valid += usize::from(frame.l4_checksum == L4Checksum::Valid);
                received.push_back([frame.head, frame.body].concat());
                Flow::Stop
            }) > 0
        {}
        let instant = Instant::from_micros(i64::try_from(now.as_micros()).unwrap());
        self.interface
            .poll(instant, &mut self.port, &mut self.sockets);
    }

    fn connect(&mut self, to: (Ipv4Addr, u16)) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 512 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket
            .connect(self.interface.context(), to, 50_000)
            .unwrap();
        self.sockets.add(socket)
    }

    fn run_until(
        &mut self,
        mut done: impl FnMut(&mut tcp::Socket<'_>) -> bool,
        handle: SocketHandle,
    ) {
        let deadline = Clock::now() + PATIENCE;
        loop {
            self.turn();
            if done(self.sockets.get_mut(handle)) {
                return;
            }
            assert!(Clock::now() < deadline, "the connection is stuck");
            if self.port.received.is_empty() && !self.port.wire.has_frames() {
                let mut fds = [PollFd::new(
                    self.port.wire.poll_fd().unwrap(),
                    PollFlags::POLLIN,
                )];
                poll(&mut fds, PollTimeout::from(1_u8)).unwrap();
            }
        }
    }

    /// Everything that the server at `from` sends.
    pub fn read_all(&mut self, from: (Ipv4Addr, u16)) -> Vec<u8> {
        let handle = self.connect(from);
        let mut received = Vec::new();
        self.run_until(
            |socket| {
                while socket.can_recv() {
                    socket
                        .recv(|bytes| {
                            received.extend_from_slice(bytes);
                            (bytes.len(), ())
                        })
                        .unwrap();
                }
                !received.is_empty() && !socket.may_recv()
            },
            handle,
        );
        received
    }

    /// Sends `bytes` to the server at `to` and closes.
    pub fn write_all(&mut self, to: (Ipv4Addr, u16), bytes: &[u8]) {
        let handle = self.connect(to);
        let mut sent = 0;
        self.run_until(
            |socket| {
                while socket.can_send() && sent < bytes.len() {
                    sent += socket.send_slice(&bytes[sent..]).unwrap();
                }
                if sent == bytes.len() && socket.may_send() {
                    socket.close();
                }
                sent == bytes.len() && socket.state() == tcp::State::TimeWait
            },
            handle,
        );
    }

    /// Whether the server at `to` refuses a connection.
    pub fn is_refused(&mut self, to: (Ipv4Addr, u16)) -> bool {
        let handle = self.connect(to);
        self.run_until(|socket| socket.state() == tcp::State::Closed, handle);
        true
    }
}

impl phy::Device for Port {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.received.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.wire)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.wire))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct TxToken<'a>(&'a mut Box<dyn Backend>);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        // A frame that the kernel has no room for is lost; TCP sends it again.
        let _ = self.0.transmit(&TxFrame {
            head: &frame,
            payload: &[],
            offload: Offload::None,
        });
        result
    }
}
