//! Timers as software sees them.

use ixgbe_spec::register::Reg;

use super::world::World;
use crate::bus::Signal;

const MS: u64 = 1_000_000;
const TCP_TIMER: u32 = 1 << 30;

#[test]
fn the_free_running_timer_counts_microseconds() {
    let mut world = World::enabled();
    let before = world.get(Reg::FRTIMER);
    world.pass_nanos(1_234_567);
    assert_eq!(world.get(Reg::FRTIMER).wrapping_sub(before), 1234);
}

#[test]
fn the_tcp_timer_interrupts_once_after_its_duration() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, TCP_TIMER);
    world.set(Reg::TCPTIMER, 0x300 | 5);
    assert_eq!(world.port.deadline(), Some(world.now.plus_nanos(5 * MS)));
    world.pass_nanos(5 * MS - 1);
    world.step();
    assert_eq!(world.signals(), []);
    world.pass_nanos(1);
    world.step();
    assert_eq!(world.signals(), [Signal::IntxAssert]);
    assert_eq!(world.get(Reg::EICR), TCP_TIMER);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn with_loop_the_tcp_timer_starts_over() {
    let mut world = World::enabled();
    world.set(Reg::TCPTIMER, 0xB00 | 5);
    let start = world.now;
    world.pass_nanos(5 * MS);
    world.step();
    assert_eq!(world.port.deadline(), Some(start.plus_nanos(10 * MS)));
}

#[test]
fn a_stopped_tcp_timer_goes_on_where_it_was() {
    let mut world = World::enabled();
    world.set(Reg::TCPTIMER, 0x300 | 5);
    world.pass_nanos(2 * MS);
    world.set(Reg::TCPTIMER, 5);
    assert_eq!(world.port.deadline(), None);
    world.pass_nanos(100 * MS);
    world.set(Reg::TCPTIMER, 0x200 | 5);
    assert_eq!(world.port.deadline(), Some(world.now.plus_nanos(3 * MS)));
}

#[test]
fn system_time_grows_by_the_increment_in_each_tick_of_6_4_ns() {
    let mut world = World::enabled();
    world.set(Reg::SYSTIML, 0xFFFF_FFFF);
    world.set(Reg::SYSTIMH, 0);
    world.set(Reg::TIMINCA, 1 << 24 | 0x00CC_CCCC);
    world.pass_nanos(64);
    let low = world.get(Reg::SYSTIML);
    world.pass_nanos(1_000_000_000);
    // The high half is that of the moment when the low half was read.
    let high = world.get(Reg::SYSTIMH);
    let time = u64::from(high) << 32 | u64::from(low);
    assert_eq!(time, 0xFFFF_FFFF + 10 * 0x00CC_CCCC);
}
