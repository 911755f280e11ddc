//! The seam to the card.

use std::{os::fd::BorrowedFd, time::Duration};

use guest_memory::SharedMemory;

/// The card could not be reached (a socket broke, a reply was an error). Never for what a real card would not report.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct DeviceError {
    /// What was tried.
    what: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl DeviceError {
    /// An error while doing `what`.
    pub fn new(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// An 82599 that a driver can reach.
pub trait Device {
    /// Reads the register at `offset` of BAR0.
    ///
    /// # Errors
    /// The card could not be reached.
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError>;

    /// Writes the register at `offset` of BAR0. The write may be posted; a read flushes it.
    ///
    /// # Errors
    /// The card could not be reached.
    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError>;

    /// Reads `to.len()` bytes of configuration space.
    ///
    /// # Errors
    /// The card could not be reached.
    fn config_read(&mut self, offset: u16, to: &mut [u8]) -> Result<(), DeviceError>;

    /// Writes configuration space.
    ///
    /// # Errors
    /// The card could not be reached.
    fn config_write(&mut self, offset: u16, from: &[u8]) -> Result<(), DeviceError>;

    /// Lets the card read and write all of `memory` at `iova` (a multiple of 4096).
    ///
    /// # Errors
    /// The card could not be reached, or refuses the range.
    fn lend(&mut self, iova: u64, memory: &SharedMemory) -> Result<(), DeviceError>;

    /// Lets the card read and write `len` bytes of `file`, from `offset` on, at `iova` (all of them multiples of 4096):
    /// memory that another process shares with this one.
    ///
    /// # Errors
    /// The card could not be reached, or refuses the range.
    fn lend_file(
        &mut self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError>;

    /// Takes back the memory that was lent at `iova`, `len` bytes.
    ///
    /// # Errors
    /// The card could not be reached.
    fn take_back(&mut self, iova: u64, len: u64) -> Result<(), DeviceError>;

    /// Lets `time` pass for the card, or less if something happens before; returns how much it was. A driver calls it
    /// wherever it would wait.
    ///
    /// # Errors
    /// The card could not be reached.
    fn pass(&mut self, time: Duration) -> Result<Duration, DeviceError>;

    /// How often MSI-X vector `vector` has fired since this was asked last.
    ///
    /// # Errors
    /// The card could not be reached.
    fn fired(&mut self, vector: u8) -> Result<u64, DeviceError>;

    /// Descriptors that become readable when one of the first `vectors` MSI-X vectors fires, or the card has something
    /// to say: for whoever sleeps on more than the card. None if the card has none, and does nothing outside of a call.
    fn wakeups(&self, vectors: usize) -> Vec<BorrowedFd<'_>>;
}

impl<D: Device + ?Sized> Device for Box<D> {
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError> {
        (**self).read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        (**self).write(offset, value)
    }

    fn config_read(&mut self, offset: u16, to: &mut [u8]) -> Result<(), DeviceError> {
        (**self).config_read(offset, to)
    }

    fn config_write(&mut self, offset: u16, from: &[u8]) -> Result<(), DeviceError> {
        (**self).config_write(offset, from)
    }

    fn lend(&mut self, iova: u64, memory: &SharedMemory) -> Result<(), DeviceError> {
        (**self).lend(iova, memory)
    }

    fn lend_file(
        &mut self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError> {
        (**self).lend_file(iova, len, file, offset)
    }

    fn take_back(&mut self, iova: u64, len: u64) -> Result<(), DeviceError> {
        (**self).take_back(iova, len)
    }

    fn pass(&mut self, time: Duration) -> Result<Duration, DeviceError> {
        (**self).pass(time)
    }

    fn fired(&mut self, vector: u8) -> Result<u64, DeviceError> {
        (**self).fired(vector)
    }

    fn wakeups(&self, vectors: usize) -> Vec<BorrowedFd<'_>> {
        (**self).wakeups(vectors)
    }
}
