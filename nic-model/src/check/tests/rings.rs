use ixgbe_spec::register::Reg;

use super::{Bench, COUNT, ENABLE, ONE_BUFFER, RX_RING, TX_BUFFERS, packet};

const GIO_DIS: u32 = 1 << 2;

#[test]
fn a_driver_that_keeps_the_rules_is_told_nothing() {
    let mut bench = Bench::running();
    bench.fill();
    for index in 0..3 {
        bench.put(index, packet(TX_BUFFERS + 0x800 * index, 60));
    }

    bench.set(Reg::TDT, 3);
    bench.run();
    bench.set(Reg::RXDCTL, 0);
    bench.set(Reg::TXDCTL, 0);
    bench.set(Reg::RDBAL, 0x5_0000);

    assert_eq!(bench.world.wire.frames.len(), 3);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_base_that_is_not_aligned_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::RDBAL, 0x2_0040);

    assert_eq!(bench.broken(), ["ring-base-misaligned"]);
}

#[test]
fn a_length_that_is_not_aligned_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::TDLEN, 100);

    assert_eq!(bench.broken(), ["ring-length-illegal"]);
}

#[test]
fn a_queue_that_is_enabled_without_a_ring_is_told() {
    let mut bench = Bench::new();

    bench.set(Reg::TXDCTL, ENABLE);

    assert_eq!(bench.broken(), ["ring-length-illegal"]);
}

#[test]
fn a_ring_that_moves_while_its_queue_is_enabled_is_told() {
    let mut bench = Bench::running();

    bench.set(Reg::RDBAL, 0x5_0000);

    let told = bench.told();
    assert!(told.starts_with("ring-changed-while-enabled: error: receive queue 0: "));
    assert!(
        told.contains("from 0x20000..0x20080 to 0x50000..0x50080"),
        "{told}"
    );
}

#[test]
fn buffers_that_change_their_size_while_the_queue_is_enabled_are_told() {
    let mut bench = Bench::running();

    bench.set(Reg::SRRCTL, ONE_BUFFER | 1 << 28);
    let drop_en = bench.broken();
    bench.set(Reg::SRRCTL, ONE_BUFFER + 1);

    assert_eq!(drop_en, [""; 0]);
    assert_eq!(bench.broken(), ["ring-changed-while-enabled"]);
}

#[test]
fn a_tail_past_the_ring_is_told() {
    let mut bench = Bench::running();

    bench.set(Reg::TDT, COUNT);

    assert_eq!(bench.broken(), ["tail-past-ring"]);
}

#[test]
fn a_tail_over_descriptors_that_the_card_has_is_told_with_the_ring() {
    let mut bench = Bench::running();
    bench.fill();

    bench.set(Reg::RDT, 0);

    let told = bench.told();
    assert!(
        told.starts_with("tail-over-owned: error: receive queue 0: the tail goes from 7 to 0; ")
    );
    assert!(told.contains("\n  datasheet: 7.1.9"), "{told}");
    assert!(
        told.contains("\n  ring: 0x20000..0x20080, 8 descriptors, head 0, tail 7, enabled"),
        "{told}"
    );
    assert!(told.contains("write RDT(0) = 0x00000007\n"), "{told}");
}

#[test]
fn each_breach_is_told_once_and_counted() {
    let mut bench = Bench::running();

    bench.set(Reg::TDT, COUNT);
    bench.set(Reg::TDT, COUNT + 1);

    assert_eq!(bench.findings.all()[0].1, 2);
    assert_eq!(bench.findings.take_new().len(), 1);
    assert_eq!(bench.findings.take_new().len(), 0);
}

#[test]
fn a_tail_that_is_written_before_the_enable_bit_is_read_is_told() {
    let mut bench = Bench::new();
    bench.place_receive(0);
    bench.post(0, 0x4_0000);

    bench.set(Reg::RXDCTL, ENABLE);
    bench.set(Reg::RDT, 1);

    assert_eq!(bench.broken(), ["tail-before-enabled"]);
}

#[test]
fn descriptors_for_a_function_that_is_not_master_are_told() {
    let mut bench = Bench::running();
    bench.post(0, 0x4_0000);

    bench.set(Reg::CTRL, GIO_DIS);
    bench.set(Reg::RDT, 1);

    assert_eq!(bench.broken(), ["tail-without-bus-master"]);
}

#[test]
fn a_ring_outside_of_memory_is_told() {
    let mut bench = Bench::new();
    bench.set(Reg::TDBAL, 0x4000_0000);
    bench.set(Reg::TDLEN, COUNT * 16);
    bench.set(Reg::DMATXCTL, 1);
    bench.enable(Reg::TXDCTL, 0);

    bench.set(Reg::TDT, 1);
    bench.run();

    let told = bench.told();
    assert!(
        told.starts_with("ring-unmapped: error: transmit queue 0: "),
        "{told}"
    );
    assert!(told.contains("0x40000000..0x40000010"), "{told}");
}

#[test]
fn a_descriptor_that_changes_after_it_was_handed_over_is_told() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 1);

    bench.put(0, packet(TX_BUFFERS + 0x800, 60));
    bench.run();

    assert_eq!(bench.broken(), ["descriptor-changed-while-owned"]);
}

#[test]
fn the_second_queue_is_another_ring() {
    let mut bench = Bench::running();
    bench.place_receive(1);
    bench.enable(Reg::RXDCTL, 1);

    bench.world.set_at(Reg::RDT, 1, COUNT);

    assert!(bench.told().contains("receive queue 1"));
    assert!(bench.told().contains(&format!("{:#x}", RX_RING + 0x1000)));
}

#[test]
fn a_tail_that_goes_back_and_back_ends_in_a_report() {
    let mut bench = Bench::running();
    for index in 0..u64::from(COUNT) {
        // None of them ends a packet.
        let mut part = packet(TX_BUFFERS, 60);
        part.control = part.control.with_eop(false);
        bench.put(index, part);
    }

    for tail in (1..COUNT).rev() {
        bench.set(Reg::TDT, tail);
        bench.run();
    }

    let head = bench.world.port.register(Reg::TDH, 0);
    assert!(head < COUNT, "the head is at {head}");
    assert!(
        bench.broken().contains(&"tail-over-owned"),
        "{:?}",
        bench.broken()
    );
}

#[test]
fn a_ring_that_shrinks_under_its_tail_is_told() {
    let mut bench = Bench::running();
    bench.set(Reg::RDLEN, 256);
    bench.set(Reg::RDT, 7);

    bench.set(Reg::RDLEN, 128);
    bench.set(Reg::RDT, 3);
    bench.set(Reg::RDT, 1);

    assert!(bench.broken().contains(&"ring-changed-while-enabled"));
}
