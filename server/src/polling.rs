//! How long to poll before sleeping.

use std::time::Duration;

/// Decides from the lengths of past waits how long the next one is polled before the thread sleeps.
///
/// Waking a sleeping thread costs tens of microseconds, polling costs a core that somebody else may need. So polling
/// begins only after waits have proved short, grows while they stay short, and ends as soon as one is long: an idle
/// NIC costs no CPU time.
#[derive(Clone, Copy, Debug)]
pub struct PollBudget {
    limit: Duration,
    current: Duration,
}

/// Budget with which polling begins.
const FIRST: Duration = Duration::from_micros(8);

impl PollBudget {
    /// A budget that never exceeds `limit`; zero for never polling.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            current: Duration::ZERO,
        }
    }

    /// How long to poll now.
    #[must_use]
    pub const fn get(&self) -> Duration {
        self.current
    }

    /// Takes note of a wait that is over: how long it took, polling included, until there was work.
    pub fn waited(&mut self, time: Duration) {
        if time <= self.current {
            return;
        }
        self.current = if time <= self.limit {
            self.current.saturating_mul(2).max(FIRST).min(self.limit)
        } else {
            Duration::ZERO
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn a_fresh_budget_does_not_poll() {
        assert_eq!(PollBudget::new(micros(50)).get(), Duration::ZERO);
    }

    #[test]
    fn short_waits_grow_the_budget_up_to_the_limit() {
        let mut budget = PollBudget::new(micros(20));

        budget.waited(micros(19));
        assert_eq!(budget.get(), micros(8));
        budget.waited(micros(19));
        assert_eq!(budget.get(), micros(16));
        budget.waited(micros(19));
        assert_eq!(budget.get(), micros(20));
    }

    #[test]
    fn a_wait_that_polling_covered_leaves_the_budget_as_it_is() {
        let mut budget = PollBudget::new(micros(50));
        budget.waited(micros(30));

        budget.waited(micros(5));

        assert_eq!(budget.get(), micros(8));
    }

    #[test]
    fn one_long_wait_ends_the_polling() {
        let mut budget = PollBudget::new(micros(50));
        budget.waited(micros(30));

        budget.waited(micros(51));

        assert_eq!(budget.get(), Duration::ZERO);
    }

    #[test]
    fn a_limit_of_zero_never_polls() {
        let mut budget = PollBudget::new(Duration::ZERO);

        budget.waited(Duration::ZERO);
        budget.waited(micros(1));

        assert_eq!(budget.get(), Duration::ZERO);
    }
}
