//! Resets, and what survives which of them (4.2).

use ixgbe_spec::register::{
    Chapter, Reg,
    bits::{ctrl_ext, status},
};

use super::{Port, Reset};
use crate::bus::Bus;

/// Entry of RAH: the address counts.
const ADDRESS_VALID: u32 = 1 << 31;
/// Threshold of the first transmit packet buffer, in KB; that of the others is 0.
const FIRST_TXPBTHRESH: u32 = 0x96;

impl Port {
    /// Resets the port as far as `reset` reaches.
    pub(super) fn reset_by(&mut self, reset: Reset, bus: &dyn Bus) {
        let Self {
            place,
            mac,
            regs,
            pci,
            irq,
            link,
            flow_control,
            leds,
            nvm,
            firmware,
            timers,
            timesync,
            ipsec,
            rx,
            tx,
            ioaddr,
            faults: _,
            refused_dma: _,
            unmodelled: _,
            observers: _,
            recording: _,
            injected,
        } = self;
        let extended_vlan = regs.get(Reg::CTRL_EXT, 0) & ctrl_ext::EXTENDED_VLAN;
        for reg in Reg::ALL {
            if !survives(*reg, reset) {
                regs.reset(*reg);
            }
        }
        regs.set(Reg::TXPBTHRESH, 0, FIRST_TXPBTHRESH);
        let lan_id = u32::from(place.lan_id.index() != 0) << status::LAN_ID_SHIFT;
        regs.set(Reg::STATUS, 0, regs.get(Reg::STATUS, 0) | lan_id);
        let [a, b, c, d, e, f] = nvm.mac().unwrap_or(*mac);
        regs.set(Reg::RAL, 0, u32::from_le_bytes([a, b, c, d]));
        regs.set(
            Reg::RAH,
            0,
            u32::from_le_bytes([e, f, 0, 0]) | ADDRESS_VALID,
        );

        if let Some(injected) = injected {
            injected.reset(reset == Reset::Bus);
        }
        link.reset(regs);
        flow_control.reset();
        leds.reset();
        irq.reset();
        timers.reset();
        timesync.reset();
        rx.reset();
        tx.reset();
        pci.set_gio_disabled(false);
        match reset {
            Reset::Device => {
                let value = regs.get(Reg::CTRL_EXT, 0) | extended_vlan;
                regs.set(Reg::CTRL_EXT, 0, value);
            }
            Reset::Power => {
                nvm.reset(regs);
                firmware.reset();
                ipsec.reset();
            }
            Reset::Bus => {
                nvm.reset(regs);
                firmware.reset();
                ipsec.reset();
                pci.reset(place, bus);
                *ioaddr = 0;
            }
        }
        self.show_vfs();
    }
}

fn survives(reg: Reg, reset: Reset) -> bool {
    // Why the function was woken can be read after it got its power back.
    let wake = matches!(reg, Reg::WUC | Reg::WUS | Reg::WUPL | Reg::WUPM);
    let kept_block = matches!(
        reg.row().chapter,
        Chapter::Nvm | Chapter::Firmware | Chapter::Pcie
    );
    wake && reset != Reset::Bus
        || reset == Reset::Device && (kept_block || matches!(reg, Reg::ESDP | Reg::I2CCTL))
}
