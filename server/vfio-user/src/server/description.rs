//! What a device tells its clients about itself, and what a server takes from them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::message::{
    DEFAULT_MAX_DATA_XFER_SIZE, DEFAULT_MAX_DMA_MAPS, DEFAULT_PGSIZES, DeviceFlags, IrqFlags,
    RegionFlags,
};

/// The device as `DEVICE_GET_INFO`, `DEVICE_GET_REGION_INFO` and `DEVICE_GET_IRQ_INFO` show it.
#[derive(Clone, Debug)]
pub struct Description {
    /// What the device can do. `DEVICE_RESET` is served whether or not
    /// [`DeviceFlags::RESET`] says so: cloud-hypervisor's client sends it when it does not.
    pub flags: DeviceFlags,
    /// The regions by index. For PCI: 0 to 5 the BARs, 6 the ROM, 7 configuration space, 8 VGA.
    /// QEMU wants at least 8, at most 100.
    pub regions: Vec<Region>,
    /// The interrupt types by index. For PCI: INTx, MSI, MSI-X, ERR, REQ. QEMU wants at least 3,
    /// and one vector in ERR.
    pub irqs: Vec<Irq>,
}

/// One region.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its length in bytes; 0 for a region that is not there.
    pub size: u64,
    /// [`RegionFlags::READ`] and [`RegionFlags::WRITE`]. The other flags follow from `mapping`.
    pub access: RegionFlags,
    /// Set for a region that the client can map.
    ///
    /// QEMU stops posting writes to the whole device once any region has a mapping.
    pub mapping: Option<RegionMapping>,
}

/// The mappable part of a region.
#[derive(Clone, Debug)]
pub struct RegionMapping {
    /// The file that clients map.
    pub file: Arc<OwnedFd>,
    /// Where the region starts in the file, in bytes.
    pub offset: u64,
    /// The parts that can be mapped, all of them aligned to pages; none means the whole region.
    pub areas: Vec<MappableArea>,
}

/// A part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappableArea {
    /// Its start in the region, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// One interrupt type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Irq {
    /// What it can do.
    pub flags: IrqFlags,
    /// How many vectors it has.
    pub count: u32,
}

impl Region {
    /// A region that is not there.
    pub const ABSENT: Self = Self {
        size: 0,
        access: RegionFlags::empty(),
        mapping: None,
    };

    /// A region of `size` bytes that is read and written by messages.
    #[must_use]
    pub const fn trapped(size: u64) -> Self {
        Self {
            size,
            access: RegionFlags::READ.union(RegionFlags::WRITE),
            mapping: None,
        }
    }
}

/// What one client may ask of a session. The first five are announced to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// File descriptors in one message. QEMU refuses more than 16; cloud-hypervisor always
    /// sends 16. At most 253, the kernel's own limit.
    pub max_msg_fds: u32,
    /// Data bytes in one message: 4096 to 64 MiB, or QEMU refuses.
    pub max_data_xfer_size: u32,
    /// DMA mappings; QEMU refuses more than 65535. The device enforces it.
    pub max_dma_maps: u32,
    /// Page sizes of DMA mappings, or'ed together; QEMU wants a multiple of 4096.
    pub pgsizes: u64,
    /// Whether `REGION_WRITE_MULTI` is taken.
    pub write_multiple: bool,
    /// Messages served before [`Session::receive`](super::Session::receive) returns; every write
    /// of a `REGION_WRITE_MULTI` counts. A single message is never cut in two.
    pub messages_per_turn: u32,
    /// Bytes that may wait for a client that does not read. More than that ends the session.
    pub queued_bytes: usize,
    /// Message DMA that may be under way, in bytes and per direction; see
    /// [`DmaError::Busy`](super::DmaError::Busy).
    pub dma_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_msg_fds: 16,
            max_data_xfer_size: DEFAULT_MAX_DATA_XFER_SIZE,
            max_dma_maps: DEFAULT_MAX_DMA_MAPS,
            pgsizes: DEFAULT_PGSIZES,
            write_multiple: true,
            messages_per_turn: 256,
            queued_bytes: 4 << 20,
            dma_bytes: 1 << 20,
        }
    }
}

impl Limits {
    /// The longest message that a client can have reason to send, header included.
    #[must_use]
    pub(crate) fn message_size(&self) -> usize {
        // Header and `RegionAccess` before the data, and never too small for the other messages.
        usize::try_from(self.max_data_xfer_size)
            .unwrap_or(usize::MAX)
            .saturating_add(32)
            .max(8192)
    }
}
