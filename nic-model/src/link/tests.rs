//! Link, pins and module as drivers see them.

use ixgbe_spec::register::Reg;

use crate::{Module, bus::Signal, port::tests::world::World};

const LSC: u32 = 1 << 20;
const UP_10G: u32 = 0x7000_0080;

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

#[test]
fn drivers_identify_a_10gbase_sr_module_of_intel() {
    let mut master = Master::new();
    let byte = |master: &mut Master, offset| master.read(0xA0, offset).unwrap();
    assert_eq!(byte(&mut master, 0x00), 0x03, "SFP");
    assert_eq!(byte(&mut master, 0x03) & 0x30, 0x10, "10GBASE-SR");
    assert_eq!(
        byte(&mut master, 0x06),
        0x00,
        "no 1G optics, so not multispeed"
    );
    assert_eq!(
        byte(&mut master, 0x08) & 0x0C,
        0x00,
        "no direct attach cable"
    );
    let oui = [0x25, 0x26, 0x27].map(|offset| byte(&mut master, offset));
    assert_eq!(oui, [0x00, 0x1B, 0x21]);
}

#[test]
fn the_identity_page_has_valid_check_codes_and_announces_diagnostics() {
    let page = Master::new().page(0xA0);
    assert_eq!(sum(&page[0..63]), page[63], "CC_BASE");
    assert_eq!(sum(&page[64..95]), page[95], "CC_EXT");
    assert_eq!(
        page[92] & 0x44,
        0x40,
        "diagnostics without an address change"
    );
    assert_ne!(page[94], 0, "SFF-8472");
    assert_eq!(&page[20..36], b"Intel Corp      ");
}

#[test]
fn the_measurements_lie_within_their_own_thresholds() {
    let page = Master::new().page(0xA2);
    assert_eq!(sum(&page[0..95]), page[95], "CC_DMI");
    // Temperature has a sign; an offset keeps the order.
    let value = |at: usize, sign: u16| u16::from_be_bytes([page[at], page[at + 1]]) ^ sign;
    for (n, sign) in [0x8000, 0, 0, 0, 0].into_iter().enumerate() {
        let [high_alarm, low_alarm, high_warning, low_warning] =
            [0, 2, 4, 6].map(|at| value(8 * n + at, sign));
        let measured = value(96 + 2 * n, sign);
        assert!(low_alarm < low_warning && low_warning < measured, "{n}");
        assert!(measured < high_warning && high_warning < high_alarm, "{n}");
    }
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
    master
        .0
        .call(|port, context| port.set_module(Module::Absent, context));
    assert_eq!(master.read(0xA0, 0), None);
    master
        .0
        .call(|port, context| port.set_module(Module::Sr, context));
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

#[test]
fn sdp2_shows_the_module_whatever_is_written_to_the_input() {
    let mut world = World::cold();
    assert_eq!(world.get(Reg::ESDP) & 0x4, 0x4);
    world.set(Reg::ESDP, 0x0000_2828);
    assert_eq!(world.get(Reg::ESDP), 0x0000_282C);
    world.call(|port, context| port.set_module(Module::Absent, context));
    assert_eq!(world.get(Reg::ESDP), 0x0000_2828);
}

#[test]
fn plugging_a_module_in_is_a_cause_if_gpie_enables_its_pin() {
    let mut world = World::enabled();
    world.call(|port, context| port.set_module(Module::Absent, context));
    world.set(Reg::EICR, u32::MAX);
    world.set(Reg::GPIE, 1 << 2);
    world.call(|port, context| port.set_module(Module::Sr, context));
    assert_eq!(world.get(Reg::EICR), LSC | 1 << 26);
}

#[test]
fn the_link_follows_the_carrier_and_each_change_is_a_cause() {
    let mut world = World::cold();
    assert_eq!(world.get(Reg::LINKS), 0);
    world.set(Reg::EIMS, LSC);
    world.carrier(true);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    assert_eq!(world.get(Reg::EICR) & LSC, LSC);
    world.get(Reg::LINKS);
    assert_eq!(world.get(Reg::LINKS), UP_10G);
    world.carrier(true);
    assert_eq!(world.get(Reg::EICR), 0, "no change");
    world.carrier(false);
    assert_eq!(world.get(Reg::EICR) & LSC, LSC);
    assert_eq!(world.get(Reg::LINKS), 0);
    assert_eq!(world.get(Reg::MLFC), 1);
}

#[test]
fn bit_7_of_links_tells_of_a_loss_since_the_last_read() {
    let mut world = World::enabled();
    world.get(Reg::LINKS);
    world.carrier(false);
    world.carrier(true);
    assert_eq!(world.get(Reg::LINKS), UP_10G & !0x80);
    assert_eq!(world.get(Reg::LINKS), UP_10G);
}

#[test]
fn there_is_no_link_without_a_module_or_with_the_link_disabled() {
    let mut world = World::enabled();
    world.call(|port, context| port.set_module(Module::Absent, context));
    assert!(!world.port.link_is_up());
    world.call(|port, context| port.set_module(Module::Sr, context));
    assert!(world.port.link_is_up());
    world.set(Reg::AUTOC2, 0x400A_0000);
    assert!(!world.port.link_is_up());
    world.set(Reg::AUTOC2, 0x000A_0000);
    assert!(world.port.link_is_up());
}

#[test]
fn flu_forces_the_link_up() {
    let mut world = World::cold();
    let autoc = world.get(Reg::AUTOC);
    assert_ne!(autoc, 0);
    world.set(Reg::AUTOC, autoc | 1);
    assert!(world.port.link_is_up());
    world.set(Reg::AUTOC, autoc);
    assert!(!world.port.link_is_up());
}

#[test]
fn the_link_mode_gives_the_speed() {
    let mut world = World::enabled();
    world.set(Reg::AUTOC, 0x0000_4200);
    world.get(Reg::LINKS);
    assert_eq!(world.get(Reg::LINKS), 0x6000_0080);
    assert_eq!(world.get(Reg::PCS1GLSTA), 0x0001_0011);
    world.set(Reg::AUTOC, 0x0000_6000);
    assert_eq!(world.get(Reg::LINKS) >> 28 & 0x3, 3);
    assert_eq!(world.get(Reg::PCS1GLSTA), 0);
}

#[test]
fn a_restart_of_the_link_clears_itself_and_the_state_machine_is_not_idle() {
    let mut world = World::enabled();
    let autoc = world.get(Reg::AUTOC);
    // The pipeline reset of Linux: restart with the link mode toggled, wait, restart with the old mode.
    world.set(Reg::AUTOC, (autoc | 1 << 12) ^ 0x8000);
    assert_ne!(world.get(Reg::ANLP1) & 0x000F_0000, 0);
    world.set(Reg::AUTOC, autoc | 1 << 12);
    assert_eq!(world.get(Reg::AUTOC), autoc);
    assert!(world.port.link_is_up());
}

#[test]
fn no_phy_answers_on_mdio() {
    let mut world = World::enabled();
    for phy in 0..32 {
        // Address cycle, then a read of the identifier.
        for op in [0, 3] {
            world.set(Reg::MSCA, 0x0001_0002 | phy << 21 | op << 26 | 1 << 30);
            assert_eq!(world.get(Reg::MSCA) >> 30 & 1, 0, "complete");
        }
        assert_eq!(world.get(Reg::MSRWD) >> 16, 0xFFFF);
    }
}
