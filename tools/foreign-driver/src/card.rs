//! The card of a thread.

use std::cell::RefCell;
use std::io;
use std::process::abort;
use std::time::Duration;

use guest_memory::SharedMemory;
use nic_driver::Device;
use nic_driver::device::DeviceError;

use crate::bar::{Access, Bar, LEN};

/// PCI's command register.
const COMMAND: u16 = 0x04;
const MEMORY_AND_BUS_MASTER: u16 = 0x0006;

thread_local! {
    static CARD: RefCell<Option<Slot>> = const { RefCell::new(None) };
}

/// Why a card cannot be plugged in.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// The thread has one.
    #[error("this thread has a card already")]
    Occupied,
    /// There is no memory for the BAR, or faults cannot be caught.
    #[error("making a BAR that faults")]
    Bar(#[source] io::Error),
    /// The card cannot be reached.
    #[error("turning the card on")]
    Lost(#[source] DeviceError),
}

/// A card in this thread, for a driver that reads and writes its registers through a pointer.
///
/// An access of the driver's is answered by [`Device::read`] or [`Device::write`] before the instruction ends. If the card
/// cannot be reached, reads give ones, as on PCI Express; [`Card::device`] tells the error.
#[derive(Debug)]
pub struct Card {
    address: usize,
}

struct Slot {
    bar: Bar,
    device: Box<dyn Device>,
    /// The register that the driver's instruction is at.
    under_way: Option<(u32, Access)>,
    /// What was lent to the card: its bus address, and the memory, which stays.
    lent: Vec<(u64, &'static SharedMemory)>,
    error: Option<DeviceError>,
}

impl Card {
    /// Bytes of the BAR.
    pub const LEN: usize = LEN;

    /// Puts a card into this thread, and turns memory decode and bus mastering on, which is a PCI bus driver's work.
    ///
    /// # Errors
    /// The thread has one already, memory is short, or the card cannot be reached.
    pub fn plug(mut device: Box<dyn Device>) -> Result<Self, PlugError> {
        CARD.with_borrow_mut(|slot| {
            if slot.is_some() {
                return Err(PlugError::Occupied);
            }
            let bar = Bar::new().map_err(PlugError::Bar)?;
            let address = bar.address();
            device
                .config_write(COMMAND, &MEMORY_AND_BUS_MASTER.to_le_bytes())
                .map_err(PlugError::Lost)?;
            *slot = Some(Slot {
                bar,
                device,
                under_way: None,
                lent: Vec::new(),
                error: None,
            });
            Ok(Self { address })
        })
    }

    /// Where the driver finds the BAR.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// Does something with the card beside the driver.
    ///
    /// # Errors
    /// What `act` says, or that an access of the driver's has failed before.
    pub fn device<T>(
        &mut self,
        act: impl FnOnce(&mut dyn Device) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        with(|slot| match slot.error.take() {
            Some(error) => Err(error),
            None => act(&mut *slot.device),
        })
        .expect("a card is in its thread as long as it lives")
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        CARD.with_borrow_mut(Option::take);
    }
}

/// The card of this thread, unless it is busy or not there.
fn with<T>(act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
    CARD.with(|slot| Some(act(slot.try_borrow_mut().ok()?.as_mut()?)))
}

/// The driver is about to touch `address`. Nothing if that is no register.
pub(crate) fn begin(address: usize, access: Access, stores: impl FnOnce() -> bool) -> Option<()> {
    with(|slot| {
        let offset = slot.bar.offset(address)?;
        match access {
            Access::Read => {
                let value = slot.device.read(offset).unwrap_or_else(|error| {
                    slot.error.get_or_insert(error);
                    u32::MAX
                });
                slot.bar.show(offset, value)?;
            }
            Access::Write if stores() => {}
            Access::Write => {
                eprintln!(
                    "the register at {offset:#x} is written by an instruction that is no plain 32-bit store"
                );
                abort();
            }
        }
        slot.under_way = Some((offset, access));
        slot.bar.open(access)
    })?
}

/// The driver has touched it. Nothing if it did not.
pub(crate) fn end() -> Option<()> {
    with(|slot| {
        let (offset, access) = slot.under_way.take()?;
        slot.bar.close()?;
        if access == Access::Write {
            let value = slot.bar.written(offset)?;
            if let Err(error) = slot.device.write(offset, value) {
                slot.error.get_or_insert(error);
            }
        }
        Some(())
    })?
}

/// Lends `len` bytes of new memory to the card; the bus address, and the memory.
///
/// # Panics
/// There is no memory, or the card refuses it.
pub(crate) fn lend(len: usize) -> (u64, &'static SharedMemory) {
    with(|slot| {
        let memory = SharedMemory::new(c"ixgbe-driver", len.next_multiple_of(4096).max(4096))
            .expect("memory for the driver");
        // The driver keeps pointers into it for as long as it likes.
        let memory: &'static SharedMemory = Box::leak(Box::new(memory));
        let iova = slot.lent.last().map_or(FIRST_IOVA, |(iova, memory)| {
            iova + memory.len() as u64 + 4096
        });
        slot.device
            .lend(iova, memory)
            .expect("a card that takes memory");
        slot.lent.push((iova, memory));
        (iova, memory)
    })
    .expect("a card in the driver's thread")
}

/// Where memory begins on the bus: above 4 GiB, so that the upper halves of ring and buffer addresses count.
const FIRST_IOVA: u64 = 0x1_2000_0000;

/// What was lent, as bus address and memory.
pub(crate) fn lent() -> Vec<(u64, &'static SharedMemory)> {
    with(|slot| slot.lent.clone()).unwrap_or_default()
}

/// Lets `time` pass, or less.
///
/// # Panics
/// The card cannot be reached: the driver would wait for it for ever.
pub(crate) fn pass(time: Duration) {
    with(|slot| {
        let before = slot.error.take().map_or(Ok(()), Err);
        let passed = before.and_then(|()| slot.device.pass(time));
        passed.expect("a card that can be reached");
    });
}
