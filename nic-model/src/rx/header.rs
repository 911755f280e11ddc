//! The header parser: what the card recognises in a frame (7.1.10, 7.1.6.2).
//!
//! It looks at a window of the first [`WINDOW`] bytes only. What lies beyond is not recognised, as with headers that
//! are too long for the card's own parser.

use std::num::NonZeroU32;

use ixgbe_spec::{descriptor::rx::PacketType, register::bits::rfctl};
use serde::{Deserialize, Serialize};

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

/// A VLAN tag, in one word so that it moves as one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Tag(NonZeroU32);

impl Tag {
    /// Length of a tag.
    pub(crate) const LEN: usize = 4;

    /// A tag at `offset`, which is never 0, with this control information.
    pub(crate) const fn new(offset: u8, tci: u16) -> Option<Self> {
        match NonZeroU32::new((offset as u32) << 16 | tci as u32) {
            Some(word) if offset != 0 => Some(Self(word)),
            _ => None,
        }
    }

    /// Place of the tag, its ethertype first, from the start of the frame.
    pub(crate) const fn offset(self) -> usize {
        (self.0.get() >> 16) as usize
    }

    /// Tag control information: priority, CFI and VLAN id.
    pub(crate) const fn tci(self) -> u16 {
        (self.0.get() & 0xFFFF) as u16
    }

    /// VLAN id.
    pub(crate) const fn id(self) -> u16 {
        self.tci() & 0xFFF
    }

    /// User priority.
    pub(crate) const fn priority(self) -> u8 {
        (self.tci() >> 13) as u8
    }

    /// Canonical form indicator.
    pub(crate) const fn cfi(self) -> bool {
        self.tci() & 1 << 12 != 0
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
    /// Bytes of the frame, without FCS.
    pub(crate) frame_len: u16,
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
    /// Place of the address in an IPv6 home address option (RFC 6275, 6.3), which stands for the source; 0 if there is
    /// none.
    pub(crate) home_address: u16,
    /// Place of the address in an IPv6 routing header of type 2 (RFC 6275, 6.4), which stands for the destination; 0 if
    /// there is none.
    pub(crate) routed_address: u16,
    /// An IPv6 routing header has addresses left: the destination is not the one the L4 checksum covers.
    pub(crate) source_routed: bool,
    /// The type for the descriptor.
    pub(crate) packet_type: PacketType,
}

impl Headers {
    /// Parses the first bytes of a frame, `window`, of `frame_len` bytes in all (without FCS).
    ///
    /// The result is made in its place: to move it would wait until all that was stored before, the frame in client memory
    /// included, is in the cache.
    pub(crate) fn parse(&mut self, window: &[u8], frame_len: usize, settings: &Settings) {
        *self = Self {
            frame_len: u16::try_from(frame_len).unwrap_or(u16::MAX),
            ..Self::default()
        };
        let mut parser = Parser {
            window,
            frame_len,
            settings,
            headers: self,
        };
        // A header that the frame cuts short leaves what was recognised until there.
        let _ = parser.ethernet();
    }

    /// What lies behind an IPsec header that the security block has opened: a packet of `protocol` from `start` to `end`.
    pub(crate) fn behind_ipsec(
        mut self,
        window: &[u8],
        frame_len: usize,
        settings: &Settings,
        (protocol, start, end): (u8, usize, usize),
    ) -> Self {
        let mut parser = Parser {
            window,
            frame_len,
            settings,
            headers: &mut self,
        };
        let _ = parser.transport(protocol, start, end);
        self
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
    headers: &'a mut Headers,
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
            self.headers.tag = Tag::new(u8::try_from(at).ok()?, self.word(at + 2)?);
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
            let end_of_header = at + (usize::from(len) + 1) * 8;
            if next == protocol::ROUTING && self.byte(at + 2) == Some(2) && len == 2 {
                self.headers.routed_address = u16::try_from(at + 8).ok()?;
            }
            if next == protocol::DESTINATION_OPTIONS {
                // Options that the frame cuts short hold none.
                let _ = self.home_address(at + 2, end_of_header);
            }
            next = self.byte(at)?;
            at = end_of_header;
        }
        self.transport(next, at, end)
    }

    /// Looks for a home address option among the options from `at` to `end`.
    fn home_address(&mut self, mut at: usize, end: usize) -> Option<()> {
        const PAD_1: u8 = 0;
        const HOME_ADDRESS: u8 = 0xC9;
        // Each option is at least a byte long, so the window bounds the loop.
        while at < end {
            let kind = self.byte(at)?;
            if kind == PAD_1 {
                at += 1;
                continue;
            }
            let len = usize::from(self.byte(at + 1)?);
            if kind == HOME_ADDRESS && len == 16 && at + 18 <= end {
                self.headers.home_address = u16::try_from(at + 2).ok()?;
            }
            at += 2 + len;
        }
        Some(())
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
mod tests;
