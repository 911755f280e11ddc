//! The guest's memory: mapped here, where rings and headers are read and written, and lent to the card at the same
//! addresses that the guest uses (IOVA = guest-physical), with the guest's own file descriptors.

use std::{fs::File, io, os::fd::AsFd, sync::Arc};

use guest_memory::GuardedRegion;
use nic_driver::{Device, device::DeviceError};
use vm_memory::{
    Address, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionCollection,
};

use crate::dirty::{DirtyLog, DirtyPages};

/// The guest's memory as this process sees it. A file that is truncated does no more harm than lost bytes.
pub type Mapped = GuestRegionCollection<GuardedRegion<DirtyPages>>;

/// First address of the stack's own memory at the card: above what a guest of up to 256 GiB has, and within reach of an
/// IOMMU of 39 bits.
pub const OWN_IOVA: u64 = 1 << 38;

/// Ranges of memory that a guest may have.
pub const MAX_REGIONS: usize = 64;

/// Why a guest's memory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The front-end describes what cannot be.
    #[error("the front-end's memory table is not possible: {0}")]
    Table(&'static str),
    /// It could not be mapped.
    #[error("the guest's memory cannot be mapped")]
    Map(#[source] io::Error),
    /// The card did not take it.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A range of guest memory, as the front-end describes it.
#[derive(Clone, Debug)]
pub struct Region {
    /// Guest-physical address.
    pub guest: u64,
    /// Address in the front-end, by which it tells where rings are.
    pub user: u64,
    /// Bytes.
    pub size: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The guest's own file.
    pub file: Arc<File>,
}

impl Region {
    fn check(&self) -> Result<(), MemoryError> {
        let aligned = [self.guest, self.size, self.offset]
            .iter()
            .all(|value| value.is_multiple_of(4096));
        let ends = self.guest.checked_add(self.size);
        if self.size == 0 || !aligned {
            Err(MemoryError::Table("a region is not made of whole pages"))
        } else if ends.is_none_or(|end| end > OWN_IOVA)
            || self.user.checked_add(self.size).is_none()
        {
            Err(MemoryError::Table("a region ends beyond 256 GiB"))
        } else {
            Ok(())
        }
    }

    fn map(&self, log: Option<Arc<DirtyLog>>) -> Result<GuardedRegion<DirtyPages>, MemoryError> {
        let size = usize::try_from(self.size)
            .map_err(|_| MemoryError::Table("a region is larger than an address space"))?;
        let there = self.file.metadata().map_err(MemoryError::Map)?.len();
        if self
            .offset
            .checked_add(self.size)
            .is_none_or(|end| end > there)
        {
            return Err(MemoryError::Table("a region ends beyond its file"));
        }
        let file = FileOffset::from_arc(Arc::clone(&self.file), self.offset);
        let pages = DirtyPages::new(log, self.guest);
        GuardedRegion::map(file, size, GuestAddress(self.guest), pages).map_err(MemoryError::Map)
    }

    fn lend(&self, device: &mut dyn Device) -> Result<(), DeviceError> {
        device.lend_file(self.guest, self.size, self.file.as_fd(), self.offset)
    }
}

/// All of the guest's memory.
#[derive(Debug)]
pub struct GuestRam {
    regions: Vec<Region>,
    mapped: Arc<Mapped>,
    log: Option<Arc<DirtyLog>>,
}

impl Default for GuestRam {
    fn default() -> Self {
        Self {
            regions: Vec::new(),
            mapped: Arc::new(Mapped::new()),
            log: None,
        }
    }
}

impl GuestRam {
    /// The memory as it is now. Whoever keeps it keeps the mapping.
    #[must_use]
    pub fn mapped(&self) -> Arc<Mapped> {
        Arc::clone(&self.mapped)
    }

    /// The ranges.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The guest-physical address of the front-end's `user` address.
    #[must_use]
    pub fn guest_address(&self, user: u64) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let offset = user.checked_sub(region.user)?;
            (offset < region.size).then(|| GuestAddress(region.guest.saturating_add(offset)))
        })
    }

    /// Takes `regions` in the place of what there is. The card, if there is one, is lent what is new, and what is gone is
    /// taken back from it: when this returns, it no longer writes there.
    ///
    /// # Errors
    /// The regions are not possible; then nothing has changed. Or the card could not be reached.
    pub fn replace(
        &mut self,
        regions: Vec<Region>,
        mut device: Option<&mut dyn Device>,
    ) -> Result<(), MemoryError> {
        let mapped = map(&regions, self.log.as_ref())?;
        if let Some(device) = &mut device {
            for old in self.regions.iter().filter(|old| !has(&regions, old)) {
                device.take_back(old.guest, old.size)?;
            }
            for new in regions.iter().filter(|new| !has(&self.regions, new)) {
                new.lend(&mut **device)?;
            }
        }
        self.regions = regions;
        self.mapped = Arc::new(mapped);
        Ok(())
    }

    /// Adds a region.
    ///
    /// # Errors
    /// As [`GuestRam::replace`].
    pub fn add(
        &mut self,
        region: Region,
        device: Option<&mut dyn Device>,
    ) -> Result<(), MemoryError> {
        let mut regions = self.regions.clone();
        regions.push(region);
        self.replace(regions, device)
    }

    /// Removes the region at these addresses.
    ///
    /// # Errors
    /// There is none; else as [`GuestRam::replace`].
    pub fn remove(
        &mut self,
        (guest, user, size): (u64, u64, u64),
        device: Option<&mut dyn Device>,
    ) -> Result<(), MemoryError> {
        let mut regions = self.regions.clone();
        regions.retain(|old| (old.guest, old.user, old.size) != (guest, user, size));
        if regions.len() == self.regions.len() {
            return Err(MemoryError::Table("a region that is not there goes"));
        }
        self.replace(regions, device)
    }

    /// Lends all of it to a card that has none of it yet.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn lend(&self, device: &mut dyn Device) -> Result<(), DeviceError> {
        self.regions
            .iter()
            .try_for_each(|region| region.lend(device))
    }

    /// Writes to a log from now on, or to none any more.
    ///
    /// # Errors
    /// The memory could not be mapped anew.
    pub fn set_log(&mut self, log: Option<Arc<DirtyLog>>) -> Result<(), MemoryError> {
        self.mapped = Arc::new(map(&self.regions, log.as_ref())?);
        self.log = log;
        Ok(())
    }

    /// Whether the front-end has taken pages away from the file of a region, as far as somebody has touched them.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.mapped.iter().any(GuardedRegion::is_torn)
    }

    /// Whether there is a log.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.log.is_some()
    }

    /// Tells the log that the card has written `len` bytes at `address`.
    pub fn card_has_written(&self, address: GuestAddress, len: usize) {
        if let Some(log) = &self.log {
            log.mark(address.raw_value(), len);
        }
    }
}

fn map(regions: &[Region], log: Option<&Arc<DirtyLog>>) -> Result<Mapped, MemoryError> {
    if regions.len() > MAX_REGIONS {
        return Err(MemoryError::Table("more regions than a guest may have"));
    }
    let mapped = regions.iter().map(|region| {
        region.check()?;
        region.map(log.cloned())
    });
    let mut mapped = mapped.collect::<Result<Vec<_>, _>>()?;
    mapped.sort_by_key(GuestMemoryRegion::start_addr);
    if mapped.is_empty() {
        return Ok(Mapped::new());
    }
    Mapped::from_regions(mapped).map_err(|_| MemoryError::Table("regions overlap"))
}

/// Whether `regions` have this one, backed by the same file: another descriptor of it may be another file.
fn has(regions: &[Region], region: &Region) -> bool {
    regions.iter().any(|other| {
        Arc::ptr_eq(&other.file, &region.file)
            && (other.guest, other.size, other.offset) == (region.guest, region.size, region.offset)
    })
}
