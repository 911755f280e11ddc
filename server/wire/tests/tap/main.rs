//! The tap wire against the kernel's network stack, in a network namespace of the test's own.
//!
//! Needs `unshare`, `ip`, `/dev/net/tun`, and leave to make a user namespace (or root). Where that is missing the
//! tests say so and pass, unless the environment variable `CI` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod cable;
mod namespace;
mod stack;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use cable::Cable;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpSlice, TransportSlice};
use namespace::in_a_namespace;
use nic_model::{
    Time, Wire,
    bus::Span,
    offload::Sum,
    wire::{Flow, IpVersion, L4Checksum, Offload, TxFrame, WireBusy},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use stack::Stack;
use vm_memory::VolatileSlice;
use wire::{Backend, Cables, Host, HostConfig, Kind, Plug, Tap, Tapped};

/// tap0 with 10.9.8.1/24, up.
const ONE_TAP: &str = "ip tuntap add dev tap0 mode tap && ip link set tap0 addrgenmode none \
    && ip address add 10.9.8.1/24 dev tap0 && ip link set tap0 up";

/// Two taps between which the kernel routes: 10.9.1.0/24 and fd01::/64 on tap0, 10.9.2.0/24 and fd02::/64 on tap1,
/// where the neighbour 2 has the address 02:00:00:00:00:02.
const TWO_TAPS: &str = "for n in 0 1; do p=$((n + 1)); ip tuntap add dev tap$n mode tap \
    && ip link set tap$n addrgenmode none && ip link set tap$n address 02:00:00:00:0$n:01 \
    && ip address add 10.9.$p.1/24 dev tap$n && ip address add fd0$p::1/64 dev tap$n nodad && ip link set tap$n up \
    && ip neighbour add 10.9.$p.2 lladdr 02:00:00:00:00:02 dev tap$n \
    && ip neighbour add fd0$p::2 lladdr 02:00:00:00:00:02 dev tap$n || exit 1; done \
    && echo 1 > /proc/sys/net/ipv4/ip_forward && echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";

/// The next frames, one at a time, until `wanted` finds its; what is known of its L4 checksum beside it. What `send`
/// sends is sent again while nothing comes: the kernel drops it until it has noticed the new carrier.
fn receive_until(
    tap: &mut Tap,
    send: impl Fn(),
    wanted: impl Fn(&[u8]) -> bool,
) -> (Vec<u8>, L4Checksum) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut seen = None;
        tap.receive(1, &mut |frame| {
            seen = Some(([frame.head, frame.body].concat(), frame.l4_checksum));
            Flow::More
        });
        match seen {
            Some(seen) if wanted(&seen.0) => return seen,
            Some(_) => {}
            None => {
                send();
                wait_for(tap);
            }
        }
        assert!(Instant::now() < deadline, "no such frame");
    }
}

fn wait_for(tap: &Tap) {
    if let Some(fd) = tap.poll_fd() {
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(100_u16)).unwrap();
    }
}

fn send(tap: &mut Tap, frame: &[u8]) {
    let frame = TxFrame {
        head: frame,
        payload: &[],
        offload: Offload::None,
    };
    tap.transmit(&frame).unwrap();
}

fn tcp(frame: &[u8]) -> TcpSlice<'_> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    match (&packet.net, packet.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let checksum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination());
            assert_eq!(tcp.checksum(), checksum.unwrap());
            tcp
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let checksum = tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination());
            assert_eq!(tcp.checksum(), checksum.unwrap());
            tcp
        }
        _ => unreachable!("not TCP"),
    }
}

#[test]
fn a_kernels_stream_arrives_in_frames_of_the_mtu_one_at_a_time() {
    in_a_namespace(
        "a_kernels_stream_arrives_in_frames_of_the_mtu_one_at_a_time",
        ONE_TAP,
        || {
            let sent: Vec<u8> = (0..2_000_000_u32)
                .map(|n| (n / 7).to_le_bytes()[0])
                .collect();
            let listener = TcpListener::bind("10.9.8.1:5000").unwrap();
            let sender = thread::spawn({
                let sent = sent.clone();
                move || listener.accept().unwrap().0.write_all(&sent).unwrap()
            });
            let mut stack = Stack::new(Tap::open("tap0").unwrap());

            let received = stack.read_all((Ipv4Addr::new(10, 9, 8, 1), 5000));

            sender.join().unwrap();
            assert_eq!(received, sent);
            assert_eq!(stack.longest, 1514);
            // The kernel left most of the cutting to us.
            assert!(stack.in_two_pieces > 1000, "{}", stack.in_two_pieces);
            // A TCP stack that checks them has taken them all; we said that it need not.
            assert!(stack.valid >= stack.in_two_pieces);
        },
    );
}

#[test]
fn a_stream_to_the_kernel_arrives() {
    in_a_namespace("a_stream_to_the_kernel_arrives", ONE_TAP, || {
        let sent: Vec<u8> = (0..2_000_000_u32)
            .map(|n| (n / 5).to_le_bytes()[0])
            .collect();
        let listener = TcpListener::bind("10.9.8.1:5000").unwrap();
        let receiver = thread::spawn(move || {
            let mut received = Vec::new();
            listener
                .accept()
                .unwrap()
                .0
                .read_to_end(&mut received)
                .unwrap();
            received
        });
        let mut stack = Stack::new(Tap::open("tap0").unwrap());

        stack.write_all((Ipv4Addr::new(10, 9, 8, 1), 5000), &sent);

        assert!(receiver.join().unwrap() == sent);
    });
}

#[test]
fn a_datagram_of_the_kernel_has_its_checksum() {
    in_a_namespace(
        "a_datagram_of_the_kernel_has_its_checksum",
        TWO_TAPS,
        || {
            let mut tap = Tap::open("tap0").unwrap();
            let socket = UdpSocket::bind("10.9.1.1:5000").unwrap();

            let send = || {
                socket.send_to(b"an odd number", "10.9.1.2:6000").unwrap();
            };
            let (frame, known) = receive_until(&mut tap, send, |frame| frame.get(23) == Some(&17));

            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
                (&packet.net, &packet.transport)
            else {
                unreachable!("not UDP");
            };
            let expected = udp
                .to_header()
                .calc_checksum_ipv4(&ip.header().to_header(), b"an odd number");
            assert_eq!(udp.checksum(), expected.unwrap());
            assert_eq!(known, L4Checksum::Valid);
            assert_eq!(frame.len(), 60);
        },
    );
}

/// Sends a large segment into tap0 with what the port leaves to do, and returns the segments that the kernel routes
/// out of tap1, where it has to do that work.
fn route_segment(v6: bool, payload: &mut [u8], mss: u16) -> Vec<Vec<u8>> {
    let mut tap = Tap::open("tap0").unwrap();
    let plain = guest_memory::tap::open("tap1", guest_memory::tap::Offload::None).unwrap();
    let mut tcp = etherparse::TcpHeader::new(4000, 5000, 1000, 500);
    tcp.ack = true;
    tcp.psh = true;
    let mut frame = Vec::new();
    let (to, from) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let (l4, addresses) = if v6 {
        let address = |net: u8| [0xfd, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        PacketBuilder::ethernet2(from, to)
            .ipv6(address(1), address(2), 64)
            .tcp_header(tcp)
            .write(&mut frame, payload)
            .unwrap();
        (54, 22..54)
    } else {
        PacketBuilder::ethernet2(from, to)
            .ipv4([10, 9, 1, 2], [10, 9, 2, 2], 64)
            .tcp_header(tcp)
            .write(&mut frame, payload)
            .unwrap();
        (34, 26..34)
    };
    let mut seed = Sum::of(&frame[addresses]);
    seed.add_number(6 + (frame.len() - l4) as u64);
    frame[l4 + 16..l4 + 18].copy_from_slice(&seed.folded().to_be_bytes());
    frame.truncate(l4 + 20);
    let (first, second) = payload.split_at_mut(7);
    let spans = [
        Span::Mapped(VolatileSlice::from(first)),
        Span::Mapped(VolatileSlice::from(second)),
    ];

    let large = TxFrame {
        head: &frame,
        payload: &spans,
        offload: Offload::Segment {
            ip: if v6 { IpVersion::V6 } else { IpVersion::V4 },
            start: u16::try_from(l4).unwrap(),
            header_len: u16::try_from(frame.len()).unwrap(),
            mss,
        },
    };
    let wanted = (large.len() - frame.len()).div_ceil(mss.into());
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut segments = Vec::new();
    while segments.len() < wanted {
        assert!(Instant::now() < deadline, "{} segments", segments.len());
        if segments.is_empty() {
            // The kernel routes only some time after it has seen both carriers.
            tap.transmit(&large).unwrap();
        }
        let mut ready = [PollFd::new(plain.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(100_u16)).unwrap() == 0 {
            continue;
        }
        let mut packet = vec![0; 20_000];
        let len = nix::unistd::read(&plain, &mut packet).unwrap();
        let frame = packet[guest_memory::tap::VNET_HEADER_LEN..len].to_vec();
        let protocol = if v6 { frame.get(20) } else { frame.get(23) };
        if protocol == Some(&6) {
            segments.push(frame);
        }
    }
    segments
}

#[test]
fn the_kernel_cuts_a_large_segment_of_ipv4_as_the_card_would() {
    in_a_namespace(
        "the_kernel_cuts_a_large_segment_of_ipv4_as_the_card_would",
        TWO_TAPS,
        || {
            let mut payload: Vec<u8> = (0..30_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();

            let segments = route_segment(false, &mut payload, 1448);

            let joined: Vec<u8> = segments
                .iter()
                .flat_map(|segment| tcp(segment).payload())
                .copied()
                .collect();
            assert_eq!(joined, payload);
            assert_eq!(tcp(&segments[1]).sequence_number(), 1000 + 1448);
            assert!(!tcp(&segments[0]).psh() && tcp(&segments[20]).psh());
        },
    );
}

#[test]
fn the_kernel_cuts_a_large_segment_of_ipv6_as_the_card_would() {
    in_a_namespace(
        "the_kernel_cuts_a_large_segment_of_ipv6_as_the_card_would",
        TWO_TAPS,
        || {
            let mut payload: Vec<u8> = (0..64_000_u32).map(|n| (n / 3).to_le_bytes()[0]).collect();

            let segments = route_segment(true, &mut payload, 1428);

            let joined: Vec<u8> = segments
                .iter()
                .flat_map(|segment| tcp(segment).payload())
                .copied()
                .collect();
            assert_eq!(joined, payload);
        },
    );
}

#[test]
fn the_kernel_completes_a_checksum() {
    in_a_namespace("the_kernel_completes_a_checksum", TWO_TAPS, || {
        let mut tap = Tap::open("tap0").unwrap();
        let socket = UdpSocket::bind("10.9.1.1:6000").unwrap();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
            .ipv4([10, 9, 1, 2], [10, 9, 1, 1], 64)
            .udp(5000, 6000)
            .write(&mut frame, b"hello")
            .unwrap();
        let mut seed = Sum::of(&frame[26..34]);
        seed.add_number(17 + 13);
        frame[40..42].copy_from_slice(&seed.folded().to_be_bytes());

        tap.transmit(&TxFrame {
            head: &frame[..42],
            payload: &[Span::Owned((*b"hello").into())],
            offload: Offload::Checksum {
                start: 34,
                offset: 6,
            },
        })
        .unwrap();

        let mut received = [0; 10];
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (len, from) = socket.recv_from(&mut received).unwrap();
        assert_eq!(
            (&received[..len], from.to_string()),
            (&b"hello"[..], "10.9.1.2:5000".to_owned())
        );
    });
}

#[test]
fn a_frame_in_more_pieces_than_a_system_call_takes_arrives() {
    in_a_namespace(
        "a_frame_in_more_pieces_than_a_system_call_takes_arrives",
        TWO_TAPS,
        || {
            let mut tap = Tap::open("tap0").unwrap();
            let socket = UdpSocket::bind("10.9.1.1:6000").unwrap();
            let mut payload = vec![0x5a; 1200];
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
                .ipv4([10, 9, 1, 2], [10, 9, 1, 1], 64)
                .udp(5000, 6000)
                .write(&mut frame, &payload)
                .unwrap();
            let spans: Vec<_> = payload
                .chunks_mut(1)
                .map(|byte| Span::Mapped(VolatileSlice::from(byte)))
                .collect();

            tap.transmit(&TxFrame {
                head: &frame[..42],
                payload: &spans,
                offload: Offload::None,
            })
            .unwrap();

            let mut received = [0; 2000];
            socket
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            assert_eq!(socket.recv(&mut received).unwrap(), 1200);
            assert!(received[..1200].iter().all(|&byte| byte == 0x5a));
        },
    );
}

#[test]
fn the_kernel_talks_to_the_embedded_host() {
    in_a_namespace(
        "the_kernel_talks_to_the_embedded_host",
        "ip tuntap add dev tap0 mode tap && ip address add 10.0.2.15/24 dev tap0 && ip link set tap0 mtu 9000 up",
        || {
            let cable =
                Cable::between(Tap::open("tap0").unwrap(), Host::new(HostConfig::default()));
            let sent: Vec<u8> = (0..1_000_000_u32)
                .map(|n| (n / 3).to_le_bytes()[0])
                .collect();

            let v4 = echo("10.0.2.2:7".parse().unwrap(), &sent);
            // The kernel has an address of its own only some time after the router's advertisement.
            let v6 = echo("[fd00:8259::2]:7".parse().unwrap(), &sent);
            let datagram = echo_datagram("10.0.2.2:7".parse().unwrap(), &sent[..20_000]);

            assert!(v4 == sent && v6 == sent);
            assert_eq!(datagram, sent[..20_000]);
            let counters = cable.pull();
            assert_eq!((counters.tx_dropped, counters.rx_dropped), (0, 0));
        },
    );
}

/// What a TCP echo server sends back. The connection is tried until there is a route.
fn echo(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let connected = std::iter::repeat_with(|| {
        // Nothing tells when the kernel has convinced itself that its address is nobody else's.
        poll(&mut [], PollTimeout::from(20_u8)).unwrap();
        TcpStream::connect_timeout(&to, Duration::from_secs(5))
    })
    .find(|attempt| attempt.is_ok() || Instant::now() > deadline);
    let mut stream = connected.unwrap().unwrap();
    let mut writer = stream.try_clone().unwrap();
    let bytes = bytes.to_vec();
    let writing = thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    received
}

fn echo_datagram(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("10.0.2.15:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send_to(bytes, to).unwrap();
    let mut received = vec![0; 65_536];
    let len = socket.recv(&mut received).unwrap();
    received.truncate(len);
    received
}

#[test]
fn the_carrier_follows_the_interface_and_frames_are_lost_while_it_is_down() {
    in_a_namespace(
        "the_carrier_follows_the_interface_and_frames_are_lost_while_it_is_down",
        ONE_TAP,
        || {
            let mut tap = Tap::open("tap0").unwrap();
            let up = tap.carrier();

            run("ip link set tap0 down");
            tap.advance(Time::from_nanos(5_000_000_000));
            let down = tap.carrier();
            send(&mut tap, &[0xff; 60]);
            run("ip link set tap0 up");
            tap.advance(Time::from_nanos(6_000_000_000));

            assert_eq!((up, down, tap.carrier()), (true, false, true));
            assert_eq!(tap.counters().tx_dropped, 1);
        },
    );
}

#[test]
fn the_interface_has_a_carrier_while_the_port_can_be_heard() {
    in_a_namespace(
        "the_interface_has_a_carrier_while_the_port_can_be_heard",
        ONE_TAP,
        || {
            let has_carrier = || {
                let shown = Command::new("ip").args(["link", "show", "tap0"]).output();
                let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
                !shown.contains("NO-CARRIER")
            };
            let mut tap = Tapped::new(Tap::open("tap0").unwrap());

            tap.set_far_link(false);
            let dark = has_carrier();
            tap.set_far_link(true);
            let lit = has_carrier();
            tap.set_plug(Plug::Out);
            let pulled = has_carrier();

            assert_eq!([dark, lit, pulled], [false, true, false]);
            assert!(!tap.carrier());
        },
    );
}

#[test]
fn a_deleted_tap_has_no_carrier_and_nothing_to_wait_for() {
    in_a_namespace(
        "a_deleted_tap_has_no_carrier_and_nothing_to_wait_for",
        ONE_TAP,
        || {
            let mut tap = Tap::open("tap0").unwrap();

            run("ip link delete tap0");
            let received = tap.receive(10, &mut |_| Flow::More);
            let sent = tap.transmit(&TxFrame {
                head: &[0xff; 60],
                payload: &[],
                offload: Offload::None,
            });

            assert_eq!((received, sent), (0, Ok::<(), WireBusy>(())));
            assert!(!tap.carrier());
            assert!(tap.poll_fd().is_none());
            assert_eq!(tap.deadline(), Some(Time::ZERO));
            tap.advance(Time::from_nanos(1));
            assert_eq!(tap.deadline(), None);
        },
    );
}

#[test]
fn a_tap_in_use_and_an_interface_of_another_kind_are_told() {
    in_a_namespace(
        "a_tap_in_use_and_an_interface_of_another_kind_are_told",
        ONE_TAP,
        || {
            let _tap = Tap::open("tap0").unwrap();

            let busy = Kind::Tap("tap0".to_owned())
                .open(&mut Cables::new())
                .unwrap_err()
                .to_string();
            let other = Kind::Tap("lo".to_owned())
                .open(&mut Cables::new())
                .unwrap_err()
                .to_string();

            assert!(busy.contains("tap0 is in use by another program"), "{busy}");
            assert!(other.contains("lo is not a tap device"), "{other}");
        },
    );
}

#[test]
fn a_tap_that_is_refused_later_says_so_in_tcp_terms() {
    in_a_namespace(
        "a_tap_that_is_refused_later_says_so_in_tcp_terms",
        ONE_TAP,
        || {
            // Nobody listens: the kernel's refusal comes through as a frame with RST.
            let mut stack = Stack::new(Tap::open("tap0").unwrap());

            assert!(stack.is_refused((Ipv4Addr::new(10, 9, 8, 1), 5000)));
            assert!(TcpStream::connect("10.9.8.1:5000").is_err());
        },
    );
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success());
}
