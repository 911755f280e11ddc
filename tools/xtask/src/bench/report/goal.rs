//! What a figure is to reach, and whether it does.

use std::fmt;

use serde::Serialize;

use super::summary::Summary;

/// The NIC that goals are set for, where NICs are compared.
pub const OURS: &str = "ixgbe";

/// On which side of a number a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// More is better.
    AtLeast,
    /// Less is better.
    AtMost,
}

/// What a goal is a multiple of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of {
    /// One of the figure's unit.
    Unit,
    /// The median of the best of these, of those that were measured.
    Best(&'static [&'static str]),
}

/// One thing that is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    bound: Bound,
    factor: f64,
    of: Of,
}

impl Goal {
    /// So much or more.
    pub const fn at_least(value: f64) -> Self {
        Self::new(Bound::AtLeast, value, Of::Unit)
    }

    /// So much or less.
    pub const fn at_most(value: f64) -> Self {
        Self::new(Bound::AtMost, value, Of::Unit)
    }

    /// So many times the best of others, or more.
    pub const fn ahead(factor: f64, of: &'static [&'static str]) -> Self {
        Self::new(Bound::AtLeast, factor, Of::Best(of))
    }

    /// So many times the best of others, or less; the best is the least.
    pub const fn below(factor: f64, of: &'static [&'static str]) -> Self {
        Self::new(Bound::AtMost, factor, Of::Best(of))
    }

    const fn new(bound: Bound, factor: f64, of: Of) -> Self {
        Self { bound, factor, of }
    }

    /// The number that has to be reached; none if nobody was measured that it depends on.
    fn value(&self, row: &[&Summary]) -> Option<f64> {
        let best = match self.of {
            Of::Unit => Some(1.0),
            Of::Best(subjects) => {
                let medians = row
                    .iter()
                    .filter(|summary| subjects.contains(&summary.subject))
                    .map(|summary| summary.median);
                match self.bound {
                    Bound::AtLeast => medians.reduce(f64::max),
                    Bound::AtMost => medians.reduce(f64::min),
                }
            }
        };
        best.map(|best| best * self.factor)
    }
}

/// What a figure was to reach and how near it came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// Which side is right.
    pub bound: Bound,
    /// The number, of the figure's unit.
    pub value: f64,
    /// The median as a multiple of it; none where it is 0.
    pub ratio: Option<f64>,
    /// Whether the median is on the right side.
    pub reached: bool,
}

impl Reach {
    /// What comes of the goals that a figure of `ours` has: the one that asks most. `row` are the summaries of the figure.
    pub fn of(goals: &[Goal], ours: &str, row: &[&Summary]) -> Option<Self> {
        let ours = row.iter().find(|summary| summary.subject == ours)?;
        let bound = goals.first()?.bound;
        let values = goals
            .iter()
            .filter(|goal| goal.bound == bound)
            .filter_map(|goal| goal.value(row));
        let value = match bound {
            Bound::AtLeast => values.reduce(f64::max),
            Bound::AtMost => values.reduce(f64::min),
        }?;
        Some(Self {
            bound,
            value,
            ratio: (value != 0.0).then(|| ours.median / value),
            reached: match bound {
                Bound::AtLeast => ours.median >= value,
                Bound::AtMost => ours.median <= value,
            },
        })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.bound {
            Bound::AtLeast => ">=",
            Bound::AtMost => "<=",
        };
        write!(f, "{sign} {}", super::table::short(self.value))?;
        if let Some(ratio) = self.ratio {
            write!(f, " {ratio:.2}")?;
        }
        f.write_str(if self.reached { " yes" } else { " NO" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::{Sample, summarise};
    use super::*;

    fn summaries(values: &[(&'static str, f64)]) -> Vec<Summary> {
        let samples: Vec<Sample> = values
            .iter()
            .map(|&(subject, value)| Sample {
                figure: "f".to_owned(),
                subject,
                unit: "u",
                value,
            })
            .collect();
        summarise(&samples)
    }

    fn reach(goals: &[Goal], values: &[(&'static str, f64)]) -> Option<Reach> {
        let summaries = summaries(values);
        Reach::of(goals, OURS, &summaries.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_number_that_is_missed_tells_by_how_much() {
        let reach = reach(&[Goal::at_least(30.0)], &[("ixgbe", 6.0)]).unwrap();

        assert_eq!(reach.to_string(), ">= 30.0 0.20 NO");
    }

    #[test]
    fn of_several_goals_the_one_that_asks_most_counts() {
        const EMULATED: &[&str] = &["igb", "e1000e"];
        let goals = [
            Goal::ahead(1.25, EMULATED),
            Goal::ahead(1.0, &["vmxnet3", "virtio-net"]),
        ];

        let reach = reach(
            &goals,
            &[
                ("ixgbe", 260.0),
                ("igb", 200.0),
                ("e1000e", 100.0),
                ("vmxnet3", 240.0),
            ],
        );

        assert_eq!(reach.unwrap().to_string(), ">= 250 1.04 yes");
    }

    #[test]
    fn of_costs_the_best_is_the_least() {
        let reach = reach(
            &[Goal::below(1.0, &["igb", "e1000e"])],
            &[("ixgbe", 3.0), ("igb", 4.0), ("e1000e", 2.0)],
        );

        assert_eq!(reach.unwrap().to_string(), "<= 2.0 1.50 NO");
    }

    #[test]
    fn a_goal_that_nobody_was_measured_for_is_none() {
        assert_eq!(
            reach(&[Goal::ahead(1.25, &["igb"])], &[("ixgbe", 3.0)]),
            None
        );
    }

    #[test]
    fn nothing_at_all_can_be_a_goal() {
        let reach = reach(&[Goal::at_most(0.0)], &[("ixgbe", 0.0)]).unwrap();

        assert_eq!(reach.to_string(), "<= 0.0 yes");
    }
}
