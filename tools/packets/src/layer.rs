//! The table of headers and their fields.

/// How a field's value is written and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, decimal or with `0x`.
    Number,
    /// A number that is shown in hex.
    Hex,
    /// A MAC address.
    Mac,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// One bit, which its name alone sets.
    Flag,
    /// A number, some of which have names.
    Names(&'static [(&'static str, u128)]),
    /// Bits, each with a letter.
    Letters(&'static [(char, u128)]),
    /// Bits, each with a name; `+` between them.
    Bits(&'static [(&'static str, u128)]),
    /// A checksum: a number, `good` or `bad`.
    Checksum,
    /// A length, counted in units of so many bytes: a number, `good`, or so much more or less than that (`+4`, `-4`).
    Length(u8),
}

/// A field of a header.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Where it starts in the header, in bits.
    pub(crate) at: usize,
    /// How many bits it has, at most 128.
    pub(crate) width: usize,
    /// How it is written and shown.
    pub kind: Kind,
    /// It shows a part of what another field shows; comparisons leave it out.
    pub(crate) part: bool,
}

impl Field {
    const fn new(name: &'static str, at: usize, width: usize, kind: Kind) -> Self {
        Self {
            name,
            aliases: &[],
            at,
            width,
            kind,
            part: false,
        }
    }

    const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn part(mut self) -> Self {
        self.part = true;
        self
    }

    /// No field of a header: numbers of 32 bits.
    pub(crate) const NUMBERS: Self = Self::new("number", 0, 32, Number);

    /// The largest value that fits.
    pub(crate) const fn max(&self) -> u128 {
        if self.width >= 128 {
            u128::MAX
        } else {
            (1 << self.width) - 1
        }
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Ethernet: addresses and, behind any tags, the type.
    Eth,
    /// A VLAN tag.
    Vlan,
    /// ARP for IPv4 over Ethernet.
    Arp,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv6's fragment header.
    Frag6,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP over IPv4.
    Icmp,
    /// ICMP over IPv6.
    Icmp6,
    /// SCTP's common header.
    Sctp,
}

use Kind::{Bits, Checksum, Flag, Hex, Ipv4, Ipv6, Length, Letters, Mac, Names, Number};

/// Ethertypes with a name.
pub(crate) const ETHER_TYPES: &[(&str, u128)] = &[
    ("ip", 0x0800),
    ("arp", 0x0806),
    ("ip6", 0x86DD),
    ("vlan", 0x8100),
    ("qinq", 0x88A8),
    ("rarp", 0x8035),
    ("mpls", 0x8847),
    ("pause", 0x8808),
    ("lacp", 0x8809),
    ("lldp", 0x88CC),
    ("ptp", 0x88F7),
    ("fcoe", 0x8906),
    ("loopback", 0x9000),
];
/// Protocols over IP with a name.
pub(crate) const PROTOCOLS: &[(&str, u128)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("ip6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("sctp", 132),
];
/// Types of ICMP with a name.
pub(crate) const ICMP_TYPES: &[(&str, u128)] = &[
    ("echo", 8),
    ("echo-reply", 0),
    ("unreachable", 3),
    ("redirect", 5),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp", 13),
    ("timestamp-reply", 14),
];
/// Types of ICMPv6 with a name.
pub(crate) const ICMP6_TYPES: &[(&str, u128)] = &[
    ("echo", 128),
    ("echo-reply", 129),
    ("unreachable", 1),
    ("too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("router-solicit", 133),
    ("router-advert", 134),
    ("neighbor-solicit", 135),
    ("neighbor-advert", 136),
];
/// Flags of TCP, as tcpdump and scapy write them.
const TCP_FLAGS: &[(char, u128)] = &[
    ('F', 0x01),
    ('S', 0x02),
    ('R', 0x04),
    ('P', 0x08),
    ('A', 0x10),
    ('U', 0x20),
    ('E', 0x40),
    ('C', 0x80),
];
const IP_FLAGS: &[(&str, u128)] = &[("DF", 2), ("MF", 1), ("evil", 4)];
const OPERATIONS: &[(&str, u128)] = &[("request", 1), ("reply", 2), ("who-has", 1), ("is-at", 2)];

const ETH: &[Field] = &[
    Field::new("dst", 0, 48, Mac),
    Field::new("src", 48, 48, Mac),
    // Of a tagged frame, what stands behind the tags.
    Field::new("type", 96, 16, Names(ETHER_TYPES)).or(&["proto", "ethertype"]),
];
const VLAN: &[Field] = &[
    Field::new("tpid", 0, 16, Hex).or(&["type"]),
    Field::new("pcp", 16, 3, Number).or(&["prio", "p"]),
    Field::new("dei", 19, 1, Flag).or(&["cfi"]),
    Field::new("id", 20, 12, Number).or(&["vid", "vlan"]),
];
const ARP: &[Field] = &[
    Field::new("hrd", 0, 16, Number).or(&["hwtype"]),
    Field::new("pro", 16, 16, Hex).or(&["ptype"]),
    Field::new("hln", 32, 8, Number).or(&["hwlen"]),
    Field::new("pln", 40, 8, Number).or(&["plen"]),
    Field::new("op", 48, 16, Names(OPERATIONS)),
    Field::new("sha", 64, 48, Mac).or(&["hwsrc"]),
    Field::new("spa", 112, 32, Ipv4).or(&["psrc", "tell"]),
    Field::new("tha", 144, 48, Mac).or(&["hwdst"]),
    Field::new("tpa", 192, 32, Ipv4).or(&["pdst", "who-has"]),
];
const IP: &[Field] = &[
    Field::new("version", 0, 4, Number),
    Field::new("ihl", 4, 4, Length(4)),
    Field::new("tos", 8, 8, Hex),
    Field::new("dscp", 8, 6, Number).part(),
    Field::new("ecn", 14, 2, Number).part(),
    Field::new("len", 16, 16, Length(1)),
    Field::new("id", 32, 16, Number),
    Field::new("flags", 48, 3, Bits(IP_FLAGS)),
    Field::new("df", 49, 1, Flag).part(),
    Field::new("mf", 50, 1, Flag).part(),
    Field::new("frag", 51, 13, Number).or(&["offset"]),
    Field::new("ttl", 64, 8, Number),
    Field::new("proto", 72, 8, Names(PROTOCOLS)),
    Field::new("sum", 80, 16, Checksum).or(&["chksum", "checksum"]),
    Field::new("src", 96, 32, Ipv4),
    Field::new("dst", 128, 32, Ipv4),
];
const IP6: &[Field] = &[
    Field::new("version", 0, 4, Number),
    Field::new("tc", 4, 8, Hex).or(&["class", "tos"]),
    Field::new("dscp", 4, 6, Number).part(),
    Field::new("ecn", 10, 2, Number).part(),
    Field::new("flow", 12, 20, Hex).or(&["fl"]),
    Field::new("len", 32, 16, Length(1)).or(&["plen"]),
    Field::new("next", 48, 8, Names(PROTOCOLS)).or(&["nh", "proto"]),
    Field::new("hop", 56, 8, Number).or(&["hlim", "ttl"]),
    Field::new("src", 64, 128, Ipv6),
    Field::new("dst", 192, 128, Ipv6),
];
const FRAG6: &[Field] = &[
    Field::new("next", 0, 8, Names(PROTOCOLS)),
    Field::new("frag", 16, 13, Number).or(&["offset"]),
    Field::new("mf", 31, 1, Flag),
    Field::new("id", 32, 32, Number),
];
const TCP: &[Field] = &[
    Field::new("sport", 0, 16, Number),
    Field::new("dport", 16, 16, Number),
    Field::new("seq", 32, 32, Number),
    Field::new("ack", 64, 32, Number),
    Field::new("off", 96, 4, Length(4)).or(&["dataofs"]),
    Field::new("flags", 104, 8, Letters(TCP_FLAGS)),
    Field::new("window", 112, 16, Number).or(&["win"]),
    Field::new("sum", 128, 16, Checksum).or(&["chksum", "checksum"]),
    Field::new("urg", 144, 16, Number).or(&["urgptr"]),
];
const UDP: &[Field] = &[
    Field::new("sport", 0, 16, Number),
    Field::new("dport", 16, 16, Number),
    Field::new("len", 32, 16, Length(1)),
    Field::new("sum", 48, 16, Checksum).or(&["chksum", "checksum"]),
];
const ICMP: &[Field] = &[
    Field::new("type", 0, 8, Names(ICMP_TYPES)),
    Field::new("code", 8, 8, Number),
    Field::new("sum", 16, 16, Checksum).or(&["chksum", "checksum"]),
    Field::new("id", 32, 16, Number),
    Field::new("seq", 48, 16, Number).or(&["mtu"]),
];
const ICMP6: &[Field] = &[
    Field::new("type", 0, 8, Names(ICMP6_TYPES)),
    Field::new("code", 8, 8, Number),
    Field::new("sum", 16, 16, Checksum).or(&["chksum", "checksum"]),
    Field::new("id", 32, 16, Number),
    Field::new("seq", 48, 16, Number),
];
const SCTP: &[Field] = &[
    Field::new("sport", 0, 16, Number),
    Field::new("dport", 16, 16, Number),
    Field::new("tag", 32, 32, Hex).or(&["vtag"]),
    Field::new("sum", 64, 32, Checksum).or(&["chksum", "checksum"]),
];

impl Layer {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Eth,
        Self::Vlan,
        Self::Arp,
        Self::Ip,
        Self::Ip6,
        Self::Frag6,
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Icmp6,
        Self::Sctp,
    ];

    /// Its name, which is its flag without the dashes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eth => "eth",
            Self::Vlan => "vlan",
            Self::Arp => "arp",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Frag6 => "frag6",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Sctp => "sctp",
        }
    }

    /// The layer of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }

    /// Its fields, in the order of the header.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Eth => ETH,
            Self::Vlan => VLAN,
            Self::Arp => ARP,
            Self::Ip => IP,
            Self::Ip6 => IP6,
            Self::Frag6 => FRAG6,
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Icmp => ICMP,
            Self::Icmp6 => ICMP6,
            Self::Sctp => SCTP,
        }
    }

    /// The field of this name or alias.
    #[must_use]
    pub fn field(self, name: &str) -> Option<&'static Field> {
        self.fields()
            .iter()
            .find(|field| field.name == name || field.aliases.contains(&name))
    }

    /// The field whose name may be left out before its value.
    pub(crate) const fn unnamed(self) -> Option<&'static str> {
        match self {
            Self::Vlan => Some("id"),
            Self::Arp => Some("op"),
            Self::Icmp | Self::Icmp6 => Some("type"),
            _ => None,
        }
    }

    /// Bytes of the header without options. An Ethernet header ends before its type, which stands behind the tags.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Eth | Self::Sctp => 12,
            Self::Vlan => 4,
            Self::Arp => 28,
            Self::Ip | Self::Tcp => 20,
            Self::Ip6 => 40,
            Self::Frag6 | Self::Udp | Self::Icmp | Self::Icmp6 => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_fields_of_a_layer_have_the_same_name() {
        let names = |layer: Layer| {
            let fields = layer.fields().iter();
            fields
                .flat_map(|field| std::iter::once(field.name).chain(field.aliases.iter().copied()))
        };

        let twice = Layer::ALL
            .into_iter()
            .filter(|layer| names(*layer).count() != names(*layer).collect::<HashSet<_>>().len())
            .collect::<Vec<_>>();

        assert_eq!(twice, []);
    }

    #[test]
    fn every_field_lies_in_its_header() {
        let outside = |layer: Layer| {
            // The type of a frame stands behind its addresses.
            let len = layer.len() + if layer == Layer::Eth { 2 } else { 0 };
            layer
                .fields()
                .iter()
                .filter(move |field| field.at + field.width > 8 * len)
        };

        assert_eq!(Layer::ALL.into_iter().flat_map(outside).next(), None);
    }
}
