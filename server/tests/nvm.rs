//! The NVM's file: what a client writes is there in the next server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{fs, path::Path};

use ixgbe_spec::register::{Reg, bits::eec};
use nix::sys::signal::Signal;
use support::{Server, only_line, run};
use vfio_user::client::{Client, Options};

const CSR: u32 = 0;
const DONE: u32 = 1 << 1;

fn get(client: &mut Client, reg: Reg) -> u32 {
    let mut value = [0; 4];
    let offset = u64::from(reg.offset(0));
    client.region_read(CSR, offset, &mut value).unwrap();
    u32::from_le_bytes(value)
}

fn set(client: &mut Client, reg: Reg, value: u32) {
    let offset = u64::from(reg.offset(0));
    let value = value.to_le_bytes();
    client.region_write(CSR, offset, &value).unwrap();
}

/// A word of the NVM, by EERD.
fn word(client: &mut Client, address: u32) -> u16 {
    set(client, Reg::EERD, address << 2 | 1);
    let value = get(client, Reg::EERD);
    assert_eq!(value & DONE, DONE);
    u16::try_from(value >> 16).unwrap()
}

/// Sends bytes to the chip by its pins, as drivers do: selects it, and deselects it after the last.
fn command(client: &mut Client, bytes: &[u8]) {
    let clocked = |data: u32| [eec::REQ | data, eec::REQ | data | eec::SK];
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 != 0));
    let pins = bits.flat_map(|bit| clocked(if bit { eec::DI } else { 0 }));
    let pins: Vec<u32> = [eec::REQ | eec::CS, eec::REQ]
        .into_iter()
        .chain(pins)
        .chain([eec::REQ, eec::REQ | eec::CS])
        .collect();
    pins.iter().for_each(|pins| set(client, Reg::EEC, *pins));
}

/// Writes a word by the pins, and gives them back.
fn write_by_pins(client: &mut Client, address: u16, value: u16) {
    const WRITE_ENABLE: u8 = 0x06;
    const WRITE: u8 = 0x02;
    let [high, low] = (2 * address).to_be_bytes();
    let [first, second] = value.to_le_bytes();
    command(client, &[WRITE_ENABLE]);
    command(client, &[WRITE, high, low, first, second]);
    set(client, Reg::EEC, 0);
}

fn server(nvm: &Path) -> Server {
    Server::start_with(&["--wire", "null", "--nvm", nvm.to_str().unwrap()])
}

fn end(mut server: Server) {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_file_that_is_not_there_is_made_and_keeps_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let nvm = folder.path().join("nvm");
    let first = server(&nvm);
    let made = fs::read(&nvm).unwrap();
    write_by_pins(&mut first.client(), 0x1000, 0x1234);
    end(first);

    let second = server(&nvm);
    let mut client = second.client();

    assert_eq!(made.len(), 16_384);
    assert_eq!(word(&mut client, 0x1000), 0x1234);
    assert_eq!(word(&mut client, 0x15), 0xFAFA);
}

#[test]
fn the_address_stays_with_the_nvm_when_the_socket_has_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let nvm = folder.path().join("nvm");
    let first = server(&nvm);
    let before = get(&mut first.client(), Reg::RAL);
    end(first);

    let second = server(&nvm);

    assert_eq!(get(&mut second.client(), Reg::RAL), before);
}

#[test]
fn a_change_gets_into_the_file_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let nvm = folder.path().join("nvm");
    let server = server(&nvm);

    write_by_pins(&mut server.client(), 0x1000, 0x1234);
    while fs::read(&nvm).unwrap()[0x2000..0x2002] != [0x34, 0x12] {}
    server.crash();
}

#[test]
fn the_ports_of_a_card_share_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let nvm = folder.path().join("nvm");
    let socket = folder.path().join("nic1.sock");
    let port = format!(
        "socket={},wire=null,nvm={}",
        socket.display(),
        nvm.display()
    );
    let server = Server::start_with(&["--wire", "null", "--port", &port]);
    let mut clients = [
        server.client(),
        Client::connect(&socket, Options::default()).unwrap(),
    ];

    write_by_pins(&mut clients[0], 0x1000, 0x1234);
    while word(&mut clients[1], 0x1000) != 0x1234 {}
    write_by_pins(&mut clients[1], 0x1001, 0x5678);
    while word(&mut clients[0], 0x1001) != 0x5678 {}
    end(server);

    assert_eq!(
        fs::read(&nvm).unwrap()[0x2000..0x2004],
        [0x34, 0x12, 0x78, 0x56]
    );
}

#[test]
fn a_file_of_another_size_fails_with_one_line_and_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let nvm = folder.path().join("nvm");
    let socket = folder.path().join("nic.sock");
    fs::write(&nvm, "precious").unwrap();

    let output = run(&[
        "--socket",
        socket.to_str().unwrap(),
        "--nvm",
        nvm.to_str().unwrap(),
    ]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("this one 8"), "{line}");
    assert_eq!(fs::read_to_string(&nvm).unwrap(), "precious");
    assert!(!socket.exists());
}

#[test]
fn a_wrong_checksum_is_told_and_the_card_comes_up() {
    let folder = tempfile::tempdir().unwrap();
    let nvm = folder.path().join("nvm");
    fs::write(&nvm, [0xFF; 4096]).unwrap();
    let arguments = ["--wire", "null", "--nvm", nvm.to_str().unwrap()];

    let server = Server::start_logging(&arguments);
    server.wait_for_log("checksum");
    server.wait_for_log("waiting for a client");

    assert_eq!(word(&mut server.client(), 0x3F), 0xFFFF);
}
