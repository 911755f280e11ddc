//! `cargo xtask bench`: measurements, ours beside others, in turns.

pub mod guest;
mod report;
pub mod wire;
