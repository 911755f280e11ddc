//! The counts on record.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Count;
use crate::binaries;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How many percent more a figure may take before it has failed: another compiler or libc counts a little
    /// differently.
    tolerance_percent: f64,
    /// By figure.
    instructions_per_packet: BTreeMap<String, f64>,
}

/// What comes of one figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// As on record, but for what is tolerated.
    Same { figure: String, percent: f64 },
    /// It takes less, by more than that: nothing has failed.
    Better { figure: String, percent: f64 },
    /// It takes more.
    Worse {
        figure: String,
        now: f64,
        before: f64,
        tolerance: f64,
    },
    /// It is measured and not on record, or on record and not measured.
    Unknown { figure: String },
}

impl Verdict {
    /// Whether the comparison has failed by it.
    pub fn failed(&self) -> bool {
        matches!(self, Self::Worse { .. } | Self::Unknown { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RECORD: &str = "`cargo xtask bench instructions --record`";
        match self {
            Self::Same { figure, percent } => {
                write!(f, "{figure}: as on record ({percent:+.1} %)")
            }
            Self::Better { figure, percent } => write!(
                f,
                "{figure}: {:.1} % less than on record. {RECORD} keeps it so",
                -percent
            ),
            Self::Worse {
                figure,
                now,
                before,
                tolerance,
            } => write!(
                f,
                "{figure}: SLOWER. A packet takes {now:.0} instructions, {:.1} % more than the {before:.0} on record; \
                 {tolerance} % are tolerated.\n  The files that take most stand above. If the card now does more for \
                 each packet and has to, {RECORD} accepts it; say why in the commit.",
                (now / before - 1.0) * 100.0
            ),
            Self::Unknown { figure } => write!(
                f,
                "{figure}: measured but not on record, or on record but not measured. {RECORD} makes them agree"
            ),
        }
    }
}

impl Record {
    /// Where it is.
    pub fn path() -> PathBuf {
        binaries::workspace().join("tools/nic-bench/benches/instructions.json")
    }

    /// Reads it.
    pub fn read() -> Result<Self> {
        let path = Self::path();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the counts on record, {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not right", path.display()))
    }

    /// Writes it.
    pub fn write(&self) -> Result<()> {
        let path = Self::path();
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes these counts, and no others.
    pub fn replace(&mut self, counts: &[Count]) {
        self.instructions_per_packet = counts
            .iter()
            .map(|count| (count.figure.clone(), count.per_packet.round()))
            .collect();
    }

    /// A verdict for each figure.
    pub fn compare(&self, counts: &[Count]) -> Vec<Verdict> {
        let gone = self
            .instructions_per_packet
            .keys()
            .filter(|figure| !counts.iter().any(|count| count.figure == **figure))
            .map(|figure| Verdict::Unknown {
                figure: figure.clone(),
            });
        counts
            .iter()
            .map(|count| self.verdict(count))
            .chain(gone)
            .collect()
    }

    fn verdict(&self, count: &Count) -> Verdict {
        let (figure, now) = (count.figure.clone(), count.per_packet);
        let tolerance = self.tolerance_percent;
        let Some(&before) = self.instructions_per_packet.get(&figure) else {
            return Verdict::Unknown { figure };
        };
        let percent = (now / before - 1.0) * 100.0;
        if percent > tolerance {
            Verdict::Worse {
                figure,
                now,
                before,
                tolerance,
            }
        } else if percent < -tolerance {
            Verdict::Better { figure, percent }
        } else {
            Verdict::Same { figure, percent }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::Profile;
    use super::*;

    fn record() -> Record {
        Record {
            tolerance_percent: 3.0,
            instructions_per_packet: [("rx_60".to_owned(), 1000.0)].into(),
        }
    }

    fn count(figure: &str, per_packet: f64) -> Count {
        Count {
            figure: figure.to_owned(),
            per_packet,
            profile: Profile::default(),
        }
    }

    #[test]
    fn a_figure_within_the_tolerance_passes() {
        let verdicts = record().compare(&[count("rx_60", 1029.0)]);

        assert!(!verdicts[0].failed(), "{verdicts:?}");
    }

    #[test]
    fn a_figure_that_takes_more_fails_and_says_how_much_and_what_to_do() {
        let verdicts = record().compare(&[count("rx_60", 1100.0)]);

        let text = verdicts[0].to_string();
        assert!(verdicts[0].failed());
        assert!(
            text.contains("10.0 % more than the 1000") && text.contains("--record"),
            "{text}"
        );
    }

    #[test]
    fn a_figure_that_takes_less_passes_and_says_how_to_keep_it() {
        let verdicts = record().compare(&[count("rx_60", 500.0)]);

        let text = verdicts[0].to_string();
        assert!(!verdicts[0].failed());
        assert!(
            text.contains("50.0 % less") && text.contains("--record"),
            "{text}"
        );
    }

    #[test]
    fn a_figure_that_is_new_and_one_that_is_gone_fail() {
        let verdicts = record().compare(&[count("tx_60", 1.0)]);

        assert_eq!(verdicts.iter().filter(|v| v.failed()).count(), 2);
    }

    #[test]
    fn what_is_recorded_is_what_was_counted() {
        let mut record = record();

        record.replace(&[count("tx_60", 700.4)]);

        assert_eq!(
            record.instructions_per_packet,
            [("tx_60".to_owned(), 700.0)].into()
        );
    }
}
