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
