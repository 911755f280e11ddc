//! What can go wrong in the driver.

use crate::device::DeviceError;

/// Why the driver could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The card could not be reached.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The card did not do its part of a handshake in the time that the datasheet gives it.
    #[error("the card did not finish: {0}")]
    Timeout(&'static str),
    /// The NVM's words do not add up to 0xBABA (6.3.1).
    #[error("the NVM checksum is wrong: the words add up to {0:#06x} instead of 0xbaba")]
    NvmChecksum(u16),
    /// The configuration asks for what the card does not have.
    #[error("not possible: {0}")]
    Config(&'static str),
    /// Memory for rings and buffers could not be had.
    #[error("no memory for the rings")]
    Memory(#[from] std::io::Error),
    /// The ring has no room for the packet now.
    #[error("the transmit ring is full")]
    RingFull,
}
