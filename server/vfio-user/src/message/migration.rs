//! The data of the features about migration, which `DEVICE_FEATURE` carries (`VFIO_DEVICE_FEATURE_*`).

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Index of a feature: the low half of [`DeviceFeature::flags`](super::DeviceFeature::flags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature(pub u16);

impl Feature {
    /// What kinds of migration there are ([`MigrationFlags`], 8 bytes); get.
    pub const MIGRATION: Self = Self(1);
    /// The state of the device in its migration ([`MigrationState`]); get and set.
    pub const MIG_DEVICE_STATE: Self = Self(2);
    /// Begins to log what the device writes ([`LoggingStart`]); set.
    pub const DMA_LOGGING_START: Self = Self(6);
    /// Ends that; set.
    pub const DMA_LOGGING_STOP: Self = Self(7);
    /// What the device has written since it was asked last ([`LoggingReport`]); get.
    pub const DMA_LOGGING_REPORT: Self = Self(8);
}

bitflags! {
    /// What kinds of migration there are.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MigrationFlags: u64 {
        /// The state can be read while the device is stopped.
        const STOP_COPY = 1 << 0;
        /// The device can be stopped for its peers alone.
        const P2P = 1 << 1;
        /// A move can begin while the device runs.
        const PRE_COPY = 1 << 2;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// Data of [`Feature::MIG_DEVICE_STATE`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct MigrationState {
    /// The state that it is in, or is to go to, as `vfio_device_mig_state` numbers them.
    pub device_state: U32,
    /// Not used: the data go over the socket.
    pub data_fd: U32,
}

/// Data of [`Feature::DMA_LOGGING_START`]; the ranges follow, none of them meaning all there is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct LoggingStart {
    /// The granule that is wished for, and in the reply the one that it is, in bytes.
    pub page_size: U64,
    /// How many ranges follow.
    pub num_ranges: U32,
    /// 0.
    pub reserved: U32,
}

/// A range of [`LoggingStart`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct LoggingRange {
    /// Its first address.
    pub iova: U64,
    /// Its length in bytes.
    pub length: U64,
}

/// Data of [`Feature::DMA_LOGGING_REPORT`]; in the reply a bitmap follows, in quadwords, a bit for each page.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct LoggingReport {
    /// First address.
    pub iova: U64,
    /// Length in bytes.
    pub length: U64,
    /// What a bit stands for, in bytes: a power of two.
    pub page_size: U64,
}

const _: () = assert!(size_of::<MigrationState>() == 8);
const _: () = assert!(size_of::<LoggingStart>() == 16);
const _: () = assert!(size_of::<LoggingRange>() == 16);
const _: () = assert!(size_of::<LoggingReport>() == 24);
