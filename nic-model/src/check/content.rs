//! What was in a buffer when it was handed over.

use super::{Range, posted::Posted};
use crate::bus::{Bus, Iova};

/// Most bytes of buffers that are remembered in all rings together, as checksums. So a write to a register reads no more
/// than that, however many buffers it hands over.
const MOST_WATCHED: u64 = 64 << 20;
/// Bytes that are read at a time.
const CHUNK: usize = 2048;

/// A buffer's content, as a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content(u32);

impl Content {
    /// What is in `buffer`, if all of it can be read at once.
    fn of(bus: &dyn Bus, buffer: Range) -> Option<Self> {
        let len = usize::try_from(buffer.end - buffer.start).ok()?;
        let memory = bus.look(Iova(buffer.start))?;
        let memory = memory.slice(Iova(buffer.start), len)?;
        let mut hasher = crc32fast::Hasher::new();
        let mut bytes = [0; CHUNK];
        let mut at = 0;
        while at < len {
            let read = memory.offset(at).ok()?.copy_to(&mut bytes);
            hasher.update(bytes.get(..read)?);
            at += read.max(1);
        }
        Some(Self(hasher.finalize()))
    }
}

/// A buffer whose content is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    buffer: Range,
    content: Content,
    /// That of [`Posted`] then.
    generation: u64,
}

impl Watched {
    /// Remembers what is in `buffer`, if that can be read and there is room. To be given back by [`Watched::forget`].
    pub(super) fn new(buffer: Range, bus: &dyn Bus, posted: &mut Posted) -> Option<Self> {
        let len = buffer.end - buffer.start;
        if len == 0 || posted.watched + len > MOST_WATCHED {
            return None;
        }
        let content = Content::of(bus, buffer)?;
        posted.watched += len;
        let generation = posted.generation;
        Some(Self {
            buffer,
            content,
            generation,
        })
    }

    /// Whether something else is there now.
    pub(super) fn is_changed(&self, bus: &dyn Bus, posted: &Posted) -> bool {
        self.generation == posted.generation
            && Content::of(bus, self.buffer).is_some_and(|content| content != self.content)
    }

    pub(super) const fn buffer(&self) -> Range {
        self.buffer
    }

    pub(super) fn forget(self, posted: &mut Posted) {
        if self.generation == posted.generation {
            posted.watched -= self.buffer.end - self.buffer.start;
        }
    }
}
