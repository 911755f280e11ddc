//! What is recorded, and how it is cleared and masked (rules that hold in every mode).

use ixgbe_spec::register::Reg;

use super::{LSC, MAILBOX, OTHER, TCP_TIMER, receive_event, transmit_event};
use crate::{bus::Signal, port::tests::world::World};

#[test]
fn a_masked_cause_stays_pending_and_fires_when_enabled() {
    let mut world = World::enabled();
    world.set(Reg::EICS, 0x4);
    assert_eq!(world.signals(), []);
    assert_eq!(world.get(Reg::EICS), 0x4);
    world.set(Reg::EIMS, 0x4);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}

#[test]
fn a_queue_without_a_valid_ivar_entry_records_nothing() {
    let mut world = World::enabled();
    world.set(Reg::IVAR, 0x0000_0003);
    receive_event(&mut world, 0);
    assert_eq!(world.get(Reg::EICS), 0);
}

#[test]
fn ivar_gives_each_queue_and_direction_its_bit() {
    let mut world = World::enabled();
    world.set_at(Reg::IVAR, 3, 0x8483_8281);
    receive_event(&mut world, 6);
    assert_eq!(world.get(Reg::EICR), 1 << 1);
    transmit_event(&mut world, 6);
    assert_eq!(world.get(Reg::EICR), 1 << 2);
    receive_event(&mut world, 7);
    assert_eq!(world.get(Reg::EICR), 1 << 3);
    transmit_event(&mut world, 7);
    assert_eq!(world.get(Reg::EICR), 1 << 4);
}

#[test]
fn the_last_queue_has_the_last_ivar_entry() {
    let mut world = World::enabled();
    world.set_at(Reg::IVAR, 63, 0x8F00_0000);
    transmit_event(&mut world, 127);
    assert_eq!(world.get(Reg::EICR), 1 << 15);
}

#[test]
fn without_multiple_vectors_ivar_selects_one_of_16_bits() {
    let mut world = World::enabled();
    world.set(Reg::IVAR, 0x0000_0093);
    receive_event(&mut world, 0);
    assert_eq!(world.get(Reg::EICR), 1 << 3);
}

#[test]
fn a_read_of_eicr_clears_all_of_it() {
    let mut world = World::enabled();
    world.set(Reg::EICS, LSC | 0x1);
    assert_eq!(world.get(Reg::EICR), LSC | 0x1);
    assert_eq!(world.get(Reg::EICR), 0);
}

#[test]
fn with_ocd_a_read_of_eicr_clears_only_the_other_causes() {
    let mut world = World::enabled();
    world.set(Reg::GPIE, 1 << 5);
    world.set(Reg::EICS, TCP_TIMER | LSC | 0x1);
    assert_eq!(world.get(Reg::EICR), TCP_TIMER | LSC | 0x1);
    assert_eq!(world.get(Reg::EICR), TCP_TIMER | 0x1);
}

#[test]
fn a_read_of_eics_clears_nothing() {
    let mut world = World::enabled();
    world.set(Reg::EICS, LSC);
    assert_eq!(world.get(Reg::EICS), LSC);
    assert_eq!(world.get(Reg::EICS), LSC);
}

#[test]
fn a_written_one_clears_its_cause_only() {
    let mut world = World::enabled();
    world.set(Reg::EICS, LSC | MAILBOX | 0x3);
    world.set(Reg::EICR, LSC | 0x1);
    assert_eq!(world.get(Reg::EICS), MAILBOX | 0x2);
    world.set(Reg::EICR, u32::MAX);
    assert_eq!(world.get(Reg::EICS), 0);
}

#[test]
fn bit_31_sums_up_the_other_causes_that_are_enabled() {
    let mut world = World::enabled();
    world.set(Reg::EICS, LSC | TCP_TIMER);
    assert_eq!(world.get(Reg::EICS) & OTHER, 0);
    world.set(Reg::EIMS, TCP_TIMER);
    assert_eq!(world.get(Reg::EICS) & OTHER, 0);
    world.set(Reg::EIMS, LSC);
    assert_eq!(world.get(Reg::EICS) & OTHER, OTHER);
}

#[test]
fn masks_are_set_and_cleared_bit_by_bit_and_keep_all_bits() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 0xC000_0001);
    world.set(Reg::EIMS, 0x0010_0002);
    assert_eq!(world.get(Reg::EIMS), 0xC010_0003);
    world.set(Reg::EIMC, 0x8000_0001);
    assert_eq!(world.get(Reg::EIMS), 0x4010_0002);
    assert_eq!(world.get(Reg::EIMC), 0x4010_0002);
}

#[test]
fn the_low_16_bits_of_both_views_are_one() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 0x0010_8001);
    assert_eq!(world.get_at(Reg::EIMS_EX, 0), 0x8001);
    world.set_at(Reg::EIMC_EX, 0, 0x8000);
    assert_eq!(world.get(Reg::EIMS), 0x0010_0001);
    world.set_at(Reg::EICS_EX, 0, 0x10);
    assert_eq!(world.get(Reg::EICS), 0x10);
    world.set_at(Reg::EIAM_EX, 0, 0x0001_00FF);
    assert_eq!(world.get(Reg::EIAM), 0xFF);
    assert_eq!(world.get_at(Reg::EIAM_EX, 1), 0);
}

#[test]
fn a_cause_set_by_software_is_enabled_by_its_auto_mask_bit() {
    let mut world = World::enabled();
    world.set(Reg::EIAM, LSC | 0x1);
    world.set(Reg::EICS, LSC | 0x3);
    assert_eq!(world.get(Reg::EIMS), LSC | 0x1);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}

#[test]
fn clearing_a_cause_masks_it_by_its_auto_mask_bit() {
    let mut world = World::enabled();
    world.set(Reg::EIAM, 0xFFFF);
    world.set(Reg::EIMS, LSC | 0xF);
    world.set(Reg::EICS, LSC | 0x3);
    world.get(Reg::EICR);
    assert_eq!(world.get(Reg::EIMS), LSC | 0xC);

    world.set(Reg::EICS, 0x4);
    world.set(Reg::EICR, 0xC);
    // Cause 3 was not pending, so nothing was cleared.
    assert_eq!(world.get(Reg::EIMS), LSC | 0x8);
}
