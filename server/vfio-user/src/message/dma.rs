//! Payloads about the client's memory.

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

bitflags! {
    /// What the server may do with a mapped range.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Protection: u32 {
        /// The server may read it.
        const READ = 1 << 0;
        /// The server may write it.
        const WRITE = 1 << 1;
    }

    /// The flags of `DMA_UNMAP`, with the values of `linux/vfio.h` that QEMU uses.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DmaUnmapFlags: u32 {
        /// The reply should carry the dirty bitmap of the range.
        const GET_DIRTY_BITMAP = 1 << 0;
        /// Remove every mapping; address and size have to be 0.
        const ALL = 1 << 1;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// Payload of `DMA_MAP`. The reply has none.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DmaMap {
    /// Size of this structure: 32.
    pub argsz: U32,
    /// See [`Protection`].
    pub flags: U32,
    /// Where the range starts in the file that came along, in bytes; 0 without a file.
    pub offset: U64,
    /// The range's first I/O virtual address.
    pub address: U64,
    /// The range's length in bytes. `address + size` may be 2^64.
    pub size: U64,
}

/// Payload of `DMA_UNMAP`, and of its reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DmaUnmap {
    /// Request: the most payload bytes that the reply may have. Reply: 24.
    pub argsz: U32,
    /// See [`DmaUnmapFlags`].
    pub flags: U32,
    /// The range's first I/O virtual address.
    pub address: U64,
    /// The range's length in bytes. `address + size` may be 2^64.
    pub size: U64,
}

/// Payload of `DMA_READ`, `DMA_WRITE` and of their replies; in a write and in the reply to a
/// read the data follow.
///
/// The count is 64 bits wide, as the specification and QEMU 11.1 have it. QEMU 10 used 32.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DmaAccess {
    /// The first I/O virtual address.
    pub address: U64,
    /// Bytes to transfer, or transferred.
    pub count: U64,
}

/// Payload of `DIRTY_PAGES`, which came before `DEVICE_FEATURE`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DirtyPages {
    /// The most payload bytes that the reply may have.
    pub argsz: U32,
    /// Start, stop or report.
    pub flags: U32,
}

const _: () = assert!(size_of::<DmaMap>() == 32);
const _: () = assert!(size_of::<DmaUnmap>() == 24);
const _: () = assert!(size_of::<DmaAccess>() == 16);
const _: () = assert!(size_of::<DirtyPages>() == 8);
