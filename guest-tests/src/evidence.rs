//! What a failure in a guest leaves behind for who reads of it and cannot look himself.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, anyhow};
use guest_vm::Guest;

use crate::runner::CannotRun;

/// The last lines of each log are as many.
const LINES: usize = 20;

/// The same outcome; an error also has the last lines of the guest's and the server's log.
///
/// # Errors
/// `outcome` is one.
pub fn with<T>(outcome: Result<T>, guest: &mut Guest, server_log: &Path) -> Result<T> {
    outcome.map_err(|error| {
        if error.is::<CannotRun>() {
            return error;
        }
        let kernel = guest.run("dmesg", Duration::from_secs(20));
        let kernel = kernel.map_or_else(|error| error.to_string(), |output| output.stdout);
        let server = fs::read_to_string(server_log).unwrap_or_else(|error| error.to_string());
        anyhow!(
            "{error:#}\n-- the guest's kernel said last\n{}\n-- the server said last\n{}",
            last_lines(&kernel),
            last_lines(&server)
        )
    })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (_, last) = lines.split_at(lines.len().saturating_sub(LINES));
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_last_lines_are_kept() {
        let text: String = (0..LINES + 2).map(|line| format!("{line}\n")).collect();

        let kept = last_lines(&text);

        assert!(
            kept.starts_with("2\n3\n") && kept.ends_with("\n21"),
            "{kept}"
        );
        assert_eq!(last_lines("one\ntwo\n"), "one\ntwo");
    }
}
