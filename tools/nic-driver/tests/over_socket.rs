//! The adapter to a vfio-user socket, against a card of a few lines in a thread of its own: a write of `n` to register
//! 0x10 makes it copy the quadword at `n` to the place after it, and fire vector 3.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::VecDeque,
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use guest_memory::{Backing, IovaTable, Limits as MemoryLimits};
use nic_driver::{
    Device as _, DmaMemory,
    over_socket::{Lending, OverSocket},
};
use rustix::event::{PollFd, PollFlags, poll};
use vfio_user::{
    Errno,
    client::{Client, Options},
    message::{DeviceFlags, IrqFlags},
    server::{
        Description, Device, DmaMapping, DmaRange, Irq, IrqOperation, IrqUpdate, Limits,
        Migratable, Region, RequestId, Session,
    },
};
use vm_memory::Permissions;

const COPY: u64 = 0x10;
const VECTOR: u8 = 3;
const MEMORY: u64 = 0x10_0000;

/// What the card does between two turns of its session.
enum Work {
    Read(u64),
    Write(u64, Vec<u8>),
}

struct Card {
    registers: Vec<u8>,
    config: Vec<u8>,
    memory: IovaTable,
    eventfds: Vec<Option<OwnedFd>>,
    work: VecDeque<Work>,
    /// Where the message DMA that is under way began.
    under_way: u64,
}

impl Card {
    fn new() -> Self {
        Self {
            registers: vec![0; 4096],
            config: vec![0; 256],
            memory: IovaTable::new(MemoryLimits::default()),
            eventfds: Vec::new(),
            work: VecDeque::new(),
            under_way: 0,
        }
    }

    fn region(&mut self, region: u32) -> &mut [u8] {
        if region == 0 {
            &mut self.registers
        } else {
            &mut self.config
        }
    }

    fn fire(&self) {
        let fd = self.eventfds[usize::from(VECTOR)].as_ref().unwrap();
        rustix::io::write(fd, &1_u64.to_ne_bytes()).unwrap();
    }
}

impl Device for Card {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        let start = usize::try_from(offset).unwrap();
        data.copy_from_slice(&self.region(region)[start..start + data.len()]);
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let start = usize::try_from(offset).unwrap();
        self.region(region)[start..start + data.len()].copy_from_slice(data);
        if region == 0 && offset == COPY {
            let iova = u64::from(u32::from_le_bytes(data.try_into().unwrap()));
            let mut quadword = [0; 8];
            if self.memory.read(iova, &mut quadword).is_ok() {
                self.memory.write(iova + 8, &quadword).unwrap();
                self.fire();
            } else {
                self.work.push_back(Work::Read(iova));
            }
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    fn dma_map(&mut self, mapping: DmaMapping) -> Result<(), Errno> {
        let Some(fd) = mapping.file else {
            return Ok(());
        };
        let backing = Backing::File {
            fd,
            offset: mapping.offset,
        };
        let range = mapping.range;
        self.memory
            .map(range.first(), range.size(), Permissions::ReadWrite, backing)
            .map_err(|_| Errno::INVAL)
    }

    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        if let DmaRange::Range(range) = range {
            self.memory
                .unmap(range.first(), range.size())
                .map_err(|_| Errno::INVAL)?;
        }
        Ok(())
    }

    fn set_irqs(&mut self, update: IrqUpdate<'_>) -> Result<(), Errno> {
        if let IrqOperation::Assign(_, fds) = update.operation {
            assert_eq!(self.eventfds.len(), update.start as usize);
            self.eventfds.extend(fds);
        }
        Ok(())
    }

    fn migration(&mut self) -> Option<&mut dyn Migratable> {
        None
    }

    fn dma_read_done(&mut self, _id: RequestId, result: Result<&[u8], Errno>) {
        self.work
            .push_back(Work::Write(self.under_way + 8, result.unwrap().to_vec()));
    }

    fn dma_write_done(&mut self, _id: RequestId, result: Result<(), Errno>) {
        result.unwrap();
        self.fire();
    }
}

/// A card that serves one connection; the driver's end of it.
fn card() -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut regions = vec![Region::ABSENT; 9];
    regions[0] = Region::trapped(4096);
    regions[7] = Region::trapped(256);
    let eventfds = |count| Irq {
        flags: IrqFlags::EVENTFD,
        count,
    };
    let description = Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions,
        irqs: [1, 1, 64, 1, 1].map(eventfds).to_vec(),
    };
    let waits_for = ours.try_clone().unwrap();
    ours.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let mut session = Session::new(ours, Limits::default(), description);
        let mut card = Card::new();
        while session.receive(&mut card).is_ok() {
            while let Some(work) = card.work.pop_front() {
                match work {
                    Work::Read(iova) => {
                        card.under_way = iova;
                        session.dma_read(iova, 8).unwrap();
                    }
                    Work::Write(iova, data) => {
                        session.dma_write(iova, &data).unwrap();
                    }
                }
            }
            session.flush().unwrap();
            let mut fds = [PollFd::new(&waits_for, PollFlags::IN)];
            poll(&mut fds, None).unwrap();
        }
    });
    theirs
}

fn device(lending: Lending) -> OverSocket {
    let mut client = Client::attach(card(), Options::default());
    client.negotiate().unwrap();
    OverSocket::new(client, lending).unwrap()
}

/// Whether the vector fires within ten seconds.
fn fires(device: &mut OverSocket) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        device.pass(Duration::from_millis(100)).unwrap();
        if device.fired(VECTOR).unwrap() == 1 {
            return true;
        }
    }
    false
}

fn a_copy_arrives_and_interrupts(lending: Lending) {
    let mut device = device(lending);
    let memory = DmaMemory::new(&mut device, MEMORY, 4096).unwrap();
    memory.store(64, 0x1122_3344_5566_7788);

    device
        .write(0x10, u32::try_from(MEMORY).unwrap() + 64)
        .unwrap();

    assert!(fires(&mut device));
    assert_eq!(device.fired(VECTOR).unwrap(), 0);
    assert_eq!(memory.load(72), 0x1122_3344_5566_7788);
    device.take_back(MEMORY, 4096).unwrap();
}

#[test]
fn memory_lent_by_descriptor_is_reached_and_vectors_fire() {
    a_copy_arrives_and_interrupts(Lending::Descriptor);
}

#[test]
fn memory_lent_by_messages_is_reached_while_the_driver_waits() {
    a_copy_arrives_and_interrupts(Lending::Messages);
}

#[test]
fn registers_and_configuration_space_are_read_back() {
    let mut device = device(Lending::default());
    device.write(0x20, 0xDEAD_BEEF).unwrap();
    device.config_write(4, &[6, 0]).unwrap();

    assert_eq!(device.read(0x20).unwrap(), 0xDEAD_BEEF);
    let mut command = [0; 2];
    device.config_read(4, &mut command).unwrap();
    assert_eq!(command, [6, 0]);
}

#[test]
fn a_socket_that_nobody_listens_on_is_an_error_with_its_reason() {
    let error =
        OverSocket::connect("/nowhere.sock", Options::default(), Lending::default()).unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
}
