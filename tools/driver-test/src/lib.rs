//! Tests a NIC driver in somebody's guest as a black box: from the cable, and from the device's side.
//!
//! All that is needed of the guest is an IPv4 address on the NIC; the tests are at the other end of the cable, with
//! `ixgbectl`'s ways in ([`cable`]). [`TRIALS`] is the list; [`run`] runs them one by one and gives a [`Report`] for
//! people, for CI (JUnit) and for programs (JSON). A trial that fails leaves the frames that passed and the events of the
//! NIC behind ([`evidence`]).
//!
//! Not implemented: IPv6.
#![forbid(unsafe_code)]

pub mod cable;
pub mod evidence;
mod queues;
mod report;
mod station;
mod suite;
mod trials;

pub use queues::{Queues, Received, Sending};
pub use report::{Report, Result};
pub use station::{Addresses, Station};
pub use suite::{Outcome, Reporter, Trial, Wish, run};
pub use trials::TRIALS;
