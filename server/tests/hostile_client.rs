//! Clients that do harm, and the next one: it is served, and the server holds no more for it than for the first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs::{self, File},
    io::Write,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use ixgbe_spec::register::Reg;
use nix::{
    sys::{
        eventfd::{EfdFlags, EventFd},
        memfd::{MFdFlags, memfd_create},
    },
    unistd::pipe,
};
use support::Server;
use vfio_user::{client::Client, message::Protection};

const PAGE: u64 = 4096;
/// Region of BAR 0.
const BAR0: u32 = 0;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    mappings: usize,
}

/// Serves a client and tells what the server holds meanwhile. The last client has gone then: there is one at a time.
fn serve_one(server: &Server) -> Holdings {
    let mut client = server.client();
    let mut status = [0; 4];
    client
        .region_read(BAR0, Reg::STATUS.offset(0).into(), &mut status)
        .unwrap();
    let process = format!("/proc/{}", server.id());
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    Holdings {
        descriptors: server.descriptors(),
        threads: fs::read_dir(format!("{process}/task")).unwrap().count(),
        // The heap's own parts come and go.
        mappings: maps.lines().filter(|line| line.contains("memfd:")).count(),
    }
}

fn memory(pages: u64) -> File {
    let file = File::from(memfd_create(c"client", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(pages * PAGE).unwrap();
    file
}

fn map(client: &mut Client, iova: u64, file: &impl AsFd) -> bool {
    let rights = Protection::READ | Protection::WRITE;
    let file = Some((file.as_fd(), 0));
    client.dma_map(iova, PAGE, rights, file).is_ok()
}

#[test]
fn descriptors_that_are_no_memory_are_refused_and_nothing_of_them_stays() {
    let server = Server::start();
    let before = serve_one(&server);
    let (socket, _peer) = UnixStream::pair().unwrap();
    let (pipe, _end) = pipe().unwrap();
    let wrong: [OwnedFd; 6] = [
        socket.into(),
        pipe,
        EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)
            .unwrap()
            .into(),
        File::open("/dev/zero").unwrap().into(),
        File::open("/").unwrap().into(),
        // Shorter than what is to be mapped of it.
        memory(0).into(),
    ];
    let mut client = server.client();

    let accepted = wrong.iter().filter(|fd| map(&mut client, 0, fd)).count();

    assert_eq!(accepted, 0);
    assert!(map(&mut client, 0, &memory(1)));
    drop(client);
    assert_eq!(serve_one(&server), before);
}

#[test]
fn thousands_of_maps_go_with_their_client() {
    let server = Server::start();
    let before = serve_one(&server);
    let file = memory(1);
    let mut client = server.client();

    let accepted = (0..3000)
        .filter(|page| map(&mut client, page * 2 * PAGE, &file))
        .count();

    assert_eq!(accepted, 3000);
    assert!(!map(&mut client, PAGE * 2, &memory(1)));
    drop(client);
    assert_eq!(serve_one(&server), before);
}

#[test]
fn clients_that_die_in_the_middle_of_a_message_leave_nothing_behind() {
    let server = Server::start();
    let before = serve_one(&server);
    // The head of a VERSION message that announces 100 bytes.
    let message = [7, 0, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    for length in (0..message.len()).cycle().take(200) {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        // The server may have seen what is wrong before all is written.
        let _ = stream.write_all(&message[..length]);
    }

    assert_eq!(serve_one(&server), before);
}

#[test]
fn memory_that_is_truncated_under_its_rings_costs_its_client_only() {
    let server = Server::start();
    let before = serve_one(&server);
    let file = memory(16);
    let mut client = server.client();
    let rights = Protection::READ | Protection::WRITE;
    client
        .dma_map(0, 16 * PAGE, rights, Some((file.as_fd(), 0)))
        .unwrap();
    // Memory space and bus mastering, a ring, and its tail.
    client.region_write(7, 4, &[6, 0]).unwrap();
    let mut set = |reg: Reg, value: u32| {
        client
            .region_write(BAR0, reg.offset(0).into(), &value.to_le_bytes())
            .unwrap();
    };
    for (reg, value) in [
        (Reg::TDBAL, 0x1000),
        (Reg::TDLEN, 0x1000),
        (Reg::DMATXCTL, 1),
        (Reg::TXDCTL, 1 << 25),
    ] {
        set(reg, value);
    }

    file.set_len(0).unwrap();
    set(Reg::TDT, 200);

    let mut status = [0; 4];
    client
        .region_read(BAR0, Reg::STATUS.offset(0).into(), &mut status)
        .unwrap();
    drop(client);
    assert_eq!(serve_one(&server), before);
}
