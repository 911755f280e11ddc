//! Drivers that program nonsense.

use proptest::prelude::*;

use super::*;

#[test]
fn a_ring_of_length_zero_drops_and_is_counted_once() {
    let mut bench = Bench::new();
    bench.write(Reg::SRRCTL, 0, ONE_BUFFER | 2);
    bench.write(Reg::RXDCTL, 0, ENABLE);
    bench.write(Reg::RDT, 0, 5);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    assert_eq!(bench.faults.ring_length, 1);
    assert_eq!(bench.get(Reg::RDT), 5);
}

#[test]
fn a_tail_past_the_end_of_the_ring_is_counted_and_stops_the_queue_until_it_is_right() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.write(Reg::RDT, 0, 16);
    let frame = frame_to(OWN, 60);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), Verdict::Buffered);
    assert_eq!(bench.faults.tail_past_end, 1);
    assert_eq!(bench.get(Reg::RDT), 16, "reads back as written");
    bench.post(0, 0, 15);
    bench.step();

    assert_eq!(bench.data(0, 0), frame);
}

#[test]
fn the_tail_of_a_disabled_queue_is_plain_storage() {
    let mut bench = Bench::new();
    bench.write(Reg::RDT, 0, 0x5A5A_5A5A);

    assert_eq!(bench.get(Reg::RDT), 0x5A5A);
    assert_eq!(bench.faults.tail_past_end, 0);
}

#[test]
fn a_buffer_size_of_zero_drops_and_is_counted() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER);
    bench.post(0, 0, 15);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    assert_eq!(bench.faults.descriptor, 1);
}

#[test]
fn a_reserved_descriptor_type_drops_and_is_counted() {
    let mut bench = Bench::new();
    bench.queue(0, 7 << 25 | 2);
    bench.post(0, 0, 15);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Queue));
    assert_eq!(bench.faults.descriptor, 1);
}

#[test]
fn a_buffer_outside_of_memory_loses_the_data_but_not_the_descriptor() {
    let mut bench = Bench::with_queue();
    bench.bus.poke(descriptor(0, 0), &u64::MAX.to_le_bytes());
    let frame = frame_to(OWN, 60);

    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);
    assert_eq!(bench.faults.buffer_dma, 1);
    assert!(bench.written_back(0, 0).status().contains(Status::DD));
    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);
    assert_eq!(bench.data(0, 1), frame);
}

#[test]
fn a_ring_that_cannot_be_written_halts_its_queue() {
    let mut bench = Bench::with_queue();
    bench.bus.refuse_writes(RING..RING + 0x1000);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Dma));
    assert_eq!(bench.faults.ring_dma, 1);
}

#[test]
fn a_halted_queue_runs_again_when_it_is_enabled_anew() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.write(Reg::RDBAH, 0, 0x7777);
    bench.post(0, 0, 15);
    bench.receive(&RxFrame::new(&frame_to(OWN, 60)));
    assert_eq!(bench.faults.ring_dma, 1);

    bench.write(Reg::RXDCTL, 0, 0);
    bench.write(Reg::RDBAH, 0, 0);
    bench.write(Reg::RXDCTL, 0, ENABLE);

    assert_eq!(bench.receive(&RxFrame::new(&frame_to(OWN, 60))), DELIVERED);
}

#[test]
fn a_ring_at_the_end_of_the_address_space_does_no_harm() {
    let mut bench = Bench::new();
    bench.queue(0, ONE_BUFFER | 2);
    bench.write(Reg::RDBAL, 0, u32::MAX);
    bench.write(Reg::RDBAH, 0, u32::MAX);
    bench.write(Reg::RDLEN, 0, u32::MAX);
    bench.write(Reg::RDH, 0, 7);
    bench.write(Reg::RDT, 0, 5);

    let verdict = bench.receive(&RxFrame::new(&frame_to(OWN, 60)));

    assert_eq!(verdict, Verdict::Dropped(DropReason::Dma));
}

/// The registers that concern queue 0 and the way there.
const REGISTERS: [Reg; 22] = [
    Reg::RDBAL,
    Reg::RDBAH,
    Reg::RDLEN,
    Reg::RDH,
    Reg::RDT,
    Reg::SRRCTL,
    Reg::RXDCTL,
    Reg::RDT,
    Reg::RXDCTL,
    Reg::FCTRL,
    Reg::VLNCTRL,
    Reg::MRQC,
    Reg::HLREG0,
    Reg::MAXFRS,
    Reg::RXPBSIZE,
    Reg::RXCSUM,
    Reg::RFCTL,
    Reg::FDIRCTRL,
    Reg::FDIRCMD,
    Reg::FDIRHASH,
    Reg::FTQF,
    Reg::ETQF,
];

/// Those that concern VM pools.
const POOL_REGISTERS: [Reg; 14] = [
    Reg::VT_CTL,
    Reg::MRQC,
    Reg::PFVFRE,
    Reg::MPSAR,
    Reg::RAH,
    Reg::VMOLR,
    Reg::VLVF,
    Reg::VLVFB,
    Reg::VLNCTRL,
    Reg::MRCTL,
    Reg::VMRVM,
    Reg::VMRVLAN,
    Reg::ETQF,
    Reg::RDT,
];

#[derive(Clone, Debug)]
enum Act {
    Write(Reg, u32),
    Frame(Vec<u8>, usize, Fcs),
    Step,
}

impl Bench {
    fn act(&mut self, act: Act) {
        match act {
            Act::Write(reg, value) => self.write(reg, 0, value),
            Act::Frame(mut bytes, len, fcs) => {
                bytes.resize(len, 0x45);
                let (head, body) = bytes.split_at(len / 3);
                self.receive(&RxFrame {
                    head,
                    body,
                    fcs,
                    ..RxFrame::new(&[])
                });
            }
            Act::Step => {
                self.step();
            }
        }
    }
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0u32..20,
        Just(ENABLE),
        Just(ENABLE | VME),
        Just(ONE_BUFFER | 1),
        Just(u32::try_from(RING).unwrap()),
        Just(256)
    ]
}

fn act(registers: &'static [Reg]) -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (prop::sample::select(registers), value()).prop_map(|(r, v)| Act::Write(r, v)),
        2 => (
            proptest::collection::vec(any::<u8>(), 0..40),
            0usize..20_000,
            prop_oneof![Just(Fcs::Good), Just(Fcs::Bad)],
        )
            .prop_map(|(bytes, len, fcs)| Act::Frame(bytes, len, fcs)),
        1 => Just(Act::Step),
    ]
}

proptest! {
    #[test]
    fn no_register_values_and_no_frames_take_the_receive_side_down(
        acts in proptest::collection::vec(act(&REGISTERS), 0..60),
    ) {
        let mut bench = Bench::with_queue();

        acts.into_iter().for_each(|act| bench.act(act));

        prop_assert!(bench.get(Reg::RDH) <= 0xFFFF);
    }

    #[test]
    fn no_values_of_the_registers_of_pools_take_the_receive_side_down(
        acts in proptest::collection::vec(act(&POOL_REGISTERS), 0..60),
    ) {
        let mut bench = Bench::with_queue();
        bench.write(Reg::MRQC, 0, 0x8);
        bench.write(Reg::VT_CTL, 0, 1 | 1 << 30);
        bench.write(Reg::PFVFRE, 0, u32::MAX);
        bench.write(Reg::FCTRL, 0, 7 << 8);

        acts.into_iter().for_each(|act| bench.act(act));

        let copies = bench.get(Reg::RXDGPC) + bench.get(Reg::RXDDGPC);
        prop_assert_eq!(bench.get(Reg::QPRC), copies);
    }
}
