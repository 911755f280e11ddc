//! Mirroring: the rules by which a pool gets copies of what others receive and send (7.10.3.5).

use ixgbe_spec::register::{
    Reg,
    bits::mrctl::{DPME, MP_SHIFT, UPME, VLME, VPME},
};

use super::pool::{self, PoolSet};
use crate::{regs::RegisterFile, rx::header::Tag};

/// Where a frame comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// From the network to pools.
    FromNetwork,
    /// From a pool to the network, perhaps to other pools, too.
    ToNetwork,
    /// From a pool to other pools only.
    Inside,
}

/// The pools that get copies of a frame that goes to `pools`.
pub(crate) fn targets(
    path: Path,
    pools: PoolSet,
    tag: Option<Tag>,
    regs: &RegisterFile,
) -> PoolSet {
    (0..Reg::MRCTL.count())
        .filter(|rule| applies(*rule, path, pools, tag, regs))
        .map(|rule| PoolSet::of((regs.get(Reg::MRCTL, rule) >> MP_SHIFT & 0x3F) as u8))
        .fold(PoolSet::EMPTY, PoolSet::or)
}

/// Whether a rule's conditions hold; one is enough.
fn applies(rule: usize, path: Path, pools: PoolSet, tag: Option<Tag>, regs: &RegisterFile) -> bool {
    let control = regs.get(Reg::MRCTL, rule);
    if control & (VPME | UPME | DPME | VLME) == 0 {
        return false;
    }
    // The low words of the four rules come first, then the high ones.
    let pair = |reg| {
        let high = regs.get(reg, rule + Reg::MRCTL.count());
        PoolSet::from_words(regs.get(reg, rule), high)
    };
    let of_pool = || !pair(Reg::VMRVM).and(pools).is_empty();
    let of_vlan = || {
        let entries = pair(Reg::VMRVLAN);
        tag.is_some_and(|tag| {
            pool::entries_of_vlan(tag.id(), regs)
                .filter_map(|n| u8::try_from(n).ok())
                .any(|n| entries.contains(n))
        })
    };
    control & VPME != 0 && of_pool()
        || control & VLME != 0 && of_vlan()
        || control & UPME != 0 && path == Path::FromNetwork && !pools.is_empty()
        || control & DPME != 0 && path == Path::ToNetwork
}
