//! Trials, and how they are run.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{report::Report, station::Station};

/// What a trial has come to, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The driver passed; what was seen.
    Passed(String),
    /// It could not be tried, and why.
    Skipped(String),
}

/// What is known of the guest beside its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// A TCP port on which the guest sends back what it gets.
    pub echo_port: Option<u16>,
    /// A VLAN of the guest, and the guest's address there.
    pub vlan: Option<(u16, Ipv4Addr)>,
    /// How long the guest may take to come up before the first trial.
    pub boot: Duration,
    /// How long the driver may take to come back after a link flap or a reset.
    pub recovery: Duration,
}

/// Something that is tried with the driver.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Its name, as a sentence.
    pub name: &'static str,
    /// What it belongs to.
    pub chapter: &'static str,
    /// Tries it. An error is what the driver failed in.
    pub run: fn(&mut Station<'_>, &Wish) -> Result<Outcome>,
}

/// Who is told how it goes.
pub trait Reporter {
    /// A trial begins.
    fn begins(&mut self, trial: &Trial);

    /// A trial has failed. Returns what is left behind for whoever looks into it, such as names of files.
    fn failed(&mut self, trial: &Trial) -> Vec<String>;

    /// A trial has ended.
    fn ended(&mut self, result: &crate::report::Result);
}

/// Nobody is told.
impl Reporter for () {
    fn begins(&mut self, _: &Trial) {}

    fn failed(&mut self, _: &Trial) -> Vec<String> {
        Vec::new()
    }

    fn ended(&mut self, _: &crate::report::Result) {}
}

/// Runs these trials one after the other. One that fails does not end the others.
pub fn run(
    trials: &[&Trial],
    station: &mut Station<'_>,
    wish: &Wish,
    reporter: &mut dyn Reporter,
) -> Report {
    let begin = Instant::now();
    let mut report = Report::default();
    for trial in trials {
        reporter.begins(trial);
        let trial_begin = Instant::now();
        let missed = station.cable.missed();
        let outcome = (trial.run)(station, wish);
        let missed = station.cable.missed().saturating_sub(missed);
        let time = trial_begin.elapsed();
        let (outcome, evidence) = match outcome {
            Ok(outcome) => (Ok(outcome), Vec::new()),
            Err(error) => {
                let doubt = match missed {
                    0 => String::new(),
                    _ => format!(
                        "; but {missed} frames of the guest's were missed at this end, so it may be no fault of the driver"
                    ),
                };
                (Err(format!("{error:#}{doubt}")), reporter.failed(trial))
            }
        };
        let result = crate::report::Result {
            chapter: trial.chapter,
            name: trial.name,
            outcome,
            time,
            evidence,
        };
        reporter.ended(&result);
        report.results.push(result);
    }
    report.time = begin.elapsed();
    report
}
