//! Bits of a written-back descriptor that no other room shows (7.1.5, 7.1.6.2).

use ixgbe_spec::descriptor::rx::{Legacy, LegacyErrors};

use super::{checksums::fragment, *};

/// What the bench says of a frame in queue 0.
fn status_of(bench: &mut Bench, frame: &[u8]) -> Status {
    bench.receive(&RxFrame::new(frame));
    bench.written_back(0, 0).status()
}

fn legacy(bench: &Bench) -> Legacy {
    Legacy::read_from_bytes(&bench.bus.peek(descriptor(0, 0), 16)).unwrap()
}

#[test]
fn a_multicast_that_only_the_hash_lets_in_is_passed_inexactly() {
    let mut bench = Bench::with_queue();
    // MO = 0: bits 47 to 36 of the address, here 0x561.
    bench.write(Reg::MCSTCTRL, 0, 1 << 2);
    bench.write(Reg::MTA, 0x561 >> 5, 1 << (0x561 & 0x1F));

    let status = status_of(&mut bench, &frame_to([1, 0, 0x5E, 0, 0x12, 0x56], 60));

    assert!(status.contains(Status::PIF));
}

#[test]
fn a_frame_for_the_stations_address_is_passed_exactly() {
    let mut bench = Bench::with_queue();

    let status = status_of(&mut bench, &frame_to(OWN, 60));

    assert_eq!(status, Status::DD | Status::EOP);
}

#[test]
fn an_outer_tag_is_told_of() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::CTRL_EXT, 0, 1 << 26);
    bench.write(Reg::EXVET, 0, 0x88A8 << 16);
    let mut frame = tagged(frame_to(OWN, 60), 9);
    frame.splice(12..12, [0x88, 0xA8, 0, 7]);

    let status = status_of(&mut bench, &frame);

    assert!(status.contains(Status::VEXT));
}

#[test]
fn a_packet_of_a_filter_with_immediate_interrupt_says_so() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::ETQF, 2, 1 << 31 | 0x88B5);
    bench.write(Reg::ETQS, 2, 1 << 31 | 1 << 29);

    let status = status_of(&mut bench, &frame_to(OWN, 60));

    assert!(status.contains(Status::LLINT));
}

#[test]
fn a_udp_packet_in_a_legacy_ring_has_its_checksum_looked_at() {
    let mut bench = Bench::new();
    bench.queue(0, 2);
    bench.post(0, 0, 15);

    bench.receive(&RxFrame::new(&udp(&[1; 40])));

    let done = legacy(&bench);
    assert_eq!(done.status & 1 << 4, 1 << 4);
    assert_eq!(done.errors, 0);
}

#[test]
fn a_legacy_descriptor_has_the_sum_of_a_fragment() {
    let mut bench = Bench::new();
    bench.queue(0, 2);
    bench.post(0, 0, 15);
    bench.write(Reg::RXCSUM, 0, 1 << 12);
    let payload: Vec<u8> = (1..=64).collect();

    bench.receive(&RxFrame::new(&fragment(&payload, 0, true)));

    let sum: u32 = payload
        .chunks(2)
        .map(|word| u32::from(word[0]) * 256 + u32::from(word[1]))
        .sum();
    assert_eq!(u32::from(legacy(&bench).checksum.get()), sum % 0xFFFF);
}

#[test]
fn a_legacy_descriptor_has_the_error_of_a_bad_ip_header() {
    let mut bench = Bench::new();
    bench.queue(0, 2);
    bench.post(0, 0, 15);
    let mut frame = udp(&[1; 40]);
    frame[24] ^= 1;

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(
        legacy(&bench).errors & LegacyErrors::IPE.bits(),
        LegacyErrors::IPE.bits()
    );
}

#[test]
fn a_legacy_descriptor_has_the_error_of_a_bad_frame_that_is_stored() {
    let mut bench = Bench::new();
    bench.write(Reg::FCTRL, 0, 2);
    bench.queue(0, 2);
    bench.post(0, 0, 15);
    let frame = frame_to(OWN, 100);

    bench.receive(&RxFrame {
        fcs: Fcs::Bad,
        ..RxFrame::new(&frame)
    });

    assert_eq!(legacy(&bench).errors, LegacyErrors::RXE.bits());
}
