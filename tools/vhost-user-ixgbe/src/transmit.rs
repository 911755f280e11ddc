//! From the guest to the card.
//!
//! The parts of a chain become data descriptors with the guest's own addresses: the card reads the frame where the guest
//! has written it. The chain goes back when the card has reported the packet. Only the headers of a packet that the card
//! is to segment are copied, since they have to be changed.

use std::collections::VecDeque;

use nic_driver::{Device, DriverError, Packet, Piece, TxRing};
use vm_memory::Address;
use zerocopy::IntoBytes;

use crate::{
    chain::{Chain, Way},
    header::Header,
    offload::{self, Impossible, LOOK},
    turn::Turn,
    vring::{MAX_SIZE, Vring},
};

/// Bytes of a data descriptor at most, as the card's drivers have it.
const PIECE: usize = 1 << 14;
/// Descriptors of a packet at most (7.2.1.1).
const PIECES: usize = 38;
/// Bytes of a packet with its segments at most (PAYLEN has 18 bits).
const LONGEST: usize = (1 << 18) - 1;
/// Bytes of the shortest frame, without padding and FCS: a MAC header.
const SHORTEST: usize = 14;

/// How many packets before its own a header is asked for: the guest has written it last, on another processor.
const AHEAD: u16 = 4;

/// A chain that has not gone back.
#[derive(Clone, Copy, Debug)]
struct Taken {
    head: u16,
    /// The card has it. If not, it waits for those before it.
    sent: bool,
}

/// The transmit half of a queue pair.
#[derive(Debug, Default)]
pub struct Transmit {
    taken: VecDeque<Taken>,
    /// Packets that the card has reported and whose chains are not at their turn.
    reported: usize,
    chain: Chain,
    pieces: Vec<Piece>,
}

impl Transmit {
    /// Sends what the guest has put into its ring, and returns how many packets that were.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn send(
        &mut self,
        turn: &mut Turn<'_>,
        vring: &mut Vring,
        ring: &mut TxRing,
        device: &mut dyn Device,
    ) -> Result<usize, DriverError> {
        let memory = turn.memory;
        let mut taken = 0;
        let mut sent = 0;
        // Chains that are of no use wait for their turn behind those that the card has.
        while taken < turn.budget && self.taken.len() < usize::from(MAX_SIZE) {
            let Some(read) = vring.take(memory, &mut self.chain, Way::FromGuest) else {
                break;
            };
            vring.expect(memory, AHEAD);
            let head = read.map_or_else(|bad| bad.head, |()| self.chain.head());
            let put = match read {
                Ok(()) => self.put(turn, ring),
                Err(_) => Ok(Err(Impossible)),
            };
            let outcome = match put {
                Err(DriverError::RingFull) => {
                    vring.unpop(1);
                    break;
                }
                other => other?,
            };
            match outcome {
                Ok(()) => {
                    sent += 1;
                    turn.counters.tx_zero_copy += 1;
                }
                Err(Impossible) => turn.counters.tx_bad_chains += 1,
            }
            self.taken.push_back(Taken {
                head,
                sent: outcome.is_ok(),
            });
            taken += 1;
        }
        if sent > 0 {
            ring.ring_doorbell(device)?;
        }
        Ok(taken)
    }

    /// Puts the chain that was read onto the card's ring.
    fn put(
        &mut self,
        turn: &mut Turn<'_>,
        ring: &mut TxRing,
    ) -> Result<Result<(), Impossible>, DriverError> {
        let memory = turn.memory;
        let header_len = turn.negotiated.header_len();
        let mut header = Header::default();
        let bytes = &mut header.as_mut_bytes()[..header_len];
        let frame_len = self.chain.len().saturating_sub(header_len);
        if self.chain.copy_out(memory, 0, bytes) < header_len
            || !(SHORTEST..=LONGEST).contains(&frame_len)
        {
            return Ok(Err(Impossible));
        }
        let mut look = [0; LOOK];
        let packet = if header.is_plain() {
            Packet::default()
        } else {
            if !turn.negotiated.card_checksum() {
                return Ok(Err(Impossible));
            }
            let seen = self.chain.copy_out(memory, header_len, &mut look);
            match offload::plan(&header, &mut look[..seen]) {
                Ok(packet) => packet,
                Err(impossible) => return Ok(Err(impossible)),
            }
        };
        self.pieces.clear();
        for (address, len) in self.chain.behind(header_len + packet.bytes.len()) {
            let mut done = 0;
            while done < len && self.pieces.len() <= PIECES {
                let part = (len - done).min(PIECE);
                self.pieces.push(Piece {
                    address: address.raw_value() + done as u64,
                    len: u16::try_from(part).unwrap_or(u16::MAX),
                });
                done += part;
            }
        }
        // Of a large segment the card makes frames of so many bytes.
        let longest = packet.mss.map_or(frame_len, |mss| {
            frame_len.min(packet.bytes.len() + usize::from(mss))
        });
        if self.pieces.len() > PIECES || longest > turn.frame_len {
            return Ok(Err(Impossible));
        }
        ring.put_pieces(&packet, &self.pieces)?;
        turn.counters.tx_bytes_copied += packet.bytes.len() as u64;
        Ok(Ok(()))
    }

    /// Gives back the chains of packets that the card has sent, and returns how many that were.
    pub fn complete(&mut self, turn: &mut Turn<'_>, vring: &mut Vring, ring: &mut TxRing) -> usize {
        self.reported += ring.reclaim();
        let memory = turn.memory;
        let mut done = 0;
        while let Some(taken) = self.taken.front() {
            if taken.sent && self.reported == 0 {
                break;
            }
            self.reported -= usize::from(taken.sent);
            vring.put(memory, taken.head, 0);
            self.taken.pop_front();
            done += 1;
        }
        vring.publish(memory);
        done
    }

    /// Whether the card has all of it sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.taken.is_empty()
    }

    /// Forgets what the card had, which has been made to forget it as well, and puts the guest's chains back into its
    /// ring: they will be sent when the ring goes on.
    pub fn forget(&mut self, vring: &mut Vring) {
        vring.unpop(self.taken.len());
        self.taken.clear();
        self.reported = 0;
    }
}
