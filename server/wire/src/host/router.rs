//! Router advertisements (RFC 4861, section 6.2), so that the port's owner configures an IPv6 address by itself.

use nic_model::Time;
use smoltcp::{
    phy::ChecksumCapabilities,
    time::Duration,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet, Icmpv6Repr,
        IpProtocol, Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscPrefixInfoFlags,
        NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags,
    },
};

use super::{HostConfig, stack::ToPort};

/// All nodes on the link, as IPv6 and Ethernet address.
const ALL_NODES: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
/// Time between unsolicited advertisements; within the bounds of RFC 4861, section 6.2.1.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);
/// How long the port may use the host as its router.
const ROUTER_LIFETIME: Duration = Duration::from_secs(1800);
/// Lifetimes of the prefix (defaults of RFC 4861, section 6.2.1).
const VALID_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
const PREFERRED_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// Advertises the prefix: at once when it is asked, and from time to time once the port has sent anything over IPv6.
#[derive(Debug)]
pub(super) struct Router {
    mac: EthernetAddress,
    link_local: Ipv6Address,
    prefix: Ipv6Address,
    next: Option<Time>,
}

impl Router {
    pub(super) fn new(config: &HostConfig) -> Self {
        let prefix = u128::from(config.ipv6) & !u128::from(u64::MAX);
        Self {
            mac: config.ethernet(),
            link_local: config.link_local(),
            prefix: Ipv6Address::from(prefix),
            next: None,
        }
    }

    /// When the next advertisement is due.
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Sends the advertisement that is due.
    pub(super) fn advance(&mut self, now: Time, to_port: &mut ToPort) {
        if self.next.is_some_and(|due| due <= now) {
            self.advertise(now, to_port);
        }
    }

    /// Answers a router solicitation; false if `frame` is something else.
    pub(super) fn answer(&mut self, frame: &[u8], now: Time, to_port: &mut ToPort) -> bool {
        let solicited = is_solicitation(frame);
        if solicited {
            self.advertise(now, to_port);
        }
        solicited
    }

    fn advertise(&mut self, now: Time, to_port: &mut ToPort) {
        self.next = Some(now + INTERVAL);
        let icmp = Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: ROUTER_LIFETIME,
            reachable_time: Duration::ZERO,
            retrans_time: Duration::ZERO,
            lladdr: Some(self.mac.into()),
            mtu: None,
            prefix_info: Some(NdiscPrefixInformation {
                prefix_len: 64,
                flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
                valid_lifetime: VALID_LIFETIME,
                preferred_lifetime: PREFERRED_LIFETIME,
                prefix: self.prefix,
            }),
        });
        let ip = Ipv6Repr {
            src_addr: self.link_local,
            dst_addr: ALL_NODES,
            next_header: IpProtocol::Icmpv6,
            payload_len: icmp.buffer_len(),
            hop_limit: 255,
        };
        let ethernet = EthernetRepr {
            src_addr: self.mac,
            dst_addr: ALL_NODES_MAC,
            ethertype: EthernetProtocol::Ipv6,
        };
        let len = ethernet.buffer_len() + ip.buffer_len() + icmp.buffer_len();
        to_port.send(len, |to| {
            to.fill(0);
            let mut frame = EthernetFrame::new_unchecked(to);
            ethernet.emit(&mut frame);
            let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
            ip.emit(&mut packet);
            icmp.emit(
                &self.link_local,
                &ALL_NODES,
                &mut Icmpv6Packet::new_unchecked(packet.payload_mut()),
                &ChecksumCapabilities::default(),
            );
        });
    }
}

/// Whether `frame` is a valid router solicitation (RFC 4861, section 6.1.1).
fn is_solicitation(frame: &[u8]) -> bool {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
        return false;
    };
    if ethernet.ethertype() != EthernetProtocol::Ipv6 {
        return false;
    }
    let Ok(ip) = Ipv6Packet::new_checked(ethernet.payload()) else {
        return false;
    };
    if ip.next_header() != IpProtocol::Icmpv6 || ip.hop_limit() != 255 {
        return false;
    }
    let Ok(icmp) = Icmpv6Packet::new_checked(ip.payload()) else {
        return false;
    };
    matches!(
        Icmpv6Repr::parse(
            &ip.src_addr(),
            &ip.dst_addr(),
            &icmp,
            &ChecksumCapabilities::default()
        ),
        Ok(Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { .. }))
    )
}
