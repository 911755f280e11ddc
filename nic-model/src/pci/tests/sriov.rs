//! The SR-IOV capability, compared with what `lspci -vvv` shows of an X520.

use ixgbe_spec::register::Reg;

use crate::port::tests::world::World;

const CONTROL: u16 = 0x168;
const NUM_VFS: u16 = 0x170;
const FIRST_OFFSET: u16 = 0x174;
const PAGE_SIZE: u16 = 0x180;
const VF_BAR0: u16 = 0x184;

#[test]
fn the_capability_is_that_of_the_card() {
    let mut world = World::cold();
    assert_eq!(world.config_read32(0x160), 0x0001_0010, "the last one");
    assert_eq!(world.config_read16(CONTROL), 0);
    assert_eq!(world.config_read32(0x16C), 0x0040_0040, "64 of 64");
    assert_eq!(world.config_read32(NUM_VFS), 0, "none, and its own link");
    assert_eq!(world.config_read16(FIRST_OFFSET), 384);
    assert_eq!(world.config_read16(0x176), 2, "stride");
    assert_eq!(world.config_read16(0x17A), 0x10ED);
    assert_eq!(world.config_read32(0x17C), 0x0000_0553);
    assert_eq!(world.config_read32(PAGE_SIZE), 1);
}

#[test]
fn the_first_function_is_nearer_where_routing_ids_have_no_device_number() {
    let mut world = World::cold();
    world.config_write16(CONTROL, 0x0010);
    assert_eq!(world.config_read16(FIRST_OFFSET), 128);
    world.config_write16(CONTROL, 0);
    assert_eq!(world.config_read16(FIRST_OFFSET), 384);
}

/// What is read of the six BARs after all ones were written.
fn sized(world: &mut World) -> Vec<u32> {
    let bars: Vec<u16> = (0..6).map(|bar| VF_BAR0 + 4 * bar).collect();
    for bar in &bars {
        world.config_write32(*bar, u32::MAX);
    }
    bars.iter().map(|bar| world.config_read32(*bar)).collect()
}

#[test]
fn the_bars_of_the_functions_are_16_kib_and_no_smaller_than_a_page() {
    let mut world = World::cold();
    assert_eq!(
        sized(&mut world),
        [0xFFFF_C004, u32::MAX, 0, 0xFFFF_C004, u32::MAX, 0]
    );
    world.config_write32(PAGE_SIZE, 0x10);
    assert_eq!(
        sized(&mut world),
        [0xFFFF_0004, u32::MAX, 0, 0xFFFF_0004, u32::MAX, 0]
    );
}

#[test]
fn functions_that_are_enabled_show_in_status_and_their_number_stays() {
    let mut world = World::enabled();
    world.config_write16(NUM_VFS, 7);
    assert_eq!(world.get(Reg::STATUS) >> 10 & 0x1FF, 0, "not enabled");
    world.config_write16(CONTROL, 0x0009);
    assert_eq!(world.get(Reg::STATUS) >> 10 & 0xFF, 7);
    assert_eq!(world.get(Reg::STATUS) >> 18 & 1, 1);
    world.config_write16(NUM_VFS, 3);
    assert_eq!(world.config_read16(NUM_VFS), 7);
    world.set(Reg::CTRL, 1 << 26);
    assert_eq!(world.get(Reg::STATUS) >> 10 & 0xFF, 7, "a driver's reset");
    world.config_write16(CONTROL, 0);
    assert_eq!(world.get(Reg::STATUS) >> 10 & 0x1FF, 0);
}

#[test]
fn no_more_functions_than_there_can_be_are_counted() {
    let mut world = World::enabled();
    world.config_write16(NUM_VFS, 0xFFFF);
    world.config_write16(CONTROL, 0x0001);
    assert_eq!(world.get(Reg::STATUS) >> 10 & 0xFF, 64);
}

#[test]
fn a_function_level_reset_takes_the_functions_away() {
    let mut world = World::enabled();
    world.config_write16(NUM_VFS, 2);
    world.config_write16(CONTROL, 0x0001);
    world.config_write(0xA9, &[0x80]);
    assert_eq!(world.config_read16(CONTROL), 0);
    assert_eq!(world.get(Reg::STATUS) >> 10 & 0x1FF, 0);
}
