//! Reading captures piece by piece, however long they are.

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use super::{
    FileError,
    capture::{Decoder, MAX_BLOCK, Step, is_cut_short},
};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// A frame and when it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedFrame<'a> {
    /// Nanoseconds since 1970, if the file tells.
    pub time: Option<u64>,
    /// The frame, without FCS.
    pub bytes: &'a [u8],
    /// Whether the capturing tool left bytes of it out.
    pub cut_short: bool,
}

/// A pcap or pcapng file that is read as its frames are asked for. It holds a piece of it in memory: the largest frame or
/// block that is accepted (16 MiB) at most, and normally 256 KiB.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    path: PathBuf,
    buffer: Vec<u8>,
    /// What is in the buffer and not decoded.
    start: usize,
    end: usize,
    /// So many bytes are needed for the next step.
    needed: usize,
    decoder: Option<Decoder>,
}

impl<R: Read> Reader<R> {
    /// A reader from the start of a file; `path` is for errors.
    #[must_use]
    pub fn new(from: R, path: &Path) -> Self {
        Self {
            from,
            path: path.to_owned(),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            needed: 1,
            decoder: None,
        }
    }

    /// The next frame of those whose bytes are here; `None` if [`Reader::fill`] has to be called.
    ///
    /// # Errors
    /// [`FileError`]; there will be no further frame.
    pub fn next_frame(&mut self) -> Result<Option<TimedFrame<'_>>, FileError> {
        loop {
            let rest = &self.buffer[self.start..self.end];
            if rest.len() < self.needed {
                return Ok(None);
            }
            let Some(decoder) = &mut self.decoder else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            match decoder.step(rest)? {
                Step::Incomplete(needed) if needed > MAX_BLOCK => {
                    return Err(decoder.too_long(needed));
                }
                Step::Incomplete(needed) => {
                    self.needed = needed;
                    return Ok(None);
                }
                Step::Passed { end } => self.pass(end),
                Step::Packet { end, packet } => {
                    let start = self.start;
                    self.pass(end);
                    let bytes = &self.buffer[start..][packet.bytes];
                    return Ok(Some(TimedFrame {
                        time: packet.time,
                        cut_short: is_cut_short(bytes.len(), packet.original_len),
                        bytes,
                    }));
                }
            }
        }
    }

    fn pass(&mut self, len: usize) {
        self.start += len;
        self.needed = 1;
    }

    /// Decodes the header of the file, if it is here.
    fn begin(&mut self) -> Result<bool, FileError> {
        let rest = &self.buffer[self.start..self.end];
        let Some(kind) = rest.first_chunk() else {
            self.needed = 4;
            return Ok(false);
        };
        if !Decoder::knows(*kind) {
            return Err(FileError::NoCapture);
        }
        match Decoder::new(rest) {
            Ok((end, decoder)) => {
                self.decoder = Some(decoder);
                self.pass(end);
                Ok(true)
            }
            Err(FileError::Header {
                source: pcap_file::PcapError::IncompleteBuffer,
                ..
            }) if rest.len() < PIECE => {
                self.needed = rest.len() + 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads on, and blocks until there is something; false at the end of the file.
    ///
    /// # Errors
    /// [`FileError`]: the file cannot be read, or ends in the middle of a frame.
    pub fn fill(&mut self) -> Result<bool, FileError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self.needed.max(PIECE);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        loop {
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(0) if self.end == 0 && self.decoder.is_some() => return Ok(false),
                Ok(0) => {
                    let error = self.decoder.as_ref().map(Decoder::truncated);
                    return Err(error.unwrap_or(FileError::NoCapture));
                }
                Ok(len) => {
                    self.end += len;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(FileError::Read {
                        path: self.path.clone(),
                        source,
                    });
                }
            }
        }
    }
}
