//! Errors of the bus in configuration space, as PCI Express Base 6.2 has them noted.

use crate::{BusError, ErrorMessage, HardwareError, port::tests::world::World};

const STATUS: u16 = 0x06;
const DEVICE_CONTROL: u16 = 0xA8;
const DEVICE_STATUS: u16 = 0xAA;
const UNCORRECTABLE: u16 = 0x104;
const UNCORRECTABLE_MASK: u16 = 0x108;
const SEVERITY: u16 = 0x10C;
const CORRECTABLE: u16 = 0x110;
const CORRECTABLE_MASK: u16 = 0x114;
const FIRST_ERROR: u16 = 0x118;
const HEADER_LOG: u16 = 0x11C;

fn inject(world: &mut World, error: BusError) -> Option<ErrorMessage> {
    world.call(|port, context| port.inject_error(HardwareError::Bus(error), context))
}

/// A function whose driver wants to hear of every error.
fn reporting() -> World {
    let mut world = World::enabled();
    world.config_write16(DEVICE_CONTROL, 0x000F);
    world
}

#[test]
fn a_correctable_error_is_noted_and_reported_unless_it_is_masked() {
    let mut world = reporting();
    assert_eq!(
        inject(&mut world, BusError::BadTlp),
        Some(ErrorMessage::Correctable)
    );
    assert_eq!(world.config_read32(CORRECTABLE), 1 << 6);
    assert_eq!(world.config_read16(DEVICE_STATUS), 0x1);

    world.config_write32(CORRECTABLE, 1 << 6);
    world.config_write16(DEVICE_STATUS, 0x1);
    assert_eq!(world.config_read32(CORRECTABLE), 0);
    assert_eq!(world.config_read16(DEVICE_STATUS), 0);

    world.config_write32(CORRECTABLE_MASK, 1 << 6);
    assert_eq!(inject(&mut world, BusError::BadTlp), None);
    assert_eq!(
        world.config_read32(CORRECTABLE),
        1 << 6,
        "noted all the same"
    );
    assert_eq!(world.config_read16(DEVICE_STATUS), 0x1);
}

#[test]
fn severity_decides_whether_an_error_is_fatal() {
    let mut world = reporting();
    assert_eq!(
        inject(&mut world, BusError::MalformedTlp),
        Some(ErrorMessage::Fatal)
    );
    assert_eq!(world.config_read16(DEVICE_STATUS), 0x4);
    let severity = world.config_read32(SEVERITY);
    world.config_write32(SEVERITY, severity & !(1 << 18));
    assert_eq!(
        inject(&mut world, BusError::MalformedTlp),
        Some(ErrorMessage::NonFatal)
    );
    assert_eq!(world.config_read16(DEVICE_STATUS), 0x6);
}

#[test]
fn pointer_and_header_are_those_of_the_first_error_until_it_is_cleared() {
    let mut world = reporting();
    inject(&mut world, BusError::PoisonedTlp);
    inject(&mut world, BusError::CompletionTimeout);
    assert_eq!(world.config_read32(UNCORRECTABLE), 1 << 12 | 1 << 14);
    assert_eq!(world.config_read32(FIRST_ERROR) & 0x1F, 12);
    assert_eq!(
        world.config_read32(HEADER_LOG) >> 24,
        0x40,
        "a memory write"
    );

    world.config_write32(UNCORRECTABLE, 1 << 12 | 1 << 14);
    assert_eq!(world.config_read32(UNCORRECTABLE), 0);
    inject(&mut world, BusError::CompletionTimeout);
    assert_eq!(world.config_read32(FIRST_ERROR), 0xA0 | 14);
    assert_eq!(world.config_read32(HEADER_LOG), 0, "no packet is to blame");
}

#[test]
fn a_masked_error_is_noted_without_pointer_header_and_message() {
    let mut world = reporting();
    world.config_write32(UNCORRECTABLE_MASK, 1 << 12);
    assert_eq!(inject(&mut world, BusError::PoisonedTlp), None);
    assert_eq!(world.config_read32(UNCORRECTABLE), 1 << 12);
    assert_eq!(world.config_read32(FIRST_ERROR) & 0x1F, 0);
    assert_eq!(world.config_read32(HEADER_LOG), 0);
    assert_eq!(world.config_read16(DEVICE_STATUS), 0x2);
    assert_eq!(world.config_read16(STATUS) >> 15, 1, "parity");
}

#[test]
fn a_refused_request_is_advisory_as_on_a_card_that_was_probed() {
    let mut world = World::enabled();
    assert_eq!(inject(&mut world, BusError::UnsupportedRequest), None);
    assert_eq!(world.config_read32(UNCORRECTABLE), 1 << 20);
    assert_eq!(world.config_read32(CORRECTABLE), 1 << 13);
    assert_eq!(world.config_read16(DEVICE_STATUS), 0x9);
    assert_eq!(world.config_read32(FIRST_ERROR) & 0x1F, 0, "masked");

    let mut world = reporting();
    world.config_write32(CORRECTABLE_MASK, 0);
    assert_eq!(
        inject(&mut world, BusError::UnsupportedRequest),
        Some(ErrorMessage::Correctable)
    );
    assert_eq!(world.config_read32(FIRST_ERROR) & 0x1F, 20);
}

#[test]
fn nothing_is_reported_that_device_control_does_not_enable_but_by_serr() {
    let mut world = World::enabled();
    assert_eq!(inject(&mut world, BusError::BadDllp), None);
    assert_eq!(inject(&mut world, BusError::DataLinkProtocol), None);
    assert_eq!(world.config_read16(STATUS) >> 14 & 1, 0);
    world.config_write16(0x04, 0x0106);
    assert_eq!(
        inject(&mut world, BusError::DataLinkProtocol),
        Some(ErrorMessage::Fatal)
    );
    assert_eq!(world.config_read16(STATUS) >> 14 & 1, 1);
}

#[test]
fn every_error_sets_the_bit_that_lspci_decodes() {
    let expected = [
        (CORRECTABLE, 0),
        (CORRECTABLE, 6),
        (CORRECTABLE, 7),
        (CORRECTABLE, 8),
        (CORRECTABLE, 12),
        (UNCORRECTABLE, 4),
        (UNCORRECTABLE, 12),
        (UNCORRECTABLE, 13),
        (UNCORRECTABLE, 14),
        (UNCORRECTABLE, 15),
        (UNCORRECTABLE, 16),
        (UNCORRECTABLE, 17),
        (UNCORRECTABLE, 18),
        (UNCORRECTABLE, 19),
        (UNCORRECTABLE, 20),
    ];
    for (error, (register, bit)) in HardwareError::ALL.into_iter().zip(expected) {
        let mut world = World::enabled();
        world.call(|port, context| port.inject_error(error, context));
        assert_eq!(world.config_read32(register), 1 << bit, "{error}");
    }
}
