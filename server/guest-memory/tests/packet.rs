//! Packet sockets and their ring, at both ends of a veth pair in a network namespace of the test's own.
//!
//! Needs `unshare`, `ip`, and leave to make a user namespace (or root). Where that is missing the tests say so and pass,
//! unless the environment variable `CI` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    env,
    process::{Command, exit},
};

use guest_memory::{
    packet::{Arrival, InterfaceState, PacketError, PacketSocket, VNET_HEADER_LEN},
    write_vectored,
};

const PAIR: &str = "set -e; ip link set lo up; ip link add veth0 type veth peer name veth1; \
    ip link set veth0 addrgenmode none; ip link set veth1 addrgenmode none; \
    ip link set veth0 up; ip link set veth1 up";

/// Runs `act` in a new network namespace with a veth pair: the test named `test`, which is the caller, is started again
/// there, and gets here again.
fn in_a_namespace(test: &str, act: fn()) {
    const CHILD: &str = "GUEST_MEMORY_PACKET_TEST";
    if env::var_os(CHILD).is_some() {
        act();
        exit(0);
    }
    let may = Command::new("unshare")
        .args(["-rn", "sh", "-c", PAIR])
        .output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(env::var_os("CI").is_none(), "no namespace: {may:?}");
        eprintln!("skipped: this machine gives no network namespace: {may:?}");
        return;
    }
    let status = Command::new("unshare")
        .args([
            "-rn",
            "sh",
            "-c",
            &format!("{PAIR} && exec \"$0\" --exact \"$1\" --nocapture"),
        ])
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success());
}

/// A frame of a protocol that nobody else speaks.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.resize(60, 0);
    frame
}

fn send(socket: &PacketSocket, frame: &[u8]) {
    let sent = write_vectored(socket, &[&[0; VNET_HEADER_LEN], frame].concat(), &[]).unwrap();
    assert_eq!(sent, VNET_HEADER_LEN + frame.len());
}

/// The header and the frame that is next, which is then released.
fn receive(socket: &mut PacketSocket) -> Option<(Vec<u8>, Vec<u8>)> {
    let received = match socket.arrival()? {
        Arrival::Whole(frame) => {
            let (header, rest) = frame.bytes.split_at(VNET_HEADER_LEN);
            Some((header.to_vec(), rest[..frame.len].to_vec()))
        }
        _ => None,
    };
    socket.release();
    received
}

#[test]
fn a_packet_socket_carries_a_frame_with_its_header_both_ways() {
    in_a_namespace(
        "a_packet_socket_carries_a_frame_with_its_header_both_ways",
        || {
            let mut one = PacketSocket::open("veth0").unwrap();
            let mut other = PacketSocket::open("veth1").unwrap();

            send(&one, &frame(1));
            send(&other, &frame(2));

            let no_work = vec![0; VNET_HEADER_LEN];
            assert_eq!(receive(&mut other), Some((no_work.clone(), frame(1))));
            assert_eq!(receive(&mut one), Some((no_work, frame(2))));
            assert_eq!(receive(&mut one), None);
        },
    );
}

#[test]
fn more_frames_than_the_ring_has_slots_arrive_in_order() {
    in_a_namespace(
        "more_frames_than_the_ring_has_slots_arrive_in_order",
        || {
            let from = PacketSocket::open("veth1").unwrap();
            let mut to = PacketSocket::open("veth0").unwrap();

            let received = (0..10_000).map(|number| {
                send(&from, &frame(number));
                receive(&mut to).unwrap().1
            });

            assert!(received.eq((0..10_000).map(frame)));
            assert_eq!(to.take_drops(), 0);
        },
    );
}

#[test]
fn frames_that_find_no_slot_are_counted() {
    in_a_namespace("frames_that_find_no_slot_are_counted", || {
        let from = PacketSocket::open("veth1").unwrap();
        let mut to = PacketSocket::open("veth0").unwrap();

        (0..5000).for_each(|number| send(&from, &frame(number)));

        assert!(to.has_arrival());
        assert_eq!((to.take_drops(), to.take_drops()), (5000 - 4096, 0));
        assert_eq!(receive(&mut to).unwrap().1, frame(0));
    });
}

#[test]
fn a_slot_is_the_next_until_it_is_released() {
    in_a_namespace("a_slot_is_the_next_until_it_is_released", || {
        let from = PacketSocket::open("veth1").unwrap();
        let mut to = PacketSocket::open("veth0").unwrap();
        to.release();
        send(&from, &frame(1));
        send(&from, &frame(2));

        let looked = [to.has_arrival(), to.arrival().is_some()];
        let first = receive(&mut to).unwrap().1;
        let second = receive(&mut to).unwrap().1;

        assert_eq!(looked, [true, true]);
        assert_eq!((first, second), (frame(1), frame(2)));
        assert!(!to.has_arrival());
    });
}

#[test]
fn the_state_of_the_interface_is_seen() {
    in_a_namespace("the_state_of_the_interface_is_seen", || {
        let socket = PacketSocket::open("veth0").unwrap();
        let state = |command: &str| {
            run(command);
            socket.state()
        };

        let states = [
            state("true"),
            state("ip link set veth0 down"),
            state("ip link set veth0 up; ip link set veth1 down"),
            state("ip link set veth1 up; ip link set veth0 down; ip link set veth0 name wire0 up"),
            state("ip link delete wire0"),
        ];

        use InterfaceState::{Down, Gone, Running};
        assert_eq!(states, [Running, Down, Down, Running, Gone]);
    });
}

#[test]
fn the_error_of_an_interface_that_went_down_is_told_once() {
    in_a_namespace(
        "the_error_of_an_interface_that_went_down_is_told_once",
        || {
            let socket = PacketSocket::open("veth0").unwrap();

            run("ip link set veth0 down");

            let down = nix::errno::Errno::ENETDOWN;
            assert_eq!(
                (socket.take_error(), socket.take_error()),
                (Some(down), None)
            );
        },
    );
}

#[test]
fn an_interface_without_ethernet_frames_is_refused() {
    in_a_namespace("an_interface_without_ethernet_frames_is_refused", || {
        let refused = PacketSocket::open("lo");

        assert!(
            matches!(refused, Err(PacketError::NotEthernet { hardware: 772, .. })),
            "{refused:?}"
        );
    });
}
