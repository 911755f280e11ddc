//! The module as drivers read it, bit by bit.

use ixgbe_spec::register::Reg;

use crate::{Module, port::tests::world::World};

const CLK_IN: u32 = 1 << 0;
const CLK_OUT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;

/// A driver at the two wires.
struct Master(World);

impl Master {
    fn new() -> Self {
        Self(World::cold())
    }

    /// With this module in the cage.
    fn of(module: Module) -> Self {
        let mut master = Self::new();
        master.0.plug(module);
        master
    }

    fn set(&mut self, bits: u32, on: bool) {
        let value = self.0.get(Reg::I2CCTL);
        let value = if on { value | bits } else { value & !bits };
        self.0.set(Reg::I2CCTL, value);
        if bits == CLK_OUT {
            let clock = self.0.get(Reg::I2CCTL) & CLK_IN != 0;
            assert_eq!(clock, on, "nobody stretches the clock");
        }
    }

    fn start(&mut self) {
        self.set(DATA_OUT, true);
        self.set(CLK_OUT, true);
        self.set(DATA_OUT, false);
        self.set(CLK_OUT, false);
    }

    fn stop(&mut self) {
        self.set(DATA_OUT, false);
        self.set(CLK_OUT, true);
        self.set(DATA_OUT, true);
    }

    fn put_bit(&mut self, bit: bool) {
        self.set(DATA_OUT, bit);
        self.set(CLK_OUT, true);
        self.set(CLK_OUT, false);
    }

    fn take_bit(&mut self) -> bool {
        self.set(DATA_OUT, true);
        self.set(CLK_OUT, true);
        let bit = self.0.get(Reg::I2CCTL) & DATA_IN != 0;
        self.set(CLK_OUT, false);
        bit
    }

    /// Returns whether the byte was acknowledged.
    fn put(&mut self, byte: u8) -> bool {
        for place in (0..8).rev() {
            self.put_bit(byte >> place & 1 == 1);
        }
        !self.take_bit()
    }

    fn take(&mut self) -> u8 {
        (0..8).fold(0, |byte, _| byte << 1 | u8::from(self.take_bit()))
    }

    /// A random read of one byte, as drivers do it for each byte.
    fn read(&mut self, device: u8, offset: u8) -> Option<u8> {
        self.start();
        let there = self.put(device) && self.put(offset);
        if !there {
            self.stop();
            return None;
        }
        self.start();
        let there = self.put(device | 1);
        let byte = self.take();
        self.put_bit(true);
        self.stop();
        there.then_some(byte)
    }

    fn page(&mut self, device: u8) -> Vec<u8> {
        (0..=255)
            .map(|offset| self.read(device, offset).unwrap())
            .collect()
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// What Linux makes of a module on an 82599 (identification of SFP modules in its PHY code).
#[derive(Debug, PartialEq, Eq)]
enum Identified {
    PassiveCable,
    LimitingCable,
    SrOrLr { multispeed: bool },
    BaseT,
    Sx,
    Unsupported,
}

fn identify(page: &[u8]) -> Identified {
    let (ten_gigabit, gigabit, cable) = (page[3], page[6], page[8]);
    let intel = page[37..40] == [0x00, 0x1B, 0x21];
    if page[0] != 0x03 {
        return Identified::Unsupported;
    }
    if cable & 0x04 != 0 {
        return Identified::PassiveCable;
    }
    if cable & 0x08 != 0 {
        return match page[0x3C] & 0x04 {
            0 => Identified::Unsupported,
            _ => Identified::LimitingCable,
        };
    }
    match (ten_gigabit & 0x30, gigabit) {
        (0, _) if gigabit & 0x08 != 0 => Identified::BaseT,
        (0, _) if gigabit & 0x01 != 0 => Identified::Sx,
        (0x10 | 0x20, _) if intel => Identified::SrOrLr {
            multispeed: gigabit & 0x03 != 0,
        },
        _ => Identified::Unsupported,
    }
}

#[test]
fn linux_identifies_and_accepts_every_kind_of_module() {
    let of = |module| identify(&Master::of(module).page(0xA0));
    let optics = Identified::SrOrLr { multispeed: false };
    assert_eq!(of(Module::Sr), optics);
    assert_eq!(of(Module::Lr), optics);
    let both = Identified::SrOrLr { multispeed: true };
    assert_eq!(of(Module::SrDualRate), both);
    assert_eq!(of(Module::DirectAttachPassive), Identified::PassiveCable);
    assert_eq!(of(Module::DirectAttachActive), Identified::LimitingCable);
    assert_eq!(of(Module::Sx), Identified::Sx);
    assert_eq!(of(Module::BaseT), Identified::BaseT);
}

#[test]
fn the_identity_pages_have_valid_check_codes_and_printable_names() {
    for module in Module::ALL.into_iter().filter(|one| *one != Module::Absent) {
        let page = Master::of(module).page(0xA0);
        assert_eq!(sum(&page[0..63]), page[63], "CC_BASE of {module}");
        assert_eq!(sum(&page[64..95]), page[95], "CC_EXT of {module}");
        assert_eq!(&page[20..36], b"Intel Corp      ");
        let part = &page[40..56];
        assert!(part.iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
}

#[test]
fn optical_modules_announce_diagnostics_and_the_others_do_not_answer_there() {
    for (module, optical) in [
        (Module::Sr, true),
        (Module::Lr, true),
        (Module::Sx, true),
        (Module::DirectAttachPassive, false),
        (Module::DirectAttachActive, false),
        (Module::BaseT, false),
    ] {
        let mut master = Master::of(module);
        let page = master.page(0xA0);
        // Diagnostics without an address change, and a revision of SFF-8472.
        let announced = page[92] & 0x44 == 0x40 && page[94] != 0;
        assert_eq!(announced, optical, "{module}");
        assert_eq!(master.read(0xA2, 96).is_some(), optical, "{module}");
    }
}

/// Measurements of the diagnostics page; the temperature with an offset that keeps the order.
fn value(page: &[u8], at: usize, quantity: usize) -> u16 {
    let sign = if quantity == 0 { 0x8000 } else { 0 };
    u16::from_be_bytes([page[at], page[at + 1]]) ^ sign
}

#[test]
fn the_measurements_lie_within_their_own_thresholds() {
    for module in [Module::Sr, Module::Lr, Module::Sx] {
        let mut master = Master::of(module);
        master.0.carrier(true);
        let page = master.page(0xA2);
        assert_eq!(sum(&page[0..95]), page[95], "CC_DMI");
        for n in 0..5 {
            let [high_alarm, low_alarm, high_warning, low_warning] =
                [0, 2, 4, 6].map(|at| value(&page, 8 * n + at, n));
            let measured = value(&page, 96 + 2 * n, n);
            assert!(low_alarm < low_warning && low_warning < measured, "{n}");
            assert!(measured < high_warning && high_warning < high_alarm, "{n}");
        }
        assert_eq!(page[110], 0, "nothing to report");
        assert_eq!([&page[112..114], &page[116..118]], [&[0, 0], &[0, 0]]);
    }
}

#[test]
fn without_light_the_module_measures_no_received_power_and_says_so() {
    let mut master = Master::new();
    let page = master.page(0xA2);
    assert!(value(&page, 104, 4) <= 1, "-40 dBm or less");
    assert_eq!(page[110], 0x02, "loss of signal");
    // Received power is the fifth quantity: bits 7 and 6 of the second byte are too high and too low.
    assert_eq!([&page[112..114], &page[116..118]], [&[0, 0x40], &[0, 0x40]]);
    assert_eq!(sum(&page[0..95]), page[95]);
}

#[test]
fn with_the_laser_off_the_module_measures_no_bias_and_no_transmitted_power() {
    let mut master = Master::new();
    master.0.carrier(true);
    master.0.set(Reg::ESDP, 0x0808);
    let page = master.page(0xA2);
    assert_eq!(value(&page, 100, 2), 0);
    assert!(value(&page, 102, 3) <= 1);
    assert_eq!(page[110], 0x80, "the transmitter is disabled");
    assert_eq!(page[112], 0x05, "bias and transmitted power are too low");
    assert_eq!(page[113], 0x00);
}

#[test]
fn a_read_without_an_address_goes_on_after_the_last_byte() {
    let mut master = Master::new();
    master.read(0xA0, 19);
    master.start();
    assert!(master.put(0xA1));
    let mut name = Vec::new();
    for last in [false, false, false, false, true] {
        name.push(master.take());
        master.put_bit(last);
    }
    master.stop();
    assert_eq!(name, b"Intel");
}

#[test]
fn other_addresses_and_an_empty_cage_do_not_acknowledge() {
    let mut master = Master::new();
    assert_eq!(master.read(0xAC, 0), None);
    master.0.plug(Module::Absent);
    assert_eq!(master.read(0xA0, 0), None);
    master.0.plug(Module::Sr);
    assert_eq!(master.read(0xA0, 0), Some(0x03));
}

#[test]
fn nine_clocks_and_a_stop_free_the_bus_in_the_middle_of_a_read() {
    let mut master = Master::new();
    master.start();
    assert!(master.put(0xA0) && master.put(0x00));
    master.start();
    assert!(master.put(0xA1));
    master.take_bit();
    // What Linux does to clear the bus.
    master.start();
    for _ in 0..9 {
        master.take_bit();
    }
    master.start();
    master.stop();
    assert_eq!(master.0.get(Reg::I2CCTL), 0xF);
    assert_eq!(master.read(0xA0, 0), Some(0x03));
}

#[test]
fn the_idle_bus_reads_both_lines_high() {
    assert_eq!(World::cold().get(Reg::I2CCTL), 0xF);
}
