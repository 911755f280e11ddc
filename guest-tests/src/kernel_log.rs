//! What a guest's kernel says, and whether that is a warning.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_vm::Guest;

/// Begins the lines that tests write into the kernel's log.
const MARK: &str = "guest-tests: ";

/// The line from which on counters are compared.
const COUNT_MARK: &str = "guest-tests counts";

/// Begins each line of [`place`].
const PLACE: &str = "guest-tests is here";

/// A place in the kernel's log.
#[derive(Clone, Debug)]
pub struct Place(String);

/// Empties the kernel's log, which would lose its oldest lines some day, and marks it as [`mark`] does.
///
/// # Errors
/// The guest fails.
pub fn begin(guest: &mut Guest, what: &str) -> Result<()> {
    guest.sh("dmesg -c >/dev/null")?;
    mark(guest, what)
}

/// Where the kernel's log ends now.
///
/// # Errors
/// The guest fails.
pub fn place(guest: &mut Guest) -> Result<Place> {
    // Of level 6: no warning.
    let line = guest.sh(&format!(
        "line=\"{PLACE}: $(cat /proc/sys/kernel/random/uuid)\"; echo \"<6>$line\" >/dev/kmsg; echo \"$line\""
    ))?;
    Ok(Place(line.trim().to_owned()))
}

/// Waits until the kernel has said `text` after `place`.
///
/// # Errors
/// It has not within `limit`, or the guest fails.
pub fn wait_for(guest: &mut Guest, place: &Place, text: &str, limit: Duration) -> Result<()> {
    let Place(line) = place;
    let command =
        format!("until dmesg | sed '1,/{line}/d' | grep -qF '{text}'; do usleep 20000; done");
    let output = guest.run(&command, limit);
    let output = output.with_context(|| format!("the kernel does not say `{text}`"))?;
    ensure!(output.status == 0, "`{command}`: {output:?}");
    Ok(())
}

/// Writes a line into the kernel's log: [`warnings`] looks only at what comes after it.
///
/// # Errors
/// The guest fails.
pub fn mark(guest: &mut Guest, what: &str) -> Result<()> {
    guest.sh(&format!("echo '{MARK}{what}' >/dev/kmsg"))?;
    Ok(())
}

/// Writes a line into the kernel's log after which [`was_reset`] looks for what the driver says.
///
/// # Errors
/// The guest fails.
pub fn mark_count(guest: &mut Guest) -> Result<()> {
    // Of level 6: no warning.
    guest.sh(&format!("echo '<6>{COUNT_MARK}' >/dev/kmsg"))?;
    Ok(())
}

/// Whether the driver has reset the card of `interface` since [`mark_count`], after which it tells of the link again; or
/// whether the guest was booted since, which leaves no mark.
///
/// # Errors
/// The guest fails.
pub fn was_reset(guest: &mut Guest, interface: &str) -> Result<bool> {
    let log = guest.sh("dmesg -r")?;
    let link = format!("{interface}: NIC Link is Up");
    let since = log.rsplit_once(COUNT_MARK).map(|(_, since)| since);
    Ok(since.is_none_or(|since| since.contains(&link) || since.contains("Multiqueue")))
}

/// What the kernel has warned of since the last mark.
///
/// # Errors
/// The guest fails.
pub fn warnings(guest: &mut Guest) -> Result<Vec<String>> {
    let log = guest.sh("dmesg -r")?;
    let lines: Vec<&str> = log.lines().collect();
    let since = lines.iter().rposition(|line| line.contains(MARK));
    let since = since.map_or(0, |place| place + 1);
    let warnings = lines.iter().skip(since).filter(|line| is_warning(line));
    Ok(warnings.map(|line| (*line).to_owned()).collect())
}

/// Fails if the kernel has warned of anything since the last mark.
///
/// # Errors
/// It has, or the guest fails.
pub fn no_warnings(guest: &mut Guest) -> Result<()> {
    let warnings = warnings(guest)?;
    ensure!(
        warnings.is_empty(),
        "the kernel warned:\n{}",
        warnings.join("\n")
    );
    Ok(())
}

/// Whether a line of the raw log is a warning, or tells of what a driver writes with less weight than it has.
fn is_warning(line: &str) -> bool {
    const GRAVE: [&str; 5] = [
        "Tx Unit Hang",
        "WARNING:",
        "BUG:",
        "Call Trace",
        "timed out",
    ];
    // The rest of "Restarting tasks ... done.", which another line has come between.
    let of_a_line = line.ends_with("] done.");
    // What the driver says whenever it is asked for that.
    let of_the_wish = line.contains("enabling UDP RSS");
    (guest_vm::kernel_log::is_warning(line) && !of_a_line && !of_the_wish)
        || GRAVE.iter().any(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_low_level_and_grave_words_are_warnings() {
        assert!(is_warning("<4>[    1.0] ixgbe 0000:01:00.0: a warning"));
        assert!(is_warning("<30>[    1.0] eth0: Detected Tx Unit Hang"));
        assert!(!is_warning("<6>[    1.0] ixgbe 0000:01:00.0: news"));
        assert!(!is_warning("<4>[    1.0] hrtimer: interrupt took 5 ns"));
    }
}
