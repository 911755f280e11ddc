//! A DHCPv4 server (RFC 2131) for the one network that the host is on.

use nic_model::Time;
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame,
        EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket,
        UdpRepr,
    },
};

use super::{HostConfig, stack::ToPort};

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Lease time in seconds: one day. T1 and T2 are the halves and eighths of RFC 2131, section 4.4.5.
const LEASE: u32 = 86_400;
/// A declined address stays unused for this long.
const QUARANTINE: std::time::Duration = std::time::Duration::from_secs(600);
/// Last byte of the last address given away.
const LAST: u8 = 254;
/// Length that a BOOTP relay or an old client expects of a message (RFC 1542, section 2.1).
const MIN_MESSAGE: usize = 300;

/// Leases by MAC address, and the messages that make them.
#[derive(Debug)]
pub(super) struct Server {
    mac: EthernetAddress,
    address: Ipv4Address,
    first: u8,
    leases: Vec<Lease>,
}

/// State of one address; the index is its distance from the first.
#[derive(Clone, Copy, Debug)]
struct Lease {
    owner: Option<EthernetAddress>,
    /// Until then the address is its owner's; a declined address has no owner.
    until: Time,
}

/// An answer and where it goes.
struct Answer {
    message: DhcpMessageType,
    your_ip: Ipv4Address,
    to: EthernetAddress,
    to_ip: Ipv4Address,
}

impl Server {
    pub(super) fn new(config: &HostConfig) -> Self {
        let [a, b, c, host] = config.ipv4.octets();
        let free = Lease {
            owner: None,
            until: Time::ZERO,
        };
        let reserved = Lease {
            owner: Some(config.ethernet()),
            until: Time::from_nanos(u64::MAX),
        };
        let leases = (config.first_lease..=LAST)
            .map(|last| if last == host { reserved } else { free })
            .collect();
        Self {
            mac: config.ethernet(),
            address: Ipv4Address::new(a, b, c, host),
            first: config.first_lease,
            leases,
        }
    }

    /// Answers a message to the DHCP server, silently where it deserves none; false if `frame` is something else.
    pub(super) fn answer(&mut self, frame: &[u8], now: Time, to_port: &mut ToPort) -> bool {
        let Some((from, message)) = self.message(frame) else {
            return false;
        };
        let request = DhcpPacket::new_checked(message);
        if let Ok(request) = &request
            && let Ok(request) = DhcpRepr::parse(request)
            && request.relay_agent_ip.is_unspecified()
            && let Some(answer) = self.decide(&request, from, now)
        {
            self.send(&request, &answer, to_port);
        }
        true
    }

    /// The sender and the payload, if `frame` is a datagram to this server.
    fn message<'a>(&self, frame: &'a [u8]) -> Option<(EthernetAddress, &'a [u8])> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        let to = ethernet.dst_addr();
        if ethernet.ethertype() != EthernetProtocol::Ipv4
            || !(to == self.mac || to == EthernetAddress::BROADCAST)
        {
            return None;
        }
        let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
        let (source, destination) = (ip.src_addr(), ip.dst_addr());
        if ip.next_header() != IpProtocol::Udp
            || ip.more_frags()
            || ip.frag_offset() != 0
            || !ip.verify_checksum()
            || !(destination == self.address || destination == Ipv4Address::BROADCAST)
        {
            return None;
        }
        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
        if udp.dst_port() != SERVER_PORT
            || !udp.verify_checksum(&source.into(), &destination.into())
        {
            return None;
        }
        Some((ethernet.src_addr(), udp.payload()))
    }

    fn decide(
        &mut self,
        request: &DhcpRepr<'_>,
        from: EthernetAddress,
        now: Time,
    ) -> Option<Answer> {
        let client = request.client_hardware_address;
        if !client.is_unicast() || !from.is_unicast() {
            return None;
        }
        if request
            .server_identifier
            .is_some_and(|server| server != self.address)
        {
            return None;
        }
        let wanted = request
            .requested_ip
            .or(Some(request.client_ip))
            .filter(|address| !address.is_unspecified());
        match request.message_type {
            DhcpMessageType::Discover => {
                let address = self.lease(client, wanted, now)?;
                Some(self.reply(DhcpMessageType::Offer, address, request))
            }
            DhcpMessageType::Request => {
                let address = self.lease(client, wanted, now);
                if address.is_some() && address == wanted {
                    Some(self.reply(DhcpMessageType::Ack, address?, request))
                } else {
                    Some(Answer {
                        message: DhcpMessageType::Nak,
                        your_ip: Ipv4Address::UNSPECIFIED,
                        to: EthernetAddress::BROADCAST,
                        to_ip: Ipv4Address::BROADCAST,
                    })
                }
            }
            DhcpMessageType::Inform => Some(Answer {
                your_ip: Ipv4Address::UNSPECIFIED,
                ..self.reply(DhcpMessageType::Ack, request.client_ip, request)
            }),
            DhcpMessageType::Decline => {
                if let Some(lease) = self.owned(client) {
                    *lease = Lease {
                        owner: None,
                        until: now + QUARANTINE,
                    };
                }
                None
            }
            DhcpMessageType::Release => {
                // The owner is remembered, so that it gets the same address again.
                if let Some(lease) = self.owned(client) {
                    lease.until = now;
                }
                None
            }
            _ => None,
        }
    }

    /// A positive answer: to the client's address if it has one already, else to the one it will have, or to all if
    /// it asks for that (RFC 2131, section 4.1).
    fn reply(
        &self,
        message: DhcpMessageType,
        your_ip: Ipv4Address,
        request: &DhcpRepr<'_>,
    ) -> Answer {
        let client = request.client_hardware_address;
        let (to, to_ip) = if !request.client_ip.is_unspecified() {
            (client, request.client_ip)
        } else if request.broadcast {
            (EthernetAddress::BROADCAST, Ipv4Address::BROADCAST)
        } else {
            (client, your_ip)
        };
        Answer {
            message,
            your_ip,
            to,
            to_ip,
        }
    }

    /// The address of `client`: its own of earlier, else the one it wants if that is free, else the first free one,
    /// else the one whose lease ended longest ago. `None` if all are in use.
    fn lease(
        &mut self,
        client: EthernetAddress,
        wanted: Option<Ipv4Address>,
        now: Time,
    ) -> Option<Ipv4Address> {
        let wanted = wanted.and_then(|address| self.index(address));
        let own = self
            .leases
            .iter()
            .position(|lease| lease.owner == Some(client));
        let free = |lease: &Lease| lease.owner.is_none() && lease.until <= now;
        let index = own
            .or_else(|| wanted.filter(|&index| free(&self.leases[index])))
            .or_else(|| self.leases.iter().position(free))
            .or_else(|| {
                let (index, oldest) = self
                    .leases
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, lease)| lease.until)?;
                (oldest.until <= now).then_some(index)
            })?;
        self.leases[index] = Lease {
            owner: Some(client),
            until: now + std::time::Duration::from_secs(u64::from(LEASE)),
        };
        let [a, b, c, _] = self.address.octets();
        let last = u8::try_from(index).ok()?.checked_add(self.first)?;
        Some(Ipv4Address::new(a, b, c, last))
    }

    fn owned(&mut self, client: EthernetAddress) -> Option<&mut Lease> {
        self.leases
            .iter_mut()
            .find(|lease| lease.owner == Some(client))
    }

    /// Place of an address in the table.
    fn index(&self, address: Ipv4Address) -> Option<usize> {
        let ([a, b, c, last], [x, y, z, _]) = (address.octets(), self.address.octets());
        let index = usize::from(last.checked_sub(self.first)?);
        ([a, b, c] == [x, y, z] && index < self.leases.len()).then_some(index)
    }

    fn send(&self, request: &DhcpRepr<'_>, answer: &Answer, to_port: &mut ToPort) {
        let positive = answer.message != DhcpMessageType::Nak;
        let leased = positive && !answer.your_ip.is_unspecified();
        let (t1, t2) = ((LEASE / 2).to_be_bytes(), (LEASE / 8 * 7).to_be_bytes());
        let broadcast = {
            let [a, b, c, _] = self.address.octets();
            [a, b, c, 255]
        };
        let options = [
            DhcpOption {
                kind: 28,
                data: &broadcast,
            },
            DhcpOption {
                kind: 58,
                data: &t1,
            },
            DhcpOption {
                kind: 59,
                data: &t2,
            },
        ];
        let shown = match (positive, leased) {
            (true, true) => 3,
            (true, false) => 1,
            (false, _) => 0,
        };
        let reply = DhcpRepr {
            message_type: answer.message,
            transaction_id: request.transaction_id,
            secs: 0,
            client_hardware_address: request.client_hardware_address,
            client_ip: if positive {
                request.client_ip
            } else {
                Ipv4Address::UNSPECIFIED
            },
            your_ip: answer.your_ip,
            server_ip: Ipv4Address::UNSPECIFIED,
            router: positive.then_some(self.address),
            subnet_mask: positive.then_some(Ipv4Address::new(255, 255, 255, 0)),
            relay_agent_ip: Ipv4Address::UNSPECIFIED,
            broadcast: request.broadcast,
            requested_ip: None,
            client_identifier: request.client_identifier,
            server_identifier: Some(self.address),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: leased.then_some(LEASE),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &options[..shown],
        };
        let udp = UdpRepr {
            src_port: SERVER_PORT,
            dst_port: CLIENT_PORT,
        };
        let payload = reply.buffer_len().max(MIN_MESSAGE);
        let ip = Ipv4Repr {
            src_addr: self.address,
            dst_addr: answer.to_ip,
            next_header: IpProtocol::Udp,
            payload_len: udp.header_len() + payload,
            hop_limit: 64,
        };
        let ethernet = EthernetRepr {
            src_addr: self.mac,
            dst_addr: answer.to,
            ethertype: EthernetProtocol::Ipv4,
        };
        let checksums = ChecksumCapabilities::default();
        let len = ethernet.buffer_len() + ip.buffer_len() + ip.payload_len;
        to_port.send(len, |to| {
            to.fill(0);
            let mut frame = EthernetFrame::new_unchecked(to);
            ethernet.emit(&mut frame);
            let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
            ip.emit(&mut packet, &checksums);
            udp.emit(
                &mut UdpPacket::new_unchecked(packet.payload_mut()),
                &ip.src_addr.into(),
                &ip.dst_addr.into(),
                payload,
                |payload| {
                    reply
                        .emit(&mut DhcpPacket::new_unchecked(payload))
                        .expect("the buffer has the length that the message asked for");
                },
                &checksums,
            );
        });
    }
}
