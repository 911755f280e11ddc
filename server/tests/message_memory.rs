//! A client that gives its memory without a file: all DMA is messages.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    os::fd::AsFd,
    sync::{Arc, Mutex},
};

use ixgbe_spec::register::Reg;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use support::{PATIENCE, Server};
use vfio_user::{
    Errno,
    client::{Client, ClientMemory},
    message::Protection,
    server::IrqAction,
};

const CSR: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;

const BASE: u64 = 0x10_0000;
const RX_RING: u64 = BASE;
const TX_RING: u64 = BASE + 0x1000;
const RX_BUFFERS: u64 = BASE + 0x2000;
const TX_BUFFER: u64 = BASE + 0x8000;
const SIZE: usize = 0x1_0000;

/// Memory that the client keeps to itself.
#[derive(Clone)]
struct Private(Arc<Mutex<Vec<u8>>>);

impl Private {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(vec![0; SIZE])))
    }

    fn put(&self, iova: u64, bytes: &[u8]) {
        let at = usize::try_from(iova - BASE).unwrap();
        self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn get(&self, iova: u64, len: usize) -> Vec<u8> {
        let at = usize::try_from(iova - BASE).unwrap();
        self.0.lock().unwrap()[at..at + len].to_vec()
    }

    fn place(iova: u64, len: usize) -> Result<usize, Errno> {
        let at = usize::try_from(iova.wrapping_sub(BASE)).map_err(|_| Errno::FAULT)?;
        at.checked_add(len)
            .filter(|end| *end <= SIZE)
            .map(|_| at)
            .ok_or(Errno::FAULT)
    }
}

impl ClientMemory for Private {
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Errno> {
        let at = Self::place(iova, data.len())?;
        data.copy_from_slice(&self.0.lock().unwrap()[at..at + data.len()]);
        Ok(())
    }

    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Errno> {
        let at = Self::place(iova, data.len())?;
        self.0.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

struct Nic {
    client: Client,
    memory: Private,
    rx: EventFd,
}

impl Nic {
    fn set(&mut self, reg: Reg, index: usize, value: u32) {
        let offset = u64::from(reg.offset(index));
        self.client
            .region_write(CSR, offset, &value.to_le_bytes())
            .unwrap();
    }

    fn get(&mut self, reg: Reg) -> u32 {
        let mut value = [0; 4];
        let offset = u64::from(reg.offset(0));
        self.client.region_read(CSR, offset, &mut value).unwrap();
        u32::from_le_bytes(value)
    }

    /// A card with a ring of eight descriptors each way, and an interrupt for receive queue 0.
    fn up(server: &Server) -> Self {
        let mut client = server.client();
        let memory = Private::new();
        client.set_memory(Box::new(memory.clone()));
        let both = Protection::READ | Protection::WRITE;
        client.dma_map(BASE, SIZE as u64, both, None).unwrap();
        let rx = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        client
            .assign_irqs(MSIX, IrqAction::Trigger, 0, &[Some(rx.as_fd())])
            .unwrap();
        client.region_write(CONFIG, 4, &[6, 0]).unwrap();
        client.region_write(CONFIG, 0x72, &[0, 0x80]).unwrap();
        let mut nic = Self { client, memory, rx };
        while nic.get(Reg::LINKS) & 1 << 30 == 0 {}
        nic.set(Reg::FCTRL, 0, 1 << 8 | 1 << 9 | 1 << 10);
        nic.set(Reg::GPIE, 0, 1 << 4 | 1 << 31);
        nic.set(Reg::IVAR, 0, 0x80);
        nic.set(Reg::EIMS_EX, 0, 1);
        for index in 0..8 {
            let buffer = RX_BUFFERS + 0x800 * index;
            nic.memory.put(RX_RING + 16 * index, &buffer.to_le_bytes());
        }
        nic.set(Reg::RDBAL, 0, u32::try_from(RX_RING).unwrap());
        nic.set(Reg::RDLEN, 0, 128);
        nic.set(Reg::SRRCTL, 0, 1 << 25 | 2);
        nic.set(Reg::RXDCTL, 0, 1 << 25);
        nic.set(Reg::RDT, 0, 7);
        nic.set(Reg::RXCTRL, 0, 1);
        nic.set(Reg::TDBAL, 0, u32::try_from(TX_RING).unwrap());
        nic.set(Reg::TDLEN, 0, 128);
        nic.set(Reg::DMATXCTL, 0, 1);
        nic.set(Reg::TXDCTL, 0, 1 << 25);
        nic
    }

    /// Puts a frame in two pieces into transmit descriptors 0 and 1.
    fn post(&mut self, first: &[u8], second: &[u8]) {
        const EOP: u64 = 1 << 24;
        const IFCS: u64 = 1 << 25;
        self.memory.put(TX_BUFFER, first);
        self.memory.put(TX_BUFFER + 0x1000, second);
        let descriptors = [
            TX_BUFFER,
            first.len() as u64 | IFCS,
            TX_BUFFER + 0x1000,
            second.len() as u64 | IFCS | EOP,
        ];
        let bytes: Vec<u8> = descriptors.map(u64::to_le_bytes).concat();
        self.memory.put(TX_RING, &bytes);
    }

    /// Answers the card's messages until its interrupt has come, and not one longer.
    fn serve_until_interrupt(&mut self) {
        loop {
            // First: a call may have read them together with its reply.
            self.client.serve().unwrap();
            let mut fds = [
                PollFd::new(self.rx.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.client.as_fd(), PollFlags::POLLIN),
            ];
            let timeout = PollTimeout::try_from(PATIENCE).unwrap();
            assert_ne!(poll(&mut fds, timeout).unwrap(), 0, "no interrupt came");
            if fds[0].any().unwrap() {
                return;
            }
        }
    }
}

fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    let payload = (frame.len()..len).map(|at| (at % 251).to_le_bytes()[0]);
    frame.extend(payload.collect::<Vec<_>>());
    frame
}

#[test]
fn a_frame_goes_out_and_comes_back_and_is_in_memory_when_the_interrupt_comes() {
    let server = Server::start();
    let mut nic = Nic::up(&server);
    let frame = frame(1000);
    nic.post(&frame[..300], &frame[300..]);

    nic.set(Reg::TDT, 0, 2);
    nic.serve_until_interrupt();

    let descriptor = nic.memory.get(RX_RING, 16);
    assert_eq!(descriptor[8] & 3, 3, "DD and EOP");
    assert_eq!(u16::from_le_bytes([descriptor[12], descriptor[13]]), 1000);
    assert_eq!(nic.memory.get(RX_BUFFERS, 1000), frame);
}

#[test]
fn registers_are_read_while_memory_is_waited_for() {
    let server = Server::start();
    let mut nic = Nic::up(&server);
    let frame = frame(100);
    nic.post(&frame[..14], &frame[14..]);

    let tail = u64::from(Reg::TDT.offset(0));
    nic.client
        .region_write_posted(CSR, tail, &2_u32.to_le_bytes())
        .unwrap();
    let up = (0..100)
        .filter(|_| nic.get(Reg::LINKS) & 1 << 30 != 0)
        .count();
    nic.serve_until_interrupt();

    assert_eq!(up, 100);
    assert_eq!(nic.memory.get(RX_BUFFERS, 100), frame);
}

#[test]
fn a_client_that_takes_its_memory_back_is_not_asked_for_it_any_more() {
    let server = Server::start();
    let mut nic = Nic::up(&server);
    let frame = frame(100);
    nic.post(&frame[..14], &frame[14..]);
    nic.client.dma_unmap_all().unwrap();

    nic.set(Reg::TDT, 0, 2);
    nic.get(Reg::LINKS);
    nic.get(Reg::LINKS);

    assert_eq!(nic.client.serve().unwrap(), 0);
    assert_eq!(nic.get(Reg::TDH), 0);
}
