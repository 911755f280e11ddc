//! What a transmit queue's descriptors say, in the order in which the driver hands them over.

use ixgbe_spec::descriptor::tx::{
    Context, DataControl, Descriptor as Raw, Kind, L4Type, LegacyControl,
};
use smallvec::SmallVec;

use super::{Rule, memory};
use crate::{bus::Bus, observe::Descriptor};

/// Bytes of a frame that are looked at: more than the longest headers of a context.
const HEAD: usize = 256;
/// Descriptors of a packet that are remembered for that.
const BUFFERS: usize = 16;
/// IPv4 protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// What is wrong with a descriptor.
pub(super) type Wrong = SmallVec<[(Rule, String); 2]>;

/// What the descriptors so far have brought.
#[derive(Debug, Default)]
pub(super) struct Stream {
    contexts: [Option<Context>; 2],
    packet: Option<Packet>,
}

/// A packet whose end has not been handed over yet.
#[derive(Debug)]
struct Packet {
    request: Request,
    /// Sum of the descriptors' lengths.
    len: usize,
    /// Where its first bytes are.
    buffers: SmallVec<[(u64, u16); BUFFERS]>,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Legacy(LegacyControl),
    Advanced(DataControl, Option<Context>),
}

impl Stream {
    /// The queue was disabled, or something of it is not known: forgets everything.
    pub(super) const fn new() -> Self {
        Self {
            contexts: [None; 2],
            packet: None,
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Takes the next descriptor.
    pub(super) fn next(&mut self, descriptor: &Descriptor, bus: &dyn Bus) -> Wrong {
        let mut wrong = Wrong::new();
        let raw = Raw {
            low: descriptor.low.into(),
            high: descriptor.high.into(),
        };
        match raw.decode() {
            Kind::Context(context) => {
                if self.packet.is_some() {
                    let what = "a context stands between the data descriptors of a packet";
                    wrong.push((Rule::PacketMixed, what.to_owned()));
                }
                let idx = context.high.idx();
                match self.contexts.get_mut(usize::from(idx)) {
                    Some(slot) => *slot = Some(context),
                    None => {
                        let what = format!("a context is for slot {idx}; there are 0 and 1");
                        wrong.push((Rule::ContextSlotReserved, what));
                    }
                }
            }
            Kind::Data(data) => {
                let control = data.control;
                let first = self.packet.is_none();
                let request = if first {
                    self.begin(control, &mut wrong)
                } else {
                    Request::Advanced(control, None)
                };
                self.add(request, (data.address, control.dtalen()), &mut wrong);
                if control.eop() {
                    self.end(bus, &mut wrong);
                }
            }
            Kind::Legacy(legacy) => {
                let control = legacy.control;
                let buffer = (legacy.address, control.length());
                self.add(Request::Legacy(control), buffer, &mut wrong);
                if control.eop() {
                    self.end(bus, &mut wrong);
                }
            }
            Kind::Reserved { dtyp } => {
                let what = format!("DTYP is {dtyp}; there are 2, a context, and 3, data");
                wrong.push((Rule::DescriptorTypeReserved, what));
                self.packet = None;
            }
        }
        wrong
    }

    /// The first data descriptor of a packet, with the context that it names.
    fn begin(&self, control: DataControl, wrong: &mut Wrong) -> Request {
        let offloads = [
            (control.tse(), "TSE"),
            (control.ixsm(), "IXSM"),
            (control.txsm(), "TXSM"),
            (control.ipsec(), "IPSEC"),
            (control.vle(), "VLE"),
            (control.cc(), "CC"),
        ];
        let asked: Vec<&str> = offloads
            .into_iter()
            .filter_map(|(set, name)| set.then_some(name))
            .collect();
        if asked.is_empty() {
            return Request::Advanced(control, None);
        }
        let idx = control.idx();
        let asked = asked.join(", ");
        let context = match self.contexts.get(usize::from(idx)) {
            Some(Some(context)) => Some(*context),
            Some(None) => {
                let what =
                    format!("a packet asks for {asked} by context slot {idx}, which was not set");
                wrong.push((Rule::ContextNotSet, what));
                None
            }
            None => {
                let what =
                    format!("a packet asks for {asked} by context slot {idx}; there are 0 and 1");
                wrong.push((Rule::ContextSlotReserved, what));
                None
            }
        };
        Request::Advanced(control, context)
    }

    fn add(&mut self, request: Request, (address, len): (u64, u16), wrong: &mut Wrong) {
        let packet = self.packet.get_or_insert(Packet {
            request,
            len: 0,
            buffers: SmallVec::new(),
        });
        let same = matches!(
            (packet.request, request),
            (Request::Legacy(_), Request::Legacy(_))
                | (Request::Advanced(..), Request::Advanced(..))
        );
        if !same {
            let what = "legacy and advanced descriptors stand in one packet".to_owned();
            wrong.push((Rule::PacketMixed, what));
        }
        packet.len += usize::from(len);
        if packet.buffers.len() < BUFFERS {
            packet.buffers.push((address, len));
        }
    }

    /// The last descriptor of a packet was taken.
    fn end(&mut self, bus: &dyn Bus, wrong: &mut Wrong) {
        let Some(packet) = self.packet.take() else {
            return;
        };
        match packet.request {
            Request::Legacy(control) => {
                let (start, place) = (usize::from(control.css()), usize::from(control.cso()));
                if control.ic() && (start >= packet.len || place + 2 > packet.len) {
                    let what = format!(
                        "a checksum from byte {start} on goes to byte {place} of a packet of {} bytes",
                        packet.len
                    );
                    wrong.push((Rule::ChecksumContradictsFrame, what));
                }
            }
            Request::Advanced(control, context) => {
                packet.check_length(control, context, wrong);
                if let Some(context) = context
                    && !context.high.fcoe()
                    && !control.ipsec()
                    && (control.tse() || control.ixsm() || control.txsm())
                {
                    let head = packet.head(bus);
                    packet.check_headers(control, context, &head, wrong);
                }
            }
        }
    }
}

impl Packet {
    /// The first bytes, as far as they can be read at once.
    fn head(&self, bus: &dyn Bus) -> SmallVec<[u8; HEAD]> {
        let mut head = SmallVec::new();
        for (address, len) in &self.buffers {
            let room = HEAD - head.len();
            let start = head.len();
            head.resize(start + usize::from(*len).min(room), 0);
            let piece = head.get_mut(start..).unwrap_or_default();
            if !memory::read(bus, *address, piece) {
                head.truncate(start);
                break;
            }
            if head.len() == HEAD {
                break;
            }
        }
        head
    }

    fn check_length(&self, control: DataControl, context: Option<Context>, wrong: &mut Wrong) {
        let headers = match context {
            Some(context) if control.tse() && context.high.fcoe() => return,
            Some(context) if control.tse() => headers_len(context),
            None if control.tse() => return,
            _ => 0,
        };
        let Some(expected) = self.len.checked_sub(headers) else {
            let what = format!(
                "headers of {headers} bytes (MACLEN + IPLEN + L4LEN) in a packet of {} bytes",
                self.len
            );
            wrong.push((Rule::TsoContradictsFrame, what));
            return;
        };
        let paylen = control.paylen() as usize;
        if paylen != expected {
            let of = if control.tse() {
                format!(" behind {headers} bytes of headers")
            } else {
                String::new()
            };
            let what =
                format!("PAYLEN is {paylen}; the packet's descriptors have {expected} bytes{of}");
            wrong.push((Rule::PaylenContradictsPacket, what));
        }
    }

    fn check_headers(
        &self,
        control: DataControl,
        context: Context,
        head: &[u8],
        wrong: &mut Wrong,
    ) {
        let mut checksum = |what: String| wrong.push((Rule::ChecksumContradictsFrame, what));
        let (maclen, iplen) = (
            usize::from(context.low.maclen()),
            usize::from(context.low.iplen()),
        );
        let l4 = maclen + iplen;
        let ipv4 = context.high.ipv4();
        if l4 > self.len {
            checksum(format!(
                "MACLEN {maclen} and IPLEN {iplen} reach beyond a packet of {} bytes",
                self.len
            ));
            return;
        }
        // A buffer that cannot be read is another rule's affair.
        let Some(&first) = head.get(maclen) else {
            return;
        };
        let (version, named) = (first >> 4, if ipv4 { 4 } else { 6 });
        // For the L4 checksum alone the version does not matter, and Linux leaves the flag out.
        let ipv4 = if control.tse() || control.ixsm() {
            if version != named {
                checksum(format!(
                    "the context says IPv{named}; at MACLEN ({maclen}) stands a header of version {version}"
                ));
                return;
            }
            ipv4
        } else {
            version == 4
        };
        if control.ixsm() && !ipv4 {
            checksum("IXSM asks for the checksum of an IPv6 header, which has none".to_owned());
        }
        let (own, protocol) = if ipv4 {
            (usize::from(first & 0xF) * 4, head.get(maclen + 9))
        } else {
            (40, head.get(maclen + 6))
        };
        if iplen < own {
            checksum(format!("IPLEN is {iplen}; the IP header has {own} bytes"));
            return;
        }
        if !(control.txsm() || control.tse()) {
            return;
        }
        let l4t = context.high.l4t();
        let number = match l4t {
            L4Type::Udp => Some(UDP),
            L4Type::Tcp => Some(TCP),
            L4Type::Sctp => Some(SCTP),
            L4Type::Reserved => None,
        };
        // With more than the header itself in IPLEN (a tunnel, extension headers) the field is of another header.
        if iplen == own
            && let Some(protocol) = protocol
            && number != Some(*protocol)
        {
            checksum(format!(
                "L4T is {l4t:?}; the IP header says protocol {protocol}"
            ));
            return;
        }
        if control.tse() {
            self.check_segmentation(context, head, l4, wrong);
        }
    }

    fn check_segmentation(&self, context: Context, head: &[u8], l4: usize, wrong: &mut Wrong) {
        let mut tso = |what: String| wrong.push((Rule::TsoContradictsFrame, what));
        if context.high.mss() == 0 {
            tso("MSS is 0".to_owned());
        }
        let l4len = usize::from(context.high.l4len());
        let own = match context.high.l4t() {
            L4Type::Tcp => head.get(l4 + 12).map(|byte| usize::from(byte >> 4) * 4),
            L4Type::Udp => Some(8),
            L4Type::Sctp | L4Type::Reserved => None,
        };
        if let Some(own) = own
            && own != l4len
        {
            tso(format!("L4LEN is {l4len}; the L4 header has {own} bytes"));
        }
    }
}

/// Bytes of headers that each segment has.
fn headers_len(context: Context) -> usize {
    usize::from(context.low.maclen())
        + usize::from(context.low.iplen())
        + usize::from(context.high.l4len())
}
