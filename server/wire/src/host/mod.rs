//! A small host on the other end of the cable: the wire that works with nothing configured and no privilege.
//!
//! It answers ARP and neighbour solicitations, ICMP and ICMPv6 echo, runs a DHCPv4 server and advertises an IPv6
//! prefix, and offers echo (port 7), discard (9) and chargen (19) over TCP and UDP. It takes frames up to the card's
//! largest and never sends one that is larger than what it has seen from the port (1500 bytes of IP at first), except
//! for TCP, where the two ends agree on a segment size.
//!
//! It is the gateway that it advertises, but it leads nowhere: packets for other hosts are dropped. There is no DNS
//! server, hence none is announced.

mod dhcp;
mod fragment;
mod router;
mod services;
mod stack;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::BorrowedFd,
};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, Offload, RxFrame, TxFrame, WireBusy},
};
use smoltcp::wire::EthernetAddress;

use self::stack::Stack;
use crate::{Backend, Counters};

/// Largest IP packet in one frame: the MTU up to which Linux configures the card.
const JUMBO_MTU: usize = 9710;
/// Smallest frame on an Ethernet cable, without FCS.
pub(crate) const MIN_FRAME: usize = 60;

/// Who the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// MAC address.
    pub mac: [u8; 6],
    /// IPv4 address; the network is the /24 around it. It is also the gateway that DHCP announces.
    pub ipv4: Ipv4Addr,
    /// Last byte of the first address that DHCP gives away; the following ones up to 254 come after it.
    pub first_lease: u8,
    /// IPv6 address; the /64 around it is the prefix that the host advertises.
    pub ipv6: Ipv6Addr,
}

impl Default for HostConfig {
    /// 10.0.2.2/24 with leases from 10.0.2.15, and fd00:8259::2/64.
    fn default() -> Self {
        Self {
            mac: [0x02, 0x82, 0x59, 0x00, 0x00, 0x02],
            ipv4: Ipv4Addr::new(10, 0, 2, 2),
            first_lease: 15,
            ipv6: Ipv6Addr::new(0xfd00, 0x8259, 0, 0, 0, 0, 0, 2),
        }
    }
}

impl HostConfig {
    fn ethernet(&self) -> EthernetAddress {
        EthernetAddress(self.mac)
    }

    /// The link-local address that follows from the MAC address (RFC 4291, appendix A).
    fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac;
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            u16::from_be_bytes([a ^ 2, b]),
            u16::from_be_bytes([c, 0xff]),
            u16::from_be_bytes([0xfe, d]),
            u16::from_be_bytes([e, f]),
        )
    }
}

/// The embedded host.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    stack: Stack,
    counters: Counters,
    started: bool,
}

impl Host {
    /// A host that knows nobody yet.
    #[must_use]
    pub fn new(config: HostConfig) -> Self {
        Self {
            stack: Stack::new(&config),
            config,
            counters: Counters::default(),
            started: false,
        }
    }
}

impl Wire for Host {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if frame.offload != Offload::None || frame.len() > JUMBO_MTU + 18 {
            self.counters.count_tx(frame.len());
            self.counters.count_tx_dropped();
            return Ok(());
        }
        if !self.stack.cable.from_port.push_tx(frame) {
            return Err(WireBusy);
        }
        self.counters.count_tx(frame.len());
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.stack
            .cable
            .to_port
            .frames
            .deliver(&mut self.counters, budget, sink)
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Host {
    fn describe(&self) -> String {
        format!("host {} {}", self.config.ipv4, self.config.ipv6)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn has_frames(&self) -> bool {
        !self.stack.cable.to_port.frames.is_empty()
    }

    fn deadline(&self) -> Option<Time> {
        if !self.started || !self.stack.cable.from_port.is_empty() {
            Some(Time::ZERO)
        } else {
            self.stack.deadline()
        }
    }

    fn advance(&mut self, now: Time) {
        // Most turns of a busy loop concern something else.
        if self.deadline().is_some_and(|due| due <= now) {
            self.started = true;
            self.stack.advance(now);
        }
    }

    /// It answers and never asks, so that a link that it has lost makes no difference.
    fn set_far_link(&mut self, _up: bool) {}

    fn counters(&self) -> Counters {
        Counters {
            rx_dropped: self.stack.cable.to_port.dropped,
            ..self.counters
        }
    }
}
