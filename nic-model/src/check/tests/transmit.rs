use ixgbe_spec::{
    descriptor::tx::{
        Context, ContextHigh, ContextLow, Data, DataControl, L4Type, Legacy, LegacyControl,
    },
    register::Reg,
};

use super::{Bench, TX_BUFFERS, packet};

const FRAME: usize = 200;

/// An IPv4 TCP frame of 200 bytes in memory.
fn tcp_frame(bench: &Bench) {
    let mut frame = vec![0; FRAME];
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[14 + 9] = 6;
    frame[34 + 12] = 0x50;
    bench.world.bus.poke(TX_BUFFERS, &frame);
}

fn context() -> Context {
    Context {
        low: ContextLow::new().with_maclen(14).with_iplen(20),
        high: ContextHigh::new()
            .with_ipv4(true)
            .with_l4t(L4Type::Tcp)
            .with_l4len(20)
            .with_mss(100),
    }
}

fn summed() -> Data {
    with(packet(TX_BUFFERS, 200), |control| {
        control.with_txsm(true).with_ixsm(true)
    })
}

fn cut() -> Data {
    with(summed(), |control| control.with_tse(true).with_paylen(146))
}

fn with(data: Data, change: impl FnOnce(DataControl) -> DataControl) -> Data {
    Data {
        control: change(data.control),
        ..data
    }
}

/// The rules that a context and a packet behind it break.
fn broken(context: Context, data: Data) -> Vec<&'static str> {
    let mut bench = Bench::running();
    tcp_frame(&bench);
    bench.put(0, context);
    bench.put(1, data);
    bench.set(Reg::TDT, 2);
    bench.broken()
}

#[test]
fn offloads_that_fit_the_frame_are_not_told() {
    assert_eq!(broken(context(), summed()), [""; 0]);
    assert_eq!(broken(context(), cut()), [""; 0]);
}

#[test]
fn an_l4_checksum_alone_need_not_name_the_ip_version() {
    let mut unnamed = context();
    unnamed.high.set_ipv4(false);
    let data = with(packet(TX_BUFFERS, 200), |control| control.with_txsm(true));

    assert_eq!(broken(unnamed, data), [""; 0]);
}

#[test]
fn an_offload_without_a_context_is_told() {
    let mut bench = Bench::running();
    bench.put(0, summed());

    bench.set(Reg::TDT, 1);

    let told = bench.told();
    assert!(told.starts_with(
        "context-not-set: error: transmit queue 0: a packet asks for IXSM, TXSM by context slot 0"
    ));
}

#[test]
fn a_context_is_gone_when_the_queue_was_disabled() {
    let mut bench = Bench::running();
    tcp_frame(&bench);
    bench.put(0, context());
    bench.put(1, summed());
    bench.set(Reg::TDT, 1);
    bench.run();

    bench.set(Reg::TXDCTL, 0);
    bench.enable(Reg::TXDCTL, 0);
    bench.set(Reg::TDT, 2);

    assert_eq!(bench.broken(), ["context-not-set"]);
}

#[test]
fn a_context_slot_that_there_is_not_is_told() {
    let mut wrong = context();
    wrong.high.set_idx(2);

    assert_eq!(
        broken(wrong, packet(TX_BUFFERS, 200)),
        ["context-slot-reserved"]
    );
}

#[test]
fn a_descriptor_of_a_reserved_type_is_told() {
    let mut bench = Bench::running();
    let data = with(packet(TX_BUFFERS, 60), |control| control.with_dtyp(7));
    let high = data.control.with_dext(true).into_bits();
    let raw = ixgbe_spec::descriptor::tx::Descriptor {
        low: TX_BUFFERS.into(),
        high: high.into(),
    };
    bench.put(0, raw);

    bench.set(Reg::TDT, 1);

    assert_eq!(bench.broken(), ["descriptor-type-reserved"]);
}

#[test]
fn a_packet_of_several_kinds_of_descriptors_is_told() {
    let mut bench = Bench::running();
    let begin = with(packet(TX_BUFFERS, 60), |control| {
        control.with_eop(false).with_paylen(120)
    });
    bench.put(0, begin);
    let control = LegacyControl::new().with_length(60).with_eop(true);
    bench.put(
        1,
        Legacy {
            address: TX_BUFFERS,
            control,
        },
    );

    bench.set(Reg::TDT, 2);

    assert_eq!(bench.broken(), ["packet-mixed"]);
}

#[test]
fn a_context_inside_a_packet_is_told() {
    let mut bench = Bench::running();
    let begin = with(packet(TX_BUFFERS, 60), |control| {
        control.with_eop(false).with_paylen(120)
    });
    bench.put(0, begin);
    bench.put(1, context());
    bench.put(2, with(begin, |control| control.with_eop(true)));

    bench.set(Reg::TDT, 3);

    assert_eq!(bench.broken(), ["packet-mixed"]);
}

#[test]
fn a_paylen_that_is_not_the_packets_length_is_told() {
    let data = with(packet(TX_BUFFERS, 200), |control| control.with_paylen(199));
    assert_eq!(broken(context(), data), ["paylen-contradicts-packet"]);

    let with_headers = with(cut(), |control| control.with_paylen(200));
    assert_eq!(
        broken(context(), with_headers),
        ["paylen-contradicts-packet"]
    );
}

#[test]
fn segmentation_that_contradicts_the_frame_is_told() {
    let mut no_mss = context();
    no_mss.high.set_mss(0);
    assert_eq!(broken(no_mss, cut()), ["tso-contradicts-frame"]);

    let mut short = context();
    short.high.set_l4len(16);
    let data = with(cut(), |control| control.with_paylen(150));
    assert_eq!(broken(short, data), ["tso-contradicts-frame"]);

    let mut long = context();
    long.high.set_l4len(200);
    assert_eq!(broken(long, cut()), ["tso-contradicts-frame"; 1]);
}

#[test]
fn a_checksum_that_contradicts_the_frame_is_told() {
    let mut version = context();
    version.high.set_ipv4(false);
    assert_eq!(broken(version, summed()), ["checksum-contradicts-frame"]);

    let mut protocol = context();
    protocol.high.set_l4t(L4Type::Udp);
    assert_eq!(broken(protocol, summed()), ["checksum-contradicts-frame"]);

    let mut iplen = context();
    iplen.low.set_iplen(16);
    assert_eq!(broken(iplen, summed()), ["checksum-contradicts-frame"]);

    let mut beyond = context();
    beyond.low.set_iplen(300);
    assert_eq!(broken(beyond, summed()), ["checksum-contradicts-frame"]);
}

#[test]
fn a_checksum_outside_of_a_legacy_packet_is_told() {
    let mut bench = Bench::running();
    let control = LegacyControl::new()
        .with_length(60)
        .with_eop(true)
        .with_ic(true)
        .with_css(14)
        .with_cso(59);
    bench.put(
        0,
        Legacy {
            address: TX_BUFFERS,
            control,
        },
    );

    bench.set(Reg::TDT, 1);

    assert_eq!(bench.broken(), ["checksum-contradicts-frame"]);
}
