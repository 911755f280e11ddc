//! A device that remembers what it was asked, and a thread that serves it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::migration::Movable;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use vfio_user::Errno;
use vfio_user::client::{Client, Options};
use vfio_user::message::{DeviceFlags, IrqFlags, Protection, RegionFlags};
use vfio_user::server::{
    Description, Device, DmaError, DmaMapping, DmaRange, Irq, IrqAction, IrqOperation, IrqUpdate,
    Limits, Migratable, Region, RequestId, Session, SessionError,
};

/// Interrupt types by their place in [`description`].
pub const INTX: u32 = 0;
pub const MSI: u32 = 1;
pub const MSIX: u32 = 2;
pub const ERR: u32 = 3;
pub const REQ: u32 = 4;

/// The region that can be read and not written.
pub const READ_ONLY_REGION: u32 = 6;
pub const CONFIG_REGION: u32 = 7;

/// Accesses to this offset of region 0 fail.
pub const FAULTY_OFFSET: u64 = 0x5000;
pub const FAULT: Errno = Errno::BUSY;

/// A device of the shape of an 82599.
pub fn description() -> Description {
    let mut regions = vec![Region::ABSENT; 9];
    regions[0] = Region::trapped(512 << 10);
    regions[2] = Region::trapped(32);
    regions[4] = Region::trapped(16 << 10);
    regions[6] = Region {
        access: RegionFlags::READ,
        ..Region::trapped(4096)
    };
    regions[7] = Region::trapped(4096);
    let eventfd = |count| Irq {
        flags: IrqFlags::EVENTFD,
        count,
    };
    Description {
        flags: DeviceFlags::PCI | DeviceFlags::RESET,
        regions,
        irqs: vec![
            Irq {
                flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE | IrqFlags::AUTOMASKED,
                count: 1,
            },
            eventfd(1),
            eventfd(64),
            eventfd(1),
            eventfd(1),
        ],
    }
}

/// What a device was asked, in the order in which it was asked.
#[derive(Debug, PartialEq)]
pub enum Event {
    Read {
        region: u32,
        offset: u64,
        length: usize,
    },
    Write {
        region: u32,
        offset: u64,
        data: Vec<u8>,
    },
    Reset,
    Map {
        first: u64,
        last: u64,
        protection: Protection,
        file: bool,
        offset: u64,
    },
    Unmap(DmaRange),
    DisableIrqs {
        index: u32,
    },
    ActOnIrqs {
        index: u32,
        action: IrqAction,
        /// The selected vectors.
        vectors: Vec<u32>,
    },
    AssignIrqs {
        index: u32,
        action: IrqAction,
        start: u32,
        /// For each vector, whether there is an eventfd.
        eventfds: Vec<bool>,
    },
    ReadDone(RequestId, Result<Vec<u8>, Errno>),
    WriteDone(RequestId, Result<(), Errno>),
}

/// Something that the server's thread should do between two turns.
enum Order {
    /// Read client memory, report the outcome of beginning it.
    DmaRead(u64, usize, Sender<Result<RequestId, DmaError>>),
    DmaWrite(u64, Vec<u8>, Sender<Result<RequestId, DmaError>>),
    /// Write 1 to all eventfds assigned to this vector, report how many there were.
    Fire(u32, u32, Sender<usize>),
}

/// Memory behind every region, and a log.
struct TestDevice {
    regions: Vec<Vec<u8>>,
    events: Sender<Event>,
    eventfds: Vec<((u32, u32), OwnedFd)>,
    movable: Option<Movable>,
}

impl TestDevice {
    fn new(movable: Option<Movable>) -> (Self, Receiver<Event>) {
        let (events, seen) = channel();
        let regions = description()
            .regions
            .iter()
            .map(|region| vec![0; usize::try_from(region.size).unwrap()])
            .collect();
        let device = Self {
            regions,
            events,
            eventfds: Vec::new(),
            movable,
        };
        (device, seen)
    }

    fn note(&self, event: Event) {
        // The test may have seen enough.
        let _ = self.events.send(event);
    }

    fn fire(&self, index: u32, vector: u32) -> usize {
        let mut fired = 0;
        for (_, fd) in self
            .eventfds
            .iter()
            .filter(|(at, _)| *at == (index, vector))
        {
            rustix::io::write(fd, &1u64.to_ne_bytes()).unwrap();
            fired += 1;
        }
        fired
    }
}

impl Device for TestDevice {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.note(Event::Read {
            region,
            offset,
            length: data.len(),
        });
        if region == 0 && offset == FAULTY_OFFSET {
            return Err(FAULT);
        }
        let start = usize::try_from(offset).unwrap();
        data.copy_from_slice(&self.regions[region as usize][start..start + data.len()]);
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.note(Event::Write {
            region,
            offset,
            data: data.to_vec(),
        });
        if region == 0 && offset == FAULTY_OFFSET {
            return Err(FAULT);
        }
        let start = usize::try_from(offset).unwrap();
        self.regions[region as usize][start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Errno> {
        self.note(Event::Reset);
        Ok(())
    }

    fn dma_map(&mut self, mapping: DmaMapping) -> Result<(), Errno> {
        self.note(Event::Map {
            first: mapping.range.first(),
            last: mapping.range.last(),
            protection: mapping.protection,
            file: mapping.file.is_some(),
            offset: mapping.offset,
        });
        Ok(())
    }

    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        self.note(Event::Unmap(range));
        Ok(())
    }

    fn set_irqs(&mut self, update: IrqUpdate<'_>) -> Result<(), Errno> {
        let IrqUpdate {
            index,
            start,
            count,
            operation,
        } = update;
        let vectors = start..start + count;
        match operation {
            IrqOperation::Disable => {
                self.eventfds.retain(|(at, _)| at.0 != index);
                self.note(Event::DisableIrqs { index });
            }
            IrqOperation::Act(action, selection) => self.note(Event::ActOnIrqs {
                index,
                action,
                vectors: vectors
                    .enumerate()
                    .filter(|(place, _)| selection.contains(*place))
                    .map(|(_, vector)| vector)
                    .collect(),
            }),
            IrqOperation::Assign(action, eventfds) => {
                assert_eq!(eventfds.len(), count as usize);
                self.note(Event::AssignIrqs {
                    index,
                    action,
                    start,
                    eventfds: eventfds.iter().map(Option::is_some).collect(),
                });
                for (vector, fd) in vectors.zip(eventfds) {
                    self.eventfds.retain(|(at, _)| *at != (index, vector));
                    self.eventfds.extend(fd.map(|fd| ((index, vector), fd)));
                }
            }
        }
        Ok(())
    }

    fn migration(&mut self) -> Option<&mut dyn Migratable> {
        let movable = self.movable.as_mut();
        movable.map(|movable| movable as &mut dyn Migratable)
    }

    fn dma_read_done(&mut self, id: RequestId, result: Result<&[u8], Errno>) {
        self.note(Event::ReadDone(id, result.map(<[u8]>::to_vec)));
    }

    fn dma_write_done(&mut self, id: RequestId, result: Result<(), Errno>) {
        self.note(Event::WriteDone(id, result));
    }
}

/// A session that runs in a thread of its own until its client goes.
pub struct Server {
    pub events: Receiver<Event>,
    orders: Sender<Order>,
    wake: OwnedFd,
    thread: JoinHandle<SessionError>,
}

impl Server {
    /// A server, and the client's end of its connection.
    pub fn start(limits: Limits, description: Description) -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Self::serve(ours, limits, description), theirs)
    }

    /// A server on a connection.
    pub fn serve(stream: UnixStream, limits: Limits, description: Description) -> Self {
        Self::serve_device(stream, limits, description, TestDevice::new(None))
    }

    /// A server of a device that can be moved, and a client that has negotiated with it.
    pub fn with_movable(movable: Movable) -> (Self, Client) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let device = TestDevice::new(Some(movable));
        let server = Self::serve_device(ours, Limits::default(), description(), device);
        let mut client = Client::attach(theirs, Options::default());
        client.negotiate().unwrap();
        (server, client)
    }

    fn serve_device(
        stream: UnixStream,
        limits: Limits,
        description: Description,
        (mut device, events): (TestDevice, Receiver<Event>),
    ) -> Self {
        let (orders, taken) = channel();
        let wake =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let woken = wake.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let mut session = Session::new(stream, limits, description);
            run(&mut session, &mut device, &taken, &woken)
        });
        Self {
            events,
            orders,
            wake,
            thread,
        }
    }

    /// A server with its defaults, and a client that has negotiated with it.
    pub fn with_client() -> (Self, Client) {
        let (server, stream) = Self::start(Limits::default(), description());
        let mut client = Client::attach(stream, Options::default());
        client.negotiate().unwrap();
        (server, client)
    }

    pub fn dma_read(&self, iova: u64, length: usize) -> Result<RequestId, DmaError> {
        self.order(|answer| Order::DmaRead(iova, length, answer))
    }

    pub fn dma_write(&self, iova: u64, data: &[u8]) -> Result<RequestId, DmaError> {
        self.order(|answer| Order::DmaWrite(iova, data.to_vec(), answer))
    }

    pub fn fire(&self, index: u32, vector: u32) -> usize {
        self.order(|answer| Order::Fire(index, vector, answer))
    }

    fn order<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> T {
        let (answer, answered) = channel();
        self.orders.send(order(answer)).unwrap();
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).unwrap();
        answered.recv().expect("the session is still there")
    }

    /// What the device was asked since the last time.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.try_iter().collect()
    }

    /// How the session ended; waits for it.
    pub fn end(self) -> SessionError {
        self.thread.join().unwrap()
    }
}

fn run(
    session: &mut Session,
    device: &mut TestDevice,
    orders: &Receiver<Order>,
    wake: &OwnedFd,
) -> SessionError {
    let mut more = false;
    loop {
        let mut events = PollFlags::IN;
        if session.wants_write() {
            events |= PollFlags::OUT;
        }
        let mut fds = [
            PollFd::from_borrowed_fd(session.as_fd(), events),
            PollFd::new(wake, PollFlags::IN),
        ];
        let no_wait = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut fds, more.then_some(&no_wait)).unwrap();
        if !fds[1].revents().is_empty() {
            let _ = rustix::io::read(wake, &mut [0; 8]);
        }
        for order in orders.try_iter() {
            match order {
                Order::DmaRead(iova, length, answer) => {
                    answer.send(session.dma_read(iova, length)).unwrap();
                }
                Order::DmaWrite(iova, data, answer) => {
                    answer.send(session.dma_write(iova, &data)).unwrap();
                }
                Order::Fire(index, vector, answer) => {
                    answer.send(device.fire(index, vector)).unwrap();
                }
            }
        }
        if let Err(error) = session.flush() {
            return error;
        }
        match session.receive(device) {
            Ok(progress) => more = progress.more,
            Err(error) => return error,
        }
    }
}

/// Client memory from address 0 on, which ends after its bytes.
pub struct TestMemory {
    pub bytes: Vec<u8>,
    /// Lengths of the accesses.
    pub seen: Sender<(Access, u64, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl vfio_user::client::ClientMemory for TestMemory {
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Errno> {
        let _ = self.seen.send((Access::Read, iova, data.len()));
        let start = usize::try_from(iova).unwrap();
        let bytes = self.bytes.get(start..start + data.len());
        data.copy_from_slice(bytes.ok_or(Errno::NODEV)?);
        Ok(())
    }

    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Errno> {
        let _ = self.seen.send((Access::Write, iova, data.len()));
        let start = usize::try_from(iova).unwrap();
        let bytes = self.bytes.get_mut(start..start + data.len());
        bytes.ok_or(Errno::NODEV)?.copy_from_slice(data);
        Ok(())
    }
}

pub fn eventfd() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// How often an eventfd was written since the last time.
pub fn count(eventfd: &OwnedFd) -> u64 {
    let mut bytes = [0; 8];
    match rustix::io::read(eventfd, &mut bytes) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(rustix::io::Errno::AGAIN) => 0,
        Err(error) => panic!("{error}"),
    }
}
