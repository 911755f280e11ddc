//! A card is moved to another server process, in the middle of traffic, by the client's calls for migration.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeSet,
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::Instant,
};

use control::{ClientError, ControlError, Link, Module};
use ixgbe_spec::register::Reg;
use nic_model::{
    HardwareError,
    fault::{Fault, FaultKind, Target, Trigger},
};
use nix::sys::{
    eventfd::{EfdFlags, EventFd},
    memfd::{MFdFlags, memfd_create},
};
use support::{PATIENCE, Server};
use vfio_user::{
    Errno,
    client::{Client, ClientMemory},
    message::{MigrationFlags, Protection},
    server::{DeviceState, IrqAction},
};
use wire::Damage;

const CSR: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;

const BASE: u64 = 0x10_0000;
const RX_RING: u64 = BASE;
const TX_RING: u64 = BASE + 0x1000;
const TX_BUFFERS: u64 = BASE + 0x2000;
const RX_BUFFERS: u64 = BASE + 0x1_0000;
const SIZE: u64 = 0x10_0000;
const PAGE: u64 = 4096;

/// The driver's memory, which outlives each server.
struct Memory(File);

impl Memory {
    fn new() -> Self {
        let fd: OwnedFd = memfd_create("migration-test", MFdFlags::MFD_CLOEXEC).unwrap();
        let file = File::from(fd);
        file.set_len(SIZE).unwrap();
        // What the card writes differs from it.
        file.write_all_at(&vec![0xA5; usize::try_from(SIZE).unwrap()], 0)
            .unwrap();
        Self(file)
    }

    fn put(&self, iova: u64, bytes: &[u8]) {
        self.0.write_all_at(bytes, iova - BASE).unwrap();
    }

    fn get(&self, iova: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, iova - BASE).unwrap();
        bytes
    }

    fn all(&self) -> Vec<u8> {
        self.get(BASE, usize::try_from(SIZE).unwrap())
    }
}

/// A driver's hand on a card: eight descriptors each way, and an interrupt for receive queue 0.
struct Nic {
    client: Client,
    vector: EventFd,
}

impl Nic {
    /// A client of this server that has lent the memory and taken the interrupt, and has touched no register.
    fn attach(server: &Server, memory: &Memory) -> Self {
        let mut client = server.client();
        let both = Protection::READ | Protection::WRITE;
        client
            .dma_map(BASE, SIZE, both, Some((memory.0.as_fd(), 0)))
            .unwrap();
        let vector = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        client
            .assign_irqs(MSIX, IrqAction::Trigger, 0, &[Some(vector.as_fd())])
            .unwrap();
        Self { client, vector }
    }

    fn up(server: &Server, memory: &Memory) -> Self {
        let mut nic = Self::attach(server, memory);
        nic.client.region_write(CONFIG, 4, &[6, 0]).unwrap();
        nic.client.region_write(CONFIG, 0x72, &[0, 0x80]).unwrap();
        nic.wait("the link", |nic| nic.get(Reg::LINKS) & 1 << 30 != 0);
        let low = |address: u64| u32::try_from(address).unwrap();
        for index in 0..8 {
            memory.put(
                RX_RING + 16 * index,
                &(RX_BUFFERS + 2 * PAGE * index).to_le_bytes(),
            );
        }
        for (reg, value) in [
            (Reg::FCTRL, 1 << 8 | 1 << 9 | 1 << 10),
            (Reg::GPIE, 1 << 4 | 1 << 31),
            (Reg::IVAR, 0x80),
            (Reg::EIMS_EX, 1),
            (Reg::RDBAL, low(RX_RING)),
            (Reg::RDLEN, 128),
            (Reg::SRRCTL, 1 << 25 | 2),
            (Reg::RXDCTL, 1 << 25),
            (Reg::RDT, 3),
            (Reg::RXCTRL, 1),
            (Reg::TDBAL, low(TX_RING)),
            (Reg::TDLEN, 128),
            (Reg::DMATXCTL, 1),
            (Reg::TXDCTL, 1 << 25),
        ] {
            nic.set(reg, value);
        }
        nic
    }

    fn set(&mut self, reg: Reg, value: u32) {
        let offset = u64::from(reg.offset(0));
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

    fn wait(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "{what} did not come");
        }
    }

    /// Puts frame number `number` into the descriptor of that number.
    fn post(memory: &Memory, number: u64) {
        // EOP, insert FCS, report status.
        const COMMAND: u64 = 0b1011 << 24;
        let buffer = TX_BUFFERS + 0x800 * number;
        memory.put(buffer, &frame(number));
        let descriptor = [buffer, frame(number).len() as u64 | COMMAND];
        memory.put(
            TX_RING + 16 * number,
            &descriptor.map(u64::to_le_bytes).concat(),
        );
    }

    /// Goes to a state, for which the card may have to be asked more than once.
    fn go(&mut self, state: DeviceState) {
        self.wait("the state", |nic| {
            match nic.client.set_device_state(state) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.errno(), Some(Errno::BUSY), "{error}");
                    false
                }
            }
        });
    }
}

/// Frames differ in length and bytes.
fn frame(number: u64) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    frame.resize(
        100 + usize::try_from(number).unwrap(),
        u8::try_from(number).unwrap(),
    );
    frame
}

/// Whether receive descriptor `number` holds frame `number`.
fn arrived(memory: &Memory, number: u64) -> bool {
    let descriptor = memory.get(RX_RING + 16 * number, 16);
    let done = descriptor[8] & 3 == 3;
    let frame = frame(number);
    done && memory.get(RX_BUFFERS + 2 * PAGE * number, frame.len()) == frame
}

#[test]
fn a_card_in_the_middle_of_traffic_goes_on_in_another_server() {
    let (old, new) = (Server::start(), Server::start());
    let memory = Memory::new();
    let mut nic = Nic::up(&old, &memory);
    (0..4).for_each(|number| Nic::post(&memory, number));
    // Three frames find a descriptor, the fourth waits in the packet buffer.
    nic.set(Reg::TDT, 4);
    nic.wait("the frames", |nic| {
        nic.get(Reg::TPR) == 0 && arrived(&memory, 2)
    });
    nic.wait("the fourth frame", |nic| nic.get(Reg::TDH) == 4);
    let received = nic.get(Reg::GPRC);

    nic.go(DeviceState::StopCopy);
    let state = nic.client.read_state().unwrap();
    let mut moved = Nic::attach(&new, &memory);
    moved.go(DeviceState::Resuming);
    moved.client.write_state(&state).unwrap();
    moved.go(DeviceState::Running);
    drop(nic);
    // Its driver has served the interrupt that came before.
    moved.set(Reg::EICR, 1);
    let _ = moved.vector.read();
    moved.set(Reg::RDT, 7);
    moved.wait("the frame that was under way", |_| arrived(&memory, 3));
    Nic::post(&memory, 4);
    moved.set(Reg::TDT, 5);
    moved.wait("a frame of the new server", |_| arrived(&memory, 4));

    moved.wait("its interrupt", |nic| nic.vector.read().is_ok());
    assert_eq!((moved.get(Reg::RDH), moved.get(Reg::TDH)), (5, 5));
    assert_eq!(
        received + moved.get(Reg::GPRC),
        5,
        "none is counted twice or lost"
    );
}

#[test]
fn the_log_of_dirty_pages_has_those_that_were_written_and_no_others() {
    let server = Server::start();
    let memory = Memory::new();
    let mut nic = Nic::up(&server, &memory);
    nic.go(DeviceState::PreCopy);
    let early = nic.client.read_state().unwrap();
    let page = nic.client.start_dirty_log(1 << 21, &[]).unwrap();
    (0..2).for_each(|number| Nic::post(&memory, number));
    let before = memory.all();

    nic.set(Reg::TDT, 2);
    nic.wait("the frames", |_| arrived(&memory, 1));
    nic.go(DeviceState::Stop);

    let dirty = nic.client.take_dirty_pages(BASE, SIZE, page).unwrap();
    let after = memory.all();
    let pages = before.chunks(4096).zip(after.chunks(4096));
    let changed: BTreeSet<u64> = (BASE..)
        .step_by(4096)
        .zip(pages)
        .filter(|(_, (before, after))| before != after)
        .map(|(page, _)| page)
        .collect();
    assert_eq!(early.len(), 0, "there is nothing yet");
    assert_eq!(page, PAGE);
    assert_eq!(BTreeSet::from_iter(dirty), changed);
    assert_eq!(changed.len(), 4, "two rings and two buffers");
    let again = nic.client.take_dirty_pages(BASE, SIZE, page).unwrap();
    assert!(again.is_empty());
    nic.client.stop_dirty_log().unwrap();
    let refused = nic.client.take_dirty_pages(BASE, SIZE, page).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::INVAL));
}

#[test]
fn a_card_that_is_stopped_moves_nothing_until_it_is_started() {
    let server = Server::start();
    let memory = Memory::new();
    let mut nic = Nic::up(&server, &memory);
    Nic::post(&memory, 0);

    nic.go(DeviceState::Stop);
    nic.set(Reg::TDT, 1);
    let heads = [(); 50].map(|()| nic.get(Reg::TDH));
    nic.go(DeviceState::Running);
    nic.wait("the frame", |_| arrived(&memory, 0));

    assert_eq!(heads, [0; 50]);
}

#[test]
fn a_card_that_is_stopped_is_changed_by_its_client_alone() {
    let server = Server::start();
    let mut client = server.client();
    let mut controller = control::Client::connect(&server.control()).unwrap();
    let state = controller.save().unwrap();
    let fault = |kind| Fault {
        kind,
        target: Target::default(),
        trigger: Trigger::always(1),
        delay: None,
        every: None,
    };
    controller.add_fault(&fault(FaultKind::ResetSlow)).unwrap();
    client.set_device_state(DeviceState::StopCopy).unwrap();

    let refused = [
        controller.set_module(Module::Absent).unwrap_err(),
        controller
            .inject_error(HardwareError::ReceiveEcc)
            .unwrap_err(),
        controller
            .add_fault(&fault(FaultKind::TransmitStuck))
            .unwrap_err(),
        controller.clear_faults(None).unwrap_err(),
        controller.clear_faults(Some(1)).unwrap_err(),
        controller.load(&state).unwrap_err(),
        controller
            .judge(&[vec![0; 60]], Damage::default())
            .unwrap_err(),
    ];
    let cable = controller.add_fault(&fault(FaultKind::Drop)).unwrap();
    let cleared = controller.clear_faults(Some(cable)).unwrap();
    controller.set_link(Link::Down).unwrap();
    client.set_device_state(DeviceState::Running).unwrap();
    controller.set_module(Module::Absent).unwrap();

    for refused in refused {
        let stopped = matches!(refused, ClientError::Refused(ControlError::Stopped));
        assert!(stopped, "{refused}");
    }
    assert_eq!(
        (cleared, controller.info().unwrap().module),
        (1, Module::Absent)
    );
}

#[test]
fn a_state_that_no_card_has_is_refused_by_its_field_and_a_reset_leads_out() {
    let server = Server::start();
    let mut client = server.client();
    client.set_device_state(DeviceState::StopCopy).unwrap();
    let state = String::from_utf8(client.read_state().unwrap()).unwrap();
    let hostile = state.replace("\"turn\":0", "\"turn\":128");

    client.set_device_state(DeviceState::Resuming).unwrap();
    client.write_state(hostile.as_bytes()).unwrap();
    let refused = client.set_device_state(DeviceState::Running).unwrap_err();

    assert_ne!(hostile, state);
    assert_eq!(refused.errno(), Some(Errno::INVAL));
    server.wait_for_log("transmit.turn");
    assert_eq!(client.device_state().unwrap(), DeviceState::Error);
    let stays = client.set_device_state(DeviceState::Running).unwrap_err();
    assert_eq!(stays.errno(), Some(Errno::INVAL));
    client.reset().unwrap();
    assert_eq!(client.device_state().unwrap(), DeviceState::Running);
}

#[test]
fn what_the_card_can_do_is_told_and_what_makes_no_sense_is_refused() {
    let server = Server::start();
    let mut client = server.client();

    let kinds = client.migration().unwrap();
    let reads = client.read_state().unwrap_err();
    let writes = client.write_state(b"x").unwrap_err();
    client.set_device_state(DeviceState::StopCopy).unwrap();
    let back = client.set_device_state(DeviceState::PreCopy).unwrap_err();
    let whole = client.take_dirty_pages(0, u64::MAX, 4096).unwrap_err();

    assert_eq!(kinds, MigrationFlags::STOP_COPY | MigrationFlags::PRE_COPY);
    let errors = [reads, writes, back, whole].map(|error| error.errno());
    assert_eq!(errors, [Some(Errno::INVAL); 4]);
}

/// Memory that messages reach.
struct Private(Vec<u8>);

impl ClientMemory for Private {
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Errno> {
        let at = usize::try_from(iova - BASE).unwrap();
        data.copy_from_slice(self.0.get(at..at + data.len()).ok_or(Errno::FAULT)?);
        Ok(())
    }

    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Errno> {
        let at = usize::try_from(iova - BASE).unwrap();
        let place = self.0.get_mut(at..at + data.len()).ok_or(Errno::FAULT)?;
        place.copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn a_card_whose_writes_are_messages_stops_when_all_of_them_are_done() {
    let server = Server::start();
    let memory = Memory::new();
    (0..2).for_each(|number| Nic::post(&memory, number));
    let mut nic = Nic::up(&server, &memory);
    nic.client.dma_unmap_all().unwrap();
    let both = Protection::READ | Protection::WRITE;
    nic.client.dma_map(BASE, SIZE, both, None).unwrap();
    nic.client.set_memory(Box::new(Private(memory.all())));

    nic.set(Reg::TDT, 2);
    nic.wait("the frames", |nic| nic.get(Reg::TDH) == 2);
    nic.go(DeviceState::StopCopy);

    let quiet = (0..50).map(|_| nic.client.serve().unwrap()).sum::<usize>();
    assert_eq!(quiet, 0, "no message comes from a card that is stopped");
    assert!(!nic.client.read_state().unwrap().is_empty());
}
