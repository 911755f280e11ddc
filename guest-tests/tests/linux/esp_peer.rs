//! A host at the far end of the cable that speaks nothing but ESP: smoltcp behind ESP in software.

use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use etherparse::{IpNumber, NetHeaders, PacketHeaders};
use guest_tests::{
    cable::Cable,
    frames::{Checked, ETHERNET, Mac, PEER, padded},
    ipsec::{Association, Mode, reframed},
};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, Device, DeviceCapabilities, Medium},
    socket::{tcp, udp},
    time::Instant as StackTime,
    wire::{HardwareAddress, IpCidr},
};

/// Its port on which all is sent back, by TCP and by UDP.
pub const ECHO: u16 = 7;
/// Its largest IP packet: with ESP around it, it fits into a frame.
const MTU: usize = 1400;
const BUFFER: usize = 64 << 10;

/// The host. It answers pings, and what comes at [`ECHO`].
pub struct EspPeer {
    /// Of what the guest sends, and of what this sends.
    associations: [Association; 2],
    guest: Mac,
    inside: Inside,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
    udp: SocketHandle,
    begun: Instant,
    /// ESP packets that came.
    pub received: u32,
    /// ESP packets that went.
    pub sent: u32,
}

impl EspPeer {
    pub fn new(address: IpAddr, guest: Mac, associations: [Association; 2]) -> Result<Self> {
        let mut inside = Inside::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut inside, StackTime::ZERO);
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        let mut has_room = Ok(());
        interface.update_ip_addrs(|addresses| {
            has_room = addresses.push(IpCidr::new(address.into(), prefix));
        });
        ensure!(has_room.is_ok(), "no room for an address");
        let mut sockets = SocketSet::new(Vec::new());
        let bytes = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let tcp = sockets.add(tcp::Socket::new(bytes(), bytes()));
        let datagrams = || {
            let metadata = vec![udp::PacketMetadata::EMPTY; 8];
            udp::PacketBuffer::new(metadata, vec![0; BUFFER])
        };
        let mut socket = udp::Socket::new(datagrams(), datagrams());
        socket.bind(ECHO)?;
        let udp = sockets.add(socket);
        Ok(Self {
            associations,
            guest,
            inside,
            interface,
            sockets,
            tcp,
            udp,
            begun: Instant::now(),
            received: 0,
            sent: 0,
        })
    }

    /// Takes what is on the cable, answers it, and returns the IP packets that came in ESP.
    pub fn turn(&mut self, cable: &mut impl Cable, patience: Duration) -> Result<Vec<Vec<u8>>> {
        let mut opened = Vec::new();
        for frame in cable.take(patience)? {
            if frame.starts_with(&PEER) {
                opened.push(self.open(&frame)?);
            }
        }
        self.inside.to_stack.extend(opened.iter().cloned());
        let passed = i64::try_from(self.begun.elapsed().as_micros())?;
        let now = StackTime::from_micros(passed);
        self.interface
            .poll(now, &mut self.inside, &mut self.sockets);
        self.echo()?;
        self.interface
            .poll(now, &mut self.inside, &mut self.sockets);
        let answers: Vec<_> = self.inside.from_stack.drain(..).collect();
        let frames: Result<Vec<_>> = answers.iter().map(|packet| self.seal(packet)).collect();
        let frames = frames?;
        if !frames.is_empty() {
            cable.put(&frames)?;
        }
        Ok(opened)
    }

    /// A frame to the guest with this IP packet in ESP.
    pub fn seal(&mut self, packet: &[u8]) -> Result<Vec<u8>> {
        self.sent += 1;
        let [_, to_guest] = &self.associations;
        let sealed = to_guest.seal(packet, Mode::Transport, self.sent, self.sent.into())?;
        Ok(self.frame(&sealed))
    }

    /// A frame to the guest with this IP packet as it is.
    pub fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let header = [&self.guest[..], &PEER, &[0, 0]].concat();
        reframed(&header, packet)
    }

    /// What is in a frame, which has to be of ESP, whole and authentic, and the next one. Its initialisation vector may
    /// have come before: Linux leaves in its place what was there, which are the addresses of the IP header that it has
    /// moved, and the card takes it from there.
    fn open(&mut self, frame: &[u8]) -> Result<Vec<u8>> {
        let packet = frame.get(ETHERNET..).context("cut short")?;
        let outer = protocol(packet)?;
        ensure!(
            outer == IpNumber::ENCAPSULATING_SECURITY_PAYLOAD,
            "not protected: {outer:?}"
        );
        let [from_guest, _] = &self.associations;
        let opened = from_guest
            .open(packet)
            .with_context(|| format!("{frame:02x?}"))?;
        self.received += 1;
        ensure!(
            opened.sequence == self.received,
            "number {} instead of {}",
            opened.sequence,
            self.received
        );
        if matches!(protocol(&opened.packet)?, IpNumber::TCP | IpNumber::UDP) {
            Checked::new(&padded(&self.frame(&opened.packet)))?;
        }
        Ok(opened.packet)
    }

    fn echo(&mut self) -> Result<()> {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.udp);
        while socket.can_recv() && socket.can_send() {
            let (datagram, from) = socket.recv()?;
            let datagram = datagram.to_vec();
            socket.send_slice(&datagram, from.endpoint)?;
        }
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.tcp);
        if !socket.is_open() {
            socket.listen(ECHO)?;
        }
        while socket.can_recv() && socket.can_send() {
            let room = socket.send_capacity() - socket.send_queue();
            let bytes = socket.recv(|bytes| {
                let taken = bytes.len().min(room);
                (taken, bytes[..taken].to_vec())
            })?;
            socket.send_slice(&bytes)?;
        }
        if socket.state() == tcp::State::CloseWait && !socket.can_recv() {
            socket.close();
        }
        Ok(())
    }
}

/// What an IP packet carries. The checksum of its header has to be right, if it has one.
fn protocol(packet: &[u8]) -> Result<IpNumber> {
    match PacketHeaders::from_ip_slice(packet)?.net {
        Some(NetHeaders::Ipv4(header, _)) => {
            let sum = header.calc_header_checksum();
            ensure!(header.header_checksum == sum, "{header:?} instead of {sum}");
            Ok(header.protocol)
        }
        Some(NetHeaders::Ipv6(header, _)) => Ok(header.next_header),
        other => bail!("no IP packet: {other:?}"),
    }
}

/// What is between ESP and the stack: IP packets.
#[derive(Debug, Default)]
struct Inside {
    to_stack: VecDeque<Vec<u8>>,
    from_stack: VecDeque<Vec<u8>>,
}

struct Arrived(Vec<u8>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Inside {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _now: StackTime) -> Option<(Arrived, Leaving<'_>)> {
        let packet = self.to_stack.pop_front()?;
        Some((Arrived(packet), Leaving(&mut self.from_stack)))
    }

    fn transmit(&mut self, _now: StackTime) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.from_stack))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}
