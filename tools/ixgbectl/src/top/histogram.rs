//! The histogram of latencies, in letters that every terminal has.

use super::{number::time, sample::Times};

/// Letters of the longest bar.
const BAR: usize = 6;

/// A table with a line for each bucket, from the shortest that has something in it to the longest, in at most `height` lines.
/// Where there are too many the shortest are one.
pub(crate) fn lines(to_memory: &Times, to_interrupt: &Times, height: u16) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<8} {:<12} {:<12}",
        "LATENCY", "TO MEMORY", "TO INTERRUPT"
    )];
    let count = |times: &Times, at: usize| times.buckets.get(at).map_or(0, |bucket| bucket.count);
    let all = to_memory.buckets.len().max(to_interrupt.buckets.len());
    let is_used = |at: &usize| count(to_memory, *at) + count(to_interrupt, *at) > 0;
    let (Some(first), Some(last)) = ((0..all).find(is_used), (0..all).rev().find(is_used)) else {
        lines.push("no packet was received".to_owned());
        return lines;
    };
    let room = usize::from(height.saturating_sub(1)).max(1);
    let start = first.max((last + 1).saturating_sub(room));
    for at in start..=last {
        let sum = |times: &Times| {
            let from = if at == start { first } else { at };
            (from..=at).map(|at| count(times, at)).sum::<u64>()
        };
        let longest = to_memory.buckets.get(at).and_then(|bucket| bucket.at_most);
        let name = match longest {
            Some(nanos) => format!("to {}", time(nanos)),
            None => "longer".to_owned(),
        };
        lines.push(format!(
            "{name:<8} {:<12} {:<12}",
            bar(sum(to_memory), to_memory.count),
            bar(sum(to_interrupt), to_interrupt.count)
        ));
    }
    lines
}

/// A part of a whole: a bar and its hundredths. Where there is something, the bar has a letter.
fn bar(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return String::new();
    }
    let percent = part.saturating_mul(100) / whole;
    let letters = usize::try_from(percent).unwrap_or(100) * BAR / 100;
    let percent = match percent {
        0 => "<1%".to_owned(),
        percent => format!("{percent}%"),
    };
    format!("{:<BAR$}{percent:>5}", "|".repeat(letters.max(1)))
}

#[cfg(test)]
mod tests {
    use control::{LATENCY_BOUNDS, LatencyBucket};

    use super::*;

    fn times(counts: &[(usize, u64)]) -> Times {
        let ends = LATENCY_BOUNDS.into_iter().map(Some).chain([None]);
        let mut buckets: Vec<LatencyBucket> = ends
            .map(|at_most| LatencyBucket { at_most, count: 0 })
            .collect();
        for (at, count) in counts {
            buckets[*at].count = *count;
        }
        Times {
            count: counts.iter().map(|(_, count)| count).sum(),
            buckets,
            ..Times::default()
        }
    }

    #[test]
    fn bars_are_as_long_as_their_part_of_the_whole() {
        let shown = lines(
            &times(&[(2, 500), (3, 499), (5, 1)]),
            &times(&[(5, 10)]),
            10,
        );

        assert_eq!(
            shown,
            [
                "LATENCY  TO MEMORY    TO INTERRUPT",
                "to 5us   |||     50%              ",
                "to 10us  ||      49%              ",
                "to 20us                           ",
                "to 50us  |       <1%  |||||| 100% ",
            ]
        );
    }

    #[test]
    fn where_there_is_no_room_the_shortest_are_one() {
        let shown = lines(&times(&[(0, 1), (1, 1), (2, 2)]), &times(&[]), 3);

        assert_eq!(shown.len(), 3);
        assert_eq!(shown[1].trim_end(), "to 2us   |||     50%");
        assert_eq!(shown[2].trim_end(), "to 5us   |||     50%");
    }

    #[test]
    fn what_is_longer_than_all_buckets_is_told() {
        let shown = lines(&times(&[(19, 1)]), &times(&[]), 10);

        assert_eq!(shown[1].trim_end(), "longer   |||||| 100%");
    }
}
