//! Target times: what happens when the counter reaches TRGTTIM0 or TRGTTIM1 (7.9.5).

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, esdp, gpie, tsauxc},
};

use super::{clock::Clock, whole};
use crate::{interrupt::Interrupts, regs::RegisterFile, time::Time};

const TARGETS: [(Reg, Reg); 2] = [
    (Reg::TRGTTIML0, Reg::TRGTTIMH0),
    (Reg::TRGTTIML1, Reg::TRGTTIMH1),
];

/// The awaited target times, each with its number.
fn awaited(regs: &RegisterFile) -> impl Iterator<Item = (usize, u64)> + use<> {
    let control = regs.get(Reg::TSAUXC, 0);
    let targets = TARGETS.map(|(low, high)| whole(regs.get(low, 0), regs.get(high, 0)));
    let numbered = targets.into_iter().enumerate();
    numbered.filter(move |(n, _)| control & tsauxc::EN_TT0 << n != 0)
}

/// When the first of them is reached.
pub(super) fn next(clock: &Clock, regs: &RegisterFile) -> Option<Time> {
    awaited(regs)
        .filter_map(|(_, target)| clock.reaches(target))
        .min()
}

/// The targets that are reached by `now` change the level of their pins and are no longer awaited.
pub(super) fn reached(clock: &Clock, now: Time, regs: &mut RegisterFile, irq: &mut Interrupts) {
    for (n, target) in awaited(regs) {
        // Not by the counter at `now`, which may have wrapped since.
        if clock.reaches(target).is_none_or(|time| time > now) {
            continue;
        }
        let control = regs.get(Reg::TSAUXC, 0);
        regs.set(Reg::TSAUXC, 0, control & !(tsauxc::EN_TT0 << n));
        let pins = regs.get(Reg::ESDP, 0);
        let driven = 1 << n << esdp::DIRECTION_SHIFT | 1 << n << esdp::NATIVE_SHIFT;
        if pins & driven != driven {
            continue;
        }
        regs.set(Reg::ESDP, 0, pins ^ 1 << n);
        let rises = pins & 1 << n == 0;
        if rises && regs.get(Reg::GPIE, 0) & gpie::SDP0_GPIEN << n != 0 {
            irq.other(regs, eicr::GPI_SDP0 << n);
        }
    }
}
