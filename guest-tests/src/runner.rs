//! From functions to named tests, and what becomes of a test that cannot run.

use std::env;

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

/// Set to `true` by CI systems: there, a test that cannot run has failed.
const CI: &str = "CI";

/// Why a test cannot run here: the error that such a test ends with.
#[derive(Clone, Debug)]
pub struct CannotRun(
    /// What is missing.
    pub String,
);

impl std::fmt::Display for CannotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot run: {}", self.0)
    }
}

impl std::error::Error for CannotRun {}

/// A test.
pub fn test(name: impl Into<String>, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        let Err(error) = run() else {
            return Ok(Completion::Completed);
        };
        match error.downcast_ref() {
            Some(CannotRun(reason)) if !in_ci() => Ok(Completion::ignored_with(reason)),
            _ => Err(Failed::from(format!("{error:#}"))),
        }
    })
}

/// A test that cannot run here, and why.
pub fn cannot_run(name: impl Into<String>, reason: &str) -> Trial {
    let reason = CannotRun(reason.to_owned());
    test(name, move || Err(reason.into()))
}

fn in_ci() -> bool {
    env::var(CI).is_ok_and(|value| value == "true" || value == "1")
}
