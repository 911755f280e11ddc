//! Doorbells: how a driver's writes to the ring tails reach the port.
//!
//! *Posted*: every register write is a message. *Mapped*: the pages of BAR 0 that hold the ring tails are memory that the
//! client maps. A doorbell is then a store, which costs neither a message nor an exit of the guest, and the worker looks
//! at that memory. docs/doorbells.md tells what this means for each register of those pages.
//!
//! - `words`: the memory, one atomic word at a time;
//! - `line`: the registers of one ring; what has changed since the worker looked last, and in which order that was meant;
//! - `mirror`: the pages beside the port: writes are taken over, values are shown;
//! - `collected`: the counters that a read clears.

mod collected;
mod line;
mod mirror;
mod words;

use std::str::FromStr;

use thiserror::Error;

pub use mirror::{Look, Mirror};

/// How doorbells reach the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doorbells {
    /// As messages, like every register write.
    #[default]
    Posted,
    /// Through shared memory.
    Mapped,
}

/// A text names no [`Doorbells`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no kind of doorbells; give posted or mapped")]
pub struct DoorbellsError(String);

impl FromStr for Doorbells {
    type Err = DoorbellsError;

    fn from_str(text: &str) -> Result<Self, DoorbellsError> {
        match text {
            "posted" => Ok(Self::Posted),
            "mapped" => Ok(Self::Mapped),
            _ => Err(DoorbellsError(text.to_owned())),
        }
    }
}
