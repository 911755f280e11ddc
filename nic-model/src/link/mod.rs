//! The link: pins and module of the cage, MAC link state, MDIO (3.7, 8.2.3.22).
//!
//! The link comes up as soon as there is a carrier, a module, and nothing that disables it: training takes no time.
//! The transmit laser (SDP3) does not take the local link down.

mod i2c;
mod sfp;
#[cfg(test)]
mod tests;

use ixgbe_spec::register::{
    Reg,
    bits::{autoc, autoc2, eicr, esdp, links, msca, pcs1glsta, status},
};

use crate::{interrupt::Interrupts, regs::RegisterFile};
use i2c::Slave;

pub use sfp::Module;

/// Link state of a port.
#[derive(Debug, Default)]
pub(crate) struct Link {
    carrier: bool,
    module: Module,
    up: bool,
    /// LINKS bit 7: no loss of the link since it was read.
    up_since_read: bool,
    i2c: Slave,
}

impl Link {
    /// Puts everything back to the state after a reset of the function: the cage keeps its module, the cable its
    /// carrier. The registers have their reset values.
    pub(crate) fn reset(&mut self, regs: &mut RegisterFile) {
        let Self {
            carrier: _,
            module: _,
            up,
            up_since_read,
            i2c: _,
        } = self;
        *up = false;
        *up_since_read = false;
        self.pins(regs);
        self.update(regs);
        self.up_since_read = self.up;
        self.publish(regs);
    }

    /// Whether the link is up.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// The far end has come or gone.
    pub(crate) fn set_carrier(
        &mut self,
        carrier: bool,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        self.carrier = carrier;
        self.follow(regs, irq);
    }

    /// A module was plugged in or drawn.
    pub(crate) fn set_module(
        &mut self,
        module: Module,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        // SDP2, module present, is the third pin that GPIE can enable.
        const SDP2_ENABLE: u32 = 1 << 2;
        if self.module != module {
            self.module = module;
            self.i2c = Slave::default();
            self.pins(regs);
            if regs.get(Reg::GPIE, 0) & SDP2_ENABLE != 0 {
                irq.other(regs, eicr::GPI_SDP0 << 2);
            }
            self.follow(regs, irq);
        }
    }

    /// Reads a register of the MAC chapter.
    pub(crate) fn read(&mut self, reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
        let value = regs.read(reg, index);
        if reg == Reg::LINKS {
            self.up_since_read = self.up;
            self.publish(regs);
        }
        value
    }

    /// Software has written a register of the MAC chapter, or one of the pins; `value` is what it wrote.
    pub(crate) fn written(
        &mut self,
        reg: Reg,
        value: u32,
        regs: &mut RegisterFile,
        irq: &mut Interrupts,
    ) {
        match reg {
            Reg::ESDP => self.pins(regs),
            Reg::I2CCTL => {
                let value = self.i2c.lines(value, self.module.memory());
                regs.set(Reg::I2CCTL, 0, value);
            }
            Reg::AUTOC => {
                if value & autoc::AN_RESTART != 0 {
                    regs.set(Reg::AUTOC, 0, value & !autoc::AN_RESTART);
                    self.up_since_read = false;
                }
                self.follow(regs, irq);
            }
            Reg::AUTOC2 => self.follow(regs, irq),
            Reg::MSCA => mdio(regs),
            _ => {}
        }
    }

    /// Inputs of ESDP show their pins: SDP2 is the presence of a module.
    fn pins(&self, regs: &mut RegisterFile) {
        let value = regs.get(Reg::ESDP, 0);
        let inputs = !(value >> esdp::DIRECTION_SHIFT) & esdp::DATA;
        let present = match self.module {
            Module::Absent => 0,
            Module::Sr => esdp::SDP2,
        };
        let driven = inputs & esdp::SDP2;
        regs.set(Reg::ESDP, 0, value & !driven | present & driven);
    }

    /// Brings the link state up to date; a change is a cause.
    fn follow(&mut self, regs: &mut RegisterFile, irq: &mut Interrupts) {
        let before = self.up;
        self.update(regs);
        if self.up != before {
            if before {
                regs.count(Reg::MLFC, 0, 1);
            }
            irq.other(regs, eicr::LSC);
        }
    }

    fn update(&mut self, regs: &mut RegisterFile) {
        let forced = regs.get(Reg::AUTOC, 0) & autoc::FLU != 0;
        let disabled = regs.get(Reg::AUTOC2, 0) & autoc2::LINK_DISABLE != 0;
        self.up = forced || self.carrier && self.module != Module::Absent && !disabled;
        self.up_since_read &= self.up;
        self.publish(regs);
    }

    /// Writes the state to the registers that show it.
    fn publish(&self, regs: &mut RegisterFile) {
        let mode = regs.get(Reg::AUTOC, 0) >> autoc::LMS_SHIFT & autoc::LMS_MASK;
        let gigabit = matches!(mode, autoc::LMS_1G | autoc::LMS_1G_AN | autoc::LMS_SGMII);
        let speed = if gigabit {
            links::SPEED_1G
        } else {
            links::SPEED_10G
        };
        let mut state = 0;
        if self.up {
            state |= links::UP | speed << links::SPEED_SHIFT;
        }
        if self.up_since_read {
            state |= links::UP_SINCE_READ;
        }
        regs.set(Reg::LINKS, 0, state);

        let mut device = regs.get(Reg::STATUS, 0) & !status::LINK_UP;
        let mut pcs = 0;
        if self.up {
            device |= status::LINK_UP;
            if gigabit {
                pcs = pcs1glsta::LINK_OK | pcs1glsta::SYNC_OK | pcs1glsta::AN_COMPLETE;
            }
        }
        regs.set(Reg::STATUS, 0, device);
        regs.set(Reg::PCS1GLSTA, 0, pcs);
    }
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
