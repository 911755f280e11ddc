//! A card behind a vfio-user socket: another process serves it, and time is the clock on the wall.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use guest_memory::{Backing, IovaTable, Limits, SharedMemory};
use ixgbe_spec::register::{Access, Reg};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use vfio_user::{
    Errno,
    client::{Client, ClientMemory, Options},
    message::Protection,
    server::IrqAction,
};
use vm_memory::Permissions;

use crate::{
    device::{Device, DeviceError},
    pages::Pages,
};

/// BAR0 (`VFIO_PCI_BAR0_REGION_INDEX`).
const BAR0: u32 = 0;
/// Configuration space (`VFIO_PCI_CONFIG_REGION_INDEX`).
const CONFIG: u32 = 7;
/// MSI-X vectors (`VFIO_PCI_MSIX_IRQ_INDEX`).
const MSIX: u32 = 2;

/// How the card reaches the driver's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lending {
    /// By the memory's file descriptor: the server maps it.
    #[default]
    Descriptor,
    /// By `DMA_READ` and `DMA_WRITE` messages, which this side answers while it is inside a call.
    Messages,
}

/// A card behind a vfio-user socket. Calls block, at most as long as the client's time limit.
#[derive(Debug)]
pub struct OverSocket {
    client: Client,
    lending: Lending,
    /// What messages may reach.
    lent: Lent,
    vectors: Vec<Vector>,
    /// Registers that are memory, if the server offers any.
    pages: Option<Pages>,
    /// A register write has been sent, and nothing has been waited for since.
    posted: bool,
}

#[derive(Debug)]
struct Vector {
    eventfd: OwnedFd,
    /// Signals that were read off the eventfd and not asked for yet.
    fired: u64,
}

impl Vector {
    /// Reads the eventfd; returns whether the vector has fired since.
    fn collect(&mut self) -> Result<bool, DeviceError> {
        let mut count = [0; 8];
        match rustix::io::read(&self.eventfd, &mut count) {
            Ok(_) => {
                self.fired = self.fired.saturating_add(u64::from_ne_bytes(count));
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(DeviceError::new("reading an eventfd", error)),
        }
    }
}

impl OverSocket {
    /// Connects to the server at `path` and takes over all of the card's MSI-X vectors.
    ///
    /// # Errors
    /// Nobody serves a card there.
    pub fn connect(
        path: impl AsRef<Path>,
        options: Options,
        lending: Lending,
    ) -> Result<Self, DeviceError> {
        let client = Client::connect(path, options)
            .map_err(|error| DeviceError::new("connecting to the card", error))?;
        Self::new(client, lending)
    }

    /// A card behind a connection that has been negotiated.
    ///
    /// # Errors
    /// The server has no MSI-X vectors, or there are no eventfds for them.
    pub fn new(mut client: Client, lending: Lending) -> Result<Self, DeviceError> {
        let lent = Lent::default();
        client.set_memory(Box::new(lent.clone()));
        let failed = |error| DeviceError::new("taking over the card's interrupts", error);
        let count = client.irq_info(MSIX).map_err(failed)?.count;
        let vectors = (0..count)
            .map(|_| {
                let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                Ok(Vector { eventfd, fired: 0 })
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| DeviceError::new("making eventfds", error))?;
        let eventfds: Vec<_> = vectors.iter().map(|v| Some(v.eventfd.as_fd())).collect();
        client
            .assign_irqs(MSIX, IrqAction::Trigger, 0, &eventfds)
            .map_err(failed)?;
        let region = client
            .region_info(BAR0)
            .map_err(|error| DeviceError::new("asking for the card's registers", error))?;
        let pages = Pages::map(region)
            .map_err(|error| DeviceError::new("mapping the card's registers", error))?;
        Ok(Self {
            client,
            lending,
            lent,
            vectors,
            pages,
            posted: false,
        })
    }

    /// Whether doorbells are stores to memory.
    #[must_use]
    pub const fn has_mapped_doorbells(&self) -> bool {
        self.pages.is_some()
    }

    /// Reads a register by a message, wherever it lies. What was stored to registers that are memory comes before it.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn read_by_message(&mut self, offset: u32) -> Result<u32, DeviceError> {
        let mut value = [0; 4];
        self.client
            .region_read(BAR0, offset.into(), &mut value)
            .map_err(|error| {
                DeviceError::new(format!("reading the register at {offset:#x}"), error)
            })?;
        self.posted = false;
        Ok(u32::from_le_bytes(value))
    }

    /// The session, for what a driver has no need of.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Waits until the writes that were sent are done: memory is faster than messages.
    fn flush(&mut self) -> Result<(), DeviceError> {
        self.read_by_message(Reg::STATUS.offset(0)).map(drop)
    }

    /// Reads the eventfds; returns whether any vector has fired since.
    fn collect(&mut self) -> Result<bool, DeviceError> {
        let mut any = false;
        for vector in &mut self.vectors {
            any |= vector.collect()?;
        }
        Ok(any)
    }

    /// Sleeps until the server says something or a vector fires, at most until `end`.
    fn sleep(&self, end: Instant) -> Result<(), DeviceError> {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left)
            .map_err(|error| DeviceError::new("waiting that long", error))?;
        let fds = [self.client.as_fd()].into_iter();
        let mut fds: Vec<PollFd<'_>> = fds
            .chain(self.vectors.iter().map(|vector| vector.eventfd.as_fd()))
            .map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(DeviceError::new("waiting for the card", error)),
        }
    }
}

impl Device for OverSocket {
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError> {
        let counter = |(reg, _): (Reg, usize)| reg.row().access == Access::ReadClear;
        // Memory cannot tell that a counter was read.
        if self.pages.is_none() || Reg::decode(offset).is_some_and(counter) {
            return self.read_by_message(offset);
        }
        if self.posted {
            self.flush()?;
        }
        match self.pages.as_ref().and_then(|pages| pages.load(offset)) {
            Some(value) => Ok(value),
            None => self.read_by_message(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        if let Some(pages) = &self.pages
            && pages.contain(offset)
        {
            if self.posted {
                self.flush()?;
            }
            if let Some(pages) = &self.pages {
                pages.store(offset, value);
            }
            return Ok(());
        }
        self.posted = true;
        self.client
            .region_write_posted(BAR0, offset.into(), &value.to_le_bytes())
            .map_err(|error| {
                DeviceError::new(format!("writing the register at {offset:#x}"), error)
            })
    }

    fn config_read(&mut self, offset: u16, to: &mut [u8]) -> Result<(), DeviceError> {
        self.client
            .region_read(CONFIG, offset.into(), to)
            .map_err(|error| {
                DeviceError::new(format!("reading configuration at {offset:#x}"), error)
            })
    }

    fn config_write(&mut self, offset: u16, from: &[u8]) -> Result<(), DeviceError> {
        self.client
            .region_write(CONFIG, offset.into(), from)
            .map_err(|error| {
                DeviceError::new(format!("writing configuration at {offset:#x}"), error)
            })
    }

    fn lend(&mut self, iova: u64, memory: &SharedMemory) -> Result<(), DeviceError> {
        self.lend_file(iova, memory.len() as u64, memory.as_fd(), 0)
    }

    fn lend_file(
        &mut self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError> {
        let file = match self.lending {
            Lending::Descriptor => Some((file, offset)),
            Lending::Messages => {
                self.lent.add(iova, len, file, offset)?;
                None
            }
        };
        self.client
            .dma_map(iova, len, Protection::READ | Protection::WRITE, file)
            .map_err(|error| DeviceError::new(format!("lending memory at {iova:#x}"), error))
    }

    fn take_back(&mut self, iova: u64, len: u64) -> Result<(), DeviceError> {
        self.client
            .dma_unmap(iova, len)
            .map_err(|error| DeviceError::new(format!("taking back memory at {iova:#x}"), error))?;
        self.lent.remove(iova, len)
    }

    fn pass(&mut self, time: Duration) -> Result<Duration, DeviceError> {
        let start = Instant::now();
        let end = start + time;
        loop {
            let served = self
                .client
                .serve()
                .map_err(|error| DeviceError::new("serving the card's messages", error))?;
            if self.collect()? || served > 0 || Instant::now() >= end {
                return Ok(start.elapsed());
            }
            self.sleep(end)?;
        }
    }

    fn fired(&mut self, vector: u8) -> Result<u64, DeviceError> {
        let Some(vector) = self.vectors.get_mut(usize::from(vector)) else {
            return Ok(0);
        };
        vector.collect()?;
        Ok(std::mem::take(&mut vector.fired))
    }

    fn wakeups(&self, vectors: usize) -> Vec<BorrowedFd<'_>> {
        let vectors = self.vectors.iter().take(vectors);
        let fds = vectors.map(|vector| vector.eventfd.as_fd());
        fds.chain([self.client.as_fd()]).collect()
    }
}

/// Memory that messages reach: the same ranges that the server knows.
#[derive(Clone, Debug)]
struct Lent(Arc<Mutex<IovaTable>>);

impl Default for Lent {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(IovaTable::new(Limits::default()))))
    }
}

impl Lent {
    fn add(
        &self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError> {
        let fd = file
            .try_clone_to_owned()
            .map_err(|error| DeviceError::new("duplicating the memory's descriptor", error))?;
        let backing = Backing::File { fd, offset };
        self.table(|table| table.map(iova, len, Permissions::ReadWrite, backing))
            .map_err(|error| DeviceError::new(format!("lending memory at {iova:#x}"), error))
    }

    fn remove(&self, iova: u64, len: u64) -> Result<(), DeviceError> {
        self.table(|table| table.unmap(iova, len))
            .map_err(|error| DeviceError::new(format!("taking back memory at {iova:#x}"), error))
    }

    fn table<T>(&self, act: impl FnOnce(&mut IovaTable) -> T) -> T {
        // Each act leaves the table whole, so a panic of another thread has broken nothing.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientMemory for Lent {
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.table(|table| table.read(iova, data))
            .map_err(|_| Errno::FAULT)
    }

    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Errno> {
        self.table(|table| table.write(iova, data))
            .map_err(|_| Errno::FAULT)
    }
}
