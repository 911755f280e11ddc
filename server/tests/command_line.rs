//! What a person sees who starts and ends the server.

mod support;

use std::{fs, os::unix::net::UnixStream};

use nix::sys::signal::Signal;
use support::{Server, only_line, run};

#[test]
fn an_unknown_flag_fails_with_one_line() {
    let output = run(&["--speed", "10"]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        line.contains("--speed") && line.contains("--help"),
        "{line}"
    );
}

#[test]
fn no_socket_fails_with_one_line_that_names_the_flag() {
    let output = run(&[]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("--socket PATH"), "{line}");
}

#[test]
fn a_socket_in_a_folder_that_is_not_there_fails_with_one_line_that_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("missing/nic.sock");

    let output = run(&["--socket", socket.to_str().unwrap()]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        line.contains("missing") && line.contains("create"),
        "{line}"
    );
}

#[test]
fn a_file_in_place_of_the_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nic.sock");
    fs::write(&path, "precious").unwrap();

    let output = run(&["--socket", path.to_str().unwrap()]);

    only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_control_socket_that_cannot_be_made_fails_with_one_line_and_leaves_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nic.sock");
    let control = folder.path().join("missing/control");

    let output = run(&[
        "--socket",
        socket.to_str().unwrap(),
        "--control",
        control.to_str().unwrap(),
    ]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("missing"), "{line}");
    assert!(!socket.exists());
}

#[test]
fn a_tap_that_is_not_there_fails_with_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nic.sock");

    let output = run(&[
        "--socket",
        socket.to_str().unwrap(),
        "--wire",
        "tap:no-such-tap",
    ]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("no-such-tap"), "{line}");
}

#[test]
fn a_broken_configuration_file_fails_with_one_line_that_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nic.toml");
    fs::write(&file, "socket = \"/tmp/x\"\nwire = \n").unwrap();
    let file = file.to_str().unwrap();

    let output = run(&["--config", file]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains(&format!("{file}:2: ")), "{line}");
}

#[test]
fn a_broken_log_filter_fails_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nic.sock");

    let output = run(&["--socket", socket.to_str().unwrap(), "--log", "=="]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("log filter"), "{line}");
}

#[test]
fn help_shows_how_to_start_qemu() {
    let output = run(&["--help"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("vfio-user-pci"), "{text}");
    assert!(text.contains("share=on"), "{text}");
}

#[test]
fn the_configuration_file_alone_starts_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nic.toml");
    fs::write(&file, "wire = \"null\"\nmac = \"02:00:00:00:00:07\"\n").unwrap();
    let file = file.to_str().unwrap().to_owned();

    let server = Server::start_in(folder, &["--config", &file]);

    assert!(server.socket().exists());
}

#[test]
fn sigterm_ends_the_server_cleanly_and_removes_its_sockets() {
    let mut server = Server::start();
    let _client = server.client();

    server.signal(Signal::SIGTERM);

    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.socket().exists());
    assert!(!server.control().exists());
}

#[test]
fn sigint_ends_the_server_cleanly_and_removes_its_sockets() {
    let mut server = Server::start();

    server.signal(Signal::SIGINT);

    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.socket().exists());
    assert!(!server.control().exists());
}

#[test]
fn a_second_server_on_the_same_socket_is_refused_and_the_first_goes_on() {
    let first = Server::start();

    let output = run(&["--socket", first.socket().to_str().unwrap()]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("listens on"), "{line}");
    assert_eq!(first.client().device_info().unwrap().regions, 9);
}

#[test]
fn the_sockets_of_a_server_that_was_killed_are_replaced() {
    let folder = Server::start().crash();
    let socket = folder.path().join("nic.sock");
    assert!(socket.exists());
    assert!(UnixStream::connect(&socket).is_err());

    let server = Server::start_in(folder, &["--wire", "null"]);

    assert_eq!(server.client().device_info().unwrap().regions, 9);
}
