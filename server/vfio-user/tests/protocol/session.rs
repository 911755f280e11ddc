//! A client and a server of this crate, over a socket.

use std::os::fd::AsFd;
use std::sync::mpsc::channel;

use vfio_user::Errno;
use vfio_user::client::Client;
use vfio_user::message::{DeviceFlags, IrqFlags, Protection, RegionFlags};
use vfio_user::server::SessionError;

use crate::support::{Access, CONFIG_REGION, Event, MSIX, READ_ONLY_REGION, Server, TestMemory};

#[test]
fn a_client_learns_what_the_device_is() {
    let (_server, mut client) = Server::with_client();

    let device = client.device_info().unwrap();
    let bar = client.region_info(0).unwrap();
    let absent = client.region_info(8).unwrap();
    let msix = client.irq_info(MSIX).unwrap();

    assert_eq!(device.flags, DeviceFlags::PCI | DeviceFlags::RESET);
    assert_eq!((device.regions, device.irqs), (9, 5));
    assert_eq!(bar.size, 512 << 10);
    assert_eq!(bar.flags, RegionFlags::READ | RegionFlags::WRITE);
    assert_eq!(absent.size, 0);
    assert_eq!((msix.flags, msix.count), (IrqFlags::EVENTFD, 64));
}

#[test]
fn what_is_written_to_a_region_is_read_back() {
    let (_server, mut client) = Server::with_client();
    let mut data = [0; 5];

    client.region_write(4, 0x1003, b"five!").unwrap();
    client.region_read(4, 0x1003, &mut data).unwrap();

    assert_eq!(&data, b"five!");
}

#[test]
fn a_posted_write_is_done_before_the_next_read() {
    let (_server, mut client) = Server::with_client();
    let mut data = [0; 4];

    client
        .region_write_posted(0, 0x40, &7u32.to_le_bytes())
        .unwrap();
    client.region_read(0, 0x40, &mut data).unwrap();

    assert_eq!(u32::from_le_bytes(data), 7);
}

#[test]
fn client_memory_without_a_file_is_reached_by_messages() {
    let (server, mut client) = Server::with_client();
    let (seen, accesses) = channel();
    let bytes: Vec<u8> = (0..200_000).map(|at: u32| at.to_le_bytes()[0]).collect();
    client.set_memory(Box::new(TestMemory {
        bytes: bytes.clone(),
        seen,
    }));
    client
        .dma_map(0, 200_000, Protection::READ | Protection::WRITE, None)
        .unwrap();
    server.take_events();

    let read = server.dma_read(10, 150_000).unwrap();
    let event = next_event(&server, &mut client);

    assert_eq!(
        event,
        Event::ReadDone(read, Ok(bytes[10..150_010].to_vec()))
    );
    let lengths: Vec<_> = accesses.try_iter().collect();
    assert_eq!(
        lengths,
        [
            (Access::Read, 10, 65_536),
            (Access::Read, 65_546, 65_536),
            (Access::Read, 131_082, 18_928)
        ]
    );
}

#[test]
fn a_refused_command_does_not_end_the_session() {
    let (_server, mut client) = Server::with_client();
    let mut data = [0; 4];

    let refused = client.region_read(0, 512 << 10, &mut data).unwrap_err();
    client.region_read(0, 0, &mut data).unwrap();

    assert_eq!(refused.errno(), Some(Errno::INVAL));
}

#[test]
fn a_map_with_a_file_hands_it_to_the_device() {
    let (server, mut client) = Server::with_client();
    let file = tempfile::tempfile().unwrap();

    client
        .dma_map(
            0x1000,
            0x2000,
            Protection::READ,
            Some((file.as_fd(), 0x3000)),
        )
        .unwrap();

    assert_eq!(
        server.take_events(),
        [Event::Map {
            first: 0x1000,
            last: 0x2fff,
            protection: Protection::READ,
            file: true,
            offset: 0x3000,
        }]
    );
}

#[test]
fn message_writes_reach_client_memory() {
    let (server, mut client) = Server::with_client();
    let (seen, accesses) = channel();
    client.set_memory(Box::new(TestMemory {
        bytes: vec![0; 4096],
        seen,
    }));
    client.dma_map(0, 4096, Protection::WRITE, None).unwrap();
    server.take_events();

    let good = server.dma_write(16, b"hello").unwrap();
    let bad = server.dma_write(4094, b"hello").unwrap();
    let events = [
        next_event(&server, &mut client),
        next_event(&server, &mut client),
    ];

    assert_eq!(
        events,
        [
            Event::WriteDone(good, Ok(())),
            Event::WriteDone(bad, Err(Errno::NODEV))
        ]
    );
    let seen: Vec<_> = accesses.try_iter().collect();
    assert_eq!(seen, [(Access::Write, 16, 5), (Access::Write, 4094, 5)]);
}

#[test]
fn a_client_that_goes_ends_the_session_quietly() {
    let (server, client) = Server::with_client();
    drop(client);
    assert!(matches!(server.end(), SessionError::Disconnected));
}

#[test]
fn a_region_without_the_write_flag_cannot_be_written() {
    let (server, mut client) = Server::with_client();

    let refused = client.region_write(READ_ONLY_REGION, 0, &[1]).unwrap_err();
    client.region_read(READ_ONLY_REGION, 0, &mut [0]).unwrap();

    assert_eq!(refused.errno(), Some(Errno::PERM));
    assert_eq!(server.take_events().len(), 1);
}

#[test]
fn configuration_space_is_read_in_one_message() {
    let (server, mut client) = Server::with_client();

    client
        .region_read(CONFIG_REGION, 0, &mut [0; 4096])
        .unwrap();

    assert_eq!(
        server.take_events(),
        [Event::Read {
            region: CONFIG_REGION,
            offset: 0,
            length: 4096,
        }]
    );
}

/// Serves the server's messages until the device hears of an outcome.
fn next_event(server: &Server, client: &mut Client) -> Event {
    loop {
        client.serve().unwrap();
        if let Ok(event) = server.events.try_recv() {
            return event;
        }
    }
}
