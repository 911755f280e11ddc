//! Descriptors that wait to be written back, and the interrupt that comes with them.

use ixgbe_spec::register::Reg;

use super::world::World;
use crate::{bus::Signal, testing::TestBus};

const RING: u64 = TestBus::BASE;
const BUFFER: u64 = RING + 0x1000;
const ENABLE: u32 = 1 << 25;
/// 20 000 interrupts a second, as Linux writes it: 25 intervals of 2.048 us.
const EITR_20K: u32 = 200 | 1 << 31;
const INTERVAL: u64 = 25 * 2048;
const DD: u8 = 1;

/// The first transmit queue as Linux sets it up: prefetch of 32, host threshold of 1, write-back of 8, on vector 0.
fn as_linux() -> World {
    let mut world = World::msix();
    world.set(Reg::GPIE, 0xC000_0036);
    world.set(Reg::IVAR, 0x8000);
    world.set(Reg::EITR, EITR_20K);
    world.set_at(Reg::EIMS_EX, 0, 1);
    world.set(Reg::DMATXCTL, 0x8100_0001);
    world.set(Reg::TDBAL, u32::try_from(RING).unwrap());
    world.set(Reg::TDLEN, 16 * 64);
    world.set(Reg::TXDCTL, ENABLE | 8 << 16 | 1 << 8 | 32);
    world
}

/// Sends the frame number `nth`.
fn send(world: &mut World, nth: u32) {
    // An advanced data descriptor of 60 bytes with EOP, IFCS and RS.
    let place = RING + 16 * u64::from(nth);
    world.bus.poke(place, &BUFFER.to_le_bytes());
    let control = 60_u64 | 3 << 20 | 0x2B << 24 | 60 << 46;
    world.bus.poke(place + 8, &control.to_le_bytes());
    world.set(Reg::TDT, nth + 1);
    while world.step() {}
}

fn is_done(world: &World, nth: u64) -> bool {
    world.bus.peek(RING + 16 * nth + 12, 1)[0] & DD != 0
}

#[test]
fn a_single_packet_is_done_and_interrupts_at_the_end_of_an_interval() {
    let mut world = as_linux();
    let sent = world.now;
    send(&mut world, 0);
    let deadline = world.port.deadline();
    world.pass_nanos(INTERVAL - 1);
    world.step();
    let before = (is_done(&world, 0), world.signals());

    world.pass_nanos(1);
    world.step();

    assert_eq!(world.wire.frames.len(), 1);
    assert_eq!(deadline, Some(sent.plus_nanos(INTERVAL)));
    assert_eq!(before, (false, vec![]));
    assert!(is_done(&world, 0));
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn eight_packets_are_done_and_interrupt_at_once() {
    let mut world = as_linux();

    for nth in 0..8 {
        send(&mut world, nth);
    }

    assert!((0..8).all(|nth| is_done(&world, nth)));
    assert_eq!(world.signals(), [Signal::MsiX(0)]);
}

#[test]
fn an_interval_that_already_runs_ends_the_wait() {
    let mut world = as_linux();
    // The counter begins at 16 of 25 units.
    world.set(Reg::EITR, 200 | 4 << 21);
    let begun = world.now;
    world.pass_nanos(2048);

    send(&mut world, 0);

    assert_eq!(world.port.deadline(), Some(begun.plus_nanos(16 * 2048)));
}

#[test]
fn who_is_no_bus_master_writes_back_when_he_is_again() {
    let mut world = as_linux();
    send(&mut world, 0);
    world.config_write16(0x04, 0x0002);
    world.pass_nanos(INTERVAL);
    world.step();
    let meanwhile = (is_done(&world, 0), world.port.deadline());

    world.config_write16(0x04, 0x0006);
    world.step();

    assert_eq!(meanwhile, (false, None));
    assert!(is_done(&world, 0));
}

#[test]
fn a_stop_of_the_security_engine_does_not_keep_what_is_done() {
    let mut world = as_linux();
    send(&mut world, 0);
    let sectxctrl = world.get(Reg::SECTXCTRL);
    world.set(Reg::SECTXCTRL, sectxctrl | 1 << 1);

    world.pass_nanos(INTERVAL);
    world.step();

    assert!(is_done(&world, 0));
}
