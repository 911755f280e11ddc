//! Polling or interrupts: how long the loop looks for work before it asks to be woken up.
//!
//! To be woken up costs messages to the card and an event of the guest; to look costs a core. So the loop looks on as long
//! as the pauses between packets have lately been short enough to be worth it, and goes to sleep at once while they are
//! longer.

use std::{str::FromStr, time::Duration};

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// Pauses of up to this long are polled through, if they are usual; zero for none.
    UpTo(Duration),
    /// As long as a ring of the guest runs, whatever the pauses are.
    Always,
}

/// A text is no [`Polling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a number of microseconds, up to 1000000, or always")]
pub struct PollingError;

impl FromStr for Polling {
    type Err = PollingError;

    fn from_str(text: &str) -> Result<Self, PollingError> {
        if text == "always" {
            return Ok(Self::Always);
        }
        let micros = text.parse::<u32>().map_err(|_| PollingError)?;
        if micros > 1_000_000 {
            return Err(PollingError);
        }
        Ok(Self::UpTo(Duration::from_micros(micros.into())))
    }
}

/// The pauses so far.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    polling: Polling,
    /// The mean of the last ones, the newest with a weight of a quarter.
    mean: Duration,
}

/// A pause counts as so many times the longest that is polled through, at most: one alone is soon forgotten.
const LONGEST: u32 = 3;

impl Pauses {
    /// Before the first one.
    #[must_use]
    pub fn new(polling: Polling) -> Self {
        let mean = match polling {
            Polling::UpTo(limit) => limit * LONGEST,
            Polling::Always => Duration::ZERO,
        };
        Self { polling, mean }
    }

    /// Takes note of a pause that is over.
    pub fn over(&mut self, pause: Duration) {
        if let Polling::UpTo(limit) = self.polling {
            self.mean = self.mean * 3 / 4 + pause.min(limit * LONGEST) / 4;
        }
    }

    /// How long to poll in the next one.
    #[must_use]
    pub fn poll(&self) -> Duration {
        match self.polling {
            Polling::UpTo(limit) if self.mean <= limit => limit,
            Polling::UpTo(_) => Duration::ZERO,
            Polling::Always => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn short_pauses_are_polled_through_when_they_have_become_usual() {
        let mut pauses = Pauses::new(Polling::UpTo(micros(50)));
        assert_eq!(pauses.poll(), Duration::ZERO);

        (0..8).for_each(|_| pauses.over(micros(10)));

        assert_eq!(pauses.poll(), micros(50));
    }

    #[test]
    fn one_long_pause_changes_little_and_several_end_the_polling() {
        let mut pauses = Pauses::new(Polling::UpTo(micros(50)));
        (0..20).for_each(|_| pauses.over(micros(1)));

        pauses.over(Duration::from_secs(10));
        let after_one = pauses.poll();
        (0..2).for_each(|_| pauses.over(Duration::from_secs(10)));

        assert_eq!(after_one, micros(50));
        assert_eq!(pauses.poll(), Duration::ZERO);
    }

    #[test]
    fn pauses_as_long_as_what_may_be_polled_are_polled_through() {
        let mut pauses = Pauses::new(Polling::UpTo(micros(50)));

        (0..40).for_each(|_| pauses.over(micros(49)));

        assert_eq!(pauses.poll(), micros(50));
    }

    #[test]
    fn zero_never_polls_and_always_does() {
        let mut never = Pauses::new(Polling::UpTo(Duration::ZERO));
        let mut always = Pauses::new(Polling::Always);

        never.over(Duration::ZERO);
        always.over(Duration::from_secs(100));

        assert_eq!(never.poll(), Duration::ZERO);
        assert_eq!(always.poll(), Duration::MAX);
    }

    #[test]
    fn a_time_is_a_number_or_always() {
        assert_eq!("7".parse(), Ok(Polling::UpTo(micros(7))));
        assert_eq!("always".parse(), Ok(Polling::Always));
        assert_eq!("1000001".parse::<Polling>(), Err(PollingError));
        assert_eq!("-1".parse::<Polling>(), Err(PollingError));
    }
}
