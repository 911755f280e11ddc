//! Frames in the words of people who work with packets.
//!
//! - [`Words`] are what stands behind `--eth`, `--ip`, `--tcp` and so on: `dst=10.0.0.2,ttl=1`. A [`Recipe`] of them makes
//!   frames, good ones and broken ones, and tells of a frame whether it is one of these.
//! - [`Filter`] is tcpdump's language.
//! - [`Dissection`] finds the headers of a frame, [`tell`](fn@tell) says them in a line, [`differences`] compares two frames field
//!   by field.
//!
//! All of it goes by one table of headers and their fields ([`Layer`], [`Field`]), so that a field has the same name and
//! the same spelling wherever it is written or shown.
//!
//! Frames and texts may come from anywhere: nothing here panics on them, and the depth of a filter is bounded.
//!
//! Not implemented: tunnels (what is inside of GRE, VXLAN, IP in IP is payload), IPv6 extension headers in recipes
//! other than the fragment header, the chunks of SCTP (they are payload), names of hosts.
#![forbid(unsafe_code)]

mod bits;
mod checksum;
mod complaint;
mod difference;
mod dissect;
mod filter;
mod fragment;
mod layer;
mod pattern;
mod payload;
mod recipe;
mod tell;
mod value;
mod words;

pub use complaint::Complaint;
pub use difference::{Difference, differences};
pub use dissect::{Dissection, Found};
pub use filter::{Course, Filter};
pub use fragment::{Fragments, Order};
pub use layer::{Field, Kind, Layer};
pub use payload::Payload;
pub use recipe::{Circumstances, CraftError, Recipe};
pub use tell::tell;
pub use value::{Sequence, Setting, mac, show};
pub use words::Words;

/// A MAC address.
pub type Mac = [u8; 6];
