use ixgbe_spec::register::Reg;

use super::{Bench, RX_BUFFERS, TX_BUFFERS, TX_RING, frame, packet};
use crate::{bus::Iova, time::Time};

#[test]
fn a_page_that_is_posted_twice_is_told_with_both_descriptors() {
    let mut bench = Bench::running();
    bench.post(0, RX_BUFFERS);
    bench.post(1, RX_BUFFERS + 0x800);
    bench.post(2, RX_BUFFERS);

    bench.set(Reg::RDT, 3);

    let told = bench.told();
    assert!(
        told.starts_with("buffer-posted-twice: error: receive queue 0: "),
        "{told}"
    );
    assert!(told.contains(
        "of descriptor 2 overlaps 0x40000..0x405f2, the buffer of descriptor 0 of receive queue 0"
    ));
    assert!(
        told.contains("\n  descriptor: 2 at 0x20020: 0x0000000000040000 "),
        "{told}"
    );
}

#[test]
fn a_page_that_comes_back_filled_may_be_posted_again() {
    let mut bench = Bench::running();
    bench.world.train();
    bench.post(0, RX_BUFFERS);
    bench.post(1, RX_BUFFERS + 0x800);
    bench.set(Reg::FCTRL, 1 << 10);
    bench.set(Reg::RDT, 2);

    bench.world.receive(&frame(60));
    bench.post(2, RX_BUFFERS);
    bench.set(Reg::RDT, 3);

    assert_eq!(bench.world.port.register(Reg::RDH, 0), 1);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn pages_of_a_queue_that_was_disabled_may_be_posted_in_another() {
    let mut bench = Bench::running();
    bench.fill();
    bench.set(Reg::RXDCTL, 0);
    bench.place_receive(1);
    bench.world.bus.poke(0x2_1000, &RX_BUFFERS.to_le_bytes());
    bench.enable(Reg::RXDCTL, 1);

    bench.world.set_at(Reg::RDT, 1, 1);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn buffers_that_overlap_only_beyond_the_longest_frame_are_not_told() {
    let mut bench = Bench::running();
    bench.post(0, RX_BUFFERS + 64);
    bench.post(1, RX_BUFFERS + 64 + 1522);

    bench.set(Reg::RDT, 2);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_page_that_is_still_to_be_sent_is_not_posted() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 1);
    bench.post(0, TX_BUFFERS - 0x100);

    bench.set(Reg::RDT, 1);

    assert_eq!(bench.broken(), ["buffer-posted-while-sent"]);
}

#[test]
fn a_page_that_was_sent_may_be_posted() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 1);
    bench.run();
    bench.post(0, TX_BUFFERS);

    bench.set(Reg::RDT, 1);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_page_may_be_sent_by_several_descriptors() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.put(1, packet(TX_BUFFERS, 60));

    bench.set(Reg::TDT, 2);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_buffer_over_a_ring_is_told() {
    let mut bench = Bench::running();
    bench.post(0, TX_RING - 0x100);

    bench.set(Reg::RDT, 1);

    assert_eq!(bench.broken(), ["buffer-over-ring"]);
}

#[test]
fn a_buffer_outside_of_memory_is_told_when_the_card_is_refused() {
    let mut bench = Bench::running();
    bench.put(0, packet(0x4000_0000, 60));

    bench.set(Reg::TDT, 1);
    bench.run();

    let told = bench.told();
    assert!(
        told.starts_with("buffer-unmapped: error: transmit queue 0: "),
        "{told}"
    );
    assert!(told.contains("read 0x40000000..0x4000003c"), "{told}");
}

#[test]
fn a_buffer_that_is_unmapped_while_the_card_has_it_is_told_when_the_driver_goes_on() {
    let mut bench = Bench::running();
    bench.fill();

    bench
        .world
        .port
        .client_unmaps(Iova(RX_BUFFERS), 0x1000, Time::ZERO);
    let before = bench.broken();
    bench.set(Reg::EIMC, 1);

    assert_eq!(before, [""; 0]);
    assert_eq!(bench.broken(), ["unmapped-while-owned"]);
}

#[test]
fn memory_that_is_mapped_again_before_the_driver_goes_on_is_not_told() {
    let mut bench = Bench::running();
    bench.fill();

    bench
        .world
        .port
        .client_unmaps(Iova(0), u64::MAX, Time::ZERO);
    bench
        .world
        .port
        .client_mapped(Iova(0), 0x20_0000, Time::ZERO);
    bench.set(Reg::EIMC, 1);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn memory_of_a_queue_that_was_disabled_may_be_unmapped() {
    let mut bench = Bench::running();
    bench.fill();
    bench.set(Reg::RXDCTL, 0);
    bench.set(Reg::TXDCTL, 0);

    bench
        .world
        .port
        .client_unmaps(Iova(0), u64::MAX, Time::ZERO);
    bench.set(Reg::EIMC, 1);

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn the_report_of_the_documentation_is_what_is_told() {
    let mut bench = Bench::running();
    bench.post(0, RX_BUFFERS);
    bench.post(1, RX_BUFFERS + 0x800);
    bench.post(2, RX_BUFFERS);

    bench.set(Reg::RDT, 3);

    let told = bench.told();
    let page = include_str!("../../../../docs/driver-checker.md");
    assert!(
        page.contains(&told),
        "docs/driver-checker.md lacks this:\n{told}"
    );
    let readme = include_str!("../../../../README.md");
    assert!(readme.contains(&told), "README.md lacks this:\n{told}");
}
