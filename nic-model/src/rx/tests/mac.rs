//! Lengths, errors, flow control and the MAC's counters.

use super::*;

const JUMBOEN: u32 = 1 << 2;

fn bad(frame: &[u8]) -> RxFrame<'_> {
    RxFrame {
        fcs: Fcs::Bad,
        ..RxFrame::new(frame)
    }
}

/// Receives a frame of `len` bytes, FCS included.
fn receive(bench: &mut Bench, len: usize) -> Verdict {
    bench.receive(&RxFrame::new(&frame_to(OWN, len - 4)))
}

const REFUSED: Verdict = Verdict::Dropped(DropReason::Mac);

#[test]
fn frames_of_64_to_1518_bytes_pass() {
    let mut bench = Bench::with_queue();

    assert_eq!(receive(&mut bench, 63), REFUSED);
    assert_eq!(receive(&mut bench, 64), DELIVERED);
    assert_eq!(receive(&mut bench, 1518), DELIVERED);
    assert_eq!(receive(&mut bench, 1519), REFUSED);
    assert_eq!((bench.get(Reg::RUC), bench.get(Reg::ROC)), (1, 1));
}

#[test]
fn a_tag_makes_room_for_itself() {
    let mut bench = Bench::with_queue();
    let frame = |len: usize| tagged(frame_to(OWN, len - 8), 1);

    assert_eq!(bench.receive(&RxFrame::new(&frame(1522))), DELIVERED);
    assert_eq!(bench.receive(&RxFrame::new(&frame(1523))), REFUSED);
}

#[test]
fn jumbo_frames_pass_up_to_maxfrs() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | JUMBOEN);
    bench.write(Reg::MAXFRS, 0, 9728 << 16);

    assert_eq!(receive(&mut bench, 9728), DELIVERED);
    assert_eq!(receive(&mut bench, 9729), REFUSED);
}

#[test]
fn no_setting_lets_frames_of_more_than_15_5_kb_pass() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | JUMBOEN);
    bench.write(Reg::MAXFRS, 0, u32::MAX);
    bench.write(Reg::FCTRL, 0, 2);

    assert_eq!(receive(&mut bench, 15_872), DELIVERED);
    assert_eq!(receive(&mut bench, 15_873), REFUSED);
}

#[test]
fn frames_with_errors_are_dropped_under_the_counter_of_their_error() {
    let mut bench = Bench::with_queue();

    assert_eq!(bench.receive(&bad(&frame_to(OWN, 100))), REFUSED);
    assert_eq!(bench.receive(&bad(&frame_to(OWN, 40))), REFUSED);
    assert_eq!(bench.receive(&bad(&frame_to(OWN, 2000))), REFUSED);

    let counters = [Reg::CRCERRS, Reg::RFC, Reg::RJC].map(|reg| bench.get(reg));
    assert_eq!(counters, [2, 1, 1], "the longest is a CRC error, too");
    assert_eq!(bench.get(Reg::TPR), 3);
    assert_eq!(bench.get(Reg::TORL), 104 + 44 + 2004);
    assert_eq!(bench.get(Reg::GPRC), 0);
}

#[test]
fn received_bytes_carry_into_the_high_halves_of_their_counters() {
    let mut bench = Bench::with_queue();
    let lows = [Reg::TORL, Reg::RXNFGBCL, Reg::RXDGBCL, Reg::QBRC_L];
    lows.iter()
        .for_each(|reg| bench.regs.set(*reg, 0, u32::MAX));

    bench.receive(&RxFrame::new(&frame_to(OWN, 100)));

    let highs = [Reg::TORH, Reg::RXNFGBCH, Reg::RXDGBCH, Reg::QBRC_H];
    assert_eq!(highs.map(|reg| bench.get(reg)), [1; 4]);
    assert_eq!(lows.map(|reg| bench.get(reg)), [103, 103, 99, 99]);
}

#[test]
fn a_bad_frame_that_is_stored_has_the_error_bit_and_its_wrong_fcs() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::FCTRL, 0, 2);
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) & !2);
    let frame = frame_to(OWN, 100);

    assert_eq!(bench.receive(&bad(&frame)), DELIVERED);

    let status = bench.written_back(0, 0).status();
    assert!(status.contains(Status::RXE | Status::EOP));
    let data = bench.data(0, 0);
    assert_eq!(data[..100], frame);
    assert_ne!(crc32fast::hash(&data), 0x2144_DF1C);
    assert_eq!(bench.get(Reg::GPRC), 0);
    assert_eq!(bench.get(Reg::CRCERRS), 1);
}

#[test]
fn a_length_field_has_to_agree_with_the_frame_if_that_is_checked() {
    let mut bench = Bench::with_queue();
    let frame = |field: u16, len: usize| {
        let mut frame = frame_to(OWN, len);
        frame[12..14].copy_from_slice(&field.to_be_bytes());
        frame
    };
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 27);

    // Spanning tree: 38 bytes, padded to 46.
    assert_eq!(bench.receive(&RxFrame::new(&frame(38, 60))), DELIVERED);
    assert_eq!(bench.receive(&RxFrame::new(&frame(86, 100))), DELIVERED);
    assert_eq!(bench.receive(&RxFrame::new(&frame(87, 100))), REFUSED);
    assert_eq!(bench.receive(&RxFrame::new(&frame(50, 100))), REFUSED);
    assert_eq!(bench.get(Reg::RLEC), 2);
    bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) & !(1 << 27));
    assert_eq!(bench.receive(&RxFrame::new(&frame(50, 100))), DELIVERED);
}

#[test]
fn good_frames_count_by_size_and_address() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::FCTRL, 0, 1 << 10 | 1 << 8);
    let sizes = [64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1518];

    for len in sizes {
        receive(&mut bench, len);
    }
    bench.receive(&RxFrame::new(&frame_to([0xFF; 6], 60)));
    bench.receive(&RxFrame::new(&frame_to([1, 0, 0x5E, 0, 0, 1], 60)));

    let buckets = [
        Reg::PRC64,
        Reg::PRC127,
        Reg::PRC255,
        Reg::PRC511,
        Reg::PRC1023,
        Reg::PRC1522,
    ];
    assert_eq!(buckets.map(|reg| bench.get(reg)), [3, 2, 2, 2, 2, 2]);
    assert_eq!(bench.get(Reg::GPRC), 13);
    assert_eq!((bench.get(Reg::BPRC), bench.get(Reg::MPRC)), (1, 1));
    let octets = u32::try_from(sizes.iter().sum::<usize>()).unwrap() + 128;
    assert_eq!(bench.get(Reg::GORCL), octets);
    assert_eq!(bench.get(Reg::RXNFGBCL), octets);
}

#[test]
fn frames_that_a_filter_drops_are_not_good_but_total() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::VLNCTRL, 0, 1 << 30 | 0x8100);

    let address = bench.receive(&RxFrame::new(&frame_to(PEER, 60)));
    let vlan = bench.receive(&RxFrame::new(&tagged(frame_to(OWN, 60), 5)));

    assert_eq!(address, Verdict::Dropped(DropReason::Address));
    assert_eq!(vlan, Verdict::Dropped(DropReason::Vlan));
    assert_eq!(bench.get(Reg::GPRC), 0);
    assert_eq!((bench.get(Reg::TPR), bench.get(Reg::RXNFGPC)), (2, 2));
}

fn pause(quanta: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[1, 0x80, 0xC2, 0, 0, 1]);
    frame[12..16].copy_from_slice(&[0x88, 0x08, 0, 1]);
    frame[16..18].copy_from_slice(&quanta.to_be_bytes());
    frame
}

#[test]
fn pause_frames_are_counted_and_end_in_the_mac() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::FCTRL, 0, 1 << 8);
    bench.write(Reg::MFLCN, 0, 1 << 3 | 1 << 1);

    assert_eq!(bench.receive(&RxFrame::new(&pause(100))), REFUSED);
    assert_eq!(bench.receive(&RxFrame::new(&pause(0))), REFUSED);

    assert_eq!(bench.get(Reg::LXOFFRXCNT), 1);
    assert_eq!(bench.get(Reg::LXONRXCNT), 1);
    assert_eq!((bench.get(Reg::GPRC), bench.get(Reg::MPRC)), (0, 0));
}

#[test]
fn pause_frames_that_are_not_discarded_reach_the_host_uncounted() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::FCTRL, 0, 1 << 8);

    assert_eq!(bench.receive(&RxFrame::new(&pause(100))), DELIVERED);

    assert_eq!(bench.get(Reg::LXOFFRXCNT), 0);
    assert_eq!(bench.get(Reg::GPRC), 0);
}

#[test]
fn priority_pause_frames_count_for_their_priorities() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::MFLCN, 0, 1 << 2 | 1 << 1);
    let mut frame = pause(0);
    frame[14..18].copy_from_slice(&[1, 1, 0, 0b1010]);
    frame[20..22].copy_from_slice(&[0, 9]);

    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.regs.get(Reg::PXOFFRXCNT, 1), 1);
    assert_eq!(bench.regs.get(Reg::PXONRXCNT, 3), 1);
    assert_eq!(bench.regs.get(Reg::PXONRXCNT, 0), 0);
}

#[test]
fn other_mac_control_frames_pass_with_pmcf_only() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::FCTRL, 0, 1 << 8);
    let mut frame = pause(0);
    frame[15] = 9;

    assert_eq!(bench.receive(&RxFrame::new(&frame)), REFUSED);
    bench.write(Reg::MFLCN, 0, 1);
    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);
}
