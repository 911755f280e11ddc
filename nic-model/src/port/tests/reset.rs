//! Reset domains and the handshake before them.

use ixgbe_spec::register::Reg;

use super::world::{MAC, World};
use crate::{Bar, Port, bus::Signal};

const RST: u32 = 1 << 26;
const LRST: u32 = 1 << 3;

fn mac_in_rar0(world: &mut World) -> Vec<u8> {
    let (low, high) = (world.read(0x05400), world.read(0x05404));
    assert_eq!(high >> 31, 1, "RAH.AV");
    [&low.to_le_bytes()[..], &high.to_le_bytes()[..2]].concat()
}

#[test]
fn after_power_on_the_first_receive_address_is_that_of_the_nvm() {
    let mut world = World::cold();
    assert_eq!(mac_in_rar0(&mut world), MAC);
    assert_eq!(world.read(0x0A204 + 8), 0);
}

#[test]
fn the_reset_bits_clear_themselves_and_registers_go_back() {
    for bit in [RST, LRST, RST | LRST] {
        let mut world = World::enabled();
        world.set(Reg::FCTRL, 0x300);
        world.write(0x05400, 0);
        world.set_at(Reg::TXPBTHRESH, 0, 5);
        world.set(Reg::CTRL, bit);
        assert_eq!(world.get(Reg::CTRL), 0);
        assert_eq!(world.get(Reg::FCTRL), 0);
        assert_eq!(mac_in_rar0(&mut world), MAC);
        assert_eq!(world.get_at(Reg::TXPBTHRESH, 0), 0x96);
        assert_eq!(world.get_at(Reg::TXPBTHRESH, 1), 0);
    }
}

#[test]
fn counters_are_zero_after_a_reset() {
    let mut world = World::enabled();
    world.port.regs.count(Reg::GPRC, 0, 7);
    world.set(Reg::CTRL, RST);
    assert_eq!(world.get(Reg::GPRC), 0);
}

#[test]
fn pins_semaphores_and_pcie_block_survive_a_device_reset() {
    let mut world = World::enabled();
    world.set(Reg::ESDP, 0x0000_2820);
    world.set(Reg::GSSR, 0x2);
    world.set(Reg::GCR_EXT, 0x8000_0000);
    world.set(Reg::CTRL_EXT, 1 << 26 | 1 << 16);
    assert_eq!(world.get(Reg::SWSM), 0);
    world.set(Reg::CTRL, LRST);
    assert_eq!(world.get(Reg::ESDP), 0x0000_2824);
    assert_eq!(world.get(Reg::GSSR), 0x2);
    assert_eq!(world.get(Reg::GCR_EXT), 0x8000_0000);
    assert_eq!(world.get(Reg::CTRL_EXT), 1 << 26);
    assert_eq!(world.get(Reg::SWSM), 1);
}

#[test]
fn configuration_space_and_the_msix_table_survive_a_device_reset() {
    let mut world = World::msix();
    let entry = [0x1122_3344_u32, 0, 0x55, 0].map(u32::to_le_bytes).concat();
    world.call(|port, context| port.bar_write(Bar::MsiX, 0x20, &entry[..8], context));
    world.set(Reg::CTRL, RST);
    let mut data = [0; 4];
    world.call(|port, context| port.bar_read(Bar::MsiX, 0x20, &mut data, context));
    assert_eq!(u32::from_le_bytes(data), 0x1122_3344);
    assert_eq!(world.config_read16(0x72), 0x803F);
    assert_eq!(world.config_read16(0x04), 0x0006);
}

#[test]
fn master_disable_is_acknowledged_in_status_and_ends_with_a_reset() {
    let mut world = World::enabled();
    world.set(Reg::CTRL, 1 << 2);
    assert_eq!(world.get(Reg::CTRL), 1 << 2);
    assert_eq!(world.get(Reg::STATUS) & 1 << 19, 0);
    world.set(Reg::CTRL, RST);
    assert_eq!(world.get(Reg::STATUS) & 1 << 19, 1 << 19);
}

#[test]
fn the_link_is_up_again_right_after_a_reset() {
    let mut world = World::enabled();
    world.set(Reg::CTRL, RST);
    assert_eq!(world.get(Reg::LINKS), 0x7000_0080);
}

#[test]
fn a_function_level_reset_resets_registers_and_configuration_space() {
    let mut world = World::msix();
    world.set(Reg::FCTRL, 0x300);
    world.set(Reg::GSSR, 0x2);
    world.config_write32(0x10, 0xFE00_0000);
    let control = world.config_read16(0xA8);
    world.config_write16(0xA8, control | 0x8000);
    assert_eq!(world.config_read16(0xA8) & 0x8000, 0);
    assert_eq!(world.config_read16(0x04), 0);
    assert_eq!(world.config_read16(0x72), 0x003F);
    assert_eq!(world.config_read32(0x10), 0x0000_000C);
    assert_eq!(world.get(Reg::FCTRL), 0);
    assert_eq!(world.get(Reg::GSSR), 0);
    assert_eq!(mac_in_rar0(&mut world), MAC);
}

#[test]
fn a_bus_reset_releases_intx() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 1);
    world.set(Reg::EICS, 1);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    world.call(Port::reset);
    assert_eq!(world.signals(), [Signal::IntxDeassert]);
    assert_eq!(world.get(Reg::EICR), 0);
}

#[test]
fn in_d3hot_nothing_answers_and_the_way_back_resets_the_registers_only() {
    let mut world = World::enabled();
    world.set(Reg::FCTRL, 0x300);
    world.config_write16(0x44, 0x0003);
    assert_eq!(world.get(Reg::FCTRL), u32::MAX);
    world.set(Reg::FCTRL, 0x100);
    world.config_write16(0x44, 0x0000);
    assert_eq!(world.get(Reg::FCTRL), 0);
    assert_eq!(world.config_read16(0x04), 0x0006);
}

#[test]
fn power_states_that_are_not_there_are_not_entered() {
    let mut world = World::enabled();
    world.config_write16(0x44, 0x0001);
    assert_eq!(world.config_read16(0x44) & 0x3, 0);
    world.config_write16(0x44, 0x0103);
    world.config_write16(0x44, 0x0002);
    assert_eq!(world.config_read16(0x44) & 0x103, 0x3);
}

#[test]
fn in_d3hot_nothing_is_signalled_and_no_frame_gets_in() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    world.config_write16(0x44, 0x0003);
    assert_eq!(world.signals(), [Signal::IntxDeassert]);
    world.receive(&[0xFF; 60]);
    world.step();
    world.carrier(false);
    assert_eq!(world.signals(), []);
    assert_eq!(world.bus.take_reads(), []);
    assert_eq!(world.bus.take_writes(), []);
}
