//! The bytes of a frame that go to client memory.

use std::ops::Range;

use super::header::Tag;
use crate::{
    bus::{DmaError, Iova, Requester},
    dma::Dma,
};

/// Pieces: before and after the tag of the frame's two parts, and the FCS.
const PIECES: usize = 5;

/// A frame as the ring gets it: without the tag that is stripped, with the FCS if that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload<'a> {
    pieces: [&'a [u8]; PIECES],
    len: usize,
}

impl<'a> Payload<'a> {
    /// The frame `head`, `body`.
    #[inline]
    pub(crate) fn new(
        head: &'a [u8],
        body: &'a [u8],
        stripped: Option<Tag>,
        fcs: &'a [u8],
    ) -> Self {
        let mut pieces = [head, &[], body, &[], fcs];
        if let Some(tag) = stripped {
            let start = tag.offset();
            let end = start + Tag::LEN;
            [pieces[0], pieces[1]] = cut(head, start..end);
            [pieces[2], pieces[3]] = cut(
                body,
                start.saturating_sub(head.len())..end.saturating_sub(head.len()),
            );
        }
        Self {
            pieces,
            len: pieces.iter().map(|piece| piece.len()).sum(),
        }
    }

    /// Length in bytes.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The bytes of `range`.
    pub(crate) fn bytes(&self, range: Range<usize>) -> impl Iterator<Item = u8> {
        let all = self.pieces.into_iter().flatten().copied();
        all.skip(range.start).take(range.len())
    }

    /// Copies `range` of the payload to client memory.
    ///
    /// # Errors
    /// As [`Bus::write`](crate::bus::Bus::write); the pieces before the one that was refused are written.
    #[inline]
    pub(crate) fn copy(
        &self,
        range: Range<usize>,
        dma: &mut Dma<'_>,
        by: Requester,
        iova: Iova,
    ) -> Result<(), DmaError> {
        let [whole, ..] = self.pieces;
        if let Some(bytes) = whole.get(range.clone()) {
            return dma.write(by, iova, bytes);
        }
        let mut at = 0;
        for piece in self.pieces {
            let from = range.start.saturating_sub(at).min(piece.len());
            let to = range.end.saturating_sub(at).min(piece.len());
            if from < to {
                let offset = (at + from - range.start) as u64;
                let iova = iova
                    .checked_add(offset)
                    .ok_or(DmaError::Refused { iova: iova.0 })?;
                dma.write(by, iova, &piece[from..to])?;
            }
            at += piece.len();
        }
        Ok(())
    }
}

/// What lies before and after `range`, both clamped to the bytes.
fn cut(bytes: &[u8], range: Range<usize>) -> [&[u8]; 2] {
    let start = range.start.min(bytes.len());
    let end = range.end.min(bytes.len());
    [&bytes[..start], &bytes[end..]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::TestBus;

    proptest! {
        #[test]
        fn the_pieces_are_the_frame_without_tag_and_with_fcs(
            frame in proptest::collection::vec(any::<u8>(), 20..100),
            head in any::<prop::sample::Index>(),
            offset in proptest::option::of(prop_oneof![Just(12u8), Just(16u8)]),
            fcs in proptest::collection::vec(any::<u8>(), 0..=4),
            step in 1usize..40,
        ) {
            let (head, body) = frame.split_at(head.index(frame.len() + 1));
            let tag = offset.and_then(|offset| Tag::new(offset, 0));
            let mut expected = frame.clone();
            if let Some(offset) = offset {
                expected.drain(usize::from(offset)..usize::from(offset) + 4);
            }
            expected.extend_from_slice(&fcs);
            let bus = TestBus::new(0x1000);

            let payload = Payload::new(head, body, tag, &fcs);
            for start in (0..payload.len()).step_by(step) {
                let end = payload.len().min(start + step);
                let iova = Iova(TestBus::BASE + start as u64);
                payload.copy(start..end, &mut Dma::new(&bus), Requester::Pf, iova).unwrap();
            }

            prop_assert_eq!(payload.len(), expected.len());
            prop_assert_eq!(bus.peek(TestBus::BASE, expected.len()), expected);
        }
    }
}
