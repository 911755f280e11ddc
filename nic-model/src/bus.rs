//! The seam to the host: client memory by IOVA, and interrupts.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use vm_memory::VolatileSlice;

/// An address on the device's side of the IOMMU, as a driver writes it into a ring or descriptor.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Iova(pub u64);

impl Iova {
    /// The address `bytes` further on, or `None` past the end of the address space.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }
}

/// The PCI function on whose behalf the DMA engine acts (the requester id of a real transaction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requester {
    /// The port's physical function.
    Pf,
    /// Virtual function `n` of the port, 0 to 63.
    Vf(u8),
}

/// Why a DMA access did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DmaError {
    /// The client did not map (all of) the range, or mapped it without the right that is needed, or bus mastering is
    /// off. On the card: an unsupported request.
    #[error("DMA to {iova:#x} refused: not mapped, or not with this right")]
    Refused {
        /// First address that could not be accessed.
        iova: u64,
    },
    /// The memory came without a file descriptor and its content has been asked for by message; the same access
    /// succeeds at a later turn. The model leaves its state as it was before the step and tries again.
    #[error("DMA waits for the client's answer")]
    Pending,
}

/// An interrupt signal towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The INTx pin goes active (level; stays until [`Signal::IntxDeassert`]).
    IntxAssert,
    /// The INTx pin goes inactive.
    IntxDeassert,
    /// The MSI message (the card has one).
    Msi,
    /// MSI-X message of this vector, 0 to 63.
    MsiX(u8),
}

/// A piece of client memory that a frame to send is made of.
///
/// The client may change the bytes at any time, so they are never a `&[u8]`.
#[derive(Clone, Debug)]
pub enum Span<'a> {
    /// In the client's own pages.
    Mapped(VolatileSlice<'a>),
    /// A copy that the client sent in answer to a DMA read message.
    Owned(Rc<[u8]>),
}

impl Span<'_> {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Mapped(slice) => slice.len(),
            Self::Owned(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies from byte `offset` of the span into `to`; returns the number of bytes copied, which is less than
    /// `to.len()` where the span ends first.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        match self {
            Self::Mapped(slice) => slice.offset(offset).map_or(0, |rest| rest.copy_to(to)),
            Self::Owned(bytes) => {
                let rest = bytes.get(offset..).unwrap_or_default();
                let n = rest.len().min(to.len());
                to[..n].copy_from_slice(&rest[..n]);
                n
            }
        }
    }

    /// Appends the bytes of `spans`, one behind the other, to `to`.
    pub(crate) fn append(spans: &[Span<'_>], to: &mut Vec<u8>) {
        for span in spans {
            let at = to.len();
            to.resize(at.saturating_add(span.len()), 0);
            span.copy_to(0, to.get_mut(at..).unwrap_or_default());
        }
    }
}

/// What the DMA engine wants to do with client memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Read it.
    Read,
    /// Write it.
    Write,
}

/// A range of client memory that lies in one piece, found once for many accesses.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    first: u64,
    memory: VolatileSlice<'a>,
}

impl<'a> Window<'a> {
    /// The memory that is at `first` and the addresses behind it; both begin at a page.
    #[must_use]
    pub const fn new(first: Iova, memory: VolatileSlice<'a>) -> Self {
        Self {
            first: first.0,
            memory,
        }
    }

    /// The `len` bytes at `iova`, if all of them lie inside.
    #[inline]
    #[must_use]
    pub fn slice(&self, iova: Iova, len: usize) -> Option<VolatileSlice<'a>> {
        let offset = usize::try_from(iova.0.checked_sub(self.first)?).ok()?;
        self.memory.subslice(offset, len).ok()
    }
}

/// The pieces of a frame in order.
pub type Spans<'a> = SmallVec<[Span<'a>; 8]>;

/// Client memory and interrupts, implemented by the server (or by a test).
///
/// Methods take `&self` so that borrowed [`Span`]s can be held while the frame goes out. All accesses are on behalf of
/// a function. None of them may block or panic, whatever the address.
pub trait Bus {
    /// Copies `to.len()` bytes of client memory at `iova` into `to`. A read that crosses mappings succeeds if they
    /// adjoin.
    ///
    /// # Errors
    /// [`DmaError`]; `to` then holds nothing of use.
    fn read(&self, by: Requester, iova: Iova, to: &mut [u8]) -> Result<(), DmaError>;

    /// Copies `from` into client memory at `iova`.
    ///
    /// # Errors
    /// [`DmaError::Refused`]; nothing or a part was written. Writes are never [`DmaError::Pending`].
    fn write(&self, by: Requester, iova: Iova, from: &[u8]) -> Result<(), DmaError>;

    /// Publishes a 16-byte descriptor: `low` first, then `high`, each in one piece, `high` with release ordering, so
    /// that a driver that sees `high` (which holds DD and the length) sees everything that was written before.
    ///
    /// # Errors
    /// As [`Bus::write`].
    fn write_back(&self, by: Requester, iova: Iova, low: u64, high: u64) -> Result<(), DmaError>;

    /// Appends the client memory `[iova, iova + len)` to `spans` without copying it.
    ///
    /// # Errors
    /// [`DmaError`]; `spans` may then hold a part of the range.
    fn gather<'a>(
        &'a self,
        by: Requester,
        iova: Iova,
        len: usize,
        spans: &mut Spans<'a>,
    ) -> Result<(), DmaError>;

    /// The largest range around `iova` that lies in one piece and allows `right`, so that the accesses of one call need
    /// not be looked up one by one. `None` where there is no such range, or where each access has to be seen: the caller
    /// then takes the other methods. A bus may always say `None`.
    fn window(&self, by: Requester, iova: Iova, right: Right) -> Option<Window<'_>> {
        let _ = (by, iova, right);
        None
    }

    /// Client memory around `iova` that an observer may look at, as [`Bus::window`] for reading: the port itself never
    /// does. It is there even where each access of the port has to be seen.
    fn look(&self, iova: Iova) -> Option<Window<'_>> {
        self.window(Requester::Pf, iova, Right::Read)
    }

    /// `memory`, of a window, will be read or written soon: a bus that can has it in the cache by then.
    fn prefetch(&self, memory: &VolatileSlice<'_>, right: Right) {
        let _ = (memory, right);
    }

    /// Whether accesses are let through at all; not while the function must not master the bus.
    fn masters(&self) -> bool {
        true
    }

    /// The step that the preceding accesses belong to is complete (a packet is sent or received for good): what was
    /// kept for its repetition after [`DmaError::Pending`] can be dropped.
    fn retire(&self);

    /// Raises (or, for INTx, lowers) an interrupt. An implementation delivers it after all preceding writes.
    fn signal(&self, by: Requester, signal: Signal);
}
