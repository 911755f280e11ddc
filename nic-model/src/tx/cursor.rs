//! Reading the buffers of a packet from front to back.

use std::rc::Rc;

use crate::bus::{Span, Spans};

/// A place in a list of spans, which moves forwards only.
#[derive(Debug)]
pub(super) struct Cursor<'s, 'b> {
    spans: &'s [Span<'b>],
    /// Bytes of the first span that have been passed.
    offset: usize,
}

impl<'s, 'b> Cursor<'s, 'b> {
    pub const fn new(spans: &'s [Span<'b>]) -> Self {
        Self { spans, offset: 0 }
    }

    /// Passes `len` bytes.
    pub fn skip(&mut self, len: usize) {
        self.walk(len, |_, _, _| {});
    }

    /// Copies bytes into the whole of `to`. What the spans do not have stays as it is.
    pub fn copy(&mut self, to: &mut [u8]) {
        let mut at = 0;
        self.walk(to.len(), |span, offset, len| {
            span.copy_to(offset, &mut to[at..at + len]);
            at += len;
        });
    }

    /// Appends the next `len` bytes to `pieces`, without a copy where they are in the client's pages.
    pub fn take(&mut self, len: usize, pieces: &mut Spans<'b>) {
        self.walk(len, |span, offset, len| match span {
            Span::Mapped(slice) => {
                if let Ok(piece) = slice.subslice(offset, len) {
                    pieces.push(Span::Mapped(piece));
                }
            }
            Span::Owned(bytes) if len == bytes.len() => {
                pieces.push(Span::Owned(Rc::clone(bytes)));
            }
            Span::Owned(bytes) => {
                let piece = bytes.get(offset..offset + len).unwrap_or_default();
                pieces.push(Span::Owned(piece.into()));
            }
        });
    }

    fn walk(&mut self, len: usize, mut visit: impl FnMut(&Span<'b>, usize, usize)) {
        let mut left = len;
        while left > 0
            && let Some((span, rest)) = self.spans.split_first()
        {
            let here = left.min(span.len() - self.offset);
            visit(span, self.offset, here);
            left -= here;
            self.offset += here;
            if self.offset == span.len() {
                self.spans = rest;
                self.offset = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vm_memory::VolatileSlice;

    use super::*;

    proptest! {
        #[test]
        fn skip_copy_and_take_walk_over_the_bytes_in_order(
            mut mapped in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            owned in prop::collection::vec(any::<u8>(), 0..40),
            skipped in 0_usize..60,
            copied in 0_usize..60,
            taken in 0_usize..200,
        ) {
            let whole = [mapped.concat(), owned.clone()].concat();
            let mut spans: Vec<Span<'_>> =
                mapped.iter_mut().map(|bytes| Span::Mapped(VolatileSlice::from(bytes.as_mut_slice()))).collect();
            spans.push(Span::Owned(owned.into()));

            let mut cursor = Cursor::new(&spans);
            cursor.skip(skipped);
            let mut copy = vec![0; copied];
            cursor.copy(&mut copy);
            let mut pieces = Spans::new();
            cursor.take(taken, &mut pieces);

            let after_skip = whole.get(skipped..).unwrap_or_default();
            let n = copied.min(after_skip.len());
            prop_assert_eq!(&copy[..n], &after_skip[..n]);
            let expected = after_skip.get(copied..).unwrap_or_default();
            let pieces: Vec<u8> = pieces.iter().flat_map(|piece| {
                let mut bytes = vec![0; piece.len()];
                piece.copy_to(0, &mut bytes);
                bytes
            }).collect();
            prop_assert_eq!(&pieces[..], &expected[..taken.min(expected.len())]);
        }
    }
}
