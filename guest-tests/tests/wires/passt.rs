//! passt at the other end of a stream, and smoltcp on our driver at this one.

use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result, ensure};
use guest_tests::world::World;
use guest_vm::{Cache, Userland};
use nic_driver::Packet;
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium},
    socket::{dhcpv4, icmp},
    time::Instant,
    wire::{EthernetAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr, Ipv4Address},
};

use super::{
    lab::{self, Host},
    station::Station,
};

/// The address of passt's host, which is the guest's, too, and its router.
const ADDRESS: Ipv4Address = Ipv4Address::new(203, 0, 113, 5);
const ROUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(30);
const IDENT: u16 = 0x8259;

pub fn passt_leases_an_address_and_answers_arp_and_ping() -> Result<()> {
    let mut host = host()?;
    for block in lab::PAGE.below("passt")?.blocks()? {
        ensure!(block.host == "any host", "{block:?}");
        host.follow(&block.commands)?;
    }
    host.wait_for_server()?;
    let mut station = host.station()?;
    station.wait_for_link(true)?;
    let mut stack = Stack::new(station)?;

    let (address, router) = stack.lease()?;
    let answer = stack.ping(router, &[0x5A; 1400])?;

    ensure!((address, router) == (ADDRESS, ROUTER), "{address} {router}");
    ensure!(answer == [0x5A; 1400], "{answer:?}");
    Ok(())
}

/// A host with a network that passt can show to the guest, on which everybody may ping.
fn host() -> Result<Host> {
    let cache = Cache::open()?;
    let userland = Userland::prepare(&cache)?;
    let programs = [
        ("ip", userland.program("ip")?),
        ("passt", guest_vm::passt(&cache)?),
    ];
    let host = Host::new(&userland, &programs)?;
    host.run("ip link add uplink type veth peer name beyond")?;
    host.run("ip link set beyond up")?;
    host.run(&format!("ip address add {ADDRESS}/24 dev uplink"))?;
    host.run("ip link set uplink up")?;
    host.run(&format!("ip route add default via {ROUTER}"))?;
    host.run("echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range")?;
    Ok(host)
}

struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    station: Station,
    start: Clock,
}

impl Stack {
    fn new(mut station: Station) -> Result<Self> {
        let config = Config::new(EthernetAddress(station.0.mac()?).into());
        let interface = Interface::new(config, &mut station, Instant::ZERO);
        Ok(Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            station,
            start: Clock::now(),
        })
    }

    /// Turns until `done` has something.
    fn until<T>(
        &mut self,
        mut done: impl FnMut(&mut Interface, &mut SocketSet<'static>) -> Option<T>,
    ) -> Result<T> {
        let begun = Clock::now();
        loop {
            let now = Instant::from_micros(i64::try_from(self.start.elapsed().as_micros())?);
            self.interface
                .poll(now, &mut self.station, &mut self.sockets);
            if let Some(value) = done(&mut self.interface, &mut self.sockets) {
                return Ok(value);
            }
            ensure!(begun.elapsed() < PATIENCE, "passt does not answer");
        }
    }

    /// Address and router by DHCP; the interface has them then.
    fn lease(&mut self) -> Result<(Ipv4Address, Ipv4Address)> {
        let handle = self.sockets.add(dhcpv4::Socket::new());
        let (cidr, router) =
            self.until(
                |_, sockets| match sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
                    Some(dhcpv4::Event::Configured(lease)) => Some((lease.address, lease.router)),
                    _ => None,
                },
            )?;
        let router = router.context("no router")?;
        let mut full = Ok(());
        self.interface.update_ip_addrs(|addresses| {
            full = addresses.push(IpCidr::Ipv4(cidr));
        });
        ensure!(full.is_ok(), "no room for an address");
        self.interface.routes_mut().add_default_ipv4_route(router)?;
        Ok((cidr.address(), router))
    }

    /// What an echo of `payload` brings back. ARP has to find the address first.
    fn ping(&mut self, to: Ipv4Address, payload: &[u8]) -> Result<Vec<u8>> {
        let buffer =
            || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 8192]);
        let handle: SocketHandle = self.sockets.add(icmp::Socket::new(buffer(), buffer()));
        let checksums = ChecksumCapabilities::default();
        let request = Icmpv4Repr::EchoRequest {
            ident: IDENT,
            seq_no: 1,
            data: payload,
        };
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(handle);
        socket.bind(icmp::Endpoint::Ident(IDENT))?;
        let place = socket.send(request.buffer_len(), IpAddress::Ipv4(to))?;
        request.emit(&mut Icmpv4Packet::new_unchecked(place), &checksums);
        self.until(|_, sockets| {
            let socket = sockets.get_mut::<icmp::Socket<'_>>(handle);
            let (bytes, _) = socket.recv().ok()?;
            let packet = Icmpv4Packet::new_checked(bytes).ok()?;
            match Icmpv4Repr::parse(&packet, &checksums).ok()? {
                Icmpv4Repr::EchoReply { data, .. } => Some(data.to_vec()),
                _ => None,
            }
        })
    }
}

/// What our driver has received.
pub struct Arrived(Vec<u8>);

/// Room for what is sent.
pub struct Sending<'a>(&'a mut Station);

impl phy::Device for Station {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _timestamp: Instant) -> Option<(Arrived, Sending<'_>)> {
        let received = self.0.driver().ok()?.receive().ok()??;
        Some((Arrived(received.bytes), Sending(self)))
    }

    fn transmit(&mut self, _timestamp: Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, act: F) -> R {
        act(&self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, act: F) -> R {
        let mut frame = vec![0; len];
        let result = act(&mut frame);
        // What is lost is sent again by the stack.
        let _ = self.0.0.send_packet(0, &Packet::plain(&frame));
        result
    }
}
