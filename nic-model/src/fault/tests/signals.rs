//! Interrupts that get lost, come late, or come for nothing.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ixgbe_spec::register::Reg;

use super::{
    super::{Fault, FaultKind, Target, Trigger},
    MILLISECOND, RX_VECTOR, fault, nth, running,
};
use crate::{
    HardwareError, Time,
    bus::Signal,
    observe::{Direction, Event, Observer},
    port::tests::world::World,
};

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

/// What one transmit queue's interrupts are.
fn of_transmit() -> Fault {
    Fault {
        target: Target {
            queue: Some(0),
            direction: Some(Direction::Transmit),
            vector: None,
        },
        ..fault(FaultKind::InterruptLost)
    }
}

/// As [`running`], with one signal for all causes of the queues: receive is cause 3, transmit cause 4.
fn with_one_signal() -> World {
    let mut world = running();
    world.set(Reg::GPIE, 0);
    world.set(Reg::EIAC, 0);
    world.set(Reg::EIMS, 0b11000);
    world
}

#[test]
fn where_msi_x_has_one_vector_its_causes_tell_whose_interrupt_it_is() {
    let mut world = with_one_signal();
    world.fault(of_transmit());

    world.arrive(0);
    let received = world.signals();
    world.get(Reg::EICR);
    world.send(0);
    let sent = world.signals();
    world.get(Reg::EICR);
    world.arrive(1);

    assert_eq!((received, sent), (vec![Signal::MsiX(0)], vec![]));
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
    assert_eq!(world.fired(), 1);
}

#[test]
fn the_causes_of_a_message_by_msi_tell_whose_interrupt_it_is() {
    let mut world = with_one_signal();
    world.config_write16(0x72, 0);
    world.config_write16(0x52, 1);
    world.signals();
    world.fault(of_transmit());

    world.arrive(0);
    let received = world.signals();
    world.get(Reg::EICR);
    world.send(0);

    assert_eq!(received, [Signal::Msi]);
    assert_eq!(world.signals(), []);
    assert_eq!(world.fired(), 1);
}

#[test]
fn the_causes_of_the_pin_tell_whose_interrupt_it_is() {
    let mut world = with_one_signal();
    world.config_write16(0x72, 0);
    world.signals();
    world.fault(of_transmit());

    world.arrive(0);
    let received = world.signals();
    world.get(Reg::EICR);
    let read = world.signals();
    world.send(0);

    assert_eq!(received, [Signal::IntxAssert]);
    assert_eq!(read, [Signal::IntxDeassert]);
    assert_eq!(world.signals(), []);
    assert_eq!(world.fired(), 1);
}

#[test]
fn a_fault_of_a_vector_is_never_one_of_msi() {
    let mut world = with_one_signal();
    world.config_write16(0x72, 0);
    world.config_write16(0x52, 1);
    world.signals();
    let target = Target {
        vector: Some(0),
        ..Target::default()
    };
    world.fault(Fault {
        target,
        ..fault(FaultKind::InterruptLost)
    });

    world.arrive(0);

    assert_eq!(world.signals(), [Signal::Msi]);
    assert_eq!(world.port.fault_reports()[0].seen, 0);
}

/// Writes down the interrupts that it is told of, and when.
#[derive(Clone, Default)]
struct Interrupts(Arc<Mutex<Vec<(Time, Signal)>>>);

impl Observer for Interrupts {
    fn see(&mut self, now: Time, event: &Event<'_>) {
        if let Event::Interrupt { signal, .. } = event {
            self.0.lock().unwrap().push((now, *signal));
        }
    }
}

impl Interrupts {
    fn of(world: &mut World) -> Self {
        let interrupts = Self::default();
        world.port.observe(Box::new(interrupts.clone()));
        interrupts
    }

    fn take(&self) -> Vec<(Time, Signal)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn observers_see_a_late_interrupt_when_it_comes_and_a_lost_one_never() {
    let mut world = running();
    let seen = Interrupts::of(&mut world);
    world.fault(nth(FaultKind::InterruptLate, 1));

    world.arrive(0);
    let at_once = seen.take();
    world.pass(10 * MILLISECOND);
    let late = seen.take();
    world.clear_faults();
    world.fault(nth(FaultKind::InterruptLost, 1));
    world.arrive(1);

    assert_eq!(at_once, []);
    assert_eq!(late, [(world.now, Signal::MsiX(3))]);
    assert_eq!(seen.take(), []);
}

#[test]
fn observers_see_an_interrupt_without_a_cause() {
    let mut world = running();
    let seen = Interrupts::of(&mut world);

    world.fault(fault(FaultKind::InterruptSpurious));

    assert_eq!(seen.take(), [(world.now, Signal::MsiX(0))]);
}

#[test]
fn more_interrupts_than_can_be_kept_back_go_out_at_once() {
    let mut world = running();
    world.fault(fault(FaultKind::InterruptLate));

    let signals = (0..5000).map(|_| {
        world.set(Reg::EICS_EX, 1 << 3);
        world.signals().len()
    });
    let at_once: usize = signals.sum();
    world.pass(10 * MILLISECOND);

    assert_eq!(at_once, 904);
    assert_eq!(world.signals().len(), 4096);
    assert_eq!(world.fired(), 4096);
}
