//! Understanding a filter: conditions, arithmetic, protocols. Values and the keywords before them are in `qualified.rs`.

mod qualified;

use std::ops::Range;

use qualified::Keywords;

use super::{
    Course, Node,
    arithmetic::{Comparison, Number, Operator, Relation},
    test::Test,
    token::{Token, tokens},
};
use crate::{
    complaint::Complaint,
    layer::{ETHER_TYPES, Layer, PROTOCOLS},
    value,
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
                return self.value(Keywords::of(protocol));
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
}

fn number_of(protocol: &str) -> Option<u8> {
    let found = PROTOCOLS.iter().find(|(name, _)| *name == protocol)?;
    u8::try_from(found.1).ok()
}
