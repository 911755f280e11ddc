//! What a client is told about regions that it can map.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vfio_user::client::{Client, Options};
use vfio_user::message::{Command, RegionFlags};
use vfio_user::server::{Description, Limits, MappableArea, RegionMapping};

use crate::raw::{message, payload};
use crate::support::{Server, description};

const AREAS: [MappableArea; 2] = [
    MappableArea {
        offset: 0x1000,
        size: 0x1000,
    },
    MappableArea {
        offset: 0x6000,
        size: 0x2000,
    },
];

/// A device whose region 0 can be mapped, and the file behind it.
fn mappable(areas: &[MappableArea]) -> (Description, std::fs::File) {
    let file = tempfile::tempfile().unwrap();
    let mut description = description();
    description.regions[0].mapping = Some(RegionMapping {
        file: Arc::new(OwnedFd::from(file.try_clone().unwrap())),
        offset: 0x10_0000,
        areas: areas.to_vec(),
    });
    (description, file)
}

fn client(description: Description) -> (Server, Client) {
    let (server, stream) = Server::start(Limits::default(), description);
    let mut client = Client::attach(stream, Options::default());
    client.negotiate().unwrap();
    (server, client)
}

/// The flags, argsz, `cap_offset` and length of a reply to a request with this argsz, and how
/// many file descriptors came with it.
fn info(client: &mut Client, argsz: u32) -> (RegionFlags, u32, u32, usize, usize) {
    let request = payload().u32(argsz).u32(0).u32(0).u32(0).u64(0).u64(0);
    let bytes = message(1, Command::DEVICE_GET_REGION_INFO, 0, &request.0);
    client.send_raw(&bytes, &[]).unwrap();
    let reply = client.receive_raw().unwrap();
    let word = |at: usize| u32::from_le_bytes(reply.payload[at..at + 4].try_into().unwrap());
    (
        RegionFlags::from_bits_retain(word(4)),
        word(0),
        word(12),
        reply.payload.len(),
        reply.fds.len(),
    )
}

#[test]
fn a_client_learns_the_areas_that_it_can_map() {
    let (description, file) = mappable(&AREAS);
    let (_server, mut client) = client(description);
    file.write_all_at(b"page", 0x10_1000).unwrap();

    let region = client.region_info(0).unwrap();

    assert_eq!(region.areas, AREAS);
    assert_eq!(region.offset, 0x10_0000);
    let shared = std::fs::File::from(region.file.unwrap());
    let mut bytes = [0; 4];
    let at = region.offset + region.areas[0].offset;
    shared.read_exact_at(&mut bytes, at).unwrap();
    assert_eq!(&bytes, b"page");
}

#[test]
fn a_request_without_room_learns_how_much_it_takes() {
    let (description, _file) = mappable(&AREAS);
    let (_server, mut client) = client(description);
    let read_write = RegionFlags::READ | RegionFlags::WRITE;

    let short = info(&mut client, 32);
    let nearly = info(&mut client, 79);
    let full = info(&mut client, 80);
    let roomy = info(&mut client, 4096);

    // Structure 32, capability 16, areas 2 * 16.
    let without = (read_write | RegionFlags::MMAP, 80, 0, 32, 1);
    let with = (
        read_write | RegionFlags::MMAP | RegionFlags::CAPS,
        80,
        32,
        80,
        1,
    );
    assert_eq!([short, nearly, full, roomy], [without, without, with, with]);
}

#[test]
fn a_region_that_can_be_mapped_whole_has_a_file_and_no_areas() {
    let (description, _file) = mappable(&[]);
    let (_server, mut client) = client(description);
    let whole = info(&mut client, 32);
    let flags = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;
    assert_eq!(whole, (flags, 32, 0, 32, 1));
}

#[test]
fn a_file_comes_with_its_own_reply_among_many() {
    let (description, _file) = mappable(&AREAS);
    let (_server, mut client) = client(description);
    let request = |id, index| {
        let info = payload().u32(256).u32(0).u32(index).u32(0).u64(0).u64(0);
        message(id, Command::DEVICE_GET_REGION_INFO, 0, &info.0)
    };
    let requests = [request(1, 2), request(2, 0), request(3, 4), request(4, 0)].concat();

    client.send_raw(&requests, &[]).unwrap();
    let replies = [
        client.receive_raw().unwrap(),
        client.receive_raw().unwrap(),
        client.receive_raw().unwrap(),
        client.receive_raw().unwrap(),
    ];

    let fds = replies.each_ref().map(|reply| reply.fds.len());
    assert_eq!(fds, [0, 1, 0, 1]);
}

#[test]
fn no_io_fds_are_named() {
    let (_server, mut client) = client(description());
    assert_eq!(client.region_io_fds(0).unwrap(), 0);
}

#[test]
fn files_of_regions_are_not_inherited() {
    let (description, _file) = mappable(&AREAS);
    let (_server, mut client) = client(description);
    let file = client.region_info(0).unwrap().file.unwrap();
    let flags = rustix::io::fcntl_getfd(file.as_fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}
