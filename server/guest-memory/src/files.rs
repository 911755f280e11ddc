//! The client's files: each is mapped once, whole, however many ranges point into it.
//!
//! A client behind a virtual IOMMU maps and unmaps single pages of the same file thousands of times, each time with
//! a new descriptor. So a file is known by device and inode number, its descriptor is closed at once, and a mapping
//! that no range uses any more is kept for a while. A mapping pins its inode, so the pair cannot come to name
//! another file meanwhile.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{HUGETLBFS_MAGIC, fstatfs};
use nix::unistd::{SysconfVar, sysconf};
use vm_memory::Permissions;

use crate::error::MapError;
use crate::mapping::Mapping;
use crate::table::{Limits, PAGE_SIZE};

/// How many files stay mapped that no range uses.
const IDLE_FILES: usize = 4;

/// What names a file for as long as it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: libc::dev_t,
    inode: libc::ino_t,
}

/// A client's descriptor that was found fit to be mapped for a range.
#[derive(Debug)]
pub(crate) struct Candidate {
    fd: OwnedFd,
    id: FileId,
    /// Length of the file in bytes.
    len: usize,
    /// The range in the file.
    offset: usize,
    end: usize,
    needs_write: bool,
    /// Whether the descriptor is open for writing too.
    read_write: bool,
}

impl Candidate {
    /// Looks at a descriptor without touching the file behind it.
    pub(crate) fn inspect(
        fd: OwnedFd,
        offset: u64,
        size: u64,
        access: Permissions,
    ) -> Result<Self, MapError> {
        let os = |call| move |source| MapError::Os { call, source };
        let stat = fstat(&fd).map_err(os("fstat"))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(MapError::NotMappable);
        }
        let file_size = u64::try_from(stat.st_size).unwrap_or(0);
        let outside = MapError::OutsideFile {
            offset,
            size,
            file_size,
        };
        let end = offset
            .checked_add(size)
            .filter(|end| *end <= file_size)
            .ok_or(outside)?;
        if !offset.is_multiple_of(PAGE_SIZE) {
            return Err(outside);
        }
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).map_err(os("fcntl"))?);
        let read_write = flags & OFlag::O_ACCMODE == OFlag::O_RDWR;
        let readable = read_write || flags & OFlag::O_ACCMODE == OFlag::O_RDONLY;
        let needs_write = access.has_write();
        if flags.contains(OFlag::O_PATH) || !readable || (needs_write && !read_write) {
            return Err(MapError::WrongMode);
        }
        let usize_of = |n| usize::try_from(n).map_err(|_| outside);
        Ok(Self {
            fd,
            id: FileId {
                device: stat.st_dev,
                inode: stat.st_ino,
            },
            len: usize_of(file_size)?,
            offset: usize_of(offset)?,
            end: usize_of(end)?,
            needs_write,
            read_write,
        })
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Offset of the range in the file, in bytes.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Maps the file: writable if the descriptor allows it, even if this range does not ask for it, since the next
    /// one may. A sealed file may still refuse that.
    fn map(&self, len: NonZeroUsize, granule: usize) -> Result<Mapping, MapError> {
        match Mapping::new(self.fd.as_fd(), len, granule, self.read_write) {
            Err(_) if self.read_write && !self.needs_write => {
                Mapping::new(self.fd.as_fd(), len, granule, false)
            }
            result => result,
        }
    }
}

/// The place of a file in [`Files`], valid while a range holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIndex(usize);

#[derive(Debug)]
struct MappedFile {
    id: FileId,
    mapping: Mapping,
    /// How many ranges point into it.
    ranges: usize,
    /// When the last range left, in ticks of `Files::clock`.
    idle_since: u64,
}

/// The mapped files of one client.
#[derive(Debug, Default)]
pub(crate) struct Files {
    slots: Vec<Option<MappedFile>>,
    mapped: usize,
    mapped_bytes: usize,
    clock: u64,
}

impl Files {
    /// The mapping behind a range.
    #[inline]
    pub(crate) fn mapping(&self, index: FileIndex) -> Option<&Mapping> {
        self.slots.get(index.0)?.as_ref().map(|file| &file.mapping)
    }

    /// Whether a range's file is this one.
    pub(crate) fn is(&self, index: FileIndex, id: FileId) -> bool {
        matches!(self.slots.get(index.0), Some(Some(file)) if file.id == id)
    }

    /// Whether any file is torn.
    pub(crate) fn any_torn(&self) -> bool {
        self.slots
            .iter()
            .flatten()
            .any(|file| file.mapping.is_torn())
    }

    /// The file for a new range, mapped now or earlier; counts the range. The descriptor is closed.
    pub(crate) fn hold(
        &mut self,
        candidate: &Candidate,
        limits: &Limits,
    ) -> Result<FileIndex, MapError> {
        let fits = |file: &MappedFile| {
            file.id == candidate.id
                && file.mapping.len() >= candidate.end
                && (file.mapping.is_writable() || !candidate.needs_write)
                && !file.mapping.is_torn()
        };
        let known = self
            .slots
            .iter()
            .position(|slot| slot.as_ref().is_some_and(fits));
        let index = match known {
            Some(index) => index,
            None => self.insert(candidate, limits)?,
        };
        let index = FileIndex(index);
        self.hold_again(index);
        Ok(index)
    }

    /// Counts one more range of a file that has some.
    pub(crate) fn hold_again(&mut self, index: FileIndex) {
        if let Some(Some(file)) = self.slots.get_mut(index.0) {
            file.ranges += 1;
        }
    }

    /// Counts one range less. The last one leaves the file mapped, but idle.
    pub(crate) fn let_go(&mut self, index: FileIndex) {
        let Some(Some(file)) = self.slots.get_mut(index.0) else {
            return;
        };
        file.ranges -= 1;
        if file.ranges > 0 {
            return;
        }
        self.clock += 1;
        file.idle_since = self.clock;
        if file.mapping.is_torn() {
            self.remove(index.0);
        } else if self.idle().count() > IDLE_FILES {
            self.remove_oldest_idle();
        }
    }

    /// Unmaps the files that no range uses.
    pub(crate) fn release_idle(&mut self) {
        while self.remove_oldest_idle() {}
    }

    fn idle(&self) -> impl Iterator<Item = (usize, u64)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| match slot {
            Some(file) if file.ranges == 0 => Some((index, file.idle_since)),
            _ => None,
        })
    }

    fn remove_oldest_idle(&mut self) -> bool {
        let oldest = self.idle().min_by_key(|(_, since)| *since);
        if let Some((index, _)) = oldest {
            self.remove(index);
        }
        oldest.is_some()
    }

    fn remove(&mut self, index: usize) {
        if let Some(file) = self.slots.get_mut(index).and_then(Option::take) {
            self.mapped -= 1;
            self.mapped_bytes -= file.mapping.len();
        }
    }

    fn insert(&mut self, candidate: &Candidate, limits: &Limits) -> Result<usize, MapError> {
        let granule = granule(&candidate.fd)?;
        let len = candidate.len.checked_next_multiple_of(granule);
        let len = len
            .and_then(NonZeroUsize::new)
            .ok_or(MapError::TooManyBytes {
                limit: limits.mapped_bytes,
            })?;
        let too_many_files = |files: &Self| files.mapped >= limits.files;
        let too_many_bytes = |files: &Self| {
            let sum = files.mapped_bytes.checked_add(len.get());
            sum.is_none_or(|sum| sum > limits.mapped_bytes)
        };
        while (too_many_files(self) || too_many_bytes(self)) && self.remove_oldest_idle() {}
        if too_many_files(self) {
            return Err(MapError::TooManyFiles {
                limit: limits.files,
            });
        }
        if too_many_bytes(self) {
            return Err(MapError::TooManyBytes {
                limit: limits.mapped_bytes,
            });
        }
        let file = MappedFile {
            id: candidate.id,
            mapping: candidate.map(len, granule)?,
            ranges: 0,
            idle_since: self.clock,
        };
        self.mapped += 1;
        self.mapped_bytes += file.mapping.len();
        let mut slots = self.slots.iter_mut().enumerate();
        if let Some((index, free)) = slots.find(|(_, slot)| slot.is_none()) {
            *free = Some(file);
            return Ok(index);
        }
        self.slots.push(Some(file));
        Ok(self.slots.len() - 1)
    }
}

/// Size of the pages that the kernel maps the file with: that of its huge pages, or the machine's.
pub(crate) fn granule(fd: impl AsFd) -> Result<usize, MapError> {
    let os = |call| move |source| MapError::Os { call, source };
    let file_system = fstatfs(fd).map_err(os("fstatfs"))?;
    let bytes = if file_system.filesystem_type() == HUGETLBFS_MAGIC {
        usize::try_from(file_system.block_size()).ok()
    } else {
        let page = sysconf(SysconfVar::PAGE_SIZE).map_err(os("sysconf"))?;
        page.and_then(|page| usize::try_from(page).ok())
    };
    let bytes = bytes.filter(|bytes| bytes.is_power_of_two());
    bytes.ok_or(MapError::Os {
        call: "fstatfs",
        source: Errno::EINVAL,
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    #[test]
    fn a_file_of_huge_pages_is_patched_by_huge_pages() {
        let flags = MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
        let fd = memfd_create(c"huge", flags).unwrap();

        let result = granule(&fd);

        assert_eq!(result, Ok(2 << 20));
    }

    #[test]
    fn an_ordinary_file_is_patched_by_the_machines_pages() {
        let fd = memfd_create(c"ordinary", MFdFlags::empty()).unwrap();

        let result = granule(&fd);

        assert_eq!(result, Ok(4096));
    }
}
