//! The link: pins and module of the cage, MAC link state, MDIO (3.7, 8.2.3.22).
//!
//! There is a link when there is a carrier, a module of the speed that AUTOC asks for, and nothing that disables it. The
//! first one, and that after a reset, comes up at once; one that was lost comes back after [`TRAINING`], one of a module
//! that was plugged in after [`START_UP`], so that a driver sees that it was gone. The other end does what this one does. The transmit laser (SDP3) does not take the local link
//! down but that of the other end, [`Link::is_lit`].
//!
//! A port of this card has no PHY: the module hangs on the MAC's own serial lane, and nothing answers on MDIO. So it has no
//! loopback in a PHY either. What turns frames round is the MAC (HLREG0.LPBK), the switch between the pools
//! (PFDTXGSWC), or a cable that does, as the wire `loopback`.
//!
//! Not implemented: 100 Mbit/s.

pub(crate) mod flow_control;
mod i2c;
mod module;
mod negotiation;
pub(crate) mod pause;
mod saved;
mod sfp;
mod speed;
#[cfg(test)]
mod tests;

use ixgbe_spec::register::{
    Reg,
    bits::{autoc, autoc2, eicr, esdp, gpie, links, msca, status},
};

use std::time::Duration;

use crate::{interrupt::Interrupts, regs::RegisterFile, time::Time};
use i2c::Slave;
use sfp::Sfp;
use speed::Speed;

pub use module::{Module, UnknownModule};
pub(crate) use saved::Saved;

/// How long a link that was lost is away at least: time enough for a driver's interrupt handler, and less than the half
/// second for which Linux waits for a speed that it tries.
const TRAINING: Duration = Duration::from_millis(250);

/// How long a module takes that was plugged in: more than a driver needs to read its identity bit by bit, which Linux
/// does before it looks at the link.
const START_UP: Duration = Duration::from_secs(1);

/// Link state of a port.
#[derive(Debug, Default)]
pub(crate) struct Link {
    carrier: bool,
    module: Module,
    /// The speed of the link that is up.
    up: Option<Speed>,
    /// When the link can be up again after it was lost.
    trained: Option<Time>,
    /// The module sends: what the other end sees of this one.
    lit: bool,
    /// LINKS bit 7: no loss of the link since it was read.
    up_since_read: bool,
    i2c: Slave,
}

impl Link {
    /// A port with this module in its cage and without a carrier.
    pub(crate) fn new(module: Module) -> Self {
        Self {
            module,
            ..Self::default()
        }
    }

    /// Puts everything back to the state after a reset of the function: the cage keeps its module, the cable its
    /// carrier. The registers have their reset values.
    pub(crate) fn reset(&mut self, regs: &mut RegisterFile) {
        let Self {
            carrier: _,
            module: _,
            up,
            trained,
            lit: _,
            up_since_read,
            i2c: _,
        } = self;
        *up = None;
        *trained = None;
        *up_since_read = false;
        self.pins(regs);
        self.up = self.wanted(regs);
        self.show(regs);
        self.up_since_read = self.is_up();
        self.publish(regs);
    }

    /// Whether the link is up.
    pub(crate) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Whether the module sends, so that the other end of the cable has a link.
    pub(crate) fn is_lit(&self) -> bool {
        self.lit
    }

    /// Whether a cable brings a signal.
    pub(crate) fn has_carrier(&self) -> bool {
        self.carrier
    }

    /// What is in the cage.
    pub(crate) fn module(&self) -> Module {
        self.module
    }

    /// The far end has come or gone.
    pub(crate) fn set_carrier(
        &mut self,
        carrier: bool,
        now: Time,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        self.change(now, regs, irq, |link| link.carrier = carrier);
    }

    /// A module was plugged in or drawn.
    pub(crate) fn set_module(
        &mut self,
        module: Module,
        now: Time,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        if self.module != module && self.module != Module::Absent {
            self.change(now, regs, irq, |link| link.module = Module::Absent);
        }
        if self.module != module {
            self.i2c = Slave::default();
            self.trained = (!is_forced(regs)).then(|| now + START_UP);
            self.change(now, regs, irq, |link| link.module = module);
        }
    }

    /// Changes what is plugged in. A pin that rises is a cause if GPIE enables it, and so is a change of the link.
    fn change(
        &mut self,
        now: Time,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
        change: impl FnOnce(&mut Self),
    ) {
        let before = self.levels();
        change(self);
        self.pins(regs);
        let risen = self.levels() & !before;
        let enabled = regs.get(Reg::GPIE, 0);
        for (pin, enable, cause) in [
            (esdp::SDP1, gpie::SDP1_GPIEN, eicr::GPI_SDP0 << 1),
            (esdp::SDP2, gpie::SDP2_GPIEN, eicr::GPI_SDP0 << 2),
        ] {
            if risen & pin != 0 && enabled & enable != 0 {
                irq.other(regs, cause);
            }
        }
        self.follow(now, regs, irq);
    }

    /// When a link that was lost is trained.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.trained
    }

    /// Time has passed.
    pub(crate) fn step(&mut self, now: Time, regs: &mut RegisterFile, irq: &mut Interrupts) {
        if self.trained.is_some_and(|trained| trained <= now) {
            self.trained = None;
            self.follow(now, regs, irq);
        }
    }

    /// Reads a register of the MAC chapter.
    pub(crate) fn read(&mut self, reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
        let value = regs.read(reg, index);
        if reg == Reg::LINKS {
            self.up_since_read = self.is_up();
            self.publish(regs);
        }
        value
    }

    /// Software has written a register of the MAC chapter, or one of the pins; `value` is what it wrote.
    pub(crate) fn written(
        &mut self,
        reg: Reg,
        value: u32,
        now: Time,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        match reg {
            Reg::ESDP => self.pins(regs),
            Reg::I2CCTL => {
                let sfp = Sfp {
                    module: self.module,
                    receives: self.receives(),
                    may_send: !tx_disable(regs),
                };
                let value = self.i2c.lines(value, &sfp);
                regs.set(Reg::I2CCTL, 0, value);
            }
            Reg::AUTOC => {
                if value & autoc::AN_RESTART != 0 {
                    regs.set(Reg::AUTOC, 0, value & !autoc::AN_RESTART);
                    self.up_since_read = false;
                }
                self.follow(now, regs, irq);
            }
            Reg::AUTOC2 => self.follow(now, regs, irq),
            Reg::MSCA => mdio(regs),
            _ => {}
        }
    }

    /// Whether a signal arrives at a module.
    fn receives(&self) -> bool {
        self.carrier && self.module != Module::Absent
    }

    /// Levels of the pins that the cage drives: SDP1 is its loss of signal, SDP2 the presence of a module.
    fn levels(&self) -> u32 {
        let loss = if self.receives() { 0 } else { esdp::SDP1 };
        let present = match self.module {
            Module::Absent => 0,
            _ => esdp::SDP2,
        };
        loss | present
    }

    /// Inputs of ESDP show their pins. The output SDP3 is the module's TX_DISABLE.
    fn pins(&mut self, regs: &mut RegisterFile) {
        let value = regs.get(Reg::ESDP, 0);
        let inputs = !(value >> esdp::DIRECTION_SHIFT) & (esdp::SDP1 | esdp::SDP2);
        regs.set(Reg::ESDP, 0, value & !inputs | self.levels() & inputs);
        self.update_light(regs);
    }

    fn update_light(&mut self, regs: &RegisterFile) {
        let silenced = self.module.can_be_silenced() && tx_disable(regs);
        self.lit = self.module != Module::Absent && !silenced && !disabled(regs);
    }

    /// Brings the link state up to date; a change is a cause.
    fn follow(&mut self, now: Time, regs: &mut RegisterFile, irq: &mut Interrupts) {
        let before = self.up;
        self.update(now, regs);
        if self.up != before {
            if before.is_some() {
                regs.count(Reg::MLFC, 0, 1);
            }
            irq.other(regs, eicr::LSC);
        }
    }

    /// The speed of the link that can be.
    fn wanted(&self, regs: &RegisterFile) -> Option<Speed> {
        let autoc = regs.get(Reg::AUTOC, 0);
        if is_forced(regs) {
            Some(speed::forced(autoc))
        } else if self.receives() && !disabled(regs) {
            speed::agreed(self.module, autoc)
        } else {
            None
        }
    }

    fn update(&mut self, now: Time, regs: &mut RegisterFile) {
        let wanted = self.wanted(regs);
        if is_forced(regs) {
            self.trained = None;
        } else if self.is_up() && self.up != wanted {
            self.trained = Some(now + TRAINING);
        }
        self.up = wanted.filter(|_| self.trained.is_none());
        self.show(regs);
    }

    /// Shows the state that the link has now.
    fn show(&mut self, regs: &mut RegisterFile) {
        self.up_since_read &= self.is_up();
        self.update_light(regs);
        self.publish(regs);
    }

    /// Writes the state to the registers that show it.
    fn publish(&self, regs: &mut RegisterFile) {
        let mut state = negotiation::publish(self.up, regs);
        let mut device = regs.get(Reg::STATUS, 0) & !status::LINK_UP;
        if let Some(speed) = self.up {
            state |= links::UP | speed.field() << links::SPEED_SHIFT;
            device |= status::LINK_UP;
        }
        if self.up_since_read {
            state |= links::UP_SINCE_READ;
        }
        regs.set(Reg::LINKS, 0, state);
        regs.set(Reg::STATUS, 0, device);
    }
}

/// Whether AUTOC forces the link up.
fn is_forced(regs: &RegisterFile) -> bool {
    regs.get(Reg::AUTOC, 0) & autoc::FLU != 0
}

/// Whether AUTOC2 takes the link down.
fn disabled(regs: &RegisterFile) -> bool {
    regs.get(Reg::AUTOC2, 0) & autoc2::LINK_DISABLE != 0
}

/// The level of the module's pin TX_DISABLE: SDP3 as far as it is an output, else low.
fn tx_disable(regs: &RegisterFile) -> bool {
    let value = regs.get(Reg::ESDP, 0);
    value & value >> esdp::DIRECTION_SHIFT & esdp::SDP3 != 0
}

/// An MDIO cycle (3.7.2.1): no PHY answers on an SFP+ board, so reads give all ones.
fn mdio(regs: &mut RegisterFile) {
    let command = regs.get(Reg::MSCA, 0);
    if command & msca::COMMAND == 0 {
        return;
    }
    regs.set(Reg::MSCA, 0, command & !msca::COMMAND);
    let is_read = command >> msca::OP_SHIFT & msca::OP_MASK >= 2;
    if is_read {
        let data = regs.get(Reg::MSRWD, 0);
        regs.set(Reg::MSRWD, 0, data | 0xFFFF_0000);
    }
}
