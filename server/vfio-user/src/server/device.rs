//! What a device has to be able to do, and the requests in the form in which it gets them.

use std::os::fd::OwnedFd;

use super::Migratable;
use crate::Errno;
use crate::message::Protection;

/// The device behind a [`Session`](super::Session), which calls it from
/// [`Session::receive`](super::Session::receive) only.
///
/// The session has checked what can be checked without knowing the device: region and offset
/// lie in the [`Description`](super::Description), vectors exist, ranges do not wrap. An error
/// becomes the errno of the reply, or is dropped where the client wants none.
pub trait Device {
    /// Fills `data` from `offset` bytes into the region.
    ///
    /// Any length and alignment that fits into the region can come; `data` is never empty.
    ///
    /// # Errors
    ///
    /// The errno for the client.
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno>;

    /// Writes `data` to `offset` bytes into the region.
    ///
    /// Any length and alignment that fits into the region can come; `data` is never empty.
    ///
    /// # Errors
    ///
    /// The errno for the client, if it waits for a reply. QEMU's writes to memory BARs do not.
    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno>;

    /// Resets the device, as a function level reset would. The mappings and the eventfds stay.
    ///
    /// It has to be done well within QEMU's message timeout of 5 s.
    ///
    /// # Errors
    ///
    /// The errno for the client.
    fn reset(&mut self) -> Result<(), Errno>;

    /// The client grants access to a range of its memory.
    ///
    /// How many mappings there may be is the device's to enforce (`NOSPC`), as it alone knows
    /// what an unmapping left over. A mapping that is there already in the same form is to be
    /// accepted: QEMU repeats itself under a virtual IOMMU.
    ///
    /// # Errors
    ///
    /// The errno for the client; `EXIST` when the range overlaps another mapping.
    fn dma_map(&mut self, mapping: DmaMapping) -> Result<(), Errno>;

    /// The client withdraws access. No access may happen once this has returned.
    ///
    /// The range may cover many mappings, or none: QEMU under a virtual IOMMU takes back ranges
    /// that it never mapped, and leaves stale translations in use where that is an error.
    ///
    /// # Errors
    ///
    /// The errno for the client; for example when the range cuts a mapping in two and the
    /// device cannot do that.
    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno>;

    /// Assigns, masks, unmasks or triggers interrupts.
    ///
    /// # Errors
    ///
    /// The errno for the client.
    fn set_irqs(&mut self, update: IrqUpdate<'_>) -> Result<(), Errno>;

    /// What moves the device to another server; `None` if it cannot be moved.
    fn migration(&mut self) -> Option<&mut dyn Migratable>;

    /// The answer to [`Session::dma_read`](super::Session::dma_read): all of its data, or why
    /// there are none.
    fn dma_read_done(&mut self, id: RequestId, result: Result<&[u8], Errno>);

    /// The answer to [`Session::dma_write`](super::Session::dma_write).
    fn dma_write_done(&mut self, id: RequestId, result: Result<(), Errno>);
}

/// One message DMA of the server. Numbers are not used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// A range of I/O virtual addresses that is not empty and may end at 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    first: u64,
    last: u64,
}

impl IovaRange {
    /// The range of `size` bytes from `first` on; `None` when it is empty or ends above 2^64.
    #[must_use]
    pub fn new(first: u64, size: u64) -> Option<Self> {
        let last = first.checked_add(size.checked_sub(1)?)?;
        Some(Self { first, last })
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last address, which is part of the range.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The length in bytes, at least 1.
    #[must_use]
    pub fn size(&self) -> u64 {
        // `new` took the size as an u64, so the range is never the whole 2^64.
        self.last.wrapping_sub(self.first).wrapping_add(1)
    }
}

/// A grant of memory (`DMA_MAP`).
#[derive(Debug)]
pub struct DmaMapping {
    /// Where the device sees it.
    pub range: IovaRange,
    /// What the device may do. Never empty.
    pub protection: Protection,
    /// The file to map; without one, only messages reach the range.
    pub file: Option<OwnedFd>,
    /// Where the range starts in the file. `offset + size` does not overflow; whether the file
    /// is that long is not checked.
    pub offset: u64,
}

/// A withdrawal of memory (`DMA_UNMAP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaRange {
    /// Everything.
    All,
    /// What lies in this range.
    Range(IovaRange),
}

/// A change to interrupts (`DEVICE_SET_IRQS`).
#[derive(Debug)]
pub struct IrqUpdate<'a> {
    /// Which interrupt type.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// How many vectors; `start + count` is within the type. 0 only for
    /// [`IrqOperation::Disable`].
    pub count: u32,
    /// What to do with them.
    pub operation: IrqOperation<'a>,
}

/// What to do with a range of vectors.
#[derive(Debug)]
pub enum IrqOperation<'a> {
    /// Turn the whole type off and forget all of its eventfds.
    Disable,
    /// Do this now, to the selected vectors of the range.
    Act(IrqAction, IrqSelection<'a>),
    /// Tie each vector's action to an eventfd, one entry for each vector of the range; `None`
    /// takes the eventfd away. The vector is in use either way: QEMU turns MSI-X on by a
    /// vector without an eventfd.
    ///
    /// The files are eventfds and do not block. [`IrqAction::Trigger`]'s is written by the
    /// device, [`IrqAction::Unmask`]'s and [`IrqAction::Mask`]'s by the client (KVM's resample
    /// eventfd).
    Assign(IrqAction, Vec<Option<OwnedFd>>),
}

/// The action bits of `DEVICE_SET_IRQS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqAction {
    /// Hold the vector back.
    Mask,
    /// Let it through, and fire if it is pending.
    Unmask,
    /// Fire.
    Trigger,
}

/// Which vectors of a range an action is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqSelection<'a> {
    /// All of them.
    All,
    /// Those whose byte is not 0; one byte for each vector of the range.
    Chosen(&'a [u8]),
}

impl IrqSelection<'_> {
    /// Whether the vector at that place in the range is selected.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Chosen(bytes) => bytes.get(place).is_some_and(|byte| *byte != 0),
        }
    }
}
