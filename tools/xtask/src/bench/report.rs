//! Samples and what is told of them.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::binaries;

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What was measured.
    pub figure: String,
    /// Of whom: a NIC, or what it is compared with.
    pub subject: &'static str,
    /// Unit of the value.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
}

/// All samples of one figure and one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Summary {
    /// What was measured.
    pub figure: String,
    /// Of whom: a NIC, or what it is compared with.
    pub subject: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// The middle value; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many there are.
    pub runs: usize,
}

/// Summaries in the order in which their figures and subjects came first.
fn summarise(samples: &[Sample]) -> Vec<Summary> {
    let mut summaries: Vec<Summary> = Vec::new();
    for sample in samples {
        let known = summaries
            .iter()
            .any(|summary| summary.figure == sample.figure && summary.subject == sample.subject);
        if !known {
            let same = samples
                .iter()
                .filter(|other| other.figure == sample.figure && other.subject == sample.subject);
            summaries.push(summary_of(sample, same.map(|other| other.value).collect()));
        }
    }
    summaries
}

fn summary_of(sample: &Sample, mut values: Vec<f64>) -> Summary {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    Summary {
        figure: sample.figure.clone(),
        subject: sample.subject,
        unit: sample.unit,
        median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
        min: at(0),
        max: at(last),
        runs: values.len(),
    }
}

/// A table with a row for each figure and a column for each subject; the columns after the first also tell by how much the
/// first is ahead: 1.50 is half as much again.
fn table(summaries: &[Summary]) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for summary in summaries {
        if !subjects.contains(&summary.subject) {
            subjects.push(summary.subject);
        }
        if !rows.iter().any(|(figure, _)| *figure == summary.figure) {
            rows.push((&summary.figure, summary.unit));
        }
    }
    let find = |figure: &str, subject: &str| {
        summaries
            .iter()
            .find(|s| s.figure == figure && s.subject == subject)
    };
    let mut lines = vec![format!("{:<16} {:<10}", "figure", "unit")];
    for (index, subject) in subjects.iter().enumerate() {
        push_cell(&mut lines, subject, index == 0);
    }
    let mut text = lines.concat();
    for (figure, unit) in rows {
        let mut cells = vec![format!("\n{figure:<16} {unit:<10}")];
        let first = subjects.first().and_then(|subject| find(figure, subject));
        for (index, subject) in subjects.iter().enumerate() {
            let Some(summary) = find(figure, subject) else {
                push_cell(&mut cells, "-", index == 0);
                continue;
            };
            let values = format!(
                "{} ({}-{})",
                short(summary.median),
                short(summary.min),
                short(summary.max)
            );
            let ratio = first
                .filter(|_| index > 0)
                .map(|first| format!(" {:5.2}", first.median / summary.median));
            push_cell(
                &mut cells,
                &format!("{values}{}", ratio.unwrap_or_default()),
                index == 0,
            );
        }
        text.push_str(&cells.concat());
    }
    text
}

/// Prints the table and writes `bench/NAME.json` in the target folder.
pub fn write(samples: &[Sample], name: &str) -> Result<()> {
    let summaries = summarise(samples);
    println!("{}", table(&summaries));
    let path = binaries::target_folder()?.join(format!("bench/{name}.json"));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(&path, serde_json::to_string_pretty(&summaries)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!(
        "\nmedian (least-greatest), then how many times as much the first column has; {}",
        path.display()
    );
    Ok(())
}

/// The host's load of the last minute: other work makes the figures worthless.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

fn push_cell(cells: &mut Vec<String>, text: &str, first: bool) {
    let width = if first { 20 } else { 26 };
    cells.push(format!(" {text:>width$}"));
}

/// Three significant digits are more than such a benchmark has.
fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(subject: &'static str, value: f64) -> Sample {
        Sample {
            figure: "tcp_rr".to_owned(),
            subject,
            unit: "1/s",
            value,
        }
    }

    #[test]
    fn a_summary_has_median_and_range() {
        let samples = [3.0, 1.0, 2.0].map(|value| sample("ixgbe", value));

        let summaries = summarise(&samples);

        let [summary] = summaries.as_slice() else {
            panic!("{summaries:?}")
        };
        assert_eq!(
            (summary.median, summary.min, summary.max, summary.runs),
            (2.0, 1.0, 3.0, 3)
        );
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        let summaries = summarise(&[sample("igb", 1.0), sample("igb", 2.0)]);

        assert_eq!(summaries[0].median, 1.5);
    }

    #[test]
    fn the_table_tells_how_far_ours_is_ahead_of_each_other() {
        let summaries = summarise(&[sample("ixgbe", 300.0), sample("igb", 200.0)]);

        let table = table(&summaries);

        let row = table.lines().nth(1).unwrap();
        assert!(
            row.contains("300 (300-300)") && row.ends_with("200 (200-200)  1.50"),
            "{table}"
        );
    }
}
