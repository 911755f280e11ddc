//! Tap devices, in a network namespace of the test's own.
//!
//! Needs `unshare` and `ip`, `/dev/net/tun`, and leave to make a user namespace (or root). Where that is missing the
//! tests say so and pass, unless the environment variable `CI` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::env;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, exit};

use guest_memory::tap::{self, Offload, TapError, VNET_HEADER_LEN};
use guest_memory::{read_vectored, write_vectored};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vm_memory::VolatileSlice;

/// Runs `act` as root of a new network namespace with a tap `tap0` (address 10.9.8.1/24) in it: the test named
/// `test`, which is the caller, is started again there, and gets here again.
fn in_a_namespace(test: &str, act: fn()) {
    const CHILD: &str = "GUEST_MEMORY_TEST_NAMESPACE";
    if env::var_os(CHILD).is_some() {
        act();
        exit(0);
    }
    let set_up = "ip tuntap add dev tap0 mode tap && ip link set tap0 addrgenmode none \
                  && ip address add 10.9.8.1/24 dev tap0 && ip link set tap0 up";
    let may = Command::new("unshare")
        .args(["-rn", "sh", "-c", set_up])
        .output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(
            env::var_os("CI").is_none(),
            "no namespace with a tap: {may:?}"
        );
        eprintln!("skipped: this machine gives no network namespace with a tap: {may:?}");
        return;
    }
    let this_test = format!("{set_up} && exec \"$0\" --exact \"$1\" --nocapture");
    let status = Command::new("unshare")
        .args(["-rn", "sh", "-c", &this_test])
        .arg(env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// Asks who has 10.9.8.1 (RFC 826).
const ARP_REQUEST: &[u8; 42] = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06\
    \x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\x0a\x09\x08\x02\
    \x00\x00\x00\x00\x00\x00\x0a\x09\x08\x01";

/// The header and the frame of the next packet, or nothing after 100 ms.
fn receive(tap: &OwnedFd) -> Option<([u8; VNET_HEADER_LEN], Vec<u8>)> {
    let mut ready = [PollFd::new(tap.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ready, PollTimeout::from(100_u16)).unwrap() == 0 {
        return None;
    }
    let mut header = [0xaa; VNET_HEADER_LEN];
    let mut frame = vec![0; 1514];
    let list = [VolatileSlice::from(&mut frame[..])];
    let len = read_vectored(tap, &mut header, &list).unwrap();
    frame.truncate(len - header.len());
    Some((header, frame))
}

/// Asks once, and returns the answer. The kernel drops what it has to send in the moment before it finds the carrier
/// there.
fn ask(tap: &OwnedFd) -> Option<([u8; VNET_HEADER_LEN], Vec<u8>)> {
    let packet = [[0; VNET_HEADER_LEN].as_slice(), ARP_REQUEST].concat();
    assert_eq!(write_vectored(tap, &packet, &[]).unwrap(), 12 + 42);
    std::iter::from_fn(|| receive(tap)).find(|(_, frame)| frame[12..14] == [8, 6])
}

#[test]
fn a_tap_carries_a_frame_with_its_header_both_ways() {
    in_a_namespace("a_tap_carries_a_frame_with_its_header_both_ways", || {
        let tap = tap::open("tap0", Offload::Segmentation).unwrap();

        let (header, frame) = (0..100).find_map(|_| ask(&tap)).unwrap();

        assert_eq!(header, [0; VNET_HEADER_LEN]);
        // A reply, from 10.9.8.1, to the one that asked.
        assert_eq!(frame[0..6], ARP_REQUEST[6..12]);
        assert_eq!(frame[20..22], [0, 2]);
        assert_eq!(frame[28..32], [10, 9, 8, 1]);
    });
}

#[test]
fn the_carrier_of_the_interface_is_what_it_is_set_to() {
    in_a_namespace("the_carrier_of_the_interface_is_what_it_is_set_to", || {
        let tap = tap::open("tap0", Offload::None).unwrap();
        let has_carrier = || {
            let shown = Command::new("ip").args(["link", "show", "tap0"]).output();
            let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
            !shown.contains("NO-CARRIER")
        };

        let opened = has_carrier();
        tap::set_carrier(&tap, false).unwrap();
        let taken = has_carrier();
        tap::set_carrier(&tap, true).unwrap();

        assert_eq!((opened, taken, has_carrier()), (true, false, true));
    });
}

#[test]
fn a_tap_with_nothing_to_read_does_not_block() {
    in_a_namespace("a_tap_with_nothing_to_read_does_not_block", || {
        let tap = tap::open("tap0", Offload::None).unwrap();
        let ip = Command::new("ip")
            .args(["link", "set", "tap0", "down"])
            .status();
        let drained = std::iter::repeat_with(|| read_vectored(&tap, &mut [0; 2048], &[]))
            .find(Result::is_err);

        let error = drained.unwrap().unwrap_err();

        assert!(ip.unwrap().success());
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_tap_in_use_and_an_interface_of_another_kind_are_told_apart() {
    in_a_namespace(
        "a_tap_in_use_and_an_interface_of_another_kind_are_told_apart",
        || {
            let _tap = tap::open("tap0", Offload::Checksum).unwrap();

            let again = tap::open("tap0", Offload::Checksum);
            let loopback = tap::open("lo", Offload::Checksum);

            assert!(matches!(again, Err(TapError::Busy { .. })), "{again:?}");
            assert!(
                matches!(loopback, Err(TapError::NotATap { .. })),
                "{loopback:?}"
            );
        },
    );
}

#[test]
fn a_tap_that_does_not_exist_is_not_made() {
    let result = tap::open("no-such-tap", Offload::None);

    assert!(
        matches!(result, Err(TapError::Missing { .. })),
        "{result:?}"
    );
}

#[test]
fn a_name_that_no_interface_can_have_is_refused() {
    let names = ["", "sixteen-letters-", "a/b", "a b", "tap%d"];

    let results = names.map(|name| tap::open(name, Offload::None));

    let refused = |result: &Result<_, _>| matches!(result, Err(TapError::BadName { .. }));
    assert!(results.iter().all(refused), "{results:?}");
}
