//! Which queue sends next when it is not simply each in turn: flow control, DCB and rate limits (7.7.2).
//!
//! A queue whose class is paused (TFCS) or whose rate limit says so waits. Among the others the class is chosen first
//! (`arbiter`), then the queue in it, each in turn or by weight (`weights`).
//!
//! Where the model differs from the card: the card arbitrates twice, when it fetches descriptors (RTTDT2C) and when
//! frames leave its packet buffers (RTTPT2C). Here nothing waits in between, so that there is one choice: that of the
//! packet plane if RTTPCS.TPPAC is set, else that of the descriptor plane if RTTDCS.TDPAC is. Transmit rests while
//! either plane's arbiter is disabled (ARBDIS).

use ixgbe_spec::register::{
    Reg,
    bits::{mtqc, rttdcs, rttpcs, tfcs},
};
use serde::{Deserialize, Serialize};

use super::{
    QUEUES, TURN,
    arbiter::{Arbiter, Recycling, Rules},
    classes::CLASSES,
    classes::Classes,
    pool,
    rate::{Limit, Limits},
    weights::{Weight, Weights},
};
use crate::{
    hw::Hw,
    regs::RegisterFile,
    state::{Shift, StateError, sparse::Sparse},
    time::Time,
};

/// What a frame is taken to be long when a class's credits become frames of a turn.
const USUAL_FRAME: usize = 2048;

/// The choice of queues.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    /// Whether anything but flow control asks for more than each queue in turn.
    is_needed: bool,
    /// RTTDCS.ARBDIS or RTTPCS.ARBDIS.
    rests: bool,
    plane: Option<Plane>,
    /// RTTDCS.VMPAC.
    weighs: bool,
    classes: Classes,
    arbiter: Arbiter,
    weights: Weights,
    limits: Limits,
    /// Queue from which on it is the next one's turn, in each class.
    turns: [u32; CLASSES],
    /// When the first queue that waits for its limit may go on.
    due: Option<Time>,
}

/// Whose credits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plane {
    Descriptor,
    Packet,
}

impl Plane {
    fn rules(self, regs: &RegisterFile) -> Rules {
        let (config, recycles) = match self {
            Self::Descriptor => (Reg::RTTDT2C, regs.get(Reg::RTTDCS, 0) & rttdcs::TDRM != 0),
            Self::Packet => (Reg::RTTPT2C, regs.get(Reg::RTTPCS, 0) & rttpcs::TPRM != 0),
        };
        Rules {
            config,
            recycling: if recycles {
                Recycling::InGroup
            } else {
                Recycling::No
            },
        }
    }

    const fn status(self) -> Reg {
        match self {
            Self::Descriptor => Reg::RTTDT2S,
            Self::Packet => Reg::RTTPT2S,
        }
    }
}

/// The saved form of the choice of queues: what does not follow from registers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    arbiter: Arbiter,
    weights: Sparse<Weight>,
    limits: Sparse<Limit>,
    turns: [u32; CLASSES],
    due: Option<Time>,
}

/// A queue whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub queue: u32,
    class: usize,
    /// Frames that it may send.
    pub frames: usize,
}

impl Scheduler {
    /// Puts everything back to the state after a reset of the function.
    pub(super) fn reset(&mut self) {
        let Self {
            is_needed,
            rests,
            plane,
            weighs,
            classes,
            arbiter,
            weights,
            limits,
            turns,
            due,
        } = self;
        *is_needed = false;
        *rests = false;
        *plane = None;
        *weighs = false;
        *classes = Classes::default();
        arbiter.reset();
        weights.reset();
        limits.reset();
        *turns = [0; CLASSES];
        *due = None;
    }

    /// The saved form.
    pub(super) fn save(&self) -> Saved {
        let Self {
            is_needed: _,
            rests: _,
            plane: _,
            weighs: _,
            classes: _,
            arbiter,
            weights,
            limits,
            turns,
            due,
        } = self;
        Saved {
            arbiter: *arbiter,
            weights: weights.save(),
            limits: limits.save(),
            turns: *turns,
            due: *due,
        }
    }

    /// Of the saved form, and the registers as they stand.
    pub(super) fn restore(
        saved: Saved,
        shift: Shift,
        regs: &RegisterFile,
    ) -> Result<Self, StateError> {
        let Saved {
            arbiter,
            weights,
            limits,
            turns,
            due,
        } = saved;
        let queues = turns.iter().all(|turn| *turn < QUEUES);
        StateError::unless(queues, "turns", "there are 128 queues")?;
        let mut scheduler = Self {
            classes: Classes::of(regs.get(Reg::MTQC, 0)),
            arbiter,
            weights: Weights::restore(weights).map_err(|error| error.within("weights"))?,
            limits: Limits::restore(limits, shift).map_err(|error| error.within("limits"))?,
            turns,
            due: shift.maybe(due),
            ..Self::default()
        };
        scheduler.follow(regs);
        Ok(scheduler)
    }

    /// Software has written MTQC or a register of the chapter `Dcb`.
    pub(super) fn written(&mut self, reg: Reg, new: u32, regs: &mut RegisterFile) {
        let selected = (regs.get(Reg::RTTDQSEL, 0) & (QUEUES - 1)) as usize;
        match reg {
            Reg::MTQC => {
                self.classes = Classes::of(new);
                self.arbiter.reset();
            }
            Reg::RTTDT1C => self.weights.set(selected, new),
            Reg::RTTBCNRC => self.limits.set(selected, new),
            Reg::RTTDQSEL => {
                regs.set(Reg::RTTDT1C, 0, self.weights.control(selected));
                regs.set(Reg::RTTBCNRC, 0, self.limits.control(selected));
            }
            Reg::RTTDCS | Reg::RTTPCS => {}
            _ => return,
        }
        self.publish_weight(regs);
        self.follow(regs);
    }

    /// Takes over what the registers ask for.
    fn follow(&mut self, regs: &RegisterFile) {
        let [descriptor, packet] = [Reg::RTTDCS, Reg::RTTPCS].map(|reg| regs.get(reg, 0));
        self.rests = descriptor & rttdcs::ARBDIS != 0 || packet & rttpcs::ARBDIS != 0;
        self.weighs = descriptor & rttdcs::VMPAC != 0;
        let has_classes = regs.get(Reg::MTQC, 0) & mtqc::RT_ENA != 0;
        self.plane = if has_classes && packet & rttpcs::TPPAC != 0 {
            Some(Plane::Packet)
        } else if has_classes && descriptor & rttdcs::TDPAC != 0 {
            Some(Plane::Descriptor)
        } else {
            None
        };
        self.is_needed =
            self.rests || self.weighs || self.plane.is_some() || !self.limits.is_empty();
    }

    /// Whether each queue simply has its turn.
    #[inline]
    pub(super) fn is_idle(&self, regs: &RegisterFile) -> bool {
        !self.is_needed && regs.get(Reg::TFCS, 0) == tfcs::TC_XON
    }

    /// Those of `queues` that may send now.
    pub(super) fn ready(&mut self, queues: u128, hw: &Hw<'_>) -> u128 {
        let classes = hw.regs.get(Reg::TFCS, 0);
        let queues = if self.rests {
            0
        } else if classes == tfcs::TC_XON {
            queues
        } else {
            queues & self.classes.queues(classes)
        };
        let (waiting, due) = self.limits.waiting(queues, hw.now);
        self.due = due;
        queues & !waiting
    }

    /// The queue of `queues` whose turn it is, if one may send now.
    pub(super) fn next(&mut self, queues: u128, hw: &Hw<'_>) -> Option<Choice> {
        let ready = self.ready(queues, hw);
        if ready == 0 {
            return None;
        }
        let mut frames = TURN;
        let (class, candidates) = match self.plane {
            None => (0, ready),
            Some(plane) => {
                let has = |class: &usize| ready & self.classes.queues(1 << class) != 0;
                let contenders = (0..CLASSES)
                    .filter(has)
                    .fold(0, |all, class| all | 1 << class);
                let class = self.arbiter.next(contenders, plane.rules(hw.regs), hw.regs);
                frames = frames.min((self.arbiter.allowance(class) / USUAL_FRAME).max(1));
                (class, ready & self.classes.queues(1 << class))
            }
        };
        let turn = self.turns.get(class).copied().unwrap_or(0);
        let queue = if self.weighs {
            frames = 1;
            let index = |queue| weight_index(queue, hw.regs);
            self.weights.next(candidates, turn, index)
        } else {
            (turn + candidates.rotate_right(turn).trailing_zeros()) % QUEUES
        };
        if self.limits.has(queue) {
            frames = 1;
        }
        Some(Choice {
            queue,
            class,
            frames,
        })
    }

    /// A queue has had its turn and sent so many bytes; with `idle` it has no more.
    pub(super) fn sent(&mut self, choice: Choice, bytes: usize, idle: bool, hw: &mut Hw<'_>) {
        let Choice { queue, class, .. } = choice;
        if let Some(plane) = self.plane {
            self.arbiter
                .sent(class, bytes, plane.rules(hw.regs), hw.regs);
        }
        self.limits.sent(queue, bytes, idle, hw);
        let goes_on = self.weighs && {
            let index = weight_index(queue, hw.regs);
            self.weights.sent(index, bytes, idle)
        };
        if let Some(turn) = self.turns.get_mut(class) {
            *turn = if goes_on { queue } else { (queue + 1) % QUEUES };
        }
    }

    /// Shows the credits in the status registers.
    pub(super) fn publish(&self, regs: &mut RegisterFile) {
        if let Some(plane) = self.plane {
            for (class, credits) in self.arbiter.credits().into_iter().enumerate() {
                regs.set(plane.status(), class, credits.cast_unsigned());
            }
        }
        if self.weighs {
            self.publish_weight(regs);
        }
    }

    fn publish_weight(&self, regs: &mut RegisterFile) {
        let selected = (regs.get(Reg::RTTDQSEL, 0) & (QUEUES - 1)) as usize;
        let credits = i32::try_from(self.weights.credits(selected)).unwrap_or(i32::MIN);
        regs.set(Reg::RTTDT1S, 0, credits.cast_unsigned());
    }

    /// No queue waits for its limit.
    pub(super) fn rest(&mut self) {
        self.due = None;
    }

    /// When a queue that waits for its limit may go on.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due
    }
}

/// What RTTDQSEL names for the weight of a queue: its pool, where queues belong to pools.
fn weight_index(queue: u32, regs: &RegisterFile) -> usize {
    let queue = queue as usize;
    pool::of_queue(queue, regs).map_or(queue, usize::from)
}
