//! TCP both ways at once, against a service that sends back what it gets.

use std::time::{Duration, Instant as Clock};

use anyhow::{Result, bail, ensure};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    socket::tcp,
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr},
};
use wire::Damage;

use crate::{Outcome, Queues, Station, Wish};

/// Bytes each way.
const BYTES: usize = 4 << 20;
/// Bytes under way.
const WINDOW: usize = 64 << 10;
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn echo(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let Some(port) = wish.echo_port else {
        return Ok(Outcome::Skipped("give --echo-port".to_owned()));
    };
    let mut connection = Connection::new(station, port)?;
    let echoed = connection.exchange(station, port);
    // A service that has one connection at a time shall be free for the next.
    let ended = connection.end(station);
    echoed?;
    ended?;
    let rate = BYTES as f64 * 8.0 / connection.begin.elapsed().as_secs_f64() / 1e6;
    Ok(Outcome::Passed(format!(
        "{BYTES} bytes each way, {rate:.0} Mbit/s"
    )))
}

struct Connection {
    begin: Clock,
    device: Queues,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Connection {
    fn new(station: &mut Station<'_>, port: u16) -> Result<Self> {
        let addresses = station.addresses;
        let mut device = Queues {
            mtu: station.mtu,
            ..Queues::default()
        };
        let mac = HardwareAddress::Ethernet(EthernetAddress(addresses.mac));
        let mut interface = Interface::new(Config::new(mac), &mut device, Instant::ZERO);
        interface.update_ip_addrs(|list| {
            // One address always fits.
            let _ = list.push(IpCidr::new(IpAddress::Ipv4(addresses.station), 0));
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        let local = 49_152 + (station.fresh() & 0xFFF);
        if let Err(error) = socket.connect(interface.context(), (addresses.guest, port), local) {
            bail!("cannot connect: {error}");
        }
        Ok(Self {
            begin: Clock::now(),
            device,
            interface,
            sockets,
            handle,
        })
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Lets the stack do what it has to, and sends what comes of it.
    fn turn(&mut self, station: &mut Station<'_>) -> Result<()> {
        let now = i64::try_from(self.begin.elapsed().as_micros()).unwrap_or(0);
        let now = Instant::from_micros(now);
        self.interface
            .poll(now, &mut self.device, &mut self.sockets);
        let frames = std::mem::take(&mut self.device.sent);
        station.cable.send(&frames, Damage::default())
    }

    /// Sends all bytes, and compares what comes back.
    fn exchange(&mut self, station: &mut Station<'_>, port: u16) -> Result<()> {
        let (mut sent, mut received) = (0_usize, 0_usize);
        while received < BYTES {
            ensure!(
                self.begin.elapsed() < LIMIT,
                "{received} of {BYTES} bytes have come back after {} s; {sent} were taken",
                LIMIT.as_secs()
            );
            self.turn(station)?;
            let socket = self.socket();
            ensure!(
                socket.is_open(),
                "the connection has ended; does a service on port {port} send back what it gets?"
            );
            if socket.can_send() && sent < BYTES {
                let taken = socket.send(|room| {
                    let count = room.len().min(BYTES - sent);
                    for (place, byte) in (sent..).zip(room.iter_mut().take(count)) {
                        *byte = content(place);
                    }
                    (count, count)
                });
                sent += taken.unwrap_or(0);
            }
            if socket.can_recv() {
                let mut wrong = None;
                let got = socket.recv(|bytes| {
                    let differs = (received..)
                        .zip(bytes.iter())
                        .find(|(place, byte)| content(*place) != **byte);
                    wrong = differs.map(|(place, _)| place);
                    (bytes.len(), bytes.len())
                });
                if let Some(place) = wrong {
                    bail!("byte {place} comes back changed");
                }
                received += got.unwrap_or(0);
                continue;
            }
            let pause = if socket.can_send() && sent < BYTES {
                Duration::ZERO
            } else {
                Duration::from_millis(5)
            };
            let mut next = station.cable.next(pause)?;
            while let Some(frame) = next {
                self.device.received.push_back(frame);
                next = station.cable.next(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Takes the connection down.
    fn end(&mut self, station: &mut Station<'_>) -> Result<()> {
        self.socket().abort();
        self.turn(station)
    }
}

/// The byte at this place of the stream.
fn content(place: usize) -> u8 {
    let mixed = (place ^ (place >> 8) ^ (place >> 16)).wrapping_mul(167);
    mixed.to_le_bytes()[0]
}
