//! The messages as they lie on the wire: fixed structures, little-endian, without padding.
//!
//! [`Request`] is a whole command: [`Request::decode`] and [`Request::encode_into`] are inverse
//! to each other. The sources are the vfio-user specification 0.1 and `linux/vfio.h`.

mod dma;
mod feature;
mod header;
mod irq;
mod migration;
mod region;
mod request;
mod version;

pub use dma::{DirtyPages, DmaAccess, DmaMap, DmaUnmap, DmaUnmapFlags, Protection};
pub use feature::{DeviceFeature, FeatureFlags, MigData};
pub use header::{Command, HEADER_SIZE, Header, HeaderFlags, MessageType};
pub use irq::{IrqFlags, IrqInfo, IrqSet, IrqSetFlags};
pub use migration::{
    Feature, LoggingRange, LoggingReport, LoggingStart, MigrationFlags, MigrationState,
};
pub use region::{
    CAP_SPARSE_MMAP, CapabilityHeader, DeviceFlags, DeviceInfo, MultiWrite, RegionAccess,
    RegionFlags, RegionInfo, RegionIoFds, SparseArea, SparseMmap,
};
pub use request::{PayloadError, Request};
pub use version::{
    Capabilities, DEFAULT_MAX_DATA_XFER_SIZE, DEFAULT_MAX_DMA_MAPS, DEFAULT_MAX_MSG_FDS,
    DEFAULT_PGSIZES, MAJOR, MINOR, Migration, TwinSocket, Version, VersionDataError,
};
