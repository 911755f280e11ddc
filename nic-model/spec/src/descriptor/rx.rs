//! Receive descriptors: legacy (7.1.5), and advanced in read and write-back format (7.1.6).

use bitfield_struct::bitfield;
use bitflags::bitflags;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout,
    little_endian::{U16, U32, U64},
};

use super::SIZE;

/// How software posts buffers, in the advanced format (7.1.6.1). A legacy descriptor as posted has the same first half
/// and nothing in the second (7.1.5).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Read {
    /// Address of the packet buffer.
    pub packet_address: U64,
    /// Address of the header buffer; means something in the header split modes only, and drivers leave it stale in
    /// the others. Bit 0 is where DD will be.
    pub header_address: U64,
}

const _: () = assert!(size_of::<Read>() == SIZE);

/// How the card returns a descriptor in the advanced format (7.1.6.2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WriteBack {
    /// An [`Info`].
    pub info: U32,
    /// RSS hash, or Flow Director filter id, or a [`Fragment`]; which one is told by RXCSUM and the RSS type.
    pub hash: U32,
    /// A [`Status`].
    pub status: U32,
    /// Bytes in this descriptor's packet buffer.
    pub length: U16,
    /// Tag control information of the VLAN tag that was removed, if [`Status::VP`].
    pub vlan: U16,
}

const _: () = assert!(size_of::<WriteBack>() == SIZE);

impl WriteBack {
    /// The descriptor as the two quadwords that go to memory, low one first.
    #[inline]
    #[must_use]
    pub fn to_words(self) -> (u64, u64) {
        (
            u64::from(self.hash.get()) << 32 | u64::from(self.info.get()),
            u64::from(self.vlan.get()) << 48
                | u64::from(self.length.get()) << 32
                | u64::from(self.status.get()),
        )
    }

    /// Type, RSS type, header length.
    #[must_use]
    pub fn info(&self) -> Info {
        Info::from_bits(self.info.get())
    }

    /// Status and errors.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_bits_retain(self.status.get())
    }
}

/// First dword of the write-back (7.1.6.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Info {
    /// What [`WriteBack::hash`] was computed over.
    #[bits(4)]
    pub rss_type: RssType,
    /// Headers that were recognised.
    #[bits(13, from = PacketType::from_bits_retain, into = PacketType::bits_of)]
    pub packet_type: PacketType,
    /// Number of packets that were coalesced.
    #[bits(4)]
    pub rsc_count: u8,
    /// Bytes in the header buffer; the length of the recognised headers if [`Info::sph`] alone is set.
    #[bits(10)]
    pub header_len: u16,
    /// Split header: `header_len` means something.
    pub sph: bool,
}

/// Type of the RSS hash (7.1.6.2, 7.1.2.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RssType {
    /// No hash was computed.
    #[default]
    None = 0,
    /// TCP over IPv4.
    TcpIpv4 = 1,
    /// IPv4.
    Ipv4 = 2,
    /// TCP over IPv6.
    TcpIpv6 = 3,
    /// IPv6 with extension headers.
    Ipv6Ex = 4,
    /// IPv6.
    Ipv6 = 5,
    /// TCP over IPv6 with extension headers.
    TcpIpv6Ex = 6,
    /// UDP over IPv4.
    UdpIpv4 = 7,
    /// UDP over IPv6.
    UdpIpv6 = 8,
    /// UDP over IPv6 with extension headers.
    UdpIpv6Ex = 9,
    /// A value that the datasheet reserves.
    Reserved = 0xA,
    /// Not a hash but the id of a Flow Director filter.
    FlowDirector = 0xF,
}

impl RssType {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::None,
            1 => Self::TcpIpv4,
            2 => Self::Ipv4,
            3 => Self::TcpIpv6,
            4 => Self::Ipv6Ex,
            5 => Self::Ipv6,
            6 => Self::TcpIpv6Ex,
            7 => Self::UdpIpv4,
            8 => Self::UdpIpv6,
            9 => Self::UdpIpv6Ex,
            0xF => Self::FlowDirector,
            _ => Self::Reserved,
        }
    }

    const fn into_bits(self) -> u8 {
        self as u8
    }
}

bitflags! {
    /// Headers that the card has recognised (7.1.6.2). Without [`PacketType::L2`] each bit is a header.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PacketType: u16 {
        /// IPv4.
        const IPV4 = 1 << 0;
        /// IPv4 with options (along with [`PacketType::IPV4`]).
        const IPV4_OPTIONS = 1 << 1;
        /// IPv6.
        const IPV6 = 1 << 2;
        /// IPv6 with extension headers (along with [`PacketType::IPV6`]).
        const IPV6_EXTENSIONS = 1 << 3;
        /// TCP.
        const TCP = 1 << 4;
        /// UDP.
        const UDP = 1 << 5;
        /// SCTP.
        const SCTP = 1 << 6;
        /// NFS over UDP or TCP.
        const NFS = 1 << 7;
        /// `IPsec` ESP.
        const ESP = 1 << 8;
        /// `IPsec` AH.
        const AH = 1 << 9;
        /// `LinkSec`.
        const LINKSEC = 1 << 10;
        /// An ethertype filter matched: bits 2:0 are its index in ETQF, the others 0.
        const L2 = 1 << 11;
    }
}

impl PacketType {
    const fn bits_of(self) -> u16 {
        self.bits()
    }
}

bitflags! {
    /// Extended status and errors, third dword of the write-back (7.1.6.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Status: u32 {
        /// Descriptor done: the card is through with it.
        const DD = 1 << 0;
        /// End of packet: the last descriptor of a packet. The other bits mean something there only.
        const EOP = 1 << 1;
        /// A Flow Director filter matched.
        const FLM = 1 << 2;
        /// The frame is an 802.1Q frame and [`WriteBack::vlan`] holds its tag.
        const VP = 1 << 3;
        /// The UDP checksum was verified.
        const UDPCS = 1 << 4;
        /// The L4 checksum was verified (L4I).
        const L4CS = 1 << 5;
        /// The IPv4 header checksum was verified.
        const IPCS = 1 << 6;
        /// Passed in-exact filter: a multicast or broadcast address, or a hash hit only.
        const PIF = 1 << 7;
        /// The frame had an outer VLAN tag.
        const VEXT = 1 << 9;
        /// [`Fragment::checksum`] is valid.
        const UDPV = 1 << 10;
        /// The packet caused an immediate interrupt (LLINT).
        const LLINT = 1 << 11;
        /// The time stamp of the frame is in RXSTMP.
        const TS = 1 << 16;
        /// A security offload has worked on the frame.
        const SECP = 1 << 17;
        /// The frame came from another pool of this port.
        const LB = 1 << 18;
        /// Flow Director: the bucket is longer than FDIRCTRL.MAX_LENGTH.
        const FDIR_LENGTH = 1 << 20;
        /// Flow Director: the filter says drop.
        const FDIR_DROP = 1 << 21;
        /// Flow Director: two filters with this signature.
        const FDIR_COLLISION = 1 << 22;
        /// The headers do not fit into the header buffer.
        const HBO = 1 << 23;
        /// SECERR: the SA is of the other `IPsec` protocol.
        const SECERR_PROTOCOL = 1 << 27;
        /// SECERR: the packet is too short for its `IPsec` headers, or cut short.
        const SECERR_LENGTH = 2 << 27;
        /// SECERR, both bits: authentication failed.
        const SECERR_AUTHENTICATION = 3 << 27;
        /// MAC error: FCS, length or symbol error (with FCTRL.SBP only).
        const RXE = 1 << 29;
        /// L4 checksum wrong.
        const L4E = 1 << 30;
        /// IPv4 header checksum wrong.
        const IPE = 1 << 31;
    }
}

impl Status {
    /// In a descriptor without [`Status::EOP`]: NEXTP, the ring index of the packet's next descriptor (bits 19:4).
    #[inline]
    #[must_use]
    pub const fn next_descriptor(index: u16) -> Self {
        Self::from_bits_retain((index as u32) << 4)
    }
}

/// What the bits mean for packets of an ethertype filter of `FCoE` (7.1.6.2). [`WriteBack::hash`] is then the relative
/// offset that follows what the context has got, if there is one.
impl Status {
    /// FCEOFS, along with [`Status::FCEOFE`]: which code of REOFF the frame ends with.
    pub const FCEOFS: Self = Self::IPCS;
    /// FCEOFE: the frame ends, or begins, with a code that data does not have.
    pub const FCEOFE: Self = Self::IPE;
    /// FCSTAT: no context.
    pub const FCSTAT_NO_MATCH: Self = Self::empty();
    /// FCSTAT: there is a context; the whole frame is in the ring.
    pub const FCSTAT_NO_DDP: Self = Self::UDPCS;
    /// FCSTAT: an `FCP_RSP` ends the context; the whole frame is in the ring.
    pub const FCSTAT_FCP_RSP: Self = Self::L4CS;
    /// FCSTAT: the payload is in the user buffers; the headers are in the ring.
    pub const FCSTAT_DDP: Self = Self::UDPCS.union(Self::L4CS);
    /// FCERR: the FC CRC is wrong; nothing else was looked at.
    pub const FCERR_BAD_CRC: Self = Self::fcerr(1);
    /// FCERR: the sequence is aborted, or a code of SOF or EOF is not one of data; the filter context is invalid now.
    pub const FCERR_FILTER: Self = Self::fcerr(2);
    /// FCERR: the DMA context was written after the filter context has seen the first frame.
    pub const FCERR_FIRST_MISSED: Self = Self::fcerr(3);
    /// FCERR: the frame is not the one that the filter context expects, which is invalid now.
    pub const FCERR_OUT_OF_ORDER: Self = Self::fcerr(4);
    /// FCERR: the user buffers do not hold the payload; the DMA context is invalid now.
    pub const FCERR_NO_DMA_RESOURCES: Self = Self::fcerr(5);
    /// FCERR: the DMA context is invalid, and the filter context is not.
    pub const FCERR_DMA_INVALID: Self = Self::fcerr(6);

    /// FCERR, bits 22:20.
    const fn fcerr(code: u32) -> Self {
        Self::from_bits_retain(code << 20)
    }
}

/// [`WriteBack::hash`] if RXCSUM.PCSD is 0 (7.1.6.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Fragment {
    /// Identification of the IPv4 header.
    pub ip_id: u16,
    /// One's complement sum over the IP payload, not complemented, of an IPv4 fragment that carries UDP.
    pub checksum: u16,
}

/// How the card returns a descriptor in the legacy format (7.1.5). The address is left as software wrote it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Legacy {
    /// Address of the buffer.
    pub address: U64,
    /// Bytes in the buffer.
    pub length: U16,
    /// Fragment checksum.
    pub checksum: U16,
    /// The low eight bits of a [`Status`] ([`Status::FLM`] is reserved).
    pub status: u8,
    /// A [`LegacyErrors`].
    pub errors: u8,
    /// VLAN tag control information.
    pub vlan: U16,
}

const _: () = assert!(size_of::<Legacy>() == SIZE);

impl Legacy {
    /// The descriptor as the two quadwords that go to memory, low one first.
    #[inline]
    #[must_use]
    pub fn to_words(self) -> (u64, u64) {
        let [l0, l1] = self.length.to_bytes();
        let [c0, c1] = self.checksum.to_bytes();
        let [v0, v1] = self.vlan.to_bytes();
        (
            self.address.get(),
            u64::from_le_bytes([l0, l1, c0, c1, self.status, self.errors, v0, v1]),
        )
    }
}

bitflags! {
    /// Errors of a legacy descriptor (7.1.5).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LegacyErrors: u8 {
        /// MAC error.
        const RXE = 1 << 0;
        /// TCP, UDP or SCTP checksum wrong.
        const TCPE = 1 << 6;
        /// IPv4 header checksum wrong.
        const IPE = 1 << 7;
    }
}

impl LegacyErrors {
    /// The errors that both formats have.
    #[inline]
    #[must_use]
    pub fn from_status(status: Status) -> Self {
        let mut errors = Self::empty();
        errors.set(Self::RXE, status.contains(Status::RXE));
        errors.set(Self::TCPE, status.contains(Status::L4E));
        errors.set(Self::IPE, status.contains(Status::IPE));
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advanced_write_back_has_the_datasheets_bytes() {
        let descriptor = WriteBack {
            info: Info::new()
                .with_rss_type(RssType::TcpIpv4)
                .with_packet_type(PacketType::IPV4 | PacketType::TCP)
                .into_bits()
                .into(),
            hash: 0x51CC_C178.into(),
            status: (Status::DD | Status::EOP | Status::VP | Status::L4E)
                .bits()
                .into(),
            length: 1514.into(),
            vlan: 0x2064.into(),
        };

        let bytes = [
            0x11, 0x01, 0, 0, 0x78, 0xC1, 0xCC, 0x51, 0x0B, 0, 0, 0x40, 0xEA, 0x05, 0x64, 0x20,
        ];
        assert_eq!(descriptor.as_bytes(), bytes);
        let (low, high) = descriptor.to_words();
        assert_eq!(low.to_le_bytes(), bytes[..8]);
        assert_eq!(high.to_le_bytes(), bytes[8..]);
    }

    #[test]
    fn a_legacy_write_back_has_the_datasheets_bytes() {
        let status = Status::DD | Status::EOP | Status::RXE | Status::IPE;
        let descriptor = Legacy {
            address: 0x1122_3344_5566_7788.into(),
            length: 60.into(),
            checksum: 0xABCD.into(),
            status: 3,
            errors: LegacyErrors::from_status(status).bits(),
            vlan: 0x0102.into(),
        };

        let bytes = [
            0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 60, 0, 0xCD, 0xAB, 3, 0x81, 2, 1,
        ];
        assert_eq!(descriptor.as_bytes(), bytes);
        let (low, high) = descriptor.to_words();
        assert_eq!(low.to_le_bytes(), bytes[..8]);
        assert_eq!(high.to_le_bytes(), bytes[8..]);
    }

    #[test]
    fn the_next_pointer_lies_in_bits_19_to_4() {
        assert_eq!(Status::next_descriptor(0xFFFF).bits(), 0x000F_FFF0);
        assert_eq!(Status::next_descriptor(1).bits(), 0x10);
    }
}
