//! The NVM: its words, the registers that read and write them, and the pins of its chip (6, 8.2.3.2).
//!
//! Software of this card writes it by the pins of EEC. EEWR, by which drivers write the NVM of later cards, does the same
//! here. What is written counts at once for who reads, and for the card itself from the next reset on.
//!
//! The two ports of a card share the chip; each has its own registers before it. The chip's contents come with the card
//! ([`NvmImage`]), and can be kept: [`NvmChip`] reads them, and [`Port::take_nvm_written`](crate::Port::take_nvm_written)
//! tells when to.
//!
//! Beside it lies the flash, which software reaches by the pins of FLA and in BAR0, and reads as the expansion ROM. The registers by
//! which firmware reaches the two (EEMNGCTL, FLMNGCTL and their data) are not software's.

mod eeprom;
mod factory;
mod flash;
mod image;
mod saved;
mod serial;
#[cfg(test)]
mod tests;
mod vpd;

use ixgbe_spec::{
    nvm::{FLASH_WINDOW_SIZE, VPD_POINTER, WORDS},
    register::{
        Reg,
        bits::{eec, eerd, fla},
    },
};
use serde::{Deserialize, Serialize};

use crate::{card::Card, port::LanId, regs::RegisterFile};
use eeprom::Eeprom;
use flash::Flash;
use serial::Pins;

pub use image::{NvmImage, NvmSizeError};
pub(crate) use saved::Saved;

/// The NVM and the flash of a card, which its ports share: what one writes the other reads, and one at a time has the
/// pins of each.
#[derive(Debug)]
pub(crate) struct Chip {
    image: NvmImage,
    eeprom: Eeprom,
    /// Who has the NVM's pins (EEC.GNT).
    granted: Grant,
    flash: Flash,
    /// Who has the flash's pins (FLA.GNT).
    flash_granted: Grant,
}

/// The port that has the pins of a chip.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Grant(Option<LanId>);

impl Grant {
    /// Grants the pins to a port, unless the other one has them. Returns whether it has them then.
    fn request(&mut self, by: LanId) -> bool {
        *self.0.get_or_insert(by) == by
    }

    /// Takes the pins from a port. Returns whether it had them.
    fn release(&mut self, by: LanId) -> bool {
        self.0.take_if(|port| *port == by).is_some()
    }
}

impl Chip {
    /// A chip that holds `image`.
    pub(crate) fn new(image: NvmImage) -> Self {
        Self {
            image,
            eeprom: Eeprom::default(),
            granted: Grant::default(),
            flash: Flash::default(),
            flash_granted: Grant::default(),
        }
    }

    /// What the chip holds.
    pub(crate) const fn image(&self) -> &NvmImage {
        &self.image
    }

    /// A port's MAC address, if the chip has one.
    pub(crate) fn mac(&self, lan_id: LanId) -> Option<[u8; 6]> {
        self.image.mac(lan_id)
    }

    /// The dword at a byte of the vital product data; 0 if there is none, or past the chip's end.
    pub(crate) fn vital_product_data(&self, byte: u16) -> u32 {
        let Some(area) = self.image.pointer(VPD_POINTER) else {
            return 0;
        };
        let bytes = [0, 1, 2, 3].map(|n| 2 * area + usize::from(byte) + n);
        let end = 2 * self.image.len();
        u32::from_le_bytes(bytes.map(|at| if at < end { self.image.byte(at) } else { 0 }))
    }

    /// Writes the dword at a byte of the vital product data, as far as that is for software to write. Returns whether it
    /// was.
    pub(crate) fn write_vital_product_data(&mut self, byte: u16, value: u32) -> bool {
        let Some(area) = self.image.pointer(VPD_POINTER) else {
            return false;
        };
        let area = 2 * area;
        let writable = vpd::writable(|at| self.image.byte(area + at));
        let mut written = false;
        for (at, value) in (usize::from(byte)..).zip(value.to_le_bytes()) {
            if writable.contains(&at) {
                self.image.set_byte(area + at, value);
                written = true;
            }
        }
        written
    }

    /// Takes the NVM's pins from a port, if it has them; the chip is deselected.
    fn release(&mut self, by: LanId) {
        if self.granted.release(by) {
            self.eeprom = Eeprom::default();
        }
    }

    /// Takes the flash's pins from a port, if it has them; the chip is deselected.
    fn release_flash(&mut self, by: LanId) {
        if self.flash_granted.release(by) {
            self.flash.deselect();
        }
    }
}

/// A handle to the NVM chip of a card, for who keeps its contents; it may be used in another thread than the ports.
#[derive(Clone, Debug)]
pub struct NvmChip(Card);

impl NvmChip {
    /// What the chip holds now.
    #[must_use]
    pub fn image(&self) -> NvmImage {
        self.0.lock().chip.image.clone()
    }
}

/// A port's registers before the chip.
#[derive(Debug)]
pub(crate) struct Nvm {
    card: Card,
    lan_id: LanId,
    /// This port has written the chip since that was asked for.
    written: bool,
}

impl Nvm {
    /// The registers of the port `lan_id` of `card`.
    pub(crate) fn new(card: Card, lan_id: LanId) -> Self {
        Self {
            card,
            lan_id,
            written: false,
        }
    }

    /// Gives the pins back, and tells the chip's size (EEC.SIZE). The words stay.
    pub(crate) fn reset(&mut self, regs: &mut RegisterFile) {
        let Self {
            card,
            lan_id,
            written: _,
        } = self;
        let chip = &mut card.lock().chip;
        chip.release(*lan_id);
        chip.release_flash(*lan_id);
        let size = (chip.image.len() >> eec::SIZE_UNIT).trailing_zeros();
        let value = regs.get(Reg::EEC, 0) & !(eec::SIZE_MASK << eec::SIZE_SHIFT);
        regs.set(Reg::EEC, 0, value | size << eec::SIZE_SHIFT);
    }

    /// The port's MAC address, if the NVM has one.
    pub(crate) fn mac(&self) -> Option<[u8; 6]> {
        self.card.mac(self.lan_id)
    }

    /// The function on its bus has written the chip.
    pub(crate) fn written_by_bus(&mut self) {
        self.written = true;
    }

    /// Flips a bit of a word that belongs to the words with a checksum and is no pointer, chosen by `number`, as a chip
    /// that grows old does: nobody has written it. Returns the word and the bit.
    pub(crate) fn flip(&self, number: u64) -> (usize, u16) {
        let [word, bit, ..] = number.to_le_bytes();
        let address = FLIPPED.start + usize::from(word) % FLIPPED.len();
        let mask = 1 << (bit % 16);
        self.flip_back(address, mask);
        (address, mask)
    }

    /// Flips these bits of a word.
    pub(crate) fn flip_back(&self, address: usize, mask: u16) {
        let image = &mut self.card.lock().chip.image;
        let word = image.word(address).unwrap_or(0);
        image.set_word(address, word ^ mask);
    }

    /// A handle to the chip.
    pub(crate) fn chip(&self) -> NvmChip {
        NvmChip(self.card.clone())
    }

    /// The card.
    pub(crate) const fn card(&self) -> &Card {
        &self.card
    }

    /// Whether the port has written the chip, as [`Nvm::take_written`], which still is to be asked.
    pub(crate) const fn is_written(&self) -> bool {
        self.written
    }

    /// Sets what [`Nvm::take_written`] will answer.
    pub(crate) const fn set_written(&mut self, written: bool) {
        self.written = written;
    }

    /// Whether this port has written the chip since this was asked for.
    pub(crate) fn take_written(&mut self) -> bool {
        std::mem::take(&mut self.written)
    }

    /// Reads a register of the NVM chapter. Who asked for the pins while the other port had them, and asks again, gets
    /// them as soon as they are free.
    pub(crate) fn read(&mut self, reg: Reg, index: usize, regs: &mut RegisterFile) -> u32 {
        if reg == Reg::EEC && regs.get(reg, index) & (eec::REQ | eec::GNT) == eec::REQ {
            self.pins(regs);
        }
        if reg == Reg::FLA && regs.get(reg, index) & (fla::REQ | fla::GNT) == fla::REQ {
            self.flash_pins(regs);
        }
        regs.read(reg, index)
    }

    /// Software has written a register of the NVM chapter; `value` is what it wrote.
    pub(crate) fn written(&mut self, reg: Reg, value: u32, regs: &mut RegisterFile) {
        match reg {
            Reg::EERD if value & eerd::START != 0 => {
                let address = value >> eerd::ADDR_SHIFT & eerd::ADDR_MASK;
                let word = self.card.lock().chip.image.word(address as usize);
                let word = word.unwrap_or(0xFFFF);
                regs.set(
                    Reg::EERD,
                    0,
                    u32::from(word) << eerd::DATA_SHIFT | address << eerd::ADDR_SHIFT | eerd::DONE,
                );
            }
            Reg::EEWR if value & eerd::START != 0 => {
                let address = value >> eerd::ADDR_SHIFT & eerd::ADDR_MASK;
                let [_, _, low, high] = value.to_le_bytes();
                let word = u16::from_le_bytes([low, high]);
                self.card.lock().chip.image.set_word(address as usize, word);
                self.written = true;
                regs.set(Reg::EEWR, 0, value & !eerd::START | eerd::DONE);
            }
            Reg::EEC => self.pins(regs),
            Reg::FLA => self.flash_pins(regs),
            _ => {}
        }
    }

    /// Software has moved the pins of the chip.
    fn pins(&mut self, regs: &mut RegisterFile) {
        let value = regs.get(Reg::EEC, 0) & !(eec::GNT | eec::DO);
        let chip = &mut self.card.lock().chip;
        let pins = Pins {
            selected: value & eec::CS == 0,
            clock: value & eec::SK != 0,
            data_in: value & eec::DI != 0,
        };
        let answer = if value & eec::REQ == 0 {
            chip.release(self.lan_id);
            0
        } else if !chip.granted.request(self.lan_id) {
            0
        } else if chip.eeprom.pins(pins, &mut chip.image) {
            eec::GNT | eec::DO
        } else {
            eec::GNT
        };
        self.written |= chip.eeprom.take_written();
        regs.set(Reg::EEC, 0, value | answer);
    }

    /// Software has moved the pins of the flash.
    fn flash_pins(&mut self, regs: &mut RegisterFile) {
        let written = regs.get(Reg::FLA, 0);
        let value = written & !(fla::GNT | fla::SO | fla::FL_ER);
        let chip = &mut self.card.lock().chip;
        if written & fla::FL_ER != 0 && regs.get(Reg::EEC, 0) & eec::FWE_MASK == eec::FWE_ERASE {
            chip.flash.erase();
        }
        let pins = Pins {
            selected: value & fla::CE == 0,
            clock: value & fla::SK != 0,
            data_in: value & fla::SI != 0,
        };
        // Without a grant nobody drives the output, which is pulled up.
        let answer = if value & fla::REQ == 0 {
            chip.release_flash(self.lan_id);
            fla::SO
        } else if !chip.flash_granted.request(self.lan_id) {
            fla::SO
        } else if chip.flash.pins(pins) {
            fla::GNT | fla::SO
        } else {
            fla::GNT
        };
        regs.set(Reg::FLA, 0, value | answer);
    }

    /// Reads the flash's window in BAR0 from `offset` on, zeros past its end.
    pub(crate) fn read_window(&self, offset: u64, data: &mut [u8]) {
        let left = u64::from(FLASH_WINDOW_SIZE).saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        let (inside, outside) = data.split_at_mut(len);
        self.read_flash(offset, inside);
        outside.fill(0);
    }

    /// Writes the flash's window in BAR0, if the flash may be written. What lies past its end is ignored.
    pub(crate) fn write_window(&self, offset: u64, data: &[u8], regs: &RegisterFile) {
        if regs.get(Reg::EEC, 0) & eec::FWE_MASK != eec::FWE_WRITE {
            return;
        }
        let Ok(offset) = u32::try_from(offset) else {
            return;
        };
        let left = FLASH_WINDOW_SIZE.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(0).min(data.len());
        let inside = data.get(..len).unwrap_or_default();
        self.card.lock().chip.flash.write(offset, inside);
    }

    /// Reads the flash from `offset` on, all ones past its end.
    pub(crate) fn read_flash(&self, offset: u64, data: &mut [u8]) {
        self.card.lock().chip.flash.read(offset, data);
    }
}

/// Words with a checksum that are no pointers: the general configuration and the boot code's (6.1).
const FLIPPED: std::ops::Range<usize> = 0x10..0x3F;

const _: () = assert!(WORDS == 1 << (7 + eec::SIZE_UNIT), "EEC.SIZE is 7");
