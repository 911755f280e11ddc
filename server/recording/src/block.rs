//! Blocks: the pieces of a recording behind its header.
//!
//! A block is the length of its content and the sum of it (CRC-32), four bytes each, the low one first, and the content:
//! whole calls, each behind a tag. The last block holds the [`Ending`] alone.

use std::{
    fmt,
    io::{self, Write},
};

use crate::header::{Header, MARK, VERSION};

/// Longest content. A call moves 64 frames of 256 KB at most.
pub(crate) const MAX_BLOCK: usize = 64 << 20;

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
    /// Those of the writer.
    pub fn calls(&mut self, calls: &[u8]) -> io::Result<()> {
        let len = u32::try_from(calls.len()).map_err(io::Error::other)?;
        self.to.write_all(&len.to_le_bytes())?;
        self.to.write_all(&crc32fast::hash(calls).to_le_bytes())?;
        self.to.write_all(calls)
    }

    /// Ends the recording with its last word.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end(mut self, ending: Ending) -> io::Result<()> {
        self.calls(&[Tag::End.byte(), ending.byte()])?;
        self.to.flush()
    }
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Whoever made it has ended it.
    Closed,
    /// The file could not be written fast enough, or at all: what came later is missing.
    Overrun,
    /// It was cut: whoever made it was killed, or it was copied too early. Up to there it is whole.
    Cut,
}

impl Ending {
    /// How it is written; a cut has no word of its own.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Overrun | Self::Cut => 1,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let mut all = [Self::Closed, Self::Overrun].into_iter();
        all.find(|ending| ending.byte() == byte)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "complete",
            Self::Overrun => "ended early, since its file could not be written fast enough",
            Self::Cut => "cut short",
        })
    }
}
