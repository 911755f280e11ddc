//! A large receive that is being made: its context (7.11.3), its data and descriptors (7.11.5).

use std::{net::Ipv4Addr, ops::Range};

use ixgbe_spec::register::{Reg, bits::rdrxctl};
use serde::{Deserialize, Serialize};

use super::segment::{IPV4_LEN, Segment, TCP_LEN, TCP_TIMESTAMP_LEN};
use crate::{
    bus::Iova,
    hw::Hw,
    observe::Purpose,
    offload::{Sum, checksum},
    regs::RegisterFile,
    rx::{
        header::protocol,
        payload::Payload,
        ring::{Queue, Stop, Taken},
        split::Head,
        write_back::{Outcome, Piece},
    },
    state::{Shift, StateError},
    time::Time,
};

/// Packets that may begin in one descriptor: RSCCNT has four bits and counts from 1.
const MOST_PACKETS: u8 = 14;
/// Longest IP and TCP headers.
const HEADERS_LEN: usize = IPV4_LEN + TCP_TIMESTAMP_LEN;

/// When a large receive ends at the latest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aging {
    /// The interrupt cause or vector of its queue.
    pub(crate) vector: u8,
    /// When the interval of that vector is over.
    pub(crate) until: Time,
}

/// Whether a large receive can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Further segments may follow.
    More,
    /// It has to be completed now.
    Complete,
}

/// A descriptor that is being filled.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Filling {
    taken: Taken,
    /// What is in its header buffer.
    head: Head,
    /// Bytes in its packet buffer.
    used: usize,
    /// Packets that begin in it.
    packets: u8,
}

/// A large receive that is being made; also its saved form.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::rx) struct Context {
    pub(super) queue: u8,
    pub(super) aging: Aging,
    /// The newest segment.
    segment: Segment,
    /// The newest packet's words for the descriptor.
    outcome: Outcome,
    /// IP and TCP header of the first segment.
    #[serde(with = "crate::state::hex::array")]
    headers: [u8; HEADERS_LEN],
    /// Where they lie in client memory.
    headers_at: Iova,
    /// Bytes of TCP payload in all.
    payload_len: usize,
    /// Sum over them.
    payload_sum: Sum,
    /// Whether there is more than the first segment.
    coalesced: bool,
    filling: Filling,
    /// Descriptors that it may still take (RSCCTL.MAXDESC).
    descriptors_left: u16,
}

/// A packet on its way into a large receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// What is known of it as a segment.
    pub(crate) segment: &'a Segment,
    /// What a descriptor says of it.
    pub(crate) outcome: &'a Outcome,
    /// Its bytes.
    pub(crate) payload: &'a Payload<'a>,
    /// How its headers are split off, if the queue splits.
    pub(crate) head: Head,
}

impl Arrival<'_> {
    /// Bytes of L2, IP and TCP header as they go into memory. Whatever precedes the TCP payload is header, since the
    /// packet has nothing behind it.
    fn headers_len(&self) -> usize {
        self.payload
            .len()
            .saturating_sub(self.segment.payload_len.into())
    }
}

/// The saved form of a large receive.
pub(in crate::rx) type Saved = Context;

impl Context {
    /// The saved form.
    pub(super) fn save(&self) -> Saved {
        self.clone()
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// It says what no large receive can.
    pub(super) fn restore(saved: Saved, shift: Shift) -> Result<Self, StateError> {
        let unless = StateError::unless;
        unless(saved.queue < 128, "queue", "there are 128")?;
        unless(saved.aging.vector < 64, "aging.vector", "there are 64")?;
        // One with as many was complete.
        let packets = saved.filling.packets < MOST_PACKETS;
        unless(packets, "filling.packets", "its field holds no more")?;
        let short = saved.payload_len <= u16::MAX.into();
        unless(short, "payload_len", "longer than an IP packet")?;
        let used = saved.filling.used <= usize::from(u16::MAX);
        unless(used, "filling.used", "longer than any buffer")?;
        // Its frame is gone; that it had no more than these bytes is what matters.
        let segment = saved.segment.check(usize::from(u16::MAX));
        segment.map_err(|error| error.within("segment"))?;
        Ok(Self {
            aging: Aging {
                until: shift.time(saved.aging.until),
                ..saved.aging
            },
            ..saved
        })
    }

    /// Begins a large receive with a packet. `None` if it cannot be the first of one (7.11.3).
    ///
    /// # Errors
    /// As [`Queue::deliver`]; nothing has been done when it is [`Stop::Wait`].
    pub(super) fn open(
        arrival: &Arrival<'_>,
        aging: Aging,
        queue: &mut Queue,
        hw: &mut Hw<'_>,
    ) -> Result<Option<Self>, Stop> {
        let Arrival {
            segment,
            outcome,
            payload,
            head,
        } = *arrival;
        let len = payload.len();
        let headers_len = arrival.headers_len();
        let first_size = hw.regs.get(Reg::RDRXCTL, 0) >> rdrxctl::RSCFRSTSIZE_SHIFT & 0x1F;
        let too_small = segment.payload_len > 0 && len < 16 * first_size as usize;
        let split_elsewhere = queue.splits() && head.split != headers_len;
        if !queue.is_running()
            || queue.refuses(len)
            || headers_len > queue.header_len()
            || too_small
            || split_elsewhere
        {
            return Ok(None);
        }
        let count = descriptors(len - head.len, queue).max(1);
        if count > queue.max_descriptors() || !queue.reserve(count, hw)? {
            return Ok(None);
        }
        let taken = queue.take(hw)?;
        if hw.dma.is_watched() {
            queue.tell_before(&taken, hw);
        }
        let mut headers = [0; HEADERS_LEN];
        let ip_at = headers_len.saturating_sub(segment.headers_len.into());
        for (to, from) in headers.iter_mut().zip(payload.bytes(ip_at..headers_len)) {
            *to = from;
        }
        let headers_buffer = if head.len > 0 {
            taken.header_buffer()
        } else {
            taken.packet_buffer()
        };
        let mut context = Self {
            queue: queue.index(),
            aging,
            segment: *segment,
            outcome: *outcome,
            headers,
            headers_at: Iova(headers_buffer.0.wrapping_add(ip_at as u64)),
            payload_len: 0,
            payload_sum: Sum::new(),
            coalesced: false,
            filling: Filling {
                taken,
                head,
                used: 0,
                packets: 0,
            },
            descriptors_left: queue.max_descriptors() - 1,
        };
        if head.len > 0 {
            let buffer = (headers_buffer, Purpose::Header);
            queue.copy(payload, 0..head.len, buffer, hw);
        }
        context.note(segment, outcome);
        context.place(payload, head.len..len, queue, hw)?;
        Ok(Some(context))
    }

    /// Whether this is the large receive of the segment's flow.
    pub(super) fn is_of(&self, segment: &Segment) -> bool {
        self.segment.flow == segment.flow
    }

    /// Whether a packet of this flow continues it (7.11.4).
    pub(super) fn accepts(
        &self,
        queue: &Queue,
        segment: &Segment,
        outcome: &Outcome,
        regs: &RegisterFile,
    ) -> bool {
        let last = &self.segment;
        let pure_ack = segment.payload_len == 0;
        let ack_changes = regs.get(Reg::RDRXCTL, 0) & rdrxctl::RSCACKC != 0;
        let expected = last.sequence.wrapping_add(last.payload_len.into());
        let progress = segment.acknowledgement.wrapping_sub(last.acknowledgement);
        let len = usize::from(segment.headers_len) + self.payload_len;
        self.queue == queue.index()
            && segment.viable
            && segment.l3_offset == last.l3_offset
            && outcome.vlan == self.outcome.vlan
            && segment.timestamp.is_some() == last.timestamp.is_some()
            && segment.ecn == last.ecn
            && (segment.ack == last.ack || !ack_changes)
            && pure_ack == (last.payload_len == 0)
            && segment.sequence == expected
            // An acknowledgement that tells nothing new is a message of its own (RFC 5681, 2).
            && (!pure_ack || (1..1 << 31).contains(&progress))
            && len + usize::from(segment.payload_len) <= u16::MAX.into()
    }

    /// Adds a packet that it [accepts](Self::accepts). `None` if there is no room for it: then nothing has happened.
    ///
    /// # Errors
    /// As [`Queue::deliver`].
    pub(super) fn append(
        &mut self,
        arrival: &Arrival<'_>,
        queue: &mut Queue,
        hw: &mut Hw<'_>,
    ) -> Result<Option<Next>, Stop> {
        let payload = arrival.payload;
        let range = arrival.headers_len()..payload.len();
        if queue.refuses(payload.len()) {
            return Ok(None);
        }
        let room = queue.buffer_len().saturating_sub(self.filling.used);
        let count = descriptors(range.len().saturating_sub(room), queue);
        if count > self.descriptors_left || !queue.reserve(count, hw)? {
            return Ok(None);
        }
        self.note(arrival.segment, arrival.outcome);
        self.coalesced = true;
        self.place(payload, range, queue, hw)?;
        let full = self.filling.packets >= MOST_PACKETS;
        Ok(Some(if full { Next::Complete } else { Next::More }))
    }

    /// Takes note of the newest packet.
    fn note(&mut self, segment: &Segment, outcome: &Outcome) {
        let sum = if self.payload_len.is_multiple_of(2) {
            segment.payload_sum
        } else {
            segment.payload_sum.swap_bytes()
        };
        self.payload_sum.add_number(sum.into());
        self.payload_len += usize::from(segment.payload_len);
        self.segment = *segment;
        self.outcome = *outcome;
    }

    /// Copies a part of a packet behind what is there already, into reserved descriptors.
    fn place(
        &mut self,
        payload: &Payload<'_>,
        range: Range<usize>,
        queue: &mut Queue,
        hw: &mut Hw<'_>,
    ) -> Result<(), Stop> {
        let Range { mut start, end } = range;
        let mut begins = 1;
        loop {
            let room = queue.buffer_len().saturating_sub(self.filling.used);
            if room == 0 && start < end {
                self.turn_over(queue, hw)?;
                continue;
            }
            let next = end.min(start + room);
            let buffer = self.filling.taken.packet_buffer();
            let at = Iova(buffer.0.wrapping_add(self.filling.used as u64));
            queue.copy(payload, start..next, (at, Purpose::Packet), hw);
            self.filling.used += next - start;
            self.filling.packets += begins;
            begins = 0;
            start = next;
            if start == end {
                return Ok(());
            }
        }
    }

    /// Goes on to the next descriptor, and so can complete the one before, which points to it.
    fn turn_over(&mut self, queue: &mut Queue, hw: &mut Hw<'_>) -> Result<(), Stop> {
        let taken = queue.take(hw)?;
        if hw.dma.is_watched() {
            queue.tell_before(&taken, hw);
        }
        let head = Head {
            info: self.outcome.info,
            ..Head::default()
        };
        let filled = std::mem::replace(
            &mut self.filling,
            Filling {
                taken,
                head,
                used: 0,
                packets: 0,
            },
        );
        self.descriptors_left = self.descriptors_left.saturating_sub(1);
        let piece = filled.piece(Some(taken.index), None);
        queue.complete(&filled.taken, &piece, &self.outcome, hw)
    }

    /// Ends the large receive: its headers are those of one packet then, and its last descriptor is written back.
    ///
    /// # Errors
    /// As [`Queue::deliver`].
    pub(super) fn complete(self, queue: &mut Queue, hw: &mut Hw<'_>) -> Result<(), Stop> {
        if self.coalesced {
            let headers = self.merged_headers();
            let len = usize::from(self.segment.headers_len).min(HEADERS_LEN);
            let merged = headers.get(..len).unwrap_or_default();
            let (by, place) = (queue.requester(), self.headers_at);
            let result = hw.dma.write(by, place, merged);
            hw.dma
                .tell(|| queue.transfer(Purpose::Header, place, len, result));
            if result.is_err() {
                hw.faults.buffer_dma += 1;
            }
        }
        let piece = self.filling.piece(None, queue.told(self.outcome.vlan));
        queue.complete(&self.filling.taken, &piece, &self.outcome, hw)
    }

    /// The headers of the first segment with what the last one says (7.11.5.3): the length of all, and the newest
    /// acknowledgement, window and time stamp. Both checksums are right.
    fn merged_headers(&self) -> [u8; HEADERS_LEN] {
        let mut headers = self.headers;
        let (ip, tcp) = headers.split_at_mut(IPV4_LEN);
        let tcp_header_len = usize::from(self.segment.headers_len).saturating_sub(IPV4_LEN);
        let tcp_len = tcp_header_len + self.payload_len;
        let total = u16::try_from(IPV4_LEN + tcp_len).unwrap_or(u16::MAX);
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip[10..12].fill(0);
        let sum = checksum::ipv4_header(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        let last = &self.segment;
        tcp[8..12].copy_from_slice(&last.acknowledgement.to_be_bytes());
        tcp[13] = u8::from(last.ack) << 4;
        tcp[14..16].copy_from_slice(&last.window);
        tcp[16..18].fill(0);
        if let Some(timestamp) = last.timestamp {
            tcp[TCP_LEN + 4..TCP_LEN + 12].copy_from_slice(&timestamp);
        }
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let len = u32::try_from(tcp_len).unwrap_or(u32::MAX);
        let mut sum = Sum::pseudo_header_v4(address(12), address(16), protocol::TCP, len);
        sum.add(tcp.get(..tcp_header_len).unwrap_or_default());
        sum.append(self.payload_sum);
        tcp[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
        headers
    }
}

impl Filling {
    /// What its descriptor says. RSCCNT is one more than the packets that begin in it, so that it tells a large receive
    /// from a packet even where none does (7.1.6.2).
    fn piece(&self, next: Option<u16>, vlan: Option<u16>) -> Piece {
        let mut head = self.head;
        head.info.set_rsc_count(self.packets + 1);
        Piece {
            head,
            len: self.used,
            next,
            vlan,
        }
    }
}

/// Descriptors that hold `len` bytes.
fn descriptors(len: usize, queue: &Queue) -> u16 {
    let count = len.div_ceil(queue.buffer_len().max(1));
    u16::try_from(count).unwrap_or(u16::MAX)
}
