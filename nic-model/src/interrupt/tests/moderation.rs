//! EITR in model time.

use ixgbe_spec::register::Reg;

use super::{LSC, linux_msix, low_latency_event, receive_event};
use crate::{bus::Signal, port::tests::world::World};

const CNT_WDIS: u32 = 1 << 31;
const LLI_MOD: u32 = 1 << 15;
/// 20 000 interrupts a second, as Linux writes it: 25 intervals of 2.048 us.
const EITR_20K: u32 = 200 | CNT_WDIS;
const INTERVAL: u64 = 25 * 2048;

/// Vector 1 with an interval, its first interrupt just sent and enabled again.
fn just_fired() -> World {
    let mut world = linux_msix();
    world.set_at(Reg::EITR, 1, EITR_20K);
    world.set_at(Reg::EIMS_EX, 0, 0x7);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    world
}

#[test]
fn the_first_interrupt_comes_at_once_and_the_next_after_the_interval() {
    let mut world = just_fired();
    let fired = world.now;
    world.pass_nanos(1_000);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), []);
    assert_eq!(world.port.deadline(), Some(fired.plus_nanos(INTERVAL)));

    world.pass_nanos(INTERVAL - 1_001);
    world.step();
    assert_eq!(world.signals(), []);
    world.pass_nanos(1);
    world.step();
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn causes_within_the_interval_are_one_interrupt() {
    let mut world = just_fired();
    receive_event(&mut world, 1);
    receive_event(&mut world, 1);
    world.pass_nanos(INTERVAL);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn a_cause_after_the_interval_interrupts_at_once() {
    let mut world = just_fired();
    world.pass_nanos(INTERVAL);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn a_deferred_interrupt_that_was_masked_does_not_come() {
    let mut world = just_fired();
    receive_event(&mut world, 1);
    world.set_at(Reg::EIMC_EX, 0, 0x2);
    assert_eq!(world.port.deadline(), None);
    world.pass_nanos(INTERVAL);
    world.step();
    assert_eq!(world.signals(), []);
}

#[test]
fn vectors_are_moderated_apart() {
    let mut world = just_fired();
    receive_event(&mut world, 0);
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn a_new_interval_counts_from_the_next_interrupt_if_cnt_wdis_is_set() {
    let mut world = just_fired();
    let fired = world.now;
    world.set_at(Reg::EITR, 1, 400 | CNT_WDIS);
    receive_event(&mut world, 1);
    assert_eq!(world.port.deadline(), Some(fired.plus_nanos(INTERVAL)));
    world.pass_nanos(INTERVAL);
    world.step();
    let fired = world.now;
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    receive_event(&mut world, 1);
    assert_eq!(world.port.deadline(), Some(fired.plus_nanos(2 * INTERVAL)));
}

#[test]
fn without_cnt_wdis_the_counter_is_replaced() {
    let mut world = just_fired();
    receive_event(&mut world, 1);
    world.signals();
    // 3 in the counter's 7 most significant bits of 9: 12 intervals of 2.048 us.
    world.set_at(Reg::EITR, 1, 200 | 3 << 21);
    assert_eq!(world.port.deadline(), Some(world.now.plus_nanos(12 * 2048)));
    world.set_at(Reg::EITR, 1, 200);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn interval_zero_is_no_moderation() {
    let mut world = just_fired();
    world.set_at(Reg::EITR, 1, CNT_WDIS);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn eitr_reads_interval_and_running_counter_and_never_cnt_wdis() {
    let mut world = just_fired();
    assert_eq!(world.get_at(Reg::EITR, 1), 200 | (25 >> 2) << 21);
    world.pass_nanos(INTERVAL);
    assert_eq!(world.get_at(Reg::EITR, 1), 200);
    world.set_at(Reg::EITR, 128, u32::MAX);
    assert_eq!(world.get_at(Reg::EITR, 128), 0x0000_8FF8);
}

#[test]
fn a_low_latency_interrupt_is_not_moderated_unless_eitr_says_so() {
    let mut world = just_fired();
    low_latency_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);

    world.set_at(Reg::EIMS_EX, 0, 0x2);
    world.set(Reg::GPIE, super::GPIE_LINUX_MSIX | 1 << 7);
    world.set_at(Reg::EITR, 1, EITR_20K | LLI_MOD);
    low_latency_event(&mut world, 1);
    assert_eq!(world.signals(), []);
}

/// Vector 1 has just fired; a further credit comes every 12 us, and it has `credits` for a start.
fn with_credits(credits: u32) -> World {
    let mut world = just_fired();
    world.set(Reg::GPIE, super::GPIE_LINUX_MSIX | 3 << 7);
    // 25 units of 2.048 us, and the counter, rounded, as it is.
    world.set_at(Reg::EITR, 1, 200 | LLI_MOD | credits << 16 | 6 << 21);
    world
}

/// A low latency interrupt, which the driver serves in no time if it comes.
fn urgent(world: &mut World) -> bool {
    low_latency_event(world, 1);
    let came = world.signals() == [Signal::MsiX(1)];
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    came
}

#[test]
fn a_moderated_low_latency_interrupt_costs_a_credit() {
    let mut world = with_credits(2);
    assert_eq!(world.get_at(Reg::EITR, 1) >> 16 & 0x1F, 2);

    assert!(urgent(&mut world));
    assert_eq!(world.get_at(Reg::EITR, 1) >> 16 & 0x1F, 1);
    assert!(urgent(&mut world));
    assert_eq!(world.get_at(Reg::EITR, 1) >> 16 & 0x1F, 0);
    assert!(!urgent(&mut world));
}

#[test]
fn without_a_credit_a_low_latency_interrupt_comes_with_the_next() {
    let mut world = with_credits(0);
    let start = world.now;
    assert!(!urgent(&mut world));

    assert_eq!(world.port.deadline(), Some(start.plus_nanos(12_000)));
    world.pass_nanos(11_999);
    world.step();
    assert_eq!(world.signals(), []);
    world.pass_nanos(1);
    world.step();
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    assert_eq!(world.get_at(Reg::EITR, 1) >> 16 & 0x1F, 0);
}

#[test]
fn without_a_credit_a_low_latency_interrupt_comes_at_the_end_of_the_interval_if_that_is_sooner() {
    let mut world = just_fired();
    world.set(Reg::GPIE, super::GPIE_LINUX_MSIX | 15 << 7);
    world.set_at(Reg::EITR, 1, 200 | LLI_MOD | 1 << 21);
    let start = world.now;

    assert!(!urgent(&mut world));

    assert_eq!(world.port.deadline(), Some(start.plus_nanos(4 * 2048)));
}

#[test]
fn credits_are_saved_up_to_31_and_each_comes_when_its_interval_is_over() {
    let mut world = with_credits(0);
    let credits = |world: &mut World| world.get_at(Reg::EITR, 1) >> 16 & 0x1F;
    world.pass_nanos(12_000 * 5 - 1);
    assert_eq!(credits(&mut world), 4);
    world.pass_nanos(1);
    assert_eq!(credits(&mut world), 5);
    world.pass_nanos(12_000 * 100 + 7);
    assert_eq!(credits(&mut world), 31);
}

#[test]
fn an_interrupt_at_the_end_of_its_interval_costs_no_credit() {
    let mut world = with_credits(1);
    world.set(Reg::GPIE, super::GPIE_LINUX_MSIX | 15 << 7);
    world.pass_nanos(25 * 2048);
    world.set_at(Reg::EITR, 1, 200 | LLI_MOD | 1 << 16);

    assert!(urgent(&mut world));

    assert_eq!(world.get_at(Reg::EITR, 1) >> 16 & 0x1F, 1);
}

#[test]
fn credits_stay_when_the_counters_are_not_written() {
    let mut world = with_credits(7);
    world.set_at(Reg::EITR, 1, EITR_20K | LLI_MOD);
    assert_eq!(world.get_at(Reg::EITR, 1) >> 16 & 0x1F, 7);
}

#[test]
fn in_a_burst_low_latency_interrupts_keep_to_their_rate() {
    let mut world = with_credits(0);
    let mut came = 0;
    for _ in 0..1_000 {
        world.pass_nanos(1_000);
        low_latency_event(&mut world, 1);
        came += world.signals().len();
        world.set_at(Reg::EIMS_EX, 0, 0x2);
        came += world.signals().len();
    }
    // A millisecond has 83 intervals of 12 us.
    assert_eq!(came, 83);
}

#[test]
fn eimen_lets_software_interrupt_at_once() {
    let mut world = just_fired();
    world.set_at(Reg::EICS_EX, 0, 0x2);
    assert_eq!(world.signals(), []);
    world.set(Reg::GPIE, 0xC000_0076);
    world.set_at(Reg::EICS_EX, 0, 0x2);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn a_driver_that_was_slow_is_left_alone_for_twice_as_long() {
    let mut world = linux_msix();
    world.set_at(Reg::EITR, 1, EITR_20K);
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    receive_event(&mut world, 1);
    let took = INTERVAL - 1000;
    world.pass_nanos(took);

    world.set_at(Reg::EIMS_EX, 0, 0x2);

    let rest = world.now.plus_nanos(2 * took);
    assert_eq!(world.signals(), []);
    assert_eq!(world.port.deadline(), Some(rest));
    world.pass_nanos(2 * took);
    world.step();
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn a_slow_driver_is_left_alone_for_twice_the_interval_at_most() {
    let mut world = linux_msix();
    world.set_at(Reg::EITR, 1, EITR_20K);
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    receive_event(&mut world, 1);
    receive_event(&mut world, 1);
    world.pass_nanos(1_000 * INTERVAL);

    world.set_at(Reg::EIMS_EX, 0, 0x2);

    let rest = world.now.plus_nanos(2 * INTERVAL);
    assert_eq!(world.port.deadline(), Some(rest));
}

#[test]
fn a_slow_driver_without_moderation_is_interrupted_at_once() {
    let mut world = linux_msix();
    world.set_at(Reg::EIMS_EX, 0, 0x2);
    receive_event(&mut world, 1);
    receive_event(&mut world, 1);
    assert_eq!(world.signals(), [Signal::MsiX(1)]);
    world.pass_nanos(INTERVAL);

    world.set_at(Reg::EIMS_EX, 0, 0x2);

    assert_eq!(world.signals(), [Signal::MsiX(1)]);
}

#[test]
fn intx_is_moderated_by_the_first_register() {
    let mut world = World::enabled();
    world.set(Reg::EITR, EITR_20K);
    world.set(Reg::EIMS, LSC | 0x8);
    world.set(Reg::EICS, 0x8);
    world.get(Reg::EICR);
    assert_eq!(world.signals(), [Signal::IntxAssert, Signal::IntxDeassert]);
    world.set(Reg::EICS, LSC);
    assert_eq!(world.signals(), []);
    world.pass_nanos(INTERVAL);
    world.step();
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}
