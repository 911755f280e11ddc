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

use std::collections::BTreeMap;

use ixgbe_spec::descriptor::rx::{Status, WriteBack};
use nic_driver::{Completed, Device, DriverError, HEADER_BUFFER, PostRing};
use vm_memory::Address;

use crate::{
    access,
    chain::{Chain, Way},
    delivery::{Delivery, Outcome},
    negotiated::Switch,
    own::Own,
    packet::{Packet, Piece, Slot},
    place::{Place, SHORTEST_SPLIT},
    turn::Turn,
    vring::{MAX_SIZE, Vring},
};

/// Buffers of ours that the card has at most where it could have the guest's: so many frames are copied before it has
/// them again.
const OURS: usize = 256;
/// Bytes that the card writes to a chain at most where a packet may take several: what all buffers of Linux have room for.
pub const PIECE: usize = 1024;

/// How many frames before its own a header's place is asked for: the card has written there last, on another processor.
const AHEAD: usize = 8;

/// How received frames come into the guest's pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The card writes them there, wherever a buffer allows it.
    #[default]
    ZeroCopy,
    /// The card writes them into buffers of this process, which copies them.
    Copy,
}

/// How the card writes to the guest's chains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Each packet into one, or its payload.
    #[default]
    Whole,
    /// [`PIECE`] bytes into each, as many as the packet takes.
    Pieces,
}

/// The receive half of a queue pair.
#[derive(Debug)]
pub struct Receive {
    mode: Mode,
    layout: Layout,
    slots: Vec<Slot>,
    /// How many bytes of headers the next packet is expected to have.
    guess: usize,
    /// Packets that have begun, by the descriptor with which they go on.
    begun: BTreeMap<usize, Packet>,
    /// A packet that waits until the guest has chains for it. No buffer is posted meanwhile: its own could be.
    held: Option<Packet>,
    /// Chains of the guest that the card has.
    posted: usize,
    /// Buffers of ours that the card has in the place of chains.
    posted_ours: usize,
    /// Packets that were handed over, and of which the guest has not been told.
    untold: usize,
    chain: Chain,
    delivery: Delivery,
}

impl Receive {
    /// The half for a ring of `descriptors`, for each of which `own` has buffers.
    #[must_use]
    pub fn new(mode: Mode, descriptors: usize, own: Own) -> Self {
        Self {
            mode,
            layout: Layout::Whole,
            slots: vec![Slot::Empty; descriptors],
            guess: SHORTEST_SPLIT,
            begun: BTreeMap::new(),
            held: None,
            posted: 0,
            posted_ours: 0,
            untold: 0,
            chain: Chain::default(),
            delivery: Delivery::new(own),
        }
    }

    /// Begins with an empty ring.
    pub fn begin(&mut self, layout: Layout) {
        self.layout = layout;
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
            let own = self.delivery.own();
            let address = match slot {
                Slot::Guest(place) => {
                    self.posted += place.chains();
                    place.written_from().raw_value()
                }
                Slot::Ours | Slot::Empty => {
                    self.posted_ours += 1;
                    own.packet_iova(index)
                }
            };
            ring.post_split(address, own.headers_iova(index))?;
            self.slots[index] = slot;
            count += 1;
        }
        self.tell(turn, vring);
        ring.ring_doorbell_in_time(device)?;
        Ok(count)
    }

    /// What to post for the guest's next chain; nothing if there is none, or not yet.
    fn next_chain(&mut self, turn: &mut Turn<'_>, vring: &mut Vring) -> Option<Slot> {
        let memory = turn.memory;
        // A guest that adds bad chains all the time does not hold up others.
        for _ in 0..MAX_SIZE {
            let Some(read) = vring.take(memory, &mut self.chain, Way::ToGuest) else {
                return self.has_all_chains(vring).then_some(Slot::Ours);
            };
            if let Err(bad) = read {
                // What is posted comes back first, so that the order stays. A bad chain waits for that.
                if self.posted > 0 {
                    vring.unpop(1);
                    return None;
                }
                turn.counters.rx_bad_chains += 1;
                self.delivery.refuse(bad.head);
                continue;
            }
            let (place, chains) = if self.pairs(turn) {
                (self.pair(turn, vring)?, 2)
            } else {
                (self.place(turn), 1)
            };
            // A packet goes on in buffers of ours, where it has begun to.
            let goes_on = self.begun.values().any(|packet| packet.len_in_ours() > 0);
            return match place {
                Some(place) if self.posted_ours == 0 && !goes_on => Some(Slot::Guest(place)),
                place => {
                    vring.unpop(chains);
                    let ours = goes_on || place.is_none();
                    (ours && self.posted_ours < OURS).then_some(Slot::Ours)
                }
            };
        }
        None
    }

    /// Whether a packet has begun that has all chains that the guest can put in, and would go on: its end comes into a
    /// buffer of ours, so that it can be dropped.
    fn has_all_chains(&self, vring: &Vring) -> bool {
        let posted = self.posted + self.posted_ours;
        let goes_on = self.begun.values().any(|packet| !packet.may_end);
        goes_on && posted == 0 && vring.is_full(0)
    }

    fn split(&self) -> Switch {
        self.delivery.own().split()
    }

    /// Whether a payload has a chain of its own.
    fn pairs(&self, turn: &Turn<'_>) -> bool {
        self.split() == Switch::On && self.layout == Layout::Whole && turn.negotiated.mergeable()
    }

    /// Where a packet goes in the chain that was read, if the card can write it there.
    fn place(&self, turn: &Turn<'_>) -> Option<Place> {
        let (lead, least, most) = match self.split() {
            Switch::On => (self.guess, SHORTEST_SPLIT, HEADER_BUFFER),
            Switch::Off => (0, 0, 0),
        };
        let header_len = turn.negotiated.header_len();
        match self.layout {
            Layout::Whole => {
                let payload = turn.frame_len.saturating_sub(least);
                let room = turn.frame_len.max(lead + payload);
                Place::whole(&self.chain, header_len, lead, room)
            }
            Layout::Pieces => Place::whole(&self.chain, header_len, lead, most + PIECE)
                .filter(|place| place.gap(header_len).is_some()),
        }
    }

    /// Where the headers of a packet go in the chain that was read, and its payload in the next one, which is taken. The
    /// inner value is nothing if the card cannot write it there, the outer one if there is no second chain yet.
    fn pair(&mut self, turn: &Turn<'_>, vring: &mut Vring) -> Option<Option<Place>> {
        let front = Place::headers(&self.chain, turn.negotiated.header_len(), HEADER_BUFFER);
        let Some(read) = vring.take(turn.memory, &mut self.chain, Way::ToGuest) else {
            vring.unpop(1);
            return None;
        };
        let good = read.is_ok();
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
        let mut done = 0;
        // A guest whose ring is broken cannot be told of anything.
        while done < turn.budget && !vring.is_broken() {
            let ahead = ring.returned(AHEAD).and_then(|slot| self.slots.get(slot));
            if let Some(Slot::Guest(place)) = ahead {
                access::expect_write(turn.memory, place.header);
            }
            let next = self.held.take().or_else(|| self.next_packet(ring));
            let Some(packet) = next else { break };
            if self.delivery.hand_over(turn, vring, &packet) == Outcome::Waits {
                self.held = Some(packet);
                break;
            }
            done += 1;
            self.untold += 1;
            self.give_back(turn, vring);
        }
        self.tell(turn, vring);
        done
    }

    /// Lets the guest see what it has back.
    fn tell(&mut self, turn: &Turn<'_>, vring: &mut Vring) {
        self.give_back(turn, vring);
        vring.publish(turn.memory);
        if !self.has_begun_at_guest() && !vring.is_broken() {
            self.untold = 0;
        }
    }

    /// Gives the guest its chains back. Large receives are not done with in the order of their chains: what the guest has
    /// back is the beginning of what it gave when no packet is left that has begun in one.
    fn give_back(&mut self, turn: &Turn<'_>, vring: &mut Vring) {
        if !self.has_begun_at_guest() {
            self.delivery.give_back(turn, vring);
        }
    }

    fn has_begun_at_guest(&self) -> bool {
        self.begun.values().any(Packet::is_at_guest)
    }

    /// The next packet of which the card has reported all.
    fn next_packet(&mut self, ring: &mut PostRing) -> Option<Packet> {
        loop {
            let completed = ring.completed()?;
            let slot = std::mem::take(&mut self.slots[completed.slot]);
            let place = match slot {
                Slot::Guest(place) => {
                    self.posted = self.posted.saturating_sub(place.chains());
                    Some(place)
                }
                Slot::Ours => {
                    self.posted_ours = self.posted_ours.saturating_sub(1);
                    None
                }
                Slot::Empty => continue,
            };
            let begun = if self.begun.is_empty() {
                None
            } else {
                self.begun.remove(&completed.slot)
            };
            let packet = self.with_piece(begun, &completed, place);
            if completed.write_back.status().contains(Status::EOP) {
                return Some(packet);
            }
            let next = next_descriptor(&completed, ring.len());
            self.begun.insert(next, packet);
        }
    }

    /// A packet with one more piece, or a new one.
    fn with_piece(
        &mut self,
        begun: Option<Packet>,
        completed: &Completed,
        place: Option<Place>,
    ) -> Packet {
        let write_back = &completed.write_back;
        let len = usize::from(write_back.length.get()).min(self.delivery.own().buffer_len());
        let mut packet = begun.unwrap_or_default();
        if packet.pieces.is_empty() && self.split() == Switch::On {
            packet.headers = split_off(write_back);
            if write_back.info().sph() && packet.headers < HEADER_BUFFER && len > 0 {
                self.guess = packet.headers;
            }
        }
        packet.pieces.push(Piece {
            slot: completed.slot,
            place,
            len,
        });
        let segments = usize::from(write_back.info().rsc_count());
        packet.may_end = segments > 0;
        packet.segments += segments.saturating_sub(1);
        packet.verified = is_verified(write_back);
        packet
    }

    /// Hands the guest what a card has received that has stopped or is gone, and forgets what else it had: the guest's
    /// chains go back into its ring, and will be taken again when the ring goes on.
    ///
    /// What is lost by it is counted: a packet that waits for chains, those behind it, those that are not all there, and
    /// those that a guest with a broken ring cannot be told of.
    pub fn finish(&mut self, turn: &mut Turn<'_>, vring: &mut Vring, ring: &mut PostRing) {
        self.complete(turn, vring, ring);
        let mut lost: Vec<_> = self.held.take().into_iter().collect();
        lost.extend(std::iter::from_fn(|| self.next_packet(ring)));
        lost.extend(std::mem::take(&mut self.begun).into_values());
        turn.counters.rx_no_room += lost.len() as u64;
        // Some of their chains are between those that were given back.
        let pieces = lost.iter().flat_map(|packet| &packet.pieces);
        let places = pieces.filter_map(|piece| piece.place.as_ref());
        places.for_each(|place| self.delivery.give_up(place));
        self.delivery.give_back(turn, vring);
        self.slots.fill(Slot::Empty);
        vring.unpop(self.posted);
        self.posted = 0;
        self.posted_ours = 0;
        self.tell(turn, vring);
        turn.counters.rx_no_room += std::mem::take(&mut self.untold) as u64;
    }
}

/// The descriptor with which a packet goes on: NEXTP where it is a large receive, else the next one of the ring.
fn next_descriptor(completed: &Completed, len: usize) -> usize {
    let write_back = &completed.write_back;
    if write_back.info().rsc_count() > 0 {
        (write_back.status().bits() >> 4 & 0xFFFF) as usize
    } else {
        (completed.slot + 1) % len
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
