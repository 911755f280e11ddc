//! What the NIC tells of its DMA engine: which bytes of client memory it has read and written.

use std::{ops::Range, path::Path};

use anyhow::{Context, Result, ensure};
use control::{Client, Direction, EventKind, TraceFilter, Traced, Tracing};
use guest_probe::Place;

/// Bytes of packets that were moved between client memory and the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The queue.
    pub queue: u32,
    /// The first byte's address.
    pub iova: u64,
    /// How many they are.
    pub len: u64,
}

impl Moved {
    const fn range(&self) -> Range<u64> {
        self.iova..self.iova + self.len
    }
}

/// A trace of the DMA engine.
#[derive(Debug)]
pub struct Account(Tracing);

impl Account {
    /// Begins to listen to the server whose control socket is at `control`: to what goes this way.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn begin(control: &Path, direction: Direction) -> Result<Self> {
        let filter = TraceFilter {
            kinds: Some(vec![EventKind::Dma]),
            direction: Some(direction),
            ..TraceFilter::default()
        };
        Ok(Self(Client::connect(control)?.trace(&filter)?))
    }

    /// Packets' bytes that were moved since then.
    ///
    /// # Errors
    /// Events were lost, or an access was refused.
    pub fn end(mut self) -> Result<Vec<Moved>> {
        self.0.finish()?;
        let mut moved = Vec::new();
        while let Some(Traced { events, lost }) = self.0.next_reply()? {
            ensure!(lost == 0, "{lost} events are lost");
            for event in events {
                ensure!(event.result.as_deref() == Some("done"), "{event:?}");
                if !matches!(event.purpose.as_deref(), Some("packet" | "header")) {
                    continue;
                }
                let iova = event.iova.as_deref().context("an access without address")?;
                let digits = iova.trim_start_matches("0x");
                moved.push(Moved {
                    queue: event.queue.context("an access without queue")?,
                    iova: u64::from_str_radix(digits, 16)?,
                    len: event.length.context("an access without length")?.into(),
                });
            }
        }
        Ok(moved)
    }
}

/// Whether all of these bytes were moved, in however many accesses.
#[must_use]
pub fn covers(moved: &[Moved], place: &Place) -> bool {
    let moved: Vec<_> = moved.iter().map(Moved::range).collect();
    let begin = place.physical_address;
    holds(&moved, begin..begin + place.len as u64)
}

/// Those that reach out of these ranges of memory.
#[must_use]
pub fn outside(moved: &[Moved], memory: &[Range<u64>]) -> Vec<Moved> {
    let is_outside = |moved: &&Moved| !holds(memory, moved.range());
    moved.iter().filter(is_outside).copied().collect()
}

/// Whether every byte of `all` is in one of the ranges.
fn holds(ranges: &[Range<u64>], all: Range<u64>) -> bool {
    let mut at = all.start;
    // Each round goes further by a range that begins no later.
    while at < all.end {
        let further = ranges
            .iter()
            .filter(|range| range.start <= at)
            .map(|range| range.end)
            .max();
        match further {
            Some(further) if further > at => at = further,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn moved(iova: u64, len: u64) -> Moved {
        Moved {
            queue: 0,
            iova,
            len,
        }
    }

    const PLACE: Place = Place {
        virtual_address: 0,
        physical_address: 0x1000,
        len: 0x100,
    };

    #[test]
    fn bytes_in_several_accesses_are_covered() {
        assert!(covers(&[moved(0x1080, 0x100), moved(0xF80, 0x100)], &PLACE));
    }

    #[test]
    fn a_gap_is_not_covered() {
        assert!(!covers(
            &[moved(0x1081, 0x100), moved(0x1000, 0x80)],
            &PLACE
        ));
    }

    #[test]
    fn an_access_that_leaves_the_pages_is_outside() {
        let accesses = [moved(0x1FFF, 1), moved(0x1FFF, 2)];

        assert_eq!(
            outside(&accesses, &[0x0..0x800, 0x800..0x2000]),
            [moved(0x1FFF, 2)]
        );
    }
}
