//! What the demo tells: one line a step as it happens, or all of it as JSON.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::Output;

/// A step that happened.
#[derive(Debug, Serialize)]
pub struct StepReport {
    name: &'static str,
    text: String,
    data: Value,
    seconds: f32,
}

/// What was seen in one step: a line or more for a person, and the same as data.
#[derive(Debug)]
pub struct Seen {
    text: String,
    data: Value,
}

impl Seen {
    pub fn new(text: impl Into<String>, data: Value) -> Self {
        Self {
            text: text.into(),
            data,
        }
    }
}

/// A step that failed.
#[derive(Debug, Serialize)]
struct Failure {
    step: &'static str,
    reason: String,
}

/// The report in the making.
#[derive(Debug, Serialize)]
pub struct Report {
    passed: bool,
    seconds: f32,
    steps: Vec<StepReport>,
    failure: Option<Failure>,
    logs: Vec<PathBuf>,
    #[serde(skip)]
    output: Output,
    #[serde(skip)]
    begun: Instant,
}

impl Report {
    pub fn begin(output: Output) -> Self {
        let report = Self {
            passed: false,
            seconds: 0.0,
            steps: Vec::new(),
            failure: None,
            logs: Vec::new(),
            output,
            begun: Instant::now(),
        };
        report.say("vfio-user-ixgbe: a Linux guest on an emulated Intel 82599");
        report
    }

    /// Does one step and reports it. A failure is reported and returned.
    pub fn step<T>(
        &mut self,
        name: &'static str,
        act: impl FnOnce() -> Result<(T, Seen)>,
    ) -> Result<T> {
        let begun = Instant::now();
        match act() {
            Ok((value, seen)) => {
                let mut lines = seen.text.lines();
                self.say(&format!(
                    "  ok      {name:<16} {}",
                    lines.next().unwrap_or_default()
                ));
                for line in lines {
                    self.say(&format!("{:27}{line}", ""));
                }
                let seconds = begun.elapsed().as_secs_f32();
                self.steps.push(StepReport {
                    name,
                    text: seen.text,
                    data: seen.data,
                    seconds,
                });
                Ok(value)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.say(&format!("  FAILED  {name:<16} {reason}"));
                self.failure = Some(Failure { step: name, reason });
                Err(error)
            }
        }
    }

    /// Names a log that helps if a step fails.
    pub fn add_log(&mut self, path: &Path) {
        self.logs.push(path.to_owned());
    }

    /// Ends the report. Returns whether all steps happened.
    pub fn end(mut self) -> bool {
        self.passed = self.failure.is_none();
        self.seconds = self.begun.elapsed().as_secs_f32();
        match &self.failure {
            None => self.say(&format!("passed in {:.0} s", self.seconds)),
            Some(failure) => self.say(&format!("failed at: {}", failure.step)),
        }
        for log in self.logs.iter().filter(|log| log.exists()) {
            self.say(&format!("  log     {}", log.display()));
        }
        if self.output == Output::Json {
            let json =
                serde_json::to_string_pretty(&self).expect("strings and numbers always serialise");
            println!("{json}");
        }
        self.passed
    }

    fn say(&self, line: &str) {
        if self.output != Output::Json {
            println!("{line}");
        }
    }
}
