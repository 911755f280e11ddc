//! What the driver checker has told during a test. Drivers of others are taken to keep the datasheet's rules: what it tells
//! of them is a false alarm, unless docs/driver-checker.md says why it is theirs.

use std::path::Path;

use anyhow::{Result, ensure};
use control::{Client, Finding};

/// Flags of a server whose driver is looked at.
pub const FLAGS: [&str; 2] = ["--check", "report"];

/// Rule and words of a report that docs/driver-checker.md argues to be a driver's own.
pub type Known = (&'static str, &'static str);

const FLOW_CONTROL: Known = ("reserved-bits-written", "FCRTH");

/// Of Linux's driver.
pub const LINUX: &[Known] = &[FLOW_CONTROL];

/// Of DPDK's.
pub const DPDK: &[Known] = &[
    FLOW_CONTROL,
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
    pub fn since(&self, before: &Self, known: &[Known]) -> Vec<String> {
        let is_new = |finding: &&Finding| {
            let same = |other: &&Finding| {
                other.rule == finding.rule
                    && other.subject == finding.subject
                    && other.times >= finding.times
            };
            !is_known(finding, known) && !before.0.iter().any(|other| same(&other))
        };
        let new = self.0.iter().filter(is_new);
        new.map(|finding| finding.report.clone()).collect()
    }
}

fn is_known(finding: &Finding, known: &[Known]) -> bool {
    let first_line = finding.report.lines().next().unwrap_or_default();
    known
        .iter()
        .any(|(rule, words)| finding.rule == *rule && first_line.contains(words))
}

#[cfg(test)]
mod tests {
    use control::Severity;

    use super::*;

    fn told(rule: &'static str, what: &str, times: u64) -> Finding {
        Finding {
            rule: rule.into(),
            severity: Severity::Error,
            section: "7.1.9".into(),
            subject: "receive queue 0".to_owned(),
            what: what.to_owned(),
            time_nanos: 1,
            times,
            report: format!("{rule}: error: receive queue 0: {what}\n  rule: RDH, FCRTH"),
        }
    }

    #[test]
    fn what_has_happened_again_is_new_and_what_has_not_is_old() {
        let before = Told(vec![told("tail-past-ring", "9 of 8", 1)]);
        let again = Told(vec![told("tail-past-ring", "9 of 8", 2)]);

        assert_eq!(before.since(&before, LINUX), [""; 0]);
        assert_eq!(again.since(&before, LINUX).len(), 1);
        assert_eq!(before.since(&Told::default(), LINUX).len(), 1);
    }

    #[test]
    fn what_is_known_of_one_driver_is_told_of_another() {
        let moved = told(
            "ring-changed-while-enabled",
            "the head is moved from 9 to 0",
            1,
        );
        let other = told("ring-changed-while-enabled", "the base is changed", 1);
        let now = Told(vec![moved, other]);

        assert_eq!(now.since(&Told::default(), DPDK).len(), 1);
        assert_eq!(now.since(&Told::default(), LINUX).len(), 2);
    }
}
