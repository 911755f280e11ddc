//! The loop, under a front-end that we did not write: the one of the crate `vhost`, over a socket.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    io::{Error, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use guest_memory::SharedMemory;
use nic_driver::{Device, device::DeviceError, in_process::InProcess};
use nic_model::{
    PortConfig, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vfio_user::Listener;
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend},
};
use vhost_user_ixgbe::{
    negotiated::{Offer, Switch},
    polling::Polling,
    receive::Mode,
    stack::Settings,
    worker::{Options, Worker},
};
use vmm_sys_util::eventfd::EventFd;

const MAC: [u8; 6] = [0x02, 0, 0, 0x12, 0x34, 0x56];
const BASE: u64 = 0x10_0000;
const USER: u64 = 0x7F00_0000_0000;
const SIZE: usize = 0x10_0000;
/// Of the receive ring in the memory: descriptors, what is available, what is used, the buffer.
const PARTS: [usize; 4] = [0, 0x1000, 0x2000, 0x8000];
const VERSION_1: u64 = 1 << 32;
/// How long the stack may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PROTOCOL_FEATURES: u64 = 1 << 30;

/// A cable with one frame in each turn of the card, from the beginning: the first ones find no ring.
struct Drip {
    frame: Vec<u8>,
    next: Next,
}

enum Next {
    Frame,
    Nothing,
}

impl Wire for Drip {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, _frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        Ok(())
    }

    fn receive(&mut self, _budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        match self.next {
            Next::Frame => {
                self.next = Next::Nothing;
                sink(&RxFrame::new(&self.frame));
                1
            }
            Next::Nothing => {
                self.next = Next::Frame;
                0
            }
        }
    }

    fn carrier(&self) -> bool {
        true
    }
}

fn arriving() -> Vec<u8> {
    [&MAC[..], &[2, 0, 0, 0, 0, 9, 0x88, 0xB5], &[0x5A; 200]].concat()
}

fn card() -> InProcess<Drip> {
    let drip = Drip {
        frame: arriving(),
        next: Next::Frame,
    };
    InProcess::new(PortConfig::new(MAC), drip)
}

fn options(polling: Polling) -> Options {
    Options {
        settings: Settings {
            rx: Mode::ZeroCopy,
            packet_split: Switch::Off,
            offer: Offer {
                mergeable: Switch::On,
                offloads: Switch::On,
                large_receive: Switch::Off,
            },
            pairs: 1,
            mtu: 1500,
        },
        polling,
    }
}

/// A stack in a thread. It ends with the other end of `end`, and tells what was copied.
fn serve(listener: Listener, end: UnixStream) -> JoinHandle<u64> {
    thread::spawn(move || {
        let options = options(Polling::UpTo(Duration::ZERO));
        let connect = || Ok(card());
        let mut worker = Worker::new(options, &listener, end.as_fd(), connect).unwrap();
        worker.run().unwrap();
        worker.stack().counters().rx_bytes_copied
    })
}

/// A guest's memory with a receive ring of one buffer, and its eventfds.
struct Guest {
    memory: SharedMemory,
    kick: EventFd,
    call: EventFd,
}

impl Guest {
    fn new(memory: SharedMemory) -> Self {
        let [kick, call] = [(); 2].map(|()| EventFd::new(0).unwrap());
        let guest = Self { memory, kick, call };
        // Descriptors for the device to write, of which the first one is available.
        let buffer = (BASE + PARTS[3] as u64).to_le_bytes();
        for index in 0..2 {
            guest.put(PARTS[0] + 16 * index, &buffer);
            guest.put(PARTS[0] + 16 * index + 8, &[0x40, 6, 0, 0, 2, 0, 0, 0]);
        }
        guest.put(PARTS[1] + 2, &[1, 0, 0, 0, 1, 0]);
        guest
    }

    fn put(&self, offset: usize, bytes: &[u8]) {
        let slice = self.memory.slice(offset, bytes.len()).unwrap();
        slice.copy_from(bytes);
    }

    fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let slice = self.memory.slice(offset, len).unwrap();
        slice.copy_to(&mut bytes);
        bytes
    }

    /// Tells the stack of the memory and the ring, as QEMU does.
    fn introduce(&self, front_end: &mut Frontend) {
        front_end.set_owner().unwrap();
        let features = front_end.get_features().unwrap();
        assert_eq!(features & VERSION_1, VERSION_1);
        front_end
            .set_features(VERSION_1 | PROTOCOL_FEATURES)
            .unwrap();
        let offered = front_end.get_protocol_features().unwrap();
        front_end.set_protocol_features(offered).unwrap();
        assert_eq!(front_end.get_queue_num().unwrap(), 2);
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: BASE,
            memory_size: SIZE as u64,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.memory.as_fd().as_raw_fd(),
        };
        front_end.set_mem_table(&[region]).unwrap();
        front_end.set_vring_num(0, 256).unwrap();
        let place = |part: usize| USER + PARTS[part] as u64;
        let config = VringConfigData {
            queue_max_size: 256,
            queue_size: 256,
            flags: 0,
            desc_table_addr: place(0),
            avail_ring_addr: place(1),
            used_ring_addr: place(2),
            log_addr: None,
        };
        front_end.set_vring_addr(0, &config).unwrap();
        front_end.set_vring_base(0, 0).unwrap();
        front_end.set_vring_call(0, &self.call).unwrap();
        front_end.set_vring_kick(0, &self.kick).unwrap();
        front_end.set_vring_enable(0, true).unwrap();
    }

    /// Waits for the frame number `nth`.
    fn wait_for_frame(&self, nth: u8) {
        let begun = Instant::now();
        while self.get(PARTS[2] + 2, 1)[0] < nth {
            assert!(begun.elapsed() < PATIENCE, "no frame");
            self.kick.write(1).unwrap();
            thread::yield_now();
        }
    }
}

fn guest() -> Guest {
    Guest::new(SharedMemory::new(c"guest", SIZE).unwrap())
}

/// Waits until the stack has ended, and returns what was copied.
fn finish(stack: JoinHandle<u64>) -> u64 {
    let begun = Instant::now();
    while !stack.is_finished() {
        assert!(begun.elapsed() < PATIENCE, "the loop stands still");
        thread::yield_now();
    }
    stack.join().unwrap()
}

#[test]
fn a_front_end_gets_a_frame_and_an_interrupt_over_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack");
    let (end, ended) = UnixStream::pair().unwrap();
    let stack = serve(Listener::bind(&path).unwrap(), ended);
    let guest = guest();

    let mut front_end = Frontend::connect(&path, 2).unwrap();
    guest.introduce(&mut front_end);
    guest.wait_for_frame(1);

    assert_eq!(guest.get(PARTS[3] + 12, arriving().len()), arriving());
    assert_eq!(front_end.get_vring_base(0).unwrap(), 1);
    assert!(guest.call.read().is_ok());
    drop((front_end, end));
    assert_eq!(finish(stack), 0);
}

#[test]
fn half_a_message_does_not_stop_the_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack");
    let (end, ended) = UnixStream::pair().unwrap();
    let stack = serve(Listener::bind(&path).unwrap(), ended);
    let mut socket = UnixStream::connect(&path).unwrap();
    let mut front_end = Frontend::from_stream(socket.try_clone().unwrap(), 2);
    let guest = guest();
    guest.introduce(&mut front_end);
    guest.wait_for_frame(1);
    // VHOST_USER_GET_FEATURES, which has no body.
    let message = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

    socket.write_all(&message[..7]).unwrap();
    guest.put(PARTS[1] + 2, &[2]);
    guest.wait_for_frame(2);
    socket.write_all(&message[7..]).unwrap();

    let mut answer = [0; 20];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..12], [1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0]);
    drop(end);
    finish(stack);
}

#[test]
fn half_a_header_before_features_are_acknowledged_does_not_stop_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack");
    let (end, ended) = UnixStream::pair().unwrap();
    let stack = serve(Listener::bind(&path).unwrap(), ended);
    let mut socket = UnixStream::connect(&path).unwrap();
    // VHOST_USER_GET_FEATURES; with its answer it is known that the loop listens.
    let message = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    socket.write_all(&message).unwrap();
    socket.read_exact(&mut [0; 20]).unwrap();

    socket.write_all(&message[..5]).unwrap();
    drop(end);

    finish(stack);
}

#[test]
fn a_front_end_that_truncates_its_memory_ends_itself_and_not_the_stack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack");
    let (end, ended) = UnixStream::pair().unwrap();
    let stack = serve(Listener::bind(&path).unwrap(), ended);
    let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, SIZE as u64).unwrap();
    let torn = Guest::new(SharedMemory::attach(file.try_clone().unwrap(), SIZE).unwrap());
    let mut front_end = Frontend::connect(&path, 2).unwrap();
    torn.introduce(&mut front_end);
    torn.wait_for_frame(1);

    ftruncate(&file, 0).unwrap();
    torn.kick.write(1).unwrap();

    let begun = Instant::now();
    while front_end.get_features().is_ok() {
        assert!(begun.elapsed() < PATIENCE, "torn memory goes unnoticed");
        torn.kick.write(1).unwrap();
    }
    let guest = guest();
    let mut front_end = Frontend::connect(&path, 2).unwrap();
    guest.introduce(&mut front_end);
    guest.wait_for_frame(1);
    assert_eq!(guest.get(PARTS[3] + 12, arriving().len()), arriving());
    drop(end);
    finish(stack);
}

/// A card behind a socket, which is gone with the other end of it.
struct Mortal {
    card: InProcess<Drip>,
    life: UnixStream,
}

impl Device for Mortal {
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError> {
        self.card.read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.card.write(offset, value)
    }

    fn config_read(&mut self, offset: u16, to: &mut [u8]) -> Result<(), DeviceError> {
        self.card.config_read(offset, to)
    }

    fn config_write(&mut self, offset: u16, from: &[u8]) -> Result<(), DeviceError> {
        self.card.config_write(offset, from)
    }

    fn lend(&mut self, iova: u64, memory: &SharedMemory) -> Result<(), DeviceError> {
        self.card.lend(iova, memory)
    }

    fn lend_file(
        &mut self,
        iova: u64,
        len: u64,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), DeviceError> {
        self.card.lend_file(iova, len, file, offset)
    }

    fn take_back(&mut self, iova: u64, len: u64) -> Result<(), DeviceError> {
        self.card.take_back(iova, len)
    }

    fn pass(&mut self, time: Duration) -> Result<Duration, DeviceError> {
        self.life.set_nonblocking(true).unwrap();
        match self.life.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.card.pass(time),
            _ => Err(DeviceError::new(
                "serving",
                Error::from(ErrorKind::BrokenPipe),
            )),
        }
    }

    fn fired(&mut self, vector: u8) -> Result<u64, DeviceError> {
        self.card.fired(vector)
    }

    fn wakeups(&self, _vectors: usize) -> Vec<BorrowedFd<'_>> {
        vec![self.life.as_fd()]
    }
}

#[test]
fn a_loop_that_polls_always_notices_a_card_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack");
    let listener = Listener::bind(&path).unwrap();
    let (end, ended) = UnixStream::pair().unwrap();
    let (lives, plugged) = mpsc::channel();
    let stack = thread::spawn(move || {
        let connect = || {
            let (life, other) = UnixStream::pair().unwrap();
            lives.send(other).unwrap();
            Ok(Mortal { card: card(), life })
        };
        let options = options(Polling::Always);
        let mut worker = Worker::new(options, &listener, ended.as_fd(), connect).unwrap();
        worker.run().unwrap();
        worker.sleeps()
    });
    let guest = guest();
    let mut front_end = Frontend::connect(&path, 2).unwrap();
    guest.introduce(&mut front_end);
    // With the answer it is known that the ring runs: from now on the loop does not sleep.
    front_end.get_features().unwrap();

    drop(plugged.recv_timeout(PATIENCE).unwrap());

    let second = plugged.recv_timeout(PATIENCE);
    assert!(second.is_ok(), "the loss of the card goes unnoticed");
    drop((front_end, end));
    finish(stack);
}
