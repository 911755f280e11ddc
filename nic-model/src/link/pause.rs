//! What the other end of the cable asks of transmit: to be silent, as a whole or by priority (3.7.7.1).
//!
//! A PAUSE frame silences the whole link, a priority flow control frame the traffic classes of the priorities that it
//! names (RTTUP2TC, 7.7.2), for as many quanta as it says. Each priority has its timer: a class may send when those of all
//! its priorities are over. TFCS shows which classes may, and transmit goes by it. When a kind of flow control is
//! switched off in MFLCN, its timers end.

use ixgbe_spec::register::{
    Reg,
    bits::{mflcn, tfcs},
};
use serde::{Deserialize, Serialize};

use super::flow_control::quanta_nanos;
use crate::{regs::RegisterFile, state::Shift, time::Time};

/// Number of priorities, and of traffic classes.
const PRIORITIES: usize = 8;

/// Until when transmit has to be silent.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pauses {
    link: Option<Time>,
    priorities: [Option<Time>; PRIORITIES],
}

impl Pauses {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self { link, priorities } = self;
        *link = None;
        *priorities = [None; PRIORITIES];
    }

    /// On another clock.
    pub(crate) fn restored(self, shift: Shift) -> Self {
        let Self { link, priorities } = self;
        Self {
            link: shift.maybe(link),
            priorities: priorities.map(|until| shift.maybe(until)),
        }
    }

    /// A PAUSE frame of so many quanta has come; 0 ends a pause.
    pub(crate) fn link(&mut self, quanta: u16, now: Time, regs: &mut RegisterFile) {
        self.link = Some(now.plus_nanos(quanta_nanos(quanta, regs)));
        self.step(now, regs);
    }

    /// A priority flow control frame has come with so many quanta for a priority; 0 ends its pause.
    pub(crate) fn priority(
        &mut self,
        priority: usize,
        quanta: u16,
        now: Time,
        regs: &mut RegisterFile,
    ) {
        if let Some(until) = self.priorities.get_mut(priority) {
            *until = Some(now.plus_nanos(quanta_nanos(quanta, regs)));
        }
        self.step(now, regs);
    }

    /// Lets pauses end, and says in TFCS which classes may send.
    #[inline]
    pub(crate) fn step(&mut self, now: Time, regs: &mut RegisterFile) {
        if self.link.is_some() || self.priorities.iter().any(Option::is_some) {
            self.end(now, regs);
        }
    }

    fn end(&mut self, now: Time, regs: &mut RegisterFile) {
        let settings = regs.get(Reg::MFLCN, 0);
        let lasts = |enable: u32, until: Option<Time>| {
            until.filter(|until| *until > now && settings & enable != 0)
        };
        self.link = lasts(mflcn::RFCE, self.link);
        let mut may_send = if self.link.is_some() { 0 } else { tfcs::TC_XON };
        let classes = regs.get(Reg::RTTUP2TC, 0);
        for (priority, until) in self.priorities.iter_mut().enumerate() {
            *until = lasts(mflcn::RPFCE, *until);
            if until.is_some() {
                may_send &= !(1 << (classes >> (3 * priority) & 7));
            }
        }
        regs.set(Reg::TFCS, 0, may_send);
    }

    /// When the next pause ends.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let priorities = self.priorities.into_iter().flatten().min();
        self.link.into_iter().chain(priorities).min()
    }
}
