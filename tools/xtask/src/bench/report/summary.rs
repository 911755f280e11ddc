//! What samples come to.

use serde::Serialize;

use super::goal::Reach;

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
pub struct Summary {
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
    /// What it is to reach, if it is ours and there is such a thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
}

/// Summaries in the order in which their figures and subjects came first, without what they are to reach.
pub fn summarise(samples: &[Sample]) -> Vec<Summary> {
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
        reach: None,
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
}
