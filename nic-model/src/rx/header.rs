//! The header parser: what the card recognises in a frame (7.1.10, 7.1.6.2).
//!
//! It looks at a window of the first [`WINDOW`] bytes only. What lies beyond is not recognised, as with headers that
//! are too long for the card's own parser.

use ixgbe_spec::{descriptor::rx::PacketType, register::bits::rfctl};

/// Bytes of a frame that the parser looks at.
pub(crate) const WINDOW: usize = 192;

/// Length of an Ethernet header without tags.
pub(crate) const ETHERNET_LEN: usize = 14;

/// Shortest IPv4 header.
const IPV4_LEN: usize = 20;
/// The fixed IPv6 header.
const IPV6_LEN: usize = 40;
/// What counts as a type rather than a length in an Ethernet header (IEEE 802.3, 3.2.6).
const FIRST_ETHERTYPE: u16 = 0x600;

/// IP protocol numbers.
pub(crate) mod protocol {
    /// IPv6 hop-by-hop options.
    pub(crate) const HOP_BY_HOP: u8 = 0;
    /// TCP.
    pub(crate) const TCP: u8 = 6;
    /// UDP.
    pub(crate) const UDP: u8 = 17;
    /// IPv6 routing header.
    pub(crate) const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub(crate) const FRAGMENT: u8 = 44;
    /// IPsec ESP.
    pub(crate) const ESP: u8 = 50;
    /// IPsec AH.
    pub(crate) const AH: u8 = 51;
    /// IPv6 destination options.
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub(crate) const SCTP: u8 = 132;
}

/// What registers say about parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Ethertype of a VLAN tag (VLNCTRL.VET).
    pub(crate) vlan_type: u16,
    /// Ethertype of the outer tag if there are two (EXVET with CTRL_EXT.EXTENDED_VLAN).
    pub(crate) outer_vlan_type: Option<u16>,
    /// RFCTL.
    pub(crate) rfctl: u32,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Place of the tag, its ethertype first, from the start of the frame.
    pub(crate) offset: u8,
    /// Tag control information: priority, CFI and VLAN id.
    pub(crate) tci: u16,
}

impl Tag {
    /// Length of a tag.
    pub(crate) const LEN: usize = 4;

    /// VLAN id.
    pub(crate) const fn id(self) -> u16 {
        self.tci & 0xFFF
    }

    /// User priority.
    pub(crate) const fn priority(self) -> u8 {
        (self.tci >> 13) as u8
    }

    /// Canonical form indicator.
    pub(crate) const fn cfi(self) -> bool {
        self.tci & 1 << 12 != 0
    }
}

/// The network layer of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum L3 {
    /// Not IP, or not intact.
    #[default]
    None,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// The transport layer of a frame; never of a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum L4 {
    /// None that the card knows, or not intact.
    #[default]
    None,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// What was recognised. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The VLAN tag; with two tags, the inner one.
    pub(crate) tag: Option<Tag>,
    /// Whether there is an outer tag.
    pub(crate) outer_tag: bool,
    /// Whether the L3 header follows an LLC/SNAP header.
    pub(crate) snap: bool,
    /// Ethertype behind tags and SNAP; 0 if the frame has a length instead.
    pub(crate) ethertype: u16,
    /// The length in place of an ethertype.
    pub(crate) length: Option<u16>,
    /// First byte behind the L2 header.
    pub(crate) l3_offset: u16,
    /// Network layer.
    pub(crate) l3: L3,
    /// First byte behind the IP header and its extension headers.
    pub(crate) l4_offset: u16,
    /// Transport layer.
    pub(crate) l4: L4,
    /// First byte behind the L4 header; equal to `l4_offset` without L4.
    pub(crate) payload_offset: u16,
    /// First byte behind the IP packet, by its length field; padding follows.
    pub(crate) ip_end: u16,
    /// The protocol that follows the IP headers.
    pub(crate) ip_protocol: u8,
    /// The IP packet is a fragment.
    pub(crate) fragment: bool,
    /// An IPv6 routing header has addresses left: the destination is not the one the L4 checksum covers.
    pub(crate) source_routed: bool,
    /// The type for the descriptor.
    pub(crate) packet_type: PacketType,
}

impl Headers {
    /// Parses the first bytes of a frame, `window`, of `frame_len` bytes in all (without FCS).
    pub(crate) fn parse(window: &[u8], frame_len: usize, settings: &Settings) -> Self {
        let mut parser = Parser {
            window,
            frame_len,
            settings,
            headers: Self::default(),
        };
        // A header that the frame cuts short leaves what was recognised until there.
        let _ = parser.ethernet();
        parser.headers
    }

    /// Source and destination address of the IP header, empty if there is none. `window` is what was parsed.
    #[inline]
    pub(crate) fn addresses<'a>(&self, window: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (offset, len) = match self.l3 {
            L3::None => return (&[], &[]),
            L3::Ipv4 => (12, 4),
            L3::Ipv6 => (8, 16),
        };
        let at = usize::from(self.l3_offset) + offset;
        window
            .get(at..at + 2 * len)
            .unwrap_or_default()
            .split_at_checked(len)
            .unwrap_or_default()
    }
}

/// The big-endian 16-bit word at `offset`.
#[inline]
pub(crate) fn word(window: &[u8], offset: usize) -> Option<u16> {
    let bytes = window.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

struct Parser<'a> {
    window: &'a [u8],
    frame_len: usize,
    settings: &'a Settings,
    headers: Headers,
}

impl Parser<'_> {
    fn byte(&self, offset: usize) -> Option<u8> {
        self.window.get(offset).copied()
    }

    fn word(&self, offset: usize) -> Option<u16> {
        word(self.window, offset)
    }

    fn ethernet(&mut self) -> Option<()> {
        let mut at = ETHERNET_LEN - 2;
        let mut ethertype = self.word(at)?;
        if Some(ethertype) == self.settings.outer_vlan_type {
            self.headers.outer_tag = true;
            at += Tag::LEN;
            ethertype = self.word(at)?;
        }
        if ethertype == self.settings.vlan_type {
            self.headers.tag = Some(Tag {
                offset: u8::try_from(at).ok()?,
                tci: self.word(at + 2)?,
            });
            at += Tag::LEN;
            ethertype = self.word(at)?;
        }
        at += 2;
        self.headers.l3_offset = u16::try_from(at).ok()?;
        if ethertype < FIRST_ETHERTYPE {
            self.headers.length = Some(ethertype);
            if self.window.get(at..at + 6)? != [0xAA, 0xAA, 3, 0, 0, 0] {
                return None;
            }
            self.headers.snap = true;
            ethertype = self.word(at + 6)?;
            at += 8;
            self.headers.l3_offset = u16::try_from(at).ok()?;
        }
        self.headers.ethertype = ethertype;
        match ethertype {
            0x0800 => self.ipv4(at),
            0x86DD if self.settings.rfctl & rfctl::IPV6_DIS == 0 => self.ipv6(at),
            _ => None,
        }
    }

    fn ipv4(&mut self, at: usize) -> Option<()> {
        let version = self.byte(at)?;
        let header_len = usize::from(version & 0xF) * 4;
        let total_len = usize::from(self.word(at + 2)?);
        let fragment = self.word(at + 6)?;
        let protocol = self.byte(at + 9)?;
        let l4 = at + header_len;
        if version >> 4 != 4
            || header_len < IPV4_LEN
            || total_len < header_len
            || l4 > self.window.len()
        {
            return None;
        }
        self.headers.l3 = L3::Ipv4;
        self.headers.packet_type = PacketType::IPV4;
        if header_len > IPV4_LEN {
            self.headers.packet_type |= PacketType::IPV4_OPTIONS;
        }
        self.headers.fragment = fragment & 0x3FFF != 0;
        self.transport(protocol, l4, at + total_len)
    }

    fn ipv6(&mut self, at: usize) -> Option<()> {
        if self.byte(at)? >> 4 != 6 || at + IPV6_LEN > self.window.len() {
            return None;
        }
        let end = at + IPV6_LEN + usize::from(self.word(at + 4)?);
        let mut next = self.byte(at + 6)?;
        let mut at = at + IPV6_LEN;
        self.headers.l3 = L3::Ipv6;
        self.headers.packet_type = PacketType::IPV6;
        // Each header is at least eight bytes long, so the window bounds the loop.
        while matches!(
            next,
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::DESTINATION_OPTIONS
        ) {
            self.headers.packet_type |= PacketType::IPV6_EXTENSIONS;
            if self.settings.rfctl & rfctl::IPV6_EX_DIS != 0 {
                return self.transport_unknown(next, at, end);
            }
            let Some(len) = self.byte(at + 1) else {
                return self.transport_unknown(next, at, end);
            };
            if next == protocol::FRAGMENT {
                self.headers.fragment = true;
                return self.transport_unknown(self.byte(at)?, at + 8, end);
            }
            if next == protocol::ROUTING && self.byte(at + 3) != Some(0) {
                self.headers.source_routed = true;
            }
            next = self.byte(at)?;
            at += (usize::from(len) + 1) * 8;
        }
        self.transport(next, at, end)
    }

    /// Ends the walk before an L4 header.
    fn transport_unknown(&mut self, protocol: u8, at: usize, end: usize) -> Option<()> {
        self.headers.ip_protocol = protocol;
        self.headers.l4_offset = u16::try_from(at.min(end).min(self.frame_len)).ok()?;
        self.headers.payload_offset = self.headers.l4_offset;
        self.headers.ip_end = u16::try_from(end).ok()?;
        Some(())
    }

    fn transport(&mut self, protocol: u8, at: usize, end: usize) -> Option<()> {
        self.transport_unknown(protocol, at, end)?;
        if self.headers.fragment {
            return Some(());
        }
        let (l4, header_len) = match protocol {
            protocol::TCP => (L4::Tcp, usize::from(self.byte(at + 12)? >> 4) * 4),
            protocol::UDP => (L4::Udp, 8),
            protocol::SCTP => (L4::Sctp, 12),
            protocol::ESP => {
                self.headers.packet_type |= PacketType::ESP;
                return Some(());
            }
            protocol::AH => {
                self.headers.packet_type |= PacketType::AH;
                return Some(());
            }
            _ => return Some(()),
        };
        let payload = at + header_len;
        if (l4 == L4::Tcp && header_len < 20) || payload > end || payload > self.window.len() {
            return None;
        }
        self.headers.l4 = l4;
        self.headers.payload_offset = u16::try_from(payload).ok()?;
        self.headers.packet_type |= match l4 {
            L4::Tcp => PacketType::TCP,
            L4::Udp => PacketType::UDP,
            _ => PacketType::SCTP,
        };
        if l4 != L4::Sctp && self.is_nfs(l4, payload) {
            self.headers.packet_type |= PacketType::NFS;
        }
        Some(())
    }

    /// An NFS call: a Sun RPC call of program 100003 to port 2049 (7.1.10). Replies name no program and are not
    /// recognised.
    fn is_nfs(&self, l4: L4, payload: usize) -> bool {
        const PORT: u16 = 2049;
        const CALL: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xA3];
        let rpc = if l4 == L4::Tcp { payload + 4 } else { payload };
        self.word(usize::from(self.headers.l4_offset) + 2) == Some(PORT)
            && self.settings.rfctl & rfctl::NFSW_DIS == 0
            && self.window.get(rpc + 4..rpc + 4 + CALL.len()) == Some(&CALL[..])
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Settings = Settings {
        vlan_type: 0x8100,
        outer_vlan_type: None,
        rfctl: 0,
    };
    const DOUBLE: Settings = Settings {
        outer_vlan_type: Some(0x88A8),
        ..SETTINGS
    };

    fn parse(frame: &[u8], settings: &Settings) -> Headers {
        Headers::parse(&frame[..frame.len().min(WINDOW)], frame.len(), settings)
    }

    fn tcp4() -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1024, 80, 1, 100)
            .write(&mut frame, b"payload")
            .unwrap();
        frame
    }

    #[test]
    fn tcp_over_ipv4_is_recognised_up_to_its_payload() {
        let frame = tcp4();

        let headers = parse(&frame, &SETTINGS);

        assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
        assert_eq!((headers.l3, headers.l4), (L3::Ipv4, L4::Tcp));
        assert_eq!((headers.l3_offset, headers.l4_offset), (14, 34));
        assert_eq!((headers.payload_offset, headers.ip_end), (54, 61));
        assert_eq!(headers.tag, None);
    }

    #[test]
    fn a_tagged_frame_is_typed_behind_the_tag() {
        let mut frame = tcp4();
        frame.splice(12..12, [0x81, 0x00, 0x60, 0x64]);

        let headers = parse(&frame, &SETTINGS);

        let tag = headers.tag.unwrap();
        assert_eq!((tag.offset, tag.id(), tag.priority()), (12, 100, 3));
        assert!(!tag.cfi());
        assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
        assert_eq!(headers.l3_offset, 18);
    }

    #[test]
    fn of_two_tags_the_inner_one_is_the_vlan_tag() {
        let mut frame = tcp4();
        frame.splice(12..12, [0x88, 0xA8, 0, 7, 0x81, 0x00, 0, 9]);

        let headers = parse(&frame, &DOUBLE);

        assert!(headers.outer_tag);
        assert_eq!(headers.tag, Some(Tag { offset: 16, tci: 9 }));
        assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
    }

    #[test]
    fn an_outer_tag_alone_is_no_vlan_tag() {
        let mut frame = tcp4();
        frame.splice(12..12, [0x88, 0xA8, 0, 7]);

        let headers = parse(&frame, &DOUBLE);

        assert!(headers.outer_tag);
        assert_eq!(headers.tag, None);
        assert_eq!(headers.l3, L3::Ipv4);
    }

    #[test]
    fn ip_behind_a_snap_header_is_recognised() {
        let mut frame = tcp4();
        let length = u16::try_from(frame.len() - 14 + 8).unwrap();
        frame.splice(12..14, length.to_be_bytes());
        frame.splice(14..14, [0xAA, 0xAA, 3, 0, 0, 0, 8, 0]);

        let headers = parse(&frame, &SETTINGS);

        assert!(headers.snap);
        assert_eq!(headers.length, Some(length));
        assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
    }

    #[test]
    fn a_fragment_has_no_transport_layer() {
        let mut frame = tcp4();
        frame[20] = 0x20;

        let headers = parse(&frame, &SETTINGS);

        assert!(headers.fragment);
        assert_eq!(headers.packet_type, PacketType::IPV4);
        assert_eq!(headers.l4, L4::None);
    }

    #[test]
    fn a_routing_header_with_addresses_left_is_noticed() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0, 32, 43, 64]);
        frame.extend([1; 32]);
        frame.extend([17, 2, 2, 1, 0, 0, 0, 0]);
        frame.extend([9; 16]);
        frame.extend([0, 1, 0, 2, 0, 8, 0, 0]);

        let headers = parse(&frame, &SETTINGS);

        assert!(headers.source_routed);
        assert_eq!(headers.l4, L4::Udp);
        assert_eq!(
            headers.packet_type,
            PacketType::IPV6 | PacketType::IPV6_EXTENSIONS | PacketType::UDP
        );
    }

    #[test]
    fn an_endless_extension_chain_ends_with_the_window() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0x20, 0, 0, 64]);
        frame.resize(9000, 0);

        let headers = parse(&frame, &SETTINGS);

        assert_eq!(headers.l4, L4::None);
        assert_eq!(headers.l3, L3::Ipv6);
    }

    #[test]
    fn an_nfs_call_is_recognised() {
        let mut call = [0; 40];
        call[0] = 0x77;
        call[11] = 2;
        call[13..16].copy_from_slice(&[1, 0x86, 0xA3]);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(1024, 2049)
            .write(&mut frame, &call)
            .unwrap();

        let headers = parse(&frame, &SETTINGS);

        assert_eq!(
            headers.packet_type,
            PacketType::IPV4 | PacketType::UDP | PacketType::NFS
        );
    }

    #[derive(Clone, Debug)]
    struct Build {
        six: bool,
        udp: bool,
        vlan: Option<u16>,
        hop_by_hop: bool,
        options: u8,
        payload: Vec<u8>,
    }

    fn build() -> impl Strategy<Value = Build> {
        (
            any::<bool>(),
            any::<bool>(),
            proptest::option::of(0u16..4096),
            any::<bool>(),
            0u8..=5,
            proptest::collection::vec(any::<u8>(), 0..200),
        )
            .prop_map(|(six, udp, vlan, hop_by_hop, options, payload)| Build {
                six,
                udp,
                vlan,
                hop_by_hop,
                options,
                payload,
            })
    }

    fn frame_of(build: &Build) -> Vec<u8> {
        use etherparse::{
            IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header,
            Ipv6RawExtHeader, VlanId,
        };
        let ip = if build.six {
            let extensions = Ipv6Extensions {
                hop_by_hop_options: build.hop_by_hop.then(|| {
                    Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]).unwrap()
                }),
                ..Ipv6Extensions::default()
            };
            IpHeaders::Ipv6(
                Ipv6Header {
                    source: [1; 16],
                    destination: [2; 16],
                    ..Ipv6Header::default()
                },
                extensions,
            )
        } else {
            let mut header =
                Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
            let options = [1; 20];
            header.options = options[..usize::from(build.options) * 4]
                .try_into()
                .unwrap();
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        };
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        let builder = match build.vlan {
            Some(id) => ethernet.single_vlan(VlanId::try_new(id).unwrap()).ip(ip),
            None => ethernet.ip(ip),
        };
        if build.udp {
            builder.udp(7, 9).write(&mut frame, &build.payload).unwrap();
        } else {
            builder
                .tcp(7, 9, 3, 4)
                .write(&mut frame, &build.payload)
                .unwrap();
        }
        frame
    }

    proptest! {
        #[test]
        fn the_parser_agrees_with_etherparse(build in build()) {
            let frame = frame_of(&build);
            let oracle = PacketHeaders::from_ethernet_slice(&frame).unwrap();

            let headers = parse(&frame, &SETTINGS);

            prop_assert_eq!(
                headers.tag.map(Tag::id),
                oracle.vlan_ids().first().map(|id| id.value())
            );
            let options = match oracle.net.unwrap() {
                NetHeaders::Ipv4(ip, _) => {
                    prop_assert_eq!(headers.l3, L3::Ipv4);
                    prop_assert_eq!(
                        headers.l4_offset - headers.l3_offset,
                        u16::try_from(ip.header_len()).unwrap()
                    );
                    headers.packet_type.contains(PacketType::IPV4_OPTIONS) != ip.options.is_empty()
                }
                NetHeaders::Ipv6(_, extensions) => {
                    prop_assert_eq!(headers.l3, L3::Ipv6);
                    headers.packet_type.contains(PacketType::IPV6_EXTENSIONS)
                        != extensions.is_empty()
                }
                NetHeaders::Arp(_) => false,
            };
            prop_assert!(options);
            let l4 = match oracle.transport.unwrap() {
                TransportHeader::Udp(_) => L4::Udp,
                _ => L4::Tcp,
            };
            prop_assert_eq!(headers.l4, l4);
            let payload = oracle.payload.slice();
            prop_assert_eq!(&frame[usize::from(headers.payload_offset)..], payload);
            prop_assert_eq!(usize::from(headers.ip_end), frame.len());
        }

        #[test]
        fn no_bytes_take_the_parser_out_of_the_frame(
            mut frame in proptest::collection::vec(any::<u8>(), 0..300),
            six in any::<bool>(),
        ) {
            if let Some(place) = frame.get_mut(12..15) {
                place.copy_from_slice(if six { &[0x86, 0xDD, 0x60] } else { &[8, 0, 0x45] });
            }

            let headers = parse(&frame, &SETTINGS);

            prop_assert!(usize::from(headers.l4_offset) <= frame.len());
            prop_assert!(usize::from(headers.payload_offset) <= frame.len());
        }
    }
}
