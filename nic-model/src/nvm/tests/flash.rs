//! The flash by its pins, in BAR0, and as the expansion ROM.

use ixgbe_spec::register::Reg;
use proptest::prelude::*;

use crate::{Bar, Port, port::tests::world::World};

const SK: u32 = 1 << 0;
const CE: u32 = 1 << 1;
const SI: u32 = 1 << 2;
const SO: u32 = 1 << 3;
const REQ: u32 = 1 << 4;
const GNT: u32 = 1 << 5;

/// Sends a command and takes `answer` bytes.
fn command(world: &mut World, bytes: &[u8], answer: usize) -> Vec<u8> {
    world.set(Reg::FLA, REQ | CE);
    world.set(Reg::FLA, REQ);
    for byte in bytes {
        for bit in (0..8).rev() {
            let data = if byte >> bit & 1 == 1 { SI } else { 0 };
            world.set(Reg::FLA, REQ | data);
            world.set(Reg::FLA, REQ | data | SK);
            world.set(Reg::FLA, REQ | data);
        }
    }
    let mut taken = vec![0; answer];
    for byte in &mut taken {
        for _ in 0..8 {
            world.set(Reg::FLA, REQ | SK);
            *byte = *byte << 1 | u8::from(world.get(Reg::FLA) & SO != 0);
            world.set(Reg::FLA, REQ);
        }
    }
    world.set(Reg::FLA, REQ | CE);
    taken
}

fn enable_writes(world: &mut World) {
    command(world, &[0x06], 0);
}

/// What lies in BAR0 above the CSRs.
fn window(world: &mut World, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0x11; len];
    let offset = 0x2_0000 + offset;
    world.call(|port, context| port.bar_read(Bar::Csr, offset, &mut data, context));
    data
}

fn write_window(world: &mut World, offset: u64, data: &[u8]) {
    let offset = 0x2_0000 + offset;
    world.call(|port, context| port.bar_write(Bar::Csr, offset, data, context));
}

/// Sets what may be done to the flash.
fn set_fwe(world: &mut World, fwe: u32) {
    let eec = world.get(Reg::EEC) & !(3 << 4);
    world.set(Reg::EEC, eec | fwe << 4);
}

fn rom(world: &mut World, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    world.call(|port, context| port.bar_read(Bar::Rom, offset, &mut data, context));
    data
}

#[test]
fn the_pins_are_lent_to_who_asks_and_the_output_is_high_when_the_chip_is_not_selected() {
    let mut world = World::cold();
    let at_first = world.get(Reg::FLA);

    world.set(Reg::FLA, REQ | CE);
    let lent = world.get(Reg::FLA);
    world.set(Reg::FLA, CE);

    assert_eq!(at_first & GNT, 0);
    assert_eq!(lent, REQ | GNT | CE | SO);
    assert_eq!(world.get(Reg::FLA), CE | SO);
}

#[test]
fn the_chip_tells_its_identity() {
    assert_eq!(command(&mut World::cold(), &[0x9F], 3), [0x1F, 0x44, 0x01]);
}

#[test]
fn what_is_programmed_is_read_by_the_pins_and_as_the_expansion_rom() {
    let mut world = World::cold();
    let erased = command(&mut world, &[0x03, 0x01, 0x00, 0x00], 2);
    enable_writes(&mut world);
    let enabled = command(&mut world, &[0x05], 1);
    command(&mut world, &[0x02, 0x01, 0x00, 0x00, 0x55, 0xAA], 0);

    assert_eq!(erased, [0xFF; 2]);
    assert_eq!(enabled, [0x02]);
    assert_eq!(command(&mut world, &[0x05], 1), [0x00]);
    assert_eq!(
        command(&mut world, &[0x03, 0x01, 0x00, 0x00], 3),
        [0x55, 0xAA, 0xFF]
    );
    assert_eq!(
        command(&mut world, &[0x0B, 0x01, 0x00, 0x01, 0x00], 1),
        [0xAA]
    );
    assert_eq!(rom(&mut world, 0xFFFF, 4), [0xFF, 0x55, 0xAA, 0xFF]);
}

#[test]
fn programming_needs_the_write_enable_command_wraps_in_its_page_and_sets_no_bits() {
    let mut world = World::cold();
    command(&mut world, &[0x02, 0x00, 0x00, 0xFF, 0x12], 0);
    let refused = rom(&mut world, 0xFF, 1);
    enable_writes(&mut world);
    command(&mut world, &[0x02, 0x00, 0x00, 0xFF, 0x12, 0x34], 0);
    enable_writes(&mut world);
    command(&mut world, &[0x02, 0x00, 0x00, 0x00, 0xF0], 0);

    assert_eq!(refused, [0xFF]);
    assert_eq!(rom(&mut world, 0x00, 1), [0x30]);
    assert_eq!(rom(&mut world, 0xFF, 2), [0x12, 0xFF]);
}

#[test]
fn erasing_makes_a_block_all_ones_and_nothing_beside_it() {
    let mut world = World::cold();
    for address in [0x0F, 0x10, 0x1F, 0x20, 0x7F] {
        enable_writes(&mut world);
        command(&mut world, &[0x02, 0x00, address, 0x00, 0x00], 0);
    }
    enable_writes(&mut world);
    command(&mut world, &[0x20, 0x00, 0x1A, 0xBC], 0);
    let after_4k = [0x0F00, 0x1000, 0x1F00, 0x2000].map(|at| rom(&mut world, at, 1)[0]);
    command(&mut world, &[0xD8, 0x00, 0x00, 0x00], 0);
    let without_enable = rom(&mut world, 0x7F00, 1);
    enable_writes(&mut world);
    command(&mut world, &[0x60], 0);

    assert_eq!(after_4k, [0x00, 0xFF, 0xFF, 0x00]);
    assert_eq!(without_enable, [0x00]);
    assert_eq!(rom(&mut world, 0, 0x8_0000), vec![0xFF; 0x8_0000]);
}

#[test]
fn the_flash_is_the_cards_and_stays_over_resets() {
    let [mut first, mut second] = World::pair();
    enable_writes(&mut first);
    command(&mut first, &[0x02, 0x00, 0x00, 0x00, 0x55], 0);
    second.set(Reg::FLA, REQ | CE);
    let meanwhile = second.get(Reg::FLA) & GNT;

    first.call(Port::reset);

    assert_eq!(meanwhile, 0);
    assert_eq!(second.get(Reg::FLA) & GNT, GNT);
    assert_eq!(rom(&mut second, 0, 1), [0x55]);
}

#[test]
fn the_expansion_rom_has_a_base_address_and_cannot_be_written() {
    let mut world = World::cold();
    let off = world.config_read32(0x30);
    world.config_write32(0x30, u32::MAX);
    let size = world.config_read32(0x30);
    world.call(|port, context| port.bar_write(Bar::Rom, 0, &[0; 4], context));

    assert_eq!(off, 0);
    assert_eq!(size, 0xFFF8_0001, "512 KB, enabled");
    assert_eq!(rom(&mut world, 0, 4), [0xFF; 4]);
    assert_eq!(rom(&mut world, u64::MAX, 4), [0xFF; 4]);
}

#[test]
fn the_window_in_bar_0_shows_the_first_half_of_the_flash() {
    let mut world = World::cold();
    for (address, byte) in [(0x00, 0x12), (0x03, 0x34), (0x04, 0x56)] {
        enable_writes(&mut world);
        command(&mut world, &[0x02, address, 0xFF, 0xFF, byte], 0);
    }

    assert_eq!(world.get(Reg::BARCTRL) >> 8 & 7, 2, "64 KB << 2");
    assert_eq!(window(&mut world, 0, 1), [0xFF]);
    assert_eq!(window(&mut world, 0xFFFD, 4), [0xFF, 0xFF, 0x12, 0xFF]);
    assert_eq!(window(&mut world, 0x3_FFFE, 4), [0xFF, 0x34, 0, 0]);
    assert_eq!(window(&mut world, 0x4_FFFF, 1), [0], "past its end");
    assert_eq!(window(&mut world, u64::MAX - 0x2_0000, 4), [0; 4]);
}

#[test]
fn the_window_is_written_if_eec_allows_it() {
    let mut world = World::cold();
    write_window(&mut world, 0x100, &[0x00]);
    let forbidden = window(&mut world, 0x100, 1);
    set_fwe(&mut world, 2);
    write_window(&mut world, 0x100, &[0xF0, 0x55, 0xAA, 0x01]);
    write_window(&mut world, 0x100, &[0x3F]);
    write_window(&mut world, 0x3_FFFF, &[0x77, 0x88]);
    write_window(&mut world, 0xFFFF_FFFF, &[0x00]);
    write_window(&mut world, 0x1_0000_0100, &[0x00]);

    assert_eq!(forbidden, [0xFF]);
    assert_eq!(rom(&mut world, 0x100, 4), [0x30, 0x55, 0xAA, 0x01]);
    assert_eq!(rom(&mut world, 0x3_FFFF, 2), [0x77, 0xFF]);
}

#[test]
fn fla_erases_the_flash_if_eec_allows_it() {
    let mut world = World::cold();
    enable_writes(&mut world);
    command(&mut world, &[0x02, 0x00, 0x00, 0x00, 0x55], 0);
    world.set(Reg::FLA, CE | 1 << 31);
    let forbidden = rom(&mut world, 0, 1);
    set_fwe(&mut world, 0);
    world.set(Reg::FLA, CE | 1 << 31);

    assert_eq!(forbidden, [0x55]);
    assert_eq!(rom(&mut world, 0, 1), [0xFF]);
    assert_eq!(world.get(Reg::FLA), CE | SO, "neither busy nor erasing");
}

proptest! {
    #[test]
    fn no_levels_of_the_pins_are_too_much(levels in prop::collection::vec(0_u32..0x20, 0..500)) {
        let mut world = World::cold();
        for value in levels {
            world.set(Reg::FLA, value);
        }
        prop_assert_eq!(rom(&mut world, 0, 4).len(), 4);
    }
}
