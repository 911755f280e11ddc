//! Which I/O virtual address leads where: the client's `DMA_MAP` and `DMA_UNMAP`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use vm_memory::Permissions;

use crate::error::MapError;
use crate::files::{Candidate, FileIndex, Files};
use crate::range::IovaRange;
use crate::registry;

/// Ranges are made of pages of this many bytes: the `pgsizes` that a server announces.
///
/// A client that could map single bytes could make one access a walk over as many ranges as it has bytes.
pub const PAGE_SIZE: u64 = 4096;

/// How much one client may map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ranges at a time: the `max_dma_maps` that a server announces. 65535 unless set otherwise.
    pub maps: usize,
    /// Different files mapped at a time. 4096 unless set otherwise: the kernel gives a process 65530 mappings.
    pub files: usize,
    /// Bytes of address space that the mapped files may take together. 16 TiB unless set otherwise, of the 128 TiB
    /// that a process has. A sparse file costs its client nothing.
    pub mapped_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maps: 65535,
            files: 4096,
            mapped_bytes: 16 << 40,
        }
    }
}

/// What stands behind a range.
#[derive(Debug)]
pub enum Backing {
    /// A file that the client shares, from this offset in bytes (whole pages). The descriptor is closed in any case.
    File {
        /// The client's descriptor.
        fd: OwnedFd,
        /// Where in the file the range begins.
        offset: u64,
    },
    /// Nothing to map: the device asks the client with `DMA_READ` and `DMA_WRITE` messages.
    Messages,
}

/// What stands behind a range, once mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File { file: FileIndex, offset: usize },
    Messages,
}

/// One range of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) first: u64,
    /// The last address, inside the range.
    pub(crate) last: u64,
    pub(crate) access: Permissions,
    pub(crate) source: Source,
}

impl Region {
    /// Holds no address.
    const NOWHERE: Self = Self {
        first: 1,
        last: 0,
        access: Permissions::No,
        source: Source::Messages,
    };

    #[inline]
    pub(crate) fn contains(&self, iova: u64) -> bool {
        self.first <= iova && iova <= self.last
    }

    /// What stands behind `iova`, an address inside.
    fn source_at(&self, iova: u64) -> Source {
        match self.source {
            Source::Messages => Source::Messages,
            // The range lies in the mapped file, so its length and this sum fit.
            Source::File { file, offset } => Source::File {
                file,
                offset: offset + usize::try_from(iova - self.first).unwrap_or(usize::MAX - offset),
            },
        }
    }

    /// The part of it from `first` to `last`, addresses inside.
    fn part(&self, first: u64, last: u64) -> Self {
        Self {
            first,
            last,
            access: self.access,
            source: self.source_at(first),
        }
    }
}

/// A range of a client's memory, as somebody sees it who looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedRange {
    /// Its first address.
    pub first: u64,
    /// Its last address, inside.
    pub last: u64,
    /// What the device may do.
    pub access: Permissions,
    /// A file of the client stands behind it; otherwise only messages reach it.
    pub has_file: bool,
}

/// A client's memory by I/O virtual address.
///
/// It belongs to one thread: it may be sent to another, but not shared. Accesses take `&self`, so that slices of
/// client memory can be held for a while; mapping and unmapping take `&mut self`, so that they cannot be held across
/// an unmap. Dropping the table unmaps everything.
#[derive(Debug)]
pub struct IovaTable {
    limits: Limits,
    /// By first address; no two overlap.
    regions: BTreeMap<u64, Region>,
    pub(crate) files: Files,
    /// The region that was hit last: most clients have two or three, and accesses come in runs.
    last_hit: Cell<Region>,
    /// The process's count of faults when no file here was torn.
    tears_seen: Cell<u64>,
}

impl Default for IovaTable {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl IovaTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            regions: BTreeMap::new(),
            files: Files::default(),
            last_hit: Cell::new(Region::NOWHERE),
            tears_seen: Cell::new(registry::tears()),
        }
    }

    /// The ranges that are mapped, by address.
    pub fn ranges(&self) -> impl Iterator<Item = MappedRange> + '_ {
        self.regions.values().map(|region| MappedRange {
            first: region.first,
            last: region.last,
            access: region.access,
            has_file: matches!(region.source, Source::File { .. }),
        })
    }

    /// Maps `size` bytes at `iova` (whole pages; the range may end at 2^64) for `access` by the device.
    ///
    /// A range all of which is mapped already, to the same place and with the same access, is left as it is: QEMU
    /// maps pages again after an invalidation. Pipes, sockets and devices are refused without being touched, so none of
    /// them can make this wait.
    ///
    /// # Errors
    /// [`MapError`]; the table is then unchanged, and the descriptor closed.
    pub fn map(
        &mut self,
        iova: u64,
        size: u64,
        access: Permissions,
        backing: Backing,
    ) -> Result<(), MapError> {
        let range = IovaRange::new(iova, size)?;
        let candidate = match backing {
            Backing::File { fd, offset } => Some(Candidate::inspect(fd, offset, size, access)?),
            Backing::Messages => None,
        };
        if let Some(region) = self.last_region_up_to(range.last())
            && region.last >= range.first()
        {
            return if self.says_the_same(&range, access, candidate.as_ref()) {
                Ok(())
            } else {
                Err(MapError::Overlap { iova, size })
            };
        }
        if self.regions.len() >= self.limits.maps {
            return Err(MapError::TooManyMaps {
                limit: self.limits.maps,
            });
        }
        let source = match candidate {
            Some(candidate) => Source::File {
                file: self.files.hold(&candidate, &self.limits)?,
                offset: candidate.offset(),
            },
            None => Source::Messages,
        };
        let region = Region {
            first: range.first(),
            last: range.last(),
            access,
            source,
        };
        self.regions.insert(region.first, region);
        Ok(())
    }

    /// Unmaps whatever is mapped in the `size` bytes at `iova` (whole pages; the range may end at 2^64), cutting
    /// ranges that reach out of it. Nothing there is a success: QEMU's invalidations span much and know little.
    ///
    /// # Errors
    /// [`MapError::BadRange`], or [`MapError::TooManyMaps`] if the cut would leave more ranges than allowed; the
    /// table is then unchanged.
    pub fn unmap(&mut self, iova: u64, size: u64) -> Result<(), MapError> {
        let range = IovaRange::new(iova, size)?;
        self.last_hit.set(Region::NOWHERE);
        if let Some(before) = self.last_region_up_to(range.first())
            && before.first < range.first()
            && before.last >= range.first()
        {
            self.cut(before, &range)?;
        }
        while let Some((&first, &region)) = self.regions.range(range.addresses()).next() {
            self.regions.remove(&first);
            if region.last > range.last() {
                let rest = region.part(range.last() + 1, region.last);
                self.regions.insert(rest.first, rest);
            } else if let Source::File { file, .. } = region.source {
                self.files.let_go(file);
            }
        }
        Ok(())
    }

    /// Unmaps everything, and gives all the client's files back.
    pub fn unmap_all(&mut self) {
        self.last_hit.set(Region::NOWHERE);
        for region in std::mem::take(&mut self.regions).into_values() {
            if let Source::File { file, .. } = region.source {
                self.files.let_go(file);
            }
        }
        self.files.release_idle();
    }

    /// Unmaps the files that no range uses any more. A few are kept after their last range goes, for clients that
    /// map them again at once; a server calls this when a client has been quiet, so that memory taken out of a
    /// running machine is not held for ever.
    pub fn release_idle(&mut self) {
        self.files.release_idle();
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether nothing is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// Whether no file behind the table was truncated under it. A copy through [`slices`](Self::slices) cannot fail
    /// by itself; if this is still true after it, the copy was good.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let tears = registry::tears();
        if tears == self.tears_seen.get() {
            return true;
        }
        // Somebody's file was torn: is it one of ours?
        let intact = !self.files.any_torn();
        if intact {
            self.tears_seen.set(tears);
        }
        intact
    }

    /// The region that holds `iova`.
    #[inline]
    pub(crate) fn region_at(&self, iova: u64) -> Option<Region> {
        let hit = self.last_hit.get();
        if hit.contains(iova) {
            return Some(hit);
        }
        let region = self.last_region_up_to(iova)?;
        if !region.contains(iova) {
            return None;
        }
        self.last_hit.set(region);
        Some(region)
    }

    /// The region with the highest first address that is not above `iova`.
    fn last_region_up_to(&self, iova: u64) -> Option<Region> {
        self.regions
            .range(..=iova)
            .next_back()
            .map(|(_, region)| *region)
    }

    /// Whether all of `range` is mapped already as a new map would.
    fn says_the_same(
        &self,
        range: &IovaRange,
        access: Permissions,
        candidate: Option<&Candidate>,
    ) -> bool {
        let mut at = range.first();
        loop {
            let region = self
                .last_region_up_to(at)
                .filter(|region| region.contains(at));
            let Some(region) = region.filter(|region| region.access == access) else {
                return false;
            };
            let same = match (region.source_at(at), candidate) {
                (Source::Messages, None) => true,
                (Source::File { file, offset }, Some(candidate)) => {
                    let wanted = usize::try_from(at - range.first())
                        .ok()
                        .and_then(|into| candidate.offset().checked_add(into));
                    self.files.is(file, candidate.id()) && wanted == Some(offset)
                }
                _ => false,
            };
            if !same || region.last >= range.last() {
                return same;
            }
            at = region.last + 1;
        }
    }

    /// Takes `range` out of a region that begins before it.
    fn cut(&mut self, region: Region, range: &IovaRange) -> Result<(), MapError> {
        if region.last > range.last() {
            if self.regions.len() >= self.limits.maps {
                return Err(MapError::TooManyMaps {
                    limit: self.limits.maps,
                });
            }
            let rest = region.part(range.last() + 1, region.last);
            if let Source::File { file, .. } = region.source {
                self.files.hold_again(file);
            }
            self.regions.insert(rest.first, rest);
        }
        self.regions
            .insert(region.first, region.part(region.first, range.first() - 1));
        Ok(())
    }
}
