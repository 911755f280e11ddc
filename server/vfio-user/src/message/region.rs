//! Payloads about the device, its regions and the access to them.

use bitflags::bitflags;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

bitflags! {
    /// What a device says about itself (`VFIO_DEVICE_FLAGS_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceFlags: u32 {
        /// `DEVICE_RESET` works.
        const RESET = 1 << 0;
        /// It is a PCI device.
        const PCI = 1 << 1;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// What a region says about itself (`VFIO_REGION_INFO_FLAG_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RegionFlags: u32 {
        /// It can be read.
        const READ = 1 << 0;
        /// It can be written.
        const WRITE = 1 << 1;
        /// The file descriptor that comes with the reply can be mapped.
        const MMAP = 1 << 2;
        /// Capabilities follow the structure.
        const CAPS = 1 << 3;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// Payload of `DEVICE_GET_INFO` and of its reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DeviceInfo {
    /// Request: the most payload bytes that the reply may have. Reply: 16.
    pub argsz: U32,
    /// See [`DeviceFlags`].
    pub flags: U32,
    /// Number of regions, including those of size 0.
    pub num_regions: U32,
    /// Number of interrupt types, including those without a vector.
    pub num_irqs: U32,
}

/// Payload of `DEVICE_GET_REGION_INFO` and, before its capabilities, of its reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct RegionInfo {
    /// Request: the most payload bytes that the reply may have. Reply: what all of it takes,
    /// which may be more than was asked for and sent.
    pub argsz: U32,
    /// See [`RegionFlags`].
    pub flags: U32,
    /// Which region.
    pub index: U32,
    /// Where the first capability is, counted from the start of this structure; 0 for none.
    pub cap_offset: U32,
    /// The region's size in bytes; 0 for a region that is not there.
    pub size: U64,
    /// Where the region starts in the file that came along.
    pub offset: U64,
}

/// The head of a capability in the reply to `DEVICE_GET_REGION_INFO`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CapabilityHeader {
    /// Which capability, for example [`CAP_SPARSE_MMAP`].
    pub id: U16,
    /// The capability's own version.
    pub version: U16,
    /// Where the next capability is, counted from the start of [`RegionInfo`]; 0 for none.
    pub next: U32,
}

/// Capability id: only parts of the region can be mapped (`VFIO_REGION_INFO_CAP_SPARSE_MMAP`).
pub const CAP_SPARSE_MMAP: u16 = 1;

/// The sparse mmap capability; its areas follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct SparseMmap {
    /// Id [`CAP_SPARSE_MMAP`], version 1.
    pub header: CapabilityHeader,
    /// How many [`SparseArea`]s follow.
    pub nr_areas: U32,
    /// 0.
    pub reserved: U32,
}

/// A part of a region that can be mapped.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct SparseArea {
    /// Its start in the region, in bytes.
    pub offset: U64,
    /// Its length in bytes.
    pub size: U64,
}

/// Payload of `DEVICE_GET_REGION_IO_FDS` and, before its entries, of its reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct RegionIoFds {
    /// Request: the most payload bytes that the reply may have. Reply: what all of it takes.
    pub argsz: U32,
    /// 0.
    pub flags: U32,
    /// Which region.
    pub index: U32,
    /// Reply: number of entries. Request: 0.
    pub count: U32,
}

/// Payload of `REGION_READ`, `REGION_WRITE` and of their replies; in a write and in the reply
/// to a read the data follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct RegionAccess {
    /// Where in the region, in bytes.
    pub offset: U64,
    /// Which region.
    pub region: U32,
    /// Bytes to transfer, or transferred.
    pub count: U32,
}

/// One write of `REGION_WRITE_MULTI`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct MultiWrite {
    /// Where in the region, in bytes.
    pub offset: U64,
    /// Which region.
    pub region: U32,
    /// How many bytes of `data` to write: 1 to 8.
    pub count: U32,
    /// The data, from the first byte on.
    pub data: [u8; 8],
}

const _: () = assert!(size_of::<DeviceInfo>() == 16);
const _: () = assert!(size_of::<RegionInfo>() == 32);
const _: () = assert!(size_of::<CapabilityHeader>() == 8);
const _: () = assert!(size_of::<SparseMmap>() == 16);
const _: () = assert!(size_of::<SparseArea>() == 16);
const _: () = assert!(size_of::<RegionIoFds>() == 16);
const _: () = assert!(size_of::<RegionAccess>() == 16);
const _: () = assert!(size_of::<MultiWrite>() == 24);
