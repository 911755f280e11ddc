//! `ixgbectl stats`.

use std::fmt::Write;

use control::{Client, Counter, Stats};
use serde::Serialize;

use crate::{cli::StatsArguments, output::Output};

pub(crate) fn run(
    client: &mut Client,
    ports: &[u32],
    arguments: &StatsArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for port in ports {
        client.select(Some(*port).filter(|port| *port != 0));
        let mut stats = client.stats()?;
        if arguments.nonzero {
            stats.counters.retain(|counter| counter.value != 0);
        }
        all.push(PortStats { port: *port, stats });
    }
    match all.as_slice() {
        [PortStats { stats, .. }] => output.print(stats, || table(stats)),
        several => output.print(&AllStats { ports: several }, || {
            let tables: Vec<String> = several.iter().map(PortStats::table).collect();
            tables.join("\n")
        }),
    }
}

#[derive(Serialize)]
struct AllStats<'a> {
    ports: &'a [PortStats],
}

#[derive(Serialize)]
struct PortStats {
    port: u32,
    #[serde(flatten)]
    stats: Stats,
}

impl PortStats {
    fn table(&self) -> String {
        format!("port {}\n{}", self.port, table(&self.stats))
    }
}

/// A table per group, numbers right-aligned.
fn table(Stats { counters }: &Stats) -> String {
    let names = counters.iter().map(|counter| counter.name.len()).max();
    let values = counters
        .iter()
        .map(|counter| counter.value.to_string().len())
        .max();
    let (name_width, value_width) = (names.unwrap_or(0), values.unwrap_or(0));
    let mut text = String::new();
    let mut sorted: Vec<&Counter> = counters.iter().collect();
    // Stable: within a group the server's order stays.
    sorted.sort_by_key(|counter| counter.group);
    for group in sorted.chunk_by(|a, b| a.group == b.group) {
        if !text.is_empty() {
            text.push('\n');
        }
        for (index, Counter { group, name, value }) in group.iter().enumerate() {
            if index == 0 {
                text.push_str(group.name());
                text.push('\n');
            }
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:name_width$}  {value:>value_width$}");
        }
    }
    if text.is_empty() {
        text.push_str("no counters");
    }
    text
}

#[cfg(test)]
mod tests {
    use control::Group;

    use super::*;

    #[test]
    fn counters_stand_in_aligned_columns_by_group() {
        let stats = Stats {
            counters: vec![
                Counter::new(Group::Wire, "tx_frames", 7),
                Counter::new(Group::Hardware, "gprc", 12345),
                Counter::new(Group::Wire, "rx", 0),
            ],
        };

        assert_eq!(
            table(&stats),
            "hardware\n  gprc       12345\n\nwire\n  tx_frames      7\n  rx             0\n"
        );
    }
}
