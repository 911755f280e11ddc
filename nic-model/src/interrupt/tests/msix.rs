//! MSI-X with a vector per queue group.

use ixgbe_spec::register::Reg;

use super::{LSC, MAILBOX, TCP_TIMER, linux_msix, receive_event, transmit_event};
use crate::{Bar, bus::Signal, port::tests::world::World};

fn pending_bits(world: &mut World) -> u64 {
    let mut data = [0; 8];
    world.call(|port, context| port.bar_read(Bar::MsiX, 0x2000, &mut data, context));
    u64::from_le_bytes(data)
}

fn write_vector_control(world: &mut World, vector: u64, value: u32) {
    let data = value.to_le_bytes();
    world.call(|port, context| port.bar_write(Bar::MsiX, 16 * vector + 12, &data, context));
}

#[test]
fn a_queue_signals_its_vector_is_cleared_and_masked_until_enabled_again() {
    let mut world = linux_msix();
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    assert_eq!(world.get(Reg::EICS), 0, "auto-clear");
    assert_eq!(world.get_at(Reg::EIMS_EX, 0), 0x5, "auto-mask");

    receive_event(&mut world, 1);
    transmit_event(&mut world, 1);
    assert_eq!(world.signals(), []);
    assert_eq!(world.get(Reg::EICS), 0x2);

    world.set_at(Reg::EIMS_EX, 0, 0x2);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn vectors_from_16_on_clear_themselves_without_eiac() {
    let mut world = linux_msix();
    world.set(Reg::EIAC, 0);
    world.set_at(Reg::IVAR, 1, 0x0000_BF90);
    world.set_at(Reg::EIMS_EX, 0, u32::MAX);
    world.set_at(Reg::EIMS_EX, 1, u32::MAX);
    receive_event(&mut world, 2);
    transmit_event(&mut world, 2);
    assert_eq!(world.signals(), [Signal::MsiX(16), Signal::MsiX(63)]);
    assert_eq!(world.get_at(Reg::EIMS_EX, 0), 0xFFFE_FFFF);
    assert_eq!(world.get_at(Reg::EIMS_EX, 1), 0x7FFF_FFFF);
    world.set_at(Reg::EIMS_EX, 0, u32::MAX);
    assert_eq!(world.signals(), []);
}

#[test]
fn without_eiac_a_cause_below_16_stays_and_does_not_signal_again() {
    let mut world = linux_msix();
    world.set(Reg::EIAC, 0);
    world.set_at(Reg::EIAM_EX, 0, 0);
    world.set(Reg::GPIE, 0x0000_0010);
    world.set_at(Reg::EIMS_EX, 0, 0x1);
    receive_event(&mut world, 0);
    receive_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    assert_eq!(world.get(Reg::EICS), 0x1);
    world.set(Reg::EICR, 0x1);
    receive_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn other_causes_signal_the_vector_of_ivar_misc_and_stay_until_written() {
    let mut world = linux_msix();
    world.set(Reg::EIMS, LSC | MAILBOX);
    world.carrier(false);
    assert_eq!(world.signals(), [Signal::MsiX(2)]);
    // The handler of Linux: read EICS, write the upper half back.
    let causes = world.get(Reg::EICS) & 0xFFFF_0000;
    // The loss of signal at SDP1, too, which this GPIE enables.
    assert_eq!(causes, LSC | 1 << 25 | 1 << 31);
    world.set(Reg::EICR, causes);
    assert_eq!(world.get(Reg::EICS), 0);
    world.carrier(true);
    world.train();
    assert_eq!(world.signals(), [Signal::MsiX(2)]);
}

#[test]
fn a_further_other_cause_signals_although_the_first_is_still_there() {
    let mut world = linux_msix();
    world.set(Reg::EIMS, LSC | MAILBOX);
    world.set(Reg::EICS, LSC);
    world.set(Reg::EICS, MAILBOX);
    assert_eq!(world.signals(), [Signal::MsiX(2), Signal::MsiX(2)]);
}

#[test]
fn the_tcp_timer_has_a_vector_of_its_own() {
    let mut world = linux_msix();
    world.set(Reg::IVAR_MISC, 0x0000_8285);
    world.set(Reg::EIMS, TCP_TIMER | LSC);
    world.set(Reg::EICS, TCP_TIMER);
    assert_eq!(world.signals(), [Signal::MsiX(5)]);
}

#[test]
fn without_a_valid_entry_other_causes_are_recorded_and_do_not_signal() {
    let mut world = linux_msix();
    world.set(Reg::IVAR_MISC, 0);
    world.set(Reg::EIMS, LSC);
    world.set(Reg::EICS, LSC);
    assert_eq!(world.signals(), []);
    assert_eq!(world.get(Reg::EICS) & LSC, LSC);
}

#[test]
fn software_triggers_a_vector_by_eics_ex() {
    let mut world = linux_msix();
    world.set_at(Reg::EIMS_EX, 1, 1 << 31);
    world.set_at(Reg::EICS_EX, 1, 1 << 31);
    assert_eq!(world.signals(), [Signal::MsiX(63)]);
}

#[test]
fn one_call_signals_a_vector_once() {
    let mut world = linux_msix();
    world.set(Reg::IVAR, 0x8080_8080);
    world.set(Reg::GPIE, 0x8000_0036);
    world.set_at(Reg::EIMS_EX, 0, 0x1);
    world.call(|port, context| {
        port.with_interrupts(context, |irq, regs| {
            irq.rx_queue(regs, 0);
            irq.tx_queue(regs, 0);
            irq.rx_queue(regs, 1);
        });
    });
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn a_masked_entry_of_the_table_keeps_the_message_pending() {
    let mut world = linux_msix();
    write_vector_control(&mut world, 1, 1);
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), []);
    assert_eq!(pending_bits(&mut world), 0x2);
    write_vector_control(&mut world, 1, 0);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    assert_eq!(pending_bits(&mut world), 0);
}

#[test]
fn the_function_mask_holds_all_vectors() {
    let mut world = linux_msix();
    world.config_write16(0x72, 0xC000);
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    receive_event(&mut world, 0);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), []);
    assert_eq!(pending_bits(&mut world), 0x3);
    world.config_write16(0x72, 0x8000);
    assert_eq!(world.signals(), [Signal::MsiX(0), Signal::MsiX(1)]);
}

#[test]
fn pbacl_takes_a_pending_message_back() {
    let mut world = linux_msix();
    world.config_write16(0x72, 0xC000);
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    receive_event(&mut world, 0);
    receive_event(&mut world, 1);
    world.write(0x11068, 0x1);
    assert_eq!(pending_bits(&mut world), 0x2);
    world.set(Reg::PBACL, 0x2);
    assert_eq!(pending_bits(&mut world), 0);
}

#[test]
fn with_pba_support_enabling_a_vector_takes_its_pending_message_back() {
    let mut world = linux_msix();
    world.config_write16(0x72, 0xC000);
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    receive_event(&mut world, 1);
    assert_eq!(pending_bits(&mut world), 0x2);
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    assert_eq!(pending_bits(&mut world), 0);
}

#[test]
fn software_cannot_write_pending_bits() {
    let mut world = linux_msix();
    world.call(|port, context| port.bar_write(Bar::MsiX, 0x2000, &[0xFF; 8], context));
    assert_eq!(pending_bits(&mut world), 0);
}

#[test]
fn a_masked_queue_cause_outlives_the_message_of_another_cause_on_its_vector() {
    let mut world = linux_msix();
    world.set_at(Reg::IVAR, 1, 0x0000_0094);
    world.set(Reg::IVAR_MISC, 0x0000_9400);
    receive_event(&mut world, 2);
    world.set(Reg::EIMS, LSC);
    world.set(Reg::EICS, LSC);
    assert_eq!(world.signals(), [Signal::MsiX(20)]);
    world.set_at(Reg::EIMS_EX, 0, 1 << 20);
    assert_eq!(world.signals(), [Signal::MsiX(20)]);
}
