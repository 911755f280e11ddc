use ixgbe_spec::{descriptor::tx, register::Reg};

use super::{Bench, RX_BUFFERS, TX_BUFFERS, frame, packet};
use crate::{bus::Iova, time::Time};

/// A port that accepts broadcasts, and has all buffers that it can have.
fn receiving() -> Bench {
    let mut bench = Bench::running();
    bench.world.train();
    bench.set(Reg::FCTRL, 1 << 10);
    bench.fill();
    bench
}

#[test]
fn a_receive_buffer_that_is_written_while_the_card_has_it_is_told() {
    let mut bench = receiving();
    bench.world.receive(&frame(60));

    bench.world.bus.poke(RX_BUFFERS + 0x800 + 1000, &[1]);
    let before = bench.broken();
    bench.world.receive(&frame(60));

    assert_eq!(before, [""; 0]);
    let told = bench.told();
    assert!(
        told.starts_with("receive-buffer-touched: error: receive queue 0: "),
        "{told}"
    );
    assert!(
        told.contains("fills the buffer 0x40800..0x40df2 of descriptor 1"),
        "{told}"
    );
    assert!(
        told.contains("\n  descriptor: 1 at 0x20010: 0x0000000000040800 "),
        "{told}"
    );
}

#[test]
fn receive_buffers_that_come_back_may_be_written_and_posted_again() {
    let mut bench = receiving();
    for _ in 0..7 {
        bench.world.receive(&frame(60));
    }

    bench.world.bus.poke(RX_BUFFERS, &[0; 0x3800]);
    bench.post(7, RX_BUFFERS + 0x800);
    bench.post(0, RX_BUFFERS);
    bench.set(Reg::RDT, 1);
    for _ in 0..2 {
        bench.world.receive(&frame(1000));
    }

    assert_eq!(bench.world.port.register(Reg::RDH, 0), 1);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn what_lies_around_a_receive_buffer_may_be_written() {
    let mut bench = receiving();

    bench.world.bus.poke(RX_BUFFERS - 64, &[1; 64]);
    bench.world.bus.poke(RX_BUFFERS + 1522, &[1; 256]);
    bench.world.receive(&frame(60));

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn buffers_of_a_queue_that_was_disabled_may_be_written() {
    let mut bench = receiving();

    bench.set(Reg::RXDCTL, 0);
    bench.world.bus.poke(RX_BUFFERS, &[1; 64]);
    bench.enable(Reg::RXDCTL, 0);
    bench.world.receive(&frame(60));

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_page_that_is_posted_twice_and_filled_is_told_of_once() {
    let mut bench = Bench::running();
    bench.world.train();
    bench.set(Reg::FCTRL, 1 << 10);
    bench.post(0, RX_BUFFERS);
    bench.post(1, RX_BUFFERS);
    bench.set(Reg::RDT, 2);

    for _ in 0..2 {
        bench.world.receive(&frame(60));
    }

    assert_eq!(bench.broken(), ["buffer-posted-twice"]);
}

#[test]
fn memory_that_comes_back_with_other_content_is_not_told() {
    let mut bench = receiving();

    let port = &mut bench.world.port;
    port.client_unmaps(Iova(0), u64::MAX, Time::ZERO);
    port.client_mapped(Iova(0), 0x20_0000, Time::ZERO);
    bench.world.bus.poke(RX_BUFFERS, &[1; 64]);
    bench.world.receive(&frame(60));

    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_packet_that_is_changed_before_the_card_has_read_it_is_told() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 1);

    bench.world.bus.poke(TX_BUFFERS + 59, &[1]);
    let before = bench.broken();
    bench.run();

    assert_eq!(before, [""; 0]);
    let told = bench.told();
    assert!(
        told.starts_with("transmit-buffer-touched: error: transmit queue 0: "),
        "{told}"
    );
    assert!(
        told.contains("reads the buffer 0x80000..0x8003c of descriptor 0"),
        "{told}"
    );
}

#[test]
fn a_long_packet_that_is_changed_is_told_as_well() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 1514));
    bench.set(Reg::TDT, 1);

    bench.world.bus.poke(TX_BUFFERS + 1513, &[1]);
    bench.run();

    assert_eq!(bench.broken(), ["transmit-buffer-touched"]);
}

#[test]
fn a_packet_that_was_sent_may_be_changed_and_sent_again() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 1);
    bench.run();

    bench.world.bus.poke(TX_BUFFERS, &[1; 60]);
    bench.put(1, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 2);
    bench.run();

    assert_eq!(bench.world.wire.frames.len(), 2);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn a_page_behind_the_first_buffer_of_a_packet_may_be_written() {
    let mut bench = Bench::running();
    let part = |buffer, eop| {
        let control = tx::DataControl::new()
            .with_dtalen(60)
            .with_eop(eop)
            .with_ifcs(true)
            .with_rs(true)
            .with_paylen(120);
        tx::Data {
            address: buffer,
            control,
        }
    };
    bench.put(0, part(TX_BUFFERS, false));
    bench.put(1, part(TX_BUFFERS + 0x1000, true));
    bench.set(Reg::TDT, 2);

    bench.world.bus.poke(TX_BUFFERS + 0x1000, &[1]);
    bench.run();

    assert_eq!(bench.world.wire.frames.len(), 1);
    assert_eq!(bench.broken(), [""; 0]);
}

#[test]
fn the_second_packet_of_a_batch_is_looked_at_as_well() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.put(1, packet(TX_BUFFERS + 0x1000, 60));
    bench.set(Reg::TDT, 2);

    bench.world.bus.poke(TX_BUFFERS + 0x1000, &[1]);
    bench.run();

    assert!(bench.told().contains("of descriptor 1"));
}

#[test]
fn a_transmit_queue_that_was_disabled_has_no_packets() {
    let mut bench = Bench::running();
    bench.put(0, packet(TX_BUFFERS, 60));
    bench.set(Reg::TDT, 1);

    bench.set(Reg::TXDCTL, 0);
    bench.world.bus.poke(TX_BUFFERS, &[1]);
    bench.enable(Reg::TXDCTL, 0);
    bench.set(Reg::TDT, 1);
    bench.run();

    assert_eq!(bench.broken(), [""; 0]);
}
