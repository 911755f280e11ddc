//! The PCI function: configuration space, interrupts on the bus, power states (chapter 9).
//!
//! The expansion ROM is the flash of the NVM chapter.
//!
//! Not implemented: virtual functions.

mod error;
mod layout;
mod msix;
mod saved;
mod space;
mod sriov;
#[cfg(test)]
mod tests;

use ixgbe_spec::pci::{DEVICE_CONTROL, MSI, MSIX, PMCSR, VPD, command, header, status};

use crate::{
    bus::{Bus, Requester, Signal},
    card::{Card, Place},
};
pub use error::{BusError, ErrorMessage};
use msix::MsixTable;
pub(crate) use saved::Saved;
use space::ConfigSpace;

/// How the function signals interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The INTx pin.
    Intx,
    /// The MSI message.
    Msi,
    /// MSI-X messages.
    MsiX,
}

impl Delivery {
    /// Whether the signal is a level that lasts as long as its cause.
    pub(crate) fn is_level(self) -> bool {
        self == Self::Intx
    }
}

/// What a configuration write asks of the rest of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum ConfigEffect {
    /// Nothing.
    None,
    /// None but that the vital product data, and so the NVM, was written.
    NvmWritten,
    /// A function level reset (DevCtl bit 15).
    FunctionReset,
    /// A reset because of the move from D3hot to D0.
    PowerUp,
}

const POWER_STATE: u16 = 0x3;
const D0: u16 = 0;
const D3_HOT: u16 = 3;

/// The function on its bus.
#[derive(Debug)]
pub(crate) struct Function {
    space: ConfigSpace,
    msix: MsixTable,
    card: Card,
    /// An INTx interrupt is pending.
    intx: bool,
    /// The INTx pin is active: pending and not disabled.
    pin: bool,
    /// The MSI message waits for being unmasked.
    msi_pending: bool,
    /// CTRL.GIO master disable.
    gio_disabled: bool,
    rights: Rights,
}

/// What the configuration lets the function do, worked out once per change, for it is asked at each access.
#[derive(Clone, Copy, Debug)]
struct Rights {
    delivery: Delivery,
    powered: bool,
    masters: bool,
    intx: bool,
    msi: bool,
    msix: bool,
}

impl Rights {
    fn of(space: &ConfigSpace, gio_disabled: bool) -> Self {
        let command = space.get16(header::COMMAND);
        let msix_control = space.get16(MSIX + 2);
        let delivery = if msix_control & 0x8000 != 0 {
            Delivery::MsiX
        } else if space.get16(MSI + 2) & 0x0001 != 0 {
            Delivery::Msi
        } else {
            Delivery::Intx
        };
        let powered = space.get16(PMCSR) & POWER_STATE == D0;
        let masters = command & command::BUS_MASTER != 0 && powered && !gio_disabled;
        Self {
            delivery,
            powered,
            masters,
            intx: command & command::INTX_DISABLE == 0 && powered,
            msi: delivery == Delivery::Msi && masters && space.get32(MSI + 0x10) & 1 == 0,
            // Enabled, and not masked as a whole.
            msix: masters && msix_control & 0xC000 == 0x8000,
        }
    }
}

impl Function {
    /// A function after power-on.
    pub(crate) fn new(place: &Place, card: Card) -> Self {
        let space = layout::power_on(place);
        Self {
            rights: Rights::of(&space, false),
            space,
            msix: MsixTable::new(),
            card,
            intx: false,
            pin: false,
            msi_pending: false,
            gio_disabled: false,
        }
    }

    /// Puts configuration space and MSI-X table back to the state after power-on.
    pub(crate) fn reset(&mut self, place: &Place, bus: &dyn Bus) {
        self.set_intx(false, bus);
        self.flush(bus);
        let Self {
            space,
            msix,
            card: _,
            intx: _,
            pin: _,
            msi_pending,
            gio_disabled,
            rights,
        } = self;
        *space = layout::power_on(place);
        *msix = MsixTable::new();
        *msi_pending = false;
        *gio_disabled = false;
        *rights = Rights::of(space, false);
    }

    /// Reads configuration space.
    pub(crate) fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        self.space.read(usize::from(offset), data);
    }

    /// Writes configuration space.
    pub(crate) fn config_write(&mut self, offset: u16, data: &[u8]) -> ConfigEffect {
        const RESET_BYTE: usize = DEVICE_CONTROL + 1;
        const VPD_FLAG_BYTE: usize = VPD + 3;
        let offset = usize::from(offset);
        let written = |byte: usize| byte.checked_sub(offset).and_then(|at| data.get(at));
        let power = self.power_state();
        self.space.write(offset, data);
        sriov::follow(&mut self.space);

        let mut effect = ConfigEffect::None;
        if written(VPD_FLAG_BYTE).is_some() && self.access_vpd() {
            effect = ConfigEffect::NvmWritten;
        }
        match self.power_state() {
            D0 if power == D3_HOT => effect = ConfigEffect::PowerUp,
            D0 | D3_HOT => {}
            // D1 and D2 are not there: the write of the state is ignored (PM 3.2.4).
            _ => self.set_power_state(power),
        }
        self.rights = Rights::of(&self.space, self.gio_disabled);
        if written(RESET_BYTE).is_some_and(|byte| byte & 0x80 != 0) {
            effect = ConfigEffect::FunctionReset;
        }
        effect
    }

    /// The protocol of the VPD register: flag 0 asks for a read, which sets it; flag 1 asks for a write, which clears it.
    /// The data is that of the NVM; only its part for software is written. Returns whether the NVM was.
    fn access_vpd(&mut self) -> bool {
        const FLAG: u16 = 0x8000;
        let register = self.space.get16(VPD + 2);
        let address = register & !FLAG;
        let chip = &mut self.card.lock().chip;
        let written = if register & FLAG == 0 {
            let data = chip.vital_product_data(address);
            self.space.set(VPD + 4, &data.to_le_bytes());
            false
        } else {
            chip.write_vital_product_data(address, self.space.get32(VPD + 4))
        };
        self.space.set(VPD + 2, &(register ^ FLAG).to_le_bytes());
        written
    }

    /// How many virtual functions are enabled.
    pub(crate) fn enabled_vfs(&self) -> u16 {
        sriov::enabled(&self.space)
    }

    /// An error of the bus. Returns the message to the root complex that the function would send.
    pub(crate) fn report(&mut self, error: BusError) -> Option<ErrorMessage> {
        error::report(error, &mut self.space)
    }

    /// Notes that a request of the function was not answered (status, bit 13).
    pub(crate) fn set_master_abort(&mut self) {
        self.space
            .raise16(header::STATUS, status::RECEIVED_MASTER_ABORT);
    }

    /// Sets the PME status: the function asks for its power (PMCSR.15).
    pub(crate) fn set_pme_status(&mut self) {
        self.space.raise16(PMCSR, 1 << 15);
    }

    fn power_state(&self) -> u16 {
        self.space.get16(PMCSR) & POWER_STATE
    }

    fn set_power_state(&mut self, state: u16) {
        let pmcsr = self.space.get16(PMCSR) & !POWER_STATE | state;
        self.space.set(PMCSR, &pmcsr.to_le_bytes());
    }

    /// Whether the function is in D0; in D3hot it answers configuration accesses only.
    pub(crate) fn is_powered(&self) -> bool {
        self.rights.powered
    }

    /// Whether the function may issue requests: DMA, and messages of interrupts.
    pub(crate) fn masters(&self) -> bool {
        self.rights.masters
    }

    /// CTRL.GIO master disable has been written.
    pub(crate) fn set_gio_disabled(&mut self, disabled: bool) {
        self.gio_disabled = disabled;
        self.rights = Rights::of(&self.space, disabled);
    }

    /// How the function signals interrupts.
    pub(crate) fn delivery(&self) -> Delivery {
        self.rights.delivery
    }

    /// Asserts or deasserts INTx.
    pub(crate) fn set_intx(&mut self, active: bool, bus: &dyn Bus) {
        if self.intx != active {
            self.intx = active;
            let register = self.space.get16(header::STATUS) & !status::INTERRUPT;
            let bit = if active { status::INTERRUPT } else { 0 };
            self.space
                .set(header::STATUS, &(register | bit).to_le_bytes());
        }
        self.drive_pin(bus);
    }

    /// Takes the pin for inactive, so that it is asserted again if it should be active.
    pub(crate) fn release_pin(&mut self) {
        self.pin = false;
    }

    fn drive_pin(&mut self, bus: &dyn Bus) {
        let pin = self.intx && self.rights.intx;
        if self.pin != pin {
            self.pin = pin;
            let signal = if pin {
                Signal::IntxAssert
            } else {
                Signal::IntxDeassert
            };
            bus.signal(Requester::Pf, signal);
        }
    }

    /// Sends the MSI message, or notes that it is to be sent.
    pub(crate) fn send_msi(&mut self, bus: &dyn Bus) {
        self.msi_pending = true;
        self.flush(bus);
    }

    /// Whether the INTx pin is to be active.
    pub(crate) const fn intx_is_active(&self) -> bool {
        self.intx
    }

    /// Sends the MSI-X message of `vector`, or notes that it is to be sent.
    pub(crate) fn send_msix(&mut self, vector: u32, bus: &dyn Bus) {
        self.msix.set_pending(vector);
        self.flush(bus);
    }

    /// Takes back messages that have not been sent.
    pub(crate) fn clear_msix_pending(&mut self, vectors: u64) {
        self.msix.clear_pending(vectors);
    }

    /// Sends the messages that wait and that nothing masks any more.
    pub(crate) fn flush(&mut self, bus: &dyn Bus) {
        self.drive_pin(bus);
        if self.msi_pending {
            if self.rights.msi {
                self.msi_pending = false;
                bus.signal(Requester::Pf, Signal::Msi);
            }
            self.space
                .set(MSI + 0x14, &u32::from(self.msi_pending).to_le_bytes());
        }
        if self.rights.msix && self.msix.any_pending() {
            while let Some(vector) = self.msix.take_unmasked() {
                bus.signal(Requester::Pf, Signal::MsiX(vector));
            }
        }
    }

    /// Reads a dword of BAR4.
    pub(crate) fn msix_read(&self, dword: usize) -> u32 {
        self.msix.read(dword)
    }

    /// Writes the bytes of a dword of BAR4 that `mask` selects.
    pub(crate) fn msix_write(&mut self, dword: usize, value: u32, mask: u32) {
        self.msix.write(dword, value, mask);
    }
}
