//! A chain of descriptors that a guest has put into a ring, checked.

use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::DescriptorChain;
use vm_memory::{Address, GuestAddress};

use crate::{
    access::{self, is_memory},
    memory::Mapped,
    vring::MAX_SIZE,
};

/// Which way the bytes of a chain go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The guest has written them.
    FromGuest,
    /// The guest will read them.
    ToGuest,
}

/// A chain is not what it has to be: it has no end, or no bytes, or bytes that are not memory or for the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChain {
    /// The chain's first descriptor.
    pub head: u16,
}

/// The parts of a chain. Each is all in the guest's memory, and none is empty.
#[derive(Debug, Default)]
pub struct Chain {
    head: u16,
    descriptors: usize,
    parts: Vec<(GuestAddress, usize)>,
}

impl Chain {
    /// Reads a chain in the place of what was here.
    ///
    /// # Errors
    /// [`BadChain`].
    pub fn read(
        &mut self,
        memory: &Mapped,
        chain: DescriptorChain<&Mapped>,
        way: Way,
    ) -> Result<(), BadChain> {
        self.head = chain.head_index();
        self.descriptors = 1;
        self.parts.clear();
        let bad = BadChain { head: self.head };
        let mut ended = false;
        for (count, descriptor) in chain.enumerate() {
            // Also one in a table of its own is no longer than a ring (2.7.5).
            if count >= usize::from(MAX_SIZE) {
                return Err(bad);
            }
            let len = usize::try_from(descriptor.len()).map_err(|_| bad)?;
            let to_guest = descriptor.is_write_only();
            if to_guest != (way == Way::ToGuest) || !is_memory(memory, descriptor.addr(), len) {
                return Err(bad);
            }
            if len > 0 {
                self.parts.push((descriptor.addr(), len));
            }
            ended = !descriptor.has_next();
        }
        // A chain that loops is left off where it is as long as the ring; its last descriptor has a next one then.
        if ended && !self.parts.is_empty() {
            Ok(())
        } else {
            Err(bad)
        }
    }

    /// Reads the chain that begins at `head` in a ring's table of `size` descriptors at address `table`, in the place of
    /// what was here. Nothing if it has a table of its own.
    pub(crate) fn read_direct(
        &mut self,
        memory: &Mapped,
        (table, size): (u64, u16),
        head: u16,
        way: Way,
    ) -> Option<Result<(), BadChain>> {
        self.head = head;
        self.descriptors = 0;
        self.parts.clear();
        let bad = Some(Err(BadChain { head }));
        let mut index = head;
        let mut total = 0_u32;
        // A chain is no longer than its ring (2.7.5): one that loops is.
        for _ in 0..size {
            let place = table.checked_add(u64::from(index) * 16);
            let mut raw = [0; 16];
            let place = place.filter(|_| index < size).map(GuestAddress);
            if !place.is_some_and(|place| access::read(memory, place, &mut raw)) {
                return bad;
            }
            let [
                a0,
                a1,
                a2,
                a3,
                a4,
                a5,
                a6,
                a7,
                l0,
                l1,
                l2,
                l3,
                f0,
                f1,
                n0,
                n1,
            ] = raw;
            let address = GuestAddress(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]));
            let len = u32::from_le_bytes([l0, l1, l2, l3]);
            let flags = u32::from(u16::from_le_bytes([f0, f1]));
            if flags & VRING_DESC_F_INDIRECT != 0 {
                return None;
            }
            let to_guest = flags & VRING_DESC_F_WRITE != 0;
            let (Some(sum), Ok(len)) = (total.checked_add(len), usize::try_from(len)) else {
                return bad;
            };
            if to_guest != (way == Way::ToGuest) || !is_memory(memory, address, len) {
                return bad;
            }
            total = sum;
            self.descriptors += 1;
            if len > 0 {
                self.parts.push((address, len));
            }
            if flags & VRING_DESC_F_NEXT == 0 {
                return if self.parts.is_empty() {
                    bad
                } else {
                    Some(Ok(()))
                };
            }
            index = u16::from_le_bytes([n0, n1]);
        }
        bad
    }

    /// The chain's first descriptor, by which it goes back.
    #[must_use]
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Descriptors of the ring's own table that it takes: one, if it has a table for itself.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// The parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[(GuestAddress, usize)] {
        &self.parts
    }

    /// Bytes in all parts.
    #[must_use]
    pub fn len(&self) -> usize {
        let lens = self.parts.iter().map(|(_, len)| len);
        lens.fold(0, |sum, len| sum.saturating_add(*len))
    }

    /// Never: a chain without bytes is a bad one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The parts behind the first `skip` bytes.
    pub fn behind(&self, skip: usize) -> impl Iterator<Item = (GuestAddress, usize)> + '_ {
        let mut skip = skip;
        self.parts.iter().filter_map(move |&(address, len)| {
            let skipped = skip.min(len);
            skip -= skipped;
            (skipped < len).then(|| (address.unchecked_add(skipped as u64), len - skipped))
        })
    }

    /// Copies bytes out of the chain from byte `skip` on; returns how many there were.
    pub fn copy_out(&self, memory: &Mapped, skip: usize, to: &mut [u8]) -> usize {
        let mut done = 0;
        for (address, len) in self.behind(skip) {
            let Some(rest) = to.get_mut(done..) else {
                break;
            };
            let count = len.min(rest.len());
            let Some(rest) = rest.get_mut(..count).filter(|rest| !rest.is_empty()) else {
                break;
            };
            if !access::read(memory, address, rest) {
                break;
            }
            done += count;
        }
        done
    }

    /// Copies bytes into the chain from byte `skip` on; returns how many found room.
    pub fn copy_in(&self, memory: &Mapped, skip: usize, from: &[u8]) -> usize {
        let mut done = 0;
        for (address, len) in self.behind(skip) {
            let rest = from.get(done..).unwrap_or_default();
            let Some(part) = rest
                .get(..len.min(rest.len()))
                .filter(|part| !part.is_empty())
            else {
                break;
            };
            if !access::write(memory, address, part) {
                break;
            }
            done += part.len();
        }
        done
    }
}
