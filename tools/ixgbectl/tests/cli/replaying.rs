//! `ixgbectl replay`, which needs no server.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use ixgbe_spec::register::Reg;
use nic_model::{
    Bar, Context, Port, PortConfig, Time,
    testing::{BUFFERS, Silence, TestBus, bring_up},
    wire::RxFrame,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use recording::{Header, PortHeader, Writer};
use tempfile::TempDir;

use crate::{failure, ixgbectl, json, run, server::TestServer, stdout};

/// A frame to the server's port, in hex digits.
const FRAME: &str = "525400123456 525400abcdef 88b5 68656c6c6f";

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A recording of a port that receives three frames and reads how many they were.
struct Recorded {
    path: PathBuf,
    folder: TempDir,
}

impl Recorded {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.rec");
        let bus = TestBus::new(0x1_0000);
        let mut port = Port::new(PortConfig::new(MAC));
        let header = Header {
            program: "a test".to_owned(),
            ports: vec![PortHeader::new(MAC, &port, false, "null")],
        };
        let writer = Writer::create(&path, &header).unwrap();
        port.record(writer.recorder(0, None));
        bring_up(&mut port, &bus);
        let mut context = Context {
            now: Time::from_nanos(2_000_000_000),
            bus: &bus,
            wire: &mut Silence,
        };
        for n in 0..3 {
            let mut frame = [n; 60];
            frame[..6].copy_from_slice(&MAC);
            frame[12..14].copy_from_slice(&[0x88, 0xB5]);
            port.receive(&RxFrame::new(&frame), &mut context);
        }
        let mut count = [0; 4];
        let gprc = Reg::GPRC.offset(0).into();
        port.bar_read(Bar::Csr, gprc, &mut count, &mut context);
        assert_eq!(count, [3, 0, 0, 0]);
        drop(port);
        writer.finish();
        Self { path, folder }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The same with another count of frames, and sums that are right.
    fn forged(self) -> Self {
        let mut file = fs::read(&self.path).unwrap();
        let word = |file: &[u8], at: usize| {
            u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize
        };
        let read = [0x33, 1, 4, 3, 0, 0, 0];
        let at = file.windows(7).position(|window| window == read).unwrap();
        file[at + 3] = 4;
        let mut block = 16 + word(&file, 12);
        while block + 8 + word(&file, block) <= at {
            block += 8 + word(&file, block);
        }
        let end = block + 8 + word(&file, block);
        let sum = crc32fast::hash(&file[block + 8..end]).to_le_bytes();
        file[block + 4..block + 8].copy_from_slice(&sum);
        fs::write(&self.path, file).unwrap();
        self
    }
}

fn replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ixgbectl"))
        .env_remove("IXGBE_CONTROL")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_recording_is_replayed_and_is_the_same() {
    let recorded = Recorded::new();

    let output = replay(&["replay", recorded.path()]);

    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("3 received, 0 sent"), "{text}");
    assert!(
        text.contains("port 0      52:54:00:12:34:56, sr, null"),
        "{text}"
    );
    assert!(text.contains("the recording is complete"), "{text}");
    assert!(text.contains("the same, bit for bit\n"), "{text}");
}

#[test]
fn a_replay_stops_behind_a_packet_and_shows_rings_and_counters() {
    let recorded = Recorded::new();

    let output = replay(&[
        "replay",
        recorded.path(),
        "--until",
        "rx:2",
        "--show",
        "stats,rings",
    ]);

    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("behind the received packet 2"), "{text}");
    assert_eq!(counter(text, "GPRC"), Some("2"), "{text}");
    assert!(text.contains("receive        0  yes"), "{text}");
}

#[test]
fn what_differs_is_told_and_is_a_failure() {
    let recorded = Recorded::new().forged();

    let output = replay(&["replay", recorded.path()]);
    let told = replay(&["--json", "replay", recorded.path()]);

    let line = failure(&output);
    assert!(line.contains("a read of GPRC"), "{line}");
    assert!(line.contains("the value 0x00000004"), "{line}");
    assert!(line.contains("the value 0x00000003"), "{line}");
    assert_eq!(told.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["outcome"], "difference");
    assert_eq!(told["difference"]["replayed"], "the value 0x00000003");
    assert_eq!(told["packetsReceived"], 3);
}

#[test]
fn a_call_by_its_number_and_a_time_are_places_to_stop() {
    let recorded = Recorded::new();

    let call = json(&replay(&[
        "--json",
        "replay",
        recorded.path(),
        "--until-call",
        "4",
    ]));
    let time = json(&replay(&[
        "--json",
        "replay",
        recorded.path(),
        "--until-time",
        "1.5",
    ]));

    assert_eq!(call["calls"], 4);
    assert_eq!(call["outcome"], "stopped");
    assert_eq!(time["time"], 1_000_000_000);
    assert_eq!(time["packetsReceived"], 0);
}

#[test]
fn a_place_that_does_not_come_is_a_failure() {
    let recorded = Recorded::new();

    let output = replay(&["replay", recorded.path(), "--until", "tx:1"]);

    let line = failure(&output);
    assert!(
        line.contains("before the place to stop was reached"),
        "{line}"
    );
}

#[test]
fn what_is_no_recording_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traffic.pcap");
    fs::write(&path, b"\xd4\xc3\xb2\xa1").unwrap();
    let path = path.to_str().unwrap();

    let other = replay(&["replay", path]);
    let none = replay(&["replay", "/nowhere/run.rec"]);
    let recorded = Recorded::new();
    let port = replay(&["--port", "1", "replay", recorded.path()]);

    assert!(
        failure(&other).contains("this is no recording"),
        "{other:?}"
    );
    assert!(
        failure(&none).contains("cannot open /nowhere/run.rec"),
        "{none:?}"
    );
    assert!(failure(&port).contains("there is no port 1"), "{port:?}");
}

#[test]
fn other_commands_look_at_ports_that_are_served() {
    let recorded = Recorded::new();
    let control = recorded.folder.path().join("replay.control");
    let mut serving = Command::new(env!("CARGO_BIN_EXE_ixgbectl"))
        .args(["replay", recorded.path(), "--until", "2", "--serve"])
        .arg(&control)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(serving.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();

    let rings = look(&control, &["rings", "rx", "--queue", "0"]);
    let memory = look(&control, &["mem", &format!("{BUFFERS:#x}"), "16"]);
    let head = look(&control, &["regs", "RDH"]);
    let id = i32::try_from(serving.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();

    assert!(line.contains("looks at it"), "{line}");
    assert!(serving.wait().unwrap().success());
    assert!(!control.exists());
    assert!(stdout(&rings).contains("60 bytes, DD EOP"), "{rings:?}");
    assert!(stdout(&memory).contains("52 54 00 12 34 56"), "{memory:?}");
    assert!(stdout(&head).contains("00000002"), "{head:?}");
}

#[test]
fn a_nic_that_runs_is_recorded_and_does_the_same_again() {
    let server = TestServer::start();
    run(&server, &["inject", "--verdict", "--hex", FRAME]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.rec");
    let path = path.to_str().unwrap();
    let mut recording = ixgbectl(server.path(), &["record", path])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(recording.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let again = run(&server, &["record", "/nowhere"]);
    for _ in 0..2 {
        assert!(
            run(&server, &["inject", "--verdict", "--hex", FRAME])
                .status
                .success()
        );
    }
    // The worker turns before it answers the second of these, so that what was before has left it.
    for _ in 0..2 {
        assert!(run(&server, &["info"]).status.success());
    }
    let id = i32::try_from(recording.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    assert!(recording.wait().unwrap().success());

    let replayed = json(&replay(&["--json", "replay", path]));
    let after = replay(&["replay", path, "--show", "stats"]);

    assert!(failure(&again).contains("recorded already"), "{again:?}");
    assert_eq!(replayed["outcome"], "over");
    assert_eq!(replayed["packetsReceived"], 2, "those since the start");
    assert_eq!(counter(stdout(&after), "GPRC"), Some("3"), "{after:?}");
}

/// The value of a counter in a table of them.
fn counter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rows = text.lines().filter_map(|line| line.trim().split_once(' '));
    let row = rows.find(|(first, _)| *first == name)?;
    Some(row.1.trim())
}

fn look(control: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["--control", control.to_str().unwrap()];
    all.extend(arguments);
    let output = replay(&all);
    assert!(output.status.success(), "{output:?}");
    output
}
