//! Traffic classes, priority flow control and rate limits of transmit, in model time.

use ixgbe_spec::register::Reg;

use crate::{Module, port::tests::world::World, testing::TestBus};

/// MTQC: four and eight traffic classes.
const FOUR: u32 = 0x9;
const EIGHT: u32 = 0xD;
/// RTTPCS: the packet plane arbitrates.
const TPPAC: u32 = 1 << 5;
/// RTTPCS: what a class cannot take of a refill, its group gets.
const TPRM: u32 = 1 << 8;
/// RTTPCS and RTTDCS: the arbiter rests.
const ARBDIS: u32 = 1 << 6;
/// RTTDCS: the descriptor plane arbitrates, by the weight of queues.
const TDPAC: u32 = 1 << 0;
const VMPAC: u32 = 1 << 1;
/// RTTPT2C: strict priority on the link, and in the group.
const LSP: u32 = 1 << 31;
const GSP: u32 = 1 << 30;
/// RTTBCNRC: the limit is in force.
const LIMIT: u32 = 1 << 31;
/// Descriptors of a ring.
const RING: u32 = 256;
/// Length of the frames here, without FCS; 16 credits each with it.
const LEN: u16 = 1020;
/// No frame.
const NONE: [usize; 0] = [];

/// A port whose link is up and whose transmit is on, with these queues enabled.
fn sender(mtqc: u32, queues: &[usize]) -> World {
    let mut world = World::enabled();
    world.set(Reg::RTTDCS, ARBDIS);
    world.set(Reg::MTQC, mtqc);
    world.set(Reg::RTTDCS, 0);
    world.set(Reg::DMATXCTL, 0x8100_0001);
    for (n, queue) in queues.iter().enumerate() {
        let ring = TestBus::BASE + 0x1000 * n as u64;
        world.set_at(Reg::TDBAL, *queue, u32::try_from(ring).unwrap());
        world.set_at(Reg::TDLEN, *queue, 16 * RING);
        world.set_at(Reg::TXDCTL, *queue, 1 << 25);
    }
    world
}

/// Posts frames on a queue, in each of which the last byte of the source address is the queue's number.
fn post(world: &mut World, queue: usize, frames: u32) {
    let buffer = TestBus::BASE + 0x8_0000 + 0x800 * queue as u64;
    let mut frame = vec![2; usize::from(LEN)];
    frame[11] = u8::try_from(queue).unwrap();
    world.bus.poke(buffer, &frame);
    let ring = u64::from(world.get_at(Reg::TDBAL, queue));
    let tail = world.get_at(Reg::TDT, queue);
    for n in 0..frames {
        let at = ring + 16 * u64::from((tail + n) % RING);
        world.bus.poke(at, &buffer.to_le_bytes());
        // A legacy descriptor with EOP and IFCS.
        let control = 0x3 << 24 | u64::from(LEN);
        world.bus.poke(at + 8, &control.to_le_bytes());
    }
    world.set_at(Reg::TDT, queue, (tail + frames) % RING);
}

/// Steps until nothing more is done now; the queue of each frame that was sent since the last call.
fn sent(world: &mut World) -> Vec<usize> {
    while world.step() {}
    let frames = std::mem::take(&mut world.wire.frames);
    frames.iter().map(|frame| usize::from(frame[11])).collect()
}

/// The same of one step.
fn sent_in_a_step(world: &mut World) -> Vec<usize> {
    world.step();
    let frames = std::mem::take(&mut world.wire.frames);
    frames.iter().map(|frame| usize::from(frame[11])).collect()
}

fn count(frames: &[usize], queue: usize) -> usize {
    frames.iter().filter(|frame| **frame == queue).count()
}

/// Priority flow control arrives: a time for each of these priorities.
fn pause(world: &mut World, times: &[(usize, u16)]) {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[0x01, 0x80, 0xC2, 0, 0, 1]);
    frame[12..16].copy_from_slice(&[0x88, 0x08, 1, 1]);
    for (priority, quanta) in times {
        frame[17] |= 1 << priority;
        let at = 18 + 2 * priority;
        frame[at..at + 2].copy_from_slice(&quanta.to_be_bytes());
    }
    world.receive(&frame);
}

/// Four classes, one queue each; priority n has class n modulo 4, and priority flow control is obeyed.
fn four_classes() -> World {
    let mut world = sender(FOUR, &[0, 64, 96, 112]);
    world.set(Reg::RTTUP2TC, 0o3210_3210);
    world.set(Reg::MFLCN, 1 << 2 | 1 << 1);
    world
}

#[test]
fn a_paused_priority_stops_its_class_and_no_other() {
    let mut world = four_classes();
    pause(&mut world, &[(5, 1000)]);
    for queue in [0, 64, 96, 112] {
        post(&mut world, queue, 2);
    }
    assert_eq!(sent(&mut world), [0, 0, 96, 96, 112, 112]);
    assert_eq!(world.get(Reg::TFCS), 0b1111_1101);
    assert_eq!(world.get_at(Reg::PXOFFRXCNT, 5), 1);
}

#[test]
fn a_pause_ends_after_its_quanta_to_the_nanosecond() {
    let mut world = four_classes();
    pause(&mut world, &[(1, 1000)]);
    post(&mut world, 64, 1);
    assert_eq!(sent(&mut world), NONE);
    // 1000 times 512 bits at 10 Gbit/s.
    let due = world.port.deadline().unwrap();
    assert_eq!(due.since(world.now).as_nanos(), 51_200);
    world.pass_nanos(51_199);
    assert_eq!(sent(&mut world), NONE);
    world.pass_nanos(1);
    assert_eq!(sent(&mut world), [64]);
    assert_eq!(world.get(Reg::TFCS), 0xFF);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn xon_ends_the_pause_of_its_priority_alone() {
    let mut world = four_classes();
    pause(&mut world, &[(1, 1000), (2, 1000), (6, 2000)]);
    for queue in [64, 96] {
        post(&mut world, queue, 1);
    }
    assert_eq!(sent(&mut world), NONE);
    pause(&mut world, &[(1, 0), (2, 0)]);
    assert_eq!(sent(&mut world), [64], "priority 6 has class 2 as well");
    pause(&mut world, &[(6, 0)]);
    assert_eq!(sent(&mut world), [96]);
}

#[test]
fn without_rpfce_nobody_heeds_priority_flow_control() {
    let mut world = four_classes();
    pause(&mut world, &[(0, 1000), (1, 1000)]);
    world.set(Reg::MFLCN, 1 << 1);
    post(&mut world, 0, 1);
    assert_eq!(
        sent(&mut world),
        [0],
        "a pause ends when it is switched off"
    );
    pause(&mut world, &[(1, 1000)]);
    post(&mut world, 64, 1);
    assert_eq!(sent(&mut world), [64]);
}

#[test]
fn without_traffic_classes_every_priority_is_that_of_all_queues() {
    let mut world = sender(0, &[0, 64]);
    world.set(Reg::MFLCN, 1 << 2);
    pause(&mut world, &[(7, 1000)]);
    post(&mut world, 0, 1);
    post(&mut world, 64, 1);
    assert_eq!(sent(&mut world), NONE);
    world.pass_nanos(51_200);
    assert_eq!(sent(&mut world), [0, 64]);
}

#[test]
fn a_pause_of_the_link_stops_every_class() {
    let mut world = four_classes();
    world.set(Reg::MFLCN, 1 << 3);
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[0x01, 0x80, 0xC2, 0, 0, 1]);
    frame[12..18].copy_from_slice(&[0x88, 0x08, 0, 1, 0, 10]);
    world.receive(&frame);
    post(&mut world, 96, 1);
    assert_eq!(sent(&mut world), NONE);
    assert_eq!(world.get(Reg::TFCS), 0);
    world.pass_nanos(512);
    assert_eq!(sent(&mut world), [96]);
}

#[test]
fn classes_share_the_link_by_their_credits() {
    let mut world = sender(EIGHT, &[0, 32]);
    // 16 and 48 credits a round: one frame of class 0 and three of class 1.
    world.set(Reg::RTTPCS, TPPAC);
    world.set_at(Reg::RTTPT2C, 0, 64 << 12 | 16);
    world.set_at(Reg::RTTPT2C, 1, 64 << 12 | 1 << 9 | 48);
    for queue in [0, 32] {
        post(&mut world, queue, 200);
    }
    let first = sent_in_a_step(&mut world);
    assert_eq!(first.len(), 64);
    assert_eq!((count(&first, 0), count(&first, 32)), (16, 48));
    // Both have used up what they had.
    assert_eq!(
        [0, 1].map(|class| world.get_at(Reg::RTTPT2S, class)),
        [0; 2]
    );
    let rest = sent(&mut world);
    assert_eq!(
        first.len() + rest.len(),
        400,
        "what one leaves, the other has"
    );
}

#[test]
fn the_descriptor_plane_arbitrates_where_the_packet_plane_does_not() {
    let mut world = sender(EIGHT, &[0, 32]);
    world.set(Reg::RTTDCS, TDPAC);
    world.set_at(Reg::RTTDT2C, 0, 64 << 12 | 48);
    world.set_at(Reg::RTTDT2C, 1, 64 << 12 | 1 << 9 | 16);
    for queue in [0, 32] {
        post(&mut world, queue, 200);
    }
    let first = sent_in_a_step(&mut world);
    assert_eq!((count(&first, 0), count(&first, 32)), (48, 16));
    assert_eq!(world.get_at(Reg::RTTDT2S, 2), 1, "the least refill, unused");
}

#[test]
fn link_strict_priority_goes_before_everything() {
    let mut world = sender(FOUR, &[0, 64, 96]);
    world.set(Reg::RTTPCS, TPPAC);
    world.set_at(Reg::RTTPT2C, 0, LSP | 64 << 12 | 1);
    world.set_at(Reg::RTTPT2C, 1, 64 << 12 | 64);
    world.set_at(Reg::RTTPT2C, 2, 64 << 12 | 64);
    for queue in [64, 96, 0] {
        post(&mut world, queue, 40);
    }
    let frames = sent(&mut world);
    assert_eq!(frames.len(), 120);
    assert!(frames[..40].iter().all(|queue| *queue == 0), "{frames:?}");
}

#[test]
fn group_strict_priority_uses_what_its_group_has_and_no_more() {
    let mut world = sender(FOUR, &[0, 64, 96]);
    world.set(Reg::RTTPCS, TPPAC | TPRM);
    // Classes 0 (strict) and 1 are group 0 and have 32 credits a round, class 2 is group 1 and has as many.
    world.set_at(Reg::RTTPT2C, 0, GSP | 16 << 12 | 16);
    world.set_at(Reg::RTTPT2C, 1, 16 << 12 | 16);
    world.set_at(Reg::RTTPT2C, 2, 32 << 12 | 1 << 9 | 32);
    for queue in [0, 64, 96] {
        post(&mut world, queue, 100);
    }
    let first = sent_in_a_step(&mut world);
    let each = [0, 64, 96].map(|queue| count(&first, queue));
    assert_eq!(each.iter().sum::<usize>(), 64);
    assert!((30..=34).contains(&each[2]), "{each:?}");
    assert!(each[1] <= 1, "{each:?}");
}

#[test]
fn without_credits_every_class_has_its_turn() {
    // Linux sets up four classes without DCB when XDP wants more than 64 queues.
    let mut world = sender(FOUR, &[0, 64, 112]);
    for queue in [0, 64, 112] {
        post(&mut world, queue, 20);
    }
    let frames = sent(&mut world);
    assert_eq!([0, 64, 112].map(|queue| count(&frames, queue)), [20; 3]);
}

#[test]
fn transmit_rests_while_an_arbiter_is_disabled() {
    let mut world = sender(0, &[0]);
    for (plane, rests) in [(Reg::RTTDCS, ARBDIS), (Reg::RTTPCS, ARBDIS)] {
        world.set(plane, rests);
        post(&mut world, 0, 1);
        assert_eq!(sent(&mut world), NONE, "{plane:?}");
        world.set(plane, 0);
        assert_eq!(sent(&mut world), [0], "{plane:?}");
    }
}

#[test]
fn queues_share_by_weight_what_their_class_has() {
    let mut world = sender(0, &[0, 1]);
    for (queue, credits) in [(0, 16), (1, 48)] {
        world.set(Reg::RTTDQSEL, queue);
        world.set(Reg::RTTDT1C, credits);
    }
    world.set(Reg::RTTDCS, VMPAC);
    for queue in [0, 1] {
        post(&mut world, queue, 200);
    }
    let first = sent_in_a_step(&mut world);
    assert_eq!((count(&first, 0), count(&first, 1)), (16, 48));
    assert_eq!(world.get(Reg::RTTDT1S), 0, "queue 1 has used up its round");
    assert_eq!(sent(&mut world).len(), 400 - 64);
    world.set(Reg::RTTDQSEL, 0);
    assert_eq!(world.get(Reg::RTTDT1C), 16);
}

/// A rate factor as Linux makes it: speed and rate in Mbit/s.
fn factor(speed: u32, rate: u32) -> u32 {
    LIMIT | ((speed << 14) / rate)
}

#[test]
fn a_limited_queue_leaves_the_gap_that_its_rate_asks_for() {
    let mut world = sender(0, &[5]);
    world.set(Reg::RTTDQSEL, 5);
    world.set(Reg::RTTBCNRC, factor(10_000, 100));
    post(&mut world, 5, 3);
    assert_eq!(sent(&mut world), [5]);
    // 1024 bytes at 100 Mbit/s.
    let due = world.port.deadline().unwrap();
    assert_eq!(due.since(world.now).as_nanos(), 81_920);
    world.pass_nanos(81_919);
    assert_eq!(sent(&mut world), NONE);
    world.pass_nanos(1);
    assert_eq!(sent(&mut world), [5]);
    world.pass_nanos(81_920);
    assert_eq!(sent(&mut world), [5]);
    assert_eq!(world.port.deadline(), None);
}

#[test]
fn a_port_that_is_called_late_still_keeps_the_rate() {
    let mut world = sender(0, &[0]);
    world.set(Reg::RTTBCNRC, factor(10_000, 1000));
    post(&mut world, 0, 200);
    let mut frames = sent(&mut world).len();
    // Called each 50 us, of which a frame takes 8.192.
    for _ in 0..20 {
        world.pass_nanos(50_000);
        frames += sent(&mut world).len();
    }
    assert_eq!(frames, 1 + 1_000_000 / 8192);
}

#[test]
fn a_queue_that_had_nothing_to_send_does_not_make_up_for_it() {
    let mut world = sender(0, &[0]);
    world.set(Reg::RTTBCNRC, factor(10_000, 100));
    post(&mut world, 0, 1);
    assert_eq!(sent(&mut world), [0]);
    world.pass_nanos(1_000_000_000);
    post(&mut world, 0, 3);
    assert_eq!(sent(&mut world), [0]);
}

#[test]
fn a_queue_makes_up_for_what_the_memory_of_the_scheduler_holds() {
    let mut world = sender(0, &[0]);
    world.set(Reg::RTTBCNRC, factor(10_000, 1000));
    // 20 KB at 10 Gbit/s are 16.384 us, two frames at 1 Gbit/s; Linux and DPDK write this for jumbo frames.
    world.set(Reg::RTTQCNRM, 0x14);
    post(&mut world, 0, 1);
    assert_eq!(sent(&mut world), [0]);
    world.pass_nanos(8192 + 16_384);
    post(&mut world, 0, 4);
    assert_eq!(sent(&mut world), [0; 3]);
}

#[test]
fn at_1_gigabit_the_same_rate_has_another_factor() {
    let mut world = sender(0, &[0]);
    world.plug(Module::Sx);
    let autoc = world.get(Reg::AUTOC) & !(7 << 13);
    world.set(Reg::AUTOC, autoc | 2 << 13);
    world.train();
    world.set(Reg::RTTBCNRC, factor(1000, 100));
    post(&mut world, 0, 2);
    assert_eq!(sent(&mut world), [0]);
    let due = world.port.deadline().unwrap();
    assert_eq!(due.since(world.now).as_nanos(), 81_920);
}

#[test]
fn a_limit_is_its_queues_alone_and_ends_when_it_is_taken_away() {
    let mut world = sender(0, &[0, 1]);
    world.set(Reg::RTTDQSEL, 1);
    world.set(Reg::RTTBCNRC, factor(10_000, 10));
    for queue in [0, 1] {
        post(&mut world, queue, 5);
    }
    assert_eq!(sent(&mut world), [0, 0, 0, 0, 0, 1]);
    world.set(Reg::RTTDQSEL, 0);
    assert_eq!(world.get(Reg::RTTBCNRC), 0);
    world.set(Reg::RTTDQSEL, 1);
    assert_eq!(world.get(Reg::RTTBCNRC), factor(10_000, 10));
    world.set(Reg::RTTBCNRC, 0);
    assert_eq!(sent(&mut world), [1, 1, 1, 1]);
}

#[test]
fn a_reset_ends_classes_limits_and_pauses() {
    let mut world = four_classes();
    world.set(Reg::RTTDQSEL, 0);
    world.set(Reg::RTTBCNRC, factor(10_000, 10));
    pause(&mut world, &[(0, 0xFFFF)]);
    world.set(Reg::CTRL, 1 << 26);
    assert_eq!(world.get(Reg::TFCS), 0xFF);
    assert_eq!(world.port.deadline(), None);
    world.set(Reg::DMATXCTL, 0x8100_0001);
    world.set(Reg::TDBAL, u32::try_from(TestBus::BASE).unwrap());
    world.set(Reg::TDLEN, 16 * RING);
    world.set(Reg::TXDCTL, 1 << 25);
    post(&mut world, 0, 4);
    assert_eq!(sent(&mut world), [0; 4]);
}
