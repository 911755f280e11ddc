//! What can go wrong when the client lends memory, and when the device touches it.

use std::io;

use nix::errno::Errno;
use thiserror::Error;

use crate::table::PAGE_SIZE;

/// Why a range could not be mapped or unmapped. [`errno`](Self::errno) is what the client is told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The range is empty, ends past 2^64, or does not consist of whole pages.
    #[error(
        "range at {iova:#x} of {size:#x} bytes is empty, passes 2^64 or is not made of {PAGE_SIZE}-byte pages"
    )]
    BadRange {
        /// First address of the range.
        iova: u64,
        /// Its length in bytes.
        size: u64,
    },
    /// Part of the range is mapped already, and differently.
    #[error(
        "range at {iova:#x} of {size:#x} bytes overlaps memory that is mapped otherwise; unmap that first"
    )]
    Overlap {
        /// First address of the range.
        iova: u64,
        /// Its length in bytes.
        size: u64,
    },
    /// The table holds as many ranges as it may ([`Limits::maps`](crate::Limits::maps)).
    #[error("{limit} ranges are mapped, which is the limit")]
    TooManyMaps {
        /// The limit.
        limit: usize,
    },
    /// The table holds as many files as it may ([`Limits::files`](crate::Limits::files)).
    #[error("{limit} different files are mapped, which is the limit")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The files together are larger than the table may map
    /// ([`Limits::mapped_bytes`](crate::Limits::mapped_bytes)).
    #[error("the mapped files would exceed {limit:#x} bytes, which is the limit")]
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// The file ends before the range does, or the offset is not that of a page.
    #[error(
        "{size:#x} bytes at offset {offset:#x} are not whole pages inside a file of {file_size:#x} bytes"
    )]
    OutsideFile {
        /// Offset of the range in the file.
        offset: u64,
        /// Length of the range in bytes.
        size: u64,
        /// Length of the file in bytes.
        file_size: u64,
    },
    /// The descriptor is not that of an ordinary file, so it cannot be mapped.
    #[error("descriptor is not an ordinary file; pass a memfd, shared memory or a file")]
    NotMappable,
    /// The descriptor was not opened for the access that the range asks for.
    #[error(
        "descriptor was opened without the access that the range needs; open it for reading and writing"
    )]
    WrongMode,
    /// The operating system refused.
    #[error("{call} failed")]
    Os {
        /// The system call.
        call: &'static str,
        /// Why it failed.
        #[source]
        source: Errno,
    },
}

impl MapError {
    /// The `errno` for the error reply; never 0.
    pub fn errno(&self) -> Errno {
        match *self {
            Self::BadRange { .. } | Self::OutsideFile { .. } => Errno::EINVAL,
            Self::Overlap { .. } => Errno::EEXIST,
            Self::TooManyMaps { .. } | Self::TooManyFiles { .. } => Errno::ENOSPC,
            Self::TooManyBytes { .. } => Errno::ENOMEM,
            Self::NotMappable => Errno::ENODEV,
            Self::WrongMode => Errno::EACCES,
            Self::Os { source, .. } => source,
        }
    }
}

impl From<MapError> for io::Error {
    fn from(error: MapError) -> Self {
        Self::new(Self::from(error.errno()).kind(), error)
    }
}

/// Why the device could not touch client memory at an IOVA.
///
/// Unless it says otherwise, nothing was read or written.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AccessError {
    /// Nothing is mapped there (or the access would pass 2^64).
    #[error("nothing is mapped at {iova:#x}")]
    Unmapped {
        /// The first address that is not mapped; the start of the access if that passes 2^64.
        iova: u64,
    },
    /// The client mapped it without the right to read, or to write.
    #[error("memory at {iova:#x} is mapped without that right")]
    Permission {
        /// The first address that lacks the right.
        iova: u64,
    },
    /// The client mapped it without a descriptor: it is read and written with `DMA_READ` and `DMA_WRITE` messages.
    #[error("{len} bytes at {iova:#x} are reached by messages only")]
    MessageBacked {
        /// First address of the part that needs messages.
        iova: u64,
        /// Length in bytes of that part, within this access.
        len: usize,
    },
    /// The client truncated the file behind this memory. A read may have filled the buffer with zeros in part; a
    /// write may have been lost in part.
    #[error("the file behind the memory at {iova:#x} was truncated")]
    Gone {
        /// First address of the part of the access that lies in that file.
        iova: u64,
    },
    /// The address is not a multiple of the size of an access that must not be torn.
    #[error("{iova:#x} is not aligned to the access")]
    Misaligned {
        /// The address.
        iova: u64,
    },
}
