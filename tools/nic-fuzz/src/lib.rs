//! What the fuzzers run.
//!
//! Each target is a function of bytes, which panics where something is wrong. `fuzz/` has a program of libFuzzer's for each,
//! in the layout of cargo-fuzz, and a corpus; `cargo xtask fuzz` builds and runs them with nightly Rust. The tests of this
//! crate run the same functions on stable Rust, with the corpora and with random bytes.
//!
//! Not here: the vfio-user session, whose target is in `server/vfio-user/fuzz`; the control protocol and the framing of
//! stream sockets, which have property tests in their crates.
#![forbid(unsafe_code)]

mod bytes;
pub mod capture;
pub mod card;
mod hostile_bus;
pub mod recording;
pub mod rings;
pub mod state;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: [Target; 5] = [
    ("capture", capture::run),
    ("card", card::run),
    ("recording", recording::run),
    ("rings", rings::run),
    ("state", state::run),
];
