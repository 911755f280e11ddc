//! What a packet's descriptors ask for, checked against the packet's length.
//!
//! Offsets are those in the frame that leaves, that is, after a VLAN tag was inserted.

use ixgbe_spec::descriptor::tx::{Context, DataControl, L4Type, LegacyControl};

use super::{
    frame::{COPY_BREAK, HLREG0_TXCRCEN},
    pool::VlanInsertion,
    queue::{Packet, Request},
};
use crate::{
    fcoe::Sequence,
    ipsec::{Protection, Security},
    offload::{Layout, Transport},
    wire::IpVersion,
};

/// Longest frame without FCS: 15.5 KB (1.3). The inserted tag does not count.
pub(super) const MAX_FRAME: usize = 15_872;

/// Shortest frame that is one: the Ethernet header.
const MIN_FRAME: usize = 14;

/// Length of a VLAN tag.
pub(super) const TAG: usize = 4;

/// How a packet becomes frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is one frame.
    Whole(Whole),
    /// It is cut into segments.
    Cut(Cut),
    /// It is one FC frame, or is cut into those of a sequence.
    Fc(Sequence),
}

/// Whether a packet is a short frame that leaves as it is, with the FCS of the MAC.
#[inline]
pub(super) fn is_short(packet: &Packet, insertion: VlanInsertion, hlreg0: u32) -> bool {
    let as_it_is = match packet.request {
        Request::Advanced(control, _) => {
            let asks = control.tse()
                || control.vle()
                || control.ixsm()
                || control.txsm()
                || control.ipsec()
                || control.cc();
            control.ifcs() && !asks
        }
        Request::Legacy(_) | Request::Pass => false,
    };
    as_it_is
        && packet.descriptors == 1
        && (MIN_FRAME..=COPY_BREAK).contains(&packet.len)
        && insertion == VlanInsertion::AsAsked
        && hlreg0 & HLREG0_TXCRCEN != 0
}

/// A packet that is one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// VLAN tag control information to insert.
    pub tag: Option<u16>,
    /// Who provides the FCS.
    pub fcs: FcsBy,
    /// The IPv4 header whose checksum is to be inserted: its start and its end.
    pub ip: Option<(usize, usize)>,
    /// L4 checksum to insert.
    pub l4: L4Checksum,
    /// IPsec that is to be applied.
    pub ipsec: Option<IpSecAt>,
}

/// IPsec of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IpSecAt {
    /// First byte of the IP header.
    pub ip_start: usize,
    /// What is to be done.
    pub security: Security,
}

/// Who provides the FCS of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FcsBy {
    /// The MAC (IFCS).
    Mac,
    /// The driver: the frame's last four bytes.
    Driver,
}

/// An L4 checksum to insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum L4Checksum {
    /// None.
    None,
    /// The ones' complement sum from `start` to the end of the packet goes to `at`.
    Sum {
        /// First byte that is summed.
        start: usize,
        /// Place of the checksum.
        at: usize,
        /// How a sum of zero is written.
        zero: ZeroSum,
    },
    /// The CRC32c from `start` to the end of the packet goes to `start` + 8 (SCTP, RFC 9260).
    Crc32c {
        /// First byte of the SCTP header.
        start: usize,
    },
}

/// How a checksum of zero is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZeroSum {
    /// As it is.
    Zero,
    /// As 0xFFFF, for UDP, where 0 means that there is none.
    Ones,
}

/// A packet that is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// VLAN tag control information to insert into each segment.
    pub tag: Option<u16>,
    /// Where the headers lie.
    pub layout: Layout,
    /// Length of the headers in memory, that is, without the tag.
    pub header_len: usize,
    /// Length of the payload.
    pub payload_len: usize,
    /// Payload bytes a segment, not 0.
    pub mss: u16,
    /// Whether the IPv4 checksum is inserted (IXSM).
    pub ip_checksum: Insert,
    /// Whether the L4 checksum is inserted (TXSM).
    pub l4_checksum: Insert,
    /// IPsec that is to be applied to each segment.
    pub ipsec: Option<IpSecAt>,
}

/// Whether a checksum is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insert {
    /// Yes.
    Yes,
    /// No: the template's field stays.
    No,
}

/// Why a packet is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its descriptors are not such as the datasheet allows.
    Descriptor,
    /// Its offload contradicts it.
    Offload,
}

impl Plan {
    /// How `packet` becomes frames, with the VLAN tags that `insertion` says; `None` if none leaves.
    pub fn of(packet: &Packet, insertion: VlanInsertion) -> Option<Result<Self, Fault>> {
        match packet.request {
            Request::Pass => None,
            Request::Legacy(control) => {
                Some(Whole::legacy(control, packet.len, insertion).map(Self::Whole))
            }
            Request::Advanced(control, Some(context)) if asks_for_fc(control, context) => {
                Some(fc(control, context, packet.len, insertion).map(Self::Fc))
            }
            Request::Advanced(control, context) => Some(if control.tse() {
                Cut::new(control, context, packet.len, insertion).map(Self::Cut)
            } else {
                Whole::advanced(control, context, packet.len, insertion).map(Self::Whole)
            }),
        }
    }
}

/// Whether a packet is one of FC frames.
fn asks_for_fc(control: DataControl, context: Context) -> bool {
    context.high.fcoe() && (control.cc() || control.tse())
}

fn fc(
    control: DataControl,
    context: Context,
    len: usize,
    insertion: VlanInsertion,
) -> Result<Sequence, Fault> {
    let tag = insertion.tag(control.vle().then(|| context.low.vlan()));
    let tag = (tag, tag_len(tag));
    Sequence::new(control, context, tag, (len, MAX_FRAME)).ok_or(Fault::Offload)
}

impl Whole {
    fn legacy(control: LegacyControl, len: usize, insertion: VlanInsertion) -> Result<Self, Fault> {
        let tag = insertion.tag(control.vle().then(|| control.vlan()));
        let mut whole = Self::plain(tag, control.ifcs(), len)?;
        let start = usize::from(control.css());
        let at = usize::from(control.cso());
        // A checksum that lies outside of the packet, or at its first byte, is not inserted (7.2.3.2.2).
        if control.ic() && at != 0 && at + 2 <= len && start < len {
            let shift = tag_len(tag);
            whole.l4 = L4Checksum::Sum {
                start: start + shift,
                at: at + shift,
                zero: ZeroSum::Zero,
            };
        }
        Ok(whole)
    }

    fn advanced(
        control: DataControl,
        context: Option<Context>,
        len: usize,
        insertion: VlanInsertion,
    ) -> Result<Self, Fault> {
        let wants_tag = control.vle() && insertion == VlanInsertion::AsAsked;
        let wants_context = wants_tag || control.ixsm() || control.txsm() || control.ipsec();
        let Some(context) = context else {
            let whole = Self::plain(insertion.tag(None), control.ifcs(), len)?;
            return if wants_context {
                Err(Fault::Offload)
            } else {
                Ok(whole)
            };
        };
        let tag = insertion.tag(control.vle().then(|| context.low.vlan()));
        let mut whole = Self::plain(tag, control.ifcs(), len)?;
        let mut end = len + tag_len(tag);
        let ip_start = usize::from(context.low.maclen()) + tag_len(tag);
        let ip_len = usize::from(context.low.iplen());
        let l4_start = ip_start + ip_len;
        if control.ipsec() {
            let security = Security::of(&context);
            // The MAC's FCS comes after the check value, so the driver's cannot be right.
            if !control.ifcs() || security.trailer_len > end {
                return Err(Fault::Offload);
            }
            end -= security.trailer_len;
            whole.ipsec = Some(IpSecAt { ip_start, security });
        }
        if control.ixsm() {
            if !context.high.ipv4() || ip_len < 20 || l4_start > end {
                return Err(Fault::Offload);
            }
            whole.ip = Some((ip_start, l4_start));
        }
        if control.txsm() {
            let (l4, header_len) = match context.high.l4t() {
                L4Type::Tcp => {
                    let at = l4_start + Transport::Tcp.checksum_offset();
                    (
                        L4Checksum::Sum {
                            start: l4_start,
                            at,
                            zero: ZeroSum::Zero,
                        },
                        20,
                    )
                }
                L4Type::Udp => {
                    let at = l4_start + Transport::Udp.checksum_offset();
                    (
                        L4Checksum::Sum {
                            start: l4_start,
                            at,
                            zero: ZeroSum::Ones,
                        },
                        8,
                    )
                }
                L4Type::Sctp => (L4Checksum::Crc32c { start: l4_start }, 12),
                L4Type::Reserved => return Err(Fault::Offload),
            };
            if l4_start + header_len > end {
                return Err(Fault::Offload);
            }
            whole.l4 = l4;
        }
        Ok(whole)
    }

    fn plain(tag: Option<u16>, ifcs: bool, len: usize) -> Result<Self, Fault> {
        let fcs = if ifcs { FcsBy::Mac } else { FcsBy::Driver };
        if (MIN_FRAME..=MAX_FRAME).contains(&len) {
            Ok(Self {
                tag,
                fcs,
                ip: None,
                l4: L4Checksum::None,
                ipsec: None,
            })
        } else {
            Err(Fault::Descriptor)
        }
    }

    /// Bytes of the frame, tag included, that are edited or that a wire wants in one piece.
    pub fn header_len(&self) -> usize {
        let ip_end = self.ip.map_or(0, |(_, end)| end);
        let l4_end = match self.l4 {
            L4Checksum::None => 0,
            L4Checksum::Sum { at, .. } => at + 2,
            L4Checksum::Crc32c { start } => start + 12,
        };
        (MIN_FRAME + tag_len(self.tag)).max(ip_end).max(l4_end)
    }
}

impl Cut {
    fn new(
        control: DataControl,
        context: Option<Context>,
        len: usize,
        insertion: VlanInsertion,
    ) -> Result<Self, Fault> {
        let context = context.ok_or(Fault::Offload)?;
        let tag = insertion.tag(control.vle().then(|| context.low.vlan()));
        let transport = match context.high.l4t() {
            L4Type::Tcp => Transport::Tcp,
            L4Type::Udp => Transport::Udp,
            L4Type::Sctp | L4Type::Reserved => return Err(Fault::Offload),
        };
        let mac_len = usize::from(context.low.maclen());
        let ip_len = usize::from(context.low.iplen());
        let header_len = mac_len + ip_len + usize::from(context.high.l4len());
        let payload_len = usize::try_from(control.paylen()).unwrap_or(usize::MAX);
        let mss = context.high.mss();
        let trailer = if control.ipsec() {
            Protection::LONGEST_TRAILER
        } else {
            0
        };
        let longest = header_len + usize::from(mss).min(payload_len) + trailer;
        // Segmentation itself checks the lengths of the IP and L4 headers.
        if mac_len < MIN_FRAME
            || mss == 0
            || payload_len == 0
            || header_len.checked_add(payload_len) != Some(len)
            || longest > MAX_FRAME
        {
            return Err(Fault::Offload);
        }
        let ip_start = mac_len + tag_len(tag);
        let ip = if context.high.ipv4() {
            IpVersion::V4
        } else {
            IpVersion::V6
        };
        let insert = |wanted: bool| if wanted { Insert::Yes } else { Insert::No };
        Ok(Self {
            tag,
            layout: Layout {
                ip,
                ip_start,
                l4_start: ip_start + ip_len,
                transport,
            },
            header_len,
            payload_len,
            mss,
            ip_checksum: insert(control.ixsm()),
            l4_checksum: insert(control.txsm()),
            ipsec: control.ipsec().then(|| IpSecAt {
                ip_start,
                security: Security::of(&context),
            }),
        })
    }
}

/// Length of an optional tag.
pub(super) const fn tag_len(tag: Option<u16>) -> usize {
    if tag.is_some() { TAG } else { 0 }
}
