//! `cargo xtask supply`: what comes into the build, and with which Rust it builds.
//!
//! - `deny.rs`: licences, sources and banned crates, by cargo-deny and `deny.toml`.
//! - `oldest_rust.rs`: the `rust-version` of the workspace.
//! - `sbom.rs`: the bill of materials that a package contains.

mod deny;
mod oldest_rust;
pub mod sbom;

use std::process::ExitCode;

use anyhow::Result;
use guest_vm::Cache;

pub use deny::{Advisories, prepare};

/// Checks what comes into the build, and the oldest Rust.
///
/// # Errors
/// A tool cannot be had, or something is not as it should be; the tool has told what.
pub fn run(advisories: Advisories) -> Result<ExitCode> {
    deny::check(&Cache::open()?, advisories)?;
    println!("{}", oldest_rust::check()?);
    Ok(ExitCode::SUCCESS)
}
