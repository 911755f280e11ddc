//! Interrupts that get lost, come late, or come for nothing.

use std::time::Duration;

use ixgbe_spec::register::Reg;

use super::{
    super::{Fault, FaultKind, Target, Trigger},
    MILLISECOND, RX_VECTOR, fault, nth, running,
};
use crate::{HardwareError, bus::Signal, observe::Direction, port::tests::world::World};

#[test]
fn a_lost_interrupt_is_a_message_that_never_goes_out() {
    let mut world = running();
    world.fault(nth(FaultKind::InterruptLost, 1));

    world.arrive(0);
    let first = world.signals();
    world.pass(Duration::from_secs(10));
    let later = world.signals();
    world.arrive(1);

    assert!(world.rx_done(0), "the frame itself is there");
    assert_eq!((first, later), (vec![], vec![]));
    assert_eq!(world.signals(), RX_VECTOR);
    assert_eq!(world.fired(), 1);
}

#[test]
fn only_the_interrupts_of_the_queue_that_is_meant_get_lost() {
    let mut world = running();
    let target = Target {
        queue: Some(0),
        direction: Some(Direction::Transmit),
        vector: None,
    };
    world.fault(Fault {
        target,
        ..fault(FaultKind::InterruptLost)
    });

    world.arrive(0);
    let received = world.signals();
    world.send(0);

    assert_eq!(received, RX_VECTOR);
    assert_eq!(world.signals(), []);
}

#[test]
fn a_late_interrupt_comes_after_its_delay() {
    let mut world = running();
    world.fault(nth(FaultKind::InterruptLate, 1));

    world.arrive(0);
    assert_eq!(
        world.port.deadline(),
        Some(world.now + Duration::from_millis(10))
    );
    world.pass(9 * MILLISECOND);
    assert_eq!(world.signals(), []);
    world.pass(MILLISECOND);

    assert_eq!(world.signals(), RX_VECTOR);
}

#[test]
fn spurious_interrupts_come_at_their_times_without_a_cause() {
    let mut world = running();
    let trigger = Trigger {
        count: Some(2),
        ..Trigger::always(1)
    };
    let target = Target {
        vector: Some(5),
        ..Target::default()
    };
    world.fault(Fault {
        trigger,
        target,
        every: Some(MILLISECOND),
        ..fault(FaultKind::InterruptSpurious)
    });

    let at_once = world.signals();
    world.pass(MILLISECOND);
    let second = world.signals();
    world.pass(MILLISECOND);

    assert_eq!(at_once, [Signal::MsiX(5)]);
    assert_eq!(second, [Signal::MsiX(5)]);
    assert_eq!(world.signals(), []);
    assert_eq!(world.get(Reg::EICR), 0);
}

#[test]
fn a_pin_whose_interrupt_is_lost_stays_inactive_until_the_next() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 1 << 28);
    world.fault(nth(FaultKind::InterruptLost, 1));
    let error = HardwareError::ReceiveEcc;

    world.call(|port, context| port.inject_error(error, context));
    let lost = world.signals();
    world.get(Reg::EICR);
    world.signals();
    world.call(|port, context| port.inject_error(error, context));

    assert_eq!(lost, []);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}

#[test]
fn the_same_seed_loses_the_same_interrupts() {
    let run = |seed| {
        let mut world = running();
        let trigger = Trigger {
            probability: 0.5,
            ..Trigger::always(seed)
        };
        world.fault(Fault {
            trigger,
            ..fault(FaultKind::InterruptLost)
        });
        let lost: Vec<_> = (0..50)
            .map(|n| {
                world.arrive(n);
                world.signals().is_empty()
            })
            .collect();
        lost
    };

    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
