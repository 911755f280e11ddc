//! The NVM: its words, the register that reads them, and the pins of its chip (6, 8.2.3.2).
//!
//! Software writes it by the pins alone: the 82599 has no register for that, and EEWR of later chips only holds what is
//! written. What is written lasts as long as the server.
//!
//! Not implemented: the flash (its pins are granted and nobody answers), and the firmware's own ways to both.

mod image;
mod spi;
#[cfg(test)]
mod tests;

use ixgbe_spec::{
    nvm::{CORE_SECTION_POINTER, WORDS},
    register::{
        Reg,
        bits::{eec, eerd, fla},
    },
};

use crate::{
    port::{LanId, PortConfig},
    regs::RegisterFile,
};
use spi::Spi;

/// The NVM chip of a port.
#[derive(Debug)]
pub(crate) struct Nvm {
    words: Vec<u16>,
    spi: Spi,
}

impl Nvm {
    /// A chip as the factory delivers it.
    pub(crate) fn new(config: &PortConfig) -> Self {
        Self {
            words: image::factory(config),
            spi: Spi::default(),
        }
    }

    /// Puts the pins back. The words stay.
    pub(crate) fn reset(&mut self) {
        let Self { words: _, spi } = self;
        *spi = Spi::default();
    }

    /// The port's MAC address, if the NVM has one.
    pub(crate) fn mac(&self, lan_id: LanId) -> Option<[u8; 6]> {
        let pointer = self.word(CORE_SECTION_POINTER + lan_id.index())?;
        let word = |n| self.word(usize::from(pointer) + n).map(u16::to_le_bytes);
        let ([a, b], [c, d], [e, f]) = (word(1)?, word(2)?, word(3)?);
        Some([a, b, c, d, e, f])
    }

    fn word(&self, address: usize) -> Option<u16> {
        self.words.get(address).copied()
    }

    /// Software has written a register of the NVM chapter; `value` is what it wrote.
    pub(crate) fn written(&mut self, reg: Reg, value: u32, regs: &mut RegisterFile) {
        match reg {
            Reg::EERD if value & eerd::START != 0 => {
                let address = value >> eerd::ADDR_SHIFT & eerd::ADDR_MASK;
                let word = self.word(address as usize).unwrap_or(0xFFFF);
                regs.set(
                    Reg::EERD,
                    0,
                    u32::from(word) << eerd::DATA_SHIFT | address << eerd::ADDR_SHIFT | eerd::DONE,
                );
            }
            Reg::EEC => self.pins(regs),
            Reg::FLA => {
                let granted = if value & fla::REQ != 0 { fla::GNT } else { 0 };
                regs.set(Reg::FLA, 0, value & !fla::GNT | granted | fla::SO);
            }
            _ => {}
        }
    }

    /// Software has moved the pins of the chip.
    fn pins(&mut self, regs: &mut RegisterFile) {
        let value = regs.get(Reg::EEC, 0) & !(eec::GNT | eec::DO);
        if value & eec::REQ == 0 {
            self.spi = Spi::default();
            regs.set(Reg::EEC, 0, value);
            return;
        }
        let data_out = self.spi.pins(value, &mut self.words);
        let data_out = if data_out { eec::DO } else { 0 };
        regs.set(Reg::EEC, 0, value | eec::GNT | data_out);
    }
}

const _: () = assert!(WORDS == 1 << (7 + 6), "EEC.SIZE is 7");
