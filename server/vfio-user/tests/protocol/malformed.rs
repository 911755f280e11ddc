//! Messages that no honest client sends. Each gets an errno, after which the stream is in step,
//! or, where the stream is broken, the end of the connection.

use std::os::fd::OwnedFd;

use vfio_user::Errno;
use vfio_user::message::Command;
use vfio_user::server::{Limits, SessionError};

use crate::raw::{Raw, message, payload, with_size};
use crate::support::{Event, FAULT, FAULTY_OFFSET, Server, description, eventfd};

const NO_REPLY: u32 = 1 << 4;

// Frames

#[test]
fn a_size_below_the_headers_ends_the_connection() {
    let mut raw = Raw::new();
    raw.client
        .send_raw(&with_size(1, Command::DEVICE_GET_INFO, 15, 0, &[]), &[])
        .unwrap();
    assert!(matches!(raw.assert_closed(), SessionError::Frame(_)));
}

#[test]
fn a_size_of_zero_ends_the_connection() {
    let mut raw = Raw::new();
    raw.client
        .send_raw(&with_size(1, Command::REGION_WRITE, 0, NO_REPLY, &[]), &[])
        .unwrap();
    assert!(matches!(raw.assert_closed(), SessionError::Frame(_)));
}

#[test]
fn a_size_above_the_largest_message_ends_the_connection() {
    let mut raw = Raw::new();
    let size = (1 << 20) + 33;
    raw.client
        .send_raw(&with_size(1, Command::REGION_WRITE, size, 0, &[]), &[])
        .unwrap();
    assert!(matches!(raw.assert_closed(), SessionError::Frame(_)));
}

#[test]
fn a_size_of_four_gigabytes_ends_the_connection_without_waiting_for_them() {
    let mut raw = Raw::new();
    raw.client
        .send_raw(&with_size(1, Command::REGION_READ, u32::MAX, 0, &[]), &[])
        .unwrap();
    assert!(matches!(raw.assert_closed(), SessionError::Frame(_)));
}

#[test]
fn what_came_before_a_broken_frame_is_answered() {
    let mut raw = Raw::new();
    let mut bytes = message(5, Command::DEVICE_RESET, 0, &[]);
    bytes.extend(with_size(6, Command::DEVICE_RESET, 3, 0, &[]));
    raw.client.send_raw(&bytes, &[]).unwrap();

    let reply = raw.client.receive_raw().unwrap();

    assert_eq!((reply.header.id.get(), reply.header.failure()), (5, None));
    assert!(matches!(raw.assert_closed(), SessionError::Frame(_)));
}

#[test]
fn a_connection_that_ends_within_a_message_ends_the_session() {
    let mut raw = Raw::new();
    raw.client
        .send_raw(&message(1, Command::DEVICE_RESET, 0, &[])[..9], &[])
        .unwrap();
    drop(raw.client);
    assert!(matches!(raw.server.end(), SessionError::Disconnected));
}

#[test]
fn a_message_in_single_bytes_is_still_one_message() {
    let mut raw = Raw::new();
    for byte in message(9, Command::DEVICE_RESET, 0, &[]) {
        raw.client.send_raw(&[byte], &[]).unwrap();
    }
    let reply = raw.client.receive_raw().unwrap();
    assert_eq!((reply.header.id.get(), reply.header.failure()), (9, None));
    raw.assert_in_step();
}

// Headers

#[test]
fn a_reply_that_nobody_waits_for_is_passed_over() {
    let mut raw = Raw::new();
    raw.client
        .send_raw(&message(1, Command::DMA_READ, 1, &[0; 32]), &[])
        .unwrap();
    raw.client
        .send_raw(&message(2, Command::DEVICE_RESET, 1, &[]), &[])
        .unwrap();
    raw.assert_in_step();
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn a_type_without_a_meaning_is_refused() {
    let mut raw = Raw::new();
    raw.client
        .send_raw(&message(3, Command::DEVICE_RESET, 7, &[]), &[])
        .unwrap();
    let reply = raw.client.receive_raw().unwrap();
    assert_eq!(reply.header.failure(), Some(Errno::INVAL));
    raw.assert_in_step();
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn unknown_commands_are_refused_with_their_payload_skipped() {
    let mut raw = Raw::new();
    let long = payload().bytes(&[0xaa; 5000]);
    assert_eq!(raw.refusal(Command(0), &payload()), Errno::NOSYS);
    assert_eq!(raw.refusal(Command(19), &long), Errno::NOSYS);
    assert_eq!(raw.refusal(Command(999), &long), Errno::NOSYS);
    assert_eq!(raw.refusal(Command(u16::MAX), &payload()), Errno::NOSYS);
}

#[test]
fn commands_of_the_other_direction_are_refused() {
    let mut raw = Raw::new();
    let access = payload().u64(0x1000).u64(4);
    assert_eq!(raw.refusal(Command::DMA_READ, &access), Errno::NOSYS);
    let access = payload().u64(0x1000).u64(4).bytes(b"data");
    assert_eq!(raw.refusal(Command::DMA_WRITE, &access), Errno::NOSYS);
}

#[test]
fn a_posted_command_gets_no_answer_even_when_it_fails() {
    let mut raw = Raw::new();
    let mut bytes = message(1, Command(999), NO_REPLY, b"whatever");
    bytes.extend(message(2, Command::REGION_READ, NO_REPLY, &[0; 3]));
    bytes.extend(message(3, Command::DEVICE_GET_INFO, NO_REPLY, &[0; 16]));
    bytes.extend(message(4, Command::DEVICE_RESET, NO_REPLY, &[]));
    raw.client.send_raw(&bytes, &[]).unwrap();
    raw.assert_in_step();
    assert_eq!(raw.server.take_events(), [Event::Reset]);
}

#[test]
fn a_posted_read_gets_no_answer() {
    let mut raw = Raw::new();
    let access = payload().u64(0).u32(0).u32(4);
    raw.client
        .send_raw(&message(1, Command::REGION_READ, NO_REPLY, &access.0), &[])
        .unwrap();
    raw.assert_in_step();
}

// Negotiation; its good forms are in `negotiation.rs`

#[test]
fn anything_before_version_is_refused_and_ends_the_connection() {
    let mut raw = Raw::unnegotiated();
    let reply = raw.reply(
        Command::DEVICE_GET_INFO,
        &payload().u32(16).u32(0).u32(0).u32(0),
    );
    assert_eq!(reply.header.failure(), Some(Errno::INVAL));
    assert!(matches!(
        raw.assert_closed(),
        SessionError::NotNegotiated {
            command: Command::DEVICE_GET_INFO
        }
    ));
}

#[test]
fn a_posted_command_before_version_ends_the_connection_without_an_answer() {
    let mut raw = Raw::unnegotiated();
    raw.client
        .send_raw(&message(1, Command::DEVICE_RESET, NO_REPLY, &[]), &[])
        .unwrap();
    assert!(matches!(
        raw.assert_closed(),
        SessionError::NotNegotiated { .. }
    ));
}

#[test]
fn a_second_version_is_refused() {
    let mut raw = Raw::new();
    assert_eq!(
        raw.refusal(Command::VERSION, &payload().u32(0)),
        Errno::INVAL
    );
}

// Lengths

#[test]
fn payloads_that_are_too_short_are_refused() {
    let mut raw = Raw::new();
    let mut short =
        |command, length: usize| raw.refusal(command, &payload().bytes(&vec![0xff; length]));
    assert_eq!(short(Command::DMA_MAP, 31), Errno::INVAL);
    assert_eq!(short(Command::DMA_MAP, 0), Errno::INVAL);
    assert_eq!(short(Command::DMA_UNMAP, 23), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_GET_INFO, 15), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_GET_REGION_INFO, 31), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_GET_REGION_IO_FDS, 15), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_GET_IRQ_INFO, 15), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_SET_IRQS, 0), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_SET_IRQS, 19), Errno::INVAL);
    assert_eq!(short(Command::REGION_READ, 15), Errno::INVAL);
    assert_eq!(short(Command::REGION_WRITE, 15), Errno::INVAL);
    assert_eq!(short(Command::REGION_WRITE_MULTI, 7), Errno::INVAL);
    assert_eq!(short(Command::DEVICE_FEATURE, 7), Errno::INVAL);
    assert_eq!(short(Command::MIG_DATA_READ, 7), Errno::INVAL);
    assert_eq!(short(Command::MIG_DATA_WRITE, 7), Errno::INVAL);
    assert_eq!(short(Command::DIRTY_PAGES, 7), Errno::INVAL);
}

#[test]
fn payloads_that_are_too_long_are_refused() {
    let mut raw = Raw::new();
    let read = payload().u64(0).u32(0).u32(4).bytes(&[0]);
    assert_eq!(raw.refusal(Command::REGION_READ, &read), Errno::INVAL);
    let write = payload().u64(0).u32(0).u32(4).bytes(&[0; 5]);
    assert_eq!(raw.refusal(Command::REGION_WRITE, &write), Errno::INVAL);
    let reset = payload().bytes(&[0]);
    assert_eq!(raw.refusal(Command::DEVICE_RESET, &reset), Errno::INVAL);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn an_argsz_below_the_reply_is_refused() {
    let mut raw = Raw::new();
    let info = payload().u32(15).u32(0).u32(0).u32(0);
    assert_eq!(raw.refusal(Command::DEVICE_GET_INFO, &info), Errno::INVAL);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_IRQ_INFO, &info),
        Errno::INVAL
    );
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_IO_FDS, &info),
        Errno::INVAL
    );
    let region = payload().u32(31).u32(0).u32(0).u32(0).u64(0).u64(0);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_INFO, &region),
        Errno::INVAL
    );
    let unmap = payload().u32(23).u32(0).u64(0).u64(4096);
    assert_eq!(raw.refusal(Command::DMA_UNMAP, &unmap), Errno::INVAL);
    let map = payload().u32(31).u32(3).u64(0).u64(0).u64(4096);
    assert_eq!(raw.refusal(Command::DMA_MAP, &map), Errno::INVAL);
    let irqs = payload().u32(3).u32(1 | 1 << 5).u32(2).u32(0).u32(1);
    assert_eq!(raw.refusal(Command::DEVICE_SET_IRQS, &irqs), Errno::INVAL);
}

#[test]
fn indices_that_do_not_exist_are_refused() {
    let mut raw = Raw::new();
    let region = |index| payload().u32(32).u32(0).u32(index).u32(0).u64(0).u64(0);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_INFO, &region(9)),
        Errno::INVAL
    );
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_INFO, &region(u32::MAX)),
        Errno::INVAL
    );
    let irq = payload().u32(16).u32(0).u32(5).u32(0);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_IRQ_INFO, &irq),
        Errno::INVAL
    );
    let fds = payload().u32(16).u32(0).u32(9).u32(0);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_IO_FDS, &fds),
        Errno::INVAL
    );
}

#[test]
fn io_fds_are_asked_for_with_zero_flags_and_count() {
    let mut raw = Raw::new();
    let flags = payload().u32(16).u32(1).u32(0).u32(0);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_IO_FDS, &flags),
        Errno::INVAL
    );
    let count = payload().u32(16).u32(0).u32(0).u32(1);
    assert_eq!(
        raw.refusal(Command::DEVICE_GET_REGION_IO_FDS, &count),
        Errno::INVAL
    );
}

// Region access

#[test]
fn accesses_outside_of_a_region_are_refused() {
    let mut raw = Raw::new();
    let size = 512 << 10;
    let mut read = |offset: u64, region: u32, count: u32| {
        raw.refusal(
            Command::REGION_READ,
            &payload().u64(offset).u32(region).u32(count),
        )
    };
    assert_eq!(read(size, 0, 1), Errno::INVAL);
    assert_eq!(read(size - 3, 0, 4), Errno::INVAL);
    assert_eq!(read(u64::MAX, 0, 1), Errno::INVAL);
    assert_eq!(read(u64::MAX - 3, 0, 4), Errno::INVAL);
    assert_eq!(read(0, 1, 1), Errno::INVAL);
    assert_eq!(read(0, 9, 1), Errno::INVAL);
    assert_eq!(read(0, u32::MAX, 1), Errno::INVAL);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn reads_of_more_than_the_limit_are_refused() {
    let mut raw = Raw::new();
    let count = |count| payload().u64(0).u32(0).u32(count);
    assert_eq!(
        raw.refusal(Command::REGION_READ, &count((1 << 20) + 1)),
        Errno::INVAL
    );
    assert_eq!(
        raw.refusal(Command::REGION_READ, &count(u32::MAX)),
        Errno::INVAL
    );
}

#[test]
fn writes_outside_of_a_region_are_refused() {
    let mut raw = Raw::new();
    let mut write = |offset: u64, region: u32| {
        raw.refusal(
            Command::REGION_WRITE,
            &payload().u64(offset).u32(region).u32(4).bytes(b"data"),
        )
    };
    assert_eq!(write((512 << 10) - 3, 0), Errno::INVAL);
    assert_eq!(write(u64::MAX - 1, 0), Errno::INVAL);
    assert_eq!(write(0, 3), Errno::INVAL);
    assert_eq!(write(0, 77), Errno::INVAL);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn a_write_with_less_data_than_it_counts_is_refused() {
    let mut raw = Raw::new();
    let write = payload().u64(0).u32(0).u32(u32::MAX).bytes(b"data");
    assert_eq!(raw.refusal(Command::REGION_WRITE, &write), Errno::INVAL);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn an_access_of_no_bytes_succeeds_without_the_device() {
    let mut raw = Raw::new();
    let access = payload().u64(512 << 10).u32(0).u32(0);
    assert_eq!(raw.reply(Command::REGION_READ, &access).payload, access.0);
    assert_eq!(raw.reply(Command::REGION_WRITE, &access).payload, access.0);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn the_devices_own_errno_reaches_the_client() {
    let mut raw = Raw::new();
    let read = payload().u64(FAULTY_OFFSET).u32(0).u32(4);
    assert_eq!(raw.refusal(Command::REGION_READ, &read), FAULT);
    let write = payload().u64(FAULTY_OFFSET).u32(0).u32(4).bytes(b"data");
    assert_eq!(raw.refusal(Command::REGION_WRITE, &write), FAULT);
}

#[test]
fn a_multi_write_whose_count_is_not_its_length_is_refused() {
    let mut raw = Raw::new();
    let one = payload().u64(0).u32(0).u32(4).bytes(&[1; 8]).0;
    let mut multi = |count: u64, writes: &[u8]| {
        raw.refusal(
            Command::REGION_WRITE_MULTI,
            &payload().u64(count).bytes(writes),
        )
    };
    assert_eq!(multi(2, &one), Errno::INVAL);
    assert_eq!(multi(0, &one), Errno::INVAL);
    assert_eq!(multi(1, &one[..23]), Errno::INVAL);
    assert_eq!(multi(u64::MAX, &one), Errno::INVAL);
    // 2^61 * 24 wraps to 0.
    assert_eq!(multi(1 << 61, &[]), Errno::INVAL);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn a_bad_write_among_many_does_not_keep_the_others_from_being_done() {
    let mut raw = Raw::new();
    let writes = payload()
        .u64(4)
        .bytes(&payload().u64(8).u32(0).u32(4).bytes(&[1; 8]).0)
        .bytes(&payload().u64(8).u32(0).u32(9).bytes(&[2; 8]).0)
        .bytes(&payload().u64(8).u32(0).u32(0).bytes(&[3; 8]).0)
        .bytes(&payload().u64(16).u32(0).u32(2).bytes(&[4; 8]).0);
    assert_eq!(
        raw.refusal(Command::REGION_WRITE_MULTI, &writes),
        Errno::INVAL
    );
    let write = |offset, data: &[u8]| Event::Write {
        region: 0,
        offset,
        data: data.to_vec(),
    };
    assert_eq!(
        raw.server.take_events(),
        [write(8, &[1; 4]), write(16, &[4; 2])]
    );
}

// Memory

#[test]
fn impossible_mappings_are_refused() {
    let mut raw = Raw::new();
    let mut map = |flags: u32, offset: u64, address: u64, size: u64| {
        raw.refusal(
            Command::DMA_MAP,
            &payload()
                .u32(32)
                .u32(flags)
                .u64(offset)
                .u64(address)
                .u64(size),
        )
    };
    assert_eq!(map(3, 0, 0x1000, 0), Errno::INVAL);
    assert_eq!(map(0, 0, 0x1000, 0x1000), Errno::INVAL);
    assert_eq!(map(4, 0, 0x1000, 0x1000), Errno::INVAL);
    assert_eq!(map(3, 0, u64::MAX - 0xfff, 0x1001), Errno::INVAL);
    assert_eq!(map(3, 0, 0x1000, u64::MAX), Errno::INVAL);
    assert_eq!(map(3, u64::MAX - 0xfff, 0, 0x1001), Errno::INVAL);
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn impossible_unmappings_are_refused() {
    let mut raw = Raw::new();
    let mut unmap = |flags: u32, address: u64, size: u64| {
        raw.refusal(
            Command::DMA_UNMAP,
            &payload().u32(24).u32(flags).u64(address).u64(size),
        )
    };
    assert_eq!(unmap(0, 0x1000, 0), Errno::INVAL);
    assert_eq!(unmap(0, u64::MAX, 2), Errno::INVAL);
    assert_eq!(unmap(2, 0x1000, 0), Errno::INVAL);
    assert_eq!(unmap(2, 0, 0x1000), Errno::INVAL);
    assert_eq!(unmap(4, 0, 0x1000), Errno::INVAL);
    // The dirty bitmap.
    assert_eq!(unmap(1, 0, 0x1000), Errno::NOTSUP);
    assert!(raw.server.take_events().is_empty());
}

// File descriptors

#[test]
fn a_mapping_takes_one_file() {
    let mut raw = Raw::new();
    let map = payload().u32(32).u32(3).u64(0).u64(0).u64(4096);
    let fds = [eventfd(), eventfd()];
    assert_eq!(
        raw.refusal_with_fds(Command::DMA_MAP, &map, &fds),
        Errno::INVAL
    );
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn more_file_descriptors_than_announced_are_refused() {
    let mut raw = Raw::new();
    let irqs = payload().u32(20).u32(4 | 1 << 5).u32(2).u32(0).u32(17);
    let fds: Vec<_> = (0..17).map(|_| eventfd()).collect();
    assert_eq!(
        raw.refusal_with_fds(Command::DEVICE_SET_IRQS, &irqs, &fds),
        Errno::INVAL
    );
    assert!(raw.server.take_events().is_empty());
}

#[test]
fn file_descriptors_that_nobody_wants_are_closed() {
    let mut raw = Raw::new();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let info = payload().u32(16).u32(0).u32(0).u32(0);

    let reply = raw.reply_with_fds(Command::DEVICE_GET_INFO, &info, &[OwnedFd::from(theirs)]);

    assert_eq!(reply.header.failure(), None);
    // The last copy of the other end is gone.
    assert_eq!(std::io::Read::read(&mut &ours, &mut [0]).unwrap(), 0);
}

#[test]
fn file_descriptors_of_a_refused_message_are_closed() {
    let mut raw = Raw::new();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    raw.refusal_with_fds(Command::DMA_MAP, &payload(), &[OwnedFd::from(theirs)]);
    assert_eq!(std::io::Read::read(&mut &ours, &mut [0]).unwrap(), 0);
}

// Features

#[test]
fn features_are_answered_as_not_supported() {
    let mut raw = Raw::new();
    let (get, set, probe) = (1 << 16, 1 << 17, 1 << 18);
    let mut feature =
        |flags: u32| raw.refusal(Command::DEVICE_FEATURE, &payload().u32(64).u32(flags));
    assert_eq!(feature(1 | get | probe), Errno::NOTSUP);
    assert_eq!(feature(2 | get | set | probe), Errno::NOTSUP);
    assert_eq!(feature(6 | set), Errno::NOTSUP);
    assert_eq!(feature(0xffff | get), Errno::NOTSUP);
    assert_eq!(feature(1 | get | set), Errno::INVAL);
    assert_eq!(feature(1), Errno::INVAL);
    assert_eq!(feature(1 | get | 1 << 30), Errno::INVAL);
}

#[test]
fn migration_data_and_dirty_pages_are_answered_as_not_supported() {
    let mut raw = Raw::new();
    let size = payload().u32(8).u32(0);
    assert_eq!(raw.refusal(Command::MIG_DATA_READ, &size), Errno::NOTSUP);
    assert_eq!(raw.refusal(Command::MIG_DATA_WRITE, &size), Errno::NOTSUP);
    assert_eq!(raw.refusal(Command::DIRTY_PAGES, &size), Errno::NOTSUP);
}

// A client that does not read

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let (server, stream) = Server::start(
        Limits {
            queued_bytes: 1 << 20,
            ..Limits::default()
        },
        description(),
    );
    let mut client = vfio_user::client::Client::attach(stream, Default::default());
    client.negotiate().unwrap();
    let read = payload().u64(0).u32(0).u32(512 << 10);
    let bytes = message(1, Command::REGION_READ, 0, &read.0).repeat(16);

    client.send_raw(&bytes, &[]).unwrap();

    assert!(matches!(server.end(), SessionError::NotReading { .. }));
}
