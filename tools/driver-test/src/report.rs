//! What trials have come to: for people, for CI and for programs.

use std::{fmt::Write, time::Duration};

use anyhow::Context;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use crate::suite::Outcome;

/// What a trial has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Result {
    /// What the trial belongs to.
    pub chapter: &'static str,
    /// The trial.
    pub name: &'static str,
    /// How it ended; an error is what the driver failed in.
    pub outcome: std::result::Result<Outcome, String>,
    /// How long it took.
    pub time: Duration,
    /// What was left behind, such as names of files.
    pub evidence: Vec<String>,
}

impl Result {
    const fn word(&self) -> &'static str {
        match &self.outcome {
            Ok(Outcome::Passed(_)) => "passed",
            Ok(Outcome::Skipped(_)) => "skipped",
            Err(_) => "failed",
        }
    }

    fn told(&self) -> &str {
        match &self.outcome {
            Ok(Outcome::Passed(text) | Outcome::Skipped(text)) | Err(text) => text,
        }
    }

    /// A line, and what was left behind in more of them.
    #[must_use]
    pub fn line(&self) -> String {
        let word = match &self.outcome {
            Ok(Outcome::Passed(_)) => "ok",
            Ok(Outcome::Skipped(_)) => "skip",
            Err(_) => "FAIL",
        };
        let mut line = format!(
            "  {word:4}  {:9}  {:44}  {}",
            self.chapter,
            self.name,
            self.told()
        );
        line.truncate(line.trim_end().len());
        for evidence in &self.evidence {
            // Writing to a string does not fail.
            let _ = write!(line, "\n{:61}  {evidence}", "");
        }
        line
    }
}

/// What all of them have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each trial.
    pub results: Vec<Result>,
    /// How long all of it took.
    pub time: Duration,
}

impl Report {
    /// How many ended with this word.
    fn count(&self, word: &str) -> usize {
        let with = self.results.iter().filter(|result| result.word() == word);
        with.count()
    }

    /// Whether none failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.count("failed") == 0
    }

    /// `12 passed, 1 failed, 2 skipped in 30 s`
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped in {:.0} s",
            self.count("passed"),
            self.count("failed"),
            self.count("skipped"),
            self.time.as_secs_f64()
        )
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let trials: Vec<Value> = self
            .results
            .iter()
            .map(|result| {
                json!({
                    "chapter": result.chapter,
                    "name": result.name,
                    "outcome": result.word(),
                    "text": result.told(),
                    "seconds": result.time.as_secs_f64(),
                    "evidence": result.evidence,
                })
            })
            .collect();
        json!({
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "seconds": self.time.as_secs_f64(),
            "trials": trials,
        })
    }

    /// For CI: `JUnit`'s XML.
    ///
    /// # Errors
    /// A text has what XML cannot say.
    pub fn junit(&self) -> anyhow::Result<String> {
        let mut suite = TestSuite::new("driver-test");
        suite.set_time(self.time);
        for result in &self.results {
            let mut status = match &result.outcome {
                Ok(Outcome::Passed(_)) => TestCaseStatus::success(),
                Ok(Outcome::Skipped(_)) => TestCaseStatus::skipped(),
                Err(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
            };
            status.set_message(result.told());
            let mut case = TestCase::new(result.name, status);
            case.set_classname(result.chapter).set_time(result.time);
            if !result.evidence.is_empty() {
                case.set_system_out(result.evidence.join("\n"));
            }
            suite.add_test_case(case);
        }
        let mut report = quick_junit::Report::new("driver-test");
        report.set_time(self.time).add_test_suite(suite);
        report.to_string().context("cannot write JUnit's XML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let result = |name, outcome| Result {
            chapter: "reach",
            name,
            outcome,
            time: Duration::from_millis(1500),
            evidence: Vec::new(),
        };
        Report {
            results: vec![
                result("one", Ok(Outcome::Passed("fine".to_owned()))),
                result("two", Err("5 < 6 & more".to_owned())),
                result("three", Ok(Outcome::Skipped("no port".to_owned()))),
            ],
            time: Duration::from_secs(3),
        }
    }

    #[test]
    fn a_report_counts_and_one_failure_makes_it_bad() {
        let mut report = report();
        assert_eq!(report.summary(), "1 passed, 1 failed, 1 skipped in 3 s");
        assert!(!report.is_good());

        report.results.remove(1);

        assert!(report.is_good());
    }

    #[test]
    fn ci_reads_each_outcome_with_its_text() {
        let xml = report().junit().unwrap();

        assert!(
            xml.contains(r#"tests="3" skipped="1" errors="0" failures="1""#),
            "{xml}"
        );
        assert!(
            xml.contains(r#"<testcase name="two" classname="reach" time="1.500">"#),
            "{xml}"
        );
        assert!(
            xml.contains(r#"<failure message="5 &lt; 6 &amp; more"/>"#),
            "{xml}"
        );
        assert!(xml.contains(r#"<skipped message="no port"/>"#), "{xml}");
    }

    #[test]
    fn programs_read_the_same() {
        let json = report().json();

        assert_eq!(json["failed"], 1);
        assert_eq!(json["trials"][1]["outcome"], "failed");
        assert_eq!(json["trials"][1]["text"], "5 < 6 & more");
    }
}
