//! Files of frames: pcap, pcapng and hex dumps in, pcapng out.
//!
//! A file may come from anywhere. It is read whole, up to [`MAX_FILE`] bytes, or piece by piece however long it is
//! ([`Reader`]); nothing is allocated from a length that stands in it, and what is wrong with it is told by frame or line.

mod capture;
mod hex;
mod record;
mod stream;
mod write;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use self::capture::Decoder;
pub(crate) use self::record::Recorder;
pub use self::{
    hex::HexError,
    record::RecordError,
    stream::{Reader, TimedFrame},
    write::{Packet, PcapNg},
};

/// Largest file that is read.
pub const MAX_FILE: u64 = 256 << 20;
/// Longest frame that a file may hold, as in captures of other tools.
pub const MAX_FRAME: usize = 256 << 10;

/// The frames of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// The frames, without FCS.
    pub frames: Vec<Vec<u8>>,
    /// How many of them the capturing tool had cut short; their missing bytes are in no file.
    pub cut_short: usize,
}

/// What is wrong with a file of frames.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is too large.
    #[error("{} is larger than {} MiB; split it (editcap -c)", path.display(), MAX_FILE >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is none of the three kinds.
    #[error("this is neither pcap nor pcapng nor a hex dump")]
    UnknownKind,
    /// It is no capture, where only a capture will do.
    #[error(
        "this is neither pcap nor pcapng; convert it (editcap -F pcapng, text2pcap for a hex dump) or unpack it (gunzip)"
    )]
    NoCapture,
    /// The header of a capture file is wrong.
    #[error("the header of the {kind} file is wrong")]
    Header {
        /// pcap or pcapng.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: pcap_file::PcapError,
    },
    /// The capture is not one of an Ethernet cable.
    #[error(
        "frame {frame} is of link type {link_type}, not Ethernet (1); capture on an Ethernet interface"
    )]
    LinkType {
        /// Number of the frame, from 1.
        frame: usize,
        /// As registered at <https://www.tcpdump.org/linktypes.html>.
        link_type: u32,
    },
    /// A packet or block is not well formed.
    #[error("the {kind} file is broken at or after frame {frame}")]
    Broken {
        /// pcap or pcapng.
        kind: &'static str,
        /// Number of the frame, from 1.
        frame: usize,
        /// What is wrong.
        #[source]
        source: pcap_file::PcapError,
    },
    /// The file ends within a packet or block.
    #[error("the {kind} file ends in the middle of frame {frame}; it was not written to its end")]
    Truncated {
        /// pcap or pcapng.
        kind: &'static str,
        /// Number of the frame, from 1.
        frame: usize,
    },
    /// A packet names an interface that the file does not describe.
    #[error("frame {frame} belongs to interface {interface}, which the file does not describe")]
    Interface {
        /// Number of the frame, from 1.
        frame: usize,
        /// The interface.
        interface: u32,
    },
    /// A packet is longer than [`MAX_FRAME`].
    #[error("frame {frame} has {len} bytes; the longest accepted has {MAX_FRAME}")]
    FrameLength {
        /// Number of the frame, from 1.
        frame: usize,
        /// Its length.
        len: usize,
    },
    /// A hex dump is not one.
    #[error(transparent)]
    Hex(#[from] HexError),
}

/// Reads the frames of the file at `path`, whichever of the three kinds it is.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path) -> Result<Frames, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the largest size from a larger one.
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    parse(&bytes)
}

/// Reads the frames of a file that is in memory.
///
/// # Errors
/// [`FileError`].
pub fn parse(bytes: &[u8]) -> Result<Frames, FileError> {
    match bytes.first_chunk() {
        Some(start) if Decoder::knows(*start) => capture::parse(bytes),
        _ => {
            let text = std::str::from_utf8(bytes).map_err(|_| FileError::UnknownKind)?;
            parse_hex(text)
        }
    }
}

/// Reads the frames of a hex dump: plain hex digits, one frame per paragraph, or lines with offsets as `xxd`,
/// `hexdump -C`, `od -Ax -tx1`, `tcpdump -xx` and Wireshark write them, a new frame at each offset 0.
///
/// Blanks, `:`, `-`, `,` and `0x` between plain digits do not matter; lines that start with `#` are left out.
///
/// # Errors
/// [`FileError::Hex`], or [`FileError::FrameLength`].
pub fn parse_hex(text: &str) -> Result<Frames, FileError> {
    let frames = hex::parse(text)?;
    for (index, frame) in frames.iter().enumerate() {
        check_length(index + 1, frame.len())?;
    }
    Ok(Frames {
        frames,
        cut_short: 0,
    })
}

fn check_length(frame: usize, len: usize) -> Result<(), FileError> {
    if len > MAX_FRAME {
        return Err(FileError::FrameLength { frame, len });
    }
    Ok(())
}
