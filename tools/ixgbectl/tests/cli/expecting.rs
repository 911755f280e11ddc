//! `ixgbectl expect`: what the guest should send.

use std::{fs, process::Stdio};

use etherparse::PacketBuilder;

use crate::{
    ixgbectl, json,
    server::{ADDRESS, TestServer},
    stdout, wait_for_line,
};

/// Runs `expect` with these arguments while the port sends these frames.
fn expect(server: &TestServer, arguments: &[&str], frames: &[Vec<u8>]) -> std::process::Output {
    let mut child = ixgbectl(server.path(), arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_line(&mut child, "expecting");
    frames.iter().for_each(|frame| server.send(frame));
    child.wait_with_output().unwrap()
}

fn udp(ttl: u8, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ADDRESS, [2; 6])
        .ipv4([10, 0, 0, 2], [10, 0, 0, 1], ttl)
        .udp(40_000, port)
        .write(&mut frame, b"some payload that is long enough")
        .unwrap();
    frame
}

fn error(output: &std::process::Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn a_frame_that_comes_is_seen() {
    let server = TestServer::start();

    let output = expect(
        &server,
        &[
            "expect",
            "--eth",
            "src=nic",
            "--ip",
            "ttl=64,sum=good",
            "--udp",
            "dport=7,sum=good",
        ],
        &[udp(63, 7), udp(64, 7)],
    );

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).starts_with("1 frame seen in "));
}

#[test]
fn what_the_nearest_frame_lacks_is_shown_field_by_field() {
    let server = TestServer::start();

    let output = expect(
        &server,
        &[
            "expect",
            "udp",
            "--timeout",
            "0.5",
            "--ip",
            "ttl=64",
            "--udp",
            "dport=7",
        ],
        &[udp(1, 9), udp(64, 9), vec![9; 60]],
    );

    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        stdout(&output),
        "the nearest of what was sent: 10.0.0.2.40000 > 10.0.0.1.9: UDP, length 32\n  \
         udp.dport  expected 7\n             seen     9\n"
    );
    assert!(
        error(&output).contains("expected 1 frames, seen 0 of 2 looked at"),
        "{output:?}"
    );
}

#[test]
fn frames_in_order_fail_at_the_first_other_one() {
    let server = TestServer::start();

    let output = expect(
        &server,
        &[
            "--json", "expect", "--order", "udp", "--count", "2", "--udp", "dport=7",
        ],
        &[udp(64, 7), udp(64, 8), udp(64, 7)],
    );

    assert_eq!(output.status.code(), Some(1));
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["seen"], 1);
    assert_eq!(outcome["passed"], false);
    assert_eq!(
        outcome["nearest"]["differences"],
        serde_json::json!([{"field": "udp.dport", "expected": "7", "seen": "8"}])
    );
}

#[test]
fn frames_of_a_file_come_in_any_order_but_for_fields_that_do_not_matter() {
    let server = TestServer::start();
    let file = server.directory().join("frames.hex");
    let hex = |frame: &[u8]| {
        frame
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    fs::write(
        &file,
        format!("{}\n\n{}\n", hex(&udp(64, 7)), hex(&udp(64, 8))),
    )
    .unwrap();
    let arguments = [
        "--json",
        "expect",
        "--frames",
        file.to_str().unwrap(),
        "--ignore",
        "ip.ttl,ip.sum",
    ];

    let output = expect(&server, &arguments, &[udp(3, 8), udp(64, 7)]);

    let outcome = json(&output);
    assert_eq!(outcome["passed"], true);
    assert_eq!(outcome["seen"], 2);
}

#[test]
fn nothing_can_be_expected() {
    let server = TestServer::start();
    let arguments = [
        "expect",
        "--count",
        "0",
        "--timeout",
        "0.3",
        "--udp",
        "dport=7",
    ];

    let nothing = expect(&server, &arguments, &[udp(64, 8)]);
    let something = expect(&server, &arguments, &[udp(64, 7)]);

    assert_eq!(nothing.status.code(), Some(0), "{nothing:?}");
    assert_eq!(something.status.code(), Some(1));
    assert!(stdout(&something).starts_with("this was sent: 10.0.0.2.40000 > 10.0.0.1.7: UDP"));
    assert!(error(&something).contains("a frame came that should not come"));
}

#[test]
fn a_command_is_run_when_no_frame_is_missed_any_more_and_its_failure_counts() {
    let server = TestServer::start();
    // What is injected is no frame of the guest.
    let inject = [
        "expect",
        "--timeout",
        "0.2",
        "--udp",
        "--",
        env!("CARGO_BIN_EXE_ixgbectl"),
        "inject",
        "--udp",
    ];

    let injected = expect(&server, &inject, &[]);
    let failed = expect(
        &server,
        &["expect", "--count", "0", "--timeout", "0", "--", "false"],
        &[],
    );

    assert_eq!(injected.status.code(), Some(1), "{injected:?}");
    assert!(
        stdout(&injected).contains("1 frame injected"),
        "{injected:?}"
    );
    assert_eq!(server.wait_for_received(1).len(), 1);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        error(&failed).contains("the command failed: exit status: 1"),
        "{failed:?}"
    );
}

#[test]
fn what_cannot_be_expected_is_a_wrong_command_line() {
    let server = TestServer::start();

    let field = expect_code(&server, &["expect", "--ignore", "ip.nothing"]);
    let answer = expect_code(&server, &["expect", "--eth", "dst=@eth.src"]);
    let filter = expect_code(&server, &["expect", "nonsense"]);

    assert_eq!([field, answer, filter], [Some(2); 3]);
}

fn expect_code(server: &TestServer, arguments: &[&str]) -> Option<i32> {
    ixgbectl(server.path(), arguments)
        .output()
        .unwrap()
        .status
        .code()
}
