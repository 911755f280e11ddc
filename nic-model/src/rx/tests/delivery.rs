//! From an arriving frame to buffer and descriptor.

use ixgbe_spec::descriptor::rx::{Legacy, LegacyErrors, PacketType, RssType};

use super::*;

#[test]
fn a_frame_lies_in_the_posted_buffer_and_its_descriptor_is_done() {
    let mut bench = Bench::with_queue();
    let frame = tcp(&[7; 100]);

    let verdict = bench.receive(&RxFrame::new(&frame));

    assert_eq!(verdict, DELIVERED);
    assert_eq!(bench.data(0, 0), frame);
    let done = bench.written_back(0, 0);
    assert_eq!(
        done.status(),
        Status::DD | Status::EOP | Status::L4CS | Status::IPCS
    );
    assert_eq!(
        done.info().packet_type(),
        PacketType::IPV4 | PacketType::TCP
    );
    assert_eq!(done.info().rss_type(), RssType::None);
    assert_eq!(bench.get(Reg::RDH), 1);
    assert_eq!(bench.bus.retired(), 1);
}

#[test]
fn the_payload_is_written_before_the_descriptor() {
    let mut bench = Bench::with_queue();
    let frame = frame_to(OWN, 60);
    bench.bus.take_writes();

    bench.receive(&RxFrame::new(&frame));

    let writes = bench.bus.take_writes();
    assert_eq!(
        writes,
        [
            buffer(0, 0)..buffer(0, 0) + 60,
            descriptor(0, 0)..descriptor(0, 0) + 16
        ]
    );
}

#[test]
fn a_frame_in_two_parts_is_one_frame() {
    let mut bench = Bench::with_queue();
    let frame = udp(&[9; 500]);
    let (head, body) = frame.split_at(20);

    bench.receive(&RxFrame {
        head,
        body,
        ..RxFrame::new(&[])
    });

    assert_eq!(bench.data(0, 0), frame);
    let status = bench.written_back(0, 0).status();
    assert!(status.contains(Status::UDPCS | Status::L4CS | Status::IPCS));
    assert!(!status.intersects(Status::L4E | Status::IPE));
}

#[test]
fn a_long_frame_spans_descriptors_that_name_their_successor() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
    bench.write(Reg::MAXFRS, 0, 9018 << 16);
    let frame = frame_to(OWN, 5000);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);

    let done: Vec<_> = (0..3).map(|n| bench.written_back(0, n)).collect();
    assert_eq!(done[0].status(), Status::DD | Status::next_descriptor(1));
    assert_eq!(done[1].status(), Status::DD | Status::next_descriptor(2));
    assert_eq!(done[2].status(), Status::DD | Status::EOP);
    let data: Vec<u8> = (0..3).flat_map(|n| bench.data(0, n)).collect();
    assert_eq!(data, frame);
    assert_eq!(bench.get(Reg::QPRC), 1);
}

#[test]
fn a_tag_is_stripped_into_the_descriptor_if_the_queue_says_so() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RXDCTL, 0, ENABLE | VME);
    let frame = tcp(&[1; 30]);

    bench.receive(&RxFrame::new(&tagged(frame.clone(), 0x6064)));

    let done = bench.written_back(0, 0);
    assert!(done.status().contains(Status::VP | Status::L4CS));
    assert_eq!(done.vlan.get(), 0x6064);
    assert_eq!(bench.data(0, 0), frame);
    assert_eq!(
        bench.get(Reg::QBRC_L),
        u32::try_from(frame.len()).unwrap() + 4
    );
}

#[test]
fn a_tag_stays_in_the_frame_if_the_queue_does_not_strip() {
    let mut bench = Bench::with_queue();
    let frame = tagged(tcp(&[1; 30]), 0x6064);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn the_fcs_is_delivered_if_it_is_not_stripped() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) & !2);
    let frame = frame_to(OWN, 60);

    bench.receive(&RxFrame::new(&frame));

    let data = bench.data(0, 0);
    assert_eq!(data[..60], frame);
    // The CRC over a frame with its FCS is a constant (IEEE 802.3, 3.2.9).
    assert_eq!(crc32fast::hash(&data), 0x2144_DF1C);
}

#[test]
fn frames_go_to_the_queue_of_their_rss_hash() {
    let mut bench = Bench::new();
    let key = [
        0xda56_5a6d_u32,
        0xc20e_5b25,
        0x3d25_6741,
        0xb08f_a343,
        0xcb2b_cad0,
        0xb430_7bae,
        0xa32d_cb77,
        0x0cf2_3080,
        0x3bb7_426a,
        0xfa01_acbe,
    ];
    for (n, word) in key.into_iter().enumerate() {
        bench.write(Reg::RSSRK, n, word);
    }
    // 0x51ccc178 & 0x7F = 0x78: entry 120.
    bench.write(Reg::RETA, 30, 0x0000_0033);
    bench.write(Reg::MRQC, 0, 1 | 0x0033_0000);
    bench.write(Reg::RXCSUM, 0, 1 << 13);
    bench.queue(3, ONE_BUFFER | 2);
    bench.post(3, 0, 15);

    let verdict = bench.receive(&RxFrame::new(&tcp(&[0; 20])));

    assert_eq!(verdict, Verdict::Delivered { queue: 3 });
    let done = bench.written_back(3, 0);
    assert_eq!(done.hash.get(), 0x51cc_c178);
    assert_eq!(done.info().rss_type(), RssType::TcpIpv4);
}

#[test]
fn a_frame_for_another_station_is_not_received() {
    let mut bench = Bench::with_queue();

    let verdict = bench.receive(&RxFrame::new(&frame_to(PEER, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Address));
    assert_eq!(bench.get(Reg::TPR), 1);
    assert_eq!(bench.get(Reg::GPRC), 0);
}

#[test]
fn a_frame_waits_for_descriptors_and_is_delivered_when_they_come() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    let frames = [frame_to(OWN, 60), frame_to(OWN, 61)];

    assert_eq!(bench.receive(&RxFrame::new(&frames[0])), Verdict::Buffered);
    assert_eq!(bench.receive(&RxFrame::new(&frames[1])), Verdict::Buffered);
    assert!(!bench.step());
    bench.post(0, 0, 8);
    bench.step();

    assert_eq!(bench.data(0, 0), frames[0]);
    assert_eq!(bench.data(0, 1), frames[1]);
    assert_eq!(bench.get(Reg::RDH), 2);
}

#[test]
fn a_queue_that_drops_does_not_wait() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | DROP_EN | 2);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    assert_eq!(bench.get(Reg::QPRDC), 1);
}

#[test]
fn a_refused_ring_halts_its_queue_and_no_other() {
    let mut bench = Bench::with_queue();
    bench.bus.refuse(RING..RING + 0x1000);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Dma));
    assert_eq!(bench.faults.ring_dma, 1);
    bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    assert_eq!(bench.faults.ring_dma, 1);
    bench.queue(2, ONE_BUFFER | 2);
    bench.post(2, 0, 15);
    bench.write(Reg::ETQF, 0, 1 << 31 | 0x88B5);
    bench.write(Reg::ETQS, 0, 1 << 31 | 2 << 16);
    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    assert_eq!(verdict, Verdict::Delivered { queue: 2 });
}

#[test]
fn a_ring_that_has_not_arrived_yet_is_tried_again() {
    let mut bench = Bench::with_queue();
    bench.bus.delay(RING..RING + 0x1000);
    let frame = frame_to(OWN, 60);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), Verdict::Buffered);
    bench.bus.answer();
    bench.step();

    assert_eq!(bench.data(0, 0), frame);
    assert_eq!(bench.bus.retired(), 1);
}

#[test]
fn a_legacy_ring_gets_legacy_descriptors() {
    let mut bench = Bench::new();
    bench.queue(0, 2);
    bench.post(0, 0, 15);
    bench.write(Reg::RXDCTL, 0, ENABLE | VME);
    let mut frame = tcp(&[1; 30]);
    frame[60] ^= 1;

    bench.receive(&RxFrame::new(&tagged(frame.clone(), 0x6064)));

    let done = Legacy::read_from_bytes(&bench.bus.peek(descriptor(0, 0), 16)).unwrap();
    assert_eq!(done.address.get(), buffer(0, 0));
    assert_eq!(usize::from(done.length.get()), frame.len());
    assert_eq!(done.status, 0b0110_1011, "DD, EOP, VP, L4CS, IPCS");
    assert_eq!(done.errors, LegacyErrors::TCPE.bits());
    assert_eq!(done.vlan.get(), 0x6064);
    assert_eq!(bench.bus.peek(buffer(0, 0), frame.len()), frame);
}

#[test]
fn a_legacy_ring_takes_a_long_frame_in_pieces() {
    let mut bench = Bench::new();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
    bench.write(Reg::MAXFRS, 0, 9018 << 16);
    bench.queue(0, 2);
    bench.post(0, 0, 15);
    let frame = frame_to(OWN, 3000);

    bench.receive(&RxFrame::new(&frame));

    let done =
        [0, 1].map(|n| Legacy::read_from_bytes(&bench.bus.peek(descriptor(0, n), 16)).unwrap());
    assert_eq!((done[0].status, done[0].length.get()), (1, 2048));
    assert_eq!((done[1].status, done[1].length.get()), (3, 952));
}

#[test]
fn qde_drops_like_drop_en_and_can_hide_the_tag() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.write(Reg::RXDCTL, 0, ENABLE | VME);
    bench.write_effect(Reg::QDE, 1 << 16 | 3);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    bench.post(0, 0, 8);
    bench.receive(&RxFrame::new(&tagged(frame_to(OWN, 60), 7)));

    assert!(!bench.written_back(0, 0).status().contains(Status::VP));
    assert_eq!(bench.written_back(0, 0).vlan.get(), 0);
    bench.write_effect(Reg::QDE, 1 << 17);
    assert_eq!(bench.get(Reg::QDE) & 3, 3);
    bench.write_effect(Reg::QDE, 1 << 17 | 5 << 8);
    assert_eq!(bench.get(Reg::QDE) & 3, 0);
}

#[test]
fn a_frame_longer_than_rlpml_is_dropped_and_counted() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RXDCTL, 0, ENABLE | 1 << 15 | 100);

    let long = bench.receive(&RxFrame::new(&frame_to(OWN, 101)));
    let fits = bench.receive(&RxFrame::new(&frame_to(OWN, 100)));

    assert_eq!(long, Verdict::Dropped(DropReason::Queue));
    assert_eq!(fits, DELIVERED);
    assert_eq!(bench.get(Reg::QPRDC), 1);
}

#[test]
fn nothing_comes_in_while_receive_is_off_but_the_mac_counts() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RXCTRL, 0, 0);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Disabled));
    assert_eq!(bench.get(Reg::GPRC), 1);
    assert_eq!(bench.get(Reg::RDH), 0);
}

#[test]
fn a_queue_counts_under_the_index_that_rqsmr_gives_it() {
    let mut bench = Bench::new();
    bench.write(Reg::RQSMR, 0, 5 << 16);
    bench.write(Reg::RXDSTATCTRL, 0, 5);
    bench.write(Reg::ETQF, 0, 1 << 31 | 0x88B5);
    bench.write(Reg::ETQS, 0, 1 << 31 | 2 << 16);
    bench.queue(2, ONE_BUFFER | DROP_EN | 2);
    bench.post(2, 0, 1);

    bench.receive(&RxFrame::new(&frame_to(OWN, 100)));
    bench.receive(&RxFrame::new(&frame_to(OWN, 100)));

    assert_eq!(bench.regs.get(Reg::QPRC, 5), 1);
    assert_eq!(bench.regs.get(Reg::QBRC_L, 5), 100);
    assert_eq!(bench.regs.get(Reg::QPRDC, 5), 1);
    assert_eq!(bench.get(Reg::RXDGPC), 1);
    assert_eq!(bench.get(Reg::RXDGBCL), 100);
}

#[test]
fn the_dma_counters_leave_out_queues_that_rxdstatctrl_does_not_select() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RXDSTATCTRL, 0, 3);
    bench.receive(&RxFrame::new(&frame_to(OWN, 100)));
    assert_eq!(bench.get(Reg::RXDGPC), 0);

    bench.write(Reg::RXDSTATCTRL, 0, 0x10);
    bench.receive(&RxFrame::new(&frame_to(OWN, 100)));
    assert_eq!(bench.get(Reg::RXDGPC), 1);
}

#[test]
fn the_packet_buffer_runs_over_when_its_size_is_reached() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.write(Reg::RXPBSIZE, 0, 4 << 10);
    let frame = frame_to(OWN, 1500);

    let verdicts = [0; 3].map(|_| bench.receive(&RxFrame::new(&frame)));

    assert_eq!(verdicts[..2], [Verdict::Buffered; 2]);
    assert_eq!(verdicts[2], Verdict::Dropped(DropReason::PacketBuffer));
    assert_eq!(bench.get(Reg::MPC), 1);
    assert_eq!(bench.get(Reg::GPRC), 3, "missed packets count as received");
}

#[test]
fn the_wire_is_asked_to_wait_before_the_buffer_runs_over_and_until_half_of_it_is_free() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.write(Reg::RXPBSIZE, 0, 20 << 10);
    assert!(bench.rx.has_room());

    for _ in 0..4 {
        bench.receive(&RxFrame::new(&frame_to(OWN, 1500)));
    }
    assert!(!bench.rx.has_room());
    bench.post(0, 0, 1);
    bench.step();

    assert!(bench.rx.has_room());
}

#[test]
fn frames_that_wait_for_a_queue_are_lost_with_it() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    bench.write(Reg::RXDCTL, 0, 0);
    bench.step();

    assert_eq!(bench.get(Reg::QPRDC), 1);
    bench.queue(0, ONE_BUFFER | 2);
    bench.post(0, 0, 8);
    assert_eq!(bench.receive(&RxFrame::new(&frame_to(OWN, 60))), DELIVERED);
}

#[test]
fn the_rest_of_a_packet_does_not_go_into_a_ring_that_was_enabled_anew() {
    let mut bench = Bench::new();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
    bench.write(Reg::MAXFRS, 0, 9018 << 16);
    bench.queue(0, ONE_BUFFER | 2);
    bench.post(0, 0, 1);
    bench.receive(&RxFrame::new(&frame_to(OWN, 4000)));
    assert_eq!(bench.get(Reg::RDH), 1);

    bench.write(Reg::RXDCTL, 0, 0);
    bench.write(Reg::RDH, 0, 0);
    bench.write(Reg::RDT, 0, 0);
    bench.queue(0, ONE_BUFFER | 2);
    bench.post(0, 0, 8);
    bench.step();

    assert_eq!(bench.get(Reg::RDH), 0);
    assert_eq!(bench.get(Reg::QPRDC), 1);
}

#[test]
fn descriptors_are_fetched_in_batches_and_never_past_the_tail() {
    let mut bench = Bench::with_queue();
    bench.bus.take_reads();

    for _ in 0..15 {
        bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    }

    let reads = bench.bus.take_reads();
    assert_eq!(reads.len(), 1);
    assert_eq!(reads.first(), Some(&(RING..RING + 15 * 16)));
}

#[test]
fn descriptors_that_were_fetched_are_forgotten_with_the_ring() {
    let mut bench = Bench::with_queue();
    bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    bench.write(Reg::RXDCTL, 0, 0);
    bench.write(Reg::RDH, 0, 0);
    bench.write(Reg::RDT, 0, 0);
    bench
        .bus
        .poke(descriptor(0, 0), &buffer(5, 5).to_le_bytes());
    bench.write(Reg::RXDCTL, 0, ENABLE);
    bench.write(Reg::RDT, 0, 8);
    let frame = frame_to(OWN, 77);
    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.bus.peek(buffer(5, 5), 77), frame);
}
