//! TXDCTL.WTHRESH in model time.

use ixgbe_spec::register::Reg;

use super::{LSC, linux_msix, receive_event, transmit_event};
use crate::{bus::Signal, port::tests::world::World};

/// WTHRESH as Linux writes it: 8.
const TXDCTL_LINUX: u32 = 8 << 16;
const PATIENCE: u64 = 100_000;

fn world() -> World {
    let mut world = linux_msix();
    world.set_at(Reg::TXDCTL, 0, TXDCTL_LINUX);
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    world
}

#[test]
fn a_write_back_below_the_threshold_interrupts_after_a_while() {
    let mut world = world();
    transmit_event(&mut world, 0);
    assert_eq!(world.signals(), []);
    assert_eq!(world.port.deadline(), Some(world.now.plus_nanos(PATIENCE)));

    world.pass_nanos(PATIENCE);
    world.step();
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn as_many_write_backs_as_the_threshold_interrupt_at_once() {
    let mut world = world();
    (0..7).for_each(|_| transmit_event(&mut world, 0));
    assert_eq!(world.signals(), []);
    transmit_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn a_received_packet_takes_the_write_back_along() {
    let mut world = world();
    transmit_event(&mut world, 0);
    receive_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    world.pass_nanos(PATIENCE);
    world.step();
    assert_eq!(world.signals(), []);
}

#[test]
fn without_a_threshold_a_write_back_interrupts_at_once() {
    let mut world = world();
    world.set_at(Reg::TXDCTL, 0, 1 << 16);
    transmit_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn a_write_back_while_the_vector_is_masked_waits_from_the_unmasking_on() {
    let mut world = world();
    world.set_at(Reg::EIMC_EX, 0, 0x1);
    transmit_event(&mut world, 0);
    world.pass_nanos(10 * PATIENCE);
    world.set_at(Reg::EIMS_EX, 0, 0x1);
    assert_eq!(world.signals(), []);
    world.pass_nanos(PATIENCE);
    world.step();
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn software_that_triggers_the_vector_does_not_wait() {
    let mut world = world();
    transmit_event(&mut world, 0);
    world.set_at(Reg::EICS_EX, 0, 0x1);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn another_cause_on_the_vector_takes_the_write_back_along() {
    let mut world = world();
    world.set(Reg::IVAR_MISC, 0x0000_8000);
    world.set(Reg::EIMS, LSC);
    transmit_event(&mut world, 0);
    world.set(Reg::EICS, LSC);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn the_wait_begins_anew_for_each_interrupt() {
    let mut world = world();
    transmit_event(&mut world, 0);
    world.pass_nanos(PATIENCE);
    world.step();
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    world.set_at(Reg::EIMS_EX, 0, 0x1);
    transmit_event(&mut world, 0);
    assert_eq!(world.signals(), []);
    assert_eq!(world.port.deadline(), Some(world.now.plus_nanos(PATIENCE)));
}
