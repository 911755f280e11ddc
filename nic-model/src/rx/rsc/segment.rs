//! Which packets can be coalesced (7.11.1), and the flow that a packet belongs to (7.11.2).

use std::net::Ipv4Addr;

use ixgbe_spec::{
    descriptor::rx::{PacketType, Status},
    register::{
        Reg,
        bits::{hlreg0, rscdbu},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    offload::Sum,
    regs::RegisterFile,
    rx::{
        header::{Headers, L3, L4, protocol},
        write_back::Outcome,
    },
    state::StateError,
};

/// An IPv4 header without options.
pub(super) const IPV4_LEN: usize = 20;
/// A TCP header without options.
pub(super) const TCP_LEN: usize = 20;
/// The only TCP options that a segment may have: two times no operation, and a time stamp (RFC 7323, appendix A).
pub(super) const TIMESTAMP_OPTIONS: [u8; 4] = [1, 1, 8, 10];
/// A TCP header with a time stamp.
pub(super) const TCP_TIMESTAMP_LEN: usize = 32;

/// The ACK flag of a TCP header, in its fourteenth byte.
const ACK: u8 = 1 << 4;
/// ECN field of an IPv4 header: congestion experienced.
const CONGESTION: u8 = 3;

/// The four numbers that tell a TCP connection from the others (7.11.2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flow {
    addresses: [u8; 8],
    ports: [u8; 4],
}

/// A TCP segment over IPv4 for a queue that coalesces.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Segment {
    /// Whose it is.
    pub(super) flow: Flow,
    /// Whether it can be coalesced with others of its flow.
    pub(super) viable: bool,
    /// First byte behind the L2 header, from the start of the frame.
    pub(super) l3_offset: u16,
    /// Length of IP and TCP header.
    pub(super) headers_len: u16,
    /// Bytes of TCP payload.
    pub(super) payload_len: u16,
    /// ECN field of the IP header.
    pub(super) ecn: u8,
    /// The ACK flag.
    pub(super) ack: bool,
    /// Sequence number.
    pub(super) sequence: u32,
    /// Acknowledgement number.
    pub(super) acknowledgement: u32,
    /// Window.
    pub(super) window: [u8; 2],
    /// The two values of the time stamp, if there is one.
    pub(super) timestamp: Option<[u8; 8]>,
    /// Ones' complement sum over the payload.
    pub(super) payload_sum: u16,
}

impl Segment {
    /// Whether it can be one in a frame of `len` bytes.
    pub(crate) fn check(&self, len: usize) -> Result<(), StateError> {
        let headers = IPV4_LEN + TCP_LEN..=usize::from(u16::MAX);
        let end = usize::from(self.l3_offset)
            + usize::from(self.headers_len)
            + usize::from(self.payload_len);
        StateError::unless(
            headers.contains(&self.headers_len.into()) || !self.viable,
            "headers_len",
            "IP and TCP header are longer",
        )?;
        StateError::unless(end <= len, "payload_len", "it ends behind its frame")
    }

    /// The segment in a frame of `len` bytes, `window` being the first of them; `None` if it is not TCP over IPv4.
    pub(crate) fn parse(
        window: &[u8],
        len: usize,
        headers: &Headers,
        outcome: &Outcome,
        regs: &RegisterFile,
    ) -> Option<Self> {
        if headers.l3 != L3::Ipv4 || headers.l4 != L4::Tcp {
            return None;
        }
        let (l3, l4) = (usize::from(headers.l3_offset), headers.l4_offset.into());
        let ip = window.get(l3..l4)?;
        let tcp = window.get(l4..headers.payload_offset.into())?;
        let fixed = tcp.first_chunk::<TCP_LEN>()?;
        let [
            p0,
            p1,
            p2,
            p3,
            s0,
            s1,
            s2,
            s3,
            a0,
            a1,
            a2,
            a3,
            offset,
            flags,
            w0,
            w1,
            ..,
        ] = *fixed;
        let (from, to) = headers.addresses(window);
        let addresses = window.get(l3 + 12..l3 + 20)?.try_into().ok()?;
        let payload_len = headers.ip_end - headers.payload_offset;
        let timestamp = timestamp(tcp);
        let ecn = *ip.get(1)? & CONGESTION;

        let intact = outcome.status & (Status::L4CS | Status::L4E | Status::IPE | Status::RXE)
            == Status::L4CS;
        let plain_headers = ip.len() == IPV4_LEN
            && !headers.snap
            && !headers.packet_type.contains(PacketType::NFS)
            && (tcp.len() == TCP_LEN || timestamp.is_some());
        let plain_flags = offset & 0xF == 0 && flags & !ACK == 0 && ecn != CONGESTION;
        let whole =
            usize::from(headers.ip_end) == len && regs.get(Reg::HLREG0, 0) & hlreg0::RXCRCSTRP != 0;
        let size = payload_len > 0 || regs.get(Reg::RSCDBU, 0) & rscdbu::RSCACKDIS == 0;
        let patient = !outcome.status.contains(Status::LLINT);

        let [from, to]: [[u8; 4]; 2] = [from.try_into().ok()?, to.try_into().ok()?];
        let mut sum = Sum::pseudo_header_v4(
            Ipv4Addr::from(from),
            Ipv4Addr::from(to),
            protocol::TCP,
            u32::from(headers.ip_end - headers.l4_offset),
        );
        sum.add(tcp);
        Some(Self {
            flow: Flow {
                addresses,
                ports: [p0, p1, p2, p3],
            },
            viable: intact && plain_headers && plain_flags && whole && size && patient,
            l3_offset: headers.l3_offset,
            headers_len: headers.payload_offset - headers.l3_offset,
            payload_len,
            ecn,
            ack: flags & ACK != 0,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
            window: [w0, w1],
            timestamp,
            // All of an intact segment adds up to minus zero.
            payload_sum: !sum.folded(),
        })
    }
}

/// The values of the time stamp, if that is all that a TCP header has of options.
fn timestamp(tcp: &[u8]) -> Option<[u8; 8]> {
    let options = tcp.get(TCP_LEN..)?;
    let values = options.strip_prefix(&TIMESTAMP_OPTIONS)?;
    values.try_into().ok()
}
