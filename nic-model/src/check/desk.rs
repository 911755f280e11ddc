//! Where breaches are reported.

use super::{Finding, Findings, Rule, finding::Subject, history::History, ring::Ring};
use crate::{observe::Descriptor, time::Time};

/// Takes breaches and puts down what led to them.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) now: Time,
    pub(super) findings: &'a Findings,
    /// The last accesses to any register.
    pub(super) history: &'a History,
}

impl Desk<'_> {
    /// A breach in a ring.
    pub(super) fn ring(
        &self,
        rule: Rule,
        ring: &Ring,
        descriptor: Option<Descriptor>,
        what: impl FnOnce() -> String,
    ) {
        let subject = Subject::queue(ring.direction(), ring.queue());
        if self.findings.count(rule, subject) {
            let own = ring.history().iter();
            let mut accesses: Vec<_> = own.chain(self.history.iter()).copied().collect();
            accesses.sort_by_key(|access| access.serial);
            self.findings.add(Finding {
                rule,
                subject,
                what: what(),
                time: self.now,
                descriptor,
                ring: Some(ring.state()),
                accesses,
            });
        }
    }

    /// A breach that no ring is part of.
    pub(super) fn other(&self, rule: Rule, subject: Subject, what: impl FnOnce() -> String) {
        if self.findings.count(rule, subject) {
            self.findings.add(Finding {
                rule,
                subject,
                what: what(),
                time: self.now,
                descriptor: None,
                ring: None,
                accesses: self.history.iter().copied().collect(),
            });
        }
    }
}
