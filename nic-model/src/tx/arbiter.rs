//! Which traffic class sends next: weighted strict priority (7.7.2.3).
//!
//! Each class has credits, 64 bytes each. A class of link strict priority sends whenever it has something; otherwise the
//! highest class sends whose credits and whose bandwidth group's credits are above 0. A class of group strict priority
//! goes before the others of its group and may use up what the group has. When no class that has something may send,
//! every class is refilled, up to its limit; what one cannot take, in recycle mode others of its group get. A class
//! without a refill value gets the least there is, so that a driver that forgets one does not lose a queue.

use ixgbe_spec::register::{Reg, bits::rttpt2c as field};
use serde::{Deserialize, Serialize};

use super::classes::CLASSES;
use crate::regs::RegisterFile;

/// Bytes of a credit.
const CREDIT: usize = 64;
/// Refills, each of as many rounds as it takes, after which a class gets its turn in any case.
const MOST_REFILLS: usize = 64;

/// The credits of the traffic classes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arbiter {
    credits: [i32; CLASSES],
}

/// What registers say of the arbitration of a plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// RTTPT2C or RTTDT2C.
    pub config: Reg,
    pub recycling: Recycling,
}

/// Where credits go that a class cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recycling {
    /// Nowhere.
    No,
    /// To other classes of its bandwidth group.
    InGroup,
}

/// Whether a class waits for credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strict {
    /// It does.
    No,
    /// For those of its group only.
    Group,
    /// It does not.
    Link,
}

/// What RTTPT2C, or RTTDT2C, says of a class.
#[derive(Clone, Copy, Debug)]
struct Share {
    refill: i32,
    limit: i32,
    group: u32,
    strict: Strict,
}

impl Share {
    fn of(class: usize, config: Reg, regs: &RegisterFile) -> Self {
        let value = regs.get(config, class);
        let credits = |value: u32| i32::try_from(value).unwrap_or(i32::MAX).max(1);
        let refill = credits(value & field::CRQ);
        Self {
            refill,
            limit: credits(value >> field::MCL_SHIFT & field::MCL_MASK).max(refill),
            group: value >> field::BWG_SHIFT & field::BWG_MASK,
            strict: if value & field::LSP != 0 {
                Strict::Link
            } else if value & field::GSP != 0 {
                Strict::Group
            } else {
                Strict::No
            },
        }
    }
}

impl Arbiter {
    /// Forgets all credits.
    pub(super) fn reset(&mut self) {
        let Self { credits } = self;
        *credits = [0; CLASSES];
    }

    /// The class that sends next of those with a bit in `contenders`, as `rules` say.
    pub(super) fn next(&mut self, contenders: u32, rules: Rules, regs: &RegisterFile) -> usize {
        let shares = std::array::from_fn(|class| Share::of(class, rules.config, regs));
        for _ in 0..MOST_REFILLS {
            if let Some(class) = self.choose(contenders, &shares) {
                return class;
            }
            let rounds = self.rounds_without(contenders, &shares, rules.recycling);
            self.refill(rounds, &shares, rules.recycling);
        }
        highest(contenders, |_| true).unwrap_or(0)
    }

    /// Rounds of refill of which all but the last leave every contender without a turn: a long packet may have cost
    /// thousands of them.
    fn rounds_without(
        &self,
        contenders: u32,
        shares: &[Share; CLASSES],
        recycling: Recycling,
    ) -> i32 {
        let rounds = |class: usize| {
            let share = shares[class];
            let (mut credits, mut refill) = (0_i32, 0_i32);
            for (member, credit) in shares.iter().zip(self.credits) {
                if member.group == share.group {
                    credits = credits.saturating_add(credit);
                    refill = refill.saturating_add(member.refill);
                }
            }
            let of_group = rounds_until_positive(credits, refill);
            let own = match (share.strict, recycling) {
                (Strict::Group, _) => 1,
                // Others of its group may leave it all of theirs.
                (_, Recycling::InGroup) => rounds_until_positive(self.credits[class], refill),
                (_, Recycling::No) => rounds_until_positive(self.credits[class], share.refill),
            };
            of_group.max(own)
        };
        let contenders = (0..CLASSES).filter(|class| contenders >> class & 1 == 1);
        contenders.map(rounds).min().unwrap_or(1)
    }

    /// Lets so many rounds of refill pass.
    fn refill(&mut self, rounds: i32, shares: &[Share; CLASSES], recycling: Recycling) {
        // What is left over in each group.
        let mut over = [0_i32; CLASSES];
        for (credits, share) in self.credits.iter_mut().zip(shares) {
            let full = credits.saturating_add(share.refill.saturating_mul(rounds));
            *credits = full.min(share.limit);
            if let Some(over) = over.get_mut(share.group as usize) {
                *over = over.saturating_add(full - *credits);
            }
        }
        if recycling == Recycling::No {
            return;
        }
        for (credits, share) in self.credits.iter_mut().zip(shares).rev() {
            if let Some(over) = over.get_mut(share.group as usize) {
                let more = share.limit.saturating_sub(*credits).min(*over);
                *credits += more;
                *over -= more;
            }
        }
    }

    fn choose(&self, contenders: u32, shares: &[Share; CLASSES]) -> Option<usize> {
        let strict = highest(contenders, |class| shares[class].strict == Strict::Link);
        if strict.is_some() {
            return strict;
        }
        let of_group = |group: u32| {
            let members = self.credits.iter().zip(shares);
            members
                .filter(|(_, share)| share.group == group)
                .map(|(credits, _)| *credits)
                .fold(0, i32::saturating_add)
        };
        let may_send = |class: usize| {
            let share = shares[class];
            let own = share.strict == Strict::Group || self.credits[class] > 0;
            own && of_group(share.group) > 0
        };
        let class = highest(contenders, may_send)?;
        let group = shares[class].group;
        let first = |class: usize| {
            shares[class].group == group && shares[class].strict == Strict::Group && may_send(class)
        };
        Some(highest(contenders, first).unwrap_or(class))
    }

    /// How many bytes a class may send before the next choice.
    pub(super) fn allowance(&self, class: usize) -> usize {
        let credits = self.credits.get(class).copied().unwrap_or(0);
        usize::try_from(credits).unwrap_or(0) * CREDIT
    }

    /// A class has sent so many bytes.
    pub(super) fn sent(&mut self, class: usize, bytes: usize, rules: Rules, regs: &RegisterFile) {
        if Share::of(class, rules.config, regs).strict == Strict::Link {
            return;
        }
        let cost = i32::try_from(bytes.div_ceil(CREDIT)).unwrap_or(i32::MAX);
        if let Some(credits) = self.credits.get_mut(class) {
            *credits = credits.saturating_sub(cost);
        }
    }

    /// The credits of each class, for the status registers.
    pub(super) fn credits(&self) -> [i32; CLASSES] {
        self.credits
    }
}

/// The highest class with a bit in `classes` for which `condition` holds.
fn highest(classes: u32, condition: impl Fn(usize) -> bool) -> Option<usize> {
    (0..CLASSES)
        .rev()
        .find(|class| classes >> class & 1 == 1 && condition(*class))
}

/// Rounds after which `credits` are above 0 when each adds `refill`, which is at least 1; 1 at least.
fn rounds_until_positive(credits: i32, refill: i32) -> i32 {
    credits.min(0).saturating_neg() / refill.max(1) + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        config: Reg::RTTPT2C,
        recycling: Recycling::No,
    };

    /// Registers with refill `n + 1` and limit 511 for class `n`, two classes a group.
    fn registers() -> RegisterFile {
        let mut regs = RegisterFile::default();
        for class in 0..8 {
            let group = class / 2;
            let value = (class + 1) | 511 << field::MCL_SHIFT | group << field::BWG_SHIFT;
            regs.set(Reg::RTTPT2C, class as usize, value);
        }
        regs
    }

    proptest! {
        #[test]
        fn many_rounds_at_once_choose_as_one_after_the_other(
            credits: [i16; CLASSES],
            contenders in 1_u32..256,
        ) {
            let regs = registers();
            let shares = std::array::from_fn(|class| Share::of(class, RULES.config, &regs));
            let credits = credits.map(|credits| i32::from(credits).min(500));
            let mut slow = Arbiter { credits };
            let expected = loop {
                if let Some(class) = slow.choose(contenders, &shares) {
                    break class;
                }
                slow.refill(1, &shares, Recycling::No);
            };

            let mut arbiter = Arbiter { credits };
            let class = arbiter.next(contenders, RULES, &regs);

            prop_assert_eq!((class, arbiter.credits), (expected, slow.credits));
        }
    }

    #[test]
    fn a_class_that_owes_much_has_its_turn_again_alone() {
        let regs = registers();
        let mut arbiter = Arbiter {
            credits: [-1_000_000; CLASSES],
        };

        let class = arbiter.next(1, RULES, &regs);

        assert_eq!((class, arbiter.credits[0] > 0), (0, true));
    }
}
