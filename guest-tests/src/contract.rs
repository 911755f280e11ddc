//! What the driver checker has told during a test. Drivers of others are taken to keep the datasheet's rules: what it tells
//! of them is a false alarm, unless docs/driver-checker.md says why it is theirs.

use std::path::Path;

use anyhow::{Result, ensure};
use control::{Client, Finding};

/// Flags of a server whose driver is looked at.
pub const FLAGS: [&str; 2] = ["--check", "report"];

/// Rule and words of what docs/driver-checker.md argues to be the drivers' own.
const KNOWN: [(&str, &str); 2] = [
    ("reserved-bits-written", "FCRTH"),
    ("ring-changed-while-enabled", "the head is moved"),
];

/// What had been told at some time.
#[derive(Debug, Default)]
pub struct Told(Vec<Finding>);

impl Told {
    /// What has been told so far by the checker of the server with this control socket.
    ///
    /// # Errors
    /// The server does not answer, or has no checker.
    pub fn by(control: &Path) -> Result<Self> {
        let checked = Client::connect(control)?.check()?;
        ensure!(checked.checking, "the server has no checker");
        Ok(Self(checked.findings))
    }

    /// The reports of what has happened since `before` and is not known.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        let is_new = |finding: &&Finding| {
            let same = |other: &&Finding| {
                other.rule == finding.rule
                    && other.subject == finding.subject
                    && other.times >= finding.times
            };
            !is_known(finding) && !before.0.iter().any(|other| same(&other))
        };
        let new = self.0.iter().filter(is_new);
        new.map(|finding| finding.report.clone()).collect()
    }
}

fn is_known(finding: &Finding) -> bool {
    let first_line = finding.report.lines().next().unwrap_or_default();
    KNOWN
        .iter()
        .any(|(rule, words)| finding.rule == *rule && first_line.contains(words))
}
