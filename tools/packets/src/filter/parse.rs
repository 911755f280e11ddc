//! Understanding a filter.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::{Range, RangeInclusive},
};

use super::{
    Course, Node,
    arithmetic::{Comparison, Number, Operator, Relation},
    test::{Network, Side, Test},
    token::{Token, tokens},
};
use crate::{
    complaint::{Complaint, list},
    layer::{ETHER_TYPES, Layer, PROTOCOLS},
    value::{self, mac, mac_value},
};

/// Parentheses and brackets within each other.
const MAX_DEPTH: usize = 64;

const WORDS: [&str; 34] = [
    "host",
    "net",
    "port",
    "portrange",
    "src",
    "dst",
    "ether",
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "esp",
    "ah",
    "vlan",
    "proto",
    "broadcast",
    "multicast",
    "less",
    "greater",
    "len",
    "inbound",
    "outbound",
    "not",
    "and",
    "or",
    "an address",
    "a number",
    "PROTOCOL[BYTE:SIZE]",
];
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
/// Names of offsets and values in headers, as tcpdump knows them.
const CONSTANTS: &[(&str, u32)] = &[
    ("tcpflags", 13),
    ("tcp-fin", 1),
    ("tcp-syn", 2),
    ("tcp-rst", 4),
    ("tcp-push", 8),
    ("tcp-ack", 16),
    ("tcp-urg", 32),
    ("tcp-ece", 64),
    ("tcp-cwr", 128),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-timxceed", 11),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
];

/// Keywords before a value.
#[derive(Clone, Copy, Debug, Default)]
struct Keywords<'a> {
    protocol: Option<&'a str>,
    side: Side,
    kind: Option<Subject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

enum Either {
    Condition(Node),
    Number(Number),
}

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
    /// Those of the value before.
    last: Option<Keywords<'a>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, Complaint> {
        Ok(Self {
            text,
            tokens: tokens(text)?,
            next: 0,
            depth: 0,
            last: None,
        })
    }

    pub(super) fn whole(mut self) -> Result<Option<Node>, Complaint> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let root = self.condition()?;
        match self.peek() {
            None => Ok(Some(root)),
            Some(")") => Err(self.wrong("there is no ( that this one closes")),
            Some(_) => Err(self.wrong("and, or, or the end of the filter is wanted")),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.next).map(|token| token.text)
    }

    fn peek_after(&self) -> Option<&'a str> {
        self.tokens.get(self.next + 1).map(|token| token.text)
    }

    /// Goes on if this is next.
    fn take(&mut self, text: &str) -> bool {
        let is = self.peek() == Some(text);
        self.next += usize::from(is);
        is
    }

    fn place(&self) -> Range<usize> {
        let end = self.text.len();
        self.tokens
            .get(self.next)
            .map_or(end..end, |token| token.place.clone())
    }

    /// About the next word.
    fn wrong(&self, message: impl Into<String>) -> Complaint {
        Complaint::new(self.text, self.place(), message)
    }

    /// About the word before.
    fn wrong_before(&mut self, message: impl Into<String>) -> Complaint {
        self.next = self.next.saturating_sub(1);
        self.wrong(message)
    }

    /// The next word, if it is one.
    fn word(&mut self, wanted: &str) -> Result<&'a str, Complaint> {
        match self.tokens.get(self.next) {
            Some(token) if token.is_word => {
                self.next += 1;
                Ok(token.text)
            }
            _ => Err(self.wrong(format!("{wanted} is wanted"))),
        }
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, Complaint>,
    ) -> Result<T, Complaint> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("too many parentheses within each other"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn condition(&mut self) -> Result<Node, Complaint> {
        match self.either()? {
            Either::Condition(node) => Ok(node),
            Either::Number(_) => Err(self.wrong("a comparison is wanted: = != < <= > >=")),
        }
    }

    fn either(&mut self) -> Result<Either, Complaint> {
        let mut left = match self.term_or_number()? {
            Either::Condition(node) => node,
            number => return Ok(number),
        };
        loop {
            if self.take("and") || self.take("&&") {
                left = Node::And(Box::new(left), Box::new(self.term()?));
            } else if self.take("or") || self.take("||") {
                left = Node::Or(Box::new(left), Box::new(self.term()?));
            } else {
                return Ok(Either::Condition(left));
            }
        }
    }

    fn term(&mut self) -> Result<Node, Complaint> {
        match self.term_or_number()? {
            Either::Condition(node) => Ok(node),
            Either::Number(_) => Err(self.wrong("a comparison is wanted: = != < <= > >=")),
        }
    }

    fn term_or_number(&mut self) -> Result<Either, Complaint> {
        let mut negative = false;
        let mut any = false;
        while self.take("not") || self.take("!") {
            negative = !negative;
            any = true;
        }
        let either = match self.operand()? {
            Either::Number(number) => self.comparison(number)?,
            condition => condition,
        };
        match either {
            Either::Condition(node) if negative => Ok(Either::Condition(Node::Not(Box::new(node)))),
            Either::Number(_) if any => Err(self.wrong("a comparison is wanted: = != < <= > >=")),
            either => Ok(either),
        }
    }

    /// What follows a number.
    fn comparison(&mut self, first: Number) -> Result<Either, Complaint> {
        let left = self.arithmetic(first, 0)?;
        let Some(relation) = self.peek().and_then(Relation::of) else {
            return Ok(Either::Number(left));
        };
        self.next += 1;
        let right = self.number()?;
        let right = self.arithmetic(right, 0)?;
        Ok(Either::Condition(Node::Comparison(Comparison {
            relation,
            left,
            right,
        })))
    }

    fn arithmetic(&mut self, mut left: Number, rank: u8) -> Result<Number, Complaint> {
        while let Some(operator) = self
            .peek()
            .and_then(Operator::of)
            .filter(|operator| operator.rank() >= rank)
        {
            self.next += 1;
            let mut right = self.number()?;
            while self
                .peek()
                .and_then(Operator::of)
                .is_some_and(|next| next.rank() > operator.rank())
            {
                right = self.arithmetic(right, operator.rank() + 1)?;
            }
            left = Number::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn number(&mut self) -> Result<Number, Complaint> {
        let begin = self.next;
        match self.operand()? {
            Either::Number(number) => Ok(number),
            Either::Condition(_) => {
                self.next = begin;
                Err(self.wrong("a number is wanted"))
            }
        }
    }

    fn operand(&mut self) -> Result<Either, Complaint> {
        if self.take("(") {
            let inner = self.deeper(Self::either)?;
            if !self.take(")") {
                return Err(self.wrong(") is wanted"));
            }
            return Ok(inner);
        }
        let Some(word) = self.peek() else {
            return Err(self.wrong("the filter ends where a condition is wanted"));
        };
        let after = self.peek_after();
        if after == Some("[") {
            return self.bytes(word).map(Either::Number);
        }
        if word == "len" {
            self.next += 1;
            return Ok(Either::Number(Number::Length));
        }
        let constant = CONSTANTS
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, value)| *value);
        if let Some(value) = constant {
            self.next += 1;
            return Ok(Either::Number(Number::Constant(value)));
        }
        let in_arithmetic = after
            .is_some_and(|sign| Operator::of(sign).is_some() || Relation::of(sign).is_some())
            || self
                .next
                .checked_sub(1)
                .and_then(|before| self.tokens.get(before))
                .is_some_and(|before| {
                    Operator::of(before.text).is_some()
                        || Relation::of(before.text).is_some()
                        || matches!(before.text, "[" | ":")
                });
        if in_arithmetic && let Some(value) = value::number(word) {
            let value =
                u32::try_from(value).map_err(|_| self.wrong("a number of 32 bits is wanted"))?;
            self.next += 1;
            return Ok(Either::Number(Number::Constant(value)));
        }
        self.primitive().map(Either::Condition)
    }

    /// `PROTOCOL[BYTE:SIZE]`
    fn bytes(&mut self, protocol: &str) -> Result<Number, Complaint> {
        let of: &[Layer] = match protocol {
            "ether" => &[],
            "ip" => &[Layer::Ip],
            "ip6" => &[Layer::Ip6],
            "arp" => &[Layer::Arp],
            "tcp" => &[Layer::Tcp],
            "udp" => &[Layer::Udp],
            "sctp" => &[Layer::Sctp],
            "icmp" => &[Layer::Icmp],
            "icmp6" => &[Layer::Icmp6],
            _ => {
                return Err(self.wrong(
                    "before [ stands one of ether, ip, ip6, arp, tcp, udp, sctp, icmp, icmp6",
                ));
            }
        };
        self.next += 2;
        let at = self.deeper(|parser| {
            let first = parser.number()?;
            parser.arithmetic(first, 0)
        })?;
        let size = if self.take(":") {
            match self.word("1, 2 or 4")? {
                "1" => 1,
                "2" => 2,
                "4" => 4,
                _ => return Err(self.wrong_before("1, 2 or 4 is wanted")),
            }
        } else {
            1
        };
        if !self.take("]") {
            return Err(self.wrong("] is wanted"));
        }
        Ok(Number::Bytes {
            of,
            at: Box::new(at),
            size,
        })
    }

    fn primitive(&mut self) -> Result<Node, Complaint> {
        let word = self.word("a condition")?;
        let test = match word {
            "vlan" => {
                let id = match self
                    .peek()
                    .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
                {
                    Some(id) => {
                        let id = id.parse().ok().filter(|id| *id < 4096);
                        Some(id.ok_or_else(|| self.wrong("a VLAN has a number from 0 to 4095"))?)
                    }
                    None => None,
                };
                self.next += usize::from(id.is_some());
                Test::Vlan(id)
            }
            "less" | "greater" => {
                let bytes = self.word("a number of bytes")?;
                let bytes = bytes
                    .parse()
                    .map_err(|_| self.wrong_before("a number of bytes is wanted"))?;
                let relation = if word == "less" {
                    Relation::LessOrEqual
                } else {
                    Relation::GreaterOrEqual
                };
                return Ok(Node::Comparison(Comparison {
                    relation,
                    left: Number::Length,
                    right: Number::Constant(bytes),
                }));
            }
            "inbound" => Test::Course(Course::Inbound),
            "outbound" => Test::Course(Course::Outbound),
            "broadcast" => Test::EtherBroadcast,
            "multicast" => Test::EtherMulticast,
            "host" | "net" | "port" | "portrange" | "src" | "dst" | "proto" => {
                self.next -= 1;
                return self.value(Keywords::default());
            }
            "ether" | "ip" | "ip6" | "arp" | "rarp" | "tcp" | "udp" | "sctp" | "icmp" | "icmp6"
            | "igmp" | "esp" | "ah" => {
                return self.protocol(word);
            }
            _ => {
                self.next -= 1;
                return self.bare(word);
            }
        };
        Ok(Node::Test(test))
    }

    /// What follows the name of a protocol.
    fn protocol(&mut self, protocol: &'a str) -> Result<Node, Complaint> {
        match (protocol, self.peek()) {
            (_, Some("host" | "net" | "port" | "portrange" | "src" | "dst" | "proto")) => {
                return self.value(Keywords {
                    protocol: Some(protocol),
                    ..Keywords::default()
                });
            }
            ("ether" | "ip" | "ip6", Some(word @ ("broadcast" | "multicast"))) => {
                self.next += 1;
                let test = match (protocol, word) {
                    ("ether", "broadcast") => Test::EtherBroadcast,
                    ("ether", _) => Test::EtherMulticast,
                    ("ip", "broadcast") => Test::IpBroadcast,
                    ("ip", _) => Test::IpMulticast,
                    (_, "multicast") => Test::Ip6Multicast,
                    _ => {
                        return Err(
                            self.wrong_before("IPv6 has no broadcast; ip6 multicast is wanted")
                        );
                    }
                };
                return Ok(Node::Test(test));
            }
            ("ether", _) => {
                return Err(
                    self.wrong("after ether stands host, src, dst, proto, broadcast or multicast")
                );
            }
            _ => {}
        }
        let test = match protocol {
            "ip" | "ip6" | "arp" | "rarp" => ETHER_TYPES
                .iter()
                .find(|(name, _)| *name == protocol)
                .and_then(|(_, value)| u16::try_from(*value).ok())
                .map(Test::EtherType),
            "icmp" | "igmp" => {
                number_of(protocol).map(|number| Test::Protocol(number, &[Layer::Ip]))
            }
            "icmp6" => number_of(protocol).map(|number| Test::Protocol(number, &[Layer::Ip6])),
            _ => number_of(protocol).map(|number| Test::Protocol(number, &[Layer::Ip, Layer::Ip6])),
        };
        test.map(Node::Test)
            .ok_or_else(|| self.wrong_before("unknown protocol"))
    }

    /// Side, kind, and value.
    fn value(&mut self, mut keywords: Keywords<'a>) -> Result<Node, Complaint> {
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
    fn bare(&mut self, word: &'a str) -> Result<Node, Complaint> {
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
            None | Some("ip" | "ip6") => TRANSPORTS,
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
            (Some("arp" | "rarp"), Version::Four) => &[Layer::Arp],
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

#[derive(Clone, Copy)]
enum Version {
    Four,
    Six,
}

fn service(name: &str) -> Option<u16> {
    SERVICES
        .iter()
        .find(|(service, _)| *service == name)
        .map(|(_, port)| *port)
}

fn number_of(protocol: &str) -> Option<u8> {
    let found = PROTOCOLS.iter().find(|(name, _)| *name == protocol)?;
    u8::try_from(found.1).ok()
}
