//! The wire by AF_XDP socket: at the other end of a veth pair are a packet socket and the kernel's network stack, in a
//! network namespace of the test's own.
//!
//! Needs `unshare`, `ip` and root, since programs for XDP are not for user namespaces. Where that is missing the tests say
//! so and pass, unless the environment variable `CI` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../tap/namespace.rs"]
mod namespace;

use std::{
    env,
    process::{Command, exit},
    thread,
    time::{Duration, Instant},
};

use etherparse::{Icmpv4Slice, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use namespace::in_a_namespace;
use nic_model::{
    Time, Wire,
    bus::Span,
    wire::{Flow, Offload, TxFrame, WireBusy},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vm_memory::VolatileSlice;
use wire::{AfPacket, AfXdp, Backend, Cables, Kind, OpenError};

/// veth0 without an address, for the wire, and its peer veth1 with 10.9.8.1/24, where 10.9.8.2 has the address
/// 02:00:00:00:00:02; both up.
const PAIR: &str = "ip link add veth0 type veth peer name veth1 && ip link set veth0 addrgenmode none \
    && ip link set veth1 addrgenmode none address 02:00:00:00:00:01 && ip address add 10.9.8.1/24 dev veth1 \
    && ip link set veth0 up && ip link set veth1 up \
    && ip neighbour add 10.9.8.2 lladdr 02:00:00:00:00:02 dev veth1";

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success());
}

/// The wire on veth0. Ends the test where this process may not have it.
fn open() -> AfXdp {
    match AfXdp::open(&"veth0".parse().unwrap()) {
        Err(OpenError::Xdp(guest_memory::xdp::XdpError::NotAllowed { .. }))
            if env::var_os("CI").is_none() =>
        {
            eprintln!("skipped: programs for XDP take root");
            exit(0);
        }
        wire => wire.unwrap(),
    }
}

fn peer() -> AfPacket {
    AfPacket::open("veth1").unwrap()
}

/// Offers a frame until the wire has room for it.
fn send(wire: &mut dyn Backend, frame: &[u8]) {
    let frame = TxFrame {
        head: frame,
        payload: &[],
        offload: Offload::None,
    };
    while wire.transmit(&frame).is_err() {
        wire.advance(Time::ZERO);
    }
    wire.advance(Time::ZERO);
}

fn wait_for(wire: &dyn Backend) {
    let mut fds = [PollFd::new(wire.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(100_u16)).unwrap();
}

/// Whether something is there to be seen to at once.
fn is_ready(wire: &dyn Backend) -> bool {
    let mut fds = [PollFd::new(wire.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
}

/// The next `count` frames that `wanted` finds its own.
fn receive(wire: &mut dyn Backend, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut frames = Vec::new();
    while frames.len() < count {
        let received = wire.receive(1, &mut |frame| {
            let frame = [frame.head, frame.body].concat();
            if wanted(&frame) {
                frames.push(frame);
            }
            Flow::Stop
        });
        if received == 0 {
            wait_for(wire);
        }
        assert!(Instant::now() < deadline, "{} frames", frames.len());
    }
    frames
}

fn await_carrier(wire: &mut AfXdp, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while wire.carrier() != wanted {
        assert!(Instant::now() < deadline, "the carrier is not {wanted}");
        wait_for(wire);
        wire.receive(64, &mut |_| Flow::More);
    }
}

/// A frame of a protocol that nobody else speaks, numbered.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.resize(len, 0xa5);
    frame
}

fn is_numbered(frame: &[u8]) -> bool {
    frame[..12] == numbered(0, 60)[..12]
}

#[test]
fn frames_cross_both_ways() {
    in_a_namespace("frames_cross_both_ways", PAIR, || {
        let mut wire = open();
        let mut peer = peer();
        let frame = numbered(3, 60);
        let tagged = [&frame[..12], &[0x81, 0x00, 0x60, 0x05], &frame[12..]].concat();
        let frames = [numbered(1, 60), numbered(2, 1514), tagged];

        frames.iter().for_each(|frame| send(&mut wire, frame));
        frames.iter().for_each(|frame| send(&mut peer, frame));

        assert_eq!(receive(&mut peer, 3, is_numbered), frames);
        assert_eq!(receive(&mut wire, 3, is_numbered), frames);
    });
}

#[test]
fn a_frame_of_pieces_and_one_that_is_short_arrive_whole_and_padded() {
    in_a_namespace(
        "a_frame_of_pieces_and_one_that_is_short_arrive_whole_and_padded",
        PAIR,
        || {
            let mut wire = open();
            let mut peer = peer();
            let whole = numbered(1, 1000);
            let mut payload = whole[14..500].to_vec();

            wire.transmit(&TxFrame {
                head: &whole[..14],
                payload: &[
                    Span::Mapped(VolatileSlice::from(&mut payload[..])),
                    Span::Owned(whole[500..].into()),
                ],
                offload: Offload::None,
            })
            .unwrap();
            wire.advance(Time::ZERO);
            send(&mut peer, &numbered(2, 20));

            assert_eq!(receive(&mut peer, 1, is_numbered)[0], whole);
            let padded = [numbered(2, 20), vec![0; 40]].concat();
            assert_eq!(receive(&mut wire, 1, is_numbered)[0], padded);
        },
    );
}

#[test]
fn more_frames_than_the_rings_hold_arrive_in_order() {
    in_a_namespace(
        "more_frames_than_the_rings_hold_arrive_in_order",
        PAIR,
        || {
            let mut wire = open();
            let mut peer = peer();

            let there = (0..10_000).map(|number| {
                send(&mut wire, &numbered(number, 60));
                receive(&mut peer, 1, is_numbered).remove(0)
            });
            assert!(there.eq((0..10_000).map(|number| numbered(number, 60))));
            let back = (0..10_000).map(|number| {
                send(&mut peer, &numbered(number, 60));
                receive(&mut wire, 1, is_numbered).remove(0)
            });
            assert!(back.eq((0..10_000).map(|number| numbered(number, 60))));

            assert_eq!(wire.counters().rx_dropped, 0);
            assert_eq!(wire.counters().tx_frames, 10_000);
        },
    );
}

#[test]
fn frames_that_find_the_rings_full_are_counted_and_later_ones_arrive() {
    in_a_namespace(
        "frames_that_find_the_rings_full_are_counted_and_later_ones_arrive",
        PAIR,
        || {
            let mut wire = open();
            let mut peer = peer();
            let sent = 5000;

            (0..sent).for_each(|number| send(&mut peer, &numbered(number, 60)));
            let received = receive(&mut wire, 2048, is_numbered);
            let counters = wire.counters();
            send(&mut peer, &numbered(sent, 60));

            let first = (0..2048).map(|number| numbered(number, 60));
            assert!(received.into_iter().eq(first));
            assert_eq!(counters.rx_dropped, u64::from(sent) - 2048);
            assert_eq!(receive(&mut wire, 1, is_numbered)[0], numbered(sent, 60));
        },
    );
}

#[test]
fn the_kernel_answers_a_ping() {
    in_a_namespace("the_kernel_answers_a_ping", PAIR, || {
        let mut wire = open();
        let mut ping = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
            .ipv4([10, 9, 8, 2], [10, 9, 8, 1], 64)
            .icmpv4_echo_request(7, 9)
            .write(&mut ping, &[0x5a; 1000])
            .unwrap();

        let answer = thread::spawn(move || {
            send(&mut wire, &ping);
            receive(&mut wire, 1, |frame| {
                frame[12..14] == [8, 0] && frame[23] == 1
            })
            .remove(0)
        })
        .join()
        .unwrap();

        let packet = SlicedPacket::from_ethernet(&answer).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) =
            (&packet.net, &packet.transport)
        else {
            unreachable!("no answer: {packet:?}")
        };
        assert_eq!(ip.header().source(), [10, 9, 8, 1]);
        assert_eq!(Icmpv4Slice::type_u8(icmp), 0);
        assert_eq!(icmp.payload(), [0x5a; 1000]);
    });
}

#[test]
fn a_frame_that_fits_no_page_is_lost_and_counted() {
    in_a_namespace(
        "a_frame_that_fits_no_page_is_lost_and_counted",
        PAIR,
        || {
            let mut wire = open();

            send(&mut wire, &numbered(1, 9014));

            let counters = wire.counters();
            assert_eq!((counters.tx_frames, counters.tx_dropped), (1, 1));
        },
    );
}

#[test]
fn the_carrier_follows_the_interface_and_its_peer() {
    in_a_namespace(
        "the_carrier_follows_the_interface_and_its_peer",
        PAIR,
        || {
            let mut wire = open();
            await_carrier(&mut wire, true);

            run("ip link set veth0 down");
            await_carrier(&mut wire, false);
            send(&mut wire, &numbered(1, 60));
            run("ip link set veth0 up");
            await_carrier(&mut wire, true);
            run("ip link set veth1 down");
            await_carrier(&mut wire, false);
            run("ip link set veth1 up");
            await_carrier(&mut wire, true);

            wire.receive(64, &mut |_| Flow::More);
            wire.receive(64, &mut |_| Flow::More);
            assert!(!is_ready(&wire), "it would never sleep");
            assert_eq!(wire.counters().tx_dropped, 1);
            let mut peer = peer();
            send(&mut peer, &numbered(2, 60));
            send(&mut wire, &numbered(3, 60));
            assert_eq!(receive(&mut wire, 1, is_numbered)[0], numbered(2, 60));
            assert_eq!(receive(&mut peer, 1, is_numbered)[0], numbered(3, 60));
        },
    );
}

#[test]
fn an_interface_deleted_under_traffic_goes_and_comes_back() {
    in_a_namespace(
        "an_interface_deleted_under_traffic_goes_and_comes_back",
        PAIR,
        || {
            let mut wire = open();
            let mut old_peer = peer();
            (0..1000).for_each(|n| send(&mut old_peer, &numbered(n, 60)));
            (0..1000).for_each(|n| send(&mut wire, &numbered(n, 60)));

            run("ip link delete veth0");
            await_carrier(&mut wire, false);
            let sent = wire.transmit(&TxFrame {
                head: &[0xff; 60],
                payload: &[],
                offload: Offload::None,
            });
            wire.advance(Time::from_nanos(1));
            let quiet = !is_ready(&wire);
            run(PAIR);
            await_carrier(&mut wire, true);
            let mut new_peer = peer();
            send(&mut new_peer, &numbered(5, 60));

            assert_eq!(sent, Ok::<(), WireBusy>(()));
            assert!(quiet, "it would never sleep");
            assert_eq!(wire.counters().tx_dropped, 1);
            assert_eq!(receive(&mut wire, 1, is_numbered)[0], numbered(5, 60));
        },
    );
}

fn refusal(wire: &str) -> String {
    let kind: Kind = wire.parse().unwrap();
    kind.open(&mut Cables::new()).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_joined_is_told() {
    in_a_namespace("what_cannot_be_joined_is_told", PAIR, || {
        let _wire = open();

        let (busy, no_queue) = (refusal("af_xdp:veth0"), refusal("af_xdp:veth1,7"));

        assert!(busy.contains("is in use by another program"), "{busy}");
        assert!(no_queue.contains("veth1 has no queue 7"), "{no_queue}");
        assert!(refusal("af_xdp:veth7").contains("there is no network interface veth7"));
        assert!(refusal("af_xdp:lo").contains("lo carries no Ethernet frames"));
    });
}

#[test]
fn the_program_goes_with_the_wire() {
    in_a_namespace("the_program_goes_with_the_wire", PAIR, || {
        let programs = || {
            let shown = Command::new("ip").args(["link", "show", "veth0"]).output();
            let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
            shown.contains("xdp")
        };
        let wire = open();

        let with = programs();
        drop(wire);

        assert_eq!((with, programs()), (true, false));
    });
}

#[test]
fn missing_capabilities_are_named() {
    const CHILD: &str = "WIRE_TEST_WITHOUT_CAPABILITIES";
    if env::var_os(CHILD).is_some() {
        let error = refusal("af_xdp:veth0");
        assert!(error.contains("CAP_BPF"), "{error}");
        return;
    }
    in_a_namespace("missing_capabilities_are_named", PAIR, || {
        let child = Command::new("unshare")
            .arg("-U")
            .arg(env::current_exe().unwrap())
            .args(["--exact", "missing_capabilities_are_named"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
    });
}
