//! `ixgbectl record`, with a server that does not keep to the protocol.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    path::PathBuf,
    process::Output,
    thread::{self, JoinHandle},
};

use nic_model::{Port, PortConfig};
use recording::{Ending, Header, PortHeader, Replay, Step, Until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ixgbectl;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A call without a time, in base64: a reset, which returns nothing.
const RESET: &str = "MgQzAA==";

fn header() -> String {
    let port = Port::new(PortConfig::new(MAC));
    let header = Header {
        program: "a test".to_owned(),
        ports: vec![PortHeader::new(MAC, &port, false, "null")],
    };
    serde_json::to_string(&header).unwrap()
}

fn calls(bytes: &str, whole: bool) -> Value {
    json!({ "calls": bytes, "whole": whole, "lost": 0 })
}

fn first() -> Value {
    json!({ "header": header(), "calls": "", "whole": true, "lost": 0 })
}

/// A server that answers one call with these replies, and ends.
struct Server {
    path: PathBuf,
    folder: TempDir,
    thread: JoinHandle<()>,
}

/// Its last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// When the client has enough.
    Said,
    /// Before that.
    Early,
    Missing,
}

impl Server {
    fn start(replies: Vec<Value>, last: Last) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nic.control");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut from = BufReader::new(stream.try_clone().unwrap());
            from.read_until(0, &mut Vec::new()).unwrap();
            let mut reply = |parameters: &Value, continues: bool| {
                let message = json!({ "parameters": parameters, "continues": continues });
                // A client that is gone has seen enough.
                let _ = write!(stream, "{message}\0");
            };
            for parameters in &replies {
                reply(parameters, true);
            }
            if last != Last::Early {
                from.read_to_end(&mut Vec::new()).unwrap();
            }
            if last != Last::Missing {
                reply(&calls("", true), false);
            }
        });
        Self {
            path,
            folder,
            thread,
        }
    }

    /// Records, and tells how the file ends.
    fn record(self, time: &str) -> (Output, Option<Step>) {
        let file = self.folder.path().join("run.rec");
        let arguments = ["record", file.to_str().unwrap(), "--for", time];
        let output = ixgbectl(&self.path, &arguments).output().unwrap();
        self.thread.join().unwrap();
        let step = File::open(file).ok().map(|file| {
            let mut replay = Replay::new(BufReader::new(file)).unwrap();
            replay.run(Until::End).unwrap()
        });
        (output, step)
    }
}

/// What a command that failed says after the line that it records.
fn failure(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = std::str::from_utf8(&output.stderr).unwrap();
    text.lines().nth(1).unwrap()
}

#[test]
fn a_recording_with_its_last_word_is_complete() {
    let server = Server::start(vec![first(), calls(RESET, true)], Last::Said);

    let (output, step) = server.record("0.05");

    assert!(output.status.success(), "{output:?}");
    assert_eq!(step, Some(Step::End(Ending::Closed)));
}

#[test]
fn one_whose_server_is_gone_when_it_is_to_end_broke_off_and_replays_up_to_there() {
    let server = Server::start(vec![first(), calls(RESET, true)], Last::Missing);

    let (output, step) = server.record("0.05");

    assert!(failure(&output).contains("broke off"), "{output:?}");
    assert_eq!(step, Some(Step::End(Ending::Cut)));
}

#[test]
fn one_that_ends_within_a_call_broke_off_before_that_call() {
    let replies = vec![first(), calls(RESET, true), calls(&RESET[..4], false)];
    let server = Server::start(replies, Last::Early);

    let (output, step) = server.record("60");

    let text = failure(&output);
    assert!(text.contains("in the middle of a call"), "{text}");
    assert_eq!(step, Some(Step::End(Ending::Cut)));
}

#[test]
fn a_call_that_is_on_its_way_when_the_time_is_over_is_left_out() {
    let replies = vec![first(), calls(RESET, true), calls(&RESET[..4], false)];
    let server = Server::start(replies, Last::Said);

    let (output, step) = server.record("0.05");

    assert!(output.status.success(), "{output:?}");
    assert_eq!(step, Some(Step::End(Ending::Closed)));
}

#[test]
fn a_second_header_does_not_begin_the_file_anew() {
    let server = Server::start(vec![first(), calls(RESET, true), first()], Last::Said);

    let (output, step) = server.record("60");

    assert!(failure(&output).contains("a second header"), "{output:?}");
    assert_eq!(step, Some(Step::End(Ending::Cut)));
}

#[test]
fn a_time_that_no_clock_reaches_is_no_end() {
    let server = Server::start(
        vec![first(), json!({ "calls": "", "whole": true, "lost": 1 })],
        Last::Said,
    );

    let (output, step) = server.record("1e19");

    assert!(failure(&output).contains("ends early"), "{output:?}");
    assert_eq!(step, Some(Step::End(Ending::Overrun)));
}
