//! What a process may not do any more once it has entered the sandbox, and what a server still does in it.
//!
//! The sandbox is a process's, for good, so each act is tried by this program in a process of its own: it starts itself
//! with the act's name and the configuration in the environment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acts;
#[path = "../support/mod.rs"]
mod support;
mod trials;

use std::{env, process::ExitCode};

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Ok(act) = env::var(acts::ACT) {
        println!("{}", acts::play(&act));
        return ExitCode::SUCCESS;
    }
    libtest_mimic::run(&Arguments::from_args(), trials::all()).exit_code()
}
