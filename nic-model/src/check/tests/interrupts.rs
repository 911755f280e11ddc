use ixgbe_spec::register::Reg;

use super::{Bench, COUNT, RX_BUFFERS, RX_RING, frame};

/// `GPIE.MULTIPLE_MSIX`.
const MULTIPLE_MSIX: u32 = 1 << 4;
/// The valid bit of an IVAR entry.
const VALID: u32 = 0x80;
/// Receive: broadcasts are accepted.
const BAM: u32 = 1 << 10;
/// 1 ms between interrupts.
const SLOW: u32 = 0x1FF << 3;
const GCR_EXT_64_POOLS: u32 = 3;

/// Receive queues 0 and 1 are enabled. Queue 0 gets all frames, and has vector 2.
fn two_queues() -> Bench {
    let mut bench = Bench::running();
    bench.world.config_write16(0x72, 0x8000);
    bench.world.train();
    bench.set(Reg::FCTRL, BAM);
    bench.set(Reg::GPIE, MULTIPLE_MSIX);
    bench.place_receive(1);
    bench.enable(Reg::RXDCTL, 1);
    bench.set(Reg::IVAR, VALID | 2);
    bench.world.set_at(Reg::EIMS_EX, 0, 1 << 2);
    bench
}

/// All frames go to queue 1.
fn steer(bench: &mut Bench) {
    bench.world.set_at(Reg::ETQF, 0, 1 << 31 | 0x88B5);
    bench.world.set_at(Reg::ETQS, 0, 1 << 31 | 1 << 16);
}

/// Posts `count` buffers in queue 1, from the first on.
fn post(bench: &mut Bench, count: u32) {
    for index in 0..u64::from(count) {
        let buffer = RX_BUFFERS + 0x1_0000 + 0x800 * index;
        let place = RX_RING + 0x1000 + 16 * index;
        bench.world.bus.poke(place, &buffer.to_le_bytes());
        bench.world.bus.poke(place + 8, &[0; 8]);
    }
    bench.world.set_at(Reg::RDT, 1, count);
}

/// Queue 1 gets three frames, of which the third fills its last buffer.
fn fill_up(bench: &mut Bench) {
    steer(bench);
    post(bench, 3);
    for _ in 0..3 {
        bench.world.receive(&frame(60));
    }
    assert_eq!(bench.world.port.register(Reg::RDH, 1), 3);
}

#[test]
fn a_queue_with_a_vector_that_was_never_unmasked_is_told_when_it_is_full() {
    let mut bench = two_queues();
    bench.set(Reg::IVAR, (VALID | 3) << 16 | VALID | 2);
    steer(&mut bench);
    post(&mut bench, 2);

    bench.world.receive(&frame(60));
    let before = bench.broken();
    bench.world.receive(&frame(60));

    assert_eq!(before, [""; 0]);
    let told = bench.told();
    assert!(
        told.starts_with("queue-without-interrupt: warning: receive queue 1: "),
        "{told}"
    );
    assert!(
        told.contains("its vector 3 was never unmasked, while receive queue 0 has vector 2"),
        "{told}"
    );
}

#[test]
fn a_queue_without_a_vector_is_told_when_it_is_full() {
    let mut bench = two_queues();

    fill_up(&mut bench);

    assert!(bench.told().contains("IVAR gives it no vector"));
}

#[test]
fn a_queue_whose_vector_is_masked_for_now_is_not_told() {
    let mut bench = two_queues();
    bench.set(Reg::IVAR, (VALID | 3) << 16 | VALID | 2);
    bench.world.set_at(Reg::EIMS_EX, 0, 1 << 3);
    bench.world.set_at(Reg::EIMC_EX, 0, 1 << 3);

    fill_up(&mut bench);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_queue_that_is_polled_is_not_told() {
    let mut bench = two_queues();
    steer(&mut bench);
    post(&mut bench, 2);
    bench.world.receive(&frame(60));

    post(&mut bench, 3);
    bench.world.receive(&frame(60));
    bench.world.receive(&frame(60));

    assert_eq!(bench.world.port.register(Reg::RDH, 1), 3);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn queues_that_all_have_no_interrupt_are_not_told() {
    let mut bench = two_queues();
    bench.set(Reg::IVAR, 0);

    fill_up(&mut bench);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_queue_of_a_virtual_function_is_not_told() {
    let mut bench = two_queues();
    bench.set(Reg::GCR_EXT, GCR_EXT_64_POOLS);

    fill_up(&mut bench);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_frame_for_a_queue_with_an_interrupt_that_was_never_enabled_is_told() {
    let mut bench = two_queues();
    bench.world.set_at(Reg::IVAR, 1, VALID | 2);
    bench.world.set_at(Reg::ETQF, 0, 1 << 31 | 0x88B5);
    bench.world.set_at(Reg::ETQS, 0, 1 << 31 | 2 << 16);
    let before = bench.broken();

    bench.world.receive(&frame(60));

    assert_eq!(before, [""; 0]);
    let told = bench.told();
    assert!(
        told.starts_with("interrupt-without-queue: warning: receive queue 2: "),
        "{told}"
    );
    assert!(told.contains("vector 2 is unmasked for it"), "{told}");
}

#[test]
fn frames_for_a_queue_without_an_interrupt_or_that_was_enabled_before_are_not_told() {
    let mut bench = two_queues();
    bench.set(Reg::IVAR, (VALID | 2) << 16 | VALID | 2);
    steer(&mut bench);
    bench.world.set_at(Reg::RXDCTL, 1, 0);

    bench.world.receive(&frame(60));
    bench.world.set_at(Reg::ETQS, 0, 1 << 31 | 2 << 16);
    bench.world.receive(&frame(60));

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_vector_above_15_without_multiple_msix_is_told_when_it_is_unmasked() {
    let mut bench = two_queues();
    bench.set(Reg::GPIE, 0);
    bench.set(Reg::IVAR, VALID | 16);
    let before = bench.broken();

    bench.world.set_at(Reg::EIMS_EX, 0, 1 << 16);

    assert_eq!(before, [""; 0]);
    let told = bench.told();
    assert!(
        told.starts_with("vector-out-of-reach: error: receive queue 0: IVAR gives it 16; "),
        "{told}"
    );
}

#[test]
fn a_vector_above_15_with_multiple_msix_is_not_told() {
    let mut bench = two_queues();
    bench.set(Reg::IVAR, VALID | 16);

    bench.world.set_at(Reg::EIMS_EX, 0, 1 << 16);

    assert_eq!(bench.broken(), [""; 0]);
}

/// Queue 0 has had an interrupt, which has cleared its cause, and has another cause that waits for the end of the interval.
fn throttled() -> Bench {
    let mut bench = two_queues();
    bench.set(Reg::EIAC, 1 << 2);
    bench.world.set_at(Reg::EITR, 2, SLOW);
    for index in 0..u64::from(COUNT) {
        bench.post(index, RX_BUFFERS + 0x800 * index);
    }
    bench.set(Reg::RDT, COUNT - 1);
    bench.world.receive(&frame(60));
    let after_one = bench.world.port.register(Reg::EICS, 0);
    bench.world.receive(&frame(60));
    let after_two = bench.world.port.register(Reg::EICS, 0);
    assert_eq!((after_one & 1 << 2, after_two & 1 << 2), (0, 1 << 2));
    bench
}

#[test]
fn a_cause_that_is_cleared_before_its_interrupt_comes_is_told() {
    let mut bench = throttled();

    bench.set(Reg::EICR, u32::MAX);

    let told = bench.told();
    assert!(
        told.starts_with("cause-cleared-unseen: warning: "),
        "{told}"
    );
    assert!(told.contains("the cause of vector 2"), "{told}");
}

#[test]
fn causes_that_are_cleared_as_they_were_read_are_not_told() {
    let mut bench = throttled();

    let causes = bench.world.get(Reg::EICS);
    bench.set(Reg::EICR, causes);

    assert_eq!(causes & 1 << 2, 1 << 2);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn other_causes_that_are_cleared_are_not_told() {
    let mut bench = throttled();

    bench.set(Reg::EICR, 0xFFFF_0000);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_masked_cause_that_is_cleared_is_not_told() {
    let mut bench = throttled();

    bench.world.set_at(Reg::EIMC_EX, 0, 1 << 2);
    bench.set(Reg::EICR, u32::MAX);

    assert_eq!(bench.broken(), [""; 0]);
}
