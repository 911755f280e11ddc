//! Timers: the free running one and the TCP timer (8.2.3.14).

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, tcptimer},
};
use serde::{Deserialize, Serialize};

use crate::{interrupt::Interrupts, regs::RegisterFile, state::Shift, time::Time};

/// Timers of a port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timers {
    tcp: TcpTimer,
    /// What FRTIMER adds to the time, modulo 2^64 ns: a port that was saved does not see how long.
    lead: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
enum TcpTimer {
    #[default]
    Idle,
    /// Runs out at this time.
    Runs(Time),
    /// Stopped by software with this many ns left.
    Paused(u64),
}

impl Timers {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self { tcp, lead: _ } = self;
        *tcp = TcpTimer::Idle;
    }

    /// When [`Timers::step`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.tcp {
            TcpTimer::Runs(expiry) => Some(expiry),
            TcpTimer::Idle | TcpTimer::Paused(_) => None,
        }
    }

    /// Lets timers run out.
    pub(crate) fn step(&mut self, now: Time, regs: &mut RegisterFile, irq: &mut Interrupts) {
        if let TcpTimer::Runs(expiry) = self.tcp
            && expiry <= now
        {
            irq.other(regs, eicr::TCP_TIMER);
            let control = regs.get(Reg::TCPTIMER, 0);
            let duration = duration_nanos(control);
            self.tcp = if control & tcptimer::LOOP != 0 && duration != 0 {
                TcpTimer::Runs(expiry.plus_nanos(duration).max(now))
            } else {
                TcpTimer::Idle
            };
        }
    }

    /// On another clock.
    pub(crate) fn restored(self, shift: Shift) -> Self {
        let Self { tcp, lead } = self;
        Self {
            tcp: match tcp {
                TcpTimer::Runs(expiry) => TcpTimer::Runs(shift.time(expiry)),
                TcpTimer::Idle | TcpTimer::Paused(_) => tcp,
            },
            lead: lead.wrapping_add(shift.back()),
        }
    }

    /// Reads a register of the time chapter.
    pub(crate) fn read(&self, reg: Reg, index: usize, now: Time, regs: &mut RegisterFile) -> u32 {
        match reg {
            Reg::FRTIMER => {
                let now = Time::from_nanos(now.as_nanos().wrapping_add(self.lead));
                let [a, b, c, d, ..] = now.as_micros().to_le_bytes();
                u32::from_le_bytes([a, b, c, d])
            }
            _ => regs.read(reg, index),
        }
    }

    /// Software has written a register of the time chapter; `new` is what it wrote.
    pub(crate) fn written(
        &mut self,
        reg: Reg,
        new: u32,
        now: Time,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        if reg == Reg::TCPTIMER {
            self.tcp_written(new, now, regs, irq);
        }
    }

    fn tcp_written(&mut self, new: u32, now: Time, regs: &mut RegisterFile, irq: &mut Interrupts) {
        const STORED: u32 = tcptimer::DURATION | tcptimer::COUNT_ENABLE | tcptimer::LOOP;
        regs.set(Reg::TCPTIMER, 0, new & STORED);
        let duration = duration_nanos(new);
        if new & tcptimer::COUNT_FINISH != 0 {
            irq.other(regs, eicr::TCP_TIMER);
        }
        let restart = new & (tcptimer::KICK_START | tcptimer::COUNT_FINISH) != 0;
        let left = match self.tcp {
            _ if restart => Some(duration),
            TcpTimer::Idle => None,
            TcpTimer::Runs(expiry) => {
                Some(u64::try_from(expiry.since(now).as_nanos()).unwrap_or(u64::MAX))
            }
            TcpTimer::Paused(left) => Some(left),
        };
        self.tcp = match left {
            None | Some(0) => TcpTimer::Idle,
            Some(left) if new & tcptimer::COUNT_ENABLE != 0 => TcpTimer::Runs(now.plus_nanos(left)),
            Some(left) => TcpTimer::Paused(left),
        };
    }
}

fn duration_nanos(control: u32) -> u64 {
    u64::from(control & tcptimer::DURATION) * 1_000_000
}
