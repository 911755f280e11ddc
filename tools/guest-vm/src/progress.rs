//! Progress of long steps on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// One long step that is shown while it lasts.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    title: String,
    begun: Instant,
}

impl Step {
    /// Begins a step.
    pub fn begin(title: impl Into<String>) -> Self {
        let title = title.into();
        let bar = if stderr().is_terminal() {
            let bar = ProgressBar::new(1000);
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} {bar:30} {percent:>3} % {msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(150));
            Some(bar)
        } else {
            eprintln!("{title} ...");
            None
        };
        Self {
            bar,
            title,
            begun: Instant::now(),
        }
    }

    /// Shows that `permille` thousandths are done, and what is being done.
    pub fn at(&self, permille: u64, what: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_position(permille.min(1000));
            bar.set_message(what.into());
        }
    }

    /// Ends the step with a line that says how long it took.
    pub fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!(
            "{}: {:.1} s",
            self.title,
            self.begun.elapsed().as_secs_f32()
        );
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
