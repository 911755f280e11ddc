//! The client's side: memory that a driver process lends to a device.

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use vm_memory::VolatileSlice;

use crate::mapping::Mapping;
use crate::table::PAGE_SIZE;

/// Anonymous memory with a descriptor, sealed at its size, zero at first. The device on the other side may change it
/// at any time.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    mapping: Mapping,
}

impl SharedMemory {
    /// Makes `len` bytes of memory (a multiple of 4096, not 0). `name` shows in `/proc`.
    ///
    /// # Errors
    /// `EINVAL` for another length; else as `memfd_create`, `ftruncate`, `fcntl` and `mmap`.
    pub fn new(name: &CStr, len: usize) -> io::Result<Self> {
        let page = usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX);
        let size = NonZeroUsize::new(len).filter(|len| len.get().is_multiple_of(page));
        let (Some(size), Ok(file_size)) = (size, i64::try_from(len)) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&fd, file_size)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        let mapping = Mapping::new(&fd, size, page, true)?;
        Ok(Self { fd, mapping })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never: there is no memory of no length.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` bytes at `offset`, or nothing if they are not all inside.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Option<VolatileSlice<'_>> {
        self.mapping.slice(offset, len)
    }
}

impl AsFd for SharedMemory {
    /// The descriptor to send with a `DMA_MAP`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
