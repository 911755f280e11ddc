//! One ring of the guest: chains come off it, and go back to it in batches.

use std::{
    fs::File,
    io::{Read, Write},
    sync::atomic::{Ordering, fence},
};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{DescriptorChain, Queue, QueueT};
use vm_memory::GuestAddress;

use crate::{
    access,
    chain::{BadChain, Chain, Way},
    memory::Mapped,
};

/// Chains of the longest ring.
pub const MAX_SIZE: u16 = 1024;

/// Why the ring cannot be used any more: what it is made of is not the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest's ring is broken")]
pub struct Broken;

/// A ring and its two eventfds.
#[derive(Debug)]
pub struct Vring {
    queue: Queue,
    /// The guest rings: there is something in the ring.
    pub kick: Option<File>,
    /// The guest is to be rung: something has gone back.
    pub call: Option<File>,
    /// The front-end lets the ring run.
    pub enabled: bool,
    /// The ring was found broken. Nothing is read from it until it is set up anew.
    broken: bool,
    /// It was found broken, and nobody has taken note of it.
    has_broken: bool,
    event_idx: bool,
    /// What the guest has put in, as far as it was looked at.
    available: u16,
    /// The last look found no further chain: whoever looked waits for the guest.
    waits: bool,
    /// Where the next chain goes back to; what is before it and not published is not seen by the guest.
    used: u16,
    /// What the guest was told.
    published: u16,
    /// Times that the guest was interrupted.
    pub interrupts: u64,
}

impl Default for Vring {
    fn default() -> Self {
        Self {
            // A power of two within the crate's limits is never refused.
            queue: Queue::new(MAX_SIZE).expect("a size that is possible"),
            kick: None,
            call: None,
            enabled: false,
            broken: false,
            has_broken: false,
            event_idx: false,
            available: 0,
            waits: false,
            used: 0,
            published: 0,
            interrupts: 0,
        }
    }
}

impl Vring {
    /// Whether the ring has been started, enabled, and is not broken.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.queue.ready() && self.enabled && !self.broken
    }

    fn give_up(&mut self) {
        self.has_broken |= !self.broken;
        self.broken = true;
    }

    /// Whether it was found broken since it was started.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it was found broken since this was asked last.
    pub fn has_broken(&mut self) -> bool {
        std::mem::take(&mut self.has_broken)
    }

    /// Whether the front-end has started it.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.queue.ready()
    }

    /// Starts it.
    pub fn start(&mut self) {
        self.broken = false;
        self.waits = false;
        self.available = self.queue.next_avail();
        self.queue.set_ready(true);
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.queue.set_ready(false);
    }

    /// Sets how many chains it has.
    ///
    /// # Errors
    /// Not a power of two, or too many.
    pub fn set_size(&mut self, size: u32) -> Result<(), Broken> {
        let size = u16::try_from(size).map_err(|_| Broken)?;
        self.queue.try_set_size(size).map_err(|_| Broken)
    }

    /// Sets where its parts are, and goes on behind the last chain that the guest got back.
    ///
    /// # Errors
    /// They are not aligned, or not in memory.
    pub fn set_addresses(
        &mut self,
        memory: &Mapped,
        (descriptors, available, used): (GuestAddress, GuestAddress, GuestAddress),
    ) -> Result<(), Broken> {
        let queue = &mut self.queue;
        queue
            .try_set_desc_table_address(descriptors)
            .and_then(|()| queue.try_set_avail_ring_address(available))
            .and_then(|()| queue.try_set_used_ring_address(used))
            .map_err(|_| Broken)?;
        let index = self.queue.used_idx(memory, Ordering::Acquire);
        self.used = index.map_err(|_| Broken)?.0;
        self.published = self.used;
        Ok(())
    }

    /// Sets which chain is the next to take.
    pub fn set_base(&mut self, base: u16) {
        self.queue.set_next_avail(base);
        self.available = base;
    }

    /// Which chain is the next to take.
    #[must_use]
    pub fn base(&self) -> u16 {
        self.queue.next_avail()
    }

    /// Chooses by what the two sides say when they want to be rung (`VIRTIO_RING_F_EVENT_IDX`).
    pub fn set_event_idx(&mut self, enabled: bool) {
        self.event_idx = enabled;
        self.queue.set_event_idx(enabled);
    }

    /// Takes the next chain and reads it into `chain`. Nothing if there is none.
    pub fn take(
        &mut self,
        memory: &Mapped,
        chain: &mut Chain,
        way: Way,
    ) -> Option<Result<(), BadChain>> {
        let next = self.next(memory)?;
        let size = self.queue.size();
        let entry = self.available_entry(next);
        let head = entry.and_then(|entry| access::load(memory, entry, Ordering::Relaxed));
        let Some(head) = head else {
            self.give_up();
            return None;
        };
        let table = self.queue.desc_table();
        match chain.read_direct(memory, (table, size), head, way) {
            Some(read) => {
                self.queue.set_next_avail(next.wrapping_add(1));
                Some(read)
            }
            None => {
                let indirect = self.pop(memory)?;
                Some(chain.read(memory, indirect, way))
            }
        }
    }

    /// The index of the next chain, if the guest has put one in.
    fn next(&mut self, memory: &Mapped) -> Option<u16> {
        if self.broken {
            return None;
        }
        let next = self.queue.next_avail();
        if self.available != next {
            self.waits = false;
            return Some(next);
        }
        // Acquire: the entries and descriptors are read after the index that announces them.
        match self.available_index(memory, Ordering::Acquire) {
            // More than the ring has is no guest's index (2.7.5).
            Some(index) if self.queue.ready() && index.wrapping_sub(next) <= self.queue.size() => {
                self.available = index;
                self.waits = index == next;
                (!self.waits).then_some(next)
            }
            _ => {
                self.give_up();
                None
            }
        }
    }

    /// How many chains the guest has put in.
    fn available_index(&self, memory: &Mapped, ordering: Ordering) -> Option<u16> {
        let place = self.queue.avail_ring().checked_add(2)?;
        access::load(memory, GuestAddress(place), ordering)
    }

    fn available_entry(&self, index: u16) -> Option<GuestAddress> {
        let slot = u64::from(index % self.queue.size().max(1));
        let place = self.queue.avail_ring().checked_add(4 + slot * 2)?;
        Some(GuestAddress(place))
    }

    /// Asks for the buffer of a chain that is taken soon, `ahead` behind the next one.
    pub fn expect(&self, memory: &Mapped, ahead: u16) {
        let next = self.queue.next_avail();
        if self.available.wrapping_sub(next) <= ahead {
            return;
        }
        let entry = self.available_entry(next.wrapping_add(ahead));
        let head = entry.and_then(|entry| access::load(memory, entry, Ordering::Relaxed));
        let place = head.and_then(|head| {
            let table = self.queue.desc_table();
            table.checked_add(u64::from(head) * 16)
        });
        let mut address = [0; 8];
        if place.is_some_and(|place| access::read(memory, GuestAddress(place), &mut address)) {
            access::expect_read(memory, GuestAddress(u64::from_le_bytes(address)));
        }
    }

    /// Takes the next chain as the crate `virtio-queue` has it: it knows indirect tables.
    fn pop<'m>(&mut self, memory: &'m Mapped) -> Option<DescriptorChain<&'m Mapped>> {
        use virtio_queue::QueueOwnedT;
        if self.broken {
            return None;
        }
        let Ok(mut chains) = self.queue.iter(memory) else {
            self.give_up();
            return None;
        };
        chains.next()
    }

    /// Puts the last `count` chains back, to be taken again.
    pub fn unpop(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(0);
        let next = self.queue.next_avail().wrapping_sub(count);
        self.queue.set_next_avail(next);
    }

    /// Whether the guest has no descriptor left: it has put in as many chains as the ring has, less the `beside` that some of
    /// them take beside their first one, and got none of them back.
    #[must_use]
    pub fn is_full(&self, beside: usize) -> bool {
        let chains = self.available.wrapping_sub(self.used);
        usize::from(chains).saturating_add(beside) >= usize::from(self.queue.size())
    }

    /// Gives a chain back with `len` bytes written to it. The guest sees it after [`Vring::publish`].
    pub fn put(&mut self, memory: &Mapped, head: u16, len: u32) {
        if self.broken {
            return;
        }
        let size = self.queue.size();
        let index = u64::from(self.used % size.max(1));
        let place = self.queue.used_ring().checked_add(4 + index * 8);
        let [a, b, c, d] = u32::from(head).to_le_bytes();
        let [e, f, g, h] = len.to_le_bytes();
        let used = [a, b, c, d, e, f, g, h];
        let written = place.is_some_and(|place| access::write(memory, GuestAddress(place), &used));
        if head >= size || !written {
            self.give_up();
            return;
        }
        self.used = self.used.wrapping_add(1);
    }

    /// Lets the guest see what was given back, all at once, and rings it if it wants to be.
    pub fn publish(&mut self, memory: &Mapped) {
        if self.used == self.published || self.broken {
            return;
        }
        let before = self.published;
        let place = self.queue.used_ring().checked_add(2);
        // Release: the guest that sees the index sees the entries, and what is in the buffers.
        let stored = place.is_some_and(|place| {
            access::store(memory, GuestAddress(place), self.used, Ordering::Release)
        });
        if !stored {
            self.give_up();
            return;
        }
        self.published = self.used;
        self.queue.set_next_used(self.used);
        if self.wants_to_be_rung(memory, before) {
            self.ring_the_guest();
        }
    }

    fn wants_to_be_rung(&self, memory: &Mapped, before: u16) -> bool {
        // The index has to be seen before the guest's wish is read: the guest does it the other way round (2.7.10).
        fence(Ordering::SeqCst);
        let available = self.queue.avail_ring();
        if self.event_idx {
            let place = available.checked_add(4 + u64::from(self.queue.size()) * 2);
            let event = place
                .and_then(|place| access::load(memory, GuestAddress(place), Ordering::Relaxed));
            let Some(event) = event else { return true };
            let since = self.used.wrapping_sub(before);
            return self.used.wrapping_sub(event).wrapping_sub(1) < since;
        }
        let flags = access::load(memory, GuestAddress(available), Ordering::Relaxed);
        flags.is_some_and(|flags| u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }

    /// Rings the guest once more, whatever it wants: a ring too many is harmless.
    pub fn ring_again(&mut self) {
        if self.runs() {
            self.ring_the_guest();
        }
    }

    fn ring_the_guest(&mut self) {
        if let Some(call) = &mut self.call {
            self.interrupts += 1;
            // A counter that is full has rung already.
            let _ = call.write(&1_u64.to_ne_bytes());
        }
    }

    /// Asks the guest to ring when it puts something in, or not to. When it is asked to, this tells whether it has put
    /// something in since a look found nothing more. That is told once, until the next such look.
    ///
    /// Chains that were seen and put back are not counted: they are too few, or wait for the card, and to ring for the
    /// next one the guest has to be told an index behind them.
    pub fn want_kicks(&mut self, memory: &Mapped, want: bool) -> bool {
        let asked = if want {
            self.ask_for_kicks(memory)
        } else {
            self.queue.disable_notification(memory).ok()
        };
        // The wish has to be seen before the index is read: the guest does it the other way round (2.7.10).
        fence(Ordering::SeqCst);
        let index = asked.and_then(|()| self.available_index(memory, Ordering::Relaxed));
        let Some(index) = index else {
            self.give_up();
            return false;
        };
        let already = want && self.waits && index != self.available;
        self.waits &= !already;
        already
    }

    fn ask_for_kicks(&mut self, memory: &Mapped) -> Option<()> {
        if !self.event_idx {
            return self.queue.enable_notification(memory).ok().map(drop);
        }
        // avail_event follows the used ring (2.7.8).
        let behind = 4 + u64::from(self.queue.size()) * 8;
        let place = self.queue.used_ring().checked_add(behind)?;
        access::store(
            memory,
            GuestAddress(place),
            self.available,
            Ordering::Relaxed,
        )
        .then_some(())
    }

    /// Takes note of a ring.
    pub fn read_kick(&mut self) {
        if let Some(kick) = &mut self.kick {
            let _ = kick.read(&mut [0; 8]);
        }
    }
}
