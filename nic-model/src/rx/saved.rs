//! The saved form of the receive side: what does not follow from its registers.

use serde::{Deserialize, Serialize};

use super::{
    CLASSES, Packet, QUEUES, Receive,
    buffer::{self, PacketBuffer},
    header::Tag,
    patience::Patience,
    ring::{self, Queue},
    rsc::{self, Coalescing},
    tally::Tally,
};
use crate::{
    fcoe::{self, Fcoe},
    filter::{self, Filters},
    link::pause::Pauses,
    queue_counts::{QueueCount, QueueCounts},
    regs::RegisterFile,
    state::{
        Shift, StateError,
        sparse::{self, Sparse},
    },
};

/// The saved form of the receive side. What has been counted is in registers, but for what each queue has.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    flow_director: filter::Saved,
    queues: Sparse<ring::Saved>,
    coalescing: Vec<rsc::Saved>,
    fcoe: fcoe::Saved,
    buffers: Sparse<buffer::Saved>,
    pauses: Pauses,
    patience: Patience,
    queue_counts: Sparse<QueueCount>,
}

impl Receive {
    /// The saved form.
    pub(crate) fn save(&self) -> Saved {
        let Self {
            filters,
            queues,
            coalescing,
            fcoe,
            buffers,
            pauses,
            tally,
            patience,
        } = self;
        Saved {
            flow_director: filters.save(),
            queues: sparse::save(queues, Queue::save),
            coalescing: coalescing.save(),
            fcoe: fcoe.save(),
            buffers: sparse::save(buffers, |buffer| {
                let fresh = buffer.is_empty() && buffer.has_room() && buffer.first_line() == 0;
                (!fresh).then(|| buffer.save())
            }),
            pauses: *pauses,
            patience: *patience,
            queue_counts: tally.queues().save(),
        }
    }

    /// Of the saved form.
    pub(crate) fn restore(
        saved: Saved,
        shift: Shift,
        regs: &RegisterFile,
    ) -> Result<Self, StateError> {
        let Saved {
            flow_director,
            queues,
            coalescing,
            fcoe,
            buffers,
            pauses,
            patience,
            queue_counts,
        } = saved;
        let mut receive = Self {
            filters: Filters::restore(flow_director, regs)
                .map_err(|error| error.within("flow_director"))?,
            coalescing: Coalescing::restore(coalescing, shift)
                .map_err(|error| error.within("coalescing"))?,
            fcoe: Fcoe::restore(fcoe).map_err(|error| error.within("fcoe"))?,
            pauses: pauses.restored(shift),
            patience: patience.restored(shift),
            tally: Tally::settled(
                QueueCounts::restore(queue_counts).map_err(|error| error.within("queue_counts"))?,
            ),
            ..Self::default()
        };
        sparse::restore(queues, &mut receive.queues, |saved, queue| {
            queue.restore(saved, regs)
        })
        .map_err(|error| error.within("queues"))?;
        sparse::restore(buffers, &mut receive.buffers, |saved, buffer| {
            *buffer = PacketBuffer::restore(saved)?;
            Ok(())
        })
        .map_err(|error| error.within("buffers"))?;
        Ok(receive)
    }
}

impl Packet {
    /// Whether it can be what is known of a frame of `len` bytes.
    pub(super) fn check(&self, len: usize) -> Result<(), StateError> {
        let unless = StateError::unless;
        unless(
            usize::from(self.queue) < usize::from(QUEUES),
            "queue",
            "there are 128",
        )?;
        unless(usize::from(self.class) < CLASSES, "class", "there are 8")?;
        if let Some(tag) = self.tag {
            let inside = tag.offset() >= 12 && tag.offset() + Tag::LEN <= len;
            unless(inside, "tag", "it lies outside of the frame")?;
        }
        if let Some(segment) = &self.segment {
            segment
                .check(len)
                .map_err(|error| error.within("segment"))?;
        }
        if let Some(arrival) = &self.fc {
            arrival.check(len).map_err(|error| error.within("fc"))?;
        }
        Ok(())
    }
}
