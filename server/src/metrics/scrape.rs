//! What is told to scrapers, and how often the workers are asked for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use control::Handle;

use super::exposition::{self, Sample};

/// Scrapes that come closer together than this get the same text: scrapers cannot keep the workers busy.
const FRESH: Duration = Duration::from_millis(100);

/// Asks the workers.
#[derive(Debug)]
pub(super) struct Scraper {
    ports: Vec<Handle>,
    last: Option<(Instant, Arc<str>)>,
}

impl Scraper {
    pub(super) fn new(ports: impl IntoIterator<Item = Handle>) -> Self {
        Self {
            ports: ports.into_iter().collect(),
            last: None,
        }
    }

    /// The text of a scrape at `now`. Waits for the workers, as long as a control client does.
    pub(super) fn text(&mut self, now: Instant) -> Arc<str> {
        if let Some((then, text)) = &self.last
            && now.saturating_duration_since(*then) < FRESH
        {
            return Arc::clone(text);
        }
        let count = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
        let samples = (0_u32..).zip(&self.ports).zip(0..);
        let samples = samples.map(|((number, handle), port)| {
            let answer = handle.info(number, count).and_then(|info| {
                let stats = handle.stats()?;
                Ok((info, stats.counters))
            });
            Sample {
                port,
                answer: answer.ok(),
            }
        });
        let text: Arc<str> = exposition::text(samples.collect()).into();
        // From when it was asked: it is as old as that.
        self.last = Some((now, Arc::clone(&text)));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_that_follow_each_other_ask_the_worker_once() {
        // A port without a worker answers at once that there is none.
        let (handle, _) = control::channel().unwrap();
        let mut scraper = Scraper::new([handle]);
        let start = Instant::now();

        let first = scraper.text(start);
        let soon = scraper.text(start + FRESH - Duration::from_nanos(1));
        let later = scraper.text(start + FRESH);

        assert!(Arc::ptr_eq(&first, &soon));
        assert!(!Arc::ptr_eq(&first, &later));
        assert!(later.contains("ixgbe_port_up{port=\"0\"} 0\n"));
    }
}
