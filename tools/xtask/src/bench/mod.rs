//! `cargo xtask bench`: measurements, ours beside others, in turns.

pub mod guest;
pub mod instructions;
mod report;
pub mod wire;
