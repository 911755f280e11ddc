//! From the card to the guest.
//!
//! A chain of the guest's receive ring goes onto the card's ring as it is if the frame has a [place](crate::place) in it
//! that is in one piece. Then the card's DMA engine writes the frame where the guest will read it, and this process writes
//! the 12 bytes of the header when the card is done. With packet split the card writes the payload there, and the headers
//! into a small buffer of ours, from which they are copied in front of it.
//!
//! "In one piece" means room for the longest frame that can come. The card's own measure of a buffer, SRRCTL.BSIZEPACKET,
//! has steps of 1 KB (8.2.3.8.7), and Linux' buffers of 1530 or 1536 bytes would be one of them; but the card writes no
//! more than a frame has, and MAXFRS and HLREG0.JUMBOEN bound that. So the ring is told of the next larger step, and a
//! buffer is posted if it has room for what MAXFRS lets through.
//!
//! Where the next chain does not do, a buffer of ours is posted in the place of it, and the frame is copied into as many
//! chains as it takes (with mergeable buffers) when it is there. Behind such a buffer no chain is posted before it is
//! filled, since its frame takes the next chains that there are then. So the order of the ring stays the order of the
//! frames, and what the guest gets back is always a beginning of what it gave. That is why nothing has to be remembered
//! across a crash of this process: the guest's used index tells all.

use ixgbe_spec::descriptor::rx::{Status, WriteBack};
use nic_driver::{Device, DmaMemory, DriverError, HEADER_BUFFER, PostRing};
use vm_memory::{Address, Bytes};
use zerocopy::IntoBytes;

use crate::{
    chain::{Chain, Way},
    counters::Counters,
    header::Header,
    memory::{GuestRam, Mapped},
    negotiated::{Negotiated, Switch},
    place::{Payload, Place, SHORTEST_SPLIT},
    vring::{MAX_SIZE, Vring},
};

/// Bytes of a MAC header.
const MAC_HEADER: usize = 14;
/// Buffers of ours that the card has at most where it could have the guest's: so many frames are copied before it has
/// them again.
const OURS: usize = 256;

/// How received frames come into the guest's pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The card writes them there, wherever a buffer allows it.
    #[default]
    ZeroCopy,
    /// The card writes them into buffers of this process, which copies them.
    Copy,
}

/// What the card has at a descriptor.
#[derive(Clone, Copy, Debug, Default)]
enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// Chains of the guest.
    Guest(Place),
    /// The buffer of ours that belongs to the descriptor.
    Ours,
}

/// A frame in a buffer of ours.
#[derive(Clone, Copy, Debug)]
struct Held {
    slot: usize,
    /// Bytes of it in the header buffer.
    headers: usize,
    /// Bytes of it behind them.
    len: usize,
    verified: bool,
}

/// What the two halves of a queue pair work with in one turn.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The guest's memory.
    pub ram: &'a GuestRam,
    /// The same, as it is mapped.
    pub memory: &'a Mapped,
    /// What front-end and guest have agreed on.
    pub negotiated: Negotiated,
    /// What is counted.
    pub counters: &'a mut Counters,
    /// Packets to move at most.
    pub budget: usize,
    /// Bytes of the longest frame, without FCS.
    pub frame_len: usize,
}

/// The receive half of a queue pair.
#[derive(Debug)]
pub struct Receive {
    mode: Mode,
    split: Switch,
    slots: Vec<Slot>,
    /// Buffers of ours for each descriptor: one for headers, if they are split off, and one for the packet.
    ours: DmaMemory,
    buffer_len: usize,
    /// How many bytes of headers the next packet is expected to have.
    guess: usize,
    /// A frame that waits until the guest has buffers for it. No buffer is posted meanwhile: its own could be.
    held: Option<Held>,
    /// Chains of the guest that the card has.
    posted: usize,
    /// Buffers of ours that the card has in the place of chains.
    posted_ours: usize,
    chain: Chain,
    /// Chains of one packet: each one's first descriptor, and the bytes written to it.
    merged: Vec<(u16, usize)>,
    copy: Vec<u8>,
}

/// How much memory of ours a receive half has for each descriptor, with packet buffers of `buffer_len` bytes.
#[must_use]
pub fn own_bytes(split: Switch, buffer_len: usize) -> usize {
    match split {
        Switch::On => HEADER_BUFFER + buffer_len,
        Switch::Off => buffer_len,
    }
}

impl Receive {
    /// The half for a ring of `descriptors`. `ours` has [`own_bytes`] for each of them.
    #[must_use]
    pub fn new(
        (mode, split): (Mode, Switch),
        descriptors: usize,
        ours: DmaMemory,
        buffer_len: usize,
    ) -> Self {
        Self {
            mode,
            split,
            slots: vec![Slot::Empty; descriptors],
            ours,
            buffer_len,
            guess: SHORTEST_SPLIT,
            held: None,
            posted: 0,
            posted_ours: 0,
            chain: Chain::default(),
            merged: Vec::new(),
            copy: vec![0; HEADER_BUFFER + buffer_len],
        }
    }

    /// Where our header buffer of a descriptor is, and our packet buffer.
    fn own_buffers(&self, slot: usize) -> (usize, usize) {
        let start = slot * own_bytes(self.split, self.buffer_len);
        let packet = own_bytes(self.split, 0);
        (start, start + packet)
    }

    /// Posts what the guest has put into its ring, and returns how many buffers that were.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn post(
        &mut self,
        turn: &mut Turn<'_>,
        vring: &mut Vring,
        ring: &mut PostRing,
        device: &mut dyn Device,
    ) -> Result<usize, DriverError> {
        let mut count = 0;
        while self.held.is_none() && ring.free() > 0 {
            let slot = match self.mode {
                Mode::ZeroCopy => self.next_chain(turn, vring),
                Mode::Copy => Some(Slot::Ours),
            };
            let Some(slot) = slot else { break };
            let index = ring.tail();
            let (headers, packet) = self.own_buffers(index);
            let address = match slot {
                Slot::Guest(place) => {
                    self.posted += place.chains();
                    place.written_from().raw_value()
                }
                Slot::Ours | Slot::Empty => {
                    self.posted_ours += 1;
                    self.ours.iova(packet)
                }
            };
            match self.split {
                Switch::On => ring.post_split(address, self.ours.iova(headers))?,
                Switch::Off => ring.post(address)?,
            };
            self.slots[index] = slot;
            count += 1;
        }
        vring.publish(turn.memory);
        ring.ring_doorbell(device)?;
        Ok(count)
    }

    /// What to post for the guest's next chain; nothing if there is none, or not yet.
    fn next_chain(&mut self, turn: &mut Turn<'_>, vring: &mut Vring) -> Option<Slot> {
        let memory = turn.memory;
        // A guest that adds bad chains all the time does not hold up others.
        for _ in 0..MAX_SIZE {
            let chain = vring.pop(memory)?;
            if let Err(bad) = self.chain.read(memory, chain, Way::ToGuest) {
                // What is posted comes back first, so that the order stays. A bad chain waits for that.
                if self.posted > 0 {
                    vring.unpop(1);
                    return None;
                }
                turn.counters.rx_bad_chains += 1;
                vring.put(memory, bad.head, 0);
                continue;
            }
            let pairs = self.split == Switch::On && turn.negotiated.mergeable();
            let place = if pairs {
                self.pair(turn, vring)?
            } else {
                self.place(turn)
            };
            let chains = if pairs { 2 } else { 1 };
            return match place {
                Some(place) if self.posted_ours == 0 => Some(Slot::Guest(place)),
                None if self.posted_ours < OURS => {
                    vring.unpop(chains);
                    Some(Slot::Ours)
                }
                _ => {
                    vring.unpop(chains);
                    None
                }
            };
        }
        None
    }

    /// Where a packet goes in the chain that was read, if the card can write it there.
    fn place(&self, turn: &Turn<'_>) -> Option<Place> {
        let lead = match self.split {
            Switch::On => self.guess,
            Switch::Off => 0,
        };
        let payload = match self.split {
            Switch::On => turn.frame_len.saturating_sub(SHORTEST_SPLIT),
            Switch::Off => turn.frame_len,
        };
        let room = turn.frame_len.max(lead + payload);
        Place::whole(&self.chain, turn.negotiated.header_len(), lead, room)
    }

    /// Where the headers of a packet go in the chain that was read, and its payload in the next one, which is taken. The
    /// inner value is nothing if the card cannot write it there, the outer one if there is no second chain yet.
    fn pair(&mut self, turn: &Turn<'_>, vring: &mut Vring) -> Option<Option<Place>> {
        let front = Place::headers(&self.chain, turn.negotiated.header_len(), HEADER_BUFFER);
        let Some(chain) = vring.pop(turn.memory) else {
            vring.unpop(1);
            return None;
        };
        let good = self.chain.read(turn.memory, chain, Way::ToGuest).is_ok();
        let front = front.filter(|_| good);
        Some(front.and_then(|front| front.with_payload_in(&self.chain, turn.frame_len)))
    }

    /// Hands the guest what the card has received, and returns how many frames that were.
    pub fn complete(
        &mut self,
        turn: &mut Turn<'_>,
        vring: &mut Vring,
        ring: &mut PostRing,
    ) -> usize {
        let memory = turn.memory;
        let mut done = 0;
        while done < turn.budget {
            if let Some(held) = self.held {
                if !self.copy_to_guest(turn, vring, held) {
                    break;
                }
                self.held = None;
                done += 1;
                continue;
            }
            let Some(completed) = ring.completed() else {
                break;
            };
            let write_back = completed.write_back;
            let slot = std::mem::take(&mut self.slots[completed.slot]);
            let headers = match self.split {
                Switch::On => split_off(&write_back),
                Switch::Off => 0,
            };
            let len = usize::from(write_back.length.get()).min(self.buffer_len);
            if write_back.info().sph() && headers < HEADER_BUFFER && len > 0 {
                self.guess = headers;
            }
            let filled = Held {
                slot: completed.slot,
                headers,
                len,
                verified: turn.negotiated.guest_checksum() && is_verified(&write_back),
            };
            match slot {
                Slot::Guest(place) => {
                    self.posted = self.posted.saturating_sub(place.chains());
                    self.hand_over(turn, vring, &place, filled);
                    done += 1;
                }
                Slot::Ours => {
                    self.posted_ours = self.posted_ours.saturating_sub(1);
                    self.held = Some(filled);
                }
                Slot::Empty => {}
            }
        }
        vring.publish(memory);
        done
    }

    /// Hands over a packet whose payload, or all of it, the card has written to the guest's chains.
    fn hand_over(&mut self, turn: &mut Turn<'_>, vring: &mut Vring, place: &Place, filled: Held) {
        let memory = turn.memory;
        let header_len = turn.negotiated.header_len();
        let Held { headers, len, .. } = filled;
        let payload_at = place.written_from();
        turn.ram.card_has_written(payload_at, len);
        let begin = self.own_buffers(filled.slot).0;
        let (beginning, payload) = self.copy.split_at_mut(headers);
        self.ours.copy(begin, beginning);
        let mut written = true;
        let mut moved = 0;
        if let Payload::Behind(lead) = place.payload
            && lead != headers
            && len > 0
        {
            // Other headers than expected: what is behind them has to be where they end.
            let payload = &mut payload[..len];
            written &= memory.read_slice(payload, payload_at).is_ok();
            let behind = place.frame.unchecked_add(headers as u64);
            written &= memory.write_slice(payload, behind).is_ok();
            moved = len;
        }
        // Both chains of a pair are used in any case, so that they go back in the order in which they came: without a
        // payload, the one for it gets what follows the MAC header.
        let (front, rest) = match place.payload {
            Payload::Chain { .. } if len == 0 => beginning.split_at(headers.min(MAC_HEADER)),
            _ => (&*beginning, &[][..]),
        };
        if headers > 0 {
            written &= memory.write_slice(front, place.frame).is_ok();
            written &= rest.is_empty() || memory.write_slice(rest, payload_at).is_ok();
        }
        let buffers = if place.chains() == 2 { 2 } else { 1 };
        let header = Header::received(buffers, filled.verified);
        let header = &header.as_bytes()[..header_len];
        written &= memory.write_slice(header, place.header).is_ok();
        // The memory may be gone since; then the guest has nothing of it.
        let told = |len: usize| u32::try_from(len).ok().filter(|_| written).unwrap_or(0);
        let first = header_len + front.len();
        match place.payload {
            Payload::Behind(_) => vring.put(memory, place.head, told(first + len)),
            Payload::Chain { head, .. } => {
                vring.put(memory, place.head, told(first));
                vring.put(memory, head, told(rest.len() + len));
            }
        }
        let counters = &mut *turn.counters;
        counters.rx_bytes_copied += (headers + moved) as u64;
        if moved > 0 {
            counters.rx_copied += 1;
        } else if headers > 0 {
            counters.rx_split += 1;
            counters.rx_header_bytes_copied += headers as u64;
        } else {
            counters.rx_zero_copy += 1;
        }
    }

    /// Copies a frame out of a buffer of ours; `false` if the guest has no buffers for it now.
    fn copy_to_guest(&mut self, turn: &mut Turn<'_>, vring: &mut Vring, held: Held) -> bool {
        let memory = turn.memory;
        let header_len = turn.negotiated.header_len();
        let len = held.headers + held.len;
        let (headers, packet) = self.own_buffers(held.slot);
        let frame = &mut self.copy[..len];
        self.merged.clear();
        let mut done = 0;
        let mut first = None;
        // No more chains than a ring has, whatever the guest adds meanwhile.
        for _ in 0..MAX_SIZE {
            let Some(chain) = vring.pop(memory) else {
                vring.unpop(self.merged.len());
                return false;
            };
            if let Err(bad) = self.chain.read(memory, chain, Way::ToGuest) {
                turn.counters.rx_bad_chains += 1;
                // In the middle of a packet it is given back with it, as a part without bytes.
                self.merged.push((bad.head, 0));
                if first.is_none() {
                    self.merged.clear();
                    vring.put(memory, bad.head, 0);
                }
                continue;
            }
            let skip = if first.is_none() { header_len } else { 0 };
            if first.is_none() {
                if self.chain.len() < header_len {
                    turn.counters.rx_bad_chains += 1;
                    vring.put(memory, self.chain.head(), 0);
                    continue;
                }
                let (front, rest) = frame.split_at_mut(held.headers);
                self.ours.copy(headers, front);
                self.ours.copy(packet, rest);
                first = Some(self.chain.parts().to_vec());
            }
            let rest = frame.get(done..).unwrap_or_default();
            let copied = self.chain.copy_in(memory, skip, rest);
            done += copied;
            self.merged.push((self.chain.head(), skip + copied));
            if done == len || !turn.negotiated.mergeable() {
                break;
            }
        }
        if first.is_none() {
            return false;
        }
        if done < len {
            // The guest's buffers are too small for what its MTU allows.
            turn.counters.rx_no_room += 1;
            for (head, _) in self.merged.drain(..) {
                vring.put(memory, head, 0);
            }
            return true;
        }
        let buffers = u16::try_from(self.merged.len()).unwrap_or(u16::MAX);
        let bytes = Header::received(buffers, held.verified);
        let mut bytes = &bytes.as_bytes()[..header_len];
        for (address, len) in first.into_iter().flatten() {
            let (part, rest) = bytes.split_at(len.min(bytes.len()));
            // Checked to be memory just now.
            let _ = memory.write_slice(part, address);
            bytes = rest;
        }
        for (head, len) in self.merged.drain(..) {
            vring.put(memory, head, u32::try_from(len).unwrap_or(0));
        }
        turn.counters.rx_copied += 1;
        turn.counters.rx_bytes_copied += done as u64;
        true
    }

    /// Forgets what the card had, which has been made to forget it as well, and puts the guest's chains back into its
    /// ring: they will be taken again when the ring goes on.
    ///
    /// Returns how many frames are lost by it: one that waited for chains, and those behind it in buffers of ours.
    pub fn forget(&mut self, vring: &mut Vring, ring: &mut PostRing) -> u64 {
        let mut lost = u64::from(self.held.take().is_some());
        while let Some(completed) = ring.completed() {
            lost += u64::from(matches!(self.slots[completed.slot], Slot::Ours));
        }
        self.slots.fill(Slot::Empty);
        vring.unpop(self.posted);
        self.posted = 0;
        self.posted_ours = 0;
        lost
    }

    /// Whether a frame waits for chains of the guest.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.held.is_some()
    }
}

/// Whether the card has found the L4 checksum right.
fn is_verified(write_back: &WriteBack) -> bool {
    let status = write_back.status();
    status.contains(Status::L4CS) && !status.contains(Status::L4E)
}

/// How many bytes of a packet the card has put into the header buffer, on a ring that splits all packets (7.1.10).
fn split_off(write_back: &WriteBack) -> usize {
    let headers = usize::from(write_back.info().header_len());
    if write_back.status().contains(Status::HBO) {
        // What is told are the headers; the buffer for them is full.
        return HEADER_BUFFER;
    }
    headers.min(HEADER_BUFFER)
}
