//! What `ethtool -t` does to registers: each pattern is written, and exactly its writable bits are read back.

use super::world::World;

const PATTERNS: [u32; 4] = [0x5A5A_5A5A, 0xA5A5_A5A5, 0, u32::MAX];

/// Writes the patterns as far as `write` lets them, expects them as far as `mask` lets them, puts the register back.
fn pattern_test(world: &mut World, offset: u32, mask: u32, write: u32) {
    let before = world.read(offset);
    for pattern in PATTERNS {
        world.write(offset, pattern & write);
        let value = world.read(offset);
        assert_eq!(value, pattern & write & mask, "{offset:#07x}");
    }
    world.write(offset, before);
}

/// Writes the value and expects it as far as `mask` lets it.
fn set_and_check(world: &mut World, offset: u32, mask: u32, write: u32) {
    let before = world.read(offset);
    world.write(offset, write & mask);
    assert_eq!(world.read(offset) & mask, write & mask, "{offset:#07x}");
    world.write(offset, before);
}

/// Offset, count, step, mask, bits written: the rows of the driver's table for this card, without those that follow.
const BEFORE_ENABLE: [(u32, u32, u32, u32, u32); 6] = [
    (0x03220, 1, 0x40, 0x8007_FFF0, 0x8007_FFF0),
    (0x03260, 1, 0x40, 0x8007_FFF0, 0x8007_FFF0),
    (0x03008, 1, 0x40, 0xFFFF_FFFF, 0xFFFF_FFFF),
    (0x05088, 1, 0x40, 0x0000_0000, 0x0000_0000),
    (0x01000, 4, 0x40, 0xFFFF_FF80, 0xFFFF_FF80),
    (0x01004, 4, 0x40, 0xFFFF_FFFF, 0xFFFF_FFFF),
];
const RDLEN: (u32, u32, u32, u32, u32) = (0x01008, 4, 0x40, 0x000F_FF80, 0x000F_FFFF);
const RDT: (u32, u32, u32, u32, u32) = (0x01018, 4, 0x40, 0x0000_FFFF, 0x0000_FFFF);
const AFTER_DISABLE: [(u32, u32, u32, u32, u32); 8] = [
    (0x03260, 1, 0x40, 0x8007_FFF0, 0x8007_FFF0),
    (0x03200, 1, 0x40, 0xFFFF_FFFF, 0xFFFF_FFFF),
    (0x06000, 4, 0x40, 0xFFFF_FF80, 0xFFFF_FFFF),
    (0x06004, 4, 0x40, 0xFFFF_FFFF, 0xFFFF_FFFF),
    (0x06008, 4, 0x40, 0x000F_FF80, 0x000F_FF80),
    (0x05400, 16, 0x08, 0xFFFF_FFFF, 0xFFFF_FFFF),
    (0x05404, 16, 0x08, 0x8001_FFFF, 0x800C_FFFF),
    (0x05200, 128, 0x04, 0xFFFF_FFFF, 0xFFFF_FFFF),
];

fn run(world: &mut World, rows: &[(u32, u32, u32, u32, u32)]) {
    for (offset, count, step, mask, write) in rows {
        for n in 0..*count {
            pattern_test(world, offset + n * step, *mask, *write);
        }
    }
}

#[test]
fn the_register_test_of_linux_passes() {
    let mut world = World::enabled();

    let status = world.read(0x00008);
    world.write(0x00008, status & 0x7FFF_F30F);
    assert_eq!(world.read(0x00008) & 0x7FFF_F30F, status & 0x7FFF_F30F);

    run(&mut world, &BEFORE_ENABLE);
    run(&mut world, &[RDLEN]);
    for n in 0..4 {
        world.write(0x01028 + n * 0x40, 0x0200_0000);
    }
    run(&mut world, &[RDT]);
    for n in 0..4 {
        world.write(0x01028 + n * 0x40, 0);
    }
    run(&mut world, &AFTER_DISABLE);
    set_and_check(&mut world, 0x03000, 0x0000_0001, 0x0000_0001);
}

#[test]
fn every_dword_of_the_register_space_can_be_read() {
    let mut world = World::enabled();
    for offset in (0..0x2_0000).step_by(4) {
        world.read(offset);
    }
    assert_ne!(world.read(0x00008), u32::MAX);
}

#[test]
fn a_queue_echoes_its_enable_bit() {
    let mut world = World::enabled();
    world.write(0x04A80, 0x8100_0001);
    world.write(0x06028 + 0x40 * 64, 0x0200_0000);
    assert_eq!(world.read(0x06028 + 0x40 * 64) & 0x0200_0000, 0x0200_0000);
    // What Linux writes to stop it: the flush alone.
    world.write(0x06028 + 0x40 * 64, 0x0400_0000);
    assert_eq!(world.read(0x06028 + 0x40 * 64), 0);
}
