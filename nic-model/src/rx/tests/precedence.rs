//! Which of several filters that match a frame chooses its queue (7.1.2), against a list of them in order.

use proptest::prelude::*;

use super::*;

/// Queues, each chosen by one kind of filter only.
const BY_RSS: u8 = 3;
const BY_FLOW_DIRECTOR: u8 = 20;
const BY_SYN: u8 = 30;
const BY_ETHERTYPE: u8 = 40;
/// And from here on by the 5-tuple filter of this index.
const BY_FIVE_TUPLE: u8 = 50;

/// A 5-tuple filter of which some fields are those of the frame.
#[derive(Clone, Debug)]
struct FiveTuple {
    priority: u32,
    /// Fields that are not compared: source, destination, their ports, protocol.
    mask: u32,
    /// Fields that are those of the frame.
    right: u32,
}

impl FiveTuple {
    fn matches(&self) -> bool {
        (self.mask | self.right) & 0x1F == 0x1F
    }
}

#[derive(Clone, Debug)]
struct Filters {
    ethertype: Option<bool>,
    /// Enabled, and stronger than 5-tuple filters.
    syn: Option<bool>,
    five_tuples: Vec<FiveTuple>,
    flow_director: Option<bool>,
}

fn filters() -> impl Strategy<Value = Filters> {
    let five_tuple = (1..=7_u32, 0..32_u32, 0..32_u32, any::<bool>()).prop_map(
        |(priority, mask, right, all)| FiveTuple {
            priority,
            mask,
            right: if all { 0x1F } else { right },
        },
    );
    (
        prop::option::weighted(0.3, any::<bool>()),
        prop::option::of(any::<bool>()),
        prop::collection::vec(five_tuple, 0..5),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(ethertype, syn, five_tuples, flow_director)| Filters {
            ethertype,
            syn,
            five_tuples,
            flow_director,
        })
}

/// What the datasheet's order makes of the filters.
fn expected(filters: &Filters, is_syn: bool) -> u8 {
    let five_tuple = (0..)
        .zip(&filters.five_tuples)
        .filter(|(_, filter)| filter.matches())
        .map(|(index, filter)| (7 - filter.priority, index))
        .min()
        .map(|(_, index): (_, u8)| BY_FIVE_TUPLE + index);
    let syn = filters.syn.filter(|_| is_syn);
    let in_order = [
        filters.ethertype.filter(|is| *is).map(|_| BY_ETHERTYPE),
        syn.filter(|strong| *strong).map(|_| BY_SYN),
        five_tuple,
        syn.map(|_| BY_SYN),
        filters
            .flow_director
            .filter(|is| *is)
            .map(|_| BY_FLOW_DIRECTOR),
    ];
    in_order.into_iter().flatten().next().unwrap_or(BY_RSS)
}

/// TCP 10.0.0.1:1024 to 10.0.0.2:80.
fn segment(is_syn: bool) -> Vec<u8> {
    let tcp = PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1024, 80, 1, 2);
    let mut frame = Vec::new();
    let tcp = if is_syn { tcp.syn() } else { tcp.ack(7) };
    tcp.write(&mut frame, &[0; 20]).unwrap();
    frame
}

fn program(bench: &mut Bench, filters: &Filters) {
    // RSS by TCP over IPv4, every entry of its table alike.
    bench.write(Reg::MRQC, 0, 1 | 1 << 16);
    for entry in 0..32 {
        bench.write(Reg::RETA, entry, u32::from(BY_RSS) * 0x0101_0101);
    }
    if let Some(matches) = filters.ethertype {
        let ethertype = if matches { 0x0800 } else { 0x88B5 };
        bench.write(Reg::ETQF, 5, 1 << 31 | ethertype);
        bench.write(Reg::ETQS, 5, 1 << 31 | u32::from(BY_ETHERTYPE) << 16);
    }
    if let Some(strong) = filters.syn {
        let value = u32::from(strong) << 31 | u32::from(BY_SYN) << 1 | 1;
        bench.write(Reg::SYNQF, 0, value);
    }
    for (n, filter) in filters.five_tuples.iter().enumerate() {
        let other = |field: u32| (filter.right >> field & 1) ^ 1;
        let (from, to) = (
            u32::from_le_bytes([10, 0, 0, 1]),
            u32::from_le_bytes([10, 0, 0, 2]),
        );
        bench.write(Reg::SAQF, n, from ^ other(0) << 24);
        bench.write(Reg::DAQF, n, to ^ other(1) << 24);
        let ports = u32::from(80_u16.to_be()) << 16 | u32::from(1024_u16.to_be());
        bench.write(Reg::SDPQF, n, ports ^ other(2) << 7 ^ other(3) << 23);
        let queue = u32::from(BY_FIVE_TUPLE) + u32::try_from(n).unwrap();
        bench.write(Reg::L34T_IMIR, n, queue << 21);
        let value = 3 << 30 | filter.mask << 25 | filter.priority << 2 | other(4);
        bench.write(Reg::FTQF, n, value);
    }
    if let Some(matches) = filters.flow_director {
        bench.write(Reg::FDIRHKEY, 0, 0x3DAD_14E2);
        bench.write(Reg::FDIRSKEY, 0, 0x174D_3614);
        // A signature table of 64 KB, whose flexible bytes are the ethertype.
        bench.write(Reg::FDIRCTRL, 0, 1 | 6 << 16 | 0xA << 24 | 4 << 28);
        let signature = if matches { 0x6373 } else { 0x6372 };
        bench.write(Reg::FDIRHASH, 0, signature << 16 | 0x0FA6);
        let to_queue = 1 << 11 | 1 << 15 | u32::from(BY_FLOW_DIRECTOR) << 16;
        bench.write(Reg::FDIRCMD, 0, 1 | 1 << 3 | 2 << 5 | to_queue);
    }
}

proptest! {
    #[test]
    fn the_strongest_filter_that_matches_chooses_the_queue(
        filters in filters(),
        is_syn in any::<bool>(),
    ) {
        let mut bench = Bench::new();
        for q in 0..64 {
            bench.queue(q, ONE_BUFFER | 2);
            bench.post(q, 0, 15);
        }
        program(&mut bench, &filters);

        let verdict = bench.receive(&RxFrame::new(&segment(is_syn)));

        let queue = expected(&filters, is_syn);
        prop_assert_eq!(verdict, Verdict::Delivered { queue });
    }
}
