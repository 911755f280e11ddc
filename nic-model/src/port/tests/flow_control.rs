//! PAUSE frames of the port's own, as the other end of the cable sees them.

use ixgbe_spec::register::Reg;

use crate::{Module, port::tests::world::World, testing::TestBus};

const RING: u64 = TestBus::BASE;
const BUFFERS: u64 = RING + 0x1000;
const ENABLE: u32 = 1 << 31;
const LINK: u32 = 1 << 3;
const PRIORITY: u32 = 1 << 4;

/// Queue 0 is enabled and has no descriptors, so that frames wait; class 0 says XOFF above 2 KB and XON below 1 KB.
fn waiting(kind: u32) -> World {
    let mut world = World::enabled();
    world.set(Reg::RDBAL, u32::try_from(RING).unwrap());
    world.set(Reg::RDLEN, 16 * 128);
    world.set(Reg::RXDCTL, 1 << 25);
    world.set(Reg::RXCTRL, 1);
    world.set(Reg::FCTRL, 1 << 10);
    world.set(Reg::FCRTH, ENABLE | 2048);
    world.set(Reg::FCRTL, ENABLE | 1024);
    // 3000 quanta, again when half of them are over.
    world.set(Reg::FCTTV, 3000);
    world.set(Reg::FCRTV, 1500);
    world.set(Reg::FCCFG, kind);
    world
}

/// Lets broadcasts of 1000 bytes arrive, and the port take notice.
fn arrive(world: &mut World, frames: usize) {
    let mut frame = vec![0xFF; 1000];
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    for _ in 0..frames {
        world.receive(&frame);
    }
    world.step();
}

/// The driver gives descriptors for so many frames.
fn supply(world: &mut World, descriptors: u32) {
    for n in 0..u64::from(descriptors) {
        let at = BUFFERS + 2048 * n;
        world.bus.poke(RING + 16 * n, &at.to_le_bytes());
    }
    world.set(Reg::RDT, descriptors);
    world.step();
}

/// Destination, source, and what follows, of the frames since the last call.
fn said(world: &mut World) -> Vec<Vec<u8>> {
    let frames = std::mem::take(&mut world.wire.frames);
    for frame in &frames {
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..6], [0x01, 0x80, 0xC2, 0, 0, 1]);
        assert_eq!(frame[6..12], super::world::MAC);
    }
    frames.iter().map(|frame| frame[12..20].to_vec()).collect()
}

/// 3000 quanta.
const XOFF: [u8; 8] = [0x88, 0x08, 0, 1, 0x0B, 0xB8, 0, 0];
const XON: [u8; 8] = [0x88, 0x08, 0, 1, 0, 0, 0, 0];

#[test]
fn a_full_buffer_says_xoff_once_and_xon_when_it_is_empty_again() {
    let mut world = waiting(LINK);
    arrive(&mut world, 2);
    assert_eq!(said(&mut world), Vec::<Vec<u8>>::new(), "2000 bytes");
    arrive(&mut world, 1);
    assert_eq!(said(&mut world), [XOFF]);
    arrive(&mut world, 1);
    assert_eq!(said(&mut world), Vec::<Vec<u8>>::new());
    supply(&mut world, 8);
    assert_eq!(said(&mut world), [XON]);
    assert_eq!((world.get(Reg::LXOFFTXC), world.get(Reg::LXONTXC)), (1, 1));
}

#[test]
fn the_counters_of_the_mac_include_pause_frames_and_those_of_dma_do_not() {
    let mut world = waiting(LINK);
    arrive(&mut world, 3);
    assert_eq!(world.get(Reg::GPTC), 1);
    assert_eq!(world.get(Reg::GOTCL), 64);
    assert_eq!((world.get(Reg::PTC64), world.get(Reg::MPTC)), (1, 1));
    assert_eq!((world.get(Reg::TXDGPC), world.get(Reg::QPTC)), (0, 0));
}

#[test]
fn xoff_is_said_again_before_its_time_is_over() {
    let mut world = waiting(LINK);
    arrive(&mut world, 3);
    said(&mut world);
    let due = world.port.deadline().unwrap();
    // 1500 times 512 bits at 10 Gbit/s.
    assert_eq!(due.since(world.now).as_nanos(), 76_800);
    world.pass_nanos(76_799);
    world.step();
    assert_eq!(said(&mut world), Vec::<Vec<u8>>::new());
    world.pass_nanos(1);
    world.step();
    assert_eq!(said(&mut world), [XOFF]);
    assert_eq!(world.get(Reg::LXOFFTXC), 2);
}

#[test]
fn no_more_than_65535_pauses_are_counted() {
    let mut world = waiting(LINK);
    arrive(&mut world, 3);
    for _ in 0..0x1_0000 {
        world.pass_nanos(76_800);
        world.step();
    }
    assert_eq!(said(&mut world).len(), 0x1_0001);
    assert_eq!(world.get(Reg::LXOFFTXC), 0xFFFF);
    assert_eq!(world.get(Reg::GPTC), 0x1_0001);
}

#[test]
fn at_1_gigabit_the_quanta_are_ten_times_as_long() {
    let mut world = waiting(LINK);
    world.plug(Module::Sx);
    let autoc = world.get(Reg::AUTOC) & !(7 << 13);
    world.set(Reg::AUTOC, autoc | 2 << 13);
    world.train();
    arrive(&mut world, 3);
    let due = world.port.deadline().unwrap();
    assert_eq!(due.since(world.now).as_nanos(), 768_000);
}

#[test]
fn without_the_enable_bits_nothing_is_said() {
    let mut world = waiting(0);
    arrive(&mut world, 3);
    assert_eq!(said(&mut world), Vec::<Vec<u8>>::new(), "FCCFG");
    world.set(Reg::FCRTH, 2048);
    world.set(Reg::FCCFG, LINK);
    world.step();
    assert_eq!(said(&mut world), Vec::<Vec<u8>>::new(), "FCRTH");
    world.set(Reg::FCRTH, ENABLE | 2048);
    world.set(Reg::FCRTL, 1024);
    world.step();
    assert_eq!(said(&mut world), [XOFF]);
    supply(&mut world, 8);
    assert_eq!(said(&mut world), Vec::<Vec<u8>>::new(), "FCRTL");
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn priority_flow_control_names_the_priorities_of_the_class() {
    let mut world = waiting(PRIORITY);
    // Priorities 1 and 3 belong to class 1, the others to class 0; untagged frames have priority 0.
    world.set(Reg::RTRUP2TC, 1 << 3 | 1 << 9);
    arrive(&mut world, 3);
    let frames = std::mem::take(&mut world.wire.frames);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0][12..18], [0x88, 0x08, 0x01, 0x01, 0, 0b1111_0101]);
    let times: Vec<u16> = frames[0][18..34]
        .chunks(2)
        .map(|two| u16::from_be_bytes([two[0], two[1]]))
        .collect();
    assert_eq!(times, [3000, 0, 3000, 0, 3000, 3000, 3000, 3000]);
    assert_eq!(world.get_at(Reg::PXOFFTXC, 0), 1);
    assert_eq!(world.get(Reg::LXOFFTXC), 0);
}

#[test]
fn pfctop_gives_type_and_opcode_of_priority_flow_control() {
    let mut world = waiting(PRIORITY);
    world.set(Reg::PFCTOP, 0x0103_88B7);

    arrive(&mut world, 3);

    assert_eq!(said(&mut world)[0][..4], [0x88, 0xB7, 0x01, 0x03]);
}

#[test]
fn an_empty_class_says_xon_with_a_time_of_0_and_counts_it() {
    let mut world = waiting(PRIORITY);
    arrive(&mut world, 3);
    said(&mut world);

    supply(&mut world, 10);

    assert_eq!(said(&mut world)[0], [0x88, 0x08, 1, 1, 0, 0xFF, 0, 0]);
    assert_eq!(world.get_at(Reg::PXONTXC, 0), 1);
}

#[test]
fn a_change_to_xoff_counts_once_however_often_it_is_said() {
    let mut world = waiting(PRIORITY);
    arrive(&mut world, 3);
    world.pass_nanos(76_800);
    world.step();
    assert_eq!(world.get(Reg::PXOFFTXC), 2);
    assert_eq!(world.get(Reg::PXON2OFFCNT), 1);
}

#[test]
fn a_class_that_is_full_does_not_hold_up_the_wire_and_counts_what_it_loses() {
    let mut world = waiting(PRIORITY);
    world.set(Reg::RXPBSIZE, 20 << 10);
    arrive(&mut world, 30);
    assert!(world.port.has_room());
    assert_eq!(world.get_at(Reg::MPC, 0), 10);
    world.set(Reg::FCCFG, LINK);
    assert!(!world.port.has_room());
}

#[test]
fn the_loss_of_the_link_ends_what_was_said() {
    let mut world = waiting(LINK);
    arrive(&mut world, 3);
    said(&mut world);
    world.carrier(false);
    world.train();
    assert_eq!(world.port.deadline(), None);
    world.carrier(true);
    world.step();
    assert_eq!(said(&mut world), [XOFF], "the other end has forgotten");
}

#[test]
fn a_class_that_waits_asks_for_silence_of_its_priorities_and_the_others_arrive() {
    let mut world = waiting(PRIORITY);
    // Four classes, of which the second has the priorities 2 and 3; its queue is 32.
    world.set(Reg::MRQC, 3);
    world.set(Reg::RTRUP2TC, 0o3322_1100);
    world.set_at(Reg::RDBAL, 32, u32::try_from(RING + 0x800).unwrap());
    world.set_at(Reg::RDLEN, 32, 16 * 64);
    world.set_at(Reg::RXDCTL, 32, 1 << 25);
    world.set_at(Reg::FCRTH, 1, ENABLE | 2048);
    world.set_at(Reg::FCRTL, 1, ENABLE | 1024);
    world.set_at(Reg::FCTTV, 0, 700 << 16 | 3000);
    supply(&mut world, 8);

    let mut frame = vec![0xFF; 1000];
    for (priority, frames) in [(3, 3), (0, 5)] {
        frame[12..18].copy_from_slice(&[0x81, 0, priority << 5, 1, 0x88, 0xB5]);
        for _ in 0..frames {
            world.receive(&frame);
        }
    }
    world.step();

    let said = std::mem::take(&mut world.wire.frames);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0][16..18], [0, 0b1100]);
    assert_eq!(said[0][18..26], [0, 0, 0, 0, 2, 188, 2, 188]);
    assert_eq!((world.get(Reg::RDH), world.get_at(Reg::RDH, 32)), (5, 0));
    assert_eq!(world.get_at(Reg::PXON2OFFCNT, 1), 1);
}
