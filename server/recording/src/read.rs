//! Reading a recording.

use std::io::{self, Read};

use nic_model::{Time, record::Call};
use thiserror::Error;

use crate::{
    block::{Ending, MAX_BLOCK, Tag},
    call::{self, Returned},
    code::{Broken, Fields, Wrong},
    deed::{Deed, TAGS},
    header::{Header, MARK, MAX_LEN, VERSION},
};

/// Why a recording cannot be read on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What the system says.
    #[error("cannot read the recording")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error(
        "this is no recording: it does not begin with {}; make one by vfio-user-ixgbe --record FILE",
        String::from_utf8_lossy(&MARK)
    )]
    NotARecording,
    /// Another version has made it.
    #[error(
        "the recording has version {version}, and this program reads version {VERSION}; replay it with the program that \
         has made it"
    )]
    Version {
        /// Its version.
        version: u32,
    },
    /// Its header is broken.
    #[error("header of the recording, at byte 16: {0}")]
    Header(String),
    /// A block is not as it was written.
    #[error("block at byte {offset}: {what}")]
    Block {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A field is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A recording that is read call by call.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    header: Header,
    block: Vec<u8>,
    /// Where the content of the block lies in the file.
    base: u64,
    /// The file ends within the block.
    cut: bool,
    at: usize,
    port: usize,
    last: Vec<Time>,
    ending: Option<Ending>,
}

/// A call, whose deeds follow.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) port: usize,
    pub(crate) offset: u64,
    pub(crate) now: Time,
    pub(crate) call: Call<'a>,
    pub(crate) deeds: Fields<'a>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn new(mut from: R) -> Result<Self, ReadError> {
        let mut start = Vec::new();
        from.by_ref().take(16).read_to_end(&mut start)?;
        let mark = start.get(..8);
        if mark != Some(&MARK) {
            return Err(ReadError::NotARecording);
        }
        let number = |at: usize| {
            let bytes = start
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes)
        };
        let ends = || ReadError::Header("the file ends within it".to_owned());
        let version = number(8).ok_or_else(ends)?;
        if version != VERSION {
            return Err(ReadError::Version { version });
        }
        let len = number(12).ok_or_else(ends)?;
        if len > MAX_LEN {
            let what = format!("it has {len} bytes, and {MAX_LEN} are the most");
            return Err(ReadError::Header(what));
        }
        let mut json = Vec::new();
        from.by_ref().take(len.into()).read_to_end(&mut json)?;
        if json.len() as u64 != u64::from(len) {
            return Err(ends());
        }
        let header: Header =
            serde_json::from_slice(&json).map_err(|error| ReadError::Header(error.to_string()))?;
        Ok(Self {
            from,
            last: vec![Time::ZERO; header.ports.len()],
            header,
            block: Vec::new(),
            base: 16 + u64::from(len),
            cut: false,
            at: 0,
            port: 0,
            ending: None,
        })
    }

    /// What the recording is.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How the recording ends, when that is known.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The deeds of the last call have been taken up to this place.
    pub(crate) const fn resume(&mut self, at: usize) {
        self.at = at;
    }

    /// The next call; `None` at the end of the recording.
    pub(crate) fn next_call(&mut self) -> Result<Option<Taken<'_>>, ReadError> {
        loop {
            while self.at >= self.block.len() {
                if self.ending.is_some() || !self.next_block()? {
                    self.ending.get_or_insert(Ending::Cut);
                    return Ok(None);
                }
            }
            let mut fields = Fields::new(&self.block, self.at, self.base);
            match self.parse(&mut fields) {
                Ok(Parsed::Call(port, offset, now, at)) => {
                    self.at = at;
                    self.port = port;
                    if let Some(last) = self.last.get_mut(port) {
                        *last = now;
                    }
                    let mut deeds = Fields::new(&self.block, at, self.base);
                    let call = call::decode(&mut deeds)?;
                    return Ok(Some(Taken {
                        port,
                        offset,
                        now,
                        call,
                        deeds,
                    }));
                }
                Ok(Parsed::Port(port)) => {
                    self.port = port;
                    self.at = fields.at();
                }
                Ok(Parsed::End(ending)) => {
                    self.ending = Some(ending);
                    self.at = self.block.len();
                }
                Err(Broken {
                    what: Wrong::Ends, ..
                }) if self.cut => {
                    self.ending = Some(Ending::Cut);
                    self.at = self.block.len();
                }
                Err(broken) => return Err(broken.into()),
            }
        }
    }

    fn parse(&self, fields: &mut Fields<'_>) -> Result<Parsed, Broken> {
        let offset = fields.offset();
        let tag = fields.choice("what follows", Tag::from_byte)?;
        let last = self.last.get(self.port).copied().unwrap_or_default();
        let now = match tag {
            Tag::Port => {
                let most = self.header.ports.len().saturating_sub(1);
                return Ok(Parsed::Port(fields.at_most(most, "number of a port")?));
            }
            Tag::Call => {
                let passed = fields.number("time of a call")?;
                Time::from_nanos(last.as_nanos().wrapping_add(passed))
            }
            Tag::CallWithoutTime => last,
            Tag::End => {
                let ending = fields.choice("end of the recording", Ending::from_byte)?;
                return Ok(Parsed::End(ending));
            }
            // There is no call that it would be the end of.
            Tag::Done => return fields.choice("call", |_| None),
        };
        let at = fields.at();
        if self.cut {
            // A call that is not there as a whole is not done at all.
            let mut rest = *fields;
            call::decode(&mut rest)?;
            while rest.peek().is_none_or(|byte| TAGS.contains(&byte)) {
                Deed::decode(&mut rest)?;
            }
            if rest.byte("end of a call")? == Tag::Done.byte() {
                Returned::decode(&mut rest)?;
            }
        }
        Ok(Parsed::Call(self.port, offset, now, at))
    }

    /// Reads the next block; `false` if there is none.
    fn next_block(&mut self) -> Result<bool, ReadError> {
        let offset = self.base.saturating_add(self.block.len() as u64);
        self.block.clear();
        self.at = 0;
        let mut start = Vec::new();
        self.from.by_ref().take(8).read_to_end(&mut start)?;
        let Some(([a, b, c, d], [e, f, g, h])) = start.first_chunk().zip(start.last_chunk()) else {
            return Ok(false);
        };
        if start.len() < 8 {
            return Ok(false);
        }
        let len = u32::from_le_bytes([*a, *b, *c, *d]);
        let sum = u32::from_le_bytes([*e, *f, *g, *h]);
        if usize::try_from(len).map_or(true, |len| len > MAX_BLOCK) {
            let what = "its length is more than a block can have";
            return Err(ReadError::Block { offset, what });
        }
        self.from
            .by_ref()
            .take(len.into())
            .read_to_end(&mut self.block)?;
        self.base = offset.saturating_add(8);
        self.cut = (self.block.len() as u64) < u64::from(len);
        if !self.cut && crc32fast::hash(&self.block) != sum {
            let what = "its sum is wrong: a byte of it, or of the eight before, was changed";
            return Err(ReadError::Block { offset, what });
        }
        Ok(true)
    }
}

/// What stands between calls.
enum Parsed {
    Port(usize),
    /// Port, place in the file, time, and where in the block it begins.
    Call(usize, u64, Time, usize),
    End(Ending),
}
