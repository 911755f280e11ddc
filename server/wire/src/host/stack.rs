//! smoltcp between two queues of frames.

use nic_model::Time;
use smoltcp::{
    iface::{Config, Interface, PollIngressSingleResult, PollResult},
    phy::{self, Device, DeviceCapabilities, Medium},
    time::Instant,
    wire::{HardwareAddress, IpCidr, Ipv4Cidr, Ipv6Cidr},
};

use super::{
    HostConfig, JUMBO_MTU, MIN_FRAME, dhcp, fragment,
    router::Router,
    services::{BACKLOG, Services},
};
use crate::queue::{FrameQueue, TakenFrame};

/// Length of an Ethernet header.
const ETHERNET_HEADER: usize = 14;
/// Frames that wait in one direction.
const MAX_FRAMES: usize = 1024;
/// Bytes that wait in one direction.
const MAX_BYTES: usize = 4 << 20;
/// What every Ethernet driver takes.
const FIRST_MTU: usize = 1500;

/// The stack, its services and the cable between it and the port.
pub(super) struct Stack {
    pub(super) cable: Cable,
    // Boxed, since the interface holds its fragmentation buffer in place.
    interface: Box<Interface>,
    services: Services,
    dhcp: dhcp::Server,
    router: Router,
    next_poll: Option<Time>,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("cable", &self.cable)
            .field("next_poll", &self.next_poll)
            .finish_non_exhaustive()
    }
}

impl Stack {
    pub(super) fn new(config: &HostConfig) -> Self {
        let mut cable = Cable::new();
        let mut interface = Box::new(Interface::new(
            Config::new(HardwareAddress::Ethernet(config.ethernet())),
            &mut cable,
            Instant::ZERO,
        ));
        interface.update_ip_addrs(|addresses| {
            let own = [
                IpCidr::Ipv4(Ipv4Cidr::new(config.ipv4, 24)),
                IpCidr::Ipv6(Ipv6Cidr::new(config.link_local(), 64)),
                IpCidr::Ipv6(Ipv6Cidr::new(config.ipv6, 64)),
            ];
            addresses
                .extend_from_slice(&own)
                .expect("smoltcp is built with room for four addresses");
        });
        Self {
            cable,
            interface,
            services: Services::new(),
            dhcp: dhcp::Server::new(config),
            router: Router::new(config),
            next_poll: None,
        }
    }

    /// When [`Stack::advance`] is due by itself.
    pub(super) fn deadline(&self) -> Option<Time> {
        [self.next_poll, self.router.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what the port sent, serves the sockets and sends what they have to send.
    pub(super) fn advance(&mut self, now: Time) {
        let instant = smoltcp_time(now);
        self.interface.poll_maintenance(instant);
        // What arrives while this runs waits for the next turn.
        let mut waiting = self.cable.from_port.len();
        while waiting > 0 {
            let batch = waiting.min(BACKLOG);
            self.ingress(batch, now);
            self.services.serve();
            waiting -= batch;
        }
        self.services.serve();
        self.router.advance(now, &mut self.cable.to_port);
        while self
            .interface
            .poll_egress(instant, &mut self.cable, &mut self.services.sockets)
            == PollResult::SocketStateChanged
        {}
        self.next_poll = self
            .interface
            .poll_at(instant, &self.services.sockets)
            .map(model_time);
    }

    /// Gives `batch` frames to whom they concern.
    fn ingress(&mut self, batch: usize, now: Time) {
        for _ in 0..batch {
            let Some(frame) = self.cable.from_port.front() else {
                break;
            };
            self.cable.to_port.learn(frame.len());
            let Cable { from_port, to_port } = &mut self.cable;
            let taken = from_port.front().is_some_and(|frame| {
                self.dhcp.answer(frame, now, to_port) || self.router.answer(frame, now, to_port)
            });
            if taken {
                from_port.pop();
                continue;
            }
            match self.interface.poll_ingress_single(
                smoltcp_time(now),
                &mut self.cable,
                &mut self.services.sockets,
            ) {
                PollIngressSingleResult::None => break,
                PollIngressSingleResult::PacketProcessed
                | PollIngressSingleResult::SocketStateChanged => {}
            }
        }
    }
}

/// Both directions of the cable.
#[derive(Debug)]
pub(super) struct Cable {
    pub(super) from_port: FrameQueue,
    pub(super) to_port: ToPort,
}

impl Cable {
    fn new() -> Self {
        Self {
            from_port: FrameQueue::new(MAX_FRAMES, MAX_BYTES),
            to_port: ToPort {
                frames: FrameQueue::new(MAX_FRAMES, MAX_BYTES),
                dropped: 0,
                mtu: FIRST_MTU,
                scratch: Vec::new(),
            },
        }
    }
}

/// The way to the port.
#[derive(Debug)]
pub(super) struct ToPort {
    pub(super) frames: FrameQueue,
    /// Frames for which there was no room.
    pub(super) dropped: u64,
    /// Largest IP packet that the port is known to take.
    mtu: usize,
    scratch: Vec<u8>,
}

impl ToPort {
    /// A port that sends a frame of this length takes one, too.
    fn learn(&mut self, len: usize) {
        self.mtu = self
            .mtu
            .max(len.saturating_sub(ETHERNET_HEADER).min(JUMBO_MTU));
    }

    /// Sends a frame of `len` bytes that `fill` writes, in fragments if it is longer than what the port is known to
    /// take.
    pub(super) fn send<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let padded = len.max(MIN_FRAME);
        if len <= ETHERNET_HEADER + self.mtu && self.frames.has_room(padded) {
            return self.frames.push_with(padded, |to| {
                let (frame, padding) = to.split_at_mut(len);
                padding.fill(0);
                fill(frame)
            });
        }
        let Self {
            frames,
            dropped,
            mtu,
            scratch,
        } = self;
        scratch.resize(len, 0);
        let result = fill(scratch);
        fragment::split(scratch, *mtu, &mut |frame| {
            if !frames.push(frame) {
                *dropped = dropped.wrapping_add(1);
            }
        });
        result
    }
}

/// A frame from the port on its way into the stack.
pub(super) struct RxToken<'a> {
    frame: TakenFrame,
    from: &'a mut FrameQueue,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(self.frame.bytes());
        self.from.recycle(self.frame);
        result
    }
}

/// Leave to send one frame to the port.
pub(super) struct TxToken<'a>(&'a mut ToPort);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.0.send(len, f)
    }
}

impl Device for Cable {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let frame = self.from_port.take()?;
        let from = &mut self.from_port;
        Some((RxToken { frame, from }, TxToken(&mut self.to_port)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        // A socket that cannot send now keeps what it has.
        self.to_port
            .frames
            .has_room(ETHERNET_HEADER + JUMBO_MTU)
            .then_some(TxToken(&mut self.to_port))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = ETHERNET_HEADER + JUMBO_MTU;
        capabilities
    }
}

fn smoltcp_time(time: Time) -> Instant {
    Instant::from_micros(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

fn model_time(instant: Instant) -> Time {
    let micros = u64::try_from(instant.total_micros()).unwrap_or(0);
    Time::from_nanos(micros.saturating_mul(1000))
}
