//! FC frames that leave: what is inserted, and sequences (7.13.2).

use ixgbe_spec::{
    descriptor::tx::{
        Context, ContextHigh, ContextLow, DataControl, Descriptor, FcoeFlags, L4Type,
    },
    register::Reg,
};
use proptest::prelude::*;

use super::world::{World, plain};
use crate::fcoe::tests::{
    END_SEQUENCE, EOF_N, EOF_NI, EOF_T, FROM_RESPONDER, Fc, RELATIVE_OFFSET, SEQUENCE_INITIATIVE,
    SOF_I3, SOF_N3,
};

const TO: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Ethernet, FCoE and FC header.
const HEADERS: usize = 14 + 14 + 24;

/// What Linux says of a packet of class 3.
const CLASS3: FcoeFlags = FcoeFlags {
    eof: 0,
    class3: true,
    parinc: false,
    orie: false,
    oris: false,
};

/// The context that Linux writes for an `FCoE` packet.
fn context(fcoe: FcoeFlags, mss: u16) -> Context {
    Context {
        low: ContextLow::new()
            .with_maclen(24)
            .with_iplen(52)
            .with_fcoe(fcoe),
        high: ContextHigh::new()
            .with_fcoe(true)
            .with_l4t(if mss == 0 {
                L4Type::Udp
            } else {
                L4Type::Reserved
            })
            .with_mss(mss),
    }
}

/// A packet as it lies in memory: no trailer, and a SOF that is not looked at.
fn in_memory(frame: &Fc) -> Vec<u8> {
    let mut bytes = frame.ethernet();
    *bytes.last_mut().unwrap() = 0;
    bytes.extend(frame.fc());
    bytes
}

fn whole(frame: &Fc) -> DataControl {
    plain(in_memory(frame).len()).with_cc(true)
}

fn cut(frame: &Fc) -> DataControl {
    plain(frame.payload.len()).with_cc(true).with_tse(true)
}

impl World {
    fn send_fc(&mut self, context: Context, frame: &Fc, control: DataControl) -> Vec<Vec<u8>> {
        let mut descriptors: Vec<Descriptor> = vec![context.into()];
        descriptors.extend(self.packet(&in_memory(frame), &[20, 40], control));
        self.post(0, &descriptors);
        self.run();
        self.sent()
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 13 + at / 256).to_le_bytes()[0])
        .collect()
}

#[test]
fn a_frame_gets_its_delimiters_and_its_crc() {
    let mut world = World::with_ring(8);
    let frame = Fc {
        eof: EOF_T,
        ..Fc::data(TO, 7, &pattern(2048))
    };
    let flags = FcoeFlags {
        eof: 1,
        oris: true,
        ..CLASS3
    };

    let sent = world.send_fc(context(flags, 0), &frame, whole(&frame));

    assert_eq!(sent, [frame.bytes()]);
    assert_eq!(world.regs.get(Reg::FCOEPTC, 0), 1);
    assert_eq!(world.regs.get(Reg::FCOEDWTC, 0), (24 + 2048 + 4) / 4);
    assert_eq!(world.faults, Default::default());
}

#[test]
fn the_codes_are_those_of_tsoff_and_teoff() {
    let frame = Fc::data(TO, 7, &pattern(8));
    let mut world = World::with_ring(64);
    world.regs.set(Reg::TSOFF, 0, 0xA3A2_A1A0);
    world.regs.set(Reg::TEOFF, 0, 0xB3B2_B1B0);
    let mut codes = |oris, class3, eof| {
        let flags = FcoeFlags {
            oris,
            class3,
            eof,
            ..FcoeFlags::default()
        };
        let sent = world.send_fc(context(flags, 0), &frame, whole(&frame));
        (sent[0][27], sent[0][HEADERS + 8 + 4])
    };

    assert_eq!(codes(true, false, 0), (0xA0, 0xB0));
    assert_eq!(codes(true, true, 1), (0xA1, 0xB1));
    assert_eq!(codes(false, false, 2), (0xA2, 0xB2));
    assert_eq!(codes(false, true, 3), (0xA3, 0xB3));
}

#[test]
fn the_reset_values_of_the_codes_are_the_standards() {
    let mut world = World::with_ring(8);
    let frame = Fc {
        sof: SOF_N3,
        eof: EOF_NI,
        ..Fc::data(TO, 7, &pattern(8))
    };

    let sent = world.send_fc(
        context(FcoeFlags { eof: 2, ..CLASS3 }, 0),
        &frame,
        whole(&frame),
    );

    assert_eq!(sent, [frame.bytes()]);
}

#[test]
fn a_packet_without_check_context_leaves_as_it_is() {
    let mut world = World::with_ring(8);
    let frame = Fc::data(TO, 7, &pattern(64));
    let control = whole(&frame).with_cc(false);

    let sent = world.send_fc(context(CLASS3, 0), &frame, control);

    assert_eq!(sent, [in_memory(&frame)]);
    assert_eq!(world.regs.get(Reg::FCOEPTC, 0), 0);
}

#[test]
fn a_large_packet_leaves_as_the_frames_of_a_sequence() {
    let mut world = World::with_ring(8);
    let payload = pattern(5000);
    let last = END_SEQUENCE | SEQUENCE_INITIATIVE | 2;
    let frame = Fc {
        f_ctl: RELATIVE_OFFSET | FROM_RESPONDER | last,
        seq_cnt: 0xFFFF,
        parameter: 0x1_0000,
        ..Fc::data(TO, 7, &payload)
    };
    let flags = FcoeFlags {
        parinc: true,
        orie: true,
        oris: true,
        ..CLASS3
    };

    let sent = world.send_fc(context(flags, 2048), &frame, cut(&frame));

    let expected = [
        Fc {
            f_ctl: RELATIVE_OFFSET | FROM_RESPONDER,
            sof: SOF_I3,
            eof: EOF_N,
            payload: payload[..2048].to_vec(),
            ..frame.clone()
        },
        Fc {
            f_ctl: RELATIVE_OFFSET | FROM_RESPONDER,
            sof: SOF_N3,
            eof: EOF_N,
            seq_cnt: 0,
            parameter: 0x1_0800,
            payload: payload[2048..4096].to_vec(),
            ..frame.clone()
        },
        Fc {
            sof: SOF_N3,
            eof: EOF_T,
            seq_cnt: 1,
            parameter: 0x1_1000,
            payload: payload[4096..].to_vec(),
            ..frame.clone()
        },
    ];
    assert_eq!(sent, expected.map(|frame| frame.bytes()));
    assert_eq!(world.regs.get(Reg::FCOEPTC, 0), 3);
    assert_eq!(world.regs.get(Reg::FCOEDWTC, 0), (3 * 28 + 5000) / 4);
}

#[test]
fn a_part_of_a_sequence_neither_begins_nor_ends_it() {
    let mut world = World::with_ring(8);
    let frame = Fc::data(TO, 7, &pattern(256));

    let sent = world.send_fc(context(CLASS3, 128), &frame, cut(&frame));

    // Without PARINC the parameter stays.
    let piece = |n: u16, payload: &[u8]| Fc {
        sof: SOF_N3,
        eof: EOF_N,
        seq_cnt: n,
        payload: payload.to_vec(),
        ..frame.clone()
    };
    let expected = [
        piece(0, &frame.payload[..128]),
        piece(1, &frame.payload[128..]),
    ];
    assert_eq!(sent, expected.map(|frame| frame.bytes()));
}

#[test]
fn each_frame_gets_the_tag() {
    let mut world = World::with_ring(8);
    let frame = Fc {
        sof: SOF_N3,
        ..Fc::data(TO, 7, &pattern(256))
    };
    let mut context = context(CLASS3, 256);
    context.low.set_vlan(0x6064);

    let sent = world.send_fc(context, &frame, cut(&frame).with_vle(true));

    let mut expected = frame.bytes();
    expected.splice(12..12, [0x81, 0, 0x60, 0x64]);
    assert_eq!(sent, [expected]);
}

#[test]
fn a_busy_wire_and_a_short_turn_lose_no_frame() {
    let mut world = World::with_ring(8);
    let frame = Fc::data(TO, 7, &pattern(64 * 40));
    world.wire.room = Some(5);
    world.send_fc(context(CLASS3, 64), &frame, cut(&frame));
    world.wire.room = None;
    while world.step(3) {}

    let sent = world.sent();
    assert_eq!(sent.len(), 35);
    let payload: Vec<u8> = sent
        .iter()
        .flat_map(|frame| frame[HEADERS..][..64].to_vec())
        .collect();
    assert_eq!(payload, frame.payload[64 * 5..]);
    assert_eq!(world.regs.get(Reg::FCOEPTC, 0), 40);
}

#[test]
fn a_context_that_contradicts_its_packet_is_a_fault() {
    let frame = Fc::data(TO, 7, &pattern(256));
    let sends = |change: &dyn Fn(&mut Context), control: DataControl| {
        let mut world = World::with_ring(16);
        let mut context = context(CLASS3, 128);
        change(&mut context);
        let sent = world.send_fc(context, &frame, control);
        (sent.len(), world.faults.offload)
    };

    assert_eq!(sends(&|_| {}, cut(&frame)), (2, 0));
    assert_eq!(
        sends(&|context| context.high.set_mss(0), cut(&frame)),
        (0, 1)
    );
    assert_eq!(
        sends(&|context| context.high.set_mss(126), cut(&frame)),
        (0, 1)
    );
    assert_eq!(
        sends(&|context| context.low.set_maclen(8), cut(&frame)),
        (0, 1)
    );
    assert_eq!(
        sends(&|context| context.low.set_iplen(51), cut(&frame)),
        (0, 1)
    );
    assert_eq!(
        sends(&|context| context.low.set_iplen(500), cut(&frame)),
        (0, 1)
    );
    assert_eq!(sends(&|_| {}, cut(&frame).with_paylen(252)), (0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the context says, nothing panics, and what leaves has a right FC CRC and no more than the payload.
    #[test]
    fn whatever_the_context_says_the_frames_are_whole(
        low in any::<u64>(),
        mss in any::<u16>(),
        iplen in prop_oneof![Just(52u16), 0u16..512],
        maclen in prop_oneof![Just(24u8), 0u8..128],
        tse in any::<bool>(),
        words in 2usize..400,
    ) {
        let mut world = World::with_ring(8);
        let frame = Fc::data(TO, 7, &pattern(4 * words));
        let mut context = context(CLASS3, mss / 4 * 4);
        context.low = ContextLow::from_bits(low).with_iplen(iplen).with_maclen(maclen);
        let control = if tse { cut(&frame) } else { whole(&frame) };

        let sent = world.send_fc(context, &frame, control);

        prop_assert!(sent.len() as u64 + world.faults.offload > 0);
        let start = usize::from(maclen) + 4;
        for frame in sent {
            let crc = frame.len() - 8;
            prop_assert_eq!(&frame[crc..crc + 4], crate::fcoe::tests::crc32(&frame[start..crc]).to_le_bytes());
        }
    }
}
