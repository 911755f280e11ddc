//! Where a packet goes in the guest's chains.
//!
//! The guest wants virtio's header and the frame behind it, without a gap within a chain. The card writes what it writes
//! from one address on, which it is given before the packet is there.
//!
//! Without packet split that is easy: the frame goes behind virtio's header. With packet split the payload's address is
//! what is given, and how many bytes of headers will stand before it is not known yet:
//!
//! - With mergeable buffers a packet takes two chains: the headers are copied behind virtio's header in the first one, the
//!   card writes the payload to the beginning of the second one. That is right for headers of any length. The first chain
//!   comes back with fewer bytes than it has room for; drivers take each chain's length as it is told.
//! - Without them the payload goes as far behind the place of the frame as the packet's headers were long that came before
//!   (packets of one connection have the same). If the guess is wrong, the payload has to be moved.

use vm_memory::{Address, GuestAddress};

use crate::chain::Chain;

/// Headers that are split off end at the earliest here: Ethernet, IPv4 and UDP.
pub const SHORTEST_SPLIT: usize = 42;

/// Where the payload of a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Into the chain of the frame, so many bytes behind the frame's place.
    Behind(usize),
    /// To the beginning of a chain of its own.
    Chain {
        /// The chain's first descriptor.
        head: u16,
        /// Where it begins.
        address: GuestAddress,
    },
}

/// Where a packet goes in the guest's chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First descriptor of the chain that the packet begins in.
    pub head: u16,
    /// Where virtio's header goes.
    pub header: GuestAddress,
    /// Where the frame begins.
    pub frame: GuestAddress,
    /// Where the payload goes.
    pub payload: Payload,
}

impl Place {
    /// The place for a frame as a whole, or for one whose first `lead` bytes the card does not write, with room for
    /// `room` bytes from the frame's beginning on. Nothing if the chain has none.
    #[must_use]
    pub fn whole(chain: &Chain, header_len: usize, lead: usize, room: usize) -> Option<Self> {
        let (header, frame) = front(chain, header_len, room)?;
        let place = Self {
            head: chain.head(),
            header,
            frame,
            payload: Payload::Behind(lead),
        };
        is_even(place.written_from()).then_some(place)
    }

    /// The place for headers of up to `room` bytes in a chain; the payload's own is still missing.
    #[must_use]
    pub fn headers(chain: &Chain, header_len: usize, room: usize) -> Option<Self> {
        let (header, frame) = front(chain, header_len, room)?;
        Some(Self {
            head: chain.head(),
            header,
            frame,
            payload: Payload::Behind(0),
        })
    }

    /// The same with a chain for the payload that has room for `room` bytes in one piece.
    #[must_use]
    pub fn with_payload_in(self, chain: &Chain, room: usize) -> Option<Self> {
        let &(address, len) = chain.parts().first()?;
        let payload = Payload::Chain {
            head: chain.head(),
            address,
        };
        (len >= room && is_even(address)).then_some(Self { payload, ..self })
    }

    /// The first byte that the card writes. An even address: bit 0 has another meaning where no-snoop is on (7.1.6.1).
    #[must_use]
    pub fn written_from(&self) -> GuestAddress {
        match self.payload {
            Payload::Behind(lead) => self.frame.unchecked_add(lead as u64),
            Payload::Chain { address, .. } => address,
        }
    }

    /// Bytes of the chain before the first one that the card writes, if all of it is one piece of memory.
    #[must_use]
    pub fn gap(&self, header_len: usize) -> Option<usize> {
        let Payload::Behind(lead) = self.payload else {
            return None;
        };
        let together = self.header.checked_add(header_len as u64) == Some(self.frame);
        together.then_some(header_len + lead)
    }

    /// How many chains it takes.
    #[must_use]
    pub fn chains(&self) -> usize {
        match self.payload {
            Payload::Behind(_) => 1,
            Payload::Chain { .. } => 2,
        }
    }
}

/// Where virtio's header goes and where the frame, if that has room for `room` bytes in one piece: behind the header in
/// the same descriptor, or in a descriptor of its own.
fn front(chain: &Chain, header_len: usize, room: usize) -> Option<(GuestAddress, GuestAddress)> {
    let parts = chain.parts();
    let &(header, len) = parts.first()?;
    let (frame, there) = if len == header_len {
        *parts.get(1)?
    } else {
        let frame = header.checked_add(header_len as u64)?;
        (frame, len.checked_sub(header_len)?)
    };
    (there >= room).then_some((header, frame))
}

fn is_even(address: GuestAddress) -> bool {
    address.raw_value().is_multiple_of(2)
}
