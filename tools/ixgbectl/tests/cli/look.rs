//! The commands that look on: `stats --copies`, `trace`, `regs`, `rings`, `filters`, `irq`, `nvm`, `mem`, and the verdict
//! of `inject`.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use nic_model::testing::{BUFFERS, RING};
use serde_json::Value;

use crate::{failure, ixgbectl, json, run, server::TestServer, stdout};

/// A frame to the server's port, in hex digits.
const FRAME: &str = "525400123456 525400abcdef 88b5 68656c6c6f";
/// A frame to another.
const FOREIGN: &str = "525400123457 525400abcdef 88b5 68656c6c6f";

#[test]
fn a_verdict_names_filter_queue_address_and_interrupt() {
    let server = TestServer::start();

    let output = run(&server, &["inject", "--verdict", "--hex", FRAME]);

    let text = stdout(&output);
    assert!(
        text.starts_with("frame 1, 19 bytes: delivered; address accepted by rar[0]\n"),
        "{output:?}"
    );
    assert!(text.contains("steered rx queue 0"), "{text}");
    let written = format!("writes 60 bytes at {BUFFERS:#x} for packet rx queue 0");
    assert!(text.contains(&written), "{text}");
    assert!(text.contains("signal intx"), "{text}");
}

#[test]
fn a_verdict_in_json_says_what_dropped_a_frame() {
    let server = TestServer::start();

    let verdicts = json(&run(
        &server,
        &[
            "--json",
            "inject",
            "--verdict",
            "--hex",
            FRAME,
            "--hex",
            FOREIGN,
        ],
    ));

    assert_eq!(verdicts["verdicts"][0]["outcome"], "delivered");
    assert_eq!(verdicts["verdicts"][1]["outcome"], "dropped");
    assert_eq!(verdicts["verdicts"][1]["reason"], "address-filter");
}

#[test]
fn stats_copies_begins_an_account_and_shows_it() {
    let server = TestServer::start();

    let begun = run(&server, &["stats", "--copies"]);
    run(&server, &["inject", "--verdict", "--hex", FRAME]);
    let shown = run(&server, &["stats", "--copies"]);
    let ended = json(&run(&server, &["--json", "stats", "--copies=stop"]));
    let after = json(&run(&server, &["--json", "stats", "--copies=stop"]));

    assert!(stdout(&begun).starts_with("the account of copies begins now"));
    let line = stdout(&shown)
        .lines()
        .find(|line| line.starts_with("receive"))
        .unwrap();
    let columns: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        columns[..7],
        ["receive", "0", "1", "60", "60", "0", "1.000"]
    );
    assert_eq!(ended["queues"][0]["moved"], 60);
    assert_eq!(ended["running"], false);
    assert_eq!(after["queues"].as_array().unwrap().len(), 0);
}

#[test]
fn a_trace_tells_events_as_json_lines_until_so_many_have_come() {
    let server = TestServer::start();
    let mut child = ixgbectl(
        server.path(),
        &["--json", "trace", "--kind", "packet", "--count", "3"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut ready = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut ready).unwrap();

    run(&server, &["inject", "--verdict", "--hex", FRAME]);
    let output = child.wait_with_output().unwrap();

    assert!(output.status.success());
    let told: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let what: Vec<_> = told.iter().map(|event| event["what"].as_str()).collect();
    assert_eq!(what, [Some("arrived"), Some("steered"), Some("received")]);
}

#[test]
fn a_trace_for_perfetto_is_one_json_file() {
    let server = TestServer::start();
    let file = server.directory().join("trace.json");
    let path = file.to_str().unwrap();
    let mut child = ixgbectl(server.path(), &["trace", "--perfetto", path, "-c", "5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut ready).unwrap();

    run(&server, &["inject", "--verdict", "--hex", FRAME]);
    let output = child.wait_with_output().unwrap();

    assert_eq!(stdout(&output), "5 events traced, 0 lost\n");
    let trace: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.iter().filter(|event| event["ph"] == "i").count(), 5);
}

#[test]
fn registers_are_shown_by_pattern_with_their_fields() {
    let server = TestServer::start();

    let status = run(&server, &["regs", "stat*"]);
    let chapter = json(&run(
        &server,
        &[
            "--json",
            "regs",
            "--chapter",
            "interrupt",
            "--nonzero",
            "IVAR",
        ],
    ));
    let wrong = run(&server, &["regs", "nothing"]);

    assert!(stdout(&status).contains("STATUS"), "{status:?}");
    assert!(stdout(&status).contains("link up = 0x1"), "{status:?}");
    let registers = chapter["registers"].as_array().unwrap();
    assert_eq!(registers.len(), 1);
    assert_eq!(registers[0]["value"], 0x8180);
    assert!(failure(&wrong).contains("no register is called nothing"));
}

#[test]
fn registers_that_have_changed_since_the_last_look_are_shown() {
    let server = TestServer::start();
    let file = server.directory().join("look.json");
    let path = file.to_str().unwrap();
    let look = || json(&run(&server, &["--json", "regs", "RDH", "--since", path]));

    let first = look();
    run(&server, &["inject", "--verdict", "--hex", FRAME]);
    let second = look();
    let third = look();

    assert_eq!(first["registers"].as_array().unwrap().len(), 128);
    assert_eq!(second["registers"].as_array().unwrap().len(), 1);
    assert_eq!(second["registers"][0]["value"], 1);
    assert_eq!(second["registers"][0]["before"], 0);
    assert_eq!(third["registers"].as_array().unwrap().len(), 0);
}

#[test]
fn rings_show_what_the_card_owns_and_what_is_in_the_buffers() {
    let server = TestServer::start();
    run(&server, &["inject", "--verdict", "--hex", FRAME]);

    let all = json(&run(&server, &["--json", "rings"]));
    let one = json(&run(
        &server,
        &["--json", "rings", "rx", "--queue", "0", "--bytes", "4"],
    ));
    let text = run(&server, &["rings", "rx", "--queue", "0"]);

    assert_eq!(all["rings"].as_array().unwrap().len(), 1);
    assert_eq!(all["rings"][0]["base"], format!("{RING:#x}"));
    assert_eq!(all["rings"][0]["owned"], 6);
    let contents = one["rings"][0]["contents"].as_array().unwrap();
    assert_eq!(contents.len(), 8);
    let done = &contents[1];
    assert_eq!(done["index"], 0);
    assert_eq!(done["owner"], "driver");
    assert!(
        done["decoded"]
            .as_str()
            .unwrap()
            .starts_with("60 bytes, DD EOP")
    );
    assert_eq!(contents[2]["owner"], "card");
    assert_eq!(contents[2]["buffer"], "00000000");
    assert!(stdout(&text).contains(">     1 card"), "{text:?}");
}

#[test]
fn filters_irq_and_nvm_have_a_text_and_json() {
    let server = TestServer::start();

    let filters = json(&run(&server, &["--json", "filters"]));
    let irq = json(&run(&server, &["--json", "irq"]));
    let nvm = json(&run(&server, &["--json", "nvm"]));
    let texts = ["filters", "irq", "nvm"].map(|command| run(&server, &[command]));

    assert_eq!(filters["receive"], true);
    assert_eq!(filters["addresses"][0]["address"], "52:54:00:12:34:56");
    assert_eq!(irq["causes"][0]["cause"], "rx queue 0");
    assert_eq!(irq["causes"][0]["enabled"], true);
    assert_eq!(irq["causes"][1]["enabled"], false);
    assert_eq!(nvm["checksumRight"], true);
    assert_eq!(nvm["mac"][0], "52:54:00:12:34:56");
    assert!(stdout(&texts[0]).contains("address 0            52:54:00:12:34:56"));
    assert!(stdout(&texts[1]).contains("rx queue 0"));
    assert!(stdout(&texts[2]).contains("(right)"));
}

#[test]
fn mem_shows_what_is_mapped_and_what_is_there() {
    let server = TestServer::start();
    let ring = format!("{RING:#x}");

    let mapped = run(&server, &["mem"]);
    let bytes = json(&run(&server, &["--json", "mem", &ring, "8"]));
    let nowhere = run(&server, &["mem", "0x10"]);

    assert!(stdout(&mapped).contains("rw      file"), "{mapped:?}");
    let digits = BUFFERS.to_le_bytes().map(|byte| format!("{byte:02x}"));
    assert_eq!(bytes["data"], digits.concat());
    assert!(failure(&nowhere).contains("client memory at 0x10 is not mapped"));
}

#[test]
fn a_state_is_saved_to_a_file_and_loaded_from_it() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nic.state");
    let path = file.to_str().unwrap();
    let received = || {
        let shown = json(&run(&server, &["--json", "regs", "GPRC"]));
        shown["registers"][0]["value"].as_u64()
    };
    let send = ["inject", "--verdict", "--hex", FRAME];
    assert!(run(&server, &send).status.success());

    let saved = run(&server, &["save", path]);
    assert!(run(&server, &send).status.success());
    let later = received();
    let loaded = json(&run(&server, &["--json", "load", path]));

    assert!(stdout(&saved).starts_with("saved "), "{saved:?}");
    let file = fs::metadata(&file).unwrap();
    assert_eq!(loaded["bytes"], file.len());
    assert_eq!(
        file.permissions().mode() & 0o777,
        0o600,
        "its owner's alone"
    );
    assert_eq!((later, received()), (Some(2), Some(1)));
}

#[test]
fn what_is_no_state_is_not_loaded() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nic.state");
    fs::write(&file, "no state").unwrap();

    let other = run(&server, &["load", file.to_str().unwrap()]);
    let endless = run(&server, &["load", "/dev/zero"]);

    let text = failure(&other);
    assert!(text.contains("magic: a state begins with"), "{text}");
    let text = failure(&endless);
    assert!(text.contains("4194304 bytes are the most"), "{text}");
}
