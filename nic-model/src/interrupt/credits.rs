//! Credits for low latency interrupts (7.3.2.3): how often a vector may signal before its interval is over.
//!
//! A vector whose EITR says so pays a credit for each low latency interrupt, and without one waits for the next, or for
//! the end of its interval. All vectors get a credit every GPIE.LL_INTERVAL, and save up 31. An interval of 0 turns all of
//! this off.

use ixgbe_spec::register::{
    Reg,
    bits::{
        eitr::{LLI_CREDIT_MASK, LLI_CREDIT_SHIFT},
        gpie::{LL_INTERVAL_NANOS, LL_INTERVAL_SHIFT},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    regs::RegisterFile,
    state::{
        Shift, StateError,
        sparse::{self, Sparse},
    },
    time::Time,
};

/// The credits of each of EITR 0 to 63.
#[derive(Debug)]
pub(super) struct Credits {
    /// Nanoseconds between two of them; 0: none are given.
    interval: u64,
    vectors: [Account; Self::COUNTERS],
}

/// What a vector had at some time; what it has got since is counted when it is looked at.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    credits: u64,
    since: Time,
}

impl Default for Credits {
    fn default() -> Self {
        let empty = Account {
            credits: 0,
            since: Time::ZERO,
        };
        Self {
            interval: 0,
            vectors: [empty; Self::COUNTERS],
        }
    }
}

impl Credits {
    /// The saved form: who has, or is owed, any.
    pub(super) fn save(&self) -> Sparse<Account> {
        let usual = Account {
            credits: 0,
            since: Time::ZERO,
        };
        sparse::save(&self.vectors, |account| {
            (*account != usual).then_some(*account)
        })
    }

    /// Of the saved form; the interval is that of GPIE.
    ///
    /// # Errors
    /// A vector that there is not, or more credits than one can have.
    pub(super) fn restore(
        saved: Sparse<Account>,
        shift: Shift,
        regs: &RegisterFile,
    ) -> Result<Self, StateError> {
        let mut credits = Self {
            interval: interval_of(regs.get(Reg::GPIE, 0)),
            ..Self::default()
        };
        for account in &mut credits.vectors {
            account.since = shift.time(account.since);
        }
        sparse::restore(saved, &mut credits.vectors, |account, place| {
            let few = account.credits <= Self::MOST;
            StateError::unless(few, "credits", format!("there are {} at most", Self::MOST))?;
            *place = Account {
                since: shift.time(account.since),
                ..account
            };
            Ok(())
        })?;
        Ok(credits)
    }

    const COUNTERS: usize = 64;
    const MOST: u64 = LLI_CREDIT_MASK as u64;

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether low latency interrupts cost anything.
    pub(super) const fn are_given(&self) -> bool {
        self.interval != 0
    }

    /// The credits of `vector`.
    pub(super) fn of(&self, vector: usize, now: Time) -> u32 {
        let account = self.vectors.get(vector);
        let credits = account.map_or(0, |account| self.credits(account, now));
        u32::try_from(credits).unwrap_or(0)
    }

    /// When `vector` gets its next credit, if it has none.
    pub(super) fn next(&self, vector: usize, now: Time) -> Option<Time> {
        let account = self.vectors.get(vector)?;
        let empty = self.are_given() && self.credits(account, now) == 0;
        empty.then(|| account.since.plus_nanos(self.interval))
    }

    /// `vector` pays one.
    pub(super) fn spend(&mut self, vector: usize, now: Time) {
        self.settle(now, Some(vector));
        if let Some(account) = self.vectors.get_mut(vector) {
            account.credits = account.credits.saturating_sub(1);
        }
    }

    /// Software has written EITR of `vector` with its counters.
    pub(super) fn written(&mut self, vector: usize, value: u32, now: Time) {
        if let Some(account) = self.vectors.get_mut(vector) {
            let credits = value >> LLI_CREDIT_SHIFT & LLI_CREDIT_MASK;
            *account = Account {
                credits: credits.into(),
                since: now,
            };
        }
    }

    /// Software has written GPIE.
    pub(super) fn interval_written(&mut self, value: u32, now: Time) {
        let interval = interval_of(value);
        if interval == self.interval {
            return;
        }
        self.settle(now, None);
        for account in &mut self.vectors {
            account.since = now;
        }
        self.interval = interval;
    }

    /// Adds what has been got until now: to one account or to all.
    fn settle(&mut self, now: Time, vector: Option<usize>) {
        let accounts = 0..Self::COUNTERS;
        for index in accounts.filter(|index| vector.is_none_or(|vector| vector == *index)) {
            let Some(account) = self.vectors.get(index).copied() else {
                continue;
            };
            let got = self.got(&account, now);
            let settled = Account {
                credits: self.credits(&account, now),
                // A full account gets its next credit an interval after one was taken.
                since: if account.credits + got >= Self::MOST {
                    now
                } else {
                    account.since.plus_nanos(got * self.interval)
                },
            };
            if let Some(account) = self.vectors.get_mut(index) {
                *account = settled;
            }
        }
    }

    fn credits(&self, account: &Account, now: Time) -> u64 {
        account
            .credits
            .saturating_add(self.got(account, now))
            .min(Self::MOST)
    }

    /// Credits since the account was settled, as many as fit at most.
    fn got(&self, account: &Account, now: Time) -> u64 {
        let nanos = now.as_nanos().saturating_sub(account.since.as_nanos());
        let got = nanos.checked_div(self.interval).unwrap_or(0);
        got.min(Self::MOST)
    }
}

/// What GPIE says of the interval, in ns.
fn interval_of(gpie: u32) -> u64 {
    u64::from(gpie >> LL_INTERVAL_SHIFT & 0xF) * LL_INTERVAL_NANOS
}
