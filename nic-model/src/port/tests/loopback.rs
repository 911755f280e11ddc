//! MAC loopback, as `ethtool -t` uses it.

use ixgbe_spec::register::Reg;

use super::world::World;
use crate::{
    rx::{DropReason, Verdict},
    testing::TestBus,
};

const RING: u64 = 512;
const FRAMES: u64 = 64;
const FRAME_LEN: usize = 1024;

const TX_RING: u64 = TestBus::BASE;
const RX_RING: u64 = TX_RING + 16 * RING;
const TX_BUFFER: u64 = RX_RING + 16 * RING;
const RX_BUFFERS: u64 = TX_BUFFER + 0x1000;
const RX_BUFFER_LEN: u64 = 2048;

/// The frame of the test: all ones, then 0xAA, and two marks.
fn frame() -> Vec<u8> {
    let mut frame = vec![0xFF; FRAME_LEN / 2];
    frame.resize(FRAME_LEN - 1, 0xAA);
    frame.push(0);
    frame[FRAME_LEN / 2 + 10] = 0xBE;
    frame[FRAME_LEN / 2 + 12] = 0xAF;
    frame
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xFFFF_FFFF).unwrap()
}

/// The port as the test sets it up: one ring of each kind, promiscuous enough, looped back, the link forced.
fn looped_back() -> World {
    let mut world = World::enabled();
    world.carrier(false);
    world.set(Reg::EICR, u32::MAX);
    world.set(Reg::DMATXCTL, 0x8100_0001);
    world.set(Reg::TDBAL, low(TX_RING));
    world.set(Reg::TDLEN, low(16 * RING));
    world.set(Reg::TXDCTL, 0x0200_0000);
    world.set(Reg::RDBAL, low(RX_RING));
    world.set(Reg::RDLEN, low(16 * RING));
    world.set(Reg::SRRCTL, 0x0200_0402);
    world.set(Reg::RXDCTL, 0x0200_0000);
    for n in 0..RING {
        let buffer = RX_BUFFERS + n * RX_BUFFER_LEN % 0x8_0000;
        world.bus.poke(RX_RING + 16 * n, &buffer.to_le_bytes());
        world.bus.poke(RX_RING + 16 * n + 8, &[0; 8]);
    }
    world.set(Reg::RDT, low(RING - 1));
    world.set(Reg::RXCTRL, 0x3);
    let hlreg0 = world.get(Reg::HLREG0);
    world.set(Reg::HLREG0, hlreg0 | 1 << 15);
    world.set(Reg::FCTRL, 0x0000_0502);
    let autoc = world.get(Reg::AUTOC);
    world.set(Reg::AUTOC, autoc | 1);
    world.bus.poke(TX_BUFFER, &frame());
    world
}

/// Queues the frame in descriptor `n`: one data descriptor with EOP, IFCS and RS.
fn post(world: &World, n: u64) {
    const DATA: u64 = 0x3 << 20;
    const EOP_IFCS_RS: u64 = 0xB << 24;
    const DEXT: u64 = 1 << 29;
    let len = FRAME_LEN as u64;
    let control = len << 46 | DEXT | EOP_IFCS_RS | DATA | len;
    world
        .bus
        .poke(TX_RING + 16 * (n % RING), &TX_BUFFER.to_le_bytes());
    world
        .bus
        .poke(TX_RING + 16 * (n % RING) + 8, &control.to_le_bytes());
}

fn word(world: &World, iova: u64) -> u64 {
    u64::from_le_bytes(world.bus.peek(iova, 8).try_into().unwrap())
}

#[test]
fn the_loopback_test_of_linux_passes() {
    let mut world = looped_back();
    assert!(world.port.link_is_up());
    let mut next = 0;
    for _round in 0..18 {
        for n in next..next + FRAMES {
            post(&world, n);
        }
        world.set(Reg::TDT, low((next + FRAMES) % RING));
        while world.step() {}
        for n in next..next + FRAMES {
            let sent = word(&world, TX_RING + 16 * (n % RING) + 8);
            assert_eq!(sent >> 32 & 1, 1, "DD of transmit descriptor {n}");
            let slot = RX_RING + 16 * (n % RING);
            let received = word(&world, slot + 8);
            assert_eq!(received & 0x3, 0x3, "DD and EOP of receive descriptor {n}");
            assert_eq!(received >> 32 & 0xFFFF, FRAME_LEN as u64);
            let buffer = RX_BUFFERS + (n % RING) * RX_BUFFER_LEN % 0x8_0000;
            assert_eq!(world.bus.peek(buffer, FRAME_LEN), frame());
            world.bus.poke(slot, &buffer.to_le_bytes());
            world.bus.poke(slot + 8, &[0; 8]);
        }
        next += FRAMES;
        world.set(Reg::RDT, low((next + RING - 1) % RING));
    }
    assert!(world.wire.frames.is_empty(), "nothing on the wire");
    assert_eq!(world.get(Reg::GPTC), 18 * 64);
    assert_eq!(world.get(Reg::GPRC), 18 * 64);
}

#[test]
fn frames_of_the_wire_stay_out_of_a_looped_back_port() {
    let mut world = looped_back();
    assert_eq!(
        world.receive(&frame()),
        Verdict::Dropped(DropReason::Disabled)
    );
}

#[test]
fn one_step_does_a_bounded_amount_of_work() {
    let mut world = looped_back();
    for n in 0..RING - 1 {
        post(&world, n);
    }
    world.set(Reg::TDT, low(RING - 1));
    assert!(world.step());
    assert!(world.get(Reg::TDH) <= 128);
}

#[test]
fn frames_sent_without_a_link_are_lost() {
    let mut world = looped_back();
    let (autoc, hlreg0) = (world.get(Reg::AUTOC), world.get(Reg::HLREG0));
    world.set(Reg::AUTOC, autoc & !1);
    world.set(Reg::HLREG0, hlreg0 & !(1 << 15));
    post(&world, 0);
    world.set(Reg::TDT, 1);
    while world.step() {}
    assert_eq!(world.get(Reg::TDH), 1);
    assert!(world.wire.frames.is_empty());

    world.carrier(true);
    world.train();
    post(&world, 1);
    world.set(Reg::TDT, 2);
    while world.step() {}
    assert_eq!(world.wire.frames, [frame()]);
}

#[test]
fn without_bus_mastering_rings_stand_still_until_it_is_back() {
    let mut world = looped_back();
    post(&world, 0);
    world.config_write16(0x04, 0x0002);
    world.set(Reg::TDT, 1);
    while world.step() {}
    assert_eq!(world.get(Reg::TDH), 0);
    world.config_write16(0x04, 0x0006);
    while world.step() {}
    assert_eq!(world.get(Reg::TDH), 1);
}
