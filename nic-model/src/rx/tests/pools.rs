//! Frames and the VM pools that get them.

use ixgbe_spec::descriptor::rx::RssType;

use super::*;

/// MRQC modes (8.2.3.7): pools alone, with RSS, with traffic classes.
const POOLS_64: u32 = 0x8;
const POOLS_32_RSS: u32 = 0xA;
const POOLS_64_RSS: u32 = 0xB;
const POOLS_16_CLASSES: u32 = 0xC;
const POOLS_32_CLASSES: u32 = 0xD;

const BROADCAST: [u8; 6] = [0xFF; 6];
/// VMOLR: broadcasts, and frames without tag.
const BAM: u32 = 1 << 27;
const AUPE: u32 = 1 << 24;

impl Bench {
    /// Pools and replication are on, every pool receives, and all queues have descriptors. OWN belongs to pool 5.
    fn with_pools(mode: u32) -> Self {
        let mut bench = Self::new();
        for q in 0..128 {
            bench.queue(q, ONE_BUFFER | 2);
            bench.post(q, 0, 15);
        }
        bench.write(Reg::MRQC, 0, 0x0033_0000 | mode);
        bench.write(Reg::VT_CTL, 0, 1 | 1 << 30);
        bench.write(Reg::PFVFRE, 0, u32::MAX);
        bench.write(Reg::PFVFRE, 1, u32::MAX);
        bench.write(Reg::MPSAR, 0, 1 << 5);
        bench
    }

    /// Queues that hold a frame.
    fn queues(&self) -> Vec<u8> {
        (0..128)
            .filter(|q| self.regs.get(Reg::RDH, usize::from(*q)) > 0)
            .collect()
    }

    fn queues_after(mut self, frame: &[u8]) -> Vec<u8> {
        self.receive(&RxFrame::new(frame));
        self.queues()
    }
}

#[test]
fn a_frame_goes_to_the_first_queue_of_its_pool() {
    let frame = frame_to(OWN, 60);

    assert_eq!(Bench::with_pools(POOLS_64).queues_after(&frame), [10]);
    assert_eq!(Bench::with_pools(POOLS_64_RSS).queues_after(&frame), [10]);
    assert_eq!(Bench::with_pools(POOLS_32_RSS).queues_after(&frame), [20]);
    assert_eq!(
        Bench::with_pools(POOLS_32_CLASSES).queues_after(&frame),
        [20]
    );
    assert_eq!(
        Bench::with_pools(POOLS_16_CLASSES).queues_after(&frame),
        [40]
    );
}

#[test]
fn without_vt_ena_pools_mean_nothing() {
    let mut bench = Bench::with_pools(1);
    bench.write(Reg::VT_CTL, 0, 1 << 30);

    assert_eq!(bench.receive(&RxFrame::new(&frame_to(OWN, 60))), DELIVERED);
}

#[test]
fn rss_within_a_pool_uses_as_many_queues_as_the_pool_has() {
    let queue_with = |mode, rqpl: u32| {
        let mut bench = Bench::with_pools(mode);
        for n in 0..32 {
            bench.write(Reg::RETA, n, 0x0707_0707);
        }
        bench.write(Reg::PSRTYPE, 5, rqpl << 29);
        bench.queues_after(&tcp(&[0; 10]))
    };

    assert_eq!(queue_with(POOLS_32_RSS, 0), [20]);
    assert_eq!(queue_with(POOLS_32_RSS, 1), [21]);
    assert_eq!(queue_with(POOLS_32_RSS, 2), [23]);
    assert_eq!(queue_with(POOLS_64_RSS, 2), [11]);
}

#[test]
fn the_traffic_class_chooses_the_queue_in_the_pool() {
    let queue_with = |mode| {
        let mut bench = Bench::with_pools(mode);
        // User priority 6 to class 3.
        bench.write(Reg::RTRUP2TC, 0, 3 << 18);
        bench.queues_after(&tagged(tcp(&[0; 10]), 6 << 13 | 1))
    };

    assert_eq!(queue_with(POOLS_16_CLASSES), [43]);
    assert_eq!(queue_with(POOLS_32_CLASSES), [23]);
}

#[test]
fn a_broadcast_is_copied_to_each_pool_that_wants_it_and_counts_once_for_the_mac() {
    let mut bench = Bench::with_pools(POOLS_64);
    for pool in [0, 7, 63] {
        bench.write(Reg::VMOLR, pool, BAM);
    }
    let frame = frame_to(BROADCAST, 100);
    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.queues(), [0, 14, 126]);
    assert_eq!(bench.data(0, 0), frame);
    assert_eq!(bench.data(14, 0), frame);
    assert_eq!(bench.data(126, 0), frame);
    assert_eq!([bench.get(Reg::GPRC), bench.get(Reg::BPRC)], [1, 1]);
    assert_eq!([bench.get(Reg::RXDGPC), bench.get(Reg::RXDDGPC)], [1, 2]);
    let bytes = [bench.get(Reg::RXDGBCL), bench.get(Reg::RXDDGBCL)];
    assert_eq!(bytes, [100, 200]);
}

#[test]
fn bytes_of_copies_carry_into_the_high_half_of_their_counter() {
    let mut bench = Bench::with_pools(POOLS_64);
    for pool in [0, 7] {
        bench.write(Reg::VMOLR, pool, BAM);
    }
    bench.regs.set(Reg::RXDDGBCL, 0, u32::MAX);

    bench.receive(&RxFrame::new(&frame_to(BROADCAST, 100)));

    assert_eq!(bench.get(Reg::RXDDGBCL), 99);
    assert_eq!(bench.get(Reg::RXDDGBCH), 1);
}

#[test]
fn a_frame_of_no_pool_goes_to_the_default_pool_or_is_dropped() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::MPSAR, 0, 0);
    bench.write(Reg::VT_CTL, 0, 1 | 1 << 30 | 9 << 7);
    let frame = frame_to(OWN, 60);

    let verdict = bench.receive(&RxFrame::new(&frame));
    assert_eq!(verdict, Verdict::Delivered { queue: 18 });

    bench.write(Reg::VT_CTL, 0, 1 | 1 << 30 | 9 << 7 | 1 << 29);
    let verdict = bench.receive(&RxFrame::new(&frame));
    assert_eq!(verdict, Verdict::Dropped(DropReason::Pool));
}

#[test]
fn a_pool_that_may_not_receive_gets_nothing() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::PFVFRE, 0, !(1 << 5));

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Pool));
}

#[test]
fn a_vlan_is_for_its_pools_and_a_frame_without_tag_for_those_that_take_it() {
    let queues_of = |frame: &[u8]| {
        let mut bench = Bench::with_pools(POOLS_64);
        bench.write(Reg::MPSAR, 0, 1 << 5 | 1 << 6);
        bench.write(Reg::VLNCTRL, 0, 0x8100 | 1 << 30);
        bench.write(Reg::VFTA, 3, 1 << 4);
        bench.write(Reg::VLVF, 40, 1 << 31 | 100);
        bench.write(Reg::VLVFB, 80, 1 << 6);
        bench.write(Reg::VMOLR, 5, AUPE);
        bench.write(Reg::VT_CTL, 0, 1 | 1 << 30 | 1 << 29);
        bench.queues_after(frame)
    };

    assert_eq!(queues_of(&tagged(frame_to(OWN, 60), 100)), [12]);
    assert_eq!(queues_of(&frame_to(OWN, 60)), [10]);
    assert_eq!(queues_of(&tagged(frame_to(OWN, 60), 101)), [0u8; 0]);
}

#[test]
fn each_pool_strips_tags_and_splits_headers_as_it_wants() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::MPSAR, 0, 1 << 5 | 1 << 6);
    bench.write(Reg::RXDCTL, 12, ENABLE | VME);
    let frame = tcp(&[1; 30]);

    bench.receive(&RxFrame::new(&tagged(frame.clone(), 100)));

    assert_eq!(bench.data(10, 0), tagged(frame.clone(), 100));
    assert_eq!(bench.data(12, 0), frame);
    assert_eq!(bench.written_back(12, 0).vlan.get(), 100);
}

#[test]
fn a_pool_without_descriptors_that_drops_holds_up_no_other_pool() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::VMOLR, 1, BAM);
    bench.write(Reg::VMOLR, 2, BAM);
    bench.write(Reg::RDT, 2, 0);
    bench.write(Reg::SRRCTL, 2, ONE_BUFFER | 2 | DROP_EN);
    let frame = frame_to(BROADCAST, 60);

    bench.receive(&RxFrame::new(&frame));
    bench.receive(&RxFrame::new(&frame));

    assert_eq!(bench.regs.get(Reg::RDH, 4), 2);
    assert_eq!(bench.get(Reg::QPRDC), 2);
    assert_eq!([bench.get(Reg::RXDGPC), bench.get(Reg::RXDDGPC)], [2, 0]);
}

#[test]
fn a_copy_that_finds_no_descriptor_waits_and_the_others_are_delivered() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::VMOLR, 1, BAM);
    bench.write(Reg::VMOLR, 2, BAM);
    bench.write(Reg::RDT, 4, 0);
    let frame = frame_to(BROADCAST, 60);

    bench.receive(&RxFrame::new(&frame));
    assert_eq!(bench.queues(), [2]);

    bench.post(4, 0, 15);
    bench.step();
    assert_eq!(bench.queues(), [2, 4]);
    assert_eq!(bench.data(4, 0), frame);
}

#[test]
fn an_ethertype_filter_chooses_pool_and_queue() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::ETQF, 2, 1 << 31 | 1 << 26 | 9 << 20 | 0x88B5);
    bench.write(Reg::ETQS, 2, 1 << 31 | 19 << 16);

    assert_eq!(bench.queues_after(&frame_to(OWN, 60)), [19]);
}

#[test]
fn of_several_copies_a_filter_moves_only_that_of_the_pool_with_its_queue() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::MPSAR, 0, 1 << 5 | 1 << 6);
    bench.write(Reg::SYNQF, 0, 13 << 1 | 1);
    let mut syn = tcp(&[0; 10]);
    syn[47] = 1 << 1;

    assert_eq!(bench.queues_after(&syn), [10, 13]);
}

#[test]
fn a_mirror_rule_copies_what_a_pool_receives() {
    let mut bench = Bench::with_pools(POOLS_64);
    bench.write(Reg::MRCTL, 2, 1 | 50 << 8);
    bench.write(Reg::VMRVM, 2, 1 << 5);

    assert_eq!(bench.queues_after(&frame_to(OWN, 60)), [10, 100]);
}

#[test]
fn a_frame_of_another_pool_says_so_and_none_of_its_upper_headers_is_looked_at() {
    let mut bench = Bench::with_pools(POOLS_64_RSS);
    for n in 0..32 {
        bench.write(Reg::RETA, n, 0x0101_0101);
    }
    bench.write(Reg::PSRTYPE, 5, 1 << 29);
    let frame = tcp(&[0; 10]);
    bench.with_hw(|rx, hw| rx.loop_back(&frame, filter::pool::PoolSet::of(5), hw));
    bench.rx.settle(&mut bench.regs);

    assert_eq!(bench.queues(), [10]);
    assert_eq!(bench.data(10, 0), frame);
    let done = bench.written_back(10, 0);
    assert_eq!(done.status(), Status::DD | Status::EOP | Status::LB);
    assert_eq!(done.info().rss_type(), RssType::None);
    assert_eq!([bench.get(Reg::GPRC), bench.get(Reg::RXDGPC)], [0, 0]);
    assert_eq!(bench.get(Reg::RXLPBKGPC), 1);
    assert_eq!(bench.regs.get(Reg::QPRC, 0), 1);
}
