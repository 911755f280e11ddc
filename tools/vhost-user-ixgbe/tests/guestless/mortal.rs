//! A card whose server ends after so many messages.

use std::{
    io::{Error, ErrorKind},
    os::fd::BorrowedFd,
    time::Duration,
};

use guest_memory::SharedMemory;
use nic_driver::{
    Device,
    device::DeviceError,
    in_process::{Bench, InProcess},
};
use nic_model::Port;

pub struct Mortal {
    card: InProcess<Bench>,
    left: u64,
}

impl Mortal {
    /// One that does not end.
    pub fn new(card: InProcess<Bench>) -> Self {
        let left = u64::MAX;
        Self { card, left }
    }

    /// From now on so many messages are answered, and then none.
    pub fn ends_after(&mut self, messages: u64) {
        self.left = messages;
    }

    pub fn wire(&mut self) -> &mut Bench {
        self.card.wire()
    }

    pub fn port(&mut self) -> &mut Port {
        self.card.port()
    }

    fn ask(&mut self) -> Result<&mut InProcess<Bench>, DeviceError> {
        let left = self.left.checked_sub(1);
        self.left =
            left.ok_or_else(|| DeviceError::new("serving", Error::from(ErrorKind::BrokenPipe)))?;
        Ok(&mut self.card)
    }
}

impl Device for Mortal {
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError> {
        self.ask()?.read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.ask()?.write(offset, value)
    }

    fn config_read(&mut self, offset: u16, to: &mut [u8]) -> Result<(), DeviceError> {
        self.ask()?.config_read(offset, to)
    }

    fn config_write(&mut self, offset: u16, from: &[u8]) -> Result<(), DeviceError> {
        self.ask()?.config_write(offset, from)
    }

    fn lend(&mut self, iova: u64, memory: &SharedMemory) -> Result<(), DeviceError> {
        self.ask()?.lend(iova, memory)
    }

    fn lend_file(
        &mut self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError> {
        self.ask()?.lend_file(iova, len, file, offset)
    }

    fn take_back(&mut self, iova: u64, len: u64) -> Result<(), DeviceError> {
        self.ask()?.take_back(iova, len)
    }

    fn pass(&mut self, time: Duration) -> Result<Duration, DeviceError> {
        self.ask()?.pass(time)
    }

    fn fired(&mut self, vector: u8) -> Result<u64, DeviceError> {
        self.ask()?.fired(vector)
    }

    fn wakeups(&self, vectors: usize) -> Vec<BorrowedFd<'_>> {
        self.card.wakeups(vectors)
    }
}
