//! Frames out of a stream: bytes come in any pieces, frames go out one at a time, in place.

use std::ops::Range;

use super::MAX_FRAME;

/// Bytes of the length before each frame.
pub(super) const PREFIX: usize = 4;
/// Room for what one read brings, several large frames at least.
const ROOM: usize = 256 << 10;
const _: () = assert!(ROOM >= 2 * (PREFIX + MAX_FRAME));

/// What was read and not yet taken.
#[derive(Debug)]
pub(super) struct Framing {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A frame, here in the buffer.
    Frame(Range<usize>),
    /// Not all of a frame is there.
    Incomplete,
    /// A length that no frame has: the stream cannot be followed any further.
    Malformed,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; ROOM].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// Where the next bytes of the stream go. Never empty as long as [`Framing::next`] is [`Next::Incomplete`].
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.clear();
        } else if self.start > ROOM - PREFIX - MAX_FRAME {
            // The frame that has begun might not fit behind here.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were written to [`Framing::space`].
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(ROOM);
    }

    /// What is there.
    pub(super) fn next(&self) -> Next {
        let Some((prefix, rest)) = self.buffer[self.start..self.end].split_first_chunk() else {
            return Next::Incomplete;
        };
        match usize::try_from(u32::from_be_bytes(*prefix)) {
            Ok(len @ 1..=MAX_FRAME) if len <= rest.len() => {
                let at = self.start + PREFIX;
                Next::Frame(at..at + len)
            }
            Ok(1..=MAX_FRAME) => Next::Incomplete,
            _ => Next::Malformed,
        }
    }

    /// The bytes of a frame.
    pub(super) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.buffer[frame]
    }

    /// Goes on behind a frame that [`Framing::next`] told of.
    pub(super) const fn take(&mut self, frame: &Range<usize>) {
        self.start = frame.end;
    }

    /// Whether nothing waits, not even a part of a frame.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets everything: another stream begins.
    pub(super) const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `stream` in pieces of these lengths, taking the frames after each; and whether it broke.
    fn parse(stream: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Next) {
        let mut framing = Framing::new();
        let (mut frames, mut rest) = (Vec::new(), stream);
        let mut pieces = pieces.iter().copied().cycle();
        loop {
            match framing.next() {
                Next::Frame(frame) => {
                    frames.push(framing.bytes(frame.clone()).to_vec());
                    framing.take(&frame);
                }
                Next::Incomplete if !rest.is_empty() => {
                    let space = framing.space();
                    let count = pieces.next().unwrap().min(space.len()).min(rest.len());
                    assert!(count > 0, "no space for an incomplete frame");
                    space[..count].copy_from_slice(&rest[..count]);
                    framing.filled(count);
                    rest = &rest[count..];
                }
                end => return (frames, end),
            }
        }
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let with_length = |frame: &Vec<u8>| {
            let len = u32::try_from(frame.len()).unwrap();
            [&len.to_be_bytes(), &frame[..]].concat()
        };
        frames.iter().flat_map(with_length).collect()
    }

    #[test]
    fn the_longest_frame_passes_and_a_longer_or_empty_one_breaks_the_stream() {
        let longest = vec![7; MAX_FRAME];

        assert_eq!(
            parse(&stream(std::slice::from_ref(&longest)), &[usize::MAX]).0,
            [longest]
        );
        assert_eq!(
            parse(&stream(&[vec![7; MAX_FRAME + 1]]), &[5]).1,
            Next::Malformed
        );
        assert_eq!(parse(&[0; 4], &[1]).1, Next::Malformed);
        assert_eq!(parse(&[0xFF; 4], &[4]).1, Next::Malformed);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            lens in prop::collection::vec(prop_oneof![1_usize..100, 1400_usize..1600, 1_usize..MAX_FRAME + 1], 0..30),
            pieces in prop::collection::vec(prop_oneof![1_usize..7, 1000_usize..5000, Just(usize::MAX)], 1..8),
        ) {
            let frames: Vec<Vec<u8>> = lens.iter().map(|len| (0..*len).map(|n| (n ^ len).to_le_bytes()[0]).collect()).collect();
            // A part of a further frame is kept and is none.
            let stream = [&stream(&frames)[..], &[0, 0, 0, 60, 1, 2, 3]].concat();

            prop_assert_eq!(parse(&stream, &pieces), (frames, Next::Incomplete));
        }

        #[test]
        fn any_bytes_are_frames_of_the_announced_length_until_they_break(
            bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..2000),
            pieces in prop::collection::vec(1_usize..300, 1..5),
        ) {
            let (frames, end) = parse(&bytes, &pieces);

            let parsed = stream(&frames);
            prop_assert!(bytes.starts_with(&parsed));
            let rest = &bytes[parsed.len()..];
            let announced = rest.first_chunk().map(|prefix| u32::from_be_bytes(*prefix) as usize);
            match end {
                Next::Malformed => prop_assert!(matches!(announced, Some(len) if len == 0 || len > MAX_FRAME)),
                Next::Incomplete => prop_assert!(announced.is_none_or(|len| rest.len() < 4 + len)),
                Next::Frame(_) => prop_assert!(false),
            }
        }
    }
}
