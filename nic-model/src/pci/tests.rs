//! Configuration space as the host walks it.

mod errors;
mod sriov;

use std::collections::BTreeMap;

use ixgbe_spec::register::Reg;

use crate::port::tests::world::{MAC, World};

/// The capabilities of the standard list, id to offset, found as any PCI code finds them.
fn capabilities(world: &mut World) -> BTreeMap<u8, u16> {
    assert_eq!(world.config_read16(0x06) & 0x10, 0x10, "there is a list");
    let mut found = BTreeMap::new();
    let [mut at] = world.config_read::<1>(0x34);
    while at != 0 {
        assert!(at >= 0x40 && at.is_multiple_of(4), "{at:#x}");
        let [id, next] = world.config_read(at.into());
        assert_eq!(found.insert(id, at.into()), None, "{id:#x} twice");
        at = next;
    }
    found
}

/// The extended capabilities, id to offset.
fn extended_capabilities(world: &mut World) -> BTreeMap<u16, u16> {
    let mut found = BTreeMap::new();
    let mut at = 0x100;
    while at != 0 {
        assert!(at >= 0x100 && at % 4 == 0, "{at:#x}");
        let header = world.config_read32(at);
        let id = (header & 0xFFFF) as u16;
        assert_eq!(header >> 16 & 0xF, 1, "version of {id:#x}");
        assert_eq!(found.insert(id, at), None, "{id:#x} twice");
        at = (header >> 20) as u16;
    }
    found
}

#[test]
fn the_function_is_an_82599_with_sfp() {
    let mut world = World::cold();
    assert_eq!(world.config_read32(0x00), 0x10FB_8086);
    assert_eq!(world.config_read32(0x08), 0x0200_0001);
    assert_eq!(world.config_read32(0x2C), 0x0003_8086);
    assert_eq!(world.config_read::<1>(0x0E), [0]);
    assert_eq!(world.config_read::<1>(0x3D), [1]);
}

#[test]
fn the_capabilities_lie_where_the_card_has_them() {
    let mut world = World::cold();
    let expected = [
        (0x01, 0x40),
        (0x03, 0xE0),
        (0x05, 0x50),
        (0x10, 0xA0),
        (0x11, 0x70),
    ];
    assert_eq!(capabilities(&mut world), BTreeMap::from(expected));
}

#[test]
fn the_extended_capabilities_lie_where_the_card_has_them() {
    let mut world = World::cold();
    let expected = [
        (0x0001, 0x100),
        (0x0003, 0x140),
        (0x000E, 0x150),
        (0x0010, 0x160),
    ];
    assert_eq!(extended_capabilities(&mut world), BTreeMap::from(expected));
}

#[test]
fn sizing_the_bars_gives_their_sizes_and_kinds() {
    let mut world = World::cold();
    for offset in (0x10..0x28).step_by(4) {
        world.config_write32(offset, u32::MAX);
    }
    let bars: Vec<_> = (0x10..0x28)
        .step_by(4)
        .map(|offset| world.config_read32(offset))
        .collect();
    assert_eq!(
        bars,
        [
            0xFFF8_000C, // 512 KiB, 64-bit, prefetchable
            0xFFFF_FFFF,
            0xFFFF_FFE1, // 32 bytes of I/O
            0,
            0xFFFF_C00C, // 16 KiB, 64-bit, prefetchable
            0xFFFF_FFFF,
        ]
    );
    world.config_write32(0x30, u32::MAX);
    assert_eq!(
        world.config_read32(0x30),
        0xFFF8_0001,
        "expansion ROM, 512 KB"
    );
}

#[test]
fn linux_finds_64_vectors_8_lanes_of_5_gt_and_no_pending_transaction() {
    let mut world = World::cold();
    assert_eq!((world.config_read16(0x72) & 0x7FF) + 1, 64);
    assert_eq!(world.config_read32(0x74), 0x4);
    assert_eq!(world.config_read32(0x78), 0x2004);
    let link = world.config_read16(0xB2);
    assert_eq!((link & 0xF, link >> 4 & 0x3F), (2, 8));
    assert_eq!(world.config_read16(0xAA) & 0x20, 0);
    assert_eq!(world.config_read32(0xA4) >> 28 & 1, 1, "FLR");
}

#[test]
fn only_what_the_function_has_can_be_written_in_command_and_status() {
    let mut world = World::cold();
    world.config_write32(0x04, u32::MAX);
    assert_eq!(world.config_read32(0x04), 0x0010_0547);
    world.config_write(0x05, &[0]);
    assert_eq!(world.config_read16(0x04), 0x0047, "a byte alone");
}

#[test]
fn identity_and_capability_headers_are_read_only() {
    let mut world = World::cold();
    let snapshot: Vec<_> = [
        0x00, 0x08, 0x2C, 0x34, 0xA4, 0xAC, 0x100, 0x140, 0x144, 0x148,
    ]
    .map(|offset| (offset, world.config_read32(offset)))
    .to_vec();
    for (offset, _) in &snapshot {
        world.config_write32(*offset, u32::MAX);
    }
    for (offset, value) in snapshot {
        assert_eq!(world.config_read32(offset), value, "{offset:#x}");
    }
}

#[test]
fn the_serial_number_is_the_mac_address_as_eui_64() {
    let mut world = World::cold();
    let low = u64::from(world.config_read32(0x144));
    let high = u64::from(world.config_read32(0x148));
    let [a, b, c, d, e, f] = MAC;
    let eui = u64::from_be_bytes([a, b, c, 0xFF, 0xFF, d, e, f]);
    assert_eq!(high << 32 | low, eui);
}

#[test]
fn the_two_ports_of_a_card_are_the_functions_of_one_device() {
    let mut functions = World::pair();

    let [first, second] = functions.each_mut().map(|function| {
        let [header_type] = function.config_read::<1>(0x0E);
        let [pin] = function.config_read::<1>(0x3D);
        let [next] = function.config_read::<1>(0x155);
        (header_type, pin, next)
    });
    let serials = functions.each_mut().map(|function| {
        let low = function.config_read32(0x144);
        (low, function.config_read32(0x148))
    });
    let ids = functions.map(|mut function| function.get(Reg::STATUS) >> 2 & 0x3);

    assert_eq!((first, second), ((0x80, 1, 1), (0x80, 2, 0)));
    assert_eq!(serials[0], serials[1]);
    assert_eq!(ids, [0, 1]);
}

#[test]
fn a_function_level_reset_is_only_its_bit() {
    let mut world = World::enabled();
    world.config_write(0xA8, &[0xFF]);
    assert_eq!(world.config_read16(0x04), 0x0006);
    world.config_write(0xA9, &[0x80]);
    assert_eq!(world.config_read16(0x04), 0);
    assert_eq!(world.config_read16(0xA8), 0x2810);
}

/// The data of the VPD capability, dword by dword, as the kernel reads it.
fn vital_product_data(world: &mut World, len: u16) -> Vec<u8> {
    (0..len)
        .step_by(4)
        .flat_map(|address| {
            world.config_write16(0xE2, address);
            assert_eq!(world.config_read16(0xE2), address | 0x8000, "done");
            world.config_read::<4>(0xE4)
        })
        .collect()
}

#[test]
fn the_vital_product_data_is_well_formed_and_names_the_product() {
    let mut world = World::cold();
    let data = vital_product_data(&mut world, 256);

    assert_eq!(data[0], 0x82, "identifier string");
    let len = usize::from(u16::from_le_bytes([data[1], data[2]]));
    let name = std::str::from_utf8(&data[3..3 + len]).unwrap();
    assert!(name.contains("X520"), "{name}");

    let read_only = 3 + len;
    assert_eq!(data[read_only], 0x90);
    let fields = usize::from(u16::from_le_bytes([
        data[read_only + 1],
        data[read_only + 2],
    ]));
    let end = read_only + 3 + fields;
    assert_eq!(data[end..end + 3], [0x91, 64, 0], "what software may write");
    assert_eq!(data[end + 3..end + 6], [b'R', b'W', 61]);
    assert_eq!(data[end + 67], 0x78, "end tag");

    let mut keywords = Vec::new();
    let mut at = read_only + 3;
    while at < end {
        keywords.push(data[at..at + 2].to_vec());
        at += 3 + usize::from(data[at + 2]);
    }
    assert_eq!(at, end);
    assert_eq!(keywords, [b"PN", b"EC", b"SN", b"RV"]);
    let sum = data[..end]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum, 0, "RV closes the checksum");
}

#[test]
fn a_write_of_vital_product_data_changes_what_software_may_write_and_nothing_else() {
    let mut world = World::cold();
    let before = vital_product_data(&mut world, 256);
    let first = before.windows(3).position(|bytes| bytes == b"RW\x3D");
    let (first, end) = (first.unwrap(), first.unwrap() + 64);

    for address in (0..256).step_by(4) {
        world.config_write32(0xE4, 0x5A5A_5A5A);
        world.config_write16(0xE2, address | 0x8000);
        assert_eq!(world.config_read16(0xE2), address, "done");
    }

    let after = vital_product_data(&mut world, 256);
    assert_eq!(after[first..end], [0x5A; 64]);
    assert_eq!(after[..first], before[..first]);
    assert_eq!(after[end..], before[end..]);
    assert!(world.port.take_nvm_written());
}

#[test]
fn a_write_of_vital_product_data_that_is_refused_writes_no_nvm() {
    let mut world = World::cold();

    world.config_write32(0xE4, 0);
    world.config_write16(0xE2, 0x8004);

    assert_eq!(world.config_read16(0xE2), 0x0004, "done all the same");
    assert!(!world.port.take_nvm_written());
}

#[test]
fn an_area_of_vital_product_data_without_an_end_is_read_to_the_end_of_the_chip() {
    let mut world = World::cold();
    let area = 0x01C0;
    // Small tags without data, as far as there are words.
    for word in area..0x2000 {
        world.set(Reg::EEWR, 0x0808 << 16 | word << 2 | 1);
    }

    world.config_write16(0xE2, 0xFFFC);

    assert_eq!(world.config_read16(0xE2), 0x7FFC, "done");
    assert_eq!(vital_product_data(&mut world, 8), [0x08; 8]);
}

#[test]
fn error_masks_are_stored_and_error_status_is_not() {
    let mut world = World::cold();
    world.config_write32(0x104, u32::MAX);
    assert_eq!(world.config_read32(0x104), 0);
    world.config_write32(0x108, u32::MAX);
    assert_eq!(world.config_read32(0x108), 0x001F_F010);
    assert_eq!(world.config_read32(0x10C), 0x0006_2010);
}

#[test]
fn pme_status_cannot_be_set_by_software() {
    let mut world = World::cold();
    world.config_write16(0x44, 0x8100);
    assert_eq!(world.config_read16(0x44) & 0x8100, 0x0100);
}
