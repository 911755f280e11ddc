//! What is told to scrapers, and how often the workers are asked for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use control::{Counter, Handle, Info, Overview};

use super::exposition::{self, Sample};

/// Scrapes that come closer together than this get the same text: scrapers cannot keep the workers busy.
const FRESH: Duration = Duration::from_millis(100);

/// How long a scrape waits for all workers together. A turn of a worker's loop takes far less; scrapers give up after ten
/// seconds or so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the workers.
#[derive(Debug)]
pub(super) struct Scraper {
    ports: Vec<Port>,
    last: Option<(Instant, Arc<str>)>,
}

impl Scraper {
    pub(super) fn new(ports: impl IntoIterator<Item = Handle>) -> Self {
        Self {
            ports: ports.into_iter().map(Port::new).collect(),
            last: None,
        }
    }

    /// The text of a scrape by this clock. All workers are asked at once; those that have not answered in time are not up.
    pub(super) fn text(&mut self, clock: impl Fn() -> Instant) -> Arc<str> {
        let begin = clock();
        if let Some((then, text)) = &self.last
            && begin.saturating_duration_since(*then) < FRESH
        {
            return Arc::clone(text);
        }
        let count = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
        for (number, port) in (0..).zip(&mut self.ports) {
            port.ask(number, count);
        }
        let samples = (0..).zip(&mut self.ports).map(|(number, port)| {
            let left = PATIENCE.saturating_sub(clock().saturating_duration_since(begin));
            Sample {
                port: number,
                answer: port.answer(left),
            }
        });
        let text: Arc<str> = exposition::text(samples.collect()).into();
        // From when the answers are there: after a long wait the workers are left alone as well.
        self.last = Some((clock(), Arc::clone(&text)));
        text
    }
}

/// A worker.
#[derive(Debug)]
struct Port {
    handle: Handle,
    /// What it was asked for and has not told yet.
    asked: Option<Overview>,
}

impl Port {
    const fn new(handle: Handle) -> Self {
        Self {
            handle,
            asked: None,
        }
    }

    /// Asks, unless the question of an earlier scrape still waits: a worker that hangs does not gather them.
    fn ask(&mut self, number: u32, count: u32) {
        // What has come too late is old.
        self.asked
            .take_if(|asked| asked.wait(Duration::ZERO).is_some());
        if self.asked.is_none() {
            self.asked = self.handle.overview(number, count).ok();
        }
    }

    fn answer(&mut self, patience: Duration) -> Option<(Info, Vec<Counter>)> {
        let answer = self.asked.as_ref()?.wait(patience)?;
        self.asked = None;
        let (info, stats) = answer.ok()?;
        Some((info, stats.counters))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn scrapes_that_follow_each_other_ask_the_worker_once() {
        // A port without a worker answers at once that there is none.
        let (handle, _) = control::channel().unwrap();
        let mut scraper = Scraper::new([handle]);
        let start = Instant::now();

        let first = scraper.text(|| start);
        let soon = scraper.text(|| start + FRESH - Duration::from_nanos(1));
        let later = scraper.text(|| start + FRESH);

        assert!(Arc::ptr_eq(&first, &soon));
        assert!(!Arc::ptr_eq(&first, &later));
        assert!(later.contains("ixgbe_port_up{port=\"0\"} 0\n"));
    }

    #[test]
    fn all_workers_that_hang_are_waited_for_once() {
        let (handles, _inboxes): (Vec<_>, Vec<_>) =
            (0..4).map(|_| control::channel().unwrap()).unzip();
        let mut scraper = Scraper::new(handles);
        // The patience is over as soon as all have been asked: nothing is left to wait for.
        let start = Instant::now();
        let readings = Cell::new(0);
        let clock = || {
            readings.set(readings.get() + 1);
            start
                + if readings.get() == 1 {
                    Duration::ZERO
                } else {
                    PATIENCE
                }
        };

        let text = scraper.text(clock);
        let took = start.elapsed();
        let soon = scraper.text(|| start + PATIENCE + FRESH - Duration::from_nanos(1));

        assert_eq!(text.matches("ixgbe_port_up{").count(), 4);
        assert!(text.contains("ixgbe_port_up{port=\"3\"} 0\n"));
        assert!(took < 4 * PATIENCE, "{took:?}");
        assert!(Arc::ptr_eq(&text, &soon), "it is as old as the answers");
    }
}
