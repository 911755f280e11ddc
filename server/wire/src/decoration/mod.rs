//! What stands on the cable between a wire and the port.

mod capture;
mod gate;
mod latency;
mod rate;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, str::FromStr};

use capture::Captured;
use latency::Delayed;
pub use latency::Latency;
use rate::RateLimited;

use crate::{Backend, LineRate, OpenError, ParseError};

/// Something that is put on the cable of any wire, as `+NAME=VALUE` behind the wire's name.
///
/// Several stand on the cable as they are written, the first next to the wire, the last next to the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoration {
    /// A line of this speed, with true gaps between frames: `+rate=10G`.
    Rate(LineRate),
    /// Frames are so long under way in each direction: `+latency=50us`.
    Latency(Latency),
    /// All that passes is written to a pcapng file: `+capture=FILE`.
    Capture(PathBuf),
}

impl Decoration {
    /// Their names.
    pub(crate) const NAMES: [&'static str; 3] = ["rate", "latency", "capture"];

    /// Puts it on the cable of `wire`.
    ///
    /// # Errors
    /// [`OpenError`], which names the cause and the next step.
    pub(crate) fn put_on(&self, wire: Box<dyn Backend>) -> Result<Box<dyn Backend>, OpenError> {
        Ok(match self {
            Self::Rate(rate) => Box::new(RateLimited::new(wire, *rate)),
            Self::Latency(latency) => Box::new(Delayed::new(wire, *latency)),
            Self::Capture(path) => Box::new(Captured::new(wire, path)?),
        })
    }
}

impl fmt::Display for Decoration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "rate={rate}"),
            Self::Latency(latency) => write!(f, "latency={latency}"),
            Self::Capture(path) => write!(f, "capture={}", path.display()),
        }
    }
}

impl FromStr for Decoration {
    type Err = ParseError;

    /// `NAME=VALUE`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "rate" => value.parse().map(Self::Rate),
            "latency" => value.parse().map(Self::Latency),
            "capture" if value.is_empty() => Err(ParseError::NoCapturePath),
            "capture" => Ok(Self::Capture(value.into())),
            _ => Err(ParseError::Decoration(text.to_owned())),
        }
    }
}

/// Splits a wire's text into its name and what is to be put on its cable, which begins at a `+` that a word and `=`
/// follow, or the name of a decoration alone. Any other `+` belongs to the name before it.
pub(crate) fn split(text: &str) -> (&str, Vec<&str>) {
    let begins = |at: &usize| {
        let rest = text.get(at + 1..).unwrap_or_default();
        let end = rest
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let names_one = Decoration::NAMES.contains(&word);
        (!word.is_empty() && after.starts_with('='))
            || (names_one && (after.is_empty() || after.starts_with('+')))
    };
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices('+').filter(|(at, _)| begins(at)) {
        pieces.push(&text[start..at]);
        start = at + 1;
    }
    pieces.push(&text[start..]);
    let wire = pieces.remove(0);
    (wire, pieces)
}
