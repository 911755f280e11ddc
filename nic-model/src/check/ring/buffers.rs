//! The content of a ring's buffers, which must not change while the card has them.

use ixgbe_spec::descriptor::{
    SIZE,
    tx::{Descriptor as Raw, Kind},
};

use super::{Part, Posted, Range, Ring, Rule};
use crate::{
    bus::{Bus, Iova},
    check::{content::Watched, desk::Desk},
    observe::{Descriptor, Direction},
};

impl Ring {
    /// Remembers what is in the buffers of a descriptor that the card has: in all that it fills, and in the first of each
    /// packet that it sends. The others of a packet to send may be pages that a program has lent to its kernel to send from
    /// (`sendfile`, `MSG_ZEROCOPY`), and that it may write at any time, so no driver can answer for them.
    pub(super) fn watch(
        &mut self,
        descriptor: &Descriptor,
        bus: &dyn Bus,
        (posted, rings): (&mut Posted, &[Range]),
    ) {
        if self.direction == Direction::Transmit {
            let begins = self.begins;
            match ends_packet(descriptor.low, descriptor.high) {
                Some(ends) => self.begins = ends,
                None => return,
            }
            if !begins {
                return;
            }
        }
        let Some(held) = self.held.get_mut(&descriptor.index) else {
            return;
        };
        for (watched, buffer) in held.contents.iter_mut().zip([held.packet, held.header]) {
            // Descriptors are written back over a buffer there.
            if !rings.iter().any(|ring| ring.overlaps(buffer)) {
                *watched = Watched::new(buffer, bus, posted);
            }
        }
    }

    /// The card is going to fill or to read the buffers of a descriptor.
    pub(in crate::check) fn before(
        &mut self,
        index: u16,
        bus: &dyn Bus,
        (desk, posted): (&Desk<'_>, &mut Posted),
    ) {
        let Some(held) = self.held.get_mut(&index) else {
            return;
        };
        let mut changed = None;
        for part in &mut held.contents {
            let Some(watched) = *part else {
                continue;
            };
            let is_changed = watched.is_changed(bus, posted);
            if is_changed {
                changed = Some(watched.buffer());
            }
            // What the card fills is the card's from now on; what it reads, it may read again.
            if is_changed || self.direction == Direction::Receive {
                watched.forget(posted);
                *part = None;
            }
        }
        let Some(buffer) = changed else {
            return;
        };
        let descriptor = Descriptor {
            direction: self.direction,
            queue: self.queue,
            index,
            iova: Iova(self.base.wrapping_add(u64::from(index) * SIZE as u64)),
            low: held.low,
            high: held.high,
        };
        let (rule, act) = match self.direction {
            Direction::Receive => (Rule::ReceiveBufferTouched, "fills"),
            Direction::Transmit => (Rule::TransmitBufferTouched, "reads"),
        };
        desk.ring(rule, self, Some(descriptor), || {
            format!(
                "when the card {act} the buffer {buffer} of descriptor {index}, it is not any more what it was when it was handed over"
            )
        });
    }

    /// The packet buffer and the header buffer of a descriptor that the card has.
    pub(in crate::check) fn buffers(&self, index: u16) -> [Range; 2] {
        self.held
            .get(&index)
            .map_or([Range::new(0, 0); 2], |held| [held.packet, held.header])
    }

    /// Forgets what was in a buffer: somebody else may have changed it.
    pub(in crate::check) fn forget(&mut self, index: u16, part: Part, posted: &mut Posted) {
        if let Some(held) = self.held.get_mut(&index) {
            let [packet, header] = &mut held.contents;
            let watched = match part {
                Part::Packet => packet,
                Part::Header => header,
            };
            if let Some(watched) = watched.take() {
                watched.forget(posted);
            }
        }
    }
}

/// Whether a transmit descriptor is the last one of its packet; `None` if it is no part of one.
fn ends_packet(low: u64, high: u64) -> Option<bool> {
    let raw = Raw {
        low: low.into(),
        high: high.into(),
    };
    match raw.decode() {
        Kind::Data(data) => Some(data.control.eop()),
        Kind::Legacy(legacy) => Some(legacy.control.eop()),
        // What comes behind a reserved one is not known.
        Kind::Reserved { .. } => Some(false),
        Kind::Context(_) => None,
    }
}
