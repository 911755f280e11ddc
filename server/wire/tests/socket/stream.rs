//! What a stream carries, and when there is one.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    thread,
};

use nic_model::{Time, Wire};
use wire::Cables;

use super::*;

#[test]
fn frames_pass_a_unix_stream_both_ways_and_in_order() {
    let (_folder, path) = folder();
    let path = path.display();
    let [mut a, mut b] = joined(
        &format!("stream:unix:{path},server"),
        &format!("stream:unix:{path}"),
    );

    a.send(&[1; 60]).unwrap();
    a.send(&[2; 1514]).unwrap();
    a.send_now(&[3; 9710]);
    b.send_now(&[4; 61]);

    assert_eq!(b.receive(3), [vec![1; 60], vec![2; 1514], vec![3; 9710]]);
    assert_eq!(a.receive(1), [vec![4; 61]]);
    let (sent, seen) = (a.wire.counters(), b.wire.counters());
    assert_eq!(
        (sent.tx_frames, sent.tx_bytes, sent.tx_dropped),
        (3, 11_284, 0)
    );
    assert_eq!(
        (seen.rx_frames, seen.rx_bytes, seen.connections),
        (3, 11_284, 1)
    );
}

#[test]
fn frames_pass_a_tcp_stream_whoever_is_there_first() {
    let port = free_port();
    let connects = format!("stream:tcp:127.0.0.1:{port}");
    let mut early = Ran::open(&connects);
    (0..3).for_each(|_| early.turn());
    let mut late = Ran::open(&format!("{connects},server"));
    late.until(|late| {
        early.turn();
        late.wire.carrier() && early.wire.carrier()
    });

    early.send_now(&[1; 100]);
    late.send_now(&[2; 100]);

    assert_eq!(late.receive(1), [vec![1; 100]]);
    assert_eq!(early.receive(1), [vec![2; 100]]);
}

#[test]
fn a_frame_lies_behind_its_length_and_several_go_out_at_once() {
    let (_folder, path) = folder();
    let listener = UnixListener::bind(&path).unwrap();
    let mut wire = Ran::open(&format!("stream:unix:{}", path.display())).connected();
    let mut peer = listener.accept().unwrap().0;

    wire.send(&[7; 20]).unwrap();
    wire.send(&[8; 300]).unwrap();
    let waits = wire.wire.deadline();
    wire.turn();

    let expected = [
        framed(&[&[7; 20][..], &[0; 40]].concat()),
        framed(&[8; 300]),
    ]
    .concat();
    let mut seen = vec![0; 1000];
    let count = peer.read(&mut seen).unwrap();
    assert_eq!(waits, Some(Time::ZERO));
    assert_eq!(seen[..count], expected);
}

#[test]
fn frames_that_come_in_one_piece_are_handed_out_within_the_budget_and_until_the_port_stops() {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{},server", path.display()));
    wire.turn();
    let mut peer = UnixStream::connect(&path).unwrap();
    let mut wire = wire.connected();
    peer.write_all(&framed(&[1; 60]).repeat(10)).unwrap();

    let first = wire.receive(2).len();
    let mut stopped = 0;
    wire.wire.receive(10, &mut |_| {
        stopped += 1;
        Flow::Stop
    });
    let left = wire.wire.has_frames();
    let rest = wire.take(64).len();

    assert_eq!((first, stopped, left, rest), (2, 1, true, 7));
    assert!(!wire.wire.has_frames());
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_one_and_a_short_one_is_padded() {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{},server", path.display()));
    wire.turn();
    let mut peer = UnixStream::connect(&path).unwrap();
    let mut wire = wire.connected();

    for byte in framed(&[5; 42]) {
        assert_eq!(wire.take(8).len(), 0);
        peer.write_all(&[byte]).unwrap();
    }

    assert_eq!(wire.receive(1), [[&[5; 42][..], &[0; 18]].concat()]);
}

#[test]
fn a_peer_that_goes_takes_the_carrier_and_its_successor_brings_it_back() {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{}", path.display()));
    wire.turn();
    let absent = wire.wire.carrier();
    let listener = UnixListener::bind(&path).unwrap();
    let mut wire = wire.connected();
    let peer = listener.accept().unwrap().0;
    wire.send(&[1; 60]).unwrap();

    drop(peer);
    wire.lost();
    let noticed = wire.wire.deadline();
    let sent = wire.send(&[2; 60]);

    assert_eq!((absent, noticed, sent), (false, Some(Time::ZERO), Ok(())));
    let lost = wire.wire.counters().tx_dropped;
    assert!((1..=2).contains(&lost), "{lost}");
    let mut wire = wire.connected();
    let mut peer = listener.accept().unwrap().0;
    wire.send_now(&[3; 60]);
    let mut seen = [0; 64];
    peer.read_exact(&mut seen).unwrap();
    assert_eq!(seen[..], framed(&[3; 60]));
    assert_eq!(wire.wire.counters().connections, 2);
}

#[test]
fn a_peer_that_is_not_there_is_looked_for_less_and_less_often_but_once_a_second() {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{}", path.display()));

    let pauses: Vec<u128> = (0..9)
        .map(|_| {
            wire.turn();
            wire.wire.deadline().unwrap().since(wire.now).as_millis()
        })
        .collect();

    assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
}

#[test]
fn a_peer_that_always_hangs_up_is_not_looked_for_more_often_than_one_that_is_absent() {
    let (_folder, path) = folder();
    let listener = UnixListener::bind(&path).unwrap();
    let mut wire = Ran::open(&format!("stream:unix:{}", path.display()));

    for _ in 0..8 {
        wire = wire.connected();
        drop(listener.accept().unwrap());
        wire.lost();
    }
    wire.turn();

    let seven_pauses = 20 + 40 + 80 + 160 + 320 + 640 + 1000;
    assert!(
        wire.now.as_micros() >= seven_pauses * 1000,
        "{:?}",
        wire.now
    );
}

#[test]
fn a_peer_that_reads_nothing_makes_the_port_wait_then_lose_and_later_reads_whole_frames() {
    let (_folder, path) = folder();
    let listener = UnixListener::bind(&path).unwrap();
    let mut wire = Ran::open(&format!("stream:unix:{}", path.display())).connected();
    let mut peer = listener.accept().unwrap().0;
    let mut taken = 0_u64;
    while wire.send(&[1; 1514]).is_ok() {
        taken += 1;
    }

    let waits = wire.wire.deadline().unwrap().since(wire.now);
    while wire.send(&[2; 1514]).is_err() {
        wire.turn();
    }
    let lost = wire.wire.counters().tx_dropped;

    assert!(taken * 1518 < 1 << 20, "{taken} frames wait");
    assert!(waits <= Duration::from_millis(1), "{waits:?}");
    assert_eq!(lost, 1);
    let reader = thread::spawn(move || {
        let mut stream = Vec::new();
        peer.read_to_end(&mut stream).unwrap();
        stream
    });
    wire.until(|wire| wire.send(&[3; 60]).is_ok() && wire.wire.counters().tx_dropped == lost);
    wire.until(|wire| wire.wire.deadline().is_none());
    drop(wire);
    let stream = reader.join().unwrap();
    let count = usize::try_from(taken).unwrap();
    assert!(stream.starts_with(&framed(&[1; 1514]).repeat(count)));
    assert!(stream.ends_with(&framed(&[3; 60])));
}

#[test]
fn a_second_peer_is_served_when_the_first_has_gone() {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{},server", path.display()));
    wire.turn();
    let first = UnixStream::connect(&path).unwrap();
    let mut second = UnixStream::connect(&path).unwrap();
    second.write_all(&framed(&[2; 60])).unwrap();
    let mut wire = wire.connected();

    (0..3).for_each(|_| wire.turn());
    let early = wire.take(8).len();
    drop(first);
    wire.lost();

    assert_eq!(early, 0);
    assert_eq!(wire.connected().receive(1), [[2; 60]]);
}

#[test]
fn the_path_of_a_listening_socket_is_the_owners_goes_with_it_and_replaces_only_a_dead_one() {
    let (_folder, path) = folder();
    drop(UnixListener::bind(&path).unwrap());
    let address = format!("stream:unix:{},server", path.display());
    let kind: Kind = address.parse().unwrap();
    let wire = kind.open(&mut Cables::new()).unwrap();

    let mode = path.metadata().unwrap().permissions().mode();
    let second = kind.open(&mut Cables::new()).unwrap_err().to_string();
    drop(wire);

    assert_eq!(mode & 0o777, 0o600);
    assert!(second.contains("another process listens"), "{second}");
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    let file = kind.open(&mut Cables::new()).unwrap_err().to_string();
    assert!(file.contains("not a socket"), "{file}");
    assert!(path.exists());
}

#[test]
fn what_cannot_be_listened_on_or_resolved_is_told_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = |text: &str| {
        let kind: Kind = text.parse().unwrap();
        kind.open(&mut Cables::new()).unwrap_err().to_string()
    };

    let in_use = error(&format!(
        "stream:tcp:{},server",
        taken.local_addr().unwrap()
    ));
    let nowhere = error("stream:tcp:no-such-host.invalid:5555");
    let long = error(&format!("stream:unix:/{}", "x".repeat(200)));

    assert!(
        in_use.contains("cannot listen on tcp:127.0.0.1"),
        "{in_use}"
    );
    assert!(
        nowhere.contains("no-such-host.invalid:5555 has no address"),
        "{nowhere}"
    );
    assert!(long.contains("choose a shorter one"), "{long}");
}
