//! What a fuzzer runs.
//!
//! Each target is a function of bytes, which panics where something is wrong. The tests of this crate run them on stable
//! Rust, with the inputs in `corpus/` and with random ones.
//!
//! Not here: programs of libFuzzer's for these targets; the vfio-user session, whose target is in `server/vfio-user/fuzz`; the control protocol and the framing of
//! stream sockets, which have property tests in their crates.
#![forbid(unsafe_code)]

mod bytes;
pub mod capture;
pub mod card;
mod hostile_bus;
pub mod rings;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: [Target; 3] = [
    ("capture", capture::run),
    ("card", card::run),
    ("rings", rings::run),
];
