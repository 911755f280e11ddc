//! A client that maps the pages of the ring tails: `--doorbells mapped`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs::File,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use guest_memory::SharedMemory;
use ixgbe_spec::{
    pci::{DEVICE_CONTROL, PMCSR},
    register::{Access, CSR_SPACE, Reg},
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use support::{PATIENCE, Server};
use vfio_user::{
    client::Client,
    message::{Protection, RegionFlags},
    server::MappableArea,
};
use vm_memory::VolatileMemory;

const CONFIG: u32 = 7;
const COMMAND: u64 = 0x04;
const COMMAND_MEMORY_AND_BUS_MASTER: u16 = 0x0006;
const ENABLE: u32 = 1 << 25;

/// A client and the pages that it has mapped.
struct Mapped {
    client: Client,
    pages: SharedMemory,
    areas: Vec<MappableArea>,
}

impl Mapped {
    fn connect(server: &Server) -> Self {
        let mut client = server.client();
        let region = client.region_info(0).unwrap();
        assert!(region.flags.contains(RegionFlags::MMAP), "{region:?}");
        assert_eq!(region.offset, 0);
        let last = region.areas.last().unwrap();
        let len = usize::try_from(last.offset + last.size).unwrap();
        let pages = SharedMemory::attach(region.file.unwrap(), len).unwrap();
        Self {
            client,
            pages,
            areas: region.areas,
        }
    }

    fn with<T>(&self, offset: u32, act: impl FnOnce(&AtomicU32) -> T) -> T {
        let word = self.pages.slice(offset as usize, 4).unwrap();
        act(word.get_atomic_ref::<AtomicU32>(0).unwrap())
    }

    fn load(&self, offset: u32) -> u32 {
        self.with(offset, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, offset: u32, value: u32) {
        self.with(offset, |word| word.store(value, Ordering::Release));
    }

    fn read(&mut self, offset: u32) -> u32 {
        let mut value = [0; 4];
        self.client
            .region_read(0, offset.into(), &mut value)
            .unwrap();
        u32::from_le_bytes(value)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.client
            .region_write(0, offset.into(), &value.to_le_bytes())
            .unwrap();
    }

    fn config(&mut self, offset: u64, value: u16) {
        self.client
            .region_write(CONFIG, offset, &value.to_le_bytes())
            .unwrap();
    }

    /// All words of the pages.
    fn offsets(&self) -> Vec<u32> {
        let words = |area: &MappableArea| (area.offset..area.offset + area.size).step_by(4);
        let offsets = self.areas.iter().flat_map(words);
        offsets
            .map(|offset| u32::try_from(offset).unwrap())
            .collect()
    }

    /// Words that show something else than a message reads, counters that a read clears aside.
    fn differences(&mut self) -> Vec<(u32, u32, u32)> {
        let offsets = self.offsets();
        let steady = |offset: &u32| {
            let reg = Reg::decode(*offset);
            reg.is_none_or(|(reg, _)| reg.row().access != Access::ReadClear)
        };
        let both = offsets.into_iter().filter(steady);
        let both = both.map(|offset| (offset, self.load(offset), self.read(offset)));
        both.filter(|(_, page, message)| page != message).collect()
    }

    /// Stores to every word of the pages, without turning rings on.
    fn scribble(&mut self) {
        for offset in self.offsets() {
            self.store(offset, ((offset * 0x0101) ^ 0xA5A5_A5A4) & !ENABLE);
        }
    }

    fn is_as_after_reset(&mut self) -> bool {
        let reset = |reg: Reg| reg.row().reset;
        let registers = [Reg::RDBAL, Reg::SRRCTL, Reg::RDT, Reg::TDBAL, Reg::TDT];
        let all = registers
            .into_iter()
            .all(|reg| self.load(reg.offset(3)) == reset(reg));
        all && self.differences().is_empty()
    }
}

fn server() -> Server {
    Server::start_with(&["--wire", "loopback", "--doorbells", "mapped"])
}

#[test]
fn the_pages_of_all_ring_tails_can_be_mapped_and_no_more() {
    let server = server();
    let mapped = Mapped::connect(&server);

    let inside = |offset: u32| {
        let offset = u64::from(offset);
        let mut areas = mapped.areas.iter();
        areas.any(|area| (area.offset..area.offset + area.size).contains(&offset))
    };
    let tails = [Reg::RDT, Reg::TDT];
    let tails = tails.map(|reg| (0..128).all(|queue| inside(reg.offset(queue))));
    let pages = (0..CSR_SPACE).step_by(0x1000).filter(|at| inside(*at));

    assert_eq!(tails, [true, true]);
    assert_eq!(pages.collect::<Vec<_>>(), [0x1000, 0x6000, 0x7000, 0xD000]);
}

#[test]
fn every_word_shows_what_a_message_reads() {
    let server = server();
    let mut mapped = Mapped::connect(&server);

    assert_eq!(mapped.differences(), []);
    assert!(mapped.is_as_after_reset());
}

#[test]
fn a_store_to_any_word_is_a_register_write() {
    let server = server();
    let mut mapped = Mapped::connect(&server);

    mapped.scribble();
    // A message comes after what was stored before it.
    let base = mapped.read(Reg::TDBAL.offset(127));
    let length = mapped.read(Reg::RDLEN.offset(64));

    assert_ne!(base, 0);
    assert_ne!(length, 0);
    assert_eq!(base & 0x7F, 0);
    assert_eq!(mapped.differences(), []);
}

#[test]
fn a_register_that_a_message_writes_shows_in_the_page_when_the_reply_is_there() {
    let server = server();
    let mut mapped = Mapped::connect(&server);

    mapped.write(Reg::RDT.offset(5), 77);
    // SRRCTL of the first queues has a second place, outside of the pages.
    mapped.write(0x2100 + 4 * 2, 0x0200_0004);

    assert_eq!(mapped.load(Reg::RDT.offset(5)), 77);
    assert_eq!(mapped.load(Reg::SRRCTL.offset(2)), 0x0200_0004);
}

#[test]
fn each_reset_puts_the_pages_back() {
    let server = server();
    let mut mapped = Mapped::connect(&server);
    let mut after = Vec::new();

    mapped.scribble();
    mapped.write(Reg::CTRL.offset(0), 1 << 26);
    after.push(mapped.is_as_after_reset());
    mapped.scribble();
    mapped.client.reset().unwrap();
    after.push(mapped.is_as_after_reset());
    // D3hot and back.
    mapped.scribble();
    mapped.config(PMCSR as u64, 3);
    mapped.config(PMCSR as u64, 0);
    after.push(mapped.is_as_after_reset());
    // A function level reset: Initiate FLR of the device control register.
    mapped.scribble();
    mapped.config(DEVICE_CONTROL as u64, 0x8000);
    after.push(mapped.is_as_after_reset());

    assert_eq!(after, [true; 4]);
}

#[test]
fn what_is_stored_in_d3_is_taken_back() {
    let server = server();
    let mut mapped = Mapped::connect(&server);

    mapped.config(PMCSR as u64, 3);
    mapped.store(Reg::TDT.offset(1), 5);
    // A message makes the server look.
    mapped.config(PMCSR as u64, 3);
    let shown = mapped.load(Reg::TDT.offset(1));

    assert_eq!(shown, 0);
}

#[test]
fn the_next_client_shares_nothing_with_the_one_before() {
    let server = server();
    let first = Mapped::connect(&server);
    first.store(Reg::TDBAL.offset(0), 0x8000);
    let Mapped { client, pages, .. } = first;
    drop(client);
    let mut second = Mapped::connect(&server);

    let word = pages.slice(Reg::TDBAL.offset(0) as usize, 4).unwrap();
    let word = word.get_atomic_ref::<AtomicU32>(0).unwrap();
    word.store(0xF000, Ordering::Release);

    assert_eq!(second.read(Reg::TDBAL.offset(0)), 0);
    assert!(second.is_as_after_reset());
}

#[test]
fn the_memory_cannot_be_truncated() {
    let server = server();
    let mut client = server.client();
    let file = File::from(client.region_info(0).unwrap().file.unwrap());

    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 20).is_err());
}

#[test]
fn a_client_that_writes_all_the_time_keeps_nobody_from_being_served() {
    let server = server();
    let mut mapped = Mapped::connect(&server);
    let start = Instant::now();

    thread::scope(|scope| {
        let pages = &mapped.pages;
        scope.spawn(move || {
            let mut value = 1_u32;
            while start.elapsed() < Duration::from_millis(200) {
                for offset in (0x1000..0xE000).step_by(4) {
                    if let Some(word) = pages.slice(offset, 4) {
                        let word = word.get_atomic_ref::<AtomicU32>(0).unwrap();
                        word.store(value, Ordering::Release);
                    }
                    value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                }
            }
        });
        while start.elapsed() < Duration::from_millis(200) {
            let status = mapped.client.region_info(0).unwrap();
            assert_eq!(status.size, 0x8_0000);
        }
    });

    mapped.client.reset().unwrap();
    assert!(mapped.is_as_after_reset());
}

/// One receive and one transmit ring of 64 descriptors in memory that the card reaches.
struct Rings {
    mapped: Mapped,
    memory: File,
    sent: u32,
}

const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;
const FRAME: u64 = 0x4000;

impl Rings {
    fn new(server: &Server) -> Self {
        let mut mapped = Mapped::connect(server);
        let memory = File::from(memfd_create(c"memory", MFdFlags::MFD_CLOEXEC).unwrap());
        memory.set_len(0x4_0000).unwrap();
        let rights = Protection::READ | Protection::WRITE;
        let file = Some((memory.as_fd(), 0));
        mapped.client.dma_map(0, 0x4_0000, rights, file).unwrap();
        mapped.config(COMMAND, COMMAND_MEMORY_AND_BUS_MASTER);
        // Promiscuous, and everything on.
        mapped.write(Reg::FCTRL.offset(0), 0x700);
        mapped.write(Reg::RXCTRL.offset(0), 1);
        mapped.write(Reg::DMATXCTL.offset(0), 1);
        memory.write_all_at(&[0xFF; 60], FRAME).unwrap();
        let rings = Self {
            mapped,
            memory,
            sent: 0,
        };
        rings.start();
        rings
    }

    /// Programs both rings by stores alone.
    fn start(&self) {
        for number in 0..64 {
            let buffer = BUFFERS + 2048 * number;
            let descriptor = [buffer.to_le_bytes(), [0; 8]].concat();
            let place = RX_RING + 16 * number;
            self.memory.write_all_at(&descriptor, place).unwrap();
        }
        let page = &self.mapped;
        for (base, len, head, tail, control, ring) in [
            (
                Reg::TDBAL,
                Reg::TDLEN,
                Reg::TDH,
                Reg::TDT,
                Reg::TXDCTL,
                TX_RING,
            ),
            (
                Reg::RDBAL,
                Reg::RDLEN,
                Reg::RDH,
                Reg::RDT,
                Reg::RXDCTL,
                RX_RING,
            ),
        ] {
            page.store(control.offset(0), 0);
            page.store(base.offset(0), u32::try_from(ring).unwrap());
            page.store(len.offset(0), 64 * 16);
            page.store(head.offset(0), 0);
            page.store(tail.offset(0), 0);
            page.store(control.offset(0), ENABLE);
        }
        page.store(Reg::SRRCTL.offset(0), 0x0200_0002);
        page.store(Reg::RDT.offset(0), 63);
    }

    fn wait_for_link(&mut self) {
        let start = Instant::now();
        while self.mapped.read(Reg::LINKS.offset(0)) & 1 << 30 == 0 {
            assert!(start.elapsed() < PATIENCE, "no link");
        }
    }

    /// Sends a frame, by a store; legacy descriptor with EOP, IFCS and RS.
    fn send(&mut self) {
        let command = 60_u64 | 0b1011 << 24;
        let descriptor = [FRAME.to_le_bytes(), command.to_le_bytes()].concat();
        let place = TX_RING + 16 * u64::from(self.sent);
        self.memory.write_all_at(&descriptor, place).unwrap();
        self.sent += 1;
        self.mapped.store(Reg::TDT.offset(0), self.sent);
    }

    /// Waits, without any message, until the descriptor is written back.
    fn wait_for_frame(&self, index: u64) {
        let start = Instant::now();
        let mut status = [0];
        while status[0] & 1 == 0 {
            let place = RX_RING + 16 * index + 8;
            self.memory.read_exact_at(&mut status, place).unwrap();
            assert!(start.elapsed() < PATIENCE, "no frame {index}");
            thread::yield_now();
        }
    }
}

#[test]
fn a_doorbell_alone_wakes_a_server_that_never_polls() {
    let flags = [
        "--wire",
        "loopback",
        "--doorbells",
        "mapped",
        "--poll-us",
        "0",
    ];
    let server = Server::start_with(&flags);
    let mut rings = Rings::new(&server);
    rings.wait_for_link();

    for number in 0..3 {
        rings.send();
        rings.wait_for_frame(number);
    }

    let heads = [Reg::TDH, Reg::RDH].map(|reg| rings.mapped.read(reg.offset(0)));
    assert_eq!(heads, [3, 3]);
    assert_eq!(rings.mapped.differences(), []);
}

#[test]
fn a_ring_that_is_started_again_to_the_same_tail_goes_on() {
    let server = server();
    let mut rings = Rings::new(&server);
    rings.wait_for_link();
    rings.send();
    rings.wait_for_frame(0);

    // Off, anew and on, and the same tail as before, all of it faster than anybody looks.
    rings.start();
    rings.sent = 0;
    rings.send();
    rings.wait_for_frame(0);

    assert_eq!(rings.mapped.read(Reg::GPTC.offset(0)), 2);
}

#[test]
fn counters_that_a_read_clears_are_counted_once_by_a_driver_that_reads_memory() {
    let server = server();
    let mut rings = Rings::new(&server);
    rings.wait_for_link();
    let mut seen = [0; 3];
    for number in 0..6 {
        rings.send();
        rings.wait_for_frame(number);
        // As Linux and DPDK do: other counters, then those of the queue with QBTC among them, then others.
        rings.mapped.read(Reg::CRCERRS.offset(0));
        seen[0] += rings.mapped.load(Reg::QPRC.offset(0));
        seen[1] += rings.mapped.load(0x6030);
        rings.mapped.read(Reg::QBTC_L.offset(0));
        rings.mapped.read(Reg::QBTC_H.offset(0));
        seen[2] += rings.mapped.load(Reg::QBRC_L.offset(0));
        rings.mapped.read(Reg::GPRC.offset(0));
    }

    assert_eq!(seen, [6, 6, 6 * 60]);
}
