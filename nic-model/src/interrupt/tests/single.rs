//! One signal for all causes: INTx, MSI, and MSI-X without multiple vectors.

use ixgbe_spec::register::Reg;

use super::{LSC, receive_event};
use crate::{bus::Signal, port::tests::world::World};

fn msi() -> World {
    let mut world = World::enabled();
    world.config_write16(0x52, 0x0001);
    world
}

#[test]
fn intx_lasts_as_long_as_an_enabled_cause() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, LSC | 0x1);
    world.set(Reg::EICS, LSC | 0x1);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    world.set(Reg::EICR, LSC);
    assert_eq!(world.signals(), []);
    world.set(Reg::EIMC, u32::MAX);
    assert_eq!(world.signals(), [Signal::IntxDeassert]);
    world.set(Reg::EIMS, 0x1);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    world.get(Reg::EICR);
    assert_eq!(world.signals(), [Signal::IntxDeassert]);
}

#[test]
fn intx_needs_no_bus_mastering() {
    let mut world = World::cold();
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}

#[test]
fn intx_disable_holds_the_pin_and_not_the_status_bit() {
    let mut world = World::enabled();
    world.config_write16(0x04, 0x0406);
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    assert_eq!(world.signals(), []);
    assert_eq!(world.config_read16(0x06) & 0x8, 0x8);
    world.config_write16(0x04, 0x0006);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    world.config_write16(0x04, 0x0406);
    assert_eq!(world.signals(), [Signal::IntxDeassert]);
    world.get(Reg::EICR);
    assert_eq!(world.config_read16(0x06) & 0x8, 0);
}

#[test]
fn enabling_msix_releases_the_pin() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    world.signals();
    world.config_write16(0x72, 0x8000);
    assert_eq!(world.signals()[0], Signal::IntxDeassert);
}

#[test]
fn an_msi_message_is_sent_when_causes_begin_and_not_while_they_last() {
    let mut world = msi();
    world.set(Reg::EIMS, LSC | 0x3);
    world.set(Reg::EICS, 0x1);
    assert_eq!(world.signals(), [Signal::Msi]);
    world.set(Reg::EICS, 0x2);
    assert_eq!(world.signals(), []);
    world.get(Reg::EICR);
    world.set(Reg::EICS, LSC);
    assert_eq!(world.signals(), [Signal::Msi]);
}

#[test]
fn an_msi_message_is_sent_again_if_causes_remain_after_the_mask_was_written() {
    let mut world = msi();
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    world.signals();
    world.set(Reg::EIMS, 0x1);
    assert_eq!(world.signals(), [Signal::Msi]);
}

#[test]
fn a_masked_msi_message_is_pending_until_it_is_unmasked() {
    let mut world = msi();
    world.config_write32(0x60, 1);
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    assert_eq!(world.signals(), []);
    assert_eq!(world.config_read32(0x64), 1);
    world.config_write32(0x60, 0);
    assert_eq!(world.signals(), [Signal::Msi]);
    assert_eq!(world.config_read32(0x64), 0);
}

#[test]
fn msix_without_multiple_vectors_is_vector_0_for_everything() {
    let mut world = World::msix();
    world.set(Reg::IVAR, 0x0000_0085);
    world.set(Reg::EIMS, LSC | 0xFFFF);
    world.set(Reg::EICS, LSC);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    world.get(Reg::EICR);
    receive_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    assert_eq!(world.get(Reg::EICR), 1 << 5);
}

#[test]
fn a_message_waits_for_bus_mastering() {
    let mut world = msi();
    world.config_write16(0x04, 0x0002);
    world.set(Reg::EIMS, 0x1);
    world.set(Reg::EICS, 0x1);
    assert_eq!(world.signals(), []);
    world.config_write16(0x04, 0x0006);
    assert_eq!(world.signals(), [Signal::Msi]);
}

/// What `ethtool -t` does for each of the first ten bits.
#[test]
fn the_interrupt_test_of_linux_passes() {
    let mut world = World::enabled();
    for bit in (0..10).map(|n| 1 << n) {
        // Its handler reads EICR at each interrupt.
        let mut seen = 0;
        let mut handle = |world: &mut World| {
            if world.signals().contains(&Signal::IntxAssert) {
                seen |= world.get(Reg::EICR);
            }
            std::mem::take(&mut seen)
        };
        let others = !bit & 0x7FFF;
        world.set(Reg::EIMC, u32::MAX);
        world.set(Reg::EICR, u32::MAX);

        world.set(Reg::EIMC, others);
        world.set(Reg::EICS, others);
        assert_eq!(handle(&mut world), 0);

        world.set(Reg::EICR, u32::MAX);
        world.set(Reg::EIMS, bit);
        world.set(Reg::EICS, bit);
        assert_eq!(handle(&mut world) & bit, bit);

        world.set(Reg::EIMC, others);
        world.set(Reg::EICS, others);
        assert_eq!(handle(&mut world) & others, 0);
    }
}
