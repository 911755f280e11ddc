//! `--check`: whether a driver checker looks on, and what becomes of what it finds.

use std::str::FromStr;

use nic_model::{
    Port,
    check::{Checker, Finding, Findings},
};
use thiserror::Error;

/// What `--check` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nobody looks on, and it costs nothing.
    #[default]
    Off,
    /// Each breach goes into the log, once.
    Report,
    /// The first breach ends the server.
    Strict,
}

/// A text names no [`Check`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no way to check the driver; give off, report or strict")]
pub struct CheckError(String);

impl FromStr for Check {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        match text {
            "off" => Ok(Self::Off),
            "report" => Ok(Self::Report),
            "strict" => Ok(Self::Strict),
            _ => Err(CheckError(text.to_owned())),
        }
    }
}

/// The driver has broken a rule, and that ends the server.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the driver breaks the rule {rule}, told above; --check report goes on after that")]
pub struct Broken {
    /// Name of the rule.
    pub rule: &'static str,
}

/// The checker of a port, seen from its worker.
#[derive(Debug)]
pub struct DriverCheck {
    findings: Findings,
    strict: bool,
}

impl DriverCheck {
    /// Lets a checker look on at `port`, if one is asked for.
    pub fn start(check: Check, port: &mut Port) -> Option<Self> {
        let strict = match check {
            Check::Off => return None,
            Check::Report => false,
            Check::Strict => true,
        };
        let checker = Checker::new();
        let findings = checker.findings();
        port.observe(Box::new(checker));
        Some(Self { findings, strict })
    }

    /// All findings so far, each with how often it happened.
    #[must_use]
    pub fn all(&self) -> Vec<(Finding, u64)> {
        self.findings.all()
    }

    /// Tells of what is new. There are few findings, whatever the driver does, so the log stays short.
    ///
    /// # Errors
    /// [`Broken`], if the first breach is to be the last.
    pub fn tell(&self) -> Result<(), Broken> {
        let new = self.findings.take_new();
        for finding in &new {
            tracing::warn!("driver check: {finding}");
        }
        match new.first() {
            Some(finding) if self.strict => Err(Broken {
                rule: finding.rule.name(),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_named_as_on_the_command_line() {
        assert_eq!("strict".parse(), Ok(Check::Strict));
        let error = "loud".parse::<Check>().unwrap_err().to_string();
        assert!(error.contains("off, report or strict"), "{error}");
    }
}
