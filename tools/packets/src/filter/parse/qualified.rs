//! Values, and the keywords before them: `src host 10.0.0.1`, `tcp port 80 or 443`, `net 192.168`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use super::{
    super::{
        Node,
        test::{Network, Side, Test},
    },
    Parser, WORDS,
};
use crate::{
    complaint::{Complaint, list},
    layer::{ETHER_TYPES, Layer, PROTOCOLS},
    value::{self, mac, mac_value},
};

const TRANSPORTS: &[Layer] = &[Layer::Tcp, Layer::Udp, Layer::Sctp];
const SERVICES: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("ntp", 123),
    ("snmp", 161),
    ("https", 443),
];

/// Keywords before a value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keywords<'a> {
    protocol: Option<&'a str>,
    side: Side,
    kind: Option<Subject>,
}

impl<'a> Keywords<'a> {
    /// A protocol, and nothing else yet.
    pub(super) fn of(protocol: &'a str) -> Self {
        Self {
            protocol: Some(protocol),
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

#[derive(Clone, Copy)]
enum Version {
    Four,
    Six,
}

impl<'a> Parser<'a> {
    /// Side, kind, and value.
    pub(super) fn value(&mut self, mut keywords: Keywords<'a>) -> Result<Node, Complaint> {
        if matches!(self.peek(), Some("src" | "dst")) {
            let source = self.peek() == Some("src");
            self.next += 1;
            let other = if source { "dst" } else { "src" };
            keywords.side = match (self.peek(), self.peek_after()) {
                (Some("or"), Some(word)) if word == other => Side::Either,
                (Some("and"), Some(word)) if word == other => Side::Both,
                _ if source => Side::Source,
                _ => Side::Destination,
            };
            if matches!(keywords.side, Side::Either | Side::Both) {
                self.next += 2;
            }
        }
        keywords.kind = match self.peek() {
            Some("host") => Some(Subject::Host),
            Some("net") => Some(Subject::Net),
            Some("port") => Some(Subject::Port),
            Some("portrange") => Some(Subject::PortRange),
            Some("proto") => Some(Subject::Proto),
            _ => None,
        };
        self.next += usize::from(keywords.kind.is_some());
        let value = self.word("a value")?;
        self.last = Some(keywords);
        self.test(keywords, value)
    }

    /// A value without keywords, or an unknown word.
    pub(super) fn bare(&mut self, word: &'a str) -> Result<Node, Complaint> {
        let is_address = mac(word).is_some()
            || word.parse::<Ipv6Addr>().is_ok()
            || word
                .split('/')
                .next()
                .is_some_and(|address| address.parse::<Ipv4Addr>().is_ok());
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        match self.last {
            Some(keywords) if is_address || is_number || service(word).is_some() => {
                self.next += 1;
                self.test(keywords, word)
            }
            _ if is_address => {
                self.next += 1;
                let kind = if word.contains('/') {
                    Subject::Net
                } else {
                    Subject::Host
                };
                self.test(
                    Keywords {
                        kind: Some(kind),
                        ..Keywords::default()
                    },
                    word,
                )
            }
            _ if is_number => {
                Err(self.wrong("a number after what? known: port, vlan, net, less, greater, len >"))
            }
            _ => Err(self.wrong(format!("unknown word; known: {}", list(WORDS)))),
        }
    }

    fn test(&mut self, keywords: Keywords<'a>, value: &'a str) -> Result<Node, Complaint> {
        let test = match keywords.kind {
            Some(Subject::Proto) => return self.proto(keywords, value),
            Some(Subject::Port | Subject::PortRange) => self.port(keywords, value)?,
            Some(Subject::Net) => self.network(keywords, value)?,
            // `src 10.0.0.0/8`
            None if value.contains('/') => self.network(keywords, value)?,
            Some(Subject::Host) | None => self.host(keywords, value)?,
        };
        Ok(Node::Test(test))
    }

    fn proto(&mut self, keywords: Keywords<'a>, value: &str) -> Result<Node, Complaint> {
        let names = if keywords.protocol == Some("ether") {
            ETHER_TYPES
        } else {
            PROTOCOLS
        };
        let named = names
            .iter()
            .find(|(name, _)| *name == value)
            .map(|(_, number)| *number);
        let number = named.or_else(|| value::number(value));
        let unknown = || {
            format!(
                "a number or one of {} is wanted",
                list(names.iter().map(|(name, _)| *name))
            )
        };
        let test = match keywords.protocol {
            Some("ether") => number
                .and_then(|number| u16::try_from(number).ok())
                .map(Test::EtherType),
            protocol => {
                let over: &[Layer] = match protocol {
                    Some("ip") => &[Layer::Ip],
                    Some("ip6") => &[Layer::Ip6],
                    None => &[Layer::Ip, Layer::Ip6],
                    Some(_) => {
                        return Err(
                            self.wrong_before("proto stands after ether, ip, ip6 or nothing")
                        );
                    }
                };
                number
                    .and_then(|number| u8::try_from(number).ok())
                    .map(|number| Test::Protocol(number, over))
            }
        };
        test.map(Node::Test)
            .ok_or_else(|| self.wrong_before(unknown()))
    }

    fn port(&mut self, keywords: Keywords<'a>, value: &str) -> Result<Test, Complaint> {
        let layers: &[Layer] = match keywords.protocol {
            None => TRANSPORTS,
            Some("tcp") => &[Layer::Tcp],
            Some("udp") => &[Layer::Udp],
            Some("sctp") => &[Layer::Sctp],
            Some(other) => {
                let message = format!("{other} has no ports; tcp, udp and sctp have");
                return Err(self.wrong_before(message));
            }
        };
        let port = |text: &str| text.parse().ok().or_else(|| service(text));
        let range: Option<RangeInclusive<u16>> = match port(value) {
            Some(port) => Some(port..=port),
            None => value
                .split_once('-')
                .and_then(|(a, b)| Some(port(a)?..=port(b)?)),
        };
        let range = range.filter(|range| !range.is_empty());
        let range = range.ok_or_else(|| {
            let names = list(SERVICES.iter().map(|(name, _)| *name));
            self.wrong_before(format!(
                "a port from 0 to 65535, a range as 1000-2000, or one of {names} is wanted"
            ))
        })?;
        Ok(Test::Port(keywords.side, range, layers))
    }

    fn host(&mut self, keywords: Keywords<'a>, value: &str) -> Result<Test, Complaint> {
        if let Some(address) =
            mac(value).filter(|_| matches!(keywords.protocol, None | Some("ether")))
        {
            return Ok(Test::EtherHost(keywords.side, mac_value(address)));
        }
        if keywords.protocol == Some("ether") {
            return Err(self.wrong_before("a MAC address as 02:00:00:00:00:01 is wanted"));
        }
        let everything = Network {
            address: 0,
            mask: u128::MAX,
        };
        if let Ok(address) = value.parse::<Ipv4Addr>() {
            let network = Network {
                address: u32::from(address).into(),
                ..everything
            };
            return self.address(keywords, network, Version::Four);
        }
        if let Ok(address) = value.parse::<Ipv6Addr>() {
            let network = Network {
                address: address.into(),
                ..everything
            };
            return self.address(keywords, network, Version::Six);
        }
        Err(self.wrong_before("an address is wanted; names are not looked up"))
    }

    fn network(&mut self, keywords: Keywords<'a>, value: &str) -> Result<Test, Complaint> {
        let (address, prefix) = match value.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (value, None),
        };
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            let prefix = prefix.map_or(Some(128), |prefix| prefix.parse().ok());
            let prefix = prefix.filter(|prefix| *prefix <= 128);
            let prefix = prefix.ok_or_else(|| self.wrong_before("a prefix has up to 128 bits"))?;
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            let network = Network {
                address: u128::from(address) & mask,
                mask,
            };
            return self.address(keywords, network, Version::Six);
        }
        // `net 10`, `net 192.168`: what is not said is not compared.
        let parts: Option<Vec<u8>> = address.split('.').map(|part| part.parse().ok()).collect();
        let parts = parts.filter(|parts| (1..=4).contains(&parts.len()));
        let parts = parts.ok_or_else(|| {
            self.wrong_before("a network as 10.0.0.0/8, 192.168 or fd00::/64 is wanted")
        })?;
        let said = 8 * u32::try_from(parts.len()).unwrap_or(4);
        let mut bytes = [0; 4];
        bytes[..parts.len()].copy_from_slice(&parts);
        let mask = if self.take("mask") {
            let mask = self.word("a mask as 255.255.255.0")?;
            let mask = mask.parse::<Ipv4Addr>();
            u32::from(mask.map_err(|_| self.wrong_before("a mask as 255.255.255.0 is wanted"))?)
        } else {
            let prefix = prefix.map_or(Some(said), |prefix| prefix.parse().ok());
            let prefix = prefix.filter(|prefix| *prefix <= 32);
            let prefix = prefix.ok_or_else(|| self.wrong_before("a prefix has up to 32 bits"))?;
            u32::MAX.checked_shl(32 - prefix).unwrap_or(0)
        };
        let network = Network {
            address: (u32::from_be_bytes(bytes) & mask).into(),
            mask: mask.into(),
        };
        self.address(keywords, network, Version::Four)
    }

    fn address(
        &mut self,
        keywords: Keywords<'a>,
        network: Network,
        version: Version,
    ) -> Result<Test, Complaint> {
        let layers: &[Layer] = match (keywords.protocol, version) {
            (None, Version::Four) => &[Layer::Ip, Layer::Arp],
            (Some("ip"), Version::Four) => &[Layer::Ip],
            (Some("arp"), Version::Four) => &[Layer::Arp],
            (None | Some("ip6"), Version::Six) => &[Layer::Ip6],
            (Some(other), _) => {
                let message =
                    format!("{other} has no such addresses; write {other} and host ADDRESS");
                return Err(self.wrong_before(message));
            }
        };
        Ok(Test::Address(keywords.side, network, layers))
    }
}

fn service(name: &str) -> Option<u16> {
    SERVICES
        .iter()
        .find(|(service, _)| *service == name)
        .map(|(_, port)| *port)
}
