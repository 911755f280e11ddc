//! The saved form of a receive queue: what does not follow from its registers.

use ixgbe_spec::descriptor::rx::Read;
use serde::{Deserialize, Serialize};

use super::{BATCH, Progress, Queue};
use crate::{fcoe, regs::RegisterFile, state::StateError};

/// A queue that software has touched.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::rx) struct Saved {
    enabled: bool,
    epoch: u32,
    halted: bool,
    head: u16,
    tail: u16,
    drop_by_qde: bool,
    hide_vlan: bool,
    /// The descriptors that were fetched and not yet used, from the head on: addresses of packet and header buffer.
    fetched: Vec<[u64; 2]>,
}

impl Queue {
    /// The saved form; `None` of a queue as after a reset.
    pub(in crate::rx) fn save(&self) -> Option<Saved> {
        let Self {
            index: _,
            enabled,
            epoch,
            halted,
            valid: _,
            base: _,
            count: _,
            head,
            tail,
            format: _,
            buffer_len: _,
            header_len: _,
            low_water: _,
            drop_en: _,
            drop_by_qde,
            hide_vlan,
            strip: _,
            max_len: _,
            whole_len: _,
            max_descriptors: _,
            cache,
            first,
            cached,
        } = self;
        let fetched = cache.iter().skip(usize::from(*first));
        let saved = Saved {
            enabled: *enabled,
            epoch: *epoch,
            halted: *halted,
            head: *head,
            tail: *tail,
            drop_by_qde: *drop_by_qde,
            hide_vlan: *hide_vlan,
            fetched: fetched.take(usize::from(*cached)).map(words).collect(),
        };
        let touched = saved.enabled
            || saved.halted
            || saved.drop_by_qde
            || saved.hide_vlan
            || (saved.epoch, saved.head, saved.tail) != (0, 0, 0);
        touched.then_some(saved)
    }

    /// Takes over the saved form, and the registers as they stand; the queue is as after a reset.
    pub(in crate::rx) fn restore(
        &mut self,
        saved: Saved,
        regs: &RegisterFile,
    ) -> Result<(), StateError> {
        let Saved {
            enabled,
            epoch,
            halted,
            head,
            tail,
            drop_by_qde,
            hide_vlan,
            fetched,
        } = saved;
        self.enabled = enabled;
        self.epoch = epoch;
        self.halted = halted;
        self.head = head;
        self.tail = tail;
        self.drop_by_qde = drop_by_qde;
        self.hide_vlan = hide_vlan;
        self.decode(regs);
        let few = fetched.len() <= usize::from(self.posted().min(BATCH));
        StateError::unless(few, "fetched", "more descriptors than are posted")?;
        for (place, words) in self.cache.iter_mut().zip(&fetched) {
            *place = read(*words);
        }
        self.first = 0;
        self.cached = u16::try_from(fetched.len()).unwrap_or(0);
        Ok(())
    }
}

impl Progress {
    /// Whether it can be that of a frame of which `len` bytes go into the ring, and not all have.
    pub(in crate::rx) fn check(&self, len: usize) -> Result<(), StateError> {
        let inside = self.done == 0 || self.done < len;
        StateError::unless(inside, "done", "it ends behind the frame")
    }

    /// Of `len` bytes those that go into the ring.
    pub(in crate::rx) fn cut(&self, len: usize) -> usize {
        match self.fc.map(|posting| posting.extent) {
            Some(fcoe::Extent::Headers(headers)) => headers.min(len),
            Some(fcoe::Extent::Nothing) => 0,
            Some(fcoe::Extent::Whole) | None => len,
        }
    }
}

/// The two addresses.
fn words(descriptor: &Read) -> [u64; 2] {
    [
        descriptor.packet_address.get(),
        descriptor.header_address.get(),
    ]
}

fn read([packet, header]: [u64; 2]) -> Read {
    Read {
        packet_address: packet.into(),
        header_address: header.into(),
    }
}

/// A descriptor as its two words.
pub(super) mod descriptor {
    use ixgbe_spec::descriptor::rx::Read;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes it.
    pub(in crate::rx) fn serialize<S: Serializer>(read: &Read, to: S) -> Result<S::Ok, S::Error> {
        super::words(read).serialize(to)
    }

    /// Reads it.
    pub(in crate::rx) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Read, D::Error> {
        <[u64; 2]>::deserialize(from).map(super::read)
    }
}
