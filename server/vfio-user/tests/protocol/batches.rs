//! Many messages at once: in one piece, in odd pieces, with file descriptors among them.

use std::os::fd::{AsFd, OwnedFd};

use vfio_user::client::{Client, Options};
use vfio_user::message::{Command, MultiWrite};
use vfio_user::server::{DmaRange, IovaRange, IrqAction, Limits};

use crate::raw::{Payload, Raw, message, payload};
use crate::support::{Event, MSIX, Server, description, eventfd};

const NO_REPLY: u32 = 1 << 4;

fn write(offset: u64, value: u32) -> Payload {
    payload()
        .u64(offset)
        .u32(0)
        .u32(4)
        .bytes(&value.to_le_bytes())
}

fn map(address: u64) -> Payload {
    payload().u32(32).u32(3).u64(0).u64(address).u64(0x1000)
}

fn assign(start: u32, count: u32) -> Payload {
    payload()
        .u32(20)
        .u32(4 | 1 << 5)
        .u32(MSIX)
        .u32(start)
        .u32(count)
}

/// The mapping's address, and whether it came with a file.
fn mapped(event: &Event) -> (u64, bool) {
    match event {
        Event::Map { first, file, .. } => (*first, *file),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut raw = Raw::new();
    let mut bytes = message(10, Command::DEVICE_RESET, 0, &[]);
    bytes.extend(message(
        11,
        Command::REGION_WRITE,
        NO_REPLY,
        &write(0x10, 5).0,
    ));
    bytes.extend(message(12, Command(500), 0, b"?"));
    bytes.extend(message(
        13,
        Command::REGION_READ,
        0,
        &payload().u64(0x10).u32(0).u32(4).0,
    ));
    raw.client.send_raw(&bytes, &[]).unwrap();

    let replies = [
        raw.client.receive_raw().unwrap(),
        raw.client.receive_raw().unwrap(),
        raw.client.receive_raw().unwrap(),
    ];

    let ids = replies.each_ref().map(|reply| reply.header.id.get());
    assert_eq!(ids, [10, 12, 13]);
    assert_eq!(replies[2].payload[16..], 5u32.to_le_bytes());
    raw.assert_in_step();
}

#[test]
fn the_same_id_twice_is_answered_twice() {
    let mut raw = Raw::new();
    let bytes = message(1, Command::DEVICE_RESET, 0, &[]).repeat(2);
    raw.client.send_raw(&bytes, &[]).unwrap();
    assert_eq!(raw.client.receive_raw().unwrap().header.id.get(), 1);
    assert_eq!(raw.client.receive_raw().unwrap().header.id.get(), 1);
    raw.assert_in_step();
}

#[test]
fn a_hundred_thousand_posted_writes_arrive_in_order() {
    const COUNT: u32 = 100_000;
    let mut raw = Raw::new();
    let bytes: Vec<u8> = (0..COUNT)
        .flat_map(|n| message(0, Command::REGION_WRITE, NO_REPLY, &write(0x18, n).0))
        .collect();

    raw.client.send_raw(&bytes, &[]).unwrap();
    raw.assert_in_step();

    let values: Vec<u32> = raw
        .server
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::Write { data, .. } => u32::from_le_bytes(data.try_into().unwrap()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(values.into_iter().eq(0..COUNT));
}

#[test]
fn messages_longer_than_a_read_are_put_together() {
    let mut raw = Raw::new();
    let data: Vec<u8> = (0..400_000u32).map(|n| n.to_le_bytes()[1]).collect();

    raw.client.region_write(0, 3, &data).unwrap();
    let mut back = vec![0; data.len()];
    raw.client.region_read(0, 3, &mut back).unwrap();

    assert!(back == data);
}

#[test]
fn a_multi_write_does_its_writes_in_order() {
    let mut raw = Raw::new();
    let write = |offset: u64, data: [u8; 8], count: u32| MultiWrite {
        offset: offset.into(),
        region: 0.into(),
        count: count.into(),
        data,
    };

    raw.client
        .region_write_multi(&[
            write(0x100, [1; 8], 8),
            write(0x100, [2; 8], 1),
            write(0x104, [3; 8], 3),
        ])
        .unwrap();
    let mut back = [0; 8];
    raw.client.region_read(0, 0x100, &mut back).unwrap();

    assert_eq!(back, [2, 1, 1, 1, 3, 3, 3, 1]);
}

#[test]
fn the_answer_to_a_multi_write_counts_it() {
    let mut raw = Raw::new();
    let one = payload().u64(0).u32(0).u32(4).bytes(&[1; 8]).0;
    let multi = payload().u64(2).bytes(&one).bytes(&one);
    let reply = raw.reply(Command::REGION_WRITE_MULTI, &multi);
    assert_eq!(reply.payload, payload().u64(2).0);
}

#[test]
fn qemus_catch_up_batch_is_served_without_an_answer() {
    let mut raw = Raw::new();
    let writes: Vec<_> = (0..200u32)
        .map(|n| MultiWrite {
            offset: 0x20.into(),
            region: 0.into(),
            count: 4.into(),
            data: u64::from(n).to_le_bytes(),
        })
        .collect();

    raw.client.region_write_multi_posted(&writes).unwrap();
    raw.assert_in_step();

    assert_eq!(raw.server.take_events().len(), 200);
}

#[test]
fn a_turn_is_bounded_and_the_rest_is_not_forgotten() {
    let limits = Limits {
        messages_per_turn: 2,
        ..Limits::default()
    };
    let (server, stream) = Server::start(limits, description());
    let mut client = Client::attach(stream, Options::default());
    client.negotiate().unwrap();
    let bytes = message(0, Command::REGION_WRITE, NO_REPLY, &write(0, 1).0).repeat(101);

    client.send_raw(&bytes, &[]).unwrap();
    client.region_read(0, 0, &mut [0; 4]).unwrap();

    assert_eq!(server.take_events().len(), 102);
}

#[test]
fn a_file_goes_to_its_own_message_among_many() {
    let mut raw = Raw::new();
    let file = || OwnedFd::from(tempfile::tempfile().unwrap());
    let send = |raw: &mut Raw, address: u64, fd: Option<OwnedFd>| {
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        raw.client
            .send_raw(
                &message(0, Command::DMA_MAP, NO_REPLY, &map(address).0),
                &fds,
            )
            .unwrap();
    };

    send(&mut raw, 0x1000, None);
    send(&mut raw, 0x2000, Some(file()));
    send(&mut raw, 0x3000, None);
    send(&mut raw, 0x4000, Some(file()));
    send(&mut raw, 0x5000, Some(file()));
    raw.assert_in_step();

    let maps: Vec<_> = raw.server.take_events().iter().map(mapped).collect();
    assert_eq!(
        maps,
        [
            (0x1000, false),
            (0x2000, true),
            (0x3000, false),
            (0x4000, true),
            (0x5000, true)
        ]
    );
}

#[test]
fn a_file_sent_with_several_messages_goes_to_the_one_that_can_take_it() {
    let mut raw = Raw::new();
    let file = tempfile::tempfile().unwrap();
    let mut bytes = message(1, Command::REGION_WRITE, NO_REPLY, &write(0, 1).0);
    bytes.extend(message(2, Command::DMA_MAP, NO_REPLY, &map(0x1000).0));
    bytes.extend(message(3, Command::REGION_WRITE, NO_REPLY, &write(0, 2).0));

    raw.client.send_raw(&bytes, &[file.as_fd()]).unwrap();
    raw.assert_in_step();

    assert_eq!(mapped(&raw.server.take_events()[1]), (0x1000, true));
}

#[test]
fn a_file_that_comes_with_the_header_alone_is_kept_for_the_rest() {
    let mut raw = Raw::new();
    let file = tempfile::tempfile().unwrap();
    let bytes = message(1, Command::DMA_MAP, 0, &map(0x1000).0);
    let (header, rest) = bytes.split_at(16);

    raw.client.send_raw(header, &[file.as_fd()]).unwrap();
    raw.client.send_raw(rest, &[]).unwrap();
    raw.client.receive_raw().unwrap();

    assert_eq!(mapped(&raw.server.take_events()[0]), (0x1000, true));
}

#[test]
fn a_file_that_comes_with_the_payload_alone_belongs_to_its_message() {
    let mut raw = Raw::new();
    let file = tempfile::tempfile().unwrap();
    let mut bytes = message(1, Command::REGION_WRITE, NO_REPLY, &write(0, 1).0);
    bytes.extend(message(2, Command::DMA_MAP, 0, &map(0x1000).0));
    let (before, rest) = bytes.split_at(bytes.len() - 20);

    raw.client.send_raw(before, &[]).unwrap();
    raw.client.send_raw(rest, &[file.as_fd()]).unwrap();
    raw.client.receive_raw().unwrap();

    assert_eq!(mapped(&raw.server.take_events()[1]), (0x1000, true));
}

#[test]
fn sixteen_eventfds_fit_into_one_message() {
    let mut raw = Raw::new();
    let fds: Vec<_> = (0..16).map(|_| eventfd()).collect();
    let reply = raw.reply_with_fds(Command::DEVICE_SET_IRQS, &assign(48, 16), &fds);
    assert_eq!(reply.header.failure(), None);
    assert_eq!(
        raw.server.take_events(),
        [Event::AssignIrqs {
            index: MSIX,
            action: IrqAction::Trigger,
            start: 48,
            eventfds: vec![true; 16],
        }]
    );
}

// What QEMU does under a virtual IOMMU

#[test]
fn ranges_may_end_at_the_very_top() {
    let mut raw = Raw::new();
    let unmap = payload()
        .u32(24)
        .u32(0)
        .u64(0xfef0_0000)
        .u64(0xffff_ffff_0110_0000);

    let reply = raw.reply(Command::DMA_UNMAP, &unmap);

    assert_eq!(reply.payload, unmap.0);
    let range = IovaRange::new(0xfef0_0000, 0xffff_ffff_0110_0000).unwrap();
    assert_eq!(range.last(), u64::MAX);
    assert_eq!(
        raw.server.take_events(),
        [Event::Unmap(DmaRange::Range(range))]
    );
}

#[test]
fn everything_is_unmapped_at_once() {
    let mut raw = Raw::new();
    raw.client.dma_unmap_all().unwrap();
    assert_eq!(raw.server.take_events(), [Event::Unmap(DmaRange::All)]);
}

#[test]
fn the_answer_to_an_unmapping_echoes_it() {
    let mut raw = Raw::new();
    let unmap = |argsz| payload().u32(argsz).u32(0).u64(0x1000).u64(0x2000);
    let reply = raw.reply(Command::DMA_UNMAP, &unmap(4096));
    assert_eq!(reply.payload, unmap(24).0);
}
