//! A packet that the card has received, in one piece for each descriptor that it took.

use smallvec::SmallVec;

use crate::place::Place;

/// What the card has at a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// Chains of the guest.
    Guest(Place),
    /// The buffer of ours that belongs to the descriptor.
    Ours,
}

/// What one descriptor says of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The descriptor.
    pub slot: usize,
    /// The guest's chains, if it is not in a buffer of ours.
    pub place: Option<Place>,
    /// Bytes in the packet buffer.
    pub len: usize,
}

/// A packet, or the part of it that has been seen. Pieces in the guest's chains come before those in buffers of ours.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// Its pieces, in order.
    pub pieces: SmallVec<[Piece; 1]>,
    /// Bytes at its beginning that are in the first descriptor's header buffer.
    pub headers: usize,
    /// The card has found its L4 checksum right.
    pub verified: bool,
    /// Packets of the cable that the card has coalesced into it (7.11); 0 if it does not do that.
    pub segments: usize,
    /// It is a large receive: the card may end it with any of its descriptors.
    pub may_end: bool,
}

impl Packet {
    /// Whether a part of it is in the guest's chains.
    #[must_use]
    pub fn is_at_guest(&self) -> bool {
        self.pieces.iter().any(|piece| piece.place.is_some())
    }

    /// Whether it begins in a buffer of ours.
    #[must_use]
    pub fn begins_in_ours(&self) -> bool {
        self.pieces
            .first()
            .is_some_and(|piece| piece.place.is_none())
    }

    /// The descriptor in whose packet buffer of ours all of it is, as the guest is to have it.
    #[must_use]
    pub fn whole_in_ours(&self) -> Option<usize> {
        match self.pieces.as_slice() {
            [piece] if piece.place.is_none() && self.headers == 0 && self.segments <= 1 => {
                Some(piece.slot)
            }
            _ => None,
        }
    }

    /// Bytes in buffers of ours that the guest's chains have to take, with the headers if there is no chain for them yet.
    #[must_use]
    pub fn len_in_ours(&self) -> usize {
        let pieces = self.pieces.iter().filter(|piece| piece.place.is_none());
        let headers = if self.begins_in_ours() {
            self.headers
        } else {
            0
        };
        headers + pieces.map(|piece| piece.len).sum::<usize>()
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers + self.pieces.iter().map(|piece| piece.len).sum::<usize>()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
