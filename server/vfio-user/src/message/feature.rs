//! Payloads about device features and migration.

use bitflags::bitflags;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

bitflags! {
    /// The upper half of a feature's flags (`VFIO_DEVICE_FEATURE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FeatureFlags: u32 {
        /// Get the feature's data.
        const GET = 1 << 16;
        /// Set the feature's data.
        const SET = 1 << 17;
        /// Ask only whether the other two bits would work.
        const PROBE = 1 << 18;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// Payload of `DEVICE_FEATURE` and of its reply; the feature's data follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DeviceFeature {
    /// The most payload bytes that the reply may have.
    pub argsz: U32,
    /// Bits 0 to 15 are the feature's index, the rest [`FeatureFlags`].
    pub flags: U32,
}

/// Payload of `MIG_DATA_READ` and `MIG_DATA_WRITE`; in a write and in the reply to a read the
/// data follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct MigData {
    /// The most payload bytes that the reply may have.
    pub argsz: U32,
    /// Bytes of device state to transfer, or transferred.
    pub size: U32,
}

const _: () = assert!(size_of::<DeviceFeature>() == 8);
const _: () = assert!(size_of::<MigData>() == 8);
