//! Ports that are saved, and restored, while faults are on.

use std::time::Duration;

use ixgbe_spec::register::Reg;

use super::{
    super::{Fault, FaultKind, FaultState},
    MILLISECOND, RST, fault, lasting, nth, only, running,
};
use crate::{Module, observe::Direction, port::tests::world::World, state::State};

/// What another server makes of the file.
fn moved(world: &World) -> World {
    let mut other = World::cold();
    other.now = world.now;
    let file = world.port.save(world.now).to_bytes();
    let state = State::from_bytes(&file).unwrap();
    other.port.restore(state, other.now).unwrap();
    for page in 0..256 {
        let place = crate::testing::TestBus::BASE + 4096 * page;
        other.bus.poke(place, &world.bus.peek(place, 4096));
    }
    other
}

#[test]
fn a_restored_port_has_no_faults_and_its_stuck_queue_runs() {
    let mut world = running();
    world.fault(fault(FaultKind::TransmitStuck));
    world.send(0);

    let mut other = moved(&world);
    while other.step() {}

    assert_eq!(world.sent(), [0_u8; 0]);
    assert_eq!(other.sent(), [0]);
    assert_eq!(other.port.fault_reports(), []);
}

#[test]
fn a_slow_reset_is_done_where_the_port_is_restored() {
    let mut world = running();
    world.fault(nth(FaultKind::ResetSlow, 1));
    world.set(Reg::CTRL, RST);

    let mut other = moved(&world);

    assert_eq!(world.get(Reg::CTRL) & RST, RST);
    assert_eq!(other.get(Reg::CTRL) & RST, 0);
    assert_eq!(other.port.deadline(), None);
}

#[test]
fn what_faults_keep_back_is_not_saved() {
    let mut world = running();
    world.fault_of(
        1,
        Fault {
            target: only(Direction::Receive),
            ..fault(FaultKind::WriteBackLate)
        },
    );
    world.fault_of(2, fault(FaultKind::InterruptLate));
    world.arrive(0);

    let mut other = moved(&world);
    other.pass(10 * MILLISECOND);
    world.pass(10 * MILLISECOND);

    assert!(world.rx_done(0));
    assert_eq!(world.signals().len(), 1);
    assert!(!other.rx_done(0));
    assert_eq!(other.signals(), []);
}

#[test]
fn a_module_that_is_drawn_and_an_nvm_that_is_corrupt_are_saved_as_they_are() {
    let mut world = running();
    world.fault_of(1, fault(FaultKind::ModulePulled));
    world.fault_of(2, fault(FaultKind::NvmCorrupt));

    let other = moved(&world);

    assert_eq!(other.port.module(), Module::Absent);
    assert!(!other.port.nvm().image().checksum_is_right());
}

#[test]
fn a_port_that_becomes_another_keeps_its_faults_and_nothing_of_what_they_did() {
    let mut world = running();
    let saved = world.port.save(world.now);
    world.fault_of(
        1,
        Fault {
            target: only(Direction::Receive),
            ..nth(FaultKind::UnmappedPage, 1)
        },
    );
    world.arrive(0);
    let refused = world.port.faults().buffer_dma + world.port.faults().ring_dma;
    world.fault_of(2, fault(FaultKind::NvmCorrupt));
    world.fault_of(3, fault(FaultKind::ModulePulled));

    world.port.restore(saved, world.now).unwrap();
    world.train();
    world.arrive(0);
    let works = (
        world.port.nvm().image().checksum_is_right(),
        world.port.module(),
        world.rx_done(0),
    );
    let cleared = world.clear_faults();

    assert_eq!(refused, 1);
    assert_eq!(works, (true, Module::Sr, true));
    assert_eq!(cleared, 3);
    assert_eq!(world.port.module(), Module::Sr);
    assert!(world.port.nvm().image().checksum_is_right());
}

#[test]
fn the_time_of_a_fault_goes_on_when_its_port_becomes_another() {
    let mut world = running();
    let saved = world.port.save(world.now);
    world.fault(lasting(FaultKind::ModulePulled, Duration::from_secs(1)));

    world.port.restore(saved, world.now).unwrap();
    world.pass(Duration::from_secs(1));

    assert_eq!(world.port.fault_reports()[0].state, FaultState::Over);
    assert_eq!(world.port.module(), Module::Sr);
}
