//! Several ports of one server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::PathBuf;

use control::Link;
use ixgbe_spec::register::Reg;
use nix::sys::signal::Signal;
use support::{Server, only_line, run};
use vfio_user::client::{Client, Options};

const CSR: u32 = 0;
const CONFIG: u32 = 7;
const LINK_UP: u32 = 1 << 30;

/// A server with two ports and a cable between them, and the socket of the second.
fn two_ports() -> (Server, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("nic1.sock");
    let port = format!("socket={},wire=pair:a", second.display());
    let server = Server::start_in(folder, &["--wire", "pair:a", "--port", &port]);
    (server, second)
}

fn connect(socket: &PathBuf) -> Client {
    Client::connect(socket, Options::default()).unwrap()
}

fn register(client: &mut Client, reg: Reg) -> u32 {
    let mut value = [0; 4];
    let offset = u64::from(reg.offset(0));
    client.region_read(CSR, offset, &mut value).unwrap();
    u32::from_le_bytes(value)
}

fn has_link(client: &mut Client) -> bool {
    register(client, Reg::LINKS) & LINK_UP != 0
}

#[test]
fn the_two_ports_are_lan_0_and_lan_1_of_a_device_with_two_functions() {
    let (server, second) = two_ports();
    let mut clients = [server.client(), connect(&second)];

    let seen = clients.each_mut().map(|client| {
        let (mut header_type, mut pin) = ([0], [0]);
        client.region_read(CONFIG, 0x0E, &mut header_type).unwrap();
        client.region_read(CONFIG, 0x3D, &mut pin).unwrap();
        let lan_id = register(client, Reg::STATUS) >> 2 & 0x3;
        (lan_id, header_type[0], pin[0])
    });
    let addresses = clients.each_mut().map(|client| register(client, Reg::RAH));

    assert_eq!(seen, [(0, 0x80, 1), (1, 0x80, 2)]);
    assert_ne!(addresses[0], addresses[1]);
}

#[test]
fn pulling_the_cable_at_one_port_takes_the_link_of_both_down() {
    let (server, second) = two_ports();
    let mut control = control::Client::connect(&server.control()).unwrap();
    let (mut first, mut second) = (server.client(), connect(&second));
    while !(has_link(&mut first) && has_link(&mut second)) {}
    control.select(Some(1));

    control.set_link(Link::Down).unwrap();
    while has_link(&mut first) || has_link(&mut second) {}
    let info = control.info().unwrap();
    control.set_link(Link::Up).unwrap();
    while !(has_link(&mut first) && has_link(&mut second)) {}

    assert_eq!((info.port, info.ports, info.cable), (1, 2, Link::Down));
    assert_eq!(info.wire, "pair a");
}

#[test]
fn a_client_that_goes_leaves_the_other_ports_client_alone() {
    let (server, second) = two_ports();
    let mut first = server.client();
    let other = connect(&second);
    let offset = u64::from(Reg::RDBAL.offset(0));
    first
        .region_write(CSR, offset, &0x1000_u32.to_le_bytes())
        .unwrap();

    drop(other);
    let again = register(&mut connect(&second), Reg::STATUS);

    assert_ne!(again, 0);
    assert_eq!(register(&mut first, Reg::RDBAL), 0x1000);
}

#[test]
fn a_semaphore_that_a_client_held_when_it_went_is_free_for_the_other_port() {
    let (server, second) = two_ports();
    let (mut first, mut second) = (server.client(), connect(&second));
    let free = register(&mut first, Reg::SWSM) & 1;
    let taken = register(&mut second, Reg::SWSM) & 1;

    drop(first);

    assert_eq!((free, taken), (0, 1));
    while register(&mut second, Reg::SWSM) & 1 != 0 {}
}

#[test]
fn sigterm_ends_all_ports_and_removes_all_sockets() {
    let (mut server, second) = two_ports();
    let _client = connect(&second);

    server.signal(Signal::SIGTERM);

    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.socket().exists());
    assert!(!second.exists());
    assert!(!server.control().exists());
}

#[test]
fn a_further_port_whose_socket_is_taken_fails_with_one_line_and_leaves_no_socket() {
    let other = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nic.sock");
    let taken = format!("socket={}", other.socket().display());

    let output = run(&["--socket", socket.to_str().unwrap(), "--port", &taken]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("listens on"), "{line}");
    assert!(!socket.exists());
    assert_eq!(other.client().device_info().unwrap().regions, 9);
}

#[test]
fn a_further_port_that_is_described_wrongly_fails_with_one_line() {
    let output = run(&["--socket", "/tmp/a", "--port", "wire=null"]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(line.contains("socket=PATH"), "{line}");
}
