//! Timers: the free running one, the TCP timer, and the system time of IEEE 1588 (8.2.3.14, 8.2.3.16).
//!
//! Not implemented: time adjustment, target times, timestamps, the slower tick at 1 Gbit/s.

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, tcptimer},
};

use crate::{interrupt::Interrupts, regs::RegisterFile, time::Time};

/// Timers of a port.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    tcp: TcpTimer,
    system: SystemTime,
}

#[derive(Clone, Copy, Debug, Default)]
enum TcpTimer {
    #[default]
    Idle,
    /// Runs out at this time.
    Runs(Time),
    /// Stopped by software with this many ns left.
    Paused(u64),
}

/// The counter SYSTIM: `value` at the time `since`.
#[derive(Clone, Copy, Debug, Default)]
struct SystemTime {
    value: u64,
    since: Time,
    /// High half as it was when the low half was read.
    high: u32,
}

impl Timers {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self { tcp, system } = self;
        *tcp = TcpTimer::Idle;
        *system = SystemTime::default();
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

    /// Reads a register of the time chapter.
    pub(crate) fn read(
        &mut self,
        reg: Reg,
        index: usize,
        now: Time,
        regs: &mut RegisterFile,
    ) -> u32 {
        match reg {
            Reg::FRTIMER => halves(now.as_micros()).0,
            Reg::SYSTIML => {
                let (low, high) = halves(self.system.at(now, regs.get(Reg::TIMINCA, 0)));
                self.system.high = high;
                low
            }
            Reg::SYSTIMH => self.system.high,
            _ => regs.read(reg, index),
        }
    }

    /// Software has written a register of the time chapter; `old` is its value before and `new` what software wrote.
    pub(crate) fn written(
        &mut self,
        reg: Reg,
        old: u32,
        new: u32,
        now: Time,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        match reg {
            Reg::TCPTIMER => self.tcp_written(new, now, regs, irq),
            Reg::TIMINCA => {
                self.system.value = self.system.at(now, old);
                self.system.since = now;
            }
            Reg::SYSTIML | Reg::SYSTIMH => {
                let (low, high) = halves(self.system.at(now, regs.get(Reg::TIMINCA, 0)));
                let (low, high) = if reg == Reg::SYSTIML {
                    (new, high)
                } else {
                    (low, new)
                };
                self.system = SystemTime {
                    value: u64::from(high) << 32 | u64::from(low),
                    since: now,
                    high,
                };
            }
            _ => {}
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

impl SystemTime {
    /// The counter at `now`: with a period `p` and a value `v` in TIMINCA it grows by `v` every `p` ticks of 6.4 ns.
    fn at(self, now: Time, timinca: u32) -> u64 {
        let (value, period) = (timinca & 0x00FF_FFFF, timinca >> 24);
        if period == 0 {
            return self.value;
        }
        // 64-bit nanoseconds, so neither the tenths of them nor the ticks overflow.
        let tenths = now.since(self.since).as_nanos() * 10;
        let steps = u64::try_from(tenths / (64 * u128::from(period))).unwrap_or(u64::MAX);
        self.value
            .wrapping_add(steps.wrapping_mul(u64::from(value)))
    }
}

fn duration_nanos(control: u32) -> u64 {
    u64::from(control & tcptimer::DURATION) * 1_000_000
}

/// Low and high half.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}
