//! The system time and the stamps as software sees them.

use etherparse::PacketBuilder;
use ixgbe_spec::register::Reg;

use crate::{
    Module,
    port::tests::world::{MAC, World},
    rx::Verdict,
    testing::TestBus,
    wire::{Fcs, RxFrame},
};

const RX_RING: u64 = TestBus::BASE;
const TX_RING: u64 = RX_RING + 0x1000;
const TX_BUFFER: u64 = TX_RING + 0x1000;
const RX_BUFFERS: u64 = TX_BUFFER + 0x1000;
const DESCRIPTORS: u32 = 16;
/// MAC.1588 of a data descriptor.
const STAMP: u64 = 1 << 19;

/// What Linux writes at 10 Gbit/s: 6.4 ns in units of 2^-21 ns.
const TIMINCA_10G: u32 = 1 << 24 | 0xCC_CCCC;
const VALID: u32 = 1;
const ENABLED: u32 = 1 << 4;
const TYPE_L2_V2: u32 = 0;
const TYPE_L4_V1: u32 = 1 << 1;
const TYPE_L2_L4_V2: u32 = 2 << 1;
const TYPE_EVENT_V2: u32 = 5 << 1;
/// ETQF as Linux sets it for PTP over Ethernet.
const ETQF_1588: u32 = 1 << 31 | 1 << 30 | 0x88F7;

const SYNC: u8 = 0;
const DELAY_REQ: u8 = 1;
const PDELAY_RESP: u8 = 3;
const FOLLOW_UP: u8 = 8;
const PTP_MULTICAST: [u8; 6] = [0x01, 0x1B, 0x19, 0, 0, 0];
const SOURCE: [u8; 8] = [0x02, 0x82, 0x59, 0xFF, 0xFE, 0x12, 0x34, 0x56];

/// A port with a ring of each kind, whose clock runs as Linux has it, and which stamps by Linux's "all events of version
/// 2".
fn world() -> World {
    let mut world = World::enabled();
    world.set(Reg::RDBAL, low(RX_RING));
    world.set(Reg::RDLEN, 16 * DESCRIPTORS);
    world.set(Reg::SRRCTL, 0x0200_0402);
    world.set(Reg::RXDCTL, 0x0200_0000);
    for n in 0..u64::from(DESCRIPTORS) {
        let buffer = RX_BUFFERS + n * 0x800;
        world.bus.poke(RX_RING + 16 * n, &buffer.to_le_bytes());
    }
    world.set(Reg::RDT, DESCRIPTORS - 1);
    world.set(Reg::FCTRL, 0x0000_0702);
    world.set(Reg::RXCTRL, 1);
    world.set(Reg::DMATXCTL, 0x8100_0001);
    world.set(Reg::TDBAL, low(TX_RING));
    world.set(Reg::TDLEN, 16 * DESCRIPTORS);
    world.set(Reg::TXDCTL, 0x0200_0000);
    world.set_at(Reg::ETQF, 3, ETQF_1588);
    world.set(Reg::RXMTRL, 319 << 16);
    world.set(Reg::TSYNCRXCTL, ENABLED | TYPE_EVENT_V2);
    world.set(Reg::TSYNCTXCTL, ENABLED);
    world.set(Reg::SYSTIML, 0);
    world.set(Reg::SYSTIMH, 0);
    world.set(Reg::TIMINCA, TIMINCA_10G);
    world
}

fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap()
}

fn pair(world: &mut World, low: Reg, high: Reg) -> u64 {
    let low = world.get(low);
    u64::from(world.get(high)) << 32 | u64::from(low)
}

fn system_time(world: &mut World) -> u64 {
    pair(world, Reg::SYSTIML, Reg::SYSTIMH)
}

/// A version 2 message of 44 bytes.
fn message(id: u8, sequence: u16) -> Vec<u8> {
    let mut message = vec![0; 44];
    message[0] = id;
    message[1] = 2;
    message[3] = 44;
    message[20..28].copy_from_slice(&SOURCE);
    message[29] = 1;
    message[30..32].copy_from_slice(&sequence.to_be_bytes());
    // What version 1 goes by says nothing here.
    message[32] = 0xEE;
    message
}

/// A version 1 message of 124 bytes, as Sync and Delay_Req are.
fn message_of_version_1(control: u8) -> Vec<u8> {
    let mut message = vec![0; 124];
    message[1] = 1;
    message[3] = 1;
    message[22..28].copy_from_slice(&SOURCE[2..]);
    message[31] = 9;
    message[32] = control;
    message
}

fn over_ethernet(message: &[u8]) -> Vec<u8> {
    let mut frame = [
        &PTP_MULTICAST[..],
        &[2, 0, 0, 0, 0, 2],
        &[0x88, 0xF7],
        message,
    ]
    .concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn over_udp(message: &[u8], port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], MAC)
        .ipv4([10, 0, 0, 2], [224, 0, 1, 129], 1)
        .udp(port, port)
        .write(&mut frame, message)
        .unwrap();
    frame
}

fn over_udp_v6(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], MAC)
        .ipv6([0xFE; 16], [0xFF; 16], 1)
        .udp(319, 319)
        .write(&mut frame, message)
        .unwrap();
    frame
}

/// Lets a frame arrive; whether the descriptor says that it was stamped.
fn arrives(world: &mut World, frame: &[u8]) -> bool {
    let at = world.get(Reg::RDH);
    assert_eq!(world.receive(frame), Verdict::Delivered { queue: 0 });
    let status = world.bus.peek(RX_RING + 16 * u64::from(at) + 8, 4);
    let status = u32::from_le_bytes(status.try_into().unwrap());
    assert_eq!(status & 1, 1, "DD");
    let stamped = status & 1 << 16 != 0;
    world.set(Reg::RDT, at);
    stamped
}

/// Whether a frame is stamped, on a port whose stamp is free.
fn is_stamped(world: &mut World, frame: &[u8]) -> bool {
    world.get(Reg::RXSTMPH);
    let stamped = arrives(world, frame);
    assert_eq!(world.get(Reg::TSYNCRXCTL) & VALID != 0, stamped);
    stamped
}

/// Sends a frame of 60 bytes with more bits in its data descriptor.
fn send(world: &mut World, bits: u64) {
    const LEN: u64 = 60;
    let control = LEN << 46 | 1 << 29 | 0xB << 24 | 3 << 20 | LEN | bits;
    let tail = world.get(Reg::TDT);
    let at = TX_RING + 16 * u64::from(tail);
    world.bus.poke(at, &TX_BUFFER.to_le_bytes());
    world.bus.poke(at + 8, &control.to_le_bytes());
    world.set(Reg::TDT, (tail + 1) % DESCRIPTORS);
    world.step();
    assert_eq!(world.wire.frames.pop().unwrap().len(), 60);
}

#[test]
fn the_high_half_is_that_of_the_moment_when_the_low_half_was_read() {
    let mut world = world();
    world.set(Reg::TIMINCA, 0);
    world.set(Reg::SYSTIML, 0xFFFF_FFFF);
    world.set(Reg::SYSTIMH, 7);
    world.set(Reg::TIMINCA, TIMINCA_10G);
    let low = world.get(Reg::SYSTIML);
    world.pass_nanos(1_000_000_000);
    assert_eq!((low, world.get(Reg::SYSTIMH)), (0xFFFF_FFFF, 7));
}

#[test]
fn system_time_grows_by_the_increment_in_each_tick_of_6_4_ns() {
    let mut world = world();
    world.pass_nanos(64);
    assert_eq!(system_time(&mut world), 10 * 0xCC_CCCC);
    world.pass_nanos(1_000_000_000);
    assert_eq!(system_time(&mut world), 156_250_010 * 0xCC_CCCC);
}

#[test]
fn at_1_gigabit_the_tick_is_ten_times_as_long() {
    /// While the module starts, a second, the clock is that of 10 Gbit/s.
    const TRAINING: u64 = 1_000_000_000 * 10 / 64;
    let mut world = world();
    world.pass_nanos(640);
    world.plug(Module::Sx);
    // LMS: 1 Gbit/s without auto-negotiation.
    let autoc = world.get(Reg::AUTOC) & !(7 << 13);
    world.set(Reg::AUTOC, autoc | 1 << 12);
    world.train();
    assert_eq!(world.get(Reg::LINKS) >> 28 & 3, 2);
    world.pass_nanos(640);
    let ticks = 100 + TRAINING + 10;
    assert_eq!(system_time(&mut world), ticks * 0xCC_CCCC);
    // Without a link the clock is that of 10 Gbit/s.
    world.carrier(false);
    world.pass_nanos(640);
    assert_eq!(system_time(&mut world), (ticks + 100) * 0xCC_CCCC);
}

#[test]
fn the_write_of_timadjh_adjusts_the_time() {
    let mut world = world();
    world.set(Reg::TIMADJL, 500);
    assert_eq!(system_time(&mut world), 0);
    world.set(Reg::TIMADJH, 1);
    assert_eq!(system_time(&mut world), 0x1_0000_01F4);
    world.set(Reg::TIMADJL, 501);
    world.set(Reg::TIMADJH, 1 << 31 | 1);
    assert_eq!(system_time(&mut world), u64::MAX);
}

#[test]
fn a_reset_of_the_device_stops_the_clock_at_zero_and_frees_the_stamps() {
    let mut world = world();
    world.pass_nanos(1000);
    assert!(arrives(&mut world, &over_ethernet(&message(SYNC, 1))));
    send(&mut world, STAMP);
    world.set(Reg::CTRL, 1 << 26);
    world.pass_nanos(1000);
    assert_eq!(system_time(&mut world), 0);
    assert_eq!(world.get(Reg::TSYNCRXCTL), 0);
    assert_eq!(world.get(Reg::TSYNCTXCTL), 0);
    assert_eq!(world.get(Reg::TIMINCA), 0);
}

#[test]
fn a_packet_that_asks_for_it_is_stamped_with_the_time_at_which_it_leaves() {
    let mut world = world();
    world.pass_nanos(320);
    send(&mut world, STAMP);
    world.pass_nanos(320);
    assert_eq!(world.get(Reg::TSYNCTXCTL), ENABLED | VALID);
    let stamp = pair(&mut world, Reg::TXSTMPL, Reg::TXSTMPH);
    assert_eq!(stamp, 50 * 0xCC_CCCC);
    assert_eq!(world.get(Reg::TSYNCTXCTL), ENABLED);
}

#[test]
fn a_packet_that_does_not_ask_is_not_stamped_and_neither_is_one_without_the_enable() {
    let mut world = world();
    send(&mut world, 0);
    assert_eq!(world.get(Reg::TSYNCTXCTL), ENABLED);
    world.set(Reg::TSYNCTXCTL, 0);
    send(&mut world, STAMP);
    assert_eq!(world.get(Reg::TSYNCTXCTL), 0);
}

#[test]
fn a_transmit_stamp_stays_until_its_high_half_is_read() {
    let mut world = world();
    world.pass_nanos(64);
    send(&mut world, STAMP);
    world.pass_nanos(64);
    send(&mut world, STAMP);
    let first = pair(&mut world, Reg::TXSTMPL, Reg::TXSTMPH);
    send(&mut world, STAMP);
    let third = pair(&mut world, Reg::TXSTMPL, Reg::TXSTMPH);
    assert_eq!([first, third], [10 * 0xCC_CCCC, 20 * 0xCC_CCCC]);
}

#[test]
fn a_received_event_is_stamped_with_time_source_and_sequence() {
    let mut world = world();
    world.pass_nanos(640);
    assert!(arrives(&mut world, &over_ethernet(&message(SYNC, 0x1234))));
    world.pass_nanos(640);
    assert_eq!(world.get(Reg::TSYNCRXCTL) & VALID, VALID);
    // The bytes are those of the cable, in its order.
    assert_eq!(world.get(Reg::RXSATRL).to_le_bytes(), SOURCE[2..6]);
    let rest = world.get(Reg::RXSATRH).to_le_bytes();
    assert_eq!(rest, [SOURCE[6], SOURCE[7], 0x12, 0x34]);
    let stamp = pair(&mut world, Reg::RXSTMPL, Reg::RXSTMPH);
    assert_eq!(stamp, 100 * 0xCC_CCCC);
    assert_eq!(world.get(Reg::TSYNCRXCTL) & VALID, 0);
}

#[test]
fn a_receive_stamp_stays_until_its_high_half_is_read() {
    let mut world = world();
    world.pass_nanos(64);
    assert!(arrives(&mut world, &over_ethernet(&message(SYNC, 1))));
    world.pass_nanos(64);
    assert!(!arrives(&mut world, &over_ethernet(&message(SYNC, 2))));
    assert_eq!(world.get(Reg::RXSATRH) >> 16, 0x0100);
    let stamp = pair(&mut world, Reg::RXSTMPL, Reg::RXSTMPH);
    assert_eq!(stamp, 10 * 0xCC_CCCC);
    assert!(arrives(&mut world, &over_ethernet(&message(SYNC, 3))));
    assert_eq!(world.get(Reg::RXSATRH) >> 16, 0x0300);
}

#[test]
fn without_the_enable_nothing_is_stamped() {
    let mut world = world();
    world.set(Reg::TSYNCRXCTL, TYPE_EVENT_V2);
    assert!(!is_stamped(&mut world, &over_ethernet(&message(SYNC, 1))));
}

#[test]
fn all_event_messages_of_version_2_are_those_with_an_id_below_8() {
    let mut world = world();
    let mut stamped = |id| is_stamped(&mut world, &over_ethernet(&message(id, 1)));
    assert_eq!(
        [SYNC, DELAY_REQ, PDELAY_RESP, 7, FOLLOW_UP, 15].map(&mut stamped),
        [true, true, true, true, false, false]
    );
    assert_eq!(
        [SYNC, FOLLOW_UP].map(|id| is_stamped(&mut world, &over_udp(&message(id, 1), 319))),
        [true, false]
    );
    assert!(is_stamped(&mut world, &over_udp_v6(&message(SYNC, 1))));
    assert!(!is_stamped(
        &mut world,
        &over_udp(&message_of_version_1(0), 319)
    ));
}

#[test]
fn a_message_of_802_1as_or_version_2_1_is_one_of_version_2() {
    let mut world = world();
    let mut gptp = message(SYNC, 1);
    gptp[0] |= 0x10;
    gptp[1] |= 0x10;
    assert!(is_stamped(&mut world, &over_ethernet(&gptp)));
}

#[test]
fn messages_over_ethernet_want_an_ethertype_filter_with_the_1588_bit() {
    let mut world = world();
    let frame = over_ethernet(&message(SYNC, 1));
    world.set_at(Reg::ETQF, 3, ETQF_1588 & !(1 << 30));
    assert!(!is_stamped(&mut world, &frame));
    world.set_at(Reg::ETQF, 3, 0);
    assert!(!is_stamped(&mut world, &frame));
    world.set_at(Reg::ETQF, 7, ETQF_1588);
    assert!(is_stamped(&mut world, &frame));
}

#[test]
fn messages_over_udp_go_by_the_port_in_rxmtrl() {
    let mut world = world();
    world.set(Reg::RXMTRL, 1319 << 16);
    assert!(!is_stamped(&mut world, &over_udp(&message(SYNC, 1), 319)));
    assert!(is_stamped(&mut world, &over_udp(&message(SYNC, 1), 1319)));
}

#[test]
fn the_selected_message_over_ethernet_is_stamped_and_the_peer_delay_messages_always() {
    let mut world = world();
    world.set(Reg::TSYNCRXCTL, ENABLED | TYPE_L2_V2);
    world.set(Reg::RXMTRL, 319 << 16 | u32::from(DELAY_REQ) << 8);
    let ids = [SYNC, DELAY_REQ, 2, PDELAY_RESP, FOLLOW_UP];
    assert_eq!(
        ids.map(|id| is_stamped(&mut world, &over_ethernet(&message(id, 1)))),
        [false, true, true, true, false]
    );
    assert!(!is_stamped(
        &mut world,
        &over_udp(&message(DELAY_REQ, 1), 319)
    ));
    world.set(Reg::TSYNCRXCTL, ENABLED | TYPE_L2_L4_V2);
    assert!(is_stamped(
        &mut world,
        &over_udp(&message(DELAY_REQ, 1), 319)
    ));
    assert!(is_stamped(
        &mut world,
        &over_ethernet(&message(DELAY_REQ, 1))
    ));
}

#[test]
fn version_1_goes_by_the_control_field_and_udp_alone() {
    let mut world = world();
    world.set(Reg::TSYNCRXCTL, ENABLED | TYPE_L4_V1);
    world.set(Reg::RXMTRL, 319 << 16 | 1);
    let stamped = [0, 1].map(|control| {
        let frame = over_udp(&message_of_version_1(control), 319);
        is_stamped(&mut world, &frame)
    });
    assert_eq!(stamped, [false, true]);
    assert!(!is_stamped(&mut world, &over_udp(&message(1, 1), 319)));
    assert!(!is_stamped(
        &mut world,
        &over_ethernet(&message_of_version_1(1))
    ));
}

#[test]
fn reserved_types_stamp_nothing() {
    let mut world = world();
    let stamped = [3, 4, 6, 7].map(|kind| {
        world.set(Reg::TSYNCRXCTL, ENABLED | kind << 1);
        is_stamped(&mut world, &over_udp(&message(SYNC, 1), 319))
            || is_stamped(&mut world, &over_ethernet(&message(SYNC, 1)))
    });
    assert_eq!(stamped, [false; 4]);
}

#[test]
fn a_message_that_its_frame_cuts_short_is_none() {
    let mut world = world();
    let whole = over_udp(&message(SYNC, 1)[..36], 319);
    let short = over_udp(&message(SYNC, 1)[..35], 319);
    assert!(is_stamped(&mut world, &whole));
    assert!(!is_stamped(&mut world, &short));
}

#[test]
fn a_tagged_message_is_stamped() {
    let mut world = world();
    for frame in [
        over_ethernet(&message(SYNC, 1)),
        over_udp(&message(SYNC, 1), 319),
    ] {
        let (addresses, rest) = frame.split_at(12);
        let tagged = [addresses, &[0x81, 0, 0, 5], rest].concat();
        assert!(is_stamped(&mut world, &tagged));
    }
}

#[test]
fn a_damaged_message_that_is_stored_is_not_stamped() {
    let mut world = world();
    let fctrl = world.get(Reg::FCTRL);
    world.set(Reg::FCTRL, fctrl | 1 << 1);
    let frame = over_ethernet(&message(SYNC, 1));
    let damaged = RxFrame {
        fcs: Fcs::Bad,
        ..RxFrame::new(&frame)
    };
    let verdict = world.call(|port, context| port.receive(&damaged, context));
    assert_eq!(verdict, Verdict::Delivered { queue: 0 });
    assert_eq!(world.get(Reg::TSYNCRXCTL) & VALID, 0);
}

#[test]
fn a_stamp_of_a_frame_that_finds_no_descriptor_stays() {
    let mut world = world();
    world.set(Reg::RXDCTL, 0);
    world.pass_nanos(64);
    assert!(matches!(
        world.receive(&over_ethernet(&message(SYNC, 1))),
        Verdict::Dropped(_)
    ));
    assert_eq!(world.get(Reg::TSYNCRXCTL) & VALID, VALID);
    let stamp = pair(&mut world, Reg::RXSTMPL, Reg::RXSTMPH);
    assert_eq!(stamp, 10 * 0xCC_CCCC);
}

#[test]
fn in_loopback_a_message_has_both_stamps() {
    let mut world = world();
    let hlreg0 = world.get(Reg::HLREG0);
    world.set(Reg::HLREG0, hlreg0 | 1 << 15);
    world.bus.poke(TX_BUFFER, &over_ethernet(&message(SYNC, 1)));
    world.pass_nanos(128);
    let control = 60 << 46 | 1 << 29 | 0xB << 24 | 3 << 20 | 60 | STAMP;
    world.bus.poke(TX_RING, &TX_BUFFER.to_le_bytes());
    world.bus.poke(TX_RING + 8, &u64::to_le_bytes(control));
    world.set(Reg::TDT, 1);
    world.step();
    let stamps = [
        pair(&mut world, Reg::TXSTMPL, Reg::TXSTMPH),
        pair(&mut world, Reg::RXSTMPL, Reg::RXSTMPH),
    ];
    assert_eq!(stamps, [20 * 0xCC_CCCC; 2]);
}

/// SDP0 and SDP1 as outputs with their native function.
const NATIVE_OUTPUTS: u32 = 3 << 16 | 3 << 8;
const SDP0: u32 = 1;
const SDP1: u32 = 2;

#[test]
fn a_target_time_changes_the_level_of_its_pin_once() {
    let mut world = world();
    world.set(Reg::ESDP, NATIVE_OUTPUTS);
    // 1 ms and 2 ms from now.
    for (ticks, low, high) in [
        (156_250, Reg::TRGTTIML0, Reg::TRGTTIMH0),
        (312_500, Reg::TRGTTIML1, Reg::TRGTTIMH1),
    ] {
        let target = ticks * 0xCC_CCCC_u64;
        world.set(low, u32::try_from(target & 0xFFFF_FFFF).unwrap());
        world.set(high, u32::try_from(target >> 32).unwrap());
    }
    assert_eq!(world.port.deadline(), None);
    world.set(Reg::TSAUXC, 0x3);
    assert_eq!(world.port.deadline(), Some(world.now.plus_nanos(1_000_000)));
    world.pass_nanos(999_999);
    world.step();
    assert_eq!(world.get(Reg::ESDP) & (SDP0 | SDP1), 0);
    world.pass_nanos(1);
    world.step();
    assert_eq!(world.get(Reg::ESDP) & (SDP0 | SDP1), SDP0);
    assert_eq!(world.get(Reg::TSAUXC), 0x2);
    world.pass_nanos(1_000_000);
    world.step();
    assert_eq!(world.get(Reg::ESDP) & (SDP0 | SDP1), SDP0 | SDP1);
    assert_eq!(world.get(Reg::TSAUXC), 0);
    assert_eq!(world.port.deadline(), None);
    world.pass_nanos(10_000_000);
    world.step();
    assert_eq!(world.get(Reg::ESDP) & (SDP0 | SDP1), SDP0 | SDP1);
}

#[test]
fn a_change_of_the_clock_moves_the_moment_of_a_target_time() {
    let mut world = world();
    world.set(Reg::TRGTTIML0, 100 * 0xCC_CCCC);
    world.set(Reg::TSAUXC, 0x1);
    let start = world.now;
    assert_eq!(world.port.deadline(), Some(start.plus_nanos(640)));
    // Half as fast.
    world.set(Reg::TIMINCA, 2 << 24 | 0xCC_CCCC);
    assert_eq!(world.port.deadline(), Some(start.plus_nanos(1280)));
    world.set(Reg::TIMADJL, 50 * 0xCC_CCCC);
    world.set(Reg::TIMADJH, 0);
    assert_eq!(world.port.deadline(), Some(start.plus_nanos(640)));
    world.set(Reg::SYSTIML, 0xFFFF_FFFF);
    assert_eq!(world.port.deadline(), Some(start));
    world.step();
    assert_eq!(world.get(Reg::TSAUXC), 0);
}

#[test]
fn the_interrupt_of_a_pin_tells_of_its_target_time() {
    let mut world = world();
    world.set(Reg::ESDP, NATIVE_OUTPUTS);
    world.set(Reg::GPIE, 1 << 1);
    world.set(Reg::TSAUXC, 0x3);
    world.step();
    // Both times are 0, hence reached; only SDP1 is enabled, and only its rise is a cause.
    assert_eq!(world.get(Reg::EICR), 1 << 25);
    world.set(Reg::TSAUXC, 0x3);
    world.step();
    assert_eq!(world.get(Reg::ESDP) & (SDP0 | SDP1), 0);
    assert_eq!(world.get(Reg::EICR), 0);
}

#[test]
fn a_pin_that_is_not_a_native_output_does_not_follow_its_target_time() {
    let mut world = world();
    world.set(Reg::GPIE, 0x3);
    for esdp in [3 << 8, 3 << 16] {
        world.set(Reg::ESDP, esdp);
        world.set(Reg::TSAUXC, 0x3);
        world.step();
        assert_eq!(world.get(Reg::TSAUXC), 0);
        assert_eq!(world.get(Reg::ESDP) & (SDP0 | SDP1), 0);
    }
    assert_eq!(world.get(Reg::EICR), 0);
}

#[test]
fn a_target_time_just_before_the_wrap_is_not_missed() {
    let mut world = world();
    world.set(Reg::TIMINCA, 0);
    world.set(Reg::SYSTIML, 0xFFFF_FFF0);
    world.set(Reg::SYSTIMH, 0xFFFF_FFFF);
    world.set(Reg::TRGTTIML0, 0xFFFF_FFFF);
    world.set(Reg::TRGTTIMH0, 0xFFFF_FFFF);
    world.set(Reg::TIMINCA, 1 << 24 | 15);
    world.set(Reg::TSAUXC, 0x1);
    world.pass_nanos(1_000_000);
    assert!(system_time(&mut world) < 1 << 32, "it has wrapped");
    world.step();
    assert_eq!(world.get(Reg::TSAUXC), 0);
    assert_eq!(world.port.deadline(), None);
}

/// SDP1, the loss of signal, as an input with its native function.
const NATIVE_INPUT: u32 = 1 << 17;
/// TSAUXC: auxiliary time stamp 1 is enabled, and taken.
const EN_TS1: u32 = 1 << 10;
const AUTT1: u32 = 1 << 11;

#[test]
fn a_change_of_an_input_pin_is_stamped_and_the_stamp_stays_until_it_is_read() {
    let mut world = world();
    world.set(Reg::ESDP, NATIVE_INPUT);
    world.set(Reg::TSAUXC, EN_TS1);
    assert_eq!(world.get(Reg::ESDP) & SDP1, 0);
    world.pass_nanos(64);
    world.carrier(false);
    assert_eq!(world.get(Reg::ESDP) & SDP1, SDP1);
    assert_eq!(world.get(Reg::TSAUXC), EN_TS1 | AUTT1);
    world.pass_nanos(64);
    world.carrier(true);
    let first = pair(&mut world, Reg::AUXSTMPL1, Reg::AUXSTMPH1);
    assert_eq!(world.get(Reg::TSAUXC), EN_TS1);
    world.pass_nanos(64);
    world.carrier(false);
    let third = pair(&mut world, Reg::AUXSTMPL1, Reg::AUXSTMPH1);
    assert_eq!([first, third], [10 * 0xCC_CCCC, 30 * 0xCC_CCCC]);
    assert_eq!(pair(&mut world, Reg::AUXSTMPL0, Reg::AUXSTMPH0), 0);
}

#[test]
fn a_pin_without_its_native_function_and_a_stamp_that_is_off_are_left_alone() {
    let mut world = world();
    world.pass_nanos(64);
    for (esdp, tsauxc) in [(0, EN_TS1), (NATIVE_INPUT, 0), (NATIVE_INPUT, 1 << 8)] {
        world.set(Reg::ESDP, esdp);
        world.set(Reg::TSAUXC, tsauxc);
        world.carrier(false);
        world.carrier(true);
        assert_eq!(world.get(Reg::TSAUXC), tsauxc);
    }
    assert_eq!(pair(&mut world, Reg::AUXSTMPL1, Reg::AUXSTMPH1), 0);
}
