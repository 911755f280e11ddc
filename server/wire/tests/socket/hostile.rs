//! Peers that are none.

use std::{io::Write, os::unix::net::UnixStream};

use super::*;

/// What a peer that writes `bytes` and then `does` something leaves behind; and then one that behaves comes.
fn after(bytes: &[u8], does: impl FnOnce(UnixStream) -> Option<UnixStream>) -> wire::Counters {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{},server", path.display()));
    wire.turn();
    let mut peer = UnixStream::connect(&path).unwrap();
    let mut wire = wire.connected();
    peer.write_all(bytes).unwrap();
    let peer = does(peer);

    wire.lost();

    drop(peer);
    let mut good = UnixStream::connect(&path).unwrap();
    let mut wire = wire.connected();
    good.write_all(&framed(&[9; 60])).unwrap();
    assert_eq!(wire.receive(1), [[9; 60]]);
    wire.wire.counters()
}

#[test]
fn a_length_beyond_the_maximum_ends_the_stream_and_is_counted() {
    let counters = after(&69_633_u32.to_be_bytes(), Some);

    assert_eq!((counters.framing_errors, counters.connections), (1, 2));
}

#[test]
fn a_frame_of_no_bytes_ends_the_stream_behind_those_before_it() {
    let counters = after(
        &[framed(&[1; 60]), framed(&[]), framed(&[2; 60])].concat(),
        Some,
    );

    assert_eq!((counters.framing_errors, counters.rx_frames), (1, 2));
}

#[test]
fn half_a_frame_and_gone_is_counted_and_no_part_of_it_reaches_the_next_stream() {
    let counters = after(&framed(&[1; 60])[..30], |peer| {
        drop(peer);
        None
    });

    assert_eq!((counters.framing_errors, counters.rx_frames), (1, 1));
}

#[test]
fn a_peer_that_just_goes_is_no_error() {
    let counters = after(&framed(&[1; 60]), |peer| {
        drop(peer);
        None
    });

    assert_eq!((counters.framing_errors, counters.rx_frames), (0, 2));
}

#[test]
fn a_frame_without_room_for_addresses_is_lost_alone() {
    let counters = after(&[framed(&[1; 13]), framed(&[2; 14])].concat(), |peer| {
        drop(peer);
        None
    });

    assert_eq!(
        (
            counters.framing_errors,
            counters.rx_dropped,
            counters.rx_frames
        ),
        (0, 1, 2)
    );
}

/// The far end writes as long as it is read.
#[test]
fn a_peer_that_never_stops_sending_does_not_hold_a_turn_up() {
    let (_folder, path) = folder();
    let mut wire = Ran::open(&format!("stream:unix:{},server", path.display()));
    wire.turn();
    let mut peer = UnixStream::connect(&path).unwrap();
    let mut wire = wire.connected();
    let flood = std::thread::spawn(move || {
        let tiny = framed(&[1]).repeat(10_000);
        while peer.write_all(&tiny).is_ok() {}
    });

    wire.until(|wire| {
        wire.wire.counters().rx_dropped > 0 || wire.wire.receive(64, &mut |_| Flow::More) > 0
    });
    let before = wire.wire.counters().rx_dropped;
    wire.take(64);
    let dropped = wire.wire.counters().rx_dropped - before;
    drop(wire);

    assert!(dropped <= 64, "{dropped}");
    flood.join().unwrap();
}
