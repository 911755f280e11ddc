//! A frame a datagram.

use std::{net::UdpSocket, os::unix::net::UnixDatagram};

use super::*;

/// Two wires over UDP, on ports that were free a moment ago.
fn udp() -> ([Ran; 2], [u16; 2]) {
    let ports = [free_udp_port(), free_udp_port()];
    let [a, b] = ports.map(|port| format!("127.0.0.1:{port}"));
    let wires = [format!("dgram:udp:{a},{b}"), format!("dgram:udp:{b},{a}")];
    (wires.map(|kind| Ran::open(&kind)), ports)
}

fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn frames_pass_udp_both_ways_one_a_datagram() {
    let ([mut a, mut b], _) = udp();

    a.send(&[1; 60]).unwrap();
    a.send(&[2; 9710]).unwrap();
    b.send(&[3; 20]).unwrap();

    assert_eq!(b.receive(2), [vec![1; 60], vec![2; 9710]]);
    assert_eq!(a.receive(1), [[&[3; 20][..], &[0; 40]].concat()]);
    assert!(a.wire.carrier());
}

#[test]
fn a_datagram_of_a_stranger_does_not_arrive() {
    let ([mut a, mut b], [port, _]) = udp();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();

    let refused = stranger.send_to(&[9; 60], ("127.0.0.1", port));
    b.send(&[1; 60]).unwrap();

    assert!(refused.is_ok());
    assert_eq!(a.receive(1), [[1; 60]]);
    assert_eq!(a.take(8).len(), 0);
}

#[test]
fn what_nobody_takes_is_lost_and_what_comes_later_arrives() {
    let ports = [free_udp_port(), free_udp_port()];
    let [own, other] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut wire = Ran::open(&format!("dgram:udp:{own},{other}"));

    wire.until(|wire| wire.send(&[1; 60]).is_ok() && wire.wire.counters().tx_dropped > 0);
    let mut peer = Ran::open(&format!("dgram:udp:{other},{own}"));
    let mut seen = Vec::new();
    wire.until(|wire| {
        wire.send(&[2; 60]).unwrap();
        seen = peer.take(1);
        !seen.is_empty()
    });

    assert_eq!(seen, [[2; 60]]);
}

#[test]
fn a_unix_peer_that_takes_nothing_makes_the_port_wait_and_then_lose() {
    let (folder, path) = folder();
    let other = folder.path().join("other");
    let peer = UnixDatagram::bind(&other).unwrap();
    let mut wire = Ran::open(&format!(
        "dgram:unix:{},{}",
        path.display(),
        other.display()
    ));
    let mut taken = 0;
    while wire.send(&[1; 60]).is_ok() {
        taken += 1;
    }

    while wire.send(&[2; 60]).is_err() {
        wire.turn();
    }
    let lost = wire.wire.counters().tx_dropped;
    let mut buffer = [0; 100];
    for _ in 0..taken {
        assert_eq!(peer.recv(&mut buffer).unwrap(), 60);
    }
    wire.send(&[3; 60]).unwrap();

    assert_eq!(lost, 1);
    assert_eq!(peer.recv(&mut buffer).unwrap(), 60);
    assert_eq!(buffer[..60], [3; 60]);
    peer.send_to(&[4; 60], &path).unwrap();
    peer.send_to(&[4; 13], &path).unwrap();
    peer.send_to(&vec![4; 69_633], &path).unwrap();
    peer.send_to(&[5; 60], &path).unwrap();
    assert_eq!(wire.receive(2), [[4; 60], [5; 60]]);
    assert_eq!(wire.wire.counters().rx_dropped, 2);
}

#[test]
fn a_unix_peer_that_was_started_again_is_found_and_the_own_path_goes_with_the_wire() {
    let (folder, path) = folder();
    let other = folder.path().join("other");
    let mut wire = Ran::open(&format!(
        "dgram:unix:{},{}",
        path.display(),
        other.display()
    ));
    wire.send(&[1; 60]).unwrap();
    let absent = wire.wire.counters().tx_dropped;
    let peer = UnixDatagram::bind(&other).unwrap();
    wire.send(&[2; 60]).unwrap();
    drop(peer);
    std::fs::remove_file(&other).unwrap();

    let peer = UnixDatagram::bind(&other).unwrap();
    wire.send(&[3; 60]).unwrap();
    let mut buffer = [0; 100];
    let seen = peer.recv(&mut buffer).unwrap();
    drop(wire);

    assert_eq!((absent, seen, buffer[0]), (1, 60, 3));
    assert!(!path.exists());
}

#[test]
fn addresses_that_do_not_go_together_are_told() {
    let error = |text: &str| {
        let kind: Kind = text.parse().unwrap();
        kind.open(&mut Cables::new()).unwrap_err().to_string()
    };

    let families = error("dgram:udp:127.0.0.1:5555,[::1]:5555");
    let multicast = error("dgram:udp:127.0.0.1:5555,230.0.0.1:5555");

    assert!(
        families.contains("not both IPv4 or both IPv6"),
        "{families}"
    );
    assert!(multicast.contains("multicast"), "{multicast}");
}
