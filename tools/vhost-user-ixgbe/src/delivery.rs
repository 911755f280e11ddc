//! A packet that the card has received is handed to the guest.
//!
//! What the card has written to the guest's chains stays there. Virtio wants a frame behind virtio's header and without a
//! gap, over all of its chains; the card has left one before each place that it wrote to:
//!
//! - in the first chain for virtio's header, and for the headers that were split off, which are copied there;
//! - in each further one for the same, as nobody knows where a packet will begin: the last bytes of the chain before are
//!   moved there. These are the seams, 12 bytes each without packet split.
//!
//! What is in buffers of ours is copied behind that, into as many chains as it takes.

use std::ops::Range;

use nic_driver::HEADER_BUFFER;
use smallvec::SmallVec;
use vm_memory::{Address, Bytes, GuestAddress};
use zerocopy::IntoBytes;

use crate::{
    access,
    chain::{Chain, Way},
    header::Header,
    large::{LOOK, Large},
    memory::Mapped,
    negotiated::Negotiated,
    own::Own,
    packet::{Packet, Piece},
    place::{Payload, Place},
    turn::Turn,
    vring::{MAX_SIZE, Vring},
};

/// Bytes of a MAC header.
const MAC_HEADER: usize = 14;
/// Bytes of the longest packet: a large receive.
const LONGEST: usize = 1 << 16;

/// The parts of a chain; Linux' buffers have one or two.
type Parts = SmallVec<[(GuestAddress, usize); 2]>;

/// Whether a packet has gone to the guest, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has.
    Done,
    /// It waits until the guest has chains for it.
    Waits,
}

/// Hands packets over.
#[derive(Debug)]
pub struct Delivery {
    own: Own,
    chain: Chain,
    copy: Vec<u8>,
    /// Chains of one packet: each one's first descriptor, and the bytes that are in it.
    parts: Vec<(u16, usize)>,
    /// Chains that are done with, in the order in which the guest gets them back.
    used: Vec<(u16, u32)>,
}

impl Delivery {
    /// With these buffers of ours.
    #[must_use]
    pub fn new(own: Own) -> Self {
        Self {
            own,
            chain: Chain::default(),
            copy: vec![0; LONGEST + HEADER_BUFFER],
            parts: Vec::new(),
            used: Vec::new(),
        }
    }

    /// The buffers of ours.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Takes note of a chain that goes back unused.
    pub fn refuse(&mut self, head: u16) {
        self.used.push((head, 0));
    }

    /// Takes note that the chains of a piece go back unused.
    pub fn give_up(&mut self, place: &Place) {
        self.refuse(place.head);
        if let Payload::Chain { head, .. } = place.payload {
            self.refuse(head);
        }
    }

    /// Gives back the chains that are done with.
    pub fn give_back(&mut self, turn: &Turn<'_>, vring: &mut Vring) {
        for (head, len) in self.used.drain(..) {
            vring.put(turn.memory, head, len);
        }
    }

    /// Hands a packet to the guest, as far as it has chains for it.
    pub fn hand_over(
        &mut self,
        turn: &mut Turn<'_>,
        vring: &mut Vring,
        packet: &Packet,
    ) -> Outcome {
        self.parts.clear();
        let in_ours = packet.len_in_ours();
        let (copied, behind) = if in_ours == 0 {
            (true, Vec::new())
        } else {
            let Some(copied) = self.copy_behind(turn, vring, packet, in_ours) else {
                return Outcome::Waits;
            };
            (copied, std::mem::take(&mut self.parts))
        };
        if copied && self.settle(turn, packet, behind.len()) {
            // What was copied comes behind what the card has written.
            let told = |len: usize| u32::try_from(len).unwrap_or(0);
            let parts = self.parts.iter().chain(&behind);
            self.used
                .extend(parts.map(|&(head, len)| (head, told(len))));
        } else {
            turn.counters.rx_no_room += 1;
            let places = packet.pieces.iter().filter_map(at_guest);
            places.for_each(|(_, place)| self.give_up(place));
            behind.iter().for_each(|&(head, _)| self.refuse(head));
        }
        Outcome::Done
    }

    /// Settles what the card has written to the guest's chains: copies what is missing, and writes virtio's header, which
    /// also counts `more` chains. Returns whether the guest has the packet then: not if its memory is gone, or if the card
    /// has left chains so empty that they cannot be filled up.
    fn settle(&mut self, turn: &mut Turn<'_>, packet: &Packet, more: usize) -> bool {
        let Some((piece, place)) = packet.pieces.first().and_then(at_guest) else {
            return true;
        };
        let memory = turn.memory;
        let header_len = turn.negotiated.header_len();
        let headers = packet.headers;
        let payload_at = place.written_from();
        turn.ram.card_has_written(payload_at, piece.len);
        let (beginning, rest) = self.copy.split_at_mut(headers);
        if headers > 0 {
            self.own.copy_headers(piece.slot, beginning);
        }
        let mut written = true;
        let mut moved = 0;
        let mut end = payload_at.unchecked_add(piece.len as u64);
        if let Payload::Behind(lead) = place.payload
            && lead != headers
            && piece.len > 0
        {
            // Other headers than expected: what is behind them has to be where they end.
            let payload = &mut rest[..piece.len];
            let behind = place.frame.unchecked_add(headers as u64);
            written &= memory.read_slice(payload, payload_at).is_ok();
            written &= memory.write_slice(payload, behind).is_ok();
            moved = piece.len;
            end = behind.unchecked_add(piece.len as u64);
        }
        let large = if packet.segments > 1 {
            // The headers lie in front of the payload, or they are still here.
            let seen = if headers > 0 {
                headers
            } else {
                LOOK.min(piece.len)
            };
            let look = &mut self.copy[..seen];
            if headers == 0 {
                written &= memory.read_slice(look, place.frame).is_ok();
            }
            let large = complete(look, packet);
            if let Some(large) = &large
                && headers == 0
            {
                let at = place.frame.unchecked_add(large.checksum_at as u64);
                written &= memory.write_slice(&large.checksum, at).is_ok();
            }
            large
        } else {
            None
        };
        // Both chains of a pair are used in any case, so that they go back in the order in which they came: without a
        // payload, the one for it gets what follows the MAC header.
        let (front, rest) = match place.payload {
            Payload::Chain { .. } if piece.len == 0 => {
                self.copy[..headers].split_at(headers.min(MAC_HEADER))
            }
            _ => (&self.copy[..headers], &[][..]),
        };
        if headers > 0 {
            written &= memory.write_slice(front, place.frame).is_ok();
            written &= rest.is_empty() || memory.write_slice(rest, payload_at).is_ok();
        }
        let first = header_len + front.len();
        match place.payload {
            Payload::Behind(_) => self.parts.push((place.head, first + piece.len)),
            Payload::Chain { head, .. } => {
                self.parts.push((place.head, first));
                self.parts.push((head, rest.len() + piece.len));
            }
        }
        let mut seams = 0;
        let mut there = headers + piece.len;
        for (piece, place) in packet.pieces.iter().skip(1).filter_map(at_guest) {
            // Only the last chain of a packet is not full, and a full one has more than a seam.
            let Some(seam) = place.gap(header_len).filter(|seam| *seam <= there) else {
                return false;
            };
            there = seam + piece.len;
            written &= self.sew(turn, (piece, place), seam, &mut end);
            seams += seam;
        }
        let buffers = u16::try_from(self.parts.len() + more).unwrap_or(u16::MAX);
        let header = header(turn.negotiated, buffers, packet, large.as_ref());
        written &= access::write(memory, place.header, &header.as_bytes()[..header_len]);
        if !written {
            return false;
        }
        let counters = &mut *turn.counters;
        counters.rx_bytes_copied += (headers + moved + seams) as u64;
        counters.rx_seam_bytes_copied += seams as u64;
        counters.rx_large += u64::from(large.is_some());
        if moved > 0 || more > 0 {
            counters.rx_copied += 1;
        } else if headers > 0 {
            counters.rx_split += 1;
            counters.rx_header_bytes_copied += headers as u64;
        } else {
            counters.rx_zero_copy += 1;
        }
        true
    }

    /// Moves the last `seam` bytes before `end`, where the chain before ends, to the beginning of the next chain, of
    /// which the card has left so many. `end` is then the end of the latter.
    fn sew(
        &mut self,
        turn: &Turn<'_>,
        (piece, place): (&Piece, &Place),
        seam: usize,
        end: &mut GuestAddress,
    ) -> bool {
        let payload_at = place.written_from();
        turn.ram.card_has_written(payload_at, piece.len);
        if let Some((_, before)) = self.parts.last_mut() {
            *before = before.saturating_sub(seam);
        }
        let bytes = &mut self.copy[..seam];
        let from = GuestAddress(end.raw_value().saturating_sub(seam as u64));
        *end = payload_at.unchecked_add(piece.len as u64);
        self.parts.push((place.head, seam + piece.len));
        turn.memory.read_slice(bytes, from).is_ok()
            && turn.memory.write_slice(bytes, place.header).is_ok()
    }

    /// Copies what is in buffers of ours, `total` bytes, into further chains. Nothing if the guest has not enough of them
    /// now; otherwise whether they have room for it. Those that take every descriptor of the ring may have none.
    fn copy_behind(
        &mut self,
        turn: &mut Turn<'_>,
        vring: &mut Vring,
        packet: &Packet,
        total: usize,
    ) -> Option<bool> {
        let memory = turn.memory;
        let begins = packet.begins_in_ours();
        let header_len = if begins {
            turn.negotiated.header_len()
        } else {
            0
        };
        // What lies in one piece and needs no change is copied once.
        let whole = packet.whole_in_ours();
        let mut large = None;
        let mut first = None;
        let mut done = 0;
        let mut bad = 0;
        let mut refused = false;
        let mut beside = 0;
        let mut full = false;
        // No more chains than a ring has, whatever the guest adds meanwhile.
        for _ in 0..MAX_SIZE {
            let Some(read) = vring.take(memory, &mut self.chain, Way::ToGuest) else {
                // What is refused goes back, and the guest has descriptors for other chains.
                full = !refused && vring.is_full(beside);
                if full {
                    break;
                }
                vring.unpop(self.parts.len());
                return None;
            };
            let head = self.chain.head();
            if read.is_err() || (first.is_none() && self.chain.len() < header_len) {
                if first.is_none() && begins {
                    turn.counters.rx_bad_chains += 1;
                    self.used.push((head, 0));
                    refused = true;
                } else {
                    // In the middle of a packet it is given back with it, as a part without bytes: the chains before it
                    // go first, and it is read again if the packet has to wait.
                    bad += 1;
                    self.parts.push((head, 0));
                }
                continue;
            }
            beside += self.chain.descriptors().saturating_sub(1);
            let skip = if first.is_none() { header_len } else { 0 };
            if first.is_none() {
                if whole.is_none() {
                    large = self.gather(packet, total);
                }
                first = Some(Parts::from_slice(self.chain.parts()));
            }
            let copied = match whole {
                Some(slot) => self.copy_whole(memory, skip, slot, done..total),
                None => {
                    let rest = self.copy.get(done..total).unwrap_or_default();
                    self.chain.copy_in(memory, skip, rest)
                }
            };
            done += copied;
            self.parts.push((head, skip + copied));
            if done == total || !turn.negotiated.mergeable() {
                break;
            }
        }
        if first.is_none() && !full {
            vring.unpop(self.parts.len());
            return None;
        }
        turn.counters.rx_bad_chains += bad;
        if done < total {
            // The guest's buffers are too small for what its MTU allows.
            return Some(false);
        }
        if begins {
            let buffers = u16::try_from(self.parts.len()).unwrap_or(u16::MAX);
            let header = header(turn.negotiated, buffers, packet, large.as_ref());
            let mut bytes = &header.as_bytes()[..header_len];
            for (address, len) in first.into_iter().flatten() {
                let (part, rest) = bytes.split_at(len.min(bytes.len()));
                // Checked to be memory just now.
                let _ = access::write(memory, address, part);
                bytes = rest;
            }
            turn.counters.rx_copied += 1;
            turn.counters.rx_large += u64::from(large.is_some());
        }
        turn.counters.rx_bytes_copied += done as u64;
        Some(true)
    }

    /// Copies the bytes `which` of the packet buffer of a descriptor into the chain that was read, behind the first `skip`
    /// bytes of that; returns how many found room.
    fn copy_whole(&self, memory: &Mapped, skip: usize, slot: usize, which: Range<usize>) -> usize {
        let mut at = which.start;
        for (address, room) in self.chain.behind(skip) {
            let count = room.min(which.end - at);
            if count == 0 {
                break;
            }
            if let Some(to) = access::slice(memory, address, count) {
                self.own.copy_packet_into(slot, at, to);
            } else {
                let mut bytes = vec![0; at + count];
                self.own.copy_packet(slot, &mut bytes);
                if !access::write(memory, address, &bytes[at..]) {
                    break;
                }
            }
            at += count;
        }
        at - which.start
    }

    /// Collects what is in buffers of ours, and completes a large receive that begins there.
    fn gather(&mut self, packet: &Packet, total: usize) -> Option<Large> {
        let mut rest = self.copy.get_mut(..total)?;
        if packet.begins_in_ours()
            && packet.headers > 0
            && let Some(piece) = packet.pieces.first()
        {
            let (headers, behind) = rest.split_at_mut_checked(packet.headers)?;
            self.own.copy_headers(piece.slot, headers);
            rest = behind;
        }
        for piece in packet.pieces.iter().filter(|piece| piece.place.is_none()) {
            let (bytes, behind) = rest.split_at_mut_checked(piece.len)?;
            self.own.copy_packet(piece.slot, bytes);
            rest = behind;
        }
        let look = self.copy.get_mut(..total)?;
        (packet.begins_in_ours() && packet.segments > 1)
            .then(|| complete(look, packet))
            .flatten()
    }
}

/// The piece with its place at the guest, if it has one.
fn at_guest(piece: &Piece) -> Option<(&Piece, &Place)> {
    piece.place.as_ref().map(|place| (piece, place))
}

/// What virtio's header says of a large receive that begins with `look`, where its checksum is put.
fn complete(look: &mut [u8], packet: &Packet) -> Option<Large> {
    let large = Large::new(look, packet.len(), packet.segments)?;
    let checksum = look.get_mut(large.checksum_at..large.checksum_at + 2)?;
    checksum.copy_from_slice(&large.checksum);
    Some(large)
}

fn header(negotiated: Negotiated, buffers: u16, packet: &Packet, large: Option<&Large>) -> Header {
    match large {
        Some(large) => Header::large(buffers, large),
        // Without the feature the flags have to be zero (virtio 1.2, 5.1.6.4.1).
        None => Header::received(buffers, packet.verified && negotiated.guest_checksum()),
    }
}
