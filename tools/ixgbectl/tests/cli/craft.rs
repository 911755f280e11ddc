//! Frames that are described on the command line.

use std::{fs, process::Stdio, time::Instant};

use etherparse::{NetSlice, SlicedPacket, TcpHeader, TransportSlice};

use crate::{
    ixgbectl, json, run,
    server::{ADDRESS, TestServer},
    stdout, wait_for_line,
};

fn tcp(frame: &[u8]) -> TcpHeader {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let segment = packet.transport.and_then(|transport| match transport {
        TransportSlice::Tcp(tcp) => Some(tcp.to_header()),
        _ => None,
    });
    segment.unwrap()
}

#[test]
fn a_described_frame_arrives_at_the_address_of_the_nic() {
    let server = TestServer::start();

    let output = run(
        &server,
        &[
            "inject",
            "--vlan",
            "5,pcp=3",
            "--ip",
            "src=10.0.0.1,dst=10.0.0.2,ttl=1",
            "--tcp",
            "dport=80,flags=S",
            "--payload",
            "text:hello",
            "--len",
            "100",
        ],
    );

    assert_eq!(stdout(&output), "1 frame injected\n", "{output:?}");
    let frame = server.wait_for_received(1).remove(0);
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = packet.net else {
        panic!("{packet:?}")
    };
    assert_eq!(frame[..6], ADDRESS);
    assert_eq!(frame[14..16], [0x60, 5]);
    assert_eq!(frame.len(), 100);
    assert_eq!(ip.header().ttl(), 1);
    assert_eq!((tcp(&frame).destination_port, tcp(&frame).syn), (80, true));
    assert_eq!(frame[58..68], *b"hellohello");
}

#[test]
fn fields_count_through_their_values_over_a_count_of_frames() {
    let server = TestServer::start();

    let output = run(
        &server,
        &["inject", "--ip", "--tcp", "dport=1000-1002", "--count", "5"],
    );

    assert_eq!(stdout(&output), "5 frames injected\n", "{output:?}");
    let frames = server.wait_for_received(5);
    let ports: Vec<u16> = frames
        .iter()
        .map(|frame| tcp(frame).destination_port)
        .collect();
    assert_eq!(ports, [1000, 1001, 1002, 1000, 1001]);
}

#[test]
fn broken_frames_arrive_as_broken_as_they_were_described() {
    let server = TestServer::start();

    let sum = run(
        &server,
        &["inject", "--ip", "sum=0xdead", "--udp", "len=+9"],
    );
    let cut = run(
        &server,
        &["inject", "--ip", "--tcp", "--truncate", "40", "--runts"],
    );
    let pieces = run(
        &server,
        &[
            "inject",
            "--udp",
            "--len",
            "3000",
            "--fragments",
            "1480,overlap=8",
        ],
    );

    let frames = server.wait_for_received(5);
    assert!(
        [&sum, &cut, &pieces]
            .iter()
            .all(|output| output.status.success()),
        "{sum:?} {cut:?} {pieces:?}"
    );
    assert_eq!(frames[0][24..26], [0xDE, 0xAD]);
    assert_eq!(frames[0][38..40], [0, 17]);
    assert_eq!(frames[1].len(), 40);
    // Offsets in units of 8 bytes, and whether more follow.
    let offsets: Vec<_> = frames[2..]
        .iter()
        .map(|frame| [frame[20], frame[21]])
        .collect();
    assert_eq!(offsets, [[0x20, 0], [0x20, 184], [1, 112]]);
}

#[test]
fn a_rate_is_kept_and_told() {
    let server = TestServer::start();
    let begun = Instant::now();

    let output = run(
        &server,
        &[
            "--json", "inject", "--udp", "--count", "300", "--rate", "1kpps",
        ],
    );

    let outcome = json(&output);
    assert_eq!(outcome["injected"], 300);
    assert!(begun.elapsed().as_millis() >= 299, "{outcome}");
    assert!(
        outcome["frames_per_second"].as_f64().unwrap() <= 1000.001,
        "{outcome}"
    );
    assert!(
        outcome["line_bits_per_second"].as_f64().unwrap() <= 672_001.0,
        "{outcome}"
    );
}

#[test]
fn what_the_guest_sends_is_answered_with_what_it_has_sent() {
    let server = TestServer::start();
    let mut child = ixgbectl(
        server.path(),
        &[
            "inject",
            "--on",
            "arp and not src 10.0.0.9",
            "--eth",
            "dst=@eth.src,src=02:00:00:00:00:aa",
            "--arp",
            "reply,spa=@arp.tpa,tpa=@arp.spa,tha=@arp.sha",
        ],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    wait_for_line(&mut child, "answering");
    let request = |from: u8| {
        let arp = [
            0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, from, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
        ];
        [&[0xFF; 6][..], &ADDRESS, &[8, 6], &arp, &[0; 18]].concat()
    };

    server.send(&[9; 60]);
    server.send(&request(9));
    server.send(&request(2));
    let output = child.wait_with_output().unwrap();

    assert_eq!(stdout(&output), "1 frame injected\n", "{output:?}");
    // Three come back by the loopback.
    let frames = server.wait_for_received(4);
    let answers: Vec<_> = frames
        .iter()
        .filter(|frame| frame[6..12] == [2, 0, 0, 0, 0, 0xAA])
        .collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0][..6], ADDRESS);
    assert_eq!(answers[0][20..22], [0, 2]);
    assert_eq!(answers[0][28..32], [10, 0, 0, 1]);
    assert_eq!(answers[0][38..42], [10, 0, 0, 2]);
}

#[test]
fn a_payload_can_stand_in_a_file() {
    let server = TestServer::start();
    let file = server.directory().join("payload");
    fs::write(&file, [7; 30]).unwrap();

    let output = run(
        &server,
        &[
            "inject",
            "--udp",
            "--payload",
            &format!("@{}", file.display()),
        ],
    );

    assert!(output.status.success(), "{output:?}");
    assert_eq!(server.wait_for_received(1)[0][42..72], [7; 30]);
}

#[test]
fn a_wrong_word_is_shown_with_a_caret_and_what_is_known_and_exit_code_2() {
    let server = TestServer::start();

    let field = run(&server, &["inject", "--udp", "dprot=7"]);
    let filter = run(&server, &["inject", "--on", "tpc port 80", "--udp"]);
    let both = run(&server, &["inject", "--arp", "--ip"]);
    let short = run(&server, &["inject", "--udp", "--len", "20"]);

    let told = |output: &std::process::Output| String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(field.status.code(), Some(2));
    assert_eq!(
        told(&field),
        "ixgbectl: wrong command line\n--udp dprot=7\n      ^^^^^ unknown field; udp has the fields sport, dport, len, sum\n"
    );
    assert_eq!(filter.status.code(), Some(2));
    assert!(told(&filter).contains("\n--on tpc port 80\n     ^^^ unknown word; known: host"));
    assert_eq!(both.status.code(), Some(2));
    assert!(told(&both).contains("--arp and --ip cannot both be in a frame"));
    assert_eq!(short.status.code(), Some(1));
    assert!(told(&short).contains("more than --len 20; --truncate 20 cuts them off"));
}
