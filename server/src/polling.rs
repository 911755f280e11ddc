//! How long to poll before sleeping.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// What `--poll-us` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// Polls for a time that adapts to the traffic, never longer than this; zero for not at all.
    UpTo(Duration),
    /// Never sleeps: takes a core for as long as the server runs.
    Always,
}

impl Polling {
    /// Longest polling time that can be asked for, in microseconds.
    const LIMIT: u32 = 1_000_000;
}

impl Default for Polling {
    /// 200 µs, as KVM polls for a halted processor.
    fn default() -> Self {
        Self::UpTo(Duration::from_micros(200))
    }
}

/// A text is no [`Polling`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no polling time; give 0 to {limit} microseconds, or always", limit = Polling::LIMIT)]
pub struct PollingError(String);

impl FromStr for Polling {
    type Err = PollingError;

    /// `always`, or a number of microseconds.
    fn from_str(text: &str) -> Result<Self, PollingError> {
        if text == "always" {
            return Ok(Self::Always);
        }
        match text.parse::<u32>() {
            Ok(micros) if micros <= Self::LIMIT => {
                Ok(Self::UpTo(Duration::from_micros(micros.into())))
            }
            _ => Err(PollingError(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for Polling {
    /// A number as such, or either form as a text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Polling;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of microseconds or \"always\"")
            }

            fn visit_i64<E: de::Error>(self, micros: i64) -> Result<Polling, E> {
                self.visit_str(&micros.to_string())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Polling, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Decides from the lengths of past waits how long the next one is polled before the thread sleeps.
///
/// Waking a sleeping thread costs tens of microseconds, polling costs a core that somebody else may need. So polling
/// begins only after waits have proved short, grows while they stay short, and ends as soon as one is long: an idle
/// NIC costs no CPU time. Only [`Polling::Always`] polls whatever happens.
#[derive(Clone, Copy, Debug)]
pub struct PollBudget {
    limit: Duration,
    current: Duration,
}

/// Budget with which polling begins.
const FIRST: Duration = Duration::from_micros(8);

impl PollBudget {
    /// The budget at the start.
    #[must_use]
    pub const fn new(polling: Polling) -> Self {
        match polling {
            Polling::UpTo(limit) => Self {
                limit,
                current: Duration::ZERO,
            },
            Polling::Always => Self {
                limit: Duration::MAX,
                current: Duration::MAX,
            },
        }
    }

    /// How long to poll now.
    #[must_use]
    pub const fn get(&self) -> Duration {
        self.current
    }

    /// Takes note of work that was found by a look after a sleep: how long it had been there is not known, so it is
    /// polled for the next.
    pub fn found_late(&mut self) {
        self.current = self.limit;
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

    const fn up_to(n: u64) -> PollBudget {
        PollBudget::new(Polling::UpTo(micros(n)))
    }

    #[test]
    fn always_polls_on_after_the_longest_wait() {
        let mut budget = PollBudget::new(Polling::Always);

        budget.waited(micros(1_000_000));

        assert_eq!(budget.get(), Duration::MAX);
    }

    #[test]
    fn after_a_find_by_a_look_the_whole_budget_is_polled() {
        let mut budget = up_to(50);

        budget.found_late();

        assert_eq!(budget.get(), micros(50));
    }

    #[test]
    fn a_polling_time_is_a_number_or_always() {
        assert_eq!("0".parse(), Ok(Polling::UpTo(Duration::ZERO)));
        assert_eq!("1000000".parse(), Ok(Polling::UpTo(micros(1_000_000))));
        assert_eq!("always".parse(), Ok(Polling::Always));
    }

    #[test]
    fn what_is_no_polling_time_is_told_with_what_to_write() {
        let error = |text: &str| text.parse::<Polling>().unwrap_err().to_string();

        assert_eq!(
            error("1000001"),
            "'1000001' is no polling time; give 0 to 1000000 microseconds, or always"
        );
        assert!(error("-1").contains("or always"));
        assert!(error("never").contains("or always"));
    }

    #[test]
    fn a_fresh_budget_does_not_poll() {
        assert_eq!(up_to(50).get(), Duration::ZERO);
    }

    #[test]
    fn short_waits_grow_the_budget_up_to_the_limit() {
        let mut budget = up_to(20);

        budget.waited(micros(19));
        assert_eq!(budget.get(), micros(8));
        budget.waited(micros(19));
        assert_eq!(budget.get(), micros(16));
        budget.waited(micros(19));
        assert_eq!(budget.get(), micros(20));
    }

    #[test]
    fn a_wait_that_polling_covered_leaves_the_budget_as_it_is() {
        let mut budget = up_to(50);
        budget.waited(micros(30));

        budget.waited(micros(5));

        assert_eq!(budget.get(), micros(8));
    }

    #[test]
    fn one_long_wait_ends_the_polling() {
        let mut budget = up_to(50);
        budget.waited(micros(30));

        budget.waited(micros(51));

        assert_eq!(budget.get(), Duration::ZERO);
    }

    #[test]
    fn a_limit_of_zero_never_polls() {
        let mut budget = up_to(0);

        budget.waited(Duration::ZERO);
        budget.waited(micros(1));

        assert_eq!(budget.get(), Duration::ZERO);
    }
}
