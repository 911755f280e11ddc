//! The NVM as drivers read it: by EERD, and bit by bit.

mod flash;

use ixgbe_spec::register::Reg;

use crate::{
    LanId, NvmImage, Port, PortConfig,
    port::tests::world::{MAC, World},
};

/// A word, by EERD.
fn word(world: &mut World, address: u32) -> u16 {
    world.set(Reg::EERD, address << 2 | 1);
    let value = world.get(Reg::EERD);
    assert_eq!(value & 0xFFFE, address << 2 | 2, "done, and the address");
    u16::try_from(value >> 16).unwrap()
}

/// Whether a pointer leads anywhere.
fn leads(pointer: u16) -> bool {
    !matches!(pointer, 0 | 0xFFFF)
}

/// The sum that Linux and DPDK build, header and sections; it includes the checksum.
fn sum(world: &mut World) -> u16 {
    let mut sum = 0_u16;
    for address in 0..=0x3F {
        sum = sum.wrapping_add(word(world, address));
    }
    for pointer in 0x03..0x0F {
        let section = word(world, pointer);
        if !leads(section) {
            continue;
        }
        let len = word(world, section.into());
        if !leads(len) {
            continue;
        }
        for n in 1..=u32::from(len) {
            sum = sum.wrapping_add(word(world, u32::from(section) + n));
        }
    }
    sum
}

#[test]
fn the_checksum_is_right_from_the_start() {
    assert_eq!(sum(&mut World::cold()), 0xBABA);
}

#[test]
fn eec_announces_a_readable_chip_of_8192_words() {
    let eec = World::cold().get(Reg::EEC);
    assert_eq!(
        eec & 0x700,
        0x700,
        "present, auto-read done, 16-bit addresses"
    );
    assert_eq!(1 << ((eec >> 11 & 0xF) + 6), 8192);
}

#[test]
fn the_board_number_is_a_string_behind_its_pointer() {
    let mut world = World::cold();
    assert_eq!(word(&mut world, 0x15), 0xFAFA);
    let block = u32::from(word(&mut world, 0x16));
    let len = u32::from(word(&mut world, block));
    let text: Vec<u8> = (1..len)
        .flat_map(|n| word(&mut world, block + n).to_be_bytes())
        .collect();
    assert_eq!(text, b"E68793-006");
}

#[test]
fn the_firmware_is_not_called_pre_production() {
    let mut world = World::cold();
    let firmware = word(&mut world, 0x0F);
    assert!(leads(firmware));
    assert!(!leads(word(&mut world, u32::from(firmware) + 2)), "no LESM");
    let patch = word(&mut world, u32::from(firmware) + 4);
    assert!(leads(patch));
    assert!(word(&mut world, u32::from(patch) + 7) > 5);
}

#[test]
fn the_list_of_modules_has_an_entry_for_each_kind() {
    for kind in [3, 4, 5, 6] {
        let mut world = World::cold();
        let list = u32::from(word(&mut world, 0x2B));
        let at = (0..)
            .map(|n| list + 1 + 2 * n)
            .find(|at| [kind, 0xFFFF].contains(&word(&mut world, *at)))
            .unwrap();
        assert_eq!(word(&mut world, at), kind);
        let data = word(&mut world, at + 1);
        assert!(leads(data));
        assert_eq!(word(&mut world, u32::from(data) + 1), 0xFFFF, "empty");
    }
}

#[test]
fn the_second_port_has_its_own_address_and_pin() {
    let config = PortConfig {
        lan_id: LanId::Port1,
        ..PortConfig::new([0x02, 1, 2, 3, 4, 5])
    };
    let mut world = World::cold();
    world.port = Port::new(config);
    assert_eq!(world.read(0x05400), 0x0302_0102);
    assert_eq!(world.read(0x05404), 0x8000_0504);
    assert_eq!(world.get(Reg::STATUS) >> 2 & 0x3, 1);
    assert_eq!(world.config_read(0x3D), [2]);
    assert_eq!(sum(&mut world), 0xBABA);
}

#[test]
fn each_port_of_a_card_finds_both_addresses_and_its_own_in_its_registers() {
    let [mut first, mut second] = World::pair();

    let seen = [&mut first, &mut second].map(|world| {
        let sections = [0x09, 0x0A].map(|pointer| u32::from(word(world, pointer)));
        sections.map(|section| word(world, section + 3))
    });

    assert_eq!(seen, [[0xCCBB, 0xCDBB]; 2]);
    assert_eq!(first.read(0x05404), 0x8000_CCBB);
    assert_eq!(second.read(0x05404), 0x8000_CDBB);
    assert_eq!((sum(&mut first), sum(&mut second)), (0xBABA, 0xBABA));
}

#[test]
fn an_address_past_the_chip_reads_all_ones() {
    assert_eq!(word(&mut World::cold(), 0x3FFF), 0xFFFF);
}

const SK: u32 = 1 << 0;
const CS: u32 = 1 << 1;
const DI: u32 = 1 << 2;
const DO: u32 = 1 << 3;
const REQ: u32 = 1 << 6;
const GNT: u32 = 1 << 7;

/// Software at the pins of the chip.
struct Pins(World);

impl Pins {
    fn acquire() -> Self {
        Self::acquire_in(World::cold())
    }

    fn acquire_in(world: World) -> Self {
        let mut pins = Self(world);
        pins.set(REQ, true);
        assert_eq!(pins.0.get(Reg::EEC) & GNT, GNT);
        pins.set(CS | SK, false);
        pins
    }

    fn set(&mut self, bits: u32, on: bool) {
        let eec = self.0.get(Reg::EEC);
        let eec = if on { eec | bits } else { eec & !bits };
        self.0.set(Reg::EEC, eec);
    }

    /// Ends a command.
    fn standby(&mut self) {
        self.set(CS, true);
        self.set(CS, false);
    }

    fn put(&mut self, value: u16, bits: u32) {
        for bit in (0..bits).rev() {
            self.set(DI, value >> bit & 1 == 1);
            self.set(SK, true);
            self.set(SK, false);
        }
    }

    fn take(&mut self, bits: u32) -> u16 {
        let mut value = 0;
        for _ in 0..bits {
            self.set(SK, true);
            value = value << 1 | u16::from(self.0.get(Reg::EEC) & DO != 0);
            self.set(SK, false);
        }
        value
    }

    fn read(&mut self, word: u16) -> u16 {
        self.standby();
        self.put(0x03, 8);
        self.put(word * 2, 16);
        self.take(16).swap_bytes()
    }

    fn write(&mut self, word: u16, values: &[u16]) {
        self.standby();
        self.put(0x02, 8);
        self.put(word * 2, 16);
        for value in values {
            self.put(value.swap_bytes(), 16);
        }
        self.standby();
    }

    fn status(&mut self) -> u16 {
        self.standby();
        self.put(0x05, 8);
        self.take(8)
    }
}

#[test]
fn the_pins_read_the_same_words_as_eerd() {
    let mut pins = Pins::acquire();
    for address in [0x00, 0x0F, 0x15, 0x16, 0x2B, 0x3F, 0x100, 0x1FFF] {
        let by_pins = pins.read(address);
        assert_eq!(by_pins, word(&mut pins.0, address.into()), "{address:#x}");
    }
}

#[test]
fn one_read_command_goes_on_from_word_to_word() {
    let mut pins = Pins::acquire();
    let first = pins.read(0x15);
    let second = pins.take(16).swap_bytes();
    assert_eq!(first, 0xFAFA);
    assert_eq!(second, word(&mut pins.0, 0x16));
}

#[test]
fn a_write_needs_the_write_enable_command_each_time() {
    let mut pins = Pins::acquire();
    pins.write(0x1000, &[0x1234]);
    assert_eq!(pins.read(0x1000), 0xFFFF);
    pins.standby();
    pins.put(0x06, 8);
    assert_eq!(pins.status(), 0x02);
    pins.write(0x1000, &[0x1234]);
    assert_eq!(pins.status(), 0x00);
    pins.write(0x1000, &[0x5678]);
    assert_eq!(pins.read(0x1000), 0x1234);
    assert_eq!(word(&mut pins.0, 0x1000), 0x1234);
}

#[test]
fn a_write_wraps_within_its_page() {
    let mut pins = Pins::acquire();
    pins.standby();
    pins.put(0x06, 8);
    let values: Vec<u16> = (0..128).collect();
    pins.write(0x1000, &values);
    assert_eq!(pins.read(0x1000), 96);
    assert_eq!(pins.read(0x101F), 127);
    assert_eq!(pins.read(0x1020), 0xFFFF);
}

#[test]
fn a_new_address_in_the_nvm_counts_from_the_next_reset_and_survives_it() {
    let mut pins = Pins::acquire();
    let section = pins.read(0x09);
    pins.standby();
    pins.put(0x06, 8);
    pins.write(section + 1, &[0x0002, 0x0201, 0x0403]);
    let mut world = pins.0;
    assert_eq!(world.read(0x05400), 0xAA21_1B00);
    world.set(Reg::CTRL, 1 << 26);
    assert_eq!(world.read(0x05400), 0x0201_0002);
    world.call(Port::reset);
    assert_eq!(world.read(0x05400), 0x0201_0002);
    assert_eq!(world.read(0x05404), 0x8000_0403);
}

/// The first dword of the VPD capability's data.
fn vital_product_data(world: &mut World) -> u32 {
    world.config_write16(0xE2, 0);
    assert_eq!(world.config_read16(0xE2), 0x8000, "done");
    world.config_read32(0xE4)
}

#[test]
fn the_vital_product_data_is_what_the_nvm_says_behind_its_pointer() {
    let mut pins = Pins::acquire();
    let area = pins.read(0x2F);
    assert_eq!(vital_product_data(&mut pins.0), 0x4900_2782, "a name, I...");

    pins.standby();
    pins.put(0x06, 8);
    pins.write(area + 1, &[0x5800]);
    assert_eq!(vital_product_data(&mut pins.0), 0x5800_2782);

    pins.standby();
    pins.put(0x06, 8);
    pins.write(0x2F, &[0xFFFF]);
    assert_eq!(vital_product_data(&mut pins.0), 0, "no pointer, no data");
}

#[test]
fn what_one_port_writes_into_the_nvm_the_other_one_reads() {
    let [first, mut second] = World::pair();
    let mut pins = Pins::acquire_in(first);
    pins.standby();
    pins.put(0x06, 8);
    pins.write(0x1000, &[0x1234]);
    pins.set(REQ, false);

    assert_eq!(word(&mut second, 0x1000), 0x1234);
    assert_eq!(Pins::acquire_in(second).read(0x1000), 0x1234);
}

#[test]
fn one_port_at_a_time_has_the_pins_and_the_other_gets_them_when_they_are_free() {
    let [first, mut second] = World::pair();
    let mut pins = Pins::acquire_in(first);

    second.set(Reg::EEC, REQ);
    let meanwhile = second.get(Reg::EEC) & GNT;
    let undisturbed = pins.read(0x15);
    pins.set(REQ, false);

    assert_eq!((meanwhile, undisturbed), (0, 0xFAFA));
    assert_eq!(second.get(Reg::EEC) & GNT, GNT);
    pins.set(REQ, true);
    assert_eq!(pins.0.get(Reg::EEC) & GNT, 0);
}

#[test]
fn a_port_that_is_reset_by_the_bus_gives_the_pins_back() {
    let [first, mut second] = World::pair();
    let mut pins = Pins::acquire_in(first);
    second.set(Reg::EEC, REQ);

    pins.0.call(Port::reset);

    assert_eq!(second.get(Reg::EEC) & GNT, GNT);
}

#[test]
fn eewr_writes_a_word_and_says_when_it_is_done() {
    let mut world = World::cold();
    let before = world.get(Reg::EEWR);
    world.set(Reg::EEWR, 0x1234 << 16 | 0x1000 << 2 | 1);

    assert_eq!(before & 0x3, 0x2, "drivers wait for this before they write");
    assert_eq!(world.get(Reg::EEWR) & 0x3, 0x2);
    assert_eq!(word(&mut world, 0x1000), 0x1234);
    world.set(Reg::EEWR, 0x5678 << 16 | 0x1000 << 2);
    assert_eq!(
        word(&mut world, 0x1000),
        0x1234,
        "nothing starts without START"
    );
    world.set(Reg::EEWR, 0x5678 << 16 | 0x3FFF << 2 | 1);
    assert_eq!(word(&mut world, 0x3FFF), 0xFFFF, "past the chip");
}

/// A card whose NVM is `image`.
fn with_nvm(image: NvmImage) -> World {
    let mut world = World::cold();
    world.port = Port::new(PortConfig {
        nvm: Some(image),
        ..PortConfig::new([2, 2, 2, 2, 2, 2])
    });
    world
}

#[test]
fn a_card_is_what_its_nvm_says() {
    let factory = NvmImage::factory(&[&PortConfig::new(MAC)]);
    let mut bytes = factory.to_bytes();
    bytes.extend([0xFF; 16_384]);
    let large = NvmImage::try_from(bytes.as_slice()).unwrap();

    let mut world = with_nvm(large);

    assert_eq!(world.read(0x05400), 0xAA21_1B00);
    assert_eq!(
        world.config_read(0x144),
        [0xCC, 0xBB, 0xAA, 0xFF, 0xFF, 0x21, 0x1B, 0x00]
    );
    assert_eq!(1 << ((world.get(Reg::EEC) >> 11 & 0xF) + 6), 16_384);
    assert_eq!(sum(&mut world), 0xBABA);
}

#[test]
fn an_nvm_without_an_address_leaves_the_port_its_own() {
    let mut world = with_nvm(NvmImage::try_from([0xFF; 4096].as_slice()).unwrap());

    assert_eq!(world.read(0x05400), 0x0202_0202);
    assert_eq!(1 << ((world.get(Reg::EEC) >> 11 & 0xF) + 6), 2048);
    assert_eq!(word(&mut world, 2048), 0xFFFF);
}

#[test]
fn what_was_written_can_be_kept_and_is_there_in_the_next_card() {
    let mut pins = Pins::acquire();
    let untouched = pins.0.port.take_nvm_written();
    pins.standby();
    pins.put(0x06, 8);
    pins.write(0x1000, &[0x1234]);
    let by_pins = pins.0.port.take_nvm_written();
    pins.read(0x1000);
    let by_reading = pins.0.port.take_nvm_written();
    pins.0.set(Reg::EEWR, 0x5678 << 16 | 0x1001 << 2 | 1);
    let by_eewr = pins.0.port.take_nvm_written();

    let mut next = with_nvm(pins.0.port.nvm().image());

    assert_eq!(
        (untouched, by_pins, by_reading, by_eewr),
        (false, true, false, true)
    );
    assert_eq!(word(&mut next, 0x1000), 0x1234);
    assert_eq!(word(&mut next, 0x1001), 0x5678);
    assert_eq!(next.read(0x05404), 0x8000_CCBB);
}

#[test]
fn the_port_that_wrote_says_so_and_either_shows_the_whole_chip() {
    let [mut first, mut second] = World::pair();

    first.set(Reg::EEWR, 0x1234 << 16 | 0x1000 << 2 | 1);

    assert!(!second.port.take_nvm_written());
    assert!(first.port.take_nvm_written());
    assert_eq!(
        second.port.nvm().image().to_bytes()[0x2000..0x2002],
        [0x34, 0x12]
    );
}
