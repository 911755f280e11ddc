//! A virtio-net driver of a few lines, and its memory; in the place of a guest and its QEMU.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use guest_memory::SharedMemory;
use nic_driver::{
    Device, DriverError,
    in_process::{Bench, InProcess},
};
use nic_model::{
    PortConfig, Time,
    check::Findings,
    observe::{Direction, Event, Observer, Purpose},
};
use vhost::vhost_user::{
    VhostUserBackendReqHandlerMut,
    message::{VhostUserLog, VhostUserMemoryRegion, VhostUserVringAddrFlags},
};
use vhost_user_ixgbe::{
    negotiated::{Offer, Switch},
    receive::Mode,
    stack::{Settings, Stack},
};
use vm_memory::Bytes;

use crate::mortal::Mortal;

pub const MAC: [u8; 6] = [0x02, 0, 0, 0x12, 0x34, 0x56];
/// Guest-physical address of the memory.
pub const BASE: u64 = 0x10_0000;
/// Where the front-end has it.
const USER: u64 = 0x7F00_0000_0000;
pub const SIZE: u64 = 8 << 20;
pub const RING: u16 = 256;
const RINGS: u64 = 0x4000;
/// Buffers of tests lie from here on.
pub const BUFFERS: u64 = BASE + 0x10_0000;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

pub const VERSION_1: u64 = 1 << 32;
pub const MERGEABLE: u64 = 1 << 15;
pub const EVENT_IDX: u64 = 1 << 29;
pub const CSUM: u64 = 1;
pub const GUEST_CSUM: u64 = 1 << 1;
pub const GUEST_TSO4: u64 = 1 << 7;
pub const USO: u64 = 1 << 56;
pub const TSO4: u64 = 1 << 11;
pub const LOG_ALL: u64 = 1 << 26;

pub fn settings() -> Settings {
    Settings {
        rx: Mode::ZeroCopy,
        packet_split: Switch::Off,
        offer: Offer {
            mergeable: Switch::On,
            offloads: Switch::On,
            large_receive: Switch::Off,
        },
        pairs: 1,
        mtu: 1500,
    }
}

/// What the driver knows of one of its rings.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    size: u16,
    next_descriptor: u16,
    available: u16,
    seen: u16,
}

/// A guest with its stack and its card.
pub struct World {
    pub stack: Stack<Mortal>,
    pub memory: SharedMemory,
    rings: Vec<Ring>,
    /// What driver checkers have found at the cards so far.
    findings: Vec<Findings>,
}

impl Drop for World {
    fn drop(&mut self) {
        let found = self.findings.iter().flat_map(Findings::all);
        let found: Vec<_> = found.map(|(found, _)| (found.rule, found.what)).collect();
        assert!(found.is_empty() || thread::panicking(), "{found:?}");
    }
}

/// Tells what the card's DMA engine writes of received packets: where, how much, and what for.
struct Writes(Sender<(u64, usize, Purpose)>);

impl Observer for Writes {
    fn see(&mut self, _now: Time, event: &Event<'_>) {
        if let Event::Dma(write) = event
            && write.direction == Direction::Receive
            && matches!(write.purpose, Purpose::Packet | Purpose::Header)
        {
            self.0
                .send((write.iova.0, write.len, write.purpose))
                .unwrap();
        }
    }
}

impl World {
    /// A guest that has agreed on virtio 1 and these features, with running rings.
    pub fn new(settings: Settings, features: u64) -> Self {
        let stack = Stack::new(settings);
        let memory = SharedMemory::new(c"guest", usize::try_from(SIZE).unwrap()).unwrap();
        let mut world = Self {
            stack,
            memory,
            rings: vec![Ring::default(); settings.pairs * 2],
            findings: Vec::new(),
        };
        world.plug();
        world.agree(features);
        (0..world.rings.len()).for_each(|ring| world.start(ring, 0));
        world
    }

    /// A front-end that has connected, but for its rings.
    pub fn agree(&mut self, features: u64) {
        self.stack.set_owner().unwrap();
        self.stack.set_features(features | VERSION_1).unwrap();
        self.share_memory();
    }

    /// Plugs in a new card, with a driver checker that looks on.
    pub fn plug(&mut self) {
        let (card, findings) = InProcess::checked(PortConfig::new(MAC), Bench::default());
        self.findings.push(findings);
        self.stack.plug(Mortal::new(card)).unwrap();
    }

    pub fn file(&self) -> File {
        let fd: OwnedFd = self.memory.as_fd().try_clone_to_owned().unwrap();
        File::from(fd)
    }

    pub fn share_memory(&mut self) {
        self.share_memory_from(BASE);
    }

    /// Shares what lies from an address on, and nothing before it.
    pub fn share_memory_from(&mut self, address: u64) {
        let offset = address - BASE;
        let region = VhostUserMemoryRegion::new(address, SIZE - offset, USER + offset, offset);
        let files = vec![self.file()];
        self.stack.set_mem_table(&[region], files, None).unwrap();
    }

    /// Begins to log; what it returns tells which pages were written to since.
    pub fn log(&mut self, features: u64) -> impl Fn() -> Vec<u64> + use<> {
        let log = SharedMemory::new(c"log", 4096).unwrap();
        let file = File::from(log.as_fd().try_clone_to_owned().unwrap());
        self.stack
            .set_log_base(&VhostUserLog::new(4096, 0), file)
            .unwrap();
        self.stack.set_features(VERSION_1 | features).unwrap();
        move || {
            let mut bits = [0_u8; 4096];
            log.slice(0, 4096).unwrap().copy_to(&mut bits);
            let dirty =
                |page: &u64| bits[usize::try_from(page / 8).unwrap()] & (1 << (page % 8)) != 0;
            (0..4096 * 8).filter(dirty).collect()
        }
    }

    /// Starts a ring from an index on.
    pub fn start(&mut self, ring: usize, base: u16) {
        self.start_with(ring, base, RING);
    }

    /// The same with so many chains.
    pub fn start_with(&mut self, ring: usize, base: u16, size: u16) {
        self.rings[ring].size = size;
        let index = u32::try_from(ring).unwrap();
        let at = USER + u64::from(index) * RINGS;
        self.stack.set_vring_num(index, size.into()).unwrap();
        let flags = VhostUserVringAddrFlags::empty();
        self.stack
            .set_vring_addr(index, flags, at, at + 0x2000, at + 0x1000, 0)
            .unwrap();
        self.stack.set_vring_base(index, base.into()).unwrap();
        self.stack
            .set_vring_kick(u8::try_from(index).unwrap(), None)
            .unwrap();
    }

    /// Stops a ring, and returns where it goes on.
    pub fn stop(&mut self, ring: usize) -> u16 {
        let index = u32::try_from(ring).unwrap();
        let state = self.stack.get_vring_base(index).unwrap();
        // What follows the index: the vring's number comes first.
        let words: [u32; 2] = [state.index, state.num];
        assert_eq!(words[0], index);
        u16::try_from(words[1]).unwrap()
    }

    pub fn write(&self, address: u64, bytes: &[u8]) {
        let offset = usize::try_from(address - BASE).unwrap();
        self.memory
            .slice(offset, bytes.len())
            .unwrap()
            .copy_from(bytes);
    }

    pub fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let offset = usize::try_from(address - BASE).unwrap();
        self.memory.slice(offset, len).unwrap().copy_to(&mut bytes);
        bytes
    }

    fn load(&self, address: u64) -> u16 {
        let offset = usize::try_from(address - BASE).unwrap();
        let slice = self.memory.slice(offset, 2).unwrap();
        slice.load(0, Ordering::Acquire).unwrap()
    }

    pub fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        bytes
    }

    /// Writes one descriptor of a ring's table.
    pub fn set_descriptor(&self, ring: usize, index: u16, bytes: [u8; 16]) {
        let at = BASE + ring as u64 * RINGS;
        self.write(at + u64::from(index) * 16, &bytes);
    }

    /// Makes a chain available by its first descriptor.
    pub fn make_available(&mut self, ring: usize, head: u16) {
        let at = BASE + ring as u64 * RINGS + 0x1000;
        let state = &mut self.rings[ring];
        let slot = u64::from(state.available % state.size);
        state.available = state.available.wrapping_add(1);
        let index = state.available;
        self.write(at + 4 + slot * 2, &head.to_le_bytes());
        self.write(at + 2, &index.to_le_bytes());
    }

    /// Announces chains up to an index, whatever the ring has.
    pub fn announce(&mut self, ring: usize, index: u16) {
        let at = BASE + ring as u64 * RINGS + 0x1000;
        self.write(at + 2, &index.to_le_bytes());
    }

    /// Puts a chain into a ring; returns its first descriptor.
    pub fn add(&mut self, ring: usize, parts: &[(u64, u32)], flags: u16) -> u16 {
        let Ring {
            next_descriptor: head,
            size,
            ..
        } = self.rings[ring];
        let mut index = head;
        for (nth, &(address, len)) in parts.iter().enumerate() {
            let next = (index + 1) % size;
            let more = if nth + 1 < parts.len() { NEXT } else { 0 };
            self.set_descriptor(
                ring,
                index,
                Self::descriptor(address, len, flags | more, next),
            );
            index = next;
        }
        self.rings[ring].next_descriptor = index;
        self.make_available(ring, head);
        head
    }

    /// The descriptor that the next chain begins with.
    pub fn next_descriptor(&self, ring: usize) -> u16 {
        self.rings[ring].next_descriptor
    }

    /// With which chain the guest is to ring, by its number since the ring began (`avail_event`).
    pub fn rings_at(&self, ring: usize) -> u16 {
        let used = BASE + ring as u64 * RINGS + 0x2000;
        self.load(used + 4 + u64::from(self.rings[ring].size) * 8)
    }

    /// Whether the guest is to ring when it puts something in, without `avail_event`.
    pub fn wants_kicks(&self, ring: usize) -> bool {
        self.load(BASE + ring as u64 * RINGS + 0x2000) & 1 == 0
    }

    /// What has come back since this was asked last.
    pub fn used(&mut self, ring: usize) -> Vec<(u16, u32)> {
        let at = BASE + ring as u64 * RINGS + 0x2000;
        let index = self.load(at + 2);
        let mut used = Vec::new();
        while self.rings[ring].seen != index {
            let slot = u64::from(self.rings[ring].seen % self.rings[ring].size);
            let entry = self.read(at + 4 + slot * 8, 8);
            let head = u16::from_le_bytes([entry[0], entry[1]]);
            let len = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            used.push((head, len));
            self.rings[ring].seen = self.rings[ring].seen.wrapping_add(1);
        }
        used
    }

    /// A new driver in the guest: rings from the beginning.
    pub fn reload(&mut self) {
        for ring in 0..self.rings.len() {
            self.stop(ring);
        }
        let zero = vec![0; 0x10_0000];
        self.write(BASE, &zero);
        self.rings.fill(Ring::default());
        (0..self.rings.len()).for_each(|ring| self.start(ring, 0));
    }

    /// Lets card and stack work until neither has anything to do.
    pub fn settle(&mut self) {
        self.try_to_settle().unwrap();
    }

    /// The same while the card may go.
    pub fn try_to_settle(&mut self) -> Result<(), DriverError> {
        for _ in 0..1000 {
            if let Some(card) = self.stack.card() {
                card.device().pass(Duration::ZERO)?;
            }
            if !self.stack.turn()? {
                return Ok(());
            }
        }
        panic!("the stack does not come to rest");
    }

    /// Frames arrive at the card.
    pub fn arrive(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let card = self.stack.card().unwrap();
        card.device().wire().incoming.extend(frames);
        self.settle();
    }

    /// Frames arrive at the card, which the stack does not look at yet.
    pub fn reach_the_card(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let card = self.stack.card().unwrap().device();
        card.wire().incoming.extend(frames);
        card.pass(Duration::ZERO).unwrap();
    }

    /// Time passes for the card.
    pub fn pass(&mut self, time: Duration) {
        let card = self.stack.card().unwrap();
        card.device().pass(time).unwrap();
        self.settle();
    }

    /// What the card writes of received packets from now on.
    pub fn writes(&mut self) -> Receiver<(u64, usize, Purpose)> {
        let (sender, writes) = channel();
        let card = self.stack.card().unwrap();
        card.device().port().observe(Box::new(Writes(sender)));
        writes
    }

    /// Frames that the card has sent.
    pub fn sent(&mut self) -> Vec<Vec<u8>> {
        self.settle();
        let wire = self.stack.card().unwrap().device().wire();
        wire.sent.drain(..).map(|(frame, _)| frame).collect()
    }
}

/// A frame of no known protocol, with a pattern.
pub fn frame(len: usize, seed: u8) -> Vec<u8> {
    let mut frame = [&MAC[..], &[0x02, 0, 0, 0, 0, 9], &[0x88, 0xB5]].concat();
    frame.extend((frame.len()..len).map(|at| at.to_le_bytes()[0].wrapping_mul(31) ^ seed));
    frame
}

/// Ethernet, IPv4 and TCP with `payload` bytes, whose lengths and pseudo-header sum are as Linux leaves them.
pub fn tcp(payload: usize) -> Vec<u8> {
    let mut frame = frame(14 + 40 + payload, 6);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let total = u16::try_from(40 + payload).unwrap();
    let ip = [
        0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    frame[14..34].copy_from_slice(&ip);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[34..54].copy_from_slice(&[
        0x1F, 0x90, 0x1F, 0x91, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xFF, 0xFF, 0, 0, 0, 0,
    ]);
    let sum = u32::from(total - 20) + 6 + 2 * 0x0A00 + 1 + 2;
    let sum = (sum & 0xFFFF) + (sum >> 16);
    frame[50..52].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    frame
}

/// virtio's header: a TCP checksum is missing; with `mss`, it is to be segmented.
pub fn header(mss: u16) -> [u8; 12] {
    let [low, high] = mss.to_le_bytes();
    [1, u8::from(mss > 0), 54, 0, low, high, 34, 0, 16, 0, 0, 0]
}

/// The one's complement sum of everything that a TCP checksum covers; 0xFFFF if it is right.
pub fn tcp_sum(frame: &[u8]) -> u16 {
    let tcp = &frame[34..];
    let padded: Vec<u8> = tcp
        .iter()
        .copied()
        .chain((tcp.len() % 2 == 1).then_some(0))
        .collect();
    let words = padded
        .as_chunks::<2>()
        .0
        .iter()
        .chain(frame[26..34].as_chunks::<2>().0);
    let mut sum = words.fold(6 + u32::try_from(tcp.len()).unwrap(), |sum, word| {
        sum + u32::from(u16::from_be_bytes(*word))
    });
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
