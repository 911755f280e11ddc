//! Filters to which a frame should go, and none can.

use ixgbe_spec::register::{
    Reg,
    bits::{etqf, fdircmd, fdirctrl, ftqf},
};

use super::{Rule, desk::Desk, finding::Subject};
use crate::observe::Scene;

/// What is less in a frame is its length, not a type.
const LEAST_ETHERTYPE: u32 = 0x600;
/// FTQF.PROTOCOL: one that has no ports.
const ANOTHER_PROTOCOL: u32 = 3;
/// Mask bits of FTQF, from `MASK_SHIFT` on.
const SOURCE_PORT: u32 = 1 << 2;
const DESTINATION_PORT: u32 = 1 << 3;
const PROTOCOL: u32 = 1 << 4;

/// Software has written `value` to a register, at `offset`; `scene` shows what else the filter depends on.
pub(super) fn written(reg: Reg, (offset, value): (u32, u32), scene: &Scene<'_>, desk: &Desk<'_>) {
    let why = match reg {
        Reg::ETQF => ethertype(value),
        Reg::FTQF => five_tuple(value),
        Reg::FDIRCMD => flow_director(value, scene.register(Reg::FDIRCTRL, 0)),
        _ => None,
    };
    if let Some(why) = why {
        desk.other(
            Rule::FilterNeverMatches,
            Subject::Register { offset },
            || format!("{value:#x} is written; {why}"),
        );
    }
}

fn ethertype(filter: u32) -> Option<String> {
    let ethertype = filter & etqf::ETYPE;
    (filter & etqf::FILTER_EN != 0 && ethertype < LEAST_ETHERTYPE).then(|| {
        format!(
            "{ethertype:#06x} is the length of a frame, and no ethertype: those begin at 0x0600"
        )
    })
}

fn five_tuple(filter: u32) -> Option<String> {
    let ignored = filter >> ftqf::MASK_SHIFT;
    let compares_port = ignored & SOURCE_PORT == 0 || ignored & DESTINATION_PORT == 0;
    let another = ignored & PROTOCOL == 0 && filter & ftqf::PROTOCOL == ANOTHER_PROTOCOL;
    (filter & ftqf::ENABLE != 0 && another && compares_port).then(|| {
        "it compares a port, and wants a protocol that is neither TCP, UDP nor SCTP".to_owned()
    })
}

fn flow_director(command: u32, control: u32) -> Option<String> {
    let adds = command & fdircmd::CMD == fdircmd::CMD_ADD;
    (adds && control & fdirctrl::PBALLOC == 0)
        .then(|| "FDIRCTRL gives the Flow Director no memory for filters".to_owned())
}
