//! What a checker has found, and who can look at it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ixgbe_spec::register::Reg;

use super::{Access, Range, Rule};
use crate::{
    observe::{Descriptor, Direction},
    time::Time,
};

/// Most findings of a rule that are kept; of more nothing is told.
const MOST: usize = 16;

/// Who has broken a rule, so that each is told of once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The driver of the port as a whole.
    Port,
    /// A register.
    Register {
        /// Its offset in BAR 0.
        offset: u32,
    },
    /// A queue.
    Queue {
        /// Whether it is a transmit queue.
        transmit: bool,
        /// Its number.
        queue: u8,
    },
}

impl Subject {
    /// A queue.
    pub(super) const fn queue(direction: Direction, queue: u8) -> Self {
        Self::Queue {
            transmit: matches!(direction, Direction::Transmit),
            queue,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Port => f.write_str("port"),
            Self::Register { offset } => match Reg::decode(offset) {
                Some((reg, 0)) if reg.count() == 1 => f.write_str(reg.row().name),
                Some((reg, index)) => write!(f, "{}({index})", reg.row().name),
                None => write!(f, "offset {offset:#07x}"),
            },
            Self::Queue { transmit, queue } => {
                let direction = if transmit { "transmit" } else { "receive" };
                write!(f, "{direction} queue {queue}")
            }
        }
    }
}

/// A ring as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingState {
    /// Where it lies.
    pub memory: Range,
    /// Number of its descriptors.
    pub count: u32,
    /// Its head: the card's place.
    pub head: u32,
    /// Its tail, as the driver wrote it last.
    pub tail: u32,
    /// Whether the queue is enabled.
    pub enabled: bool,
}

impl fmt::Display for RingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory,
            count,
            head,
            tail,
            enabled,
        } = self;
        let enabled = if *enabled { "enabled" } else { "disabled" };
        write!(
            f,
            "{memory}, {count} descriptors, head {head}, tail {tail}, {enabled}"
        )
    }
}

/// A breach of a rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Who has broken it.
    pub subject: Subject,
    /// What has happened, with addresses.
    pub what: String,
    /// When it happened first.
    pub time: Time,
    /// The descriptor that it is about.
    pub descriptor: Option<Descriptor>,
    /// The ring that it is about.
    pub ring: Option<RingState>,
    /// The last accesses to the registers of that ring, and the last ones to others; oldest first.
    pub accesses: Vec<Access>,
}

impl fmt::Display for Finding {
    /// Several lines, the first of which says it all in short; without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            subject,
            what,
            time,
            descriptor,
            ring,
            accesses,
        } = self;
        let severity = rule.severity().name();
        write!(f, "{}: {severity}: {subject}: {what}", rule.name())?;
        write!(f, "\n  rule: {}", rule.doc().trim())?;
        write!(f, "\n  datasheet: {}", rule.section())?;
        let micros = time.as_nanos() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "\n  time: {seconds}.{micros:06} s")?;
        if let Some(Descriptor {
            index,
            iova,
            low,
            high,
            ..
        }) = descriptor
        {
            let at = iova.0;
            write!(
                f,
                "\n  descriptor: {index} at {at:#x}: {low:#018x} {high:#018x}"
            )?;
        }
        if let Some(ring) = ring {
            write!(f, "\n  ring: {ring}")?;
        }
        if !accesses.is_empty() {
            write!(f, "\n  last accesses:")?;
        }
        for access in accesses {
            write!(f, "\n    {access}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Kept {
    findings: Vec<Finding>,
    /// How often each was found.
    times: BTreeMap<(Rule, Subject), u64>,
    /// How many of `findings` were taken.
    taken: usize,
}

/// What a checker has found. The checker is in the port; this is for who looks at it, also from another thread.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Kept>>);

impl Findings {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here is left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a breach. Whether it has to be told of: it is the first of its rule and subject.
    pub(super) fn count(&self, rule: Rule, subject: Subject) -> bool {
        let mut kept = self.kept();
        let of_rule = kept.times.keys().filter(|(other, _)| *other == rule);
        let room = of_rule.count() < MOST;
        match kept.times.get_mut(&(rule, subject)) {
            Some(times) => {
                *times += 1;
                false
            }
            None if room => {
                kept.times.insert((rule, subject), 1);
                true
            }
            None => false,
        }
    }

    pub(super) fn add(&self, finding: Finding) {
        self.kept().findings.push(finding);
    }

    /// All findings, oldest first, each with how often it happened; each rule and subject once.
    #[must_use]
    pub fn all(&self) -> Vec<(Finding, u64)> {
        let kept = self.kept();
        let times = |finding: &Finding| {
            let key = (finding.rule, finding.subject);
            kept.times.get(&key).copied().unwrap_or(1)
        };
        kept.findings
            .iter()
            .map(|finding| (finding.clone(), times(finding)))
            .collect()
    }

    /// The findings that have come since this was asked last.
    #[must_use]
    pub fn take_new(&self) -> Vec<Finding> {
        let mut kept = self.kept();
        let new = kept.findings.get(kept.taken..).unwrap_or_default().to_vec();
        kept.taken = kept.findings.len();
        new
    }
}
