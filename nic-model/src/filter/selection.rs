//! To which pools a frame goes, and whether to the network (7.10.3.3, 7.10.3.4).
//!
//! The steps stand in the order of the datasheet. Where it leaves something open:
//! - without replication a frame goes to the pool with the lowest number that the steps leave;
//! - mirroring is for replication only;
//! - bits of PFVML2FLT for promiscuous unicast and VLAN are those of later chips.

use ixgbe_spec::register::{
    Reg,
    bits::{
        mcstctrl::MFE,
        vlnctrl::VFE,
        vmolr::{AUPE, BAM, MPE, ROMPE, ROPE},
        vt_ctl::{DEF_PL_SHIFT, DIS_DEF_POOL, RPL_EN},
    },
};

use super::{
    Kind, Mac,
    mirror::{self, Path},
    pool::{self, PoolSet},
};
use crate::{regs::RegisterFile, rx::header::Tag};

/// Where a frame of a pool goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Pools of this port.
    pub(crate) pools: PoolSet,
    /// Whether it goes to the network.
    pub(crate) network: bool,
}

/// What the steps look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Destination address.
    pub(crate) mac: Mac,
    /// VLAN tag.
    pub(crate) tag: Option<Tag>,
    /// Pool by ethertype filter.
    pub(crate) ethertype: Option<u8>,
}

/// The pools that get a frame from the network (7.10.3.3); it has passed the L2 filters. `existing` are the pools that
/// there are.
pub(crate) fn from_network(frame: &Frame, existing: PoolSet, regs: &RegisterFile) -> PoolSet {
    let replicates = replicates(regs);
    let kind = frame.mac.kind();
    let by_address = by_address(frame.mac, pool::of_address(frame.mac, regs), regs);
    let mut pools = of_vlan(by_address, frame.tag, regs);
    if pools.is_empty() && regs.get(Reg::VT_CTL, 0) & DIS_DEF_POOL == 0 {
        pools = default_pool(regs);
    }
    if !replicates && kind != Kind::Unicast && by_address.is_empty() {
        pools = default_pool(regs);
    }
    if let Some(pool) = frame.ethertype {
        pools = PoolSet::of(pool);
    }
    let pools = enabled(pools.and(existing), regs);
    if !replicates {
        return pools.lowest();
    }
    let mirrors = mirror::targets(Path::FromNetwork, pools, frame.tag, regs);
    enabled(pools.or(mirrors).and(existing), regs)
}

/// Where a frame goes that a queue of pool `source` sends (7.10.3.4).
pub(crate) fn from_pool(
    frame: &Frame,
    source: u8,
    existing: PoolSet,
    regs: &RegisterFile,
) -> Targets {
    let replicates = replicates(regs);
    let kind = frame.mac.kind();
    let exact = pool::of_address(frame.mac, regs);
    let network = kind != Kind::Unicast || exact.is_none();
    let mut pools = by_address(frame.mac, exact, regs);
    let has_default = !replicates || regs.get(Reg::VT_CTL, 0) & DIS_DEF_POOL == 0;
    if pools.is_empty() && kind != Kind::Unicast && has_default {
        pools = default_pool(regs);
    }
    // Not back to where it came from, unless VMTXSW says so.
    let loops = PoolSet::of_pair(Reg::VMTXSW, 0, regs);
    pools = pools.without(PoolSet::of(source).without(loops));
    let pools = enabled(of_vlan(pools, frame.tag, regs).and(existing), regs);
    if !replicates {
        return Targets {
            pools: pools.lowest(),
            network,
        };
    }
    let path = if network {
        Path::ToNetwork
    } else {
        Path::Inside
    };
    let mirrors = mirror::targets(path, pools, frame.tag, regs);
    Targets {
        pools: enabled(pools.or(mirrors).and(existing), regs),
        network,
    }
}

fn replicates(regs: &RegisterFile) -> bool {
    regs.get(Reg::VT_CTL, 0) & RPL_EN != 0
}

fn default_pool(regs: &RegisterFile) -> PoolSet {
    PoolSet::of((regs.get(Reg::VT_CTL, 0) >> DEF_PL_SHIFT & 0x3F) as u8)
}

/// The pools that may receive (PFVFRE).
fn enabled(pools: PoolSet, regs: &RegisterFile) -> PoolSet {
    pools.and(PoolSet::of_pair(Reg::PFVFRE, 0, regs))
}

/// The pools of a destination; `exact` are those of its address by MPSAR.
fn by_address(mac: Mac, exact: Option<PoolSet>, regs: &RegisterFile) -> PoolSet {
    let with = |bit| PoolSet::ALL.having(Reg::VMOLR, bit, regs);
    let hash_hit = |table| {
        let (row, bit) = mac.hash(regs.get(Reg::MCSTCTRL, 0));
        regs.get(table, row) >> bit & 1 == 1
    };
    let exact = exact.unwrap_or(PoolSet::EMPTY);
    let replicates = replicates(regs);
    match mac.kind() {
        Kind::Unicast if exact.is_empty() && hash_hit(Reg::PFUTA) => with(ROPE),
        Kind::Broadcast if replicates => exact.or(with(BAM)),
        Kind::Multicast if replicates => {
            let enabled = regs.get(Reg::MCSTCTRL, 0) & MFE != 0;
            let by_hash = exact.is_empty() && enabled && hash_hit(Reg::MTA);
            let pools = if by_hash { with(ROMPE) } else { exact };
            pools.or(with(MPE))
        }
        _ => exact,
    }
}

/// Those of `pools` that are in the frame's VLAN; for a frame without tag those that take such frames.
fn of_vlan(pools: PoolSet, tag: Option<Tag>, regs: &RegisterFile) -> PoolSet {
    if pools.is_empty() || regs.get(Reg::VLNCTRL, 0) & VFE == 0 {
        return pools;
    }
    match tag {
        Some(tag) => pools.and(pool::of_vlan(tag.id(), regs)),
        None => pools.having(Reg::VMOLR, AUPE, regs),
    }
}

#[cfg(test)]
mod tests;
