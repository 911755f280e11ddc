//! Blocks: the pieces of a recording behind its header.
//!
//! A block is the length of its content and the sum of it (CRC-32), four bytes each, the low one first, and the content:
//! whole calls, each behind a tag. The last block holds the [`Ending`] alone.

use std::{
    fmt,
    io::{self, Write},
};

use nic_model::State;

use crate::header::{Header, MARK, VERSION};

/// Bytes of a block's content at most, and so of a call: those of the longest state that is restored, with room for what
/// stands around it. Of the other calls the longest moves 64 frames of 256 KB.
pub const MAX_BLOCK: usize = State::LONGEST + (4 << 20);

const _: () = assert!(MAX_BLOCK > 64 * (256 << 10), "frames of a call");

/// What follows, where it is no deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The number of the port whose calls follow.
    Port,
    /// Nanoseconds since the port's call before, and a call.
    Call,
    /// A call that is told no time.
    CallWithoutTime,
    /// What the call returns.
    Done,
    /// How the recording ends.
    End,
}

impl Tag {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Port => 0x30,
            Self::Call => 0x31,
            Self::CallWithoutTime => 0x32,
            Self::Done => 0x33,
            Self::End => 0x3F,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let mut all = [
            Self::Port,
            Self::Call,
            Self::CallWithoutTime,
            Self::Done,
            Self::End,
        ]
        .into_iter();
        all.find(|tag| tag.byte() == byte)
    }
}

/// A recording that is written as its calls come, by whoever has them.
#[derive(Debug)]
pub struct Blocks<W> {
    to: W,
}

impl<W: Write> Blocks<W> {
    /// Begins a recording with its header.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(mut to: W, header: &Header) -> io::Result<Self> {
        let json = serde_json::to_vec(header)?;
        let len = u32::try_from(json.len()).map_err(io::Error::other)?;
        to.write_all(&MARK)?;
        to.write_all(&VERSION.to_le_bytes())?;
        to.write_all(&len.to_le_bytes())?;
        to.write_all(&json)?;
        Ok(Self { to })
    }

    /// Adds whole calls, as a [`recorder`](crate::recorder) hands them over, of the ports that they name; of port 0 if they name
    /// none.
    ///
    /// # Errors
    /// Those of the writer; they have more than [`MAX_BLOCK`] bytes, and nothing was written.
    pub fn calls(&mut self, calls: &[u8]) -> io::Result<()> {
        if calls.len() > MAX_BLOCK {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "calls of {} bytes are more than a block of a recording holds: {MAX_BLOCK}",
                    calls.len()
                ),
            ));
        }
        let len = u32::try_from(calls.len()).map_err(io::Error::other)?;
        self.to.write_all(&len.to_le_bytes())?;
        self.to.write_all(&crc32fast::hash(calls).to_le_bytes())?;
        self.to.write_all(calls)
    }

    /// Ends the recording with its last word; one that is [`Ending::Cut`] has none.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end(mut self, ending: Ending) -> io::Result<()> {
        if let Some(byte) = ending.byte() {
            self.calls(&[Tag::End.byte(), byte])?;
        }
        self.to.flush()
    }
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Whoever made it has ended it.
    Closed,
    /// What came next could not be written in time, or at all: it is missing, and what came later.
    Overrun,
    /// It was cut: whoever made it was killed, or it was copied too early. Up to there it is whole.
    Cut,
}

impl Ending {
    /// How it is written; a cut is not.
    pub(crate) const fn byte(self) -> Option<u8> {
        match self {
            Self::Closed => Some(0),
            Self::Overrun => Some(1),
            Self::Cut => None,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let mut all = [Self::Closed, Self::Overrun].into_iter();
        all.find(|ending| ending.byte() == Some(byte))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "complete",
            Self::Overrun => {
                "ended early, since what came next could not be written in time, or at all"
            }
            Self::Cut => "cut short",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(to: &mut Vec<u8>) -> Blocks<&mut Vec<u8>> {
        let header = Header {
            program: "a test".to_owned(),
            ports: Vec::new(),
        };
        Blocks::new(to, &header).unwrap()
    }

    #[test]
    fn a_block_is_as_long_as_a_reader_takes_and_no_longer() {
        let mut file = Vec::new();
        let mut blocks = blocks(&mut file);

        let longest = blocks.calls(&vec![0; MAX_BLOCK]);
        let longer = blocks.calls(&vec![0; MAX_BLOCK + 1]);

        assert!(longest.is_ok());
        let error = longer.unwrap_err();
        assert!(error.to_string().contains("more than a block"), "{error}");
    }

    #[test]
    fn a_recording_that_was_cut_has_no_last_word() {
        let (mut cut, mut begun) = (Vec::new(), Vec::new());
        blocks(&mut begun);

        blocks(&mut cut).end(Ending::Cut).unwrap();

        assert_eq!(cut, begun);
    }
}
