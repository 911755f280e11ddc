//! Which lines of a guest's kernel log are warnings.

/// Whether a line of `dmesg -r`, `<PRIORITY>[TIME] TEXT`, is a warning or worse, and not one of a host that is too busy
/// to run the guest in time.
///
/// The low three bits of the priority are the level (syslog(2)); 4 is a warning.
#[must_use]
pub fn is_warning(line: &str) -> bool {
    const WARNING: u32 = 4;
    let priority = line
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .and_then(|(number, _)| number.parse().ok());
    priority.is_some_and(|priority: u32| priority & 7 <= WARNING) && !is_of_time(line)
}

/// Whether the kernel complains that it was not run in time, as it may where a busy host emulates its processor.
fn is_of_time(line: &str) -> bool {
    [
        "clocksource:",
        "TSC found unstable",
        "hrtimer: interrupt took",
        "hogged CPU",
        "perf: interrupt took too long",
        "sched: DL replenish lagged too much",
        "sched_clock: Marking unstable",
    ]
    .iter()
    .any(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_low_level_are_warnings() {
        assert!(is_warning("<4>[    1.0] ixgbe: something"));
        assert!(is_warning("<12>[    1.0] user: warning"));
        assert!(!is_warning("<6>[    1.0] ixgbe: Intel(R) 10 Gigabit"));
        assert!(!is_warning("continued text"));
    }

    #[test]
    fn that_the_host_is_too_busy_is_no_warning() {
        assert!(!is_warning("<4>[    1.0] hrtimer: interrupt took 5 ns"));
        assert!(!is_warning(
            "<4>[    9.2] TSC found unstable after boot, most likely due to broken BIOS. Use 'tsc=unstable'."
        ));
        assert!(!is_warning(
            "<4>[    8.9] clocksource: timekeeping watchdog on CPU0: wd-tsc-wd excessive read-back delay"
        ));
    }
}
