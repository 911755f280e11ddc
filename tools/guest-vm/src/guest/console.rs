//! The guest's serial console: written to a log, and watched for the kernel's last words.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::ChildStdout;
use std::sync::{Arc, Mutex};
use std::thread;

use super::config::ConsoleUse;
use crate::error::{Error, Result};

/// Beginnings of what a kernel says when it cannot be trusted any more. Stalls are not among them: a busy host that
/// emulates the guest's processors makes them.
const FAULTS: &[&str] = &[
    "Kernel panic - not syncing",
    "Oops:",
    "BUG: unable to handle",
    "BUG: kernel NULL pointer",
    "kernel BUG at",
    "general protection fault",
    "Unable to mount root fs",
];

/// Follows the console in a thread of its own.
#[derive(Debug)]
pub(super) struct Console {
    fault: Arc<Mutex<Option<String>>>,
}

impl Console {
    pub(super) fn follow(source: ChildStdout, log: PathBuf, console: ConsoleUse) -> Result<Self> {
        let file = File::create(&log).map_err(Error::path("create", log))?;
        let fault = Arc::new(Mutex::new(None));
        let found = Arc::clone(&fault);
        thread::spawn(move || {
            let source = Tee {
                source,
                file,
                console,
            };
            for line in BufReader::new(source)
                .split(b'\n')
                .map_while(io::Result::ok)
            {
                let line = String::from_utf8_lossy(&line);
                if is_fault(&line)
                    && let Ok(mut found) = found.lock()
                {
                    found.get_or_insert_with(|| line.trim().to_owned());
                }
            }
        });
        Ok(Self { fault })
    }

    /// The line by which the kernel reported a fault, if it did.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().ok().and_then(|fault| fault.clone())
    }
}

fn is_fault(line: &str) -> bool {
    FAULTS.iter().any(|fault| line.contains(fault))
}

/// Copies what passes to the log, and to stdout for a person.
struct Tee {
    source: ChildStdout,
    file: File,
    console: ConsoleUse,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        self.file.write_all(bytes)?;
        if self.console == ConsoleUse::Shell {
            let mut out = io::stdout();
            out.write_all(bytes)?;
            out.flush()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_an_oops_are_faults() {
        assert!(is_fault(
            "[    1.0] Kernel panic - not syncing: Attempted to kill init!"
        ));
        assert!(is_fault("[    2.0] Oops: 0000 [#1] PREEMPT SMP NOPTI"));
    }

    #[test]
    fn a_stall_under_emulation_is_no_fault() {
        assert!(!is_fault(
            "[   30.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!"
        ));
    }
}
