//! When a fault happens: seeded, so that the same occasions make the same faults.

use std::time::Duration;

use super::{FaultKind, Target};
use crate::time::Time;

/// Faults of a port, on its wire or in its card, that are kept in mind: those at work, and those that are over and whose
/// counts can still be read.
pub const MAX_FAULTS: usize = 64;

/// Which of its occasions a fault takes. An occasion is a frame, an interrupt, an access to memory, ... as
/// [`FaultKind::occasion`] says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trigger {
    /// Where the sequence of chances begins.
    pub seed: u64,
    /// How likely each occasion is taken, 0 to 1.
    pub probability: f64,
    /// The first occasion that may be taken, counted from 1.
    pub nth: Option<u64>,
    /// How many are taken at most. Nothing stands for what [`Trigger::count_for`] says.
    pub count: Option<u64>,
    /// How long the fault lasts; none is taken later, and what lasts ends.
    pub duration: Option<Duration>,
}

impl Trigger {
    /// Every occasion, with this seed.
    #[must_use]
    pub const fn always(seed: u64) -> Self {
        Self {
            seed,
            probability: 1.0,
            nth: None,
            count: None,
            duration: None,
        }
    }

    /// How many occasions a fault of this kind takes at most: what was said, else one if the nth was asked for or the kind
    /// is one that leaves little to happen a second time, else any number.
    #[must_use]
    pub fn count_for(&self, kind: FaultKind) -> Option<u64> {
        let lasts = self.duration.is_some() && !kind.is_state();
        let one = self.nth.is_some() || kind.is_singular() && self.probability >= 1.0 && !lasts;
        self.count.or(one.then_some(1))
    }
}

/// A fault that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where.
    pub target: Target,
    /// When.
    pub trigger: Trigger,
    /// How late what is late comes, how long what is away stays away; else [`FaultKind::usual_delay`].
    pub delay: Option<Duration>,
    /// Time between two occasions of a fault that makes its own; else a second.
    pub every: Option<Duration>,
}

impl Fault {
    /// How late or how long.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay.unwrap_or_else(|| self.kind.usual_delay())
    }

    /// Time between two occasions of a fault that makes its own.
    #[must_use]
    pub fn every(&self) -> Duration {
        self.every.unwrap_or(Duration::from_secs(1))
    }
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultState {
    /// It takes occasions.
    Armed,
    /// It has taken all that it may; what it did may last.
    Spent,
    /// Its time is over.
    Over,
}

/// What there is to say of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultReport {
    /// Its number.
    pub id: u64,
    /// What was asked for.
    pub fault: Fault,
    /// Occasions so far.
    pub seen: u64,
    /// Those that it has taken.
    pub fired: u64,
    /// How far it has come.
    pub state: FaultState,
}

/// There is no room for one more fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_FAULTS} faults are at work already")]
pub struct TooManyFaults;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// The next number, less than `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let number = self.roll().checked_rem(limit as u64).unwrap_or(0);
        usize::try_from(number).unwrap_or(0)
    }

    /// Whether something happens that is so likely.
    fn happens(&mut self, probability: f64) -> bool {
        let [a, b, c, d, ..] = self.roll().to_le_bytes();
        let chance = f64::from(u32::from_le_bytes([a, b, c, d])) / 4_294_967_296.0;
        chance < probability
    }
}

/// A fault at work.
#[derive(Debug)]
pub struct Armed {
    id: u64,
    fault: Fault,
    dice: Dice,
    seen: u64,
    fired: u64,
    count: Option<u64>,
    until: Option<Time>,
    over: bool,
}

impl Armed {
    fn new(id: u64, fault: Fault, now: Time) -> Self {
        Self {
            id,
            fault,
            dice: Dice::new(fault.trigger.seed),
            seen: 0,
            fired: 0,
            count: fault.trigger.count_for(fault.kind),
            until: fault.trigger.duration.map(|duration| now + duration),
            over: false,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What was asked for.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Numbers of its own.
    pub const fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Here is an occasion: whether it is taken. One that comes when the time is over is not, and ends nothing: that is
    /// [`Armed::expire`]'s, whose caller ends what lasts as well.
    pub fn takes(&mut self, now: Time) -> bool {
        let is_late = self.until.is_some_and(|until| until <= now);
        if is_late || self.state() != FaultState::Armed {
            return false;
        }
        self.seen = self.seen.saturating_add(1);
        let early = self.fault.trigger.nth.is_some_and(|nth| self.seen < nth);
        if early || !self.dice.happens(self.fault.trigger.probability) {
            return false;
        }
        self.fired = self.fired.saturating_add(1);
        true
    }

    /// Ends it if its time is over; whether it has just ended.
    pub fn expire(&mut self, now: Time) -> bool {
        let ends = !self.over && self.until.is_some_and(|until| until <= now);
        self.over |= ends;
        ends
    }

    /// When its time is over, if it is not yet.
    #[must_use]
    pub fn end(&self) -> Option<Time> {
        self.until.filter(|_| !self.over)
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> FaultState {
        if self.over {
            FaultState::Over
        } else if self.count.is_some_and(|count| self.fired >= count) {
            FaultState::Spent
        } else {
            FaultState::Armed
        }
    }

    /// Whether it does nothing any more, and nothing of it lasts.
    fn is_idle(&self) -> bool {
        let kind = self.fault.kind;
        let lasts = kind.is_state() || kind == FaultKind::TransmitStuck;
        match self.state() {
            FaultState::Armed => false,
            FaultState::Spent => !lasts,
            // A chip that has lost a bit does not get it back when the time is over, but when the fault is cleared.
            FaultState::Over => kind != FaultKind::NvmCorrupt || self.fired == 0,
        }
    }

    /// What there is to say of it.
    #[must_use]
    pub fn report(&self) -> FaultReport {
        FaultReport {
            id: self.id,
            fault: self.fault,
            seen: self.seen,
            fired: self.fired,
            state: self.state(),
        }
    }
}

/// Faults in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct FaultList(Vec<Armed>);

impl FaultList {
    /// One more. If there is no room, the oldest that does nothing any more is forgotten, and returned.
    ///
    /// # Errors
    /// [`TooManyFaults`]: all are at work.
    pub fn add(
        &mut self,
        id: u64,
        fault: Fault,
        now: Time,
    ) -> Result<Option<Armed>, TooManyFaults> {
        let forgotten = if self.0.len() >= MAX_FAULTS {
            let oldest = self.0.iter().position(Armed::is_idle);
            Some(self.0.remove(oldest.ok_or(TooManyFaults)?))
        } else {
            None
        };
        self.0.push(Armed::new(id, fault, now));
        Ok(forgotten)
    }

    /// Takes out the fault of this number, or all of them.
    pub fn clear(&mut self, id: Option<u64>) -> Vec<Armed> {
        let all = std::mem::take(&mut self.0);
        let (gone, left) = all
            .into_iter()
            .partition(|armed| id.is_none_or(|id| armed.id == id));
        self.0 = left;
        gone
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Armed> {
        self.0.iter()
    }

    /// All of them, to let them take occasions.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Armed> {
        self.0.iter_mut()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(trigger: Trigger) -> Fault {
        Fault {
            kind: FaultKind::Drop,
            target: Target::default(),
            trigger,
            delay: None,
            every: None,
        }
    }

    fn taken(trigger: Trigger, occasions: u64) -> Vec<u64> {
        let mut armed = Armed::new(1, fault(trigger), Time::ZERO);
        (1..=occasions)
            .filter(|_| armed.takes(Time::ZERO))
            .collect()
    }

    #[test]
    fn the_same_seed_takes_the_same_occasions_and_another_takes_others() {
        let of_seed = |seed| Trigger {
            probability: 0.3,
            ..Trigger::always(seed)
        };

        let first = taken(of_seed(7), 1000);

        assert_eq!(first, taken(of_seed(7), 1000));
        assert_ne!(first, taken(of_seed(8), 1000));
        assert!((240..360).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn the_nth_occasion_alone_is_taken_unless_a_count_is_said() {
        let third = Trigger {
            nth: Some(3),
            ..Trigger::always(0)
        };
        let and_next = Trigger {
            count: Some(2),
            ..third
        };

        assert_eq!(taken(third, 10), [3]);
        assert_eq!(taken(and_next, 10), [3, 4]);
    }

    #[test]
    fn certainty_takes_all_and_impossibility_none() {
        let never = Trigger {
            probability: 0.0,
            ..Trigger::always(1)
        };

        assert_eq!(taken(Trigger::always(1), 500).len(), 500);
        assert_eq!(taken(never, 500).len(), 0);
    }

    #[test]
    fn a_fault_whose_time_is_over_takes_nothing() {
        let short = Trigger {
            duration: Some(Duration::from_millis(5)),
            ..Trigger::always(0)
        };
        let mut armed = Armed::new(1, fault(short), Time::ZERO);

        assert!(armed.takes(Time::from_nanos(4_999_999)));
        assert!(!armed.takes(Time::from_nanos(5_000_000)));
        assert!(armed.expire(Time::from_nanos(5_000_000)), "only now");
        assert!(!armed.expire(Time::from_nanos(5_000_000)), "once");
        assert_eq!(armed.report().state, FaultState::Over);
        assert_eq!((armed.report().seen, armed.report().fired), (1, 1));
    }

    #[test]
    fn a_full_list_forgets_what_is_over_and_nothing_else() {
        let mut list = FaultList::default();
        let short = Trigger {
            duration: Some(Duration::ZERO),
            ..Trigger::always(0)
        };
        list.add(0, fault(short), Time::ZERO).unwrap();
        for id in 1..MAX_FAULTS as u64 {
            list.add(id, fault(Trigger::always(0)), Time::ZERO).unwrap();
        }

        let refused = list.add(100, fault(short), Time::ZERO).err();
        list.iter_mut().for_each(|armed| {
            armed.expire(Time::ZERO);
        });
        let forgotten = list.add(101, fault(short), Time::ZERO).unwrap();

        assert_eq!(refused, Some(TooManyFaults));
        assert_eq!(forgotten.map(|armed| armed.id()), Some(0));
        assert_eq!(list.iter().next().map(Armed::id), Some(1));
    }

    #[test]
    fn a_fault_of_the_nvm_whose_time_is_over_is_not_forgotten_with_its_bit() {
        let short = Trigger {
            duration: Some(Duration::from_millis(1)),
            ..Trigger::always(0)
        };
        let corrupt = Fault {
            kind: FaultKind::NvmCorrupt,
            ..fault(short)
        };
        let over = |mut armed: Armed| {
            armed.expire(Time::from_nanos(1_000_000));
            armed
        };
        let mut struck = Armed::new(1, corrupt, Time::ZERO);
        assert!(struck.takes(Time::ZERO));

        assert!(!over(struck).is_idle());
        assert!(over(Armed::new(1, corrupt, Time::ZERO)).is_idle());
    }
}
