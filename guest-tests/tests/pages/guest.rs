//! A guest on the card of a server: our driver and smoltcp's stack, which answers ARP and pings.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant as Clock},
};

use anyhow::{Context, Result, anyhow, bail};
use driver_test::Queues;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use guest_tests::{
    CardWorld,
    black_box::{GUEST, STATION},
    frames::{Mac, PEER, padded},
    server::ControlCable,
    world::World,
};
use nic_driver::{
    Config, Packet,
    over_socket::{Lending, OverSocket},
};
use smoltcp::{
    iface::{self, Interface, SocketSet},
    time::Instant,
    wire::{EthernetAddress, IpAddress, IpCidr},
};
use vfio_user::client::Options;

/// Time between two looks at the rings.
const TURN: Duration = Duration::from_micros(200);

/// Our driver on the card of a server, brought up as a guest's would be: with interrupts.
pub fn driver(socket: &Path, control: &Path, config: &Config) -> Result<CardWorld> {
    let card = OverSocket::connect(socket, Options::default(), Lending::Descriptor)?;
    let mut world = CardWorld::new(Box::new(card), Box::new(ControlCable::connect(control)?));
    world.bring_up(config)?;
    Ok(world)
}

/// The driver's usual configuration.
pub fn usual() -> Config {
    Config {
        interrupts: Some(0),
        ..Config::default()
    }
}

/// What the other end of the cable asks: whose an address is, and an echo.
pub fn questions(mac: Mac) -> Result<Vec<Vec<u8>>> {
    let arp = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &PEER,
        &STATION.octets(),
        &[0; 6],
        &GUEST.octets(),
    )?;
    let mut asked = Vec::new();
    let builder = PacketBuilder::ethernet2(PEER, [0xFF; 6]).arp(arp);
    builder.write(&mut asked)?;
    let mut ping = Vec::new();
    PacketBuilder::ethernet2(PEER, mac)
        .ipv4(STATION.octets(), GUEST.octets(), 64)
        .icmpv4_echo_request(1, 1)
        .write(&mut ping, &[0x5A; 56])?;
    Ok(vec![padded(&asked), ping])
}

pub struct Guest {
    off: Arc<AtomicBool>,
    life: JoinHandle<Result<()>>,
}

impl Guest {
    /// Boots it; it has the address 192.0.2.2. With `asked` somebody asks it something all the time.
    pub fn boot(socket: &Path, control: &Path, asked: bool) -> Result<Self> {
        let off = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = channel();
        let life = {
            let (socket, control, off) = (socket.to_owned(), control.to_owned(), off.clone());
            thread::spawn(move || {
                let world = driver(&socket, &control, &usual())?;
                live(world, asked, &off, &sender)
            })
        };
        if receiver.recv().is_err() {
            let error = life.join().map_err(|_| anyhow!("the guest has panicked"))?;
            return error.and_then(|()| bail!("the guest does not boot"));
        }
        Ok(Self { off, life })
    }

    pub fn shut_down(self) -> Result<()> {
        self.off.store(true, Ordering::Relaxed);
        let life = self.life.join();
        life.map_err(|_| anyhow!("the guest has panicked"))?
    }
}

fn live(mut world: CardWorld, asked: bool, off: &AtomicBool, up: &Sender<()>) -> Result<()> {
    let mac = world.mac()?;
    let questions = questions(mac)?;
    let mut queues = Queues {
        mtu: 1500,
        ..Queues::default()
    };
    let config = iface::Config::new(EthernetAddress(mac).into());
    let mut interface = Interface::new(config, &mut queues, Instant::ZERO);
    let mut full = Ok(());
    interface.update_ip_addrs(|list| full = list.push(cidr(GUEST)));
    full.map_err(|_| anyhow!("no room for an address"))?;
    let mut sockets = SocketSet::new(Vec::new());
    let begun = Clock::now();
    up.send(()).context("nobody waits for the guest")?;
    while !off.load(Ordering::Relaxed) {
        if asked {
            world.cable().put(&questions)?;
        }
        while let Some(received) = world.driver()?.receive()? {
            queues.received.push_back(received.bytes);
        }
        let now = Instant::from_micros(i64::try_from(begun.elapsed().as_micros())?);
        interface.poll(now, &mut queues, &mut sockets);
        for frame in queues.sent.drain(..) {
            world.send_packet(0, &Packet::plain(&frame))?;
        }
        world.driver()?.device().pass(TURN)?;
    }
    Ok(())
}

fn cidr(address: Ipv4Addr) -> IpCidr {
    IpCidr::new(IpAddress::Ipv4(address), 24)
}
