//! Transmit descriptors: legacy, advanced context, advanced data (7.2.3.2).
//!
//! A driver builds [`Legacy`], [`Context`] or [`Data`] and makes a [`Descriptor`] of it; the card takes it apart with
//! [`Descriptor::decode`].

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, little_endian::U64};

use super::SIZE;

/// A transmit descriptor as it lies in the ring.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Descriptor {
    /// Bytes 0 to 7.
    pub low: U64,
    /// Bytes 8 to 15.
    pub high: U64,
}

const _: () = assert!(size_of::<Descriptor>() == SIZE);

/// DD in the high quadword of any data descriptor: bit 0 of STA (7.2.3.2.2, 7.2.3.2.4).
pub const DD: u64 = 1 << 32;

/// DEXT in the high quadword: the descriptor is an advanced one.
const DEXT: u64 = 1 << 29;

/// DTYP of an advanced context descriptor.
const DTYP_CONTEXT: u8 = 2;
/// DTYP of an advanced data descriptor.
const DTYP_DATA: u8 = 3;

/// A transmit descriptor of a known kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DEXT = 0.
    Legacy(Legacy),
    /// DEXT = 1, DTYP = 2.
    Context(Context),
    /// DEXT = 1, DTYP = 3.
    Data(Data),
    /// DEXT = 1 with a DTYP that the datasheet reserves.
    Reserved {
        /// The type.
        dtyp: u8,
    },
}

impl Descriptor {
    /// Takes the descriptor apart.
    #[inline]
    #[must_use]
    pub fn decode(self) -> Kind {
        let (low, high) = (self.low.get(), self.high.get());
        if high & DEXT == 0 {
            return Kind::Legacy(Legacy {
                address: low,
                control: LegacyControl::from_bits(high),
            });
        }
        let control = DataControl::from_bits(high);
        match control.dtyp() {
            DTYP_CONTEXT => Kind::Context(Context {
                low: ContextLow::from_bits(low),
                high: ContextHigh::from_bits(high),
            }),
            DTYP_DATA => Kind::Data(Data {
                address: low,
                control,
            }),
            dtyp => Kind::Reserved { dtyp },
        }
    }

    /// Whether the card has written the descriptor back.
    #[inline]
    #[must_use]
    pub fn is_done(self) -> bool {
        self.high.get() & DD != 0
    }
}

/// A legacy descriptor (7.2.3.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// Address of the buffer.
    pub address: u64,
    /// The rest.
    pub control: LegacyControl,
}

impl From<Legacy> for Descriptor {
    fn from(legacy: Legacy) -> Self {
        Self {
            low: legacy.address.into(),
            high: legacy.control.with_dext(false).into_bits().into(),
        }
    }
}

/// Bytes 8 to 15 of a legacy descriptor (7.2.3.2.2).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct LegacyControl {
    /// Bytes in the buffer.
    pub length: u16,
    /// Checksum offset: byte of the packet that gets the checksum.
    pub cso: u8,
    /// End of packet.
    pub eop: bool,
    /// Insert FCS.
    pub ifcs: bool,
    /// Insert checksum: the sum from [`LegacyControl::css`] on goes to [`LegacyControl::cso`].
    pub ic: bool,
    /// Report status.
    pub rs: bool,
    __: bool,
    /// Descriptor extension: 0.
    pub dext: bool,
    /// VLAN packet enable: insert [`LegacyControl::vlan`].
    pub vle: bool,
    __: bool,
    /// Descriptor done.
    pub dd: bool,
    #[bits(7)]
    __: u8,
    /// Checksum start: first byte that is summed.
    pub css: u8,
    /// VLAN tag control information.
    pub vlan: u16,
}

/// An advanced context descriptor (7.2.3.2.3): what the data descriptors that name its index share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Bytes 0 to 7.
    pub low: ContextLow,
    /// Bytes 8 to 15.
    pub high: ContextHigh,
}

impl From<Context> for Descriptor {
    fn from(context: Context) -> Self {
        let high = context.high.with_dtyp(DTYP_CONTEXT).with_dext(true);
        Self {
            low: context.low.into_bits().into(),
            high: high.into_bits().into(),
        }
    }
}

/// Bytes 0 to 7 of an advanced context descriptor (7.2.3.2.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextLow {
    /// Length of the IP header with options or extension headers; of a tunnel, up to the inner L4 header.
    #[bits(9)]
    pub iplen: u16,
    /// Length of the MAC header: what lies before the IP header, without the tag that the card inserts.
    #[bits(7)]
    pub maclen: u8,
    /// VLAN tag control information to insert.
    pub vlan: u16,
    /// Index in the `IPsec` SA table.
    #[bits(10)]
    pub ipsec_sa_index: u16,
    /// `FCoE`, with TUCMD.FCOE.
    #[bits(6)]
    pub fcoe: FcoeFlags,
    __: u16,
}

/// What is inserted into an `FCoE` packet (FCoEF, 7.2.3.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FcoeFlags {
    /// EOF: which code of TEOFF ends the frames.
    pub eof: u8,
    /// SOF: class 3; otherwise class 2.
    pub class3: bool,
    /// PARINC: the parameter of each frame is the relative offset of its payload.
    pub parinc: bool,
    /// ORIE: the packet ends its sequence.
    pub orie: bool,
    /// ORIS: the packet begins its sequence.
    pub oris: bool,
}

impl FcoeFlags {
    const fn from_bits(bits: u8) -> Self {
        Self {
            eof: bits & 3,
            class3: bits & 1 << 2 != 0,
            parinc: bits & 1 << 3 != 0,
            orie: bits & 1 << 4 != 0,
            oris: bits & 1 << 5 != 0,
        }
    }

    const fn into_bits(self) -> u8 {
        self.eof & 3
            | (self.class3 as u8) << 2
            | (self.parinc as u8) << 3
            | (self.orie as u8) << 4
            | (self.oris as u8) << 5
    }
}

/// Bytes 8 to 15 of an advanced context descriptor (7.2.3.2.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextHigh {
    /// `IPsec` ESP trailer length.
    #[bits(9)]
    pub ipsec_esp_len: u16,
    /// TUCMD.SNAP.
    pub snap: bool,
    /// TUCMD.IPV4: the IP header is IPv4, otherwise IPv6.
    pub ipv4: bool,
    /// TUCMD.L4T.
    #[bits(2)]
    pub l4t: L4Type,
    /// TUCMD: ESP.
    pub ipsec_esp: bool,
    /// TUCMD: encrypt.
    pub ipsec_encrypt: bool,
    /// TUCMD.FCOE.
    pub fcoe: bool,
    #[bits(4)]
    __: u8,
    /// 2.
    #[bits(4)]
    pub dtyp: u8,
    #[bits(5)]
    __: u8,
    /// 1.
    pub dext: bool,
    #[bits(6)]
    __: u8,
    /// Context slot of the queue, 0 or 1; the other values are reserved.
    #[bits(3)]
    pub idx: u8,
    __: bool,
    /// Length of the L4 header (for TSO).
    pub l4len: u8,
    /// Payload bytes a segment (for TSO).
    pub mss: u16,
}

/// TUCMD.L4T: L4 protocol of the packet (7.2.3.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum L4Type {
    /// UDP.
    #[default]
    Udp = 0,
    /// TCP.
    Tcp = 1,
    /// SCTP.
    Sctp = 2,
    /// Reserved.
    Reserved = 3,
}

impl L4Type {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Udp,
            1 => Self::Tcp,
            2 => Self::Sctp,
            _ => Self::Reserved,
        }
    }

    const fn into_bits(self) -> u8 {
        self as u8
    }
}

/// An advanced data descriptor (7.2.3.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Address of the buffer.
    pub address: u64,
    /// The rest.
    pub control: DataControl,
}

impl From<Data> for Descriptor {
    fn from(data: Data) -> Self {
        let control = data.control.with_dtyp(DTYP_DATA).with_dext(true);
        Self {
            low: data.address.into(),
            high: control.into_bits().into(),
        }
    }
}

/// Bytes 8 to 15 of an advanced data descriptor (7.2.3.2.4). All descriptors of a packet have the same bits but for
/// the length, EOP and RS.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DataControl {
    /// DTALEN: bytes in the buffer.
    pub dtalen: u16,
    #[bits(2)]
    __: u8,
    /// MAC.LINKSEC: apply `LinkSec`.
    pub linksec: bool,
    /// MAC.1588: take the time stamp of the packet.
    pub timestamp: bool,
    /// 3.
    #[bits(4)]
    pub dtyp: u8,
    /// DCMD.EOP: end of packet.
    pub eop: bool,
    /// DCMD.IFCS: insert FCS.
    pub ifcs: bool,
    __: bool,
    /// DCMD.RS: report status.
    pub rs: bool,
    __: bool,
    /// DCMD.DEXT: 1.
    pub dext: bool,
    /// DCMD.VLE: insert the context's VLAN tag.
    pub vle: bool,
    /// DCMD.TSE: segment the packet.
    pub tse: bool,
    /// STA.DD.
    pub dd: bool,
    #[bits(3)]
    __: u8,
    /// Context slot that the packet uses.
    #[bits(3)]
    pub idx: u8,
    /// Check context: the packet uses the context even without an offload.
    pub cc: bool,
    /// POPTS.IXSM: insert the IPv4 header checksum.
    pub ixsm: bool,
    /// POPTS.TXSM: insert the L4 checksum.
    pub txsm: bool,
    /// POPTS.IPSEC.
    pub ipsec: bool,
    #[bits(3)]
    __: u8,
    /// Length of the packet without FCS; with TSE that of the payload alone. 18 bits.
    #[bits(18)]
    pub paylen: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_descriptor_has_the_datasheets_bytes() {
        // What Linux writes for the last buffer of a checksummed, tagged TSO packet.
        let data = Data {
            address: 0x1122_3344_5566_7788,
            control: DataControl::new()
                .with_dtalen(0x4000)
                .with_eop(true)
                .with_ifcs(true)
                .with_rs(true)
                .with_vle(true)
                .with_tse(true)
                .with_cc(true)
                .with_ixsm(true)
                .with_txsm(true)
                .with_paylen(0x1_2345),
        };
        let descriptor = Descriptor::from(data);

        assert_eq!(descriptor.low.get(), 0x1122_3344_5566_7788);
        // DTYP 3 << 20, EOP 1 << 24, IFCS 1 << 25, RS 1 << 27, DEXT 1 << 29, VLE 1 << 30, TSE 1 << 31.
        assert_eq!(descriptor.high.get() & 0xFFFF_FFFF, 0xEB30_4000);
        // CC 1 << 7, POPTS 3 << 8, PAYLEN << 14.
        assert_eq!(descriptor.high.get() >> 32, 0x48D1_4380);
        assert!(!descriptor.is_done());
        assert!(
            matches!(descriptor.decode(), Kind::Data(d) if d.address == data.address && d.control.paylen() == 0x1_2345)
        );
    }

    #[test]
    fn a_context_descriptor_has_the_datasheets_bytes() {
        let context = Context {
            low: ContextLow::new()
                .with_iplen(20)
                .with_maclen(14)
                .with_vlan(0x2064),
            high: ContextHigh::new()
                .with_ipv4(true)
                .with_l4t(L4Type::Tcp)
                .with_idx(1)
                .with_l4len(32)
                .with_mss(1448),
        };
        let descriptor = Descriptor::from(context);

        assert_eq!(descriptor.low.get(), 0x2064_1C14);
        // IPV4 1 << 10, L4T 1 << 11, DTYP 2 << 20, DEXT 1 << 29.
        assert_eq!(descriptor.high.get() & 0xFFFF_FFFF, 0x2020_0C00);
        assert_eq!(descriptor.high.get() >> 32, 0x05A8_2010);
        assert!(
            matches!(descriptor.decode(), Kind::Context(c) if c.low == context.low && c.high.mss() == 1448)
        );
    }

    #[test]
    fn the_flags_of_fcoe_lie_where_linux_puts_them() {
        let flags = FcoeFlags {
            eof: 1,
            class3: true,
            ..FcoeFlags::default()
        };
        let low = |fcoe| ContextLow::new().with_fcoe(fcoe).into_bits() >> 32;

        // EOF 11:10, SOF 12, PARINC 13, ORIE 14, ORIS 15 of the second dword.
        assert_eq!(low(flags), 0x1400);
        let [parinc, orie, oris] = [
            (true, false, false),
            (false, true, false),
            (false, false, true),
        ]
        .map(|(parinc, orie, oris)| FcoeFlags {
            eof: 0,
            class3: false,
            parinc,
            orie,
            oris,
        });
        assert_eq!([parinc, orie, oris].map(low), [0x2000, 0x4000, 0x8000]);
        assert_eq!(ContextLow::from_bits(0xFC00 << 32).fcoe().into_bits(), 0x3F);
    }

    #[test]
    fn a_legacy_descriptor_has_the_datasheets_bytes() {
        let legacy = Legacy {
            address: 0x1000,
            control: LegacyControl::new()
                .with_length(60)
                .with_cso(50)
                .with_eop(true)
                .with_ifcs(true)
                .with_ic(true)
                .with_rs(true)
                .with_vle(true)
                .with_css(34)
                .with_vlan(0x0102),
        };
        let descriptor = Descriptor::from(legacy);

        assert_eq!(
            descriptor.as_bytes(),
            [0, 0x10, 0, 0, 0, 0, 0, 0, 60, 0, 50, 0x4F, 0, 34, 2, 1]
        );
        assert_eq!(descriptor.decode(), Kind::Legacy(legacy));
    }

    #[test]
    fn an_advanced_descriptor_of_another_type_is_reserved() {
        let descriptor = Descriptor {
            low: 0.into(),
            high: (DEXT | 7 << 20).into(),
        };
        assert_eq!(descriptor.decode(), Kind::Reserved { dtyp: 7 });
    }
}
