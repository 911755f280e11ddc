//! Receive and what surrounds it: interrupts, and transmit under flow control.

use ixgbe_spec::register::Reg;

use super::world::{MAC, World};
use crate::{bus::Signal, rx::Verdict, testing::TestBus};

const RING: u32 = 0x1_0000;
const BUFFERS: u64 = 0x2_0000;
const TX_RING: u32 = 0x3_0000;

impl World {
    /// A ring of 128 advanced descriptors, `posted` of them the driver's, and vector 3 for it, moderated.
    fn receiving(posted: u32, srrctl: u32) -> Self {
        let mut world = Self::msix();
        for n in 0..128 {
            let buffer = BUFFERS + 512 * n;
            world
                .bus
                .poke(TestBus::BASE + 16 * n, &buffer.to_le_bytes());
        }
        world.set(Reg::GPIE, 1 << 4);
        world.set(Reg::IVAR, 0x83);
        world.set_at(Reg::EITR, 3, 0xFF8);
        world.set(Reg::EIAC, 1 << 3);
        world.set(Reg::EIMS_EX, 1 << 3);
        world.set(Reg::RDBAL, RING);
        world.set(Reg::RDLEN, 2048);
        world.set(Reg::SRRCTL, 1 << 25 | 2 | srrctl);
        world.set(Reg::RXDCTL, 1 << 25);
        world.set(Reg::RDT, posted);
        world.set(Reg::RXCTRL, 1);
        world
    }
}

/// As [`World::receiving`], and the queue coalesces.
fn coalescing() -> World {
    // BSIZEHEADER: 256 bytes.
    let mut world = World::receiving(100, 4 << 8);
    world.set(Reg::RDRXCTL, 1 << 25);
    world.set(Reg::RSCCTL, 1 | 3 << 2);
    world
}

/// A TCP segment that may be coalesced.
fn segment() -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], MAC)
        .ipv4([1, 2, 3, 4], [5, 6, 7, 8], 64)
        .tcp(80, 1024, 1, 1000)
        .ack(1)
        .write(&mut frame, &[7; 100])
        .unwrap();
    frame
}

/// Whether descriptor `n` is done.
fn is_done(world: &World, n: u64) -> bool {
    world.bus.peek(TestBus::BASE + 16 * n + 8, 1)[0] & 1 != 0
}

#[test]
fn a_large_receive_interrupts_when_the_interval_of_its_vector_is_over() {
    let mut world = coalescing();

    world.receive(&segment());
    assert_eq!(world.signals(), []);
    let deadline = world.port.deadline();
    // EITR: 511 units of 2.048 µs.
    assert_eq!(deadline, Some(world.now.plus_nanos(511 * 2048)));
    world.pass_nanos(511 * 2048);
    world.step();

    assert!(is_done(&world, 0));
    assert_eq!(world.signals(), VECTOR_3);
}

#[test]
fn a_large_receive_ends_before_its_vector_signals_for_another_reason() {
    let mut world = coalescing();

    world.receive(&segment());
    assert!(!is_done(&world, 0));
    world.receive(&frame(0x88B5));

    assert!(is_done(&world, 0));
    assert_eq!(world.signals(), VECTOR_3);
}

#[test]
fn a_large_receive_goes_on_while_its_vector_is_moderated() {
    let mut world = coalescing();
    world.receive(&frame(0x88B5));
    world.pass_nanos(2048);

    world.receive(&segment());
    world.receive(&frame(0x88B5));
    assert!(!is_done(&world, 1));
    world.pass_nanos(510 * 2048);
    world.step();

    assert!(is_done(&world, 1));
    assert_eq!(world.signals(), [VECTOR_3, VECTOR_3].concat());
}

#[test]
fn the_pin_ends_all_large_receives() {
    let mut world = coalescing();
    world.config_write16(0x72, 0);
    world.set(Reg::GPIE, 0);
    world.set(Reg::EIMS, 1 << 3 | 1 << 20);
    world.set(Reg::EITR, 0xFF8);

    world.receive(&segment());
    assert!(!is_done(&world, 0));
    world.set(Reg::EICS, 1 << 20);

    assert!(is_done(&world, 0));
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}

#[test]
fn a_large_receive_waits_while_the_function_must_not_write() {
    let mut world = coalescing();
    world.receive(&segment());
    world.config_write16(0x04, 0x0002);

    world.pass_nanos(511 * 2048);
    world.step();
    assert!(!is_done(&world, 0));
    assert_eq!(world.port.deadline(), None);
    world.config_write16(0x04, 0x0006);
    world.step();

    assert!(is_done(&world, 0));
}

fn frame(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&MAC);
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    frame
}

const VECTOR_3: [Signal; 1] = [Signal::MsiX(3)];

#[test]
fn a_second_frame_within_the_moderation_time_makes_no_second_interrupt() {
    let mut world = World::receiving(100, 0);

    world.receive(&frame(0x88B5));
    assert_eq!(world.signals(), VECTOR_3);
    world.receive(&frame(0x88B5));
    assert_eq!(world.signals(), []);
}

#[test]
fn a_frame_of_a_low_latency_filter_interrupts_at_once() {
    let mut world = World::receiving(100, 0);
    world.set(Reg::ETQF, 1 << 31 | 0x88B5);
    world.set(Reg::ETQS, 1 << 31 | 1 << 29);
    world.receive(&frame(0x88B6));
    world.signals();

    world.receive(&frame(0x88B5));

    assert_eq!(world.signals(), VECTOR_3);
}

#[test]
fn the_frame_that_takes_the_descriptors_below_rdmts_interrupts_at_once() {
    let mut world = World::receiving(66, 1 << 22);
    world.receive(&frame(0x88B5));
    world.signals();

    world.receive(&frame(0x88B5));
    assert_eq!(world.signals(), [], "64 are left");
    world.receive(&frame(0x88B5));
    assert_eq!(world.signals(), VECTOR_3, "63 are left");
    world.receive(&frame(0x88B5));
    assert_eq!(world.signals(), [], "told already");
}

#[test]
fn a_pause_frame_silences_transmit_for_its_time() {
    let mut world = World::receiving(100, 0);
    world.set(Reg::MFLCN, 1 << 3 | 1 << 1);
    let descriptor = [BUFFERS.to_le_bytes(), (60 | 0x0B00_0000_u64).to_le_bytes()].concat();
    world.bus.poke(TX_RING.into(), &descriptor);
    world.set(Reg::TDBAL, TX_RING);
    world.set(Reg::TDLEN, 128);
    world.set(Reg::DMATXCTL, 1);
    world.set(Reg::TXDCTL, 1 << 25);
    let mut pause = frame(0x8808);
    pause[..6].copy_from_slice(&[1, 0x80, 0xC2, 0, 0, 1]);
    pause[14..18].copy_from_slice(&[0, 1, 0, 100]);
    let start = world.now;

    let verdict = world.receive(&pause);
    world.set(Reg::TDT, 1);
    world.step();

    assert!(matches!(verdict, Verdict::Dropped(_)));
    assert_eq!(world.wire.frames.len(), 0);
    assert_eq!(world.port.deadline(), Some(start.plus_nanos(5120)));
    world.pass_nanos(5120);
    world.step();
    assert_eq!(world.wire.frames.len(), 1);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn a_pause_frame_of_time_zero_ends_the_silence() {
    let mut world = World::receiving(100, 0);
    world.set(Reg::MFLCN, 1 << 3 | 1 << 1);
    let mut pause = frame(0x8808);
    pause[..6].copy_from_slice(&[1, 0x80, 0xC2, 0, 0, 1]);
    pause[14..18].copy_from_slice(&[0, 1, 0xFF, 0xFF]);
    world.receive(&pause);
    assert!(world.port.deadline().is_some());

    pause[16..18].fill(0);
    world.receive(&pause);
    world.step();

    assert_eq!(world.port.deadline(), None);
}
