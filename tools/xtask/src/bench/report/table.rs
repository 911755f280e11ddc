//! Summaries as text.

use super::summary::Summary;

/// A table with a row for each figure and a column for each subject. After the first column stands what it is to reach;
/// the columns of others tell how many times theirs the first has: 1.50 is half as much again.
pub fn table(summaries: &[Summary]) -> String {
    let subjects = subjects(summaries);
    let find = |figure: &str, subject: &str| {
        summaries
            .iter()
            .find(|s| s.figure == figure && s.subject == subject)
    };
    let figures = figures(summaries);
    let width = figures.iter().map(|(figure, _)| figure.len()).max();
    let width = width.unwrap_or_default().max(18);
    let mut text = format!("{:<width$} {:<12}", "figure", "unit");
    for (index, subject) in subjects.iter().enumerate() {
        push_cell(&mut text, subject, index == 0);
        if index == 0 {
            push_reach(&mut text, "reach");
        }
    }
    for (figure, unit) in figures {
        text.push_str(&format!("\n{figure:<width$} {unit:<12}"));
        let first = subjects.first().and_then(|subject| find(figure, subject));
        for (index, subject) in subjects.iter().enumerate() {
            let summary = find(figure, subject);
            let cell = summary.map_or("-".to_owned(), |summary| {
                let ratio = first
                    .filter(|_| index > 0)
                    .map(|first| format!(" {:5.2}", first.median / summary.median));
                format!("{}{}", values(summary), ratio.unwrap_or_default())
            });
            push_cell(&mut text, &cell, index == 0);
            if index == 0 {
                let reach = summary.and_then(|summary| summary.reach);
                push_reach(
                    &mut text,
                    &reach.map_or(String::new(), |reach| reach.to_string()),
                );
            }
        }
    }
    text
}

/// The subjects in the order in which they came first.
pub fn subjects(summaries: &[Summary]) -> Vec<&'static str> {
    let mut subjects = Vec::new();
    for summary in summaries {
        if !subjects.contains(&summary.subject) {
            subjects.push(summary.subject);
        }
    }
    subjects
}

/// The figures and their units, in that order.
pub fn figures(summaries: &[Summary]) -> Vec<(&str, &'static str)> {
    let mut figures: Vec<(&str, &str)> = Vec::new();
    for summary in summaries {
        if !figures.iter().any(|(figure, _)| *figure == summary.figure) {
            figures.push((&summary.figure, summary.unit));
        }
    }
    figures
}

/// Median and range.
pub fn values(summary: &Summary) -> String {
    format!(
        "{} ({}-{})",
        short(summary.median),
        short(summary.min),
        short(summary.max)
    )
}

/// Three significant digits are more than such a benchmark has.
pub fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 1.0 || value == 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn push_cell(text: &mut String, cell: &str, first: bool) {
    let width = if first { 20 } else { 26 };
    text.push_str(&format!(" {cell:>width$}"));
}

fn push_reach(text: &mut String, cell: &str) {
    text.push_str(&format!("  {cell:<17}"));
}

#[cfg(test)]
mod tests {
    use super::super::summary::{Sample, summarise};
    use super::*;

    #[test]
    fn the_table_tells_how_far_ours_is_ahead_of_each_other() {
        let samples = [("ixgbe", 300.0), ("igb", 200.0)].map(|(subject, value)| Sample {
            figure: "tcp_rr".to_owned(),
            subject,
            unit: "1/s",
            value,
        });

        let table = table(&summarise(&samples));

        let row = table.lines().nth(1).unwrap();
        assert!(
            row.contains("300 (300-300)") && row.ends_with("200 (200-200)  1.50"),
            "{table}"
        );
    }
}
