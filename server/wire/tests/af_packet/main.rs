//! The wire by packet socket against the kernel's network stack at the other end of a veth pair, in a network namespace
//! of the test's own.
//!
//! Needs `unshare`, `ip`, and leave to make a user namespace (or root). Where that is missing the tests say so and pass,
//! unless the environment variable `CI` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../tap/namespace.rs"]
mod namespace;
#[path = "../tap/stack.rs"]
mod stack;

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use guest_memory::packet::{Arrival, PacketSocket};
use namespace::in_a_namespace;
use nic_model::{
    Time, Wire,
    bus::Span,
    offload::Sum,
    wire::{Flow, IpVersion, Offload, TxFrame, WireBusy},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt::UdpGsoSegment},
};
use stack::Stack;
use vm_memory::VolatileSlice;
use wire::{AfPacket, Backend, Cables, Kind};

/// veth0 without an address, for the wire, and its peer veth1 with 10.9.8.1/24, where 10.9.8.2 has the address
/// 02:00:00:00:00:02; both up.
const PAIR: &str = "ip link add veth0 type veth peer name veth1 && ip link set veth0 addrgenmode none \
    && ip link set veth1 addrgenmode none && ip address add 10.9.8.1/24 dev veth1 \
    && ip link set veth0 up && ip link set veth1 up \
    && ip neighbour add 10.9.8.2 lladdr 02:00:00:00:00:02 dev veth1";

/// The same with frames of 9000 bytes.
const JUMBO_PAIR: &str = "ip link add veth0 mtu 9000 type veth peer name veth1 mtu 9000 \
    && ip link set veth0 addrgenmode none && ip link set veth1 addrgenmode none \
    && ip link set veth0 up && ip link set veth1 up";

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success());
}

fn send(wire: &mut AfPacket, frame: &[u8]) {
    let frame = TxFrame {
        head: frame,
        payload: &[],
        offload: Offload::None,
    };
    wire.transmit(&frame).unwrap();
}

fn wait_for(wire: &AfPacket) {
    let mut fds = [PollFd::new(wire.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(100_u16)).unwrap();
}

/// Whether something is there to be seen to at once.
fn is_ready(wire: &AfPacket) -> bool {
    let mut fds = [PollFd::new(wire.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
}

/// The next `count` frames that `wanted` finds its own.
fn receive(wire: &mut AfPacket, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut frames = Vec::new();
    while frames.len() < count {
        let received = wire.receive(1, &mut |frame| {
            let frame = [frame.head, frame.body].concat();
            if wanted(&frame) {
                frames.push(frame);
            }
            Flow::More
        });
        if received == 0 {
            wait_for(wire);
        }
        assert!(Instant::now() < deadline, "{} frames", frames.len());
    }
    frames
}

/// A frame of a protocol that nobody else speaks, numbered.
fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.resize(len, 0xa5);
    frame
}

fn is_numbered(frame: &[u8]) -> bool {
    frame[12..14] == [0x88, 0xb5]
}

/// The same frame with `tags` behind its addresses.
fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

/// Headers of a large TCP segment with `payload`, as the port hands them to a wire, and where TCP begins.
fn large(payload: &[u8], tags: &[[u8; 4]]) -> (Vec<u8>, u16) {
    let mut tcp = etherparse::TcpHeader::new(4000, 5000, 1000, 500);
    tcp.ack = true;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
        .ipv4([10, 9, 8, 2], [10, 9, 8, 1], 64)
        .tcp_header(tcp)
        .write(&mut frame, payload)
        .unwrap();
    let mut seed = Sum::of(&frame[26..34]);
    seed.add_number(6 + (frame.len() - 34) as u64);
    frame[50..52].copy_from_slice(&seed.folded().to_be_bytes());
    frame.truncate(54);
    let l4 = 34 + 4 * tags.len();
    (tagged(&frame, tags), u16::try_from(l4).unwrap())
}

/// The payload of a TCP frame whose checksums are right.
fn tcp_payload(frame: &[u8]) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
        (&packet.net, &packet.transport)
    else {
        unreachable!("not TCP")
    };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    let checksum = tcp.calc_checksum_ipv4(header.source, header.destination);
    assert_eq!(tcp.checksum(), checksum.unwrap());
    tcp.payload().to_vec()
}

#[test]
fn a_kernels_stream_over_veth_arrives_in_frames_of_the_mtu() {
    in_a_namespace(
        "a_kernels_stream_over_veth_arrives_in_frames_of_the_mtu",
        PAIR,
        || {
            let sent: Vec<u8> = (0..2_000_000_u32)
                .map(|n| (n / 7).to_le_bytes()[0])
                .collect();
            let listener = TcpListener::bind("10.9.8.1:5000").unwrap();
            let sender = thread::spawn({
                let sent = sent.clone();
                move || listener.accept().unwrap().0.write_all(&sent).unwrap()
            });
            let mut stack = Stack::new(AfPacket::open("veth0").unwrap());

            let received = stack.read_all((Ipv4Addr::new(10, 9, 8, 1), 5000));

            sender.join().unwrap();
            assert!(received == sent);
            assert_eq!(stack.longest, 1514);
            // The kernel left most of the cutting to us.
            assert!(stack.in_two_pieces > 1000, "{}", stack.in_two_pieces);
            assert!(stack.valid >= stack.in_two_pieces);
        },
    );
}

#[test]
fn a_stream_to_the_kernel_over_a_packet_socket_arrives() {
    in_a_namespace(
        "a_stream_to_the_kernel_over_a_packet_socket_arrives",
        PAIR,
        || {
            let sent: Vec<u8> = (0..2_000_000_u32)
                .map(|n| (n / 5).to_le_bytes()[0])
                .collect();
            let listener = TcpListener::bind("10.9.8.1:5000").unwrap();
            let wire = AfPacket::open("veth0").unwrap();
            let sender = thread::spawn({
                let sent = sent.clone();
                move || Stack::new(wire).write_all((Ipv4Addr::new(10, 9, 8, 1), 5000), &sent)
            });

            let mut received = Vec::new();
            listener
                .accept()
                .unwrap()
                .0
                .read_to_end(&mut received)
                .unwrap();

            sender.join().unwrap();
            assert!(received == sent);
        },
    );
}

#[test]
fn a_connection_that_the_kernel_refuses_is_refused_in_tcp_terms() {
    in_a_namespace(
        "a_connection_that_the_kernel_refuses_is_refused_in_tcp_terms",
        PAIR,
        || {
            let mut stack = Stack::new(AfPacket::open("veth0").unwrap());

            assert!(stack.is_refused((Ipv4Addr::new(10, 9, 8, 1), 5000)));
        },
    );
}

#[test]
fn a_large_segment_crosses_whole() {
    in_a_namespace("a_large_segment_crosses_whole", PAIR, || {
        let mut wire = AfPacket::open("veth0").unwrap();
        let mut peer = PacketSocket::open("veth1").unwrap();
        let mut payload: Vec<u8> = (0..30_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();
        let (head, start) = large(&payload, &[]);
        let (first, second) = payload.split_at_mut(7);

        wire.transmit(&TxFrame {
            head: &head,
            payload: &[
                Span::Mapped(VolatileSlice::from(first)),
                Span::Mapped(VolatileSlice::from(second)),
            ],
            offload: Offload::Segment {
                ip: IpVersion::V4,
                start,
                header_len: 54,
                mss: 1448,
            },
        })
        .unwrap();

        let Some(Arrival::Queued { len, tag: None }) = peer.arrival() else {
            unreachable!("not one large frame: {peer:?}")
        };
        let mut read = vec![0; 65_536];
        assert_eq!(len, 30_054);
        assert_eq!(peer.read_queued(&mut read), Ok(30_064));
        // TCP over IPv4 in segments of 1448.
        assert_eq!((read[1], &read[4..6]), (1, &1448_u16.to_le_bytes()[..]));
        assert_eq!(read[64..30_064], payload);
    });
}

#[test]
fn a_large_segment_in_a_vlan_arrives_as_the_card_would_cut_it() {
    in_a_namespace(
        "a_large_segment_in_a_vlan_arrives_as_the_card_would_cut_it",
        PAIR,
        || {
            let mut from = AfPacket::open("veth1").unwrap();
            let mut to = AfPacket::open("veth0").unwrap();
            let tag = [0x81, 0x00, 0x60, 0x05];
            let mut payload: Vec<u8> = (0..30_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();
            let (head, start) = large(&payload, &[tag]);

            from.transmit(&TxFrame {
                head: &head,
                payload: &[Span::Mapped(VolatileSlice::from(&mut payload[..]))],
                offload: Offload::Segment {
                    ip: IpVersion::V4,
                    start,
                    header_len: 58,
                    mss: 1448,
                },
            })
            .unwrap();
            let segments = receive(&mut to, 21, |frame| frame[12..16] == tag);

            let joined: Vec<u8> = segments
                .iter()
                .flat_map(|frame| tcp_payload(frame))
                .collect();
            assert_eq!(joined, payload);
            assert_eq!(segments[0].len(), 58 + 1448);
        },
    );
}

#[test]
fn tags_are_where_they_were() {
    in_a_namespace("tags_are_where_they_were", PAIR, || {
        let mut from = AfPacket::open("veth1").unwrap();
        let mut to = AfPacket::open("veth0").unwrap();
        let frame = numbered(1, 100);
        let sent = [
            tagged(&frame, &[[0x81, 0x00, 0xf0, 0x07]]),
            tagged(
                &frame,
                &[[0x88, 0xa8, 0x00, 0x64], [0x81, 0x00, 0x00, 0x07]],
            ),
            tagged(&frame, &[[0x81, 0x00, 0x00, 0x00]]),
            frame,
        ];

        sent.iter().for_each(|frame| send(&mut from, frame));
        let received = receive(&mut to, sent.len(), |frame| {
            frame[..12] == numbered(1, 100)[..12]
        });

        assert_eq!(received, sent);
    });
}

#[test]
fn frames_longer_than_a_slot_arrive_in_their_turn() {
    in_a_namespace(
        "frames_longer_than_a_slot_arrive_in_their_turn",
        PAIR,
        || {
            let mut to = AfPacket::open("veth0").unwrap();
            // The slots are those of an MTU of 1500.
            run("ip link set veth0 mtu 9000 && ip link set veth1 mtu 9000");
            let mut from = AfPacket::open("veth1").unwrap();
            let sent: Vec<_> = (0..60)
                .map(|n| numbered(n, [60, 9014, 1514][n as usize % 3]))
                .collect();

            sent.iter().for_each(|frame| send(&mut from, frame));
            let received = receive(&mut to, sent.len(), is_numbered);

            assert!(received == sent);
            assert_eq!(to.counters().rx_dropped, 0);
        },
    );
}

#[test]
fn jumbo_frames_cross_both_ways() {
    in_a_namespace("jumbo_frames_cross_both_ways", JUMBO_PAIR, || {
        let mut one = AfPacket::open("veth0").unwrap();
        let mut other = AfPacket::open("veth1").unwrap();

        send(&mut one, &numbered(1, 9014));
        send(&mut other, &tagged(&numbered(2, 9014), &[[0x81, 0, 0, 5]]));

        assert!(receive(&mut other, 1, is_numbered)[0] == numbered(1, 9014));
        let tagged_frame = receive(&mut one, 1, |frame| frame[12] == 0x81);
        assert!(tagged_frame[0] == tagged(&numbered(2, 9014), &[[0x81, 0, 0, 5]]));
    });
}

#[test]
fn a_frame_longer_than_the_mtu_is_lost_and_counted() {
    in_a_namespace(
        "a_frame_longer_than_the_mtu_is_lost_and_counted",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();

            send(&mut wire, &numbered(1, 9014));

            assert_eq!(wire.counters().tx_dropped, 1);
        },
    );
}

#[test]
fn datagrams_that_the_kernel_left_together_arrive_one_by_one() {
    in_a_namespace(
        "datagrams_that_the_kernel_left_together_arrive_one_by_one",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();
            let socket = UdpSocket::bind("10.9.8.1:5000").unwrap();
            setsockopt(&socket, UdpGsoSegment, &1000).unwrap();
            let sent: Vec<u8> = (0..10_500_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();

            socket.send_to(&sent, "10.9.8.2:6000").unwrap();
            let frames = receive(&mut wire, 11, |frame| {
                frame[12..14] == [8, 0] && frame[23] == 17
            });

            let joined: Vec<u8> = frames.iter().flat_map(|frame| udp_payload(frame)).collect();
            assert_eq!(joined, sent);
            assert_eq!(frames[0].len(), 1042);
        },
    );
}

/// The payload of a UDP frame whose checksum is right.
fn udp_payload(frame: &[u8]) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
        (&packet.net, &packet.transport)
    else {
        unreachable!("not UDP")
    };
    let expected = udp
        .to_header()
        .calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
    assert_eq!(udp.checksum(), expected.unwrap());
    udp.payload().to_vec()
}

#[test]
fn a_datagram_of_the_kernel_arrives_padded_and_with_its_checksum() {
    in_a_namespace(
        "a_datagram_of_the_kernel_arrives_padded_and_with_its_checksum",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();
            let socket = UdpSocket::bind("10.9.8.1:5000").unwrap();

            socket.send_to(b"an odd number", "10.9.8.2:6000").unwrap();
            let frames = receive(&mut wire, 1, |frame| frame[12..14] == [8, 0]);

            assert_eq!(udp_payload(&frames[0]), b"an odd number");
            assert_eq!(frames[0].len(), 60);
        },
    );
}

#[test]
fn the_kernel_completes_the_checksum_of_a_datagram() {
    in_a_namespace(
        "the_kernel_completes_the_checksum_of_a_datagram",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();
            let mut peer = AfPacket::open("veth1").unwrap();
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
                .ipv4([10, 9, 8, 2], [10, 9, 8, 1], 64)
                .udp(5000, 6000)
                .write(&mut frame, &[7; 33])
                .unwrap();
            let complete = frame.clone();
            let mut seed = Sum::of(&frame[26..34]);
            seed.add_number(17 + 41);
            frame[40..42].copy_from_slice(&seed.folded().to_be_bytes());

            wire.transmit(&TxFrame {
                head: &frame[..42],
                payload: &[Span::Owned([7; 33].as_slice().into())],
                offload: Offload::Checksum {
                    start: 34,
                    offset: 6,
                },
            })
            .unwrap();

            let received = receive(&mut peer, 1, |frame| frame[12..14] == [8, 0]);
            assert_eq!(received[0], complete);
        },
    );
}

#[test]
fn what_the_wire_sends_does_not_come_back_to_it() {
    in_a_namespace("what_the_wire_sends_does_not_come_back_to_it", PAIR, || {
        let mut wire = AfPacket::open("veth0").unwrap();
        let mut peer = AfPacket::open("veth1").unwrap();

        (0..10).for_each(|n| send(&mut wire, &numbered(n, 60)));
        receive(&mut peer, 10, is_numbered);
        send(&mut peer, &numbered(99, 60));

        let first = receive(&mut wire, 1, is_numbered);
        assert_eq!(first[0], numbered(99, 60));
    });
}

#[test]
fn frames_that_find_the_ring_full_are_counted_and_later_ones_arrive() {
    in_a_namespace(
        "frames_that_find_the_ring_full_are_counted_and_later_ones_arrive",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();
            let mut peer = AfPacket::open("veth1").unwrap();
            let sent = 10_000;

            (0..sent).for_each(|n| send(&mut peer, &numbered(n, 60)));
            let mut received = Vec::new();
            while wire.receive(64, &mut |frame| {
                received.push(u32::from_be_bytes(*frame.head[14..].first_chunk().unwrap()));
                Flow::More
            }) > 0
            {}

            // What lies in the ring are the first ones, in order; the others are lost.
            assert_eq!(received.len(), 4096);
            assert!(received.iter().copied().eq(0..4096));
            assert_eq!(wire.counters().rx_dropped, u64::from(sent) - 4096);
            send(&mut peer, &numbered(sent, 60));
            assert_eq!(receive(&mut wire, 1, is_numbered)[0], numbered(sent, 60));
        },
    );
}

/// Waits as the server does, until the carrier is there, or gone. Nobody looks by the clock.
fn await_carrier(wire: &mut AfPacket, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while wire.carrier() != wanted {
        assert!(Instant::now() < deadline, "the carrier is not {wanted}");
        wait_for(wire);
        wire.receive(64, &mut |_| Flow::More);
    }
}

#[test]
fn the_carrier_follows_the_interface_and_its_peer() {
    in_a_namespace(
        "the_carrier_follows_the_interface_and_its_peer",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();
            await_carrier(&mut wire, true);

            run("ip link set veth0 down");
            await_carrier(&mut wire, false);
            run("ip link set veth0 up");
            await_carrier(&mut wire, true);
            run("ip link set veth1 down");
            await_carrier(&mut wire, false);
            run("ip link set veth1 up");
            await_carrier(&mut wire, true);

            wire.receive(64, &mut |_| Flow::More);
            wire.receive(64, &mut |_| Flow::More);
            assert!(!is_ready(&wire), "it would never sleep");
        },
    );
}

#[test]
fn frames_for_an_interface_that_is_down_are_lost_and_counted() {
    in_a_namespace(
        "frames_for_an_interface_that_is_down_are_lost_and_counted",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();

            run("ip link set veth0 down");
            send(&mut wire, &numbered(1, 60));
            wire.advance(Time::from_nanos(5_000_000_000));

            assert!(!wire.carrier());
            assert_eq!(wire.counters().tx_dropped, 1);
        },
    );
}

#[test]
fn an_interface_deleted_under_traffic_is_a_carrier_that_goes() {
    in_a_namespace(
        "an_interface_deleted_under_traffic_is_a_carrier_that_goes",
        PAIR,
        || {
            let mut wire = AfPacket::open("veth0").unwrap();
            let mut peer = AfPacket::open("veth1").unwrap();
            (0..1000).for_each(|n| send(&mut peer, &numbered(n, 60)));

            run("ip link delete veth0");
            let received = receive(&mut wire, 1000, is_numbered);
            wait_for(&wire);
            let more = wire.receive(64, &mut |_| Flow::More);
            let sent = wire.transmit(&TxFrame {
                head: &[0xff; 60],
                payload: &[],
                offload: Offload::None,
            });

            // What had arrived before has arrived.
            assert_eq!((received.len(), more), (1000, 0));
            assert_eq!(sent, Ok::<(), WireBusy>(()));
            assert!(!wire.carrier());
            assert!(!is_ready(&wire), "it would never sleep");
            assert_eq!(wire.counters().tx_dropped, 1);
        },
    );
}

#[test]
fn an_interface_that_comes_back_is_joined_again() {
    in_a_namespace("an_interface_that_comes_back_is_joined_again", PAIR, || {
        let mut wire = AfPacket::open("veth0").unwrap();
        run("ip link delete veth0");
        wire.receive(64, &mut |_| Flow::More);
        let gone = wire.carrier();

        run(PAIR);
        await_carrier(&mut wire, true);
        let mut peer = AfPacket::open("veth1").unwrap();
        send(&mut peer, &numbered(5, 60));

        assert!(!gone);
        assert_eq!(receive(&mut wire, 1, is_numbered)[0], numbered(5, 60));
    });
}

fn refusal(interface: &str) -> String {
    Kind::AfPacket(interface.to_owned())
        .open(&mut Cables::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn an_interface_that_is_missing_or_carries_no_ethernet_frames_is_told() {
    in_a_namespace(
        "an_interface_that_is_missing_or_carries_no_ethernet_frames_is_told",
        "true",
        || {
            assert_eq!(
                refusal("veth7"),
                "there is no network interface veth7; `ip link` shows those that there are"
            );
            assert!(
                refusal("lo").contains("lo carries no Ethernet frames"),
                "{}",
                refusal("lo")
            );
            assert!(refusal("a/b").contains("is not the name of a network interface"));
        },
    );
}

#[test]
fn a_missing_capability_is_named() {
    const CHILD: &str = "WIRE_TEST_WITHOUT_CAPABILITIES";
    if env::var_os(CHILD).is_some() {
        assert!(refusal("lo").contains("CAP_NET_RAW"), "{}", refusal("lo"));
        return;
    }
    // A user namespace without a network namespace of its own: nobody there may have anything of the network.
    let child = Command::new("unshare")
        .arg("-U")
        .arg(env::current_exe().unwrap())
        .args(["--exact", "a_missing_capability_is_named"])
        .env(CHILD, "1")
        .output();
    match child {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unshare failed") => {
            assert!(env::var_os("CI").is_none(), "no user namespace");
            eprintln!("skipped: this machine gives no user namespace");
        }
        child => {
            let output = child.unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}
