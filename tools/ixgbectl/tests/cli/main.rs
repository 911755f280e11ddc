//! `ixgbectl` as a person runs it, against a control server whose port has a loopback plug.
#![expect(clippy::unwrap_used, reason = "a test stops where a step fails")]

mod capturing;
mod craft;
mod expecting;
mod look;
mod recording;
mod replaying;
mod server;
mod shell;
mod top;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use pcap_file::{
    DataLink,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
    pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption},
};
use serde_json::Value;
use server::TestServer;

fn ixgbectl(control: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ixgbectl"));
    command
        .env_remove("IXGBE_CONTROL")
        .arg("--control")
        .arg(control)
        .args(arguments);
    command
}

fn run(server: &TestServer, arguments: &[&str]) -> Output {
    ixgbectl(server.path(), arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Standard error of a command that failed, which has one line.
fn failure(output: &Output) -> &str {
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Direction flags and bytes of the frames of a pcapng file, and the number of lost ones at its end.
fn read_capture(bytes: &[u8]) -> (Vec<(u32, Vec<u8>)>, Option<u64>) {
    use pcap_file::pcapng::blocks::interface_statistics::InterfaceStatisticsOption;
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let (mut frames, mut lost) = (Vec::new(), None);
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::EnhancedPacket(packet) => {
                let flags = packet.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Flags(flags) => Some(*flags),
                    _ => None,
                });
                frames.push((flags.unwrap(), packet.data.to_vec()));
            }
            Block::InterfaceStatistics(statistics) => {
                lost = statistics.options.iter().find_map(|option| match option {
                    InterfaceStatisticsOption::IsbIfDrop(lost) => Some(*lost),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (frames, lost)
}

#[test]
fn stats_are_a_table_for_people_and_json_for_programs() {
    let server = TestServer::start();

    let human = run(&server, &["stats"]);
    let json = json(&run(&server, &["stats", "--json"]));

    assert!(stdout(&human).starts_with("hardware\n  gprc"), "{human:?}");
    assert!(stdout(&human).contains("\nwire\n  tx_frames"));
    assert_eq!(
        json["counters"][0],
        serde_json::json!({"group": "hardware", "name": "gprc", "value": 42})
    );
}

#[test]
fn the_ports_of_a_server_are_listed_unless_one_is_named() {
    let server = TestServer::start_two_ports();

    let all = json(&run(&server, &["--json", "stats"]));
    let one = json(&run(&server, &["--json", "--port", "1", "stats"]));
    let info = json(&run(&server, &["--json", "info"]));
    let table = run(&server, &["info"]);

    assert_eq!(all["ports"].as_array().map(Vec::len), Some(2));
    assert_eq!(all["ports"][1]["port"], 1);
    assert_eq!(all["ports"][1]["counters"][0]["name"], "gprc");
    assert_eq!(one["counters"][0]["name"], "gprc");
    assert_eq!(info["ports"][1]["port"], 1);
    assert_eq!(info["ports"][1]["wire"], "loopback");
    assert!(stdout(&table).contains("\nport     1 of 2\nwire     loopback\n"));
}

#[test]
fn a_port_that_is_not_there_is_told_with_the_number_of_ports() {
    let server = TestServer::start_two_ports();

    let output = run(&server, &["link", "down", "--port", "2"]);

    assert_eq!(
        failure(&output),
        "ixgbectl: the server has no port 2; it has 2, counted from 0"
    );
}

#[test]
fn stats_can_leave_out_zeros() {
    let server = TestServer::start();

    let output = run(&server, &["stats", "--nonzero"]);

    assert_eq!(stdout(&output), "hardware\n  gprc  42\n");
}

#[test]
fn a_runt_arrives_as_short_as_it_is() {
    let server = TestServer::start();
    let hex = "07".repeat(20);

    let output = run(&server, &["inject", "--runts", "--bad-fcs", "--hex", &hex]);

    assert_eq!(stdout(&output), "1 frame injected\n");
    assert_eq!(server.wait_for_received(1), [[7; 20]]);
}

#[test]
fn a_frame_in_hex_arrives() {
    let server = TestServer::start();

    let output = run(
        &server,
        &[
            "inject",
            "--hex",
            "ff:ff:ff:ff:ff:ff 525400123456 88b5 6869",
        ],
    );

    assert_eq!(stdout(&output), "1 frame injected\n");
    let mut expected = vec![
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x88, 0xb5, 0x68, 0x69,
    ];
    expected.resize(60, 0);
    assert_eq!(server.wait_for_received(1), [expected]);
}

#[test]
fn the_frames_of_a_pcap_file_arrive_as_often_as_wanted() {
    let server = TestServer::start();
    let file = server.directory().join("two.pcap");
    let header = PcapHeader {
        datalink: DataLink::ETHERNET,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(fs::File::create(&file).unwrap(), header).unwrap();
    for byte in [1, 2] {
        let packet = PcapPacket::new_owned(std::time::Duration::ZERO, 100, vec![byte; 100]);
        writer.write_packet(&packet).unwrap();
    }
    drop(writer);

    let output = run(
        &server,
        &["--json", "inject", file.to_str().unwrap(), "--repeat", "2"],
    );

    assert_eq!(json(&output)["injected"], 4);
    assert_eq!(
        server.wait_for_received(4),
        [vec![1; 100], vec![2; 100], vec![1; 100], vec![2; 100]]
    );
}

#[test]
fn a_hex_dump_is_read_from_standard_input() {
    let server = TestServer::start();
    let mut child = ixgbectl(server.path(), &["inject", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    let dump = b"00000000: 0011 2233 4455 6677 8899 aabb ccdd eeff  ..\n";
    child.stdin.take().unwrap().write_all(dump).unwrap();
    let output = child.wait_with_output().unwrap();

    assert_eq!(stdout(&output), "1 frame injected\n");
    assert_eq!(server.wait_for_received(1)[0][..3], [0x00, 0x11, 0x22]);
}

#[test]
fn more_frames_than_fit_a_message_or_the_queue_arrive_all() {
    let server = TestServer::start();
    let file = server.directory().join("many.hex");
    fs::write(&file, "aa".repeat(9000)).unwrap();

    let output = run(
        &server,
        &["inject", file.to_str().unwrap(), "--repeat", "3000"],
    );

    assert!(stdout(&output).starts_with("3000 frames injected"));
    assert_eq!(server.wait_for_received(3000).len(), 3000);
}

#[test]
fn frames_that_nobody_takes_are_told_after_the_timeout() {
    let server = TestServer::start_paused();

    let output = run(
        &server,
        &[
            "inject",
            "--hex",
            &"aa".repeat(60),
            "--repeat",
            "5000",
            "--timeout",
            "0",
        ],
    );

    assert_eq!(
        failure(&output),
        "ixgbectl: 4096 frames injected, then the NIC took no more for 0 s; is a driver attached and its interface up?"
    );
}

#[test]
fn files_that_hold_no_frames_are_refused_with_the_reason() {
    let server = TestServer::start();
    let text = server.directory().join("notes.txt");
    let broken = server.directory().join("broken.pcap");
    fs::write(&text, "remember the milk").unwrap();
    fs::write(&broken, [0xd4, 0xc3, 0xb2, 0xa1, 2, 0]).unwrap();

    let missing = run(&server, &["inject", "/nonexistent.pcap"]);
    let text = run(&server, &["inject", text.to_str().unwrap()]);
    let broken = run(&server, &["inject", broken.to_str().unwrap()]);
    let short = run(&server, &["inject", "--hex", "0011"]);

    assert!(failure(&missing).contains("cannot read /nonexistent.pcap: No such file"));
    assert!(
        failure(&text).ends_with("line 1: \"rememberthemilk\" is not hexadecimal"),
        "{}",
        failure(&text)
    );
    assert!(failure(&broken).contains("the header of the pcap file is wrong"));
    assert!(failure(&short).contains("frame 1 has 2 bytes; 14 to 16383"));
}

#[test]
fn an_error_is_json_for_programs() {
    let output = ixgbectl(Path::new("/nonexistent.control"), &["--json", "stats"])
        .output()
        .unwrap();

    let error: Value = serde_json::from_str(failure(&output)).unwrap();
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .starts_with("no server answers at /nonexistent.control")
    );
}

#[test]
fn fault_lets_the_card_have_an_error_and_tells_its_message() {
    let server = TestServer::start();

    let memory = run(&server, &["fault", "ecc-rx"]);
    let bus = run(&server, &["fault", "bad-tlp", "--json"]);
    let refused = run(&server, &["fault", "gremlin"]);

    assert_eq!(stdout(&memory), "fault ecc-rx\n");
    assert_eq!(json(&bus)["fault"], "bad-tlp");
    assert_eq!(json(&bus)["message"], Value::Null, "nobody has enabled it");
    assert_eq!(refused.status.code(), Some(2));
    let told = std::str::from_utf8(&refused.stderr).unwrap();
    assert!(told.contains("poisoned-tlp"), "{told}");
}

#[test]
fn leds_shows_what_each_led_shows_and_is_to_show() {
    let server = TestServer::start();

    let shown = run(&server, &["leds"]);
    let for_programs = run(&server, &["leds", "--json"]);

    let lines: Vec<String> = stdout(&shown).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0],
        "led0  off       LINK_UP          turned on 0 times"
    );
    assert_eq!(json(&for_programs)["leds"][2]["mode"], "LINK/ACTIVITY");
    assert_eq!(json(&for_programs)["leds"][2]["light"], "off");
    assert_eq!(json(&for_programs)["leds"][2]["turnedOn"], 0);
}

#[test]
fn check_shows_what_the_driver_breaks_and_fails() {
    let server = TestServer::start();

    let shown = run(&server, &["check"]);
    let for_programs = run(&server, &["check", "--json"]);

    let text = str::from_utf8(&shown.stdout).unwrap();
    assert!(
        text.starts_with("tail-past-ring: error: transmit queue 3: the tail is 512\n  rule: "),
        "{text}"
    );
    assert!(
        text.contains("  time: 1.500000 s\n") && text.ends_with("  seen: 2 times\n"),
        "{text}"
    );
    assert_eq!(shown.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&for_programs.stdout).unwrap();
    let finding = &value["ports"][0]["findings"][0];
    assert_eq!(finding["rule"], "tail-past-ring");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["timeNanos"], 1_500_000_000);
    assert_eq!(for_programs.status.code(), Some(1));
}

#[test]
fn module_shows_what_is_in_the_cage_and_changes_it() {
    let server = TestServer::start();

    let shown = run(&server, &["module"]);
    let drawn = run(&server, &["module", "none"]);
    let plugged = run(&server, &["module", "1g-sx", "--json"]);
    let refused = run(&server, &["module", "gbic"]);

    assert_eq!(stdout(&shown), "module sr\n");
    assert_eq!(stdout(&drawn), "module none\n");
    assert_eq!(json(&plugged)["module"], "1g-sx");
    assert_eq!(refused.status.code(), Some(2));
    let told = std::str::from_utf8(&refused.stderr).unwrap();
    assert!(told.contains("da-passive"), "{told}");
}

#[test]
fn link_down_pulls_the_cable_and_up_puts_it_back() {
    let server = TestServer::start();

    let shown = run(&server, &["link"]);
    let down = run(&server, &["link", "down"]);
    let refused = run(&server, &["inject", "--hex", &"00".repeat(60)]);
    let up = run(&server, &["link", "up", "--json"]);

    assert_eq!(stdout(&shown), "cable up, carrier\n");
    assert_eq!(stdout(&down), "cable down, no carrier\n");
    assert!(failure(&refused).contains("the link is down"));
    assert_eq!(
        json(&up),
        serde_json::json!({"cable": "up", "carrier": true})
    );
}

#[test]
fn info_tells_who_answers() {
    let server = TestServer::start();

    let output = json(&run(&server, &["info", "--json"]));

    assert_eq!(output["wire"], "loopback");
    assert_eq!(output["control"], server.path().to_str().unwrap());
    assert_eq!(output["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_capture_of_a_count_ends_by_itself() {
    let server = TestServer::start();
    let file = server.directory().join("out.pcapng");
    let mut child = ixgbectl(
        server.path(),
        &["capture", "-c", "3", "-o", file.to_str().unwrap()],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    wait_for_start(&mut child);

    server.send(&[9; 80]);
    server.send(&[8; 80]);
    let output = child.wait_with_output().unwrap();

    assert!(output.status.success());
    assert_eq!(stdout(&output), "3 frames captured, 0 lost\n");
    let (frames, lost) = read_capture(&fs::read(&file).unwrap());
    assert_eq!(
        frames,
        [(2, vec![9; 80]), (1, vec![9; 80]), (2, vec![8; 80])]
    );
    assert_eq!(lost, Some(0));
}

#[test]
fn an_interrupted_capture_leaves_a_complete_file() {
    let server = TestServer::start();
    let file = server.directory().join("out.pcapng");
    let mut child = ixgbectl(
        server.path(),
        &[
            "--json",
            "capture",
            "-s",
            "20",
            "-o",
            file.to_str().unwrap(),
        ],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    wait_for_start(&mut child);

    server.send(&[9; 80]);
    server.wait_for_received(1);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();

    assert_eq!(json(&output), serde_json::json!({"frames": 2, "lost": 0}));
    let (frames, _) = read_capture(&fs::read(&file).unwrap());
    assert_eq!(frames, [(2, vec![9; 20]), (1, vec![9; 20])]);
}

#[test]
fn a_capture_to_standard_output_is_the_file_and_nothing_else() {
    let server = TestServer::start();
    let mut child = ixgbectl(server.path(), &["capture", "-c", "1", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_start(&mut child);

    server.send(&[9; 80]);
    let output = child.wait_with_output().unwrap();

    assert_eq!(read_capture(&output.stdout).0, [(2, vec![9; 80])]);
}

#[test]
fn a_capture_that_the_server_ends_is_complete_and_a_count_is_then_missed() {
    let server = TestServer::start();
    let file = server.directory().join("out.pcapng");
    let mut child = ixgbectl(
        server.path(),
        &["capture", "-c", "100", "-o", file.to_str().unwrap()],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    wait_for_start(&mut child);

    server.send(&[9; 80]);
    server.wait_for_received(1);
    server.stop();
    let output = child.wait_with_output().unwrap();

    assert!(failure(&output).contains("the server ended before so many frames had passed"));
    assert_eq!(read_capture(&fs::read(&file).unwrap()).0.len(), 2);
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_code_2() {
    let output = ixgbectl(Path::new("x"), &["link", "sideways"])
        .output()
        .unwrap();

    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("sideways"), "{text}");
}

#[test]
fn the_help_names_every_command_and_how_the_server_is_found() {
    let output = Command::new(env!("CARGO_BIN_EXE_ixgbectl"))
        .arg("--help")
        .output()
        .unwrap();

    let text = stdout(&output);
    assert!(
        [
            "inject",
            "capture",
            "stats",
            "link",
            "info",
            "IXGBE_CONTROL",
            "EXIT CODE"
        ]
        .iter()
        .all(|word| text.contains(word))
    );
}

#[test]
fn the_only_server_is_found_by_its_socket() {
    let server = TestServer::start();

    let output = Command::new(env!("CARGO_BIN_EXE_ixgbectl"))
        .env_remove("IXGBE_CONTROL")
        .args(["--json", "info"])
        .output()
        .unwrap();

    // Other tests run servers, too: then all of them are named, this one among them.
    let seen = [output.stdout, output.stderr].concat();
    let path = server.path().to_str().unwrap();
    assert!(std::str::from_utf8(&seen).unwrap().contains(path));
}

/// Waits until the command says that it captures.
fn wait_for_start(child: &mut std::process::Child) {
    wait_for_line(child, "capturing to");
}

/// Waits until the command says this to standard error.
fn wait_for_line(child: &mut std::process::Child, wanted: &str) {
    let stderr = child.stderr.take().unwrap();
    let mut reader = BufReader::new(stderr);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(wanted), "{line}");
    child.stderr = Some(reader.into_inner());
}

fn interrupt(child: &std::process::Child) {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
}

#[test]
fn faults_are_listed_with_how_often_they_happened_and_cleared() {
    let server = TestServer::start();
    let dropping = [
        "fault",
        "drop",
        "--direction",
        "rx",
        "--nth",
        "2",
        "--count",
        "2",
        "--seed",
        "7",
        "--json",
    ];

    let added = run(&server, &dropping);
    let late = run(
        &server,
        &["fault", "interrupt-late", "--vector", "3", "--delay", "5ms"],
    );
    run(&server, &["inject", "--len", "100", "--count", "5"]);
    server.wait_for_received(3);
    let listed = run(&server, &["fault", "list", "--json"]);
    let shown = run(&server, &["fault", "list"]);
    let none = run(&server, &["fault", "clear", "77"]);
    let cleared = run(&server, &["fault", "clear"]);
    let empty = run(&server, &["fault", "list"]);

    assert_eq!(json(&added)["id"], 1);
    assert_eq!(json(&added)["seed"], 7);
    assert!(stdout(&late).starts_with("fault 2 interrupt-late, seed "));
    let faults = json(&listed);
    let drop = &faults["faults"][0];
    assert_eq!(drop["seen"], 3);
    assert_eq!(drop["fired"], 2);
    assert_eq!(drop["state"], "spent");
    assert_eq!(faults["faults"][1]["delayNanos"], 5_000_000);
    let line = stdout(&shown).lines().nth(1).unwrap().to_owned();
    assert!(
        line.contains("direction rx, nth 2, count 2, seed 7"),
        "{line}"
    );
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(stdout(&cleared), "cleared 2\n");
    assert_eq!(stdout(&empty), "no faults\n");
}

#[test]
fn a_fault_that_cannot_be_is_refused() {
    let server = TestServer::start();

    let refused = run(&server, &["fault", "crc", "--direction", "tx"]);
    let nothing = run(&server, &["fault"]);

    assert_eq!(refused.status.code(), Some(1));
    let told = std::str::from_utf8(&refused.stderr).unwrap();
    assert!(told.contains("crc cannot have this direction"), "{told}");
    assert_eq!(nothing.status.code(), Some(2));
}
