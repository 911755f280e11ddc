//! What a client learns about the device.

use std::os::fd::OwnedFd;

use zerocopy::FromBytes;

use super::ClientError;
use crate::message::{
    CAP_SPARSE_MMAP, CapabilityHeader, Command, DeviceFlags, IrqFlags, RegionFlags, RegionInfo,
    SparseArea, SparseMmap,
};
use crate::server::MappableArea;

/// What `DEVICE_GET_INFO` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceDetails {
    /// What the device can do.
    pub flags: DeviceFlags,
    /// Number of regions.
    pub regions: u32,
    /// Number of interrupt types.
    pub irqs: u32,
}

/// What `DEVICE_GET_REGION_INFO` tells.
#[derive(Debug)]
pub struct RegionDetails {
    /// What can be done with the region.
    pub flags: RegionFlags,
    /// Its length in bytes.
    pub size: u64,
    /// Where it starts in `file`.
    pub offset: u64,
    /// The file to map, if it can be mapped.
    pub file: Option<OwnedFd>,
    /// The parts that can be mapped; with a file and without parts, all of it.
    pub areas: Vec<MappableArea>,
}

/// What `DEVICE_GET_IRQ_INFO` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqDetails {
    /// What the interrupt type can do.
    pub flags: IrqFlags,
    /// How many vectors it has.
    pub count: u32,
}

/// Walks the capabilities behind a region's structure.
pub(super) fn sparse_areas(
    info: &RegionInfo,
    payload: &[u8],
) -> Result<Vec<MappableArea>, ClientError> {
    let broken = || ClientError::Malformed {
        command: Command::DEVICE_GET_REGION_INFO,
        problem: "its capability list is broken",
    };
    let mut areas = Vec::new();
    if !RegionFlags::from_bits_retain(info.flags.get()).contains(RegionFlags::CAPS) {
        return Ok(areas);
    }
    let mut at = info.cap_offset.get();
    while at != 0 {
        let capability = usize::try_from(at)
            .ok()
            .and_then(|at| payload.get(at..))
            .ok_or_else(broken)?;
        let (head, _) = CapabilityHeader::read_from_prefix(capability).map_err(|_| broken())?;
        if head.id.get() == CAP_SPARSE_MMAP {
            let (sparse, rest) = SparseMmap::read_from_prefix(capability).map_err(|_| broken())?;
            let count = usize::try_from(sparse.nr_areas.get()).map_err(|_| broken())?;
            let (list, _) =
                <[SparseArea]>::ref_from_prefix_with_elems(rest, count).map_err(|_| broken())?;
            areas.extend(list.iter().map(|area| MappableArea {
                offset: area.offset.get(),
                size: area.size.get(),
            }));
        }
        // A list that goes backwards might never end.
        let next = head.next.get();
        if next != 0 && next <= at {
            return Err(broken());
        }
        at = next;
    }
    Ok(areas)
}
