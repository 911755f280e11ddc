//! `DMA_READ` and `DMA_WRITE` from the server, answered by hand.

use vfio_user::Errno;
use vfio_user::client::{Client, Message, Options};
use vfio_user::message::{Capabilities, Command, Protection};
use vfio_user::server::{DmaError, Limits};

use crate::raw::{Payload, Raw, message, payload, with_size};
use crate::support::{Event, Server, description};

const REPLY: u32 = 1;
const ERROR: u32 = 1 << 5;

/// A connection whose client takes messages.
fn offered() -> Raw {
    let mut raw = Raw::new();
    let all = Protection::READ | Protection::WRITE;
    raw.client.dma_map(0, 1 << 30, all, None).unwrap();
    raw.server.take_events();
    raw
}

/// The address and the length of a command of the server.
fn access(message: &Message) -> (u64, u64) {
    let field = |at: usize| u64::from_le_bytes(message.payload[at..at + 8].try_into().unwrap());
    (field(0), field(8))
}

/// Answers a `DMA_READ` by as many bytes of `fill` as it asks for.
fn answer_read(raw: &mut Raw, command: &Message, fill: u8) {
    let (address, count) = access(command);
    let data = vec![fill; usize::try_from(count).unwrap()];
    let reply = payload().u64(address).u64(count).bytes(&data);
    answer(raw, command, &reply);
}

fn answer(raw: &mut Raw, command: &Message, payload: &Payload) {
    let (id, number) = (command.header.id.get(), command.header.number());
    let bytes = message(id, number, REPLY, &payload.0);
    raw.client.send_raw(&bytes, &[]).unwrap();
}

fn answer_error(raw: &mut Raw, command: &Message, errno: u32) {
    let (id, number) = (command.header.id.get(), command.header.number());
    let mut bytes = with_size(id, number, 16, REPLY | ERROR, &[]);
    bytes[12..16].copy_from_slice(&errno.to_le_bytes());
    raw.client.send_raw(&bytes, &[]).unwrap();
}

#[test]
fn a_client_that_never_mapped_memory_without_a_file_is_sent_nothing() {
    let (server, mut client) = Server::with_client();
    let file = tempfile::tempfile().unwrap();
    let file = std::os::fd::AsFd::as_fd(&file);
    client
        .dma_map(0, 4096, Protection::READ, Some((file, 0)))
        .unwrap();
    assert_eq!(server.dma_read(0, 4), Err(DmaError::NotOffered));
    assert_eq!(server.dma_write(0, b"x"), Err(DmaError::NotOffered));
}

#[test]
fn requests_are_served_while_an_answer_is_awaited() {
    let mut raw = offered();

    let id = raw.server.dma_read(0x1000, 8).unwrap();
    let command = raw.client.receive_raw().unwrap();
    raw.assert_in_step();
    assert!(raw.server.take_events().is_empty());
    answer_read(&mut raw, &command, 0x5a);
    raw.assert_in_step();

    assert_eq!(command.header.number(), Command::DMA_READ);
    assert_eq!(access(&command), (0x1000, 8));
    assert_eq!(
        raw.server.take_events(),
        [Event::ReadDone(id, Ok(vec![0x5a; 8]))]
    );
}

#[test]
fn answers_may_come_in_another_order() {
    let mut raw = offered();
    let first = raw.server.dma_read(0x1000, 4).unwrap();
    let second = raw.server.dma_read(0x2000, 4).unwrap();
    let commands = [
        raw.client.receive_raw().unwrap(),
        raw.client.receive_raw().unwrap(),
    ];

    answer_read(&mut raw, &commands[1], 2);
    answer_read(&mut raw, &commands[0], 1);
    raw.assert_in_step();

    assert_eq!(
        raw.server.take_events(),
        [
            Event::ReadDone(second, Ok(vec![2; 4])),
            Event::ReadDone(first, Ok(vec![1; 4]))
        ]
    );
}

#[test]
fn no_more_than_64_kib_of_reads_are_under_way() {
    let mut raw = offered();
    let id = raw.server.dma_read(0, 100_000).unwrap();
    let later = raw.server.dma_read(0x80_0000, 10).unwrap();

    let first = raw.client.receive_raw().unwrap();
    // Nothing of the rest has been sent: the next message is the answer to a request.
    raw.assert_in_step();
    answer_read(&mut raw, &first, 1);
    let second = raw.client.receive_raw().unwrap();
    let third = raw.client.receive_raw().unwrap();
    answer_read(&mut raw, &second, 2);
    answer_read(&mut raw, &third, 3);
    raw.assert_in_step();

    assert_eq!(access(&first), (0, 65_536));
    assert_eq!(access(&second), (65_536, 34_464));
    assert_eq!(access(&third), (0x80_0000, 10));
    let expected = [vec![1; 65_536], vec![2; 34_464]].concat();
    assert!(
        raw.server.take_events()
            == [
                Event::ReadDone(id, Ok(expected)),
                Event::ReadDone(later, Ok(vec![3; 10]))
            ]
    );
}

#[test]
fn messages_keep_to_the_clients_own_limit() {
    let (server, stream) = Server::start(Limits::default(), description());
    let mut client = Client::attach(
        stream,
        Options {
            capabilities: Capabilities {
                max_data_xfer_size: Some(4096),
                ..Options::default().capabilities
            },
            ..Options::default()
        },
    );
    client.negotiate().unwrap();
    client.dma_map(0, 1 << 20, Protection::WRITE, None).unwrap();

    server.dma_write(0x10, &[9; 5000]).unwrap();
    let messages = [client.receive_raw().unwrap(), client.receive_raw().unwrap()];

    assert_eq!(
        messages.each_ref().map(access),
        [(0x10, 4096), (0x1010, 904)]
    );
    assert_eq!(messages.each_ref().map(|m| m.payload.len()), [4112, 920]);
}

#[test]
fn an_error_ends_the_whole_read_once() {
    let mut raw = offered();
    let id = raw.server.dma_read(0, 200_000).unwrap();

    let first = raw.client.receive_raw().unwrap();
    answer_error(&mut raw, &first, 19);
    raw.assert_in_step();

    assert_eq!(
        raw.server.take_events(),
        [Event::ReadDone(id, Err(Errno::NODEV))]
    );
}

#[test]
fn an_error_without_a_number_is_an_error_all_the_same() {
    let mut raw = offered();
    let id = raw.server.dma_write(0, b"data").unwrap();
    let command = raw.client.receive_raw().unwrap();
    answer_error(&mut raw, &command, 0);
    raw.assert_in_step();
    assert_eq!(
        raw.server.take_events(),
        [Event::WriteDone(id, Err(Errno::IO))]
    );
}

#[test]
fn an_answer_of_another_length_is_an_error() {
    let mut raw = offered();
    let ids = [(); 3].map(|()| raw.server.dma_read(0, 4).unwrap());
    let commands = [(); 3].map(|()| raw.client.receive_raw().unwrap());

    answer(
        &mut raw,
        &commands[0],
        &payload().u64(0).u64(4).bytes(b"toolong"),
    );
    answer(
        &mut raw,
        &commands[1],
        &payload().u64(0).u64(3).bytes(b"four"),
    );
    answer(&mut raw, &commands[2], &payload().u64(0));
    raw.assert_in_step();

    let failed = ids.map(|id| Event::ReadDone(id, Err(Errno::IO)));
    assert_eq!(raw.server.take_events(), failed);
}

#[test]
fn a_second_answer_is_passed_over() {
    let mut raw = offered();
    let id = raw.server.dma_read(0, 4).unwrap();
    let command = raw.client.receive_raw().unwrap();

    answer_read(&mut raw, &command, 1);
    answer_read(&mut raw, &command, 2);
    raw.assert_in_step();

    assert_eq!(
        raw.server.take_events(),
        [Event::ReadDone(id, Ok(vec![1; 4]))]
    );
}

#[test]
fn the_short_answer_to_a_write_is_taken() {
    let mut raw = offered();
    let id = raw.server.dma_write(0x10, b"data").unwrap();
    let command = raw.client.receive_raw().unwrap();
    assert_eq!(command.payload, payload().u64(0x10).u64(4).bytes(b"data").0);

    // The specification's table has a count of 32 bits in this one place.
    answer(&mut raw, &command, &payload().u64(0x10).u32(4));
    raw.assert_in_step();

    assert_eq!(raw.server.take_events(), [Event::WriteDone(id, Ok(()))]);
}

#[test]
fn what_is_under_way_is_bounded() {
    let raw = offered();
    let limit = 1 << 20;

    assert!(raw.server.dma_read(0, limit).is_ok());
    assert_eq!(raw.server.dma_read(0, 1), Err(DmaError::Busy));
    assert!(raw.server.dma_write(0, &vec![0; limit]).is_ok());
    assert_eq!(raw.server.dma_write(0, &[0]), Err(DmaError::Busy));
}

#[test]
fn impossible_ranges_are_refused_at_once() {
    let raw = offered();
    assert!(matches!(
        raw.server.dma_read(0, 0),
        Err(DmaError::Length { length: 0, .. })
    ));
    assert!(matches!(
        raw.server.dma_read(0, (1 << 20) + 1),
        Err(DmaError::Length { .. })
    ));
    assert!(matches!(
        raw.server.dma_write(u64::MAX, b"ab"),
        Err(DmaError::Range { .. })
    ));
    assert!(raw.server.dma_write(u64::MAX, b"a").is_ok());
}
