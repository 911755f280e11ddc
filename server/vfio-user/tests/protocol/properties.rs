//! What holds for all bytes: no panic, no loss of step, nothing invented.

use std::os::fd::OwnedFd;

use proptest::collection::vec;
use proptest::prelude::*;
use vfio_user::frame::{Fds, FrameBuffer};
use vfio_user::message::{
    Command, DmaAccess, HEADER_SIZE, HeaderFlags, MigData, MultiWrite, RegionAccess, Request,
};

use crate::raw::message;
use crate::support::eventfd;

/// The largest message of the buffers below.
const LIMIT: usize = 4096;

/// What comes out of a buffer that is fed these pieces: header bytes and payload of each
/// message, and whether the stream broke.
fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<(u16, u16, Vec<u8>)>, bool) {
    let mut buffer = FrameBuffer::new(LIMIT);
    let mut messages = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let space = buffer.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            buffer.filled(count, Fds::default());
            loop {
                match buffer.next_frame() {
                    Ok(Some(frame)) => messages.push((
                        frame.header.id.get(),
                        frame.header.command.get(),
                        frame.payload.to_vec(),
                    )),
                    Ok(None) => break,
                    Err(_) => return (messages, true),
                }
            }
        }
    }
    (messages, false)
}

/// Cuts bytes at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_messages(
        messages in vec((any::<u16>(), any::<u16>(), vec(any::<u8>(), 0..200)), 0..20),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let stream: Vec<u8> = messages
            .iter()
            .flat_map(|(id, command, payload)| message(*id, Command(*command), 0, payload))
            .collect();
        prop_assert_eq!(parse(pieces(&stream, &cuts)), (messages, false));
    }

    #[test]
    fn a_broken_size_is_found_wherever_the_stream_is_cut(
        before in vec(vec(any::<u8>(), 0..100), 0..5),
        size in prop_oneof![0u32..16, 4097..=u32::MAX],
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut stream: Vec<u8> = before
            .iter()
            .flat_map(|payload| message(1, Command::DMA_MAP, 0, payload))
            .collect();
        let mut broken = message(2, Command::DMA_MAP, 0, &[0; 64]);
        broken[4..8].copy_from_slice(&size.to_le_bytes());
        stream.extend(broken);
        let (messages, is_broken) = parse(pieces(&stream, &cuts));
        prop_assert!(is_broken);
        prop_assert_eq!(messages.len(), before.len());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..6000)) {
        let (messages, is_broken) = parse([&bytes[..]]);
        let taken: usize = messages.iter().map(|(.., payload)| HEADER_SIZE + payload.len()).sum();
        prop_assert!(taken <= bytes.len());
        // What is left is less than a message, or no message at all.
        prop_assert!(is_broken || bytes.len() - taken < LIMIT);
    }

    /// With one `sendmsg` for each message, reads end behind file descriptors or anywhere in
    /// front of them. The message they were sent with gets them.
    #[test]
    fn file_descriptors_reach_the_message_they_were_sent_with(
        messages in vec((any::<bool>(), vec(any::<u8>(), 0..50)), 1..12),
        early in vec(any::<bool>(), 12),
    ) {
        let mut buffer = FrameBuffer::new(LIMIT);
        let mut sent = Vec::new();
        let mut seen = Vec::new();
        let mut bytes = Vec::new();
        for ((with_fd, payload), early) in messages.iter().zip(early) {
            bytes.extend(message(0, Command::DMA_MAP, 0, payload));
            sent.push(usize::from(*with_fd));
            if *with_fd || early {
                let list: Vec<OwnedFd> = with_fd.then(eventfd).into_iter().collect();
                buffer.space()[..bytes.len()].copy_from_slice(&bytes);
                buffer.filled(bytes.len(), Fds { list, lost: false });
                bytes.clear();
            }
        }
        buffer.space()[..bytes.len()].copy_from_slice(&bytes);
        buffer.filled(bytes.len(), Fds::default());
        while let Some(frame) = buffer.next_frame().unwrap() {
            seen.push(frame.fds.list.len());
        }
        prop_assert_eq!(seen, sent);
    }

    #[test]
    fn a_payload_that_decodes_is_encoded_back_to_the_same_bytes(
        number in 0u16..25,
        payload in vec(any::<u8>(), 0..120),
    ) {
        let command = Command(number);
        if let Ok(request) = Request::decode(command, &payload) {
            prop_assert_eq!(request.command(), command);
            let mut encoded = Vec::new();
            request.encode_into(3, HeaderFlags::empty(), &mut encoded);
            let expected = message(3, command, 0, &payload);
            // Structures with `argsz` may be longer than is known; the rest is not kept.
            prop_assert!(
                encoded == expected || (encoded.len() < expected.len() && grows(command)),
                "{:?}", request
            );
            let again = Request::decode(command, &encoded[16..]).unwrap();
            prop_assert_eq!(again, request);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same_request(
        (offset, region, data) in (any::<u64>(), any::<u32>(), vec(any::<u8>(), 0..300)),
        writes in vec((any::<u64>(), any::<u32>(), any::<u32>(), any::<[u8; 8]>()), 0..9),
    ) {
        let count = u32::try_from(data.len()).unwrap();
        let writes: Vec<_> = writes
            .into_iter()
            .map(|(offset, region, count, data)| MultiWrite {
                offset: offset.into(),
                region: region.into(),
                count: count.into(),
                data,
            })
            .collect();
        let access = RegionAccess {
            offset: offset.into(),
            region: region.into(),
            count: count.into(),
        };
        let dma = DmaAccess {
            address: offset.into(),
            count: u64::from(count).into(),
        };
        let state = MigData {
            argsz: region.into(),
            size: count.into(),
        };
        for request in [
            Request::RegionRead(access),
            Request::RegionWrite(access, &data),
            Request::RegionWriteMulti(&writes),
            Request::DmaRead(dma),
            Request::DmaWrite(dma, &data),
            Request::MigDataWrite(state, &data),
            Request::DeviceReset,
            Request::Unknown(Command(77), &data),
        ] {
            let mut encoded = Vec::new();
            request.encode_into(9, HeaderFlags::NO_REPLY, &mut encoded);
            let (messages, is_broken) = parse([&encoded[..]]);
            prop_assert!(!is_broken);
            let [(9, number, payload)] = &messages[..] else {
                panic!("{messages:?}");
            };
            prop_assert_eq!(Request::decode(Command(*number), payload), Ok(request));
        }
    }
}

/// Whether the command's structure may be longer than is known.
fn grows(command: Command) -> bool {
    matches!(
        command,
        Command::DMA_MAP
            | Command::DEVICE_GET_INFO
            | Command::DEVICE_GET_REGION_INFO
            | Command::DEVICE_GET_REGION_IO_FDS
            | Command::DEVICE_GET_IRQ_INFO
            | Command::MIG_DATA_READ
    )
}

#[test]
fn more_file_descriptors_than_one_message_can_have_are_closed_and_noted() {
    let mut buffer = FrameBuffer::new(LIMIT);
    let bytes = message(0, Command::DMA_MAP, 0, &[0; 32]);
    // A message of one byte at a time, each byte with six file descriptors.
    for byte in &bytes {
        buffer.space()[0] = *byte;
        let list = vec![
            eventfd(),
            eventfd(),
            eventfd(),
            eventfd(),
            eventfd(),
            eventfd(),
        ];
        buffer.filled(1, Fds { list, lost: false });
    }
    let frame = buffer.next_frame().unwrap().unwrap();
    assert_eq!(frame.fds.list.len(), 253);
    assert!(frame.fds.lost);
}

#[test]
fn a_message_that_was_complete_before_the_read_gets_no_file_from_it() {
    let mut buffer = FrameBuffer::new(LIMIT);
    let map = message(0, Command::DMA_MAP, 0, &[0; 32]);
    let write = message(1, Command::REGION_WRITE, 0, &[0; 20]);

    buffer.space()[..map.len()].copy_from_slice(&map);
    buffer.filled(map.len(), Fds::default());
    buffer.space()[..write.len()].copy_from_slice(&write);
    let list = vec![eventfd()];
    buffer.filled(write.len(), Fds { list, lost: false });

    let first = buffer.next_frame().unwrap().unwrap().fds.list.len();
    let second = buffer.next_frame().unwrap().unwrap().fds.list.len();
    assert_eq!((first, second), (0, 1));
}
