//! A running server under its control socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{os::unix::net::UnixStream, thread};

use control::{Group, Link, Module};
use ixgbe_spec::register::Reg;
use support::Server;

const CSR: u32 = 0;
const LINK_UP: u32 = 1 << 30;

fn controller(server: &Server) -> control::Client {
    control::Client::connect(&server.control()).unwrap()
}

fn counter(controller: &mut control::Client, group: Group, name: &str) -> u64 {
    let counters = controller.stats().unwrap().counters;
    let mut named = counters
        .iter()
        .filter(|counter| counter.group == group && counter.name == name);
    named.next().unwrap().value
}

#[test]
fn pulling_the_cable_takes_the_link_down_and_putting_it_in_brings_it_up() {
    let server = Server::start();
    let mut controller = controller(&server);
    let mut client = server.client();
    let mut link = || {
        let mut links = [0; 4];
        let offset = u64::from(Reg::LINKS.offset(0));
        client.region_read(CSR, offset, &mut links).unwrap();
        u32::from_le_bytes(links) & LINK_UP != 0
    };
    while !link() {}

    controller.set_link(Link::Down).unwrap();
    let pulled = link();
    controller.set_link(Link::Up).unwrap();

    assert!(!pulled);
    while !link() {}
}

#[test]
fn a_module_is_drawn_and_another_plugged_in_while_the_server_runs() {
    const MODULE_PRESENT: u32 = 1 << 2;
    let server = Server::start_with(&["--wire", "null", "--module", "da-passive"]);
    let mut controller = controller(&server);
    let mut client = server.client();
    let mut is_present = || {
        let mut pins = [0; 4];
        let offset = u64::from(Reg::ESDP.offset(0));
        client.region_read(CSR, offset, &mut pins).unwrap();
        u32::from_le_bytes(pins) & MODULE_PRESENT != 0
    };
    let at_the_start = controller.info().unwrap().module;

    let before = is_present();
    controller.set_module(Module::Absent).unwrap();
    let drawn = is_present();
    controller.set_module(Module::Sx).unwrap();
    let plugged = is_present();

    assert_eq!((before, drawn, plugged), (true, false, true));
    assert_eq!(at_the_start, Module::DirectAttachPassive);
    assert_eq!(controller.info().unwrap().module, Module::Sx);
}

#[test]
fn clients_and_their_messages_are_counted() {
    let server = Server::start();
    let mut controller = controller(&server);
    let mut client = server.client();
    client.device_info().unwrap();
    client.region_info(0).unwrap();

    let clients = counter(&mut controller, Group::Model, "model.clients");
    let messages = counter(&mut controller, Group::Model, "model.messages");

    assert_eq!(clients, 1);
    assert_eq!(messages, 3);
}

#[test]
fn the_cables_and_the_cards_counters_are_there_without_a_client() {
    let server = Server::start();
    let mut controller = controller(&server);

    assert_eq!(counter(&mut controller, Group::Wire, "tx_frames"), 0);
    assert_eq!(counter(&mut controller, Group::Hardware, "GPRC"), 0);
}

#[test]
fn a_frame_that_is_injected_without_a_driver_is_taken_and_lost() {
    let server = Server::start();
    let mut controller = controller(&server);

    let accepted = controller.inject(&[vec![0xff; 60]]).unwrap();

    assert_eq!(accepted, 1);
    assert_eq!(counter(&mut controller, Group::Wire, "injected"), 1);
    assert_eq!(counter(&mut controller, Group::Hardware, "GPRC"), 0);
}

#[test]
fn a_server_without_descriptors_takes_control_clients_again_when_it_has_some() {
    let server = Server::start_with_descriptors(32, &["--wire", "null"]);
    let mut first = controller(&server);
    first.info().unwrap();
    // Each takes two descriptors of the server; those beyond wait in the socket's queue or are turned away.
    let crowd: Vec<_> = (0..20)
        .map(|_| UnixStream::connect(server.control()).unwrap())
        .collect();
    while server.descriptors() < 31 {
        thread::yield_now();
    }

    drop(crowd);
    let info = std::iter::repeat_with(|| controller(&server).info()).find_map(Result::ok);

    assert_eq!(info.unwrap().pid, server.id());
    assert_eq!(first.info().unwrap().pid, server.id());
}

#[test]
fn a_state_is_loaded_into_another_server_and_a_broken_one_is_refused_by_its_field() {
    let (old, new) = (Server::start(), Server::start());
    let offset = u64::from(Reg::RETA.offset(3));
    let value = 0x0102_0304_u32.to_le_bytes();
    let mut client = old.client();
    client.region_write(CSR, offset, &value).unwrap();

    let state = controller(&old).save().unwrap();
    controller(&new).load(&state).unwrap();
    let broken = state.replace("\"turn\":0", "\"turn\":200");
    let refused = controller(&new).load(&broken).unwrap_err();

    let mut loaded = [0; 4];
    new.client().region_read(CSR, offset, &mut loaded).unwrap();
    assert_eq!(loaded, value);
    assert!(
        matches!(
            &refused,
            control::ClientError::Refused(control::ControlError::BadState { field, .. })
                if field == "transmit.turn"
        ),
        "{refused}"
    );
}
