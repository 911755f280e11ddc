//! `ixgbectl top`, into a pipe and on a terminal.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, ExitStatus, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};

use crate::{failure, ixgbectl, run, server::TestServer, stdout};

#[test]
fn into_a_pipe_it_prints_plain_text() {
    let server = TestServer::start();

    let output = run(&server, &["top", "--once", "--delay", "0.1"]);

    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(text.starts_with("vfio-user-ixgbe "), "{text}");
    assert!(text.contains("\nInterrupts  0 /s\n"), "{text}");
    assert!(text.contains("wire loopback\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn as_json_each_sample_is_a_line_with_all_ports() {
    let server = TestServer::start_two_ports();

    let output = run(&server, &["--json", "top", "-n", "2", "-d", "0.1"]);

    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["ports"][1]["port"], 1);
    assert_eq!(lines[1]["ports"][0]["receive"]["packetsPerSecond"], 0.0);
    assert_eq!(lines[1]["ports"][0]["toMemory"]["count"], 0);
}

#[test]
fn one_port_is_shown_if_it_is_named() {
    let server = TestServer::start_two_ports();

    let output = run(&server, &["--port", "1", "top", "--once", "-d", "0.1"]);
    let missing = run(&server, &["--port", "2", "top", "--once", "-d", "0.1"]);

    assert!(stdout(&output).contains("   port 1 of 2   "), "{output:?}");
    assert!(!stdout(&output).contains("port 0"));
    assert_eq!(
        failure(&missing),
        "ixgbectl: the server has no port 2; it has 2, counted from 0"
    );
}

#[test]
fn a_server_that_goes_ends_plain_text_with_an_error() {
    let server = TestServer::start();
    let mut top = ixgbectl(server.path(), &["top", "--batch", "-d", "0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut text = BufReader::new(top.stdout.take().unwrap());
    text.read_line(&mut first).unwrap();

    server.stop();
    text.read_to_string(&mut first).unwrap();
    let output = top.wait_with_output().unwrap();

    assert!(failure(&output).starts_with("ixgbectl: "), "{output:?}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let server = TestServer::start();
    let mut top = ixgbectl(server.path(), &["top", "--batch", "-d", "0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    drop(top.stdout.take());

    assert!(top.wait().unwrap().success());
}

#[test]
fn a_delay_that_is_too_short_is_refused() {
    let server = TestServer::start();

    let output = run(&server, &["top", "--delay", "0.01"]);

    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("0.1 to 3600 seconds"), "{text}");
}

/// `ixgbectl top` on a terminal of 80×24.
struct OnTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    parser: vt100::Parser,
}

impl OnTerminal {
    fn start(server: &TestServer, arguments: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = ixgbectl(server.path(), arguments)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self {
            child,
            master: pty.master.into(),
            slave: pty.slave,
            before,
            parser: vt100::Parser::new(24, 80, 0),
        }
    }

    fn read(&mut self, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let count = self.master.read(&mut bytes).unwrap();
        self.parser.process(&bytes[..count]);
        true
    }

    fn wait_for(&mut self, text: &str) {
        while !self.parser.screen().contents().contains(text) {
            let came = self.read(PollTimeout::from(30_000_u16));
            assert!(came, "no '{text}' on:\n{}", self.parser.screen().contents());
        }
    }

    /// Waits for its end, which leaves the terminal as it was. What is on the screen then.
    fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        while self.read(PollTimeout::ZERO) {}
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(tcgetattr(&self.slave).unwrap(), self.before);
        (status, screen.contents())
    }
}

#[test]
fn a_terminal_is_as_before_after_q() {
    let server = TestServer::start();
    let mut top = OnTerminal::start(&server, &["top"]);
    top.wait_for("q quit");

    top.master.write_all(b"q").unwrap();

    let (status, screen) = top.end();
    assert!(status.success());
    assert_eq!(screen.trim(), "");
}

#[test]
fn a_terminal_is_as_before_after_control_c() {
    let server = TestServer::start();
    let mut top = OnTerminal::start(&server, &["top"]);
    top.wait_for("q quit");

    top.master.write_all(&[3]).unwrap();

    assert!(top.end().0.success());
}

#[test]
fn a_terminal_is_as_before_after_signals_that_end_a_program() {
    let server = TestServer::start();
    let ended_by = |signal| {
        let mut top = OnTerminal::start(&server, &["top"]);
        top.wait_for("q quit");
        let pid = Pid::from_raw(top.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        top.end().0.success()
    };

    assert!(ended_by(Signal::SIGTERM));
    assert!(ended_by(Signal::SIGHUP));
    assert!(ended_by(Signal::SIGQUIT));
}

#[test]
fn a_terminal_is_as_before_after_an_error_which_is_told() {
    let server = TestServer::start();
    let top = OnTerminal::start(&server, &["--port", "3", "top"]);

    let (status, screen) = top.end();

    assert_eq!(status.code(), Some(1));
    assert!(screen.contains("the server has no port 3"), "{screen}");
}

#[test]
fn on_a_terminal_tab_shows_the_next_port_and_a_number_of_samples_ends_it() {
    let server = TestServer::start_two_ports();
    let mut top = OnTerminal::start(&server, &["top", "-d", "0.1"]);
    top.wait_for("port 0 of 2");

    top.master.write_all(b"\t").unwrap();
    top.wait_for("port 1 of 2");
    top.master.write_all(b"q").unwrap();
    let counted = OnTerminal::start(&server, &["top", "-d", "0.1", "-n", "2"]);

    assert!(top.end().0.success());
    assert!(counted.end().0.success());
}

#[test]
fn text_on_a_terminal_has_no_escapes_either_if_asked_for() {
    let server = TestServer::start();
    let mut top = OnTerminal::start(&server, &["top", "--once", "-d", "0.1"]);

    top.wait_for("no packet was received");

    let (status, screen) = top.end();
    assert!(status.success());
    assert!(screen.starts_with("vfio-user-ixgbe "), "{screen}");
}
