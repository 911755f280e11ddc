//! What the receive side counts adds up with what came over the wire (8.2.3.23).

use proptest::prelude::*;

use super::*;
use crate::queue_counts::QueueCount;

/// A frame on the wire: length without FCS, address, FCS, and the queue that an ethertype filter gives it.
#[derive(Clone, Debug)]
struct Arriving {
    len: usize,
    to: [u8; 6],
    fcs: Fcs,
    queue: u16,
}

const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const GROUP: [u8; 6] = [1, 0, 0x5E, 0, 0, 1];
const EVERYBODY: [u8; 6] = [0xFF; 6];

fn arriving() -> impl Strategy<Value = Arriving> {
    (
        prop_oneof![20..59_usize, 60..1514_usize, Just(60), 1515..1600_usize],
        prop::sample::select(vec![OWN, OWN, STRANGER, GROUP, EVERYBODY]),
        prop_oneof![3 => Just(Fcs::Good), 1 => Just(Fcs::Bad)],
        0..8_u16,
    )
        .prop_map(|(len, to, fcs, queue)| Arriving {
            len,
            to,
            fcs,
            queue,
        })
}

impl Arriving {
    fn bytes(&self) -> Vec<u8> {
        let mut frame = frame_to(self.to, self.len);
        frame[12..14].copy_from_slice(&(0x9000 + self.queue).to_be_bytes());
        frame
    }

    fn on_wire(&self) -> u64 {
        self.len as u64 + 4
    }

    fn is_sound(&self) -> bool {
        self.fcs == Fcs::Good && (60..=1514).contains(&self.len)
    }

    fn is_good(&self) -> bool {
        self.is_sound() && self.to != STRANGER
    }
}

fn sum(frames: &[Arriving], which: impl Fn(&Arriving) -> bool) -> (u32, u64) {
    let chosen = frames.iter().filter(|frame| which(frame));
    let bytes = chosen.clone().map(Arriving::on_wire).sum();
    (u32::try_from(chosen.count()).unwrap(), bytes)
}

impl Bench {
    fn both(&self, low: Reg, high: Reg, index: usize) -> u64 {
        u64::from(self.regs.get(high, index)) << 32 | u64::from(self.regs.get(low, index))
    }
}

proptest! {
    #[test]
    fn counters_are_the_sums_of_what_arrived(
        frames in prop::collection::vec(arriving(), 0..60),
        mapping in prop::array::uniform2(prop::array::uniform4(0..16_u32)),
    ) {
        let mut bench = Bench::new();
        // All multicasts.
        bench.write(Reg::FCTRL, 0, 1 << 10 | 1 << 8);
        // Any queue.
        bench.write(Reg::RXDSTATCTRL, 0, 1 << 4);
        for q in 0..8_u16 {
            let n = usize::from(q);
            bench.queue(n, ONE_BUFFER | 2);
            bench.write(Reg::ETQF, n, 1 << 31 | (0x9000 + u32::from(q)));
            bench.write(Reg::ETQS, n, 1 << 31 | u32::from(q) << 16);
        }
        for (n, counters) in mapping.iter().enumerate() {
            let bytes = counters.map(|counter| u8::try_from(counter).unwrap());
            bench.write(Reg::RQSMR, n, u32::from_le_bytes(bytes));
        }

        for frame in &frames {
            let q = usize::from(frame.queue);
            bench.post(q, 0, 15);
            bench.write(Reg::RDT, q, (bench.regs.get(Reg::RDH, q) + 15) % 16);
            let bytes = frame.bytes();
            bench.receive(&RxFrame { fcs: frame.fcs, ..RxFrame::new(&bytes) });
        }

        let all = sum(&frames, |_| true);
        prop_assert_eq!((bench.get(Reg::TPR), bench.both(Reg::TORL, Reg::TORH, 0)), all);
        let good = sum(&frames, Arriving::is_good);
        prop_assert_eq!((bench.get(Reg::GPRC), bench.both(Reg::GORCL, Reg::GORCH, 0)), good);
        let sound = sum(&frames, Arriving::is_sound);
        let unfiltered = (bench.get(Reg::RXNFGPC), bench.both(Reg::RXNFGBCL, Reg::RXNFGBCH, 0));
        prop_assert_eq!(unfiltered, sound);
        let to = |to: [u8; 6]| sum(&frames, |frame| frame.is_good() && frame.to == to).0;
        prop_assert_eq!(bench.get(Reg::BPRC), to(EVERYBODY));
        prop_assert_eq!(bench.get(Reg::MPRC), to(GROUP));

        let sizes = [64, 127, 255, 511, 1023, 1522];
        let registers = [
            Reg::PRC64, Reg::PRC127, Reg::PRC255, Reg::PRC511, Reg::PRC1023, Reg::PRC1522,
        ];
        let mut from = 0;
        for (most, register) in sizes.into_iter().zip(registers) {
            let of_size = |frame: &Arriving| frame.is_good() && (from..=most).contains(&frame.on_wire());
            prop_assert_eq!(bench.get(register), sum(&frames, of_size).0);
            from = most + 1;
        }

        let is = |short: bool, long: bool, fcs: Fcs| {
            let kind = |frame: &Arriving| {
                (frame.len < 60, frame.len > 1514, frame.fcs) == (short, long, fcs)
            };
            sum(&frames, kind).0
        };
        let with_crc_error = is(false, false, Fcs::Bad) + is(false, true, Fcs::Bad);
        prop_assert_eq!(bench.get(Reg::CRCERRS), with_crc_error);
        prop_assert_eq!(bench.get(Reg::RUC), is(true, false, Fcs::Good));
        prop_assert_eq!(bench.get(Reg::RFC), is(true, false, Fcs::Bad));
        prop_assert_eq!(bench.get(Reg::ROC), is(false, true, Fcs::Good));
        prop_assert_eq!(bench.get(Reg::RJC), is(false, true, Fcs::Bad));

        for counter in 0..16_u32 {
            let counted_there = |frame: &Arriving| {
                let queue = usize::from(frame.queue);
                frame.is_good() && mapping[queue / 4][queue % 4] == counter
            };
            let (packets, bytes) = sum(&frames, counted_there);
            let n = counter as usize;
            prop_assert_eq!(bench.regs.get(Reg::QPRC, n), packets);
            // Without the FCS, which is not written to memory.
            let bytes = bytes - 4 * u64::from(packets);
            prop_assert_eq!(bench.both(Reg::QBRC_L, Reg::QBRC_H, n), bytes);
        }
        let counted: Vec<_> = bench.rx.queue_counts().used().collect();
        let by_queue = |queue: u8| {
            let (packets, bytes) = sum(&frames, |frame: &Arriving| {
                frame.is_good() && u32::from(frame.queue) == u32::from(queue)
            });
            let bytes = bytes - 4 * u64::from(packets);
            (usize::from(queue), QueueCount { packets: packets.into(), bytes })
        };
        let expected: Vec<_> = (0..8).map(by_queue).filter(|(_, count)| count.packets != 0).collect();
        prop_assert_eq!(counted, expected);
        prop_assert_eq!(bench.get(Reg::RXDGPC), good.0);
        let bytes = good.1 - 4 * u64::from(good.0);
        prop_assert_eq!(bench.both(Reg::RXDGBCL, Reg::RXDGBCH, 0), bytes);
    }
}
