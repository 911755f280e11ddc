//! Captures in words, of several ports, through a filter.

use std::{fs, process::Stdio};

use pcap_file::pcapng::{
    Block, PcapNgReader, blocks::interface_description::InterfaceDescriptionOption,
};
use serde_json::Value;

use crate::{
    ixgbectl, read_capture, run,
    server::{ADDRESS, TestServer},
    stdout, wait_for_start,
};

/// Captures with these arguments while the port sends these frames.
fn capture(server: &TestServer, arguments: &[&str], frames: &[&[u8]]) -> std::process::Output {
    let mut child = ixgbectl(server.path(), arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_start(&mut child);
    frames.iter().for_each(|frame| server.send(frame));
    child.wait_with_output().unwrap()
}

/// An ARP request of the NIC.
fn arp() -> Vec<u8> {
    let arp = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
    ];
    [&[0xFF; 6][..], &ADDRESS, &[8, 6], &arp, &[0; 18]].concat()
}

#[test]
fn frames_are_told_in_words_with_time_and_direction() {
    let server = TestServer::start();

    let output = capture(&server, &["capture", "-c", "2"], &[&arp()]);

    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0][18..],
        *" out ARP, request who-has 10.0.0.1 tell 10.0.0.2, length 60"
    );
    assert_eq!(
        lines[1][18..],
        *" in  ARP, request who-has 10.0.0.1 tell 10.0.0.2, length 60"
    );
    // 12:00:00.000000000
    let clock: String = lines[0][..18]
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .collect();
    assert_eq!(clock, "::.");
}

#[test]
fn a_filter_lets_some_frames_through_to_a_file_and_bytes_are_cut_behind_it() {
    let server = TestServer::start();
    let file = server.directory().join("arp.pcapng");

    let output = capture(
        &server,
        &[
            "capture",
            "-c",
            "1",
            "-s",
            "20",
            "-w",
            file.to_str().unwrap(),
            "arp",
            "and",
            "inbound",
            "and",
            "len = 60",
        ],
        &[&[9; 80], &arp()],
    );

    assert_eq!(stdout(&output), "1 frames captured, 0 lost\n");
    let (frames, _) = read_capture(&fs::read(&file).unwrap());
    assert_eq!(frames, [(1, arp()[..20].to_vec())]);
}

#[test]
fn frames_are_lines_of_json_for_programs() {
    let server = TestServer::start();

    let output = capture(
        &server,
        &["--json", "capture", "-c", "1", "outbound"],
        &[&arp()],
    );

    let line: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(line["direction"], "transmit");
    assert_eq!(line["port"], 0);
    assert_eq!(line["length"], 60);
    assert!(line["text"].as_str().unwrap().starts_with("ARP, request"));
    assert!(
        line["data"]
            .as_str()
            .unwrap()
            .starts_with("ffffffffffff0200")
    );
}

#[test]
fn each_port_is_an_interface_of_the_file() {
    let server = TestServer::start_two_ports();

    // Both ports have one worker, so each frame passes at both.
    let output = capture(
        &server,
        &["capture", "-c", "2", "-o", "-", "outbound"],
        &[&[9; 80]],
    );

    let mut reader = PcapNgReader::new(&output.stdout[..]).unwrap();
    let (mut names, mut interfaces) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => {
                names.extend(interface.options.iter().filter_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                }));
            }
            Block::EnhancedPacket(packet) => interfaces.push(packet.interface_id),
            _ => {}
        }
    }
    interfaces.sort_unstable();
    assert_eq!(names, ["port0", "port1"]);
    assert_eq!(interfaces, [0, 1]);
}

#[test]
fn a_filter_that_is_not_understood_is_shown_with_a_caret() {
    let server = TestServer::start();

    let output = run(&server, &["capture", "tcp", "prot", "80"]);

    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("\n tcp prot 80\n     ^^^^ "), "{told}");
}
