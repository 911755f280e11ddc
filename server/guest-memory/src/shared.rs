//! Memory with a descriptor that two processes share: what a driver lends to a device, and the pages of registers that
//! a device lends to a driver.

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use vm_memory::VolatileSlice;

use crate::mapping::Mapping;
use crate::table::PAGE_SIZE;

/// Memory with a descriptor, which whoever holds it can change at any time.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    mapping: Mapping,
}

impl SharedMemory {
    /// Makes `len` bytes of anonymous memory (a multiple of 4096, not 0), sealed at their size, zero at first. `name`
    /// shows in `/proc`.
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

    /// Maps the first `len` bytes (a multiple of 4096, not 0) of memory that the other side has made. Should it be
    /// truncated, it reads as zero from then on.
    ///
    /// # Errors
    /// `EINVAL` for another length, and for memory that is shorter; else as `fstat` and `mmap`.
    pub fn attach(fd: OwnedFd, len: usize) -> io::Result<Self> {
        let page = usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX);
        let size = NonZeroUsize::new(len).filter(|len| len.get().is_multiple_of(page));
        let there = u64::try_from(fstat(&fd)?.st_size).unwrap_or(0);
        let enough = u64::try_from(len).is_ok_and(|len| len <= there);
        let Some(size) = size.filter(|_| enough) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
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
    /// The descriptor to send to the other side.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
