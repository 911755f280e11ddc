//! QEMU with no guest: its real vfio-user client against the server, one access at a time.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    cable::Cable,
    card_world::MAC,
    frames::{BROADCAST, from, numbered},
    runner,
    server::{ControlCable, Far, Server},
};
use guest_vm::{Cache, EnabledNic, Qemu, Qtest, TestSetting};
use ixgbe_spec::{
    descriptor::{
        rx::{Status, WriteBack},
        tx,
    },
    register::Reg,
};
use libtest_mimic::{Arguments, Trial};
use serde_json::json;
use zerocopy::{FromBytes, IntoBytes};

/// A test, and the machine that it gets for itself.
type Test = (&'static str, fn(Machine) -> Result<()>);

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |mut machine| $name(&mut machine))),*]
    };
}

const TESTS: &[Test] = tests![
    the_card_has_its_identity,
    the_bars_have_their_kinds_and_sizes,
    capabilities_stand_at_the_offsets_of_the_card,
    registers_are_read_and_written_through_bar0,
    accesses_of_other_widths_are_answered,
    posted_writes_keep_their_order,
    an_msix_vector_reaches_the_machine,
    every_msix_vector_reaches_its_own_address,
    a_frame_leaves_from_descriptors_in_guest_memory,
    a_frame_arrives_in_guest_memory,
    dma_happens_only_while_bus_mastering_is_on,
    dma_to_rom_or_nowhere_harms_nobody,
    a_function_level_reset_resets_the_registers,
    a_reset_of_the_machine_resets_the_card,
];

const TESTS_OF_CLIENTS: &[Test] = &[(
    "after_qemu_was_killed_the_next_one_finds_a_fresh_card",
    after_qemu_was_killed_the_next_one_finds_a_fresh_card,
)];

fn main() {
    let arguments = Arguments::from_args();
    let wanted = TestSetting::from_env().is_some();
    let tests = TESTS.iter().chain(TESTS_OF_CLIENTS);
    let trials = tests.map(|(name, run)| {
        let name = format!("qtest::{name}");
        if wanted {
            runner::test(name, || run(Machine::start()?))
        } else {
            runner::cannot_run(
                name,
                "run by cargo xtask test, which finds or fetches a QEMU",
            )
        }
    });
    let trials: Vec<Trial> = trials.collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// How long something may take that QEMU's main loop does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Places in guest memory.
const RING: u64 = 0x0200_0000;
const BUFFERS: u64 = 0x0210_0000;
const MESSAGES: u64 = 0x0220_0000;
/// Descriptors in a ring.
const DESCRIPTORS: u64 = 8;

/// A server, its cable's far end, and a QEMU with the card.
struct Machine {
    qtest: Qtest,
    nic: EnabledNic,
    bar0: u64,
    cable: ControlCable,
    // Last: QEMU goes first.
    server: Server,
}

impl Machine {
    fn start() -> Result<Self> {
        let server = Server::start(Far::Nobody)?;
        let cable = server.cable()?;
        Self::attach(server, cable)
    }

    fn attach(server: Server, cable: ControlCable) -> Result<Self> {
        let qemu = Qemu::find(&Cache::open()?)?;
        let socket = server.socket();
        let sockets: [&Path; 1] = [&socket];
        let mut qtest = Qtest::start(&qemu, &sockets, &server.folder().join("qtest"))?;
        let nic = qtest.enable_nic(0)?;
        let bar0 = nic.bars[0].context("no BAR0")?;
        Ok(Self {
            qtest,
            nic,
            bar0,
            cable,
            server,
        })
    }

    /// Kills QEMU and attaches a new one to the server.
    fn restart(self) -> Result<Self> {
        let Self {
            qtest,
            cable,
            server,
            ..
        } = self;
        qtest.kill();
        Self::attach(server, cable)
    }

    fn read(&mut self, reg: Reg, index: usize) -> Result<u32> {
        Ok(self.qtest.readl(self.bar0 + u64::from(reg.offset(index)))?)
    }

    fn write(&mut self, reg: Reg, index: usize, value: u32) -> Result<()> {
        let address = self.bar0 + u64::from(reg.offset(index));
        Ok(self.qtest.writel(address, value)?)
    }

    fn config(&mut self, offset: u16) -> Result<u32> {
        Ok(self.qtest.config_readl(self.nic.address, offset)?)
    }

    fn set_config(&mut self, offset: u16, value: u32) -> Result<()> {
        Ok(self.qtest.config_writel(self.nic.address, offset, value)?)
    }

    /// Transmit queue 0 with its ring and nothing in it.
    fn enable_transmit(&mut self) -> Result<()> {
        self.write(Reg::TDBAL, 0, low(RING))?;
        self.write(Reg::TDBAH, 0, 0)?;
        self.write(Reg::TDLEN, 0, low(DESCRIPTORS * 16))?;
        self.write(Reg::DMATXCTL, 0, 1)?;
        self.write(Reg::TXDCTL, 0, ENABLE)?;
        ensure!(
            self.read(Reg::TXDCTL, 0)? & ENABLE != 0,
            "the transmit queue is not enabled"
        );
        Ok(())
    }

    /// Puts a frame into transmit descriptor `index`.
    fn put(&mut self, index: u64, frame: &[u8]) -> Result<()> {
        let buffer = BUFFERS + index * 2048;
        self.qtest.memwrite(buffer, frame)?;
        self.put_descriptor(index, buffer, frame.len())
    }

    fn put_descriptor(&mut self, index: u64, buffer: u64, len: usize) -> Result<()> {
        let control = tx::DataControl::new()
            .with_dtalen(u16::try_from(len)?)
            .with_paylen(u32::try_from(len)?)
            .with_eop(true)
            .with_rs(true)
            .with_ifcs(true);
        let descriptor = tx::Descriptor::from(tx::Data {
            address: buffer,
            control,
        });
        let bytes = descriptor.as_bytes();
        Ok(self.qtest.memwrite(RING + index * 16, bytes)?)
    }

    /// Receive queue 0 with buffers from `buffers` on.
    fn enable_receive(&mut self, buffers: u64) -> Result<()> {
        for index in 0..DESCRIPTORS {
            let address = buffers + index * 2048;
            let mut descriptor = address.to_le_bytes().to_vec();
            descriptor.extend([0; 8]);
            self.qtest.memwrite(RING + index * 16, &descriptor)?;
        }
        self.write(Reg::FCTRL, 0, 1 << 10)?;
        self.write(Reg::RDBAL, 0, low(RING))?;
        self.write(Reg::RDBAH, 0, 0)?;
        self.write(Reg::RDLEN, 0, low(DESCRIPTORS * 16))?;
        self.write(Reg::SRRCTL, 0, 1 << 25 | 4 << 8 | 2)?;
        self.write(Reg::RXDCTL, 0, ENABLE)?;
        self.write(Reg::RXCTRL, 0, 1)?;
        self.write(Reg::RDT, 0, low(DESCRIPTORS - 1))
    }

    /// Receive descriptor `index` once the card has written it back.
    fn received(&mut self, index: u64) -> Result<WriteBack> {
        let begun = Instant::now();
        loop {
            let bytes = self.qtest.memread(RING + index * 16, 16)?;
            let descriptor = WriteBack::read_from_bytes(&bytes)
                .map_err(|error| anyhow::anyhow!("16 bytes: {error}"))?;
            // The header address as posted is 0, so DD means done.
            if descriptor.status().contains(Status::DD) {
                return Ok(descriptor);
            }
            ensure!(begun.elapsed() < PATIENCE, "descriptor {index} is not done");
        }
    }

    /// Waits for a message at `address`.
    fn message(&mut self, address: u64, expected: u32) -> Result<()> {
        let begun = Instant::now();
        loop {
            let value = self.qtest.readl(address)?;
            if value == expected {
                return Ok(());
            }
            ensure!(value == 0, "message {value:#x} instead of {expected:#x}");
            ensure!(
                begun.elapsed() < PATIENCE,
                "no message {expected:#x} at {address:#x}"
            );
        }
    }

    /// Points all MSI-X vectors at guest memory, vector n sends `0x100 + n` to the n-th dword, and enables them.
    fn enable_msix(&mut self) -> Result<()> {
        let table = self.nic.bars[4].context("no BAR4")?;
        self.qtest.memwrite(MESSAGES, &[0; 64 * 4])?;
        for vector in 0..64 {
            let entry = table + vector * 16;
            self.qtest.writel(entry, low(MESSAGES + vector * 4))?;
            self.qtest.writel(entry + 4, 0)?;
            self.qtest.writel(entry + 8, 0x100 + low(vector))?;
            self.qtest.writel(entry + 12, 0)?;
        }
        let control = self.config(MSIX)?;
        self.set_config(MSIX, control | 1 << 31)?;
        // Per-queue vectors that clear their causes by themselves.
        self.write(Reg::GPIE, 0, 1 << 31 | 1 << 5 | 1 << 4)?;
        self.write(Reg::EIAC, 0, 0xFFFF)?;
        self.write(Reg::EIMS_EX, 0, u32::MAX)?;
        self.write(Reg::EIMS_EX, 1, u32::MAX)
    }
}

/// RXDCTL and TXDCTL: the queue is enabled.
const ENABLE: u32 = 1 << 25;
/// MSI-X capability.
const MSIX: u16 = 0x70;
/// Device control of the PCI Express capability, its bit that resets the function.
const DEVICE_CONTROL: u16 = 0xA8;
const INITIATE_FLR: u32 = 1 << 15;

fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn the_card_has_its_identity(machine: &mut Machine) -> Result<()> {
    let id = machine.config(0x00)?;
    ensure!(id == 0x10FB_8086, "device and vendor {id:#010x}");
    let class = machine.config(0x08)?;
    ensure!(class == 0x0200_0001, "class and revision {class:#010x}");
    let interrupt = machine.config(0x3C)? >> 8 & 0xFF;
    ensure!(interrupt == 1, "interrupt pin {interrupt}");
    let low = machine.read(Reg::RAL, 0)?.to_le_bytes();
    let high = machine.read(Reg::RAH, 0)?.to_le_bytes();
    ensure!(
        [&low[..], &high[..2]].concat() == MAC,
        "address {low:02x?} {high:02x?}"
    );
    Ok(())
}

fn the_bars_have_their_kinds_and_sizes(machine: &mut Machine) -> Result<()> {
    let mut masks = [0; 6];
    for (bar, mask) in (0u16..).zip(&mut masks) {
        let offset = 0x10 + bar * 4;
        let before = machine.config(offset)?;
        machine.set_config(offset, u32::MAX)?;
        *mask = machine.config(offset)?;
        machine.set_config(offset, before)?;
    }
    let [csr, csr_high, io, none, msix, msix_high] = masks;
    // 64-bit memory of 512 KiB; 32 I/O ports; 64-bit memory of 16 KiB. Bit 3 tells prefetchable memory.
    ensure!(csr & !8 == 0xFFF8_0004, "BAR0 {csr:#010x}");
    ensure!(io == 0xFFFF_FFE1, "BAR2 {io:#010x}");
    ensure!(msix & !8 == 0xFFFF_C004, "BAR4 {msix:#010x}");
    ensure!(
        (csr_high, none, msix_high) == (u32::MAX, 0, u32::MAX),
        "upper halves {csr_high:#x} {msix_high:#x}, BAR3 {none:#x}"
    );
    Ok(())
}

fn capabilities_stand_at_the_offsets_of_the_card(machine: &mut Machine) -> Result<()> {
    let mut chain = Vec::new();
    let mut offset = machine.config(0x34)? & 0xFC;
    while offset != 0 && chain.len() < 48 {
        let header = machine.config(u16::try_from(offset)?)?;
        chain.push((offset, header & 0xFF));
        offset = header >> 8 & 0xFC;
    }
    let expected = [(0x40, 0x01), (0x50, 0x05), (0x70, 0x11), (0xA0, 0x10)];
    ensure!(
        chain.get(..4) == Some(&expected[..]),
        "capabilities {chain:02x?}"
    );
    ensure!(
        matches!(chain[4..], [] | [(0xE0, 0x03)]),
        "further capabilities {chain:02x?}"
    );
    let msix = [
        machine.config(MSIX)? >> 16 & 0x7FF,
        machine.config(MSIX + 4)?,
        machine.config(MSIX + 8)?,
    ];
    ensure!(msix == [63, 4, 0x2004], "MSI-X {msix:#x?}");

    let mut extended = Vec::new();
    let mut offset = 0x100;
    while offset != 0 && extended.len() < 16 {
        let header = machine.config(u16::try_from(offset)?)?;
        extended.push((offset, header & 0xFFFF));
        offset = header >> 20;
    }
    ensure!(
        extended.get(..2) == Some(&[(0x100, 0x0001), (0x140, 0x0003)][..]),
        "extended capabilities {extended:02x?}"
    );
    let serial = [machine.config(0x144)?, machine.config(0x148)?];
    let serial: Vec<u8> = serial.iter().flat_map(|half| half.to_be_bytes()).collect();
    let [a, b, c, d, e, f] = MAC;
    // The upper half comes second.
    ensure!(
        serial == [0xFF, d, e, f, a, b, c, 0xFF],
        "serial number {serial:02x?}"
    );
    Ok(())
}

fn registers_are_read_and_written_through_bar0(machine: &mut Machine) -> Result<()> {
    for pattern in [0x5A5A_5A5A, 0xA5A5_A5A5, 0, u32::MAX] {
        machine.write(Reg::FCTTV, 0, pattern)?;
        let value = machine.read(Reg::FCTTV, 0)?;
        ensure!(value == pattern, "FCTTV {value:#x} instead of {pattern:#x}");
        machine.write(Reg::RDLEN, 127, pattern)?;
        let value = machine.read(Reg::RDLEN, 127)?;
        ensure!(value == pattern & 0xF_FF80, "RDLEN(127) {value:#x}");
    }
    let links = machine.read(Reg::LINKS, 0)?;
    ensure!(links >> 30 & 1 == 1, "no link: LINKS {links:#x}");
    let nothing = machine.qtest.readl(machine.bar0 + 0x7_FFFC)?;
    ensure!(nothing == 0, "above the registers is {nothing:#x}");
    Ok(())
}

fn accesses_of_other_widths_are_answered(machine: &mut Machine) -> Result<()> {
    machine.write(Reg::RDBAL, 0, 0x1234_5680)?;
    machine.write(Reg::RDBAH, 0, 0x9ABC_DEF0)?;
    let address = machine.bar0 + u64::from(Reg::RDBAL.offset(0));
    let quad = machine.qtest.readq(address)?;
    ensure!(quad == 0x9ABC_DEF0_1234_5680, "8 bytes are {quad:#x}");
    machine.qtest.writeq(address, 0x1111_2222_3333_4480)?;
    let both = [machine.read(Reg::RDBAL, 0)?, machine.read(Reg::RDBAH, 0)?];
    ensure!(
        both == [0x3333_4480, 0x1111_2222],
        "after 8 bytes {both:x?}"
    );
    let vendor = Qtest::config_address(machine.nic.address, 0);
    ensure!(
        machine.qtest.readw(vendor + 2)? == 0x10FB,
        "device id by 2 bytes"
    );
    ensure!(machine.qtest.readb(vendor + 11)? == 0x02, "class by a byte");
    Ok(())
}

fn posted_writes_keep_their_order(machine: &mut Machine) -> Result<()> {
    // Each bit is set and cleared in turns: any two writes swapped leave another mask.
    for round in 0..500 {
        let bit = 1 << (round % 16);
        let (first, second) = if round % 3 == 0 {
            (Reg::EIMC, Reg::EIMS)
        } else {
            (Reg::EIMS, Reg::EIMC)
        };
        machine.write(first, 0, bit)?;
        machine.write(second, 0, bit)?;
        machine.write(Reg::FCTTV, 0, round)?;
    }
    // The last round of bit n is the greatest below 500 that leaves n when divided by 16.
    let expected = (0..16)
        .filter(|bit| (484 + (bit + 12) % 16) % 3 == 0)
        .fold(0, |mask, bit| mask | 1 << bit);
    let mask = machine.read(Reg::EIMS, 0)?;
    ensure!(
        mask == expected,
        "the mask is {mask:#x} instead of {expected:#x}"
    );
    let last = machine.read(Reg::FCTTV, 0)?;
    ensure!(last == 499, "the last write was {last}");
    Ok(())
}

fn an_msix_vector_reaches_the_machine(machine: &mut Machine) -> Result<()> {
    machine.enable_msix()?;
    machine.enable_transmit()?;
    // Transmit queue 0 by vector 3.
    machine.write(Reg::IVAR, 0, (0x80 | 3) << 8)?;
    machine.put(0, &from(MAC, BROADCAST, 1, 60))?;
    machine.write(Reg::TDT, 0, 1)?;
    machine.message(MESSAGES + 3 * 4, 0x103)
}

fn every_msix_vector_reaches_its_own_address(machine: &mut Machine) -> Result<()> {
    machine.enable_msix()?;
    for vector in 0..64 {
        let (half, bit) = (vector / 32, vector % 32);
        machine.write(Reg::EICS_EX, usize::try_from(half)?, 1 << bit)?;
        let address = MESSAGES + u64::from(vector) * 4;
        machine
            .message(address, 0x100 + vector)
            .with_context(|| format!("vector {vector}"))?;
    }
    Ok(())
}

fn a_frame_leaves_from_descriptors_in_guest_memory(machine: &mut Machine) -> Result<()> {
    machine.enable_transmit()?;
    let frames = [
        from(MAC, BROADCAST, 1, 60),
        from(MAC, BROADCAST, 2, 1514),
        from(MAC, BROADCAST, 3, 777),
    ];
    for (index, frame) in (0..).zip(&frames) {
        machine.put(index, frame)?;
    }
    machine.write(Reg::TDT, 0, 3)?;
    let mut sent = Vec::new();
    while sent.len() < frames.len() {
        let more = machine.cable.take(PATIENCE)?;
        ensure!(!more.is_empty(), "{} frames on the cable", sent.len());
        sent.extend(more);
    }
    ensure!(sent == frames, "sent {sent:02x?}");
    let head = machine.read(Reg::TDH, 0)?;
    ensure!(head == 3, "TDH is {head}");
    for index in 0..3 {
        let status = machine.qtest.readl(RING + index * 16 + 12)?;
        ensure!(
            status & 1 == 1,
            "descriptor {index} is not done: {status:#x}"
        );
    }
    Ok(())
}

fn a_frame_arrives_in_guest_memory(machine: &mut Machine) -> Result<()> {
    machine.enable_receive(BUFFERS)?;
    let frames = [numbered(MAC, 1, 60), numbered(MAC, 2, 1514)];
    machine.cable.put(&frames)?;
    for (index, frame) in (0..).zip(&frames) {
        let descriptor = machine.received(index)?;
        let len = usize::from(descriptor.length.get());
        ensure!(len == frame.len(), "{len} bytes");
        let bytes = machine.qtest.memread(BUFFERS + index * 2048, frame.len())?;
        ensure!(&bytes == frame, "another frame: {bytes:02x?}");
    }
    Ok(())
}

fn dma_happens_only_while_bus_mastering_is_on(machine: &mut Machine) -> Result<()> {
    machine.enable_transmit()?;
    let frames = [from(MAC, BROADCAST, 1, 60), from(MAC, BROADCAST, 2, 60)];
    machine.put(0, &frames[0])?;
    machine.put(1, &frames[1])?;
    machine.set_config(0x04, 0x0002)?;
    machine.write(Reg::TDT, 0, 1)?;
    // A read comes after all that the write has caused at once.
    machine.read(Reg::TDH, 0)?;
    machine.read(Reg::STATUS, 0)?;
    let sent = machine.cable.take(Duration::from_millis(100))?;
    ensure!(sent.is_empty(), "sent without bus mastering: {sent:02x?}");
    let status = machine.qtest.readl(RING + 12)?;
    ensure!(status & 1 == 0, "done without bus mastering");
    Ok(())
}

fn dma_to_rom_or_nowhere_harms_nobody(machine: &mut Machine) -> Result<()> {
    const ROM: u64 = 0xF_0000;
    let before = machine.qtest.memread(ROM, 4096)?;
    machine.enable_receive(ROM)?;
    let refused = numbered(MAC, 1, 1000);
    machine.cable.put(&[refused])?;
    machine.enable_transmit()?;
    machine.put_descriptor(0, 0xDEAD_0000_0000, 100)?;
    machine.write(Reg::TDT, 0, 1)?;
    let status = machine.read(Reg::STATUS, 0)?;
    ensure!(status != u32::MAX, "the card is gone");
    let after = machine.qtest.memread(ROM, 4096)?;
    ensure!(before == after, "the card has written to ROM");
    machine.server.nic().check()?;
    // A reset, and it works.
    machine.write(Reg::CTRL, 0, 1 << 26)?;
    a_frame_leaves_from_descriptors_in_guest_memory(machine)
}

fn a_function_level_reset_resets_the_registers(machine: &mut Machine) -> Result<()> {
    machine.write(Reg::RDBAL, 5, 0x8000)?;
    machine.enable_transmit()?;
    let control = machine.config(DEVICE_CONTROL)?;
    machine.set_config(DEVICE_CONTROL, control | INITIATE_FLR)?;
    let command = machine.config(0x04)? & 6;
    ensure!(command == 0, "the command register still has {command:#x}");
    machine.set_config(0x04, 0x0006)?;
    let left = [
        machine.read(Reg::RDBAL, 5)?,
        machine.read(Reg::TDBAL, 0)?,
        machine.read(Reg::TXDCTL, 0)? & ENABLE,
    ];
    ensure!(left == [0; 3], "after the reset there is {left:x?}");
    a_frame_leaves_from_descriptors_in_guest_memory(machine)
}

fn a_reset_of_the_machine_resets_the_card(machine: &mut Machine) -> Result<()> {
    machine.enable_msix()?;
    machine.enable_transmit()?;
    machine.qtest.qmp().execute("system_reset", &json!({}))?;
    machine.nic = machine.qtest.enable_nic(0)?;
    let left = [
        machine.read(Reg::TDBAL, 0)?,
        machine.read(Reg::GPIE, 0)?,
        machine.read(Reg::EIMS, 0)?,
    ];
    ensure!(left == [0; 3], "after the reset there is {left:x?}");
    let control = machine.config(MSIX)? >> 31;
    ensure!(control == 0, "MSI-X is enabled after the reset");
    a_frame_leaves_from_descriptors_in_guest_memory(machine)?;
    machine.write(Reg::TXDCTL, 0, 0)?;
    machine.write(Reg::TDT, 0, 0)?;
    machine.write(Reg::TDH, 0, 0)?;
    an_msix_vector_reaches_the_machine(machine)
}

fn after_qemu_was_killed_the_next_one_finds_a_fresh_card(mut machine: Machine) -> Result<()> {
    machine.enable_msix()?;
    machine.enable_transmit()?;
    let mut machine = machine.restart()?;
    let left = [
        machine.read(Reg::TDBAL, 0)?,
        machine.read(Reg::GPIE, 0)?,
        machine.read(Reg::TXDCTL, 0)? & ENABLE,
    ];
    ensure!(left == [0; 3], "the next client finds {left:x?}");
    a_frame_leaves_from_descriptors_in_guest_memory(&mut machine)
}
