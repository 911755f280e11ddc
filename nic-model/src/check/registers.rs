//! Registers that are not a ring's.

use ixgbe_spec::register::{
    Access, Reg,
    bits::{ctrl, eec, fla},
};

use super::{Rule, desk::Desk, finding::Subject, ring};
use crate::observe::Scene;

/// Bits outside of a register's write mask that software writes rightly, though the card shows 0 after the write.
const ACTS: &[(Reg, u32)] = &[
    // SWFLSH (8.2.3.9.10).
    (Reg::TXDCTL, 1 << 26),
    (Reg::RXDCTL, 1 << 26),
    // GNT is written back as it was read, with REQ 0, which takes it away (8.2.3.2).
    (Reg::EEC, eec::GNT),
    (Reg::FLA, fla::GNT),
];

/// What of the registers goes beyond a single access.
#[derive(Debug, Default)]
pub(super) struct Registers {
    /// CTRL.RST was written, and CTRL was not read without it since.
    resetting: bool,
    /// CTRL.GIO_DIS was written.
    gio_disabled: bool,
}

impl Registers {
    /// Software has read a register.
    pub(super) fn read(&mut self, reg: Reg, value: u32) {
        if reg == Reg::CTRL && value & (ctrl::RST | ctrl::LRST) == 0 {
            self.resetting = false;
        }
    }

    /// Software has written at `offset`; `enabled` are the queues that were then enabled, `scene` shows what has become of
    /// it.
    pub(super) fn written(
        &mut self,
        (offset, value): (u32, u32),
        enabled: usize,
        scene: &Scene<'_>,
        desk: &Desk<'_>,
    ) {
        let subject = Subject::Register { offset };
        let Some((reg, index)) = Reg::decode(offset) else {
            desk.other(Rule::NoSuchRegister, subject, || {
                format!("{value:#x} is written where no register is")
            });
            return;
        };
        if self.resetting && reg != Reg::CTRL {
            desk.other(Rule::ResetNotWaitedFor, Subject::Port, || {
                format!("{} is written", reg.row().name)
            });
        }
        let row = reg.row();
        match row.access {
            Access::ReadOnly | Access::ReadClear => {
                desk.other(Rule::ReadOnlyWritten, subject, || {
                    format!("{value:#x} is written")
                });
            }
            Access::ReadWrite if ring::kind(reg).is_none() => {
                let acts = ACTS.iter().find(|(other, _)| *other == reg);
                let acts = acts.map_or(0, |(_, bits)| *bits);
                // What reads 1 is written back as it was read.
                let reserved = value & !row.write_mask & !acts & !scene.register(reg, index);
                if reserved != 0 {
                    desk.other(Rule::ReservedBitsWritten, subject, || {
                        format!(
                            "{value:#x} is written; bits {reserved:#x} are not software's to set"
                        )
                    });
                }
            }
            _ => {}
        }
        if reg == Reg::CTRL {
            self.ctrl_written(value, enabled, scene, desk);
        }
    }

    fn ctrl_written(&mut self, value: u32, enabled: usize, scene: &Scene<'_>, desk: &Desk<'_>) {
        if value & (ctrl::RST | ctrl::LRST) == 0 {
            self.gio_disabled = value & ctrl::GIO_DIS != 0;
            return;
        }
        if enabled > 0 && !self.gio_disabled && scene.masters() {
            desk.other(Rule::ResetWithDmaRunning, Subject::Port, || {
                format!(
                    "{enabled} queues are enabled, and CTRL.GIO_DIS has not ended what they have under way"
                )
            });
        }
        self.gio_disabled = false;
        self.resetting = true;
    }
}
