//! The NVM: its words, the register that reads them, and the pins of its chip (6, 8.2.3.2).
//!
//! Software writes it by the pins alone: the 82599 has no register for that, and EEWR of later chips only holds what is
//! written. What is written lasts as long as the server.
//!
//! The two ports of a card share the chip; each has its own registers before it.
//!
//! The card has no flash: its pins are granted and nobody answers. The registers by which firmware reaches the two
//! (EEMNGCTL, FLMNGCTL and their data) are not software's.

mod image;
mod spi;
#[cfg(test)]
mod tests;
mod vpd;

use ixgbe_spec::{
    nvm::{CORE_SECTION_POINTER, VPD_POINTER, WORDS},
    register::{
        Reg,
        bits::{eec, eerd, fla},
    },
};

use crate::{
    card::Card,
    port::{LanId, PortConfig},
    regs::RegisterFile,
};
use spi::Spi;

/// The NVM chip of a card, which its ports share: what one writes the other reads, and one at a time has the pins.
#[derive(Debug)]
pub(crate) struct Chip {
    words: Vec<u16>,
    spi: Spi,
    /// Who has the pins (EEC.GNT).
    granted: Option<LanId>,
}

impl Chip {
    /// A chip as the factory delivers it for a card with these ports.
    pub(crate) fn new(ports: &[&PortConfig]) -> Self {
        Self {
            words: image::factory(ports),
            spi: Spi::default(),
            granted: None,
        }
    }

    /// A port's MAC address, if the NVM has one.
    fn mac(&self, lan_id: LanId) -> Option<[u8; 6]> {
        let pointer = self.word(CORE_SECTION_POINTER + lan_id.index())?;
        let word = |n| self.word(usize::from(pointer) + n).map(u16::to_le_bytes);
        let ([a, b], [c, d], [e, f]) = (word(1)?, word(2)?, word(3)?);
        Some([a, b, c, d, e, f])
    }

    /// The dword at a byte of the vital product data; 0 if there is none, or past the chip's end.
    pub(crate) fn vital_product_data(&self, byte: u16) -> u32 {
        let area = match self.word(VPD_POINTER) {
            None | Some(0 | 0xFFFF) => return 0,
            Some(pointer) => 2 * usize::from(pointer),
        };
        let byte = |n: usize| {
            let address = area + usize::from(byte) + n;
            let word = self.word(address / 2).unwrap_or(0).to_le_bytes();
            word[address % 2]
        };
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    }

    fn word(&self, address: usize) -> Option<u16> {
        self.words.get(address).copied()
    }

    /// Grants the pins to a port, unless the other one has them. Returns whether it has them then.
    fn request(&mut self, by: LanId) -> bool {
        *self.granted.get_or_insert(by) == by
    }

    /// Takes the pins from a port, if it has them; the chip is deselected.
    fn release(&mut self, by: LanId) {
        if self.granted == Some(by) {
            self.granted = None;
            self.spi = Spi::default();
        }
    }
}

/// A port's registers before the chip.
#[derive(Debug)]
pub(crate) struct Nvm {
    card: Card,
    lan_id: LanId,
}

impl Nvm {
    /// The registers of the port `lan_id` of `card`.
    pub(crate) fn new(card: Card, lan_id: LanId) -> Self {
        Self { card, lan_id }
    }

    /// Gives the pins back. The words stay.
    pub(crate) fn reset(&mut self) {
        let Self { card, lan_id } = self;
        card.lock().chip.release(*lan_id);
    }

    /// The port's MAC address, if the NVM has one.
    pub(crate) fn mac(&self) -> Option<[u8; 6]> {
        self.card.lock().chip.mac(self.lan_id)
    }

    /// Reads a register of the NVM chapter. Who asked for the pins while the other port had them, and asks again, gets
    /// them as soon as they are free.
    pub(crate) fn read(&mut self, reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
        if reg == Reg::EEC && regs.get(reg, index) & (eec::REQ | eec::GNT) == eec::REQ {
            self.pins(regs);
        }
        regs.read(reg, index)
    }

    /// Software has written a register of the NVM chapter; `value` is what it wrote.
    pub(crate) fn written(&mut self, reg: Reg, value: u32, regs: &mut RegisterFile) {
        match reg {
            Reg::EERD if value & eerd::START != 0 => {
                let address = value >> eerd::ADDR_SHIFT & eerd::ADDR_MASK;
                let word = self.card.lock().chip.word(address as usize);
                let word = word.unwrap_or(0xFFFF);
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
        let chip = &mut self.card.lock().chip;
        let answer = if value & eec::REQ == 0 {
            chip.release(self.lan_id);
            0
        } else if !chip.request(self.lan_id) {
            0
        } else if chip.spi.pins(value, &mut chip.words) {
            eec::GNT | eec::DO
        } else {
            eec::GNT
        };
        regs.set(Reg::EEC, 0, value | answer);
    }
}

const _: () = assert!(WORDS == 1 << (7 + 6), "EEC.SIZE is 7");
