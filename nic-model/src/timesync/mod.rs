//! Time synchronisation by IEEE 1588 and IEEE 802.1AS (7.9): the system time, and the time stamps of messages.
//!
//! SYSTIM counts in units that software chooses by TIMINCA, on a clock whose tick depends on the speed of the link. A
//! stamp is SYSTIM at the time of the call in which a frame is received or sent, and it stays, and keeps others out,
//! until software reads its high half.
//!
//! # Choices where the datasheet leaves one
//! - A partly passed tick is not lost when TIMINCA is written. It begins anew when the counter has stood still.
//! - Of a packet that is segmented, the first segment is stamped.
//! - A received frame is stamped when it passes the filters. If it is dropped later, for want of a descriptor, the
//!   stamp stays, which drivers know (`ixgbe_ptp_rx_hang`).
//! - A version 2 message's id is the low half of its first byte, so that 802.1AS messages are recognised, too.
//! - Target time 0 is at SDP0 and target time 1 at SDP1, if ESDP makes the pin an output with its native function. The
//!   chip has no interrupt for target times; that of the pin (GPIE, EICR) tells of a rise. EN_TT clears itself.
//! - Auxiliary time stamp 0 is taken when SDP0 changes and 1 when SDP1 does, if ESDP makes the pin an input with its
//!   native function. The bits of TSAUXC for them are those of the chip's 1 Gbit/s relatives.
//!
//! # What is not implemented
//! The clock output of the successors: FREQOUT holds what is written, and so do the other bits of TSAUXC.

mod auxiliary;
mod clock;
mod message;
mod target;
#[cfg(test)]
mod tests;

use ixgbe_spec::register::{
    Reg,
    bits::{links, tsyncrxctl, tsynctxctl},
};
use serde::{Deserialize, Serialize};

use crate::{
    interrupt::Interrupts,
    regs::RegisterFile,
    rx::header::Headers,
    state::{Shift, StateError},
    time::Time,
};
use clock::{Clock, Tick};
use message::Message;

/// The system time of a port.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeSync {
    clock: Clock,
    /// SYSTIMH as it was when SYSTIML was read.
    high: u32,
    /// When the next target time is reached.
    deadline: Option<Time>,
    /// Levels of the pins that have auxiliary time stamps.
    pins: u32,
}

impl TimeSync {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self {
            clock,
            high,
            deadline,
            // They do not change. Stamps are off after a reset.
            pins: _,
        } = self;
        *clock = Clock::default();
        *high = 0;
        *deadline = None;
    }

    /// Lets the clock follow the speed of the link, and stamps changes of the pins.
    #[inline]
    pub(crate) fn follow(&mut self, now: Time, regs: &mut RegisterFile) {
        let pins = regs.get(Reg::ESDP, 0) & auxiliary::PINS;
        if pins != self.pins {
            auxiliary::changed(pins ^ self.pins, self.clock.at(now), regs);
            self.pins = pins;
        }
        let links = regs.get(Reg::LINKS, 0);
        let tick = match links >> links::SPEED_SHIFT & links::SPEED_MASK {
            _ if links & links::UP == 0 => Tick::TenGigabit,
            links::SPEED_1G => Tick::Gigabit,
            links::SPEED_100M => Tick::Fast,
            _ => Tick::TenGigabit,
        };
        if self.clock.set_tick(tick, now) {
            self.deadline = target::next(&self.clock, regs);
        }
    }

    /// As it is at `now`.
    pub(crate) fn saved(&self, now: Time) -> Self {
        let mut saved = self.clone();
        saved.clock.advance(now);
        saved
    }

    /// On another clock.
    ///
    /// # Errors
    /// The system time ticks as it cannot.
    pub(crate) fn restored(self, shift: Shift) -> Result<Self, StateError> {
        let Self {
            clock,
            high,
            deadline,
            pins,
        } = self;
        Ok(Self {
            clock: clock
                .restored(shift)
                .map_err(|error| error.within("clock"))?,
            high,
            deadline: shift.maybe(deadline),
            pins,
        })
    }

    /// When [`TimeSync::step`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Does what is to be done at target times.
    #[inline]
    pub(crate) fn step(&mut self, now: Time, regs: &mut RegisterFile, irq: &mut Interrupts) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            target::reached(&self.clock, now, regs, irq);
            self.deadline = target::next(&self.clock, regs);
        }
    }

    /// Reads a register of the chapter.
    pub(crate) fn read(
        &mut self,
        reg: Reg,
        index: usize,
        now: Time,
        regs: &mut RegisterFile,
    ) -> u32 {
        match reg {
            Reg::SYSTIML => {
                let (low, high) = halves(self.clock.at(now));
                self.high = high;
                return low;
            }
            Reg::SYSTIMH => return self.high,
            Reg::RXSTMPH => clear(regs, Reg::TSYNCRXCTL, tsyncrxctl::VALID),
            Reg::TXSTMPH => clear(regs, Reg::TSYNCTXCTL, tsynctxctl::VALID),
            Reg::AUXSTMPH0 => auxiliary::free(0, regs),
            Reg::AUXSTMPH1 => auxiliary::free(1, regs),
            _ => {}
        }
        regs.read(reg, index)
    }

    /// Software has written a register of the chapter; `new` is its value.
    pub(crate) fn written(&mut self, reg: Reg, new: u32, now: Time, regs: &RegisterFile) {
        let (low, high) = halves(self.clock.at(now));
        match reg {
            Reg::TIMINCA => self.clock.set_attributes(new, now),
            Reg::SYSTIML => self.clock.set(whole(new, high), now),
            Reg::SYSTIMH => {
                self.high = new;
                self.clock.set(whole(low, new), now);
            }
            Reg::TIMADJH => self.clock.adjust(regs.get(Reg::TIMADJL, 0), new, now),
            _ => {}
        }
        // A target that is past already is due now, and not when the clock was last looked at.
        self.clock.advance(now);
        self.deadline = target::next(&self.clock, regs);
    }

    /// A packet that wants a time stamp (MAC.1588) has left.
    pub(crate) fn transmitted(&self, now: Time, regs: &mut RegisterFile) {
        let control = regs.get(Reg::TSYNCTXCTL, 0);
        if control & (tsynctxctl::EN | tsynctxctl::VALID) != tsynctxctl::EN {
            return;
        }
        let (low, high) = halves(self.clock.at(now));
        regs.set(Reg::TXSTMPL, 0, low);
        regs.set(Reg::TXSTMPH, 0, high);
        regs.set(Reg::TSYNCTXCTL, 0, control | tsynctxctl::VALID);
    }

    /// Whether received frames have to be shown to [`TimeSync::received`].
    #[inline]
    pub(crate) fn stamps_received(regs: &RegisterFile) -> bool {
        let control = regs.get(Reg::TSYNCRXCTL, 0);
        control & (tsyncrxctl::EN | tsyncrxctl::VALID) == tsyncrxctl::EN
    }

    /// A good frame has come in. `by_filter` says that an ethertype filter with the 1588 bit matches it. Takes its time
    /// stamp if it is a message that is wanted; returns whether it was taken.
    pub(crate) fn received(
        &self,
        window: &[u8],
        headers: &Headers,
        by_filter: bool,
        now: Time,
        regs: &mut RegisterFile,
    ) -> bool {
        let message = Message::find(window, headers, by_filter, regs);
        let Some(message) = message.filter(|message| message.is_wanted(regs)) else {
            return false;
        };
        let (low, high) = halves(self.clock.at(now));
        let [a, b, c, d, e, f] = message.source;
        let [g, h] = message.sequence;
        regs.set(Reg::RXSTMPL, 0, low);
        regs.set(Reg::RXSTMPH, 0, high);
        regs.set(Reg::RXSATRL, 0, u32::from_le_bytes([a, b, c, d]));
        regs.set(Reg::RXSATRH, 0, u32::from_le_bytes([e, f, g, h]));
        let control = regs.get(Reg::TSYNCRXCTL, 0);
        regs.set(Reg::TSYNCRXCTL, 0, control | tsyncrxctl::VALID);
        true
    }
}

fn clear(regs: &mut RegisterFile, reg: Reg, bits: u32) {
    regs.set(reg, 0, regs.get(reg, 0) & !bits);
}

fn whole(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Low and high half.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}
