//! Register access: from the bytes of a BAR to the effect in a register's chapter.

use ixgbe_spec::{
    pci::{IOADDR, IODATA},
    register::{
        Access as Kind, CSR_SPACE, Chapter, Gap, Reg,
        bits::{ctrl, ctrl_ext, status},
    },
};

use super::{Bar, Context, Port, Reset, access::Access};
use crate::{
    mailbox,
    observe::Event,
    record::{Answer, Call},
    time::Time,
    virtual_function,
};

/// Places that software has touched and that are not fully modelled: registers that are only stored, each told of once
/// in the log, and offsets without a register, the same.
#[derive(Debug)]
pub(super) struct Unmodelled {
    registers: Box<[bool]>,
    offsets: Box<[bool]>,
}

impl Default for Unmodelled {
    fn default() -> Self {
        Self {
            registers: vec![false; Reg::ALL.len()].into_boxed_slice(),
            offsets: vec![false; (CSR_SPACE / 4) as usize].into_boxed_slice(),
        }
    }
}

impl Unmodelled {
    /// Software touches a register.
    fn touched(&mut self, reg: Reg) {
        if let Some(gap) = reg.gap()
            && is_first(self.registers.get_mut(reg as usize))
        {
            let name = reg.row().name;
            match gap {
                Gap::Enough(why) => tracing::debug!("{name} is only stored: {why}"),
                Gap::Missing(what) => tracing::debug!("{name} is missing: {what}"),
            }
        }
    }

    /// Software touches an offset where no register is.
    fn missed(&mut self, offset: u32) {
        if is_first(self.offsets.get_mut((offset / 4) as usize)) {
            tracing::debug!("no register at {offset:#07x}: it reads 0 and keeps nothing");
        }
    }
}

/// Whether a place is told of for the first time; from now on it is not.
fn is_first(told: Option<&mut bool>) -> bool {
    told.is_some_and(|told| !std::mem::replace(told, true))
}

impl Port {
    /// Reads a BAR, any width and alignment. Registers are 32 bits wide: two of them are read low first, a part of one
    /// is a read of the whole. Above the registers BAR0 is memory, the flash's window (8.1.1). In D3hot nothing answers,
    /// and the bus reads all ones.
    pub fn bar_read(&mut self, bar: Bar, offset: u64, data: &mut [u8], context: &mut Context<'_>) {
        if self.recording.is_on() {
            let len = data.len();
            let call = Call::BarRead { bar, offset, len };
            let read = |port: &mut Self, context: &mut Context<'_>| {
                port.bar_read(bar, offset, data, context);
                data
            };
            self.recorded(&call, context, read, |data| Answer::Bytes(data));
            return;
        }
        if !self.pci.is_powered() {
            data.fill(0xFF);
            return;
        }
        if bar == Bar::Rom {
            self.nvm.read_flash(offset, data);
            return;
        }
        if bar == Bar::Csr
            && let Some(offset) = offset.checked_sub(CSR_SPACE.into())
        {
            self.nvm.read_window(offset, data);
            return;
        }
        let access = self.access(offset, data.len());
        for piece in access.pieces() {
            let value = u32::try_from(piece.offset)
                .map_or(0, |offset| self.read_dword(bar, offset, context));
            piece.put(value, data);
        }
        self.deliver(context);
    }

    /// Writes a BAR, any width and alignment. Registers are 32 bits wide: two of them are written low first; a part of
    /// one is a write of the whole in which the other bytes keep their value or, where a 1 acts, are 0.
    pub fn bar_write(&mut self, bar: Bar, offset: u64, data: &[u8], context: &mut Context<'_>) {
        if self.recording.is_on() {
            let call = Call::BarWrite { bar, offset, data };
            let write = |port: &mut Self, context: &mut Context<'_>| {
                port.bar_write(bar, offset, data, context);
            };
            return self.recorded(&call, context, write, |()| Answer::Nothing);
        }
        if !self.pci.is_powered() || bar == Bar::Rom {
            return;
        }
        if bar == Bar::Csr
            && let Some(offset) = offset.checked_sub(CSR_SPACE.into())
        {
            self.nvm.write_window(offset, data, &self.regs);
            return;
        }
        let access = self.access(offset, data.len());
        for piece in access.pieces() {
            if let Ok(offset) = u32::try_from(piece.offset) {
                self.write_dword(bar, offset, piece.value(data), piece.mask(), context);
            }
        }
        self.deliver(context);
    }

    fn access(&mut self, offset: u64, len: usize) -> Access {
        let access = Access::new(offset, len);
        if !access.is_regular() {
            self.faults.register_access += 1;
        }
        access
    }

    fn read_dword(&mut self, bar: Bar, offset: u32, context: &Context<'_>) -> u32 {
        match bar {
            Bar::Csr => self.read_register(offset, context),
            Bar::Io => match offset {
                IOADDR => self.ioaddr,
                IODATA => self.read_register(self.ioaddr, context),
                _ => 0,
            },
            Bar::MsiX => self.pci.msix_read((offset / 4) as usize),
            Bar::Rom => 0,
        }
    }

    fn write_dword(
        &mut self,
        bar: Bar,
        offset: u32,
        value: u32,
        mask: u32,
        context: &mut Context<'_>,
    ) {
        match bar {
            Bar::Csr => self.write_register(offset, value, mask, context),
            Bar::Io => match offset {
                IOADDR => self.ioaddr = self.ioaddr & !mask | value,
                IODATA => self.write_register(self.ioaddr, value, mask, context),
                _ => {}
            },
            Bar::MsiX => self.pci.msix_write((offset / 4) as usize, value, mask),
            Bar::Rom => {}
        }
    }

    fn read_register(&mut self, offset: u32, context: &Context<'_>) -> u32 {
        let value = self.value_read(offset, context.now);
        self.observers
            .tell(context.now, || Event::RegisterRead { offset, value });
        value
    }

    fn value_read(&mut self, offset: u32, now: Time) -> u32 {
        let Some((reg, index)) = Reg::decode(offset) else {
            self.unmodelled.missed(offset);
            return 0;
        };
        self.unmodelled.touched(reg);
        let regs = &mut self.regs;
        match reg.row().chapter {
            Chapter::Interrupt => self.irq.read(reg, index, now, regs),
            Chapter::Nvm => self.nvm.read(reg, index, regs),
            Chapter::Firmware => self.firmware.read(reg, index, regs),
            Chapter::Time => self.timers.read(reg, index, now, regs),
            Chapter::TimeSync => self.timesync.read(reg, index, now, regs),
            Chapter::Mac => self.link.read(reg, index, regs),
            Chapter::Virtualisation => virtual_function::read(reg, index, regs),
            Chapter::Diagnostic => self.rx.diagnose(reg, index, regs),
            _ => regs.read(reg, index),
        }
    }

    /// A write of the bytes of `value` that `mask` selects; the others are 0 in `value`.
    fn write_register(&mut self, offset: u32, value: u32, mask: u32, context: &mut Context<'_>) {
        self.observers.tell(context.now, || Event::RegisterWrite {
            offset,
            value,
            mask,
        });
        let Some((reg, index)) = Reg::decode(offset) else {
            self.unmodelled.missed(offset);
            return;
        };
        self.unmodelled.touched(reg);
        if reg == Reg::GSSR {
            // The other port may have written it.
            self.firmware.refreshed(&mut self.regs);
        }
        let old = self.regs.get(reg, index);
        let new = match reg.row().access {
            Kind::ReadWrite => self.regs.write(reg, index, old & !mask | value),
            Kind::WriteOneToClear | Kind::WriteOneToSet => self.regs.write(reg, index, value),
            Kind::Effect => value,
            Kind::ReadOnly | Kind::ReadClear => return,
        };
        self.written(reg, index, old, new, context);
    }

    /// Software has written a register. `old` is its value before; `new` is its value after, or what software wrote if
    /// the table stores nothing for it (the access kind `Effect`).
    fn written(&mut self, reg: Reg, index: usize, old: u32, new: u32, context: &mut Context<'_>) {
        let now = context.now;
        if self.injected.is_some() {
            self.before_written(reg, context);
        }
        match reg.row().chapter {
            Chapter::Receive | Chapter::Filter | Chapter::Fcoe => {
                let (mut hw, rx, _) = self.data_path(context.now, context.bus);
                rx.written(reg, index, old, new, &mut hw);
            }
            Chapter::Transmit => {
                let (mut hw, _, tx) = self.data_path(context.now, context.bus);
                tx.written(reg, index, old, new, &mut hw);
            }
            Chapter::Dcb => self.tx.dcb_written(reg, new, &mut self.regs),
            Chapter::Interrupt => {
                self.irq
                    .written(reg, index, new, now, &mut self.regs, &mut self.pci);
            }
            Chapter::General => self.general_written(reg, new, context),
            Chapter::Mac => {
                self.link
                    .written(reg, new, now, &mut self.regs, &mut self.irq);
            }
            Chapter::Nvm => self.nvm.written(reg, new, &mut self.regs),
            Chapter::Firmware => self.firmware.written(reg, new),
            Chapter::Time => {
                self.timers
                    .written(reg, new, now, &mut self.regs, &mut self.irq);
            }
            Chapter::TimeSync => self.timesync.written(reg, new, now, &self.regs),
            Chapter::Security => self.ipsec.written(reg, new, &mut self.regs),
            Chapter::Virtualisation => {
                virtual_function::written(reg, index, new, &mut self.regs, &mut self.irq);
            }
            _ => {}
        }
    }

    fn general_written(&mut self, reg: Reg, new: u32, context: &Context<'_>) {
        match reg {
            Reg::CTRL if new & (ctrl::RST | ctrl::LRST) != 0 => {
                self.reset_told(Reset::Device, context);
                self.lengthen_reset(context.now);
            }
            Reg::CTRL => {
                // Nothing is outstanding between two calls, so the handshake is complete at once (5.2.5.3.2).
                let disabled = new & ctrl::GIO_DIS != 0;
                self.pci.set_gio_disabled(disabled);
                let status = self.regs.get(Reg::STATUS, 0) & !status::GIO;
                let bit = if disabled { 0 } else { status::GIO };
                self.regs.set(Reg::STATUS, 0, status | bit);
            }
            Reg::LEDCTL => self.leds.written(new),
            Reg::CTRL_EXT => {
                self.regs.set(Reg::CTRL_EXT, 0, new & !ctrl_ext::PFRSTD);
                if new & ctrl_ext::PFRSTD != 0 {
                    mailbox::pf_is_back(&mut self.regs);
                }
            }
            Reg::ESDP | Reg::I2CCTL => {
                self.link
                    .written(reg, new, context.now, &mut self.regs, &mut self.irq);
            }
            _ => {}
        }
    }
}
