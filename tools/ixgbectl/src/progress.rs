//! Progress on what takes longer than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What takes less time needs no bar.
const SOON: Duration = Duration::from_secs(1);

/// A bar on standard error, if that is a terminal, which appears after a second.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    total: Option<u64>,
    what: &'static str,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// So many of these are to be done; `None` if that is not known.
    pub(crate) fn new(total: Option<u64>, what: &'static str) -> Self {
        Self {
            begun: Instant::now(),
            total,
            what,
            bar: None,
        }
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: u64) {
        if self.bar.is_none() && self.begun.elapsed() >= SOON {
            self.bar = Some(bar(self.total, self.what));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>, what: &'static str) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {human_pos} {msg}, {elapsed}",
        ),
    };
    // A template that is not understood is a mistake here; the default bar is shown then.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(what)
}
