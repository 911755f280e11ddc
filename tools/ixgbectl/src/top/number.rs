//! Numbers in a few letters.

/// A rate in at most six letters: `0`, `12.3`, `999`, `1.23k`, `45.6M`.
pub(crate) fn short(value: f64) -> String {
    let mut value = value;
    let mut units = ["", "k", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or("");
    // What would be shown as 1000 is one of the next unit.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    let digits = match value {
        _ if value == 0.0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}

/// A rate with a blank and its unit: `1.23 kpps`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    let text = short(value);
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let prefix = &text[digits.len()..];
    format!("{digits} {prefix}{unit}")
}

/// A time: `5us`, `200ms`, `1s`.
pub(crate) fn time(nanos: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us")];
    let fits = units
        .iter()
        .find(|(length, _)| nanos.is_multiple_of(*length) && nanos >= *length);
    match fits {
        Some((length, unit)) => format!("{}{unit}", nanos / length),
        None => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_three_digits_and_a_unit() {
        let rates = [
            0.0, 0.004, 0.5, 9.99, 9.996, 12.34, 99.96, 999.4, 999.6, 1234.0, 45.6e6, 9.87e15,
        ];

        assert_eq!(
            rates.map(short),
            [
                "0", "0.00", "0.50", "9.99", "10.0", "12.3", "100", "999", "1.00k", "1.23k",
                "45.6M", "9870T"
            ]
        );
        assert_eq!(with_unit(1234.0, "pps"), "1.23 kpps");
        assert_eq!(with_unit(12.0, "bit/s"), "12.0 bit/s");
    }

    #[test]
    fn a_time_has_the_largest_unit_that_fits() {
        let times = [1_000, 50_000, 2_000_000, 1_000_000_000, 999];

        assert_eq!(times.map(time), ["1us", "50us", "2ms", "1s", "999ns"]);
    }
}
