//! Auxiliary time stamps: the system time at which an input pin changes (7.9.5).

use ixgbe_spec::register::{
    Reg,
    bits::{esdp, tsauxc},
};

use super::halves;
use crate::regs::RegisterFile;

const STAMPS: [(Reg, Reg); 2] = [
    (Reg::AUXSTMPL0, Reg::AUXSTMPH0),
    (Reg::AUXSTMPL1, Reg::AUXSTMPH1),
];

/// The pins that have stamps: that of stamp n is SDPn.
pub(super) const PINS: u32 = 3;

/// The levels of `changed` pins have changed at the system time `value`.
pub(super) fn changed(changed: u32, value: u64, regs: &mut RegisterFile) {
    let pins = regs.get(Reg::ESDP, 0);
    let inputs = pins >> esdp::NATIVE_SHIFT & !(pins >> esdp::DIRECTION_SHIFT);
    for (n, (low, high)) in STAMPS.into_iter().enumerate() {
        let control = regs.get(Reg::TSAUXC, 0);
        let (enabled, taken) = (tsauxc::EN_TS0 << (2 * n), tsauxc::AUTT0 << (2 * n));
        if changed & inputs & 1 << n == 0 || control & (enabled | taken) != enabled {
            continue;
        }
        let (low_half, high_half) = halves(value);
        regs.set(low, 0, low_half);
        regs.set(high, 0, high_half);
        regs.set(Reg::TSAUXC, 0, control | taken);
    }
}

/// Software reads the high half of stamp `n`.
pub(super) fn free(n: usize, regs: &mut RegisterFile) {
    let control = regs.get(Reg::TSAUXC, 0);
    regs.set(Reg::TSAUXC, 0, control & !(tsauxc::AUTT0 << (2 * n)));
}
