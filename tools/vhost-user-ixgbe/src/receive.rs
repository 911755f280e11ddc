//! From the card to the guest.
//!
//! A chain of the guest's receive ring goes onto the card's ring as it is if the frame has a place in it that is in one
//! piece: behind virtio's header in the same descriptor, or in a descriptor of its own. Then the card's DMA engine writes
//! the frame where the guest will read it, and this process writes the 12 bytes of the header when the card is done.
//!
//! "In one piece" means room for the longest frame that can come. The card's own measure of a buffer, SRRCTL.BSIZEPACKET,
//! has steps of 1 KB (8.2.3.8.7), and Linux' buffers of 1530 or 1536 bytes would be one of them; but the card writes no
//! more than a frame has, and MAXFRS and HLREG0.JUMBOEN bound that. So the ring is told of the next larger step, and a
//! buffer is posted if it has room for what MAXFRS lets through. An odd address is not posted: bit 0 has another meaning
//! where no-snoop is on (7.1.6.1).
//!
//! Where the next chain does not do, a buffer of ours is posted in the place of it, and the frame is copied into as many
//! chains as it takes (with mergeable buffers) when it is there. The order of the ring stays the order of the frames, so
//! what the guest gets back is always a beginning of what it gave. That is why nothing has to be remembered across a
//! crash of this process: the guest's used index tells all.

use ixgbe_spec::descriptor::rx::{Status, WriteBack};
use nic_driver::{Device, DmaMemory, DriverError, PostRing};
use vm_memory::{Address, Bytes, GuestAddress};
use zerocopy::IntoBytes;

use crate::{
    chain::{Chain, Way},
    counters::Counters,
    header::Header,
    memory::{GuestRam, Mapped},
    negotiated::Negotiated,
    vring::{MAX_SIZE, Vring},
};

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
    /// A chain of the guest.
    Guest {
        head: u16,
        header: GuestAddress,
        frame: GuestAddress,
    },
    /// The buffer of ours that belongs to the descriptor.
    Ours,
}

/// A frame in a buffer of ours.
#[derive(Clone, Copy, Debug)]
struct Held {
    slot: usize,
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
    slots: Vec<Slot>,
    /// A buffer of ours for each descriptor.
    ours: DmaMemory,
    buffer_len: usize,
    /// A frame that waits until the guest has buffers for it. No buffer is posted meanwhile: its own could be.
    held: Option<Held>,
    /// Chains of the guest that the card has.
    posted: usize,
    chain: Chain,
    /// Chains of one packet: each one's first descriptor, and the bytes written to it.
    merged: Vec<(u16, usize)>,
    copy: Vec<u8>,
}

impl Receive {
    /// The half for a ring of `descriptors`. `ours` has a buffer of `buffer_len` bytes for each of them.
    #[must_use]
    pub fn new(mode: Mode, descriptors: usize, ours: DmaMemory, buffer_len: usize) -> Self {
        Self {
            mode,
            slots: vec![Slot::Empty; descriptors],
            ours,
            buffer_len,
            held: None,
            posted: 0,
            chain: Chain::default(),
            merged: Vec::new(),
            copy: vec![0; buffer_len],
        }
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
            let address = match slot {
                Slot::Guest { frame, .. } => {
                    self.posted += 1;
                    frame.raw_value()
                }
                Slot::Ours | Slot::Empty => self.ours.iova(index * self.buffer_len),
            };
            ring.post(address)?;
            self.slots[index] = slot;
            count += 1;
        }
        vring.publish(turn.memory);
        ring.ring_doorbell(device)?;
        Ok(count)
    }

    /// What to post for the guest's next chain; nothing if there is none.
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
            let Some((header, frame)) = self.place(turn) else {
                vring.unpop(1);
                return Some(Slot::Ours);
            };
            return Some(Slot::Guest {
                head: self.chain.head(),
                header,
                frame,
            });
        }
        None
    }

    /// Where header and frame go in the chain that was read, if the card can write the frame.
    fn place(&self, turn: &Turn<'_>) -> Option<(GuestAddress, GuestAddress)> {
        let header_len = turn.negotiated.header_len();
        let parts = self.chain.parts();
        let &(header, len) = parts.first()?;
        let frame = if len == header_len {
            let &(frame, len) = parts.get(1)?;
            (len >= turn.frame_len).then_some(frame)?
        } else {
            let room = len.checked_sub(header_len)?;
            let frame = header.checked_add(header_len as u64)?;
            (room >= turn.frame_len).then_some(frame)?
        };
        frame
            .raw_value()
            .is_multiple_of(2)
            .then_some((header, frame))
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
            let len = usize::from(write_back.length.get());
            let verified = turn.negotiated.guest_checksum() && is_verified(&write_back);
            match slot {
                Slot::Guest {
                    head,
                    header,
                    frame,
                } => {
                    self.posted = self.posted.saturating_sub(1);
                    let header_len = turn.negotiated.header_len();
                    let bytes = Header::received(1, verified);
                    let bytes = &bytes.as_bytes()[..header_len];
                    turn.ram.card_has_written(frame, len);
                    // The memory may be gone since; then the guest has nothing of it.
                    let written = memory.write_slice(bytes, header).is_ok();
                    let total = if written { header_len + len } else { 0 };
                    vring.put(memory, head, u32::try_from(total).unwrap_or(0));
                    turn.counters.rx_zero_copy += 1;
                    done += 1;
                }
                Slot::Ours => {
                    self.held = Some(Held {
                        slot: completed.slot,
                        len: len.min(self.buffer_len),
                        verified,
                    });
                }
                Slot::Empty => {}
            }
        }
        vring.publish(memory);
        done
    }

    /// Copies a frame out of a buffer of ours; `false` if the guest has no buffers for it now.
    fn copy_to_guest(&mut self, turn: &mut Turn<'_>, vring: &mut Vring, held: Held) -> bool {
        let memory = turn.memory;
        let header_len = turn.negotiated.header_len();
        let Some(frame) = self.copy.get_mut(..held.len) else {
            return true;
        };
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
                self.ours.copy(held.slot * self.buffer_len, frame);
                first = Some(self.chain.parts().to_vec());
            }
            let rest = frame.get(done..).unwrap_or_default();
            let copied = self.chain.copy_in(memory, skip, rest);
            done += copied;
            self.merged.push((self.chain.head(), skip + copied));
            if done == held.len || !turn.negotiated.mergeable() {
                break;
            }
        }
        if first.is_none() {
            return false;
        }
        if done < held.len {
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
    /// Returns how many frames are lost by it: one that waited for chains.
    pub fn forget(&mut self, vring: &mut Vring) -> u64 {
        self.slots.fill(Slot::Empty);
        let lost = self.held.take().is_some();
        vring.unpop(self.posted);
        self.posted = 0;
        u64::from(lost)
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
