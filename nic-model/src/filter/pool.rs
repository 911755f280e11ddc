//! VM pools: sets of them, and what addresses and VLANs belong to which (7.10.3).

use ixgbe_spec::register::{
    Reg,
    bits::{mrqc::MRQE, rah::AV, vlvf, vt_ctl::VT_ENA},
};

use super::Mac;
use crate::regs::RegisterFile;

/// A set of the up to 64 pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolSet(u64);

impl PoolSet {
    /// No pool.
    pub(crate) const EMPTY: Self = Self(0);

    /// All pools.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// One pool; no pool for a number that there is not.
    pub(crate) const fn of(pool: u8) -> Self {
        if pool < 64 { Self(1 << pool) } else { Self(0) }
    }

    /// The pools below `count`.
    const fn below(count: u8) -> Self {
        Self(u64::MAX >> (64 - count))
    }

    /// The set whose pools 31:0 are in one register and whose pools 63:32 are in another.
    pub(crate) const fn from_words(low: u32, high: u32) -> Self {
        Self((high as u64) << 32 | low as u64)
    }

    /// The set that an array of pairs of registers has as its element `n`.
    pub(crate) fn of_pair(reg: Reg, n: usize, regs: &RegisterFile) -> Self {
        Self::from_words(regs.get(reg, 2 * n), regs.get(reg, 2 * n + 1))
    }

    /// Those whose element of `register` has one of `bits`.
    pub(crate) fn having(self, register: Reg, bits: u32, regs: &RegisterFile) -> Self {
        self.iter()
            .filter(|pool| regs.get(register, usize::from(*pool)) & bits != 0)
            .fold(Self::EMPTY, |set, pool| set.or(Self::of(pool)))
    }

    /// The union.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The intersection.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The pools that are not in `other`.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The pool with the lowest number, alone.
    pub(crate) const fn lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    /// Whether `pool` is one of them.
    pub(crate) const fn contains(self, pool: u8) -> bool {
        !self.and(Self::of(pool)).is_empty()
    }

    /// How many there are.
    pub(crate) const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The pools from the lowest number on.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let pool = u8::try_from(left.trailing_zeros()).ok()?;
            left &= left.checked_sub(1)?;
            Some(pool)
        })
    }
}

/// The pools that there are; `None` without virtualisation: VT_CTL.VT_ENA is 0, or MRQC composes queues without pools.
#[inline]
pub(crate) fn in_force(regs: &RegisterFile) -> Option<PoolSet> {
    if regs.get(Reg::VT_CTL, 0) & VT_ENA == 0 {
        return None;
    }
    match regs.get(Reg::MRQC, 0) & MRQE {
        0x8 | 0xB => Some(PoolSet::below(64)),
        0xA | 0xD => Some(PoolSet::below(32)),
        0xC => Some(PoolSet::below(16)),
        _ => None,
    }
}

/// The pools of an address by MPSAR; `None` if no receive address register holds it.
pub(crate) fn of_address(mac: Mac, regs: &RegisterFile) -> Option<PoolSet> {
    (0..Reg::RAH.count())
        .filter(|n| {
            let high = regs.get(Reg::RAH, *n);
            high & AV != 0 && Mac::from_rar(regs.get(Reg::RAL, *n), high) == mac
        })
        .map(|n| PoolSet::of_pair(Reg::MPSAR, n, regs))
        .reduce(PoolSet::or)
}

/// The entries of VLVF that hold a VLAN.
pub(crate) fn entries_of_vlan(id: u16, regs: &RegisterFile) -> impl Iterator<Item = usize> {
    let wanted = vlvf::VI_EN | u32::from(id);
    (0..Reg::VLVF.count())
        .filter(move |n| regs.get(Reg::VLVF, *n) & (vlvf::VI_EN | vlvf::VLAN_ID) == wanted)
}

/// The pools of a VLAN by VLVF and VLVFB.
pub(crate) fn of_vlan(id: u16, regs: &RegisterFile) -> PoolSet {
    entries_of_vlan(id, regs)
        .map(|n| PoolSet::of_pair(Reg::VLVFB, n, regs))
        .fold(PoolSet::EMPTY, PoolSet::or)
}
