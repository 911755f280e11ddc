//! Capture files: what is written is read, by us and by an independent reader, and what is broken is told.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{
    fs,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use pcap_file::{
    DataLink, Endianness, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
    pcapng::{
        Block, PcapNgReader, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::InterfaceDescriptionBlock,
            section_header::SectionHeaderBlock,
        },
    },
};
use proptest::{prelude::*, sample::Index};
use wire::{
    Direction,
    file::{self, FileError, Frames, PcapNg, Reader},
};

fn pcap(endianness: Endianness, link: DataLink, frames: &[(&[u8], u32)]) -> Vec<u8> {
    let header = PcapHeader {
        endianness,
        datalink: link,
        ts_resolution: TsResolution::NanoSecond,
        snaplen: 65_535,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for (bytes, original) in frames {
        writer
            .write_packet(&PcapPacket::new(Duration::from_secs(1), *original, bytes))
            .unwrap();
    }
    writer.into_writer()
}

/// A pcapng file with these interfaces and packets (interface and bytes).
fn pcapng(endianness: Endianness, links: &[DataLink], packets: &[(u32, &[u8])]) -> Vec<u8> {
    let section = SectionHeaderBlock {
        endianness,
        ..SectionHeaderBlock::default()
    };
    let mut writer = PcapNgWriter::with_section_header(Vec::new(), section).unwrap();
    for link in links {
        writer
            .write_pcapng_block(InterfaceDescriptionBlock::new(*link, 0))
            .unwrap();
    }
    let mut bytes = writer.into_inner();
    for (interface, data) in packets {
        let mut block = 6_u32.to_le_bytes().to_vec();
        let padded = data.len().next_multiple_of(4);
        let len = u32::try_from(32 + padded).unwrap();
        let captured = u32::try_from(data.len()).unwrap();
        for word in [len, *interface, 0, 0, captured, captured] {
            block.extend(word.to_le_bytes());
        }
        block.extend_from_slice(data);
        block.resize(28 + padded, 0);
        block.extend(len.to_le_bytes());
        if endianness.is_big() {
            for at in (0..28).step_by(4).chain([28 + padded]) {
                block[at..at + 4].reverse();
            }
        }
        bytes.extend(block);
    }
    bytes
}

fn frames(frames: &[&[u8]]) -> Frames {
    Frames {
        frames: frames.iter().map(|frame| frame.to_vec()).collect(),
        cut_short: 0,
    }
}

#[test]
fn pcap_of_both_byte_orders_is_read() {
    let packets: [(&[u8], u32); 2] = [(b"first frame", 11), (b"second", 6)];

    let little = file::parse(&pcap(Endianness::Little, DataLink::ETHERNET, &packets)).unwrap();
    let big = file::parse(&pcap(Endianness::Big, DataLink::ETHERNET, &packets)).unwrap();

    assert_eq!(little, frames(&[b"first frame", b"second"]));
    assert_eq!(big, little);
}

#[test]
fn pcapng_of_both_byte_orders_and_several_sections_is_read() {
    let little = pcapng(
        Endianness::Little,
        &[DataLink::ETHERNET],
        &[(0, b"first frame")],
    );
    let big = pcapng(Endianness::Big, &[DataLink::ETHERNET], &[(0, b"second")]);

    let read = file::parse(&[little, big].concat()).unwrap();

    assert_eq!(read, frames(&[b"first frame", b"second"]));
}

#[test]
fn frames_that_were_cut_short_are_counted() {
    let bytes = pcap(
        Endianness::Little,
        DataLink::ETHERNET,
        &[(b"0123", 100), (b"0123", 4)],
    );

    assert_eq!(file::parse(&bytes).unwrap().cut_short, 1);
}

#[test]
fn a_simple_packet_block_has_no_padding_in_its_frame() {
    let mut bytes = pcapng(Endianness::Little, &[DataLink::ETHERNET], &[]);
    bytes.extend([3, 0, 0, 0, 24, 0, 0, 0, 5, 0, 0, 0]);
    bytes.extend(b"hello\0\0\0");
    bytes.extend([24, 0, 0, 0]);

    assert_eq!(file::parse(&bytes).unwrap(), frames(&[b"hello"]));
}

#[test]
fn frames_of_another_link_type_are_refused() {
    let wifi = pcap(Endianness::Little, DataLink::IEEE802_11, &[(b"x", 1)]);
    let mixed = pcapng(
        Endianness::Little,
        &[DataLink::ETHERNET, DataLink::RAW],
        &[(0, b"x"), (1, b"y")],
    );

    assert!(matches!(
        file::parse(&wifi),
        Err(FileError::LinkType {
            frame: 1,
            link_type: 105
        })
    ));
    assert!(matches!(
        file::parse(&mixed),
        Err(FileError::LinkType {
            frame: 2,
            link_type: 101
        })
    ));
}

#[test]
fn an_unknown_interface_is_refused() {
    let bytes = pcapng(Endianness::Little, &[DataLink::ETHERNET], &[(7, b"x")]);

    assert!(matches!(
        file::parse(&bytes),
        Err(FileError::Interface {
            frame: 1,
            interface: 7
        })
    ));
}

#[test]
fn a_file_that_ends_within_a_frame_is_refused_with_its_number() {
    let pcap = pcap(
        Endianness::Little,
        DataLink::ETHERNET,
        &[(b"first", 5), (b"second", 6)],
    );
    let pcapng = pcapng(
        Endianness::Little,
        &[DataLink::ETHERNET],
        &[(0, b"first"), (0, b"second")],
    );

    let pcap = file::parse(&pcap[..pcap.len() - 1]).unwrap_err();
    let pcapng = file::parse(&pcapng[..pcapng.len() - 1]).unwrap_err();

    assert_eq!(
        pcap.to_string(),
        "the pcap file ends in the middle of frame 2; it was not written to its end"
    );
    assert!(matches!(pcapng, FileError::Truncated { frame: 2, .. }));
}

#[test]
fn a_length_that_no_file_has_allocates_nothing() {
    let mut bytes = pcap(Endianness::Little, DataLink::ETHERNET, &[(b"first", 5)]);
    bytes[32..36].fill(0xff);

    assert!(matches!(
        file::parse(&bytes),
        Err(FileError::Truncated { frame: 1, .. })
    ));
}

#[test]
fn a_packet_block_shorter_than_its_content_is_refused() {
    let mut bytes = pcapng(Endianness::Little, &[DataLink::ETHERNET], &[(0, b"frame")]);
    let captured_len = bytes.len() - 20;
    bytes[captured_len..captured_len + 4].copy_from_slice(&100_u32.to_le_bytes());

    assert!(matches!(
        file::parse(&bytes),
        Err(FileError::Broken { frame: 1, .. })
    ));
}

#[test]
fn a_frame_that_is_too_long_is_refused() {
    let long = vec![0; file::MAX_FRAME + 1];
    let bytes = pcapng(Endianness::Little, &[DataLink::ETHERNET], &[(0, &long)]);

    assert!(matches!(
        file::parse(&bytes),
        Err(FileError::FrameLength { frame: 1, .. })
    ));
}

#[test]
fn a_file_of_another_kind_is_refused() {
    assert!(matches!(
        file::parse(b"\x7fELF\xff\xff"),
        Err(FileError::UnknownKind)
    ));
}

#[test]
fn a_file_without_frames_is_no_error() {
    let bytes = pcapng(Endianness::Little, &[], &[]);

    assert_eq!(file::parse(&bytes).unwrap(), Frames::default());
}

#[test]
fn a_file_is_read_from_its_path_and_a_missing_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frames.hex");
    fs::write(&path, "00 11").unwrap();

    assert_eq!(file::read(&path).unwrap(), frames(&[&[0, 0x11]]));
    assert_eq!(
        file::read("/nonexistent/file".as_ref())
            .unwrap_err()
            .to_string(),
        "cannot read /nonexistent/file"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_with_time_and_direction(
        written in prop::collection::vec(
            (any::<bool>(), 0..4_000_000_000_000_000_000_u64, prop::collection::vec(any::<u8>(), 0..200), 0_usize..10),
            0..20,
        ),
        lost: u64,
    ) {
        let mut writer = PcapNg::new(Vec::new(), "ixgbe").unwrap();
        for (sent, time, bytes, cut) in &written {
            let direction = if *sent { Direction::Transmit } else { Direction::Receive };
            writer.frame(direction, Duration::from_nanos(*time), bytes, bytes.len() + cut).unwrap();
        }
        let bytes = writer.finish(Duration::from_secs(1), lost).unwrap();

        let ours = file::parse(&bytes).unwrap();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut theirs = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(EnhancedPacketBlock { timestamp, original_len, data, options, .. }) = block.unwrap() {
                let sent = options.contains(&EnhancedPacketOption::Flags(2));
                let cut = original_len as usize - data.len();
                theirs.push((sent, u64::try_from(timestamp.as_nanos()).unwrap(), data.to_vec(), cut));
            }
        }

        prop_assert_eq!(ours.cut_short, written.iter().filter(|(.., cut)| *cut > 0).count());
        prop_assert_eq!(ours.frames, written.iter().map(|(_, _, bytes, _)| bytes.clone()).collect::<Vec<_>>());
        prop_assert_eq!(theirs, written);
    }

    #[test]
    fn damaged_files_are_read_or_refused(
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
        cut: Index,
        kind in 0..3,
    ) {
        let packets: [(u32, &[u8]); 3] = [(0, b"first frame"), (1, b"second"), (0, b"third")];
        let links = [DataLink::ETHERNET, DataLink::ETHERNET];
        let mut bytes = match kind {
            0 => pcap(Endianness::Little, DataLink::ETHERNET, &[(b"first", 5), (b"second", 6)]),
            1 => pcapng(Endianness::Big, &links, &packets),
            _ => pcapng(Endianness::Little, &links, &packets),
        };
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));

        let read = file::parse(&bytes).map(|frames| frames.frames.iter().map(Vec::len).sum::<usize>());

        prop_assert!(read.is_err() || read.unwrap() <= bytes.len());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-fx: #\n\t]{0,200}") {
        let read = file::parse_hex(&text);

        prop_assert!(read.is_err() || read.unwrap().frames.concat().len() <= text.len());
    }

    #[test]
    fn frames_in_plain_hex_are_read(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..5)) {
        let text: Vec<String> = frames
            .iter()
            .map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();

        prop_assert_eq!(file::parse_hex(&text.join("\n\n")).unwrap().frames, frames);
    }

    #[test]
    fn frames_in_dumps_are_read(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..5)) {
        let mut text = String::new();
        for frame in &frames {
            for (line, bytes) in frame.chunks(16).enumerate() {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
                let ascii: String = bytes.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' }).collect();
                text.push_str(&format!("{:08x}  {hex:<50} |{ascii}|\n", line * 16));
            }
        }

        prop_assert_eq!(file::parse_hex(&text).unwrap().frames, frames);
    }

    #[test]
    fn a_file_read_in_pieces_is_as_one_read_whole(
        big: bool,
        packets in prop::collection::vec((0_u32..2, prop::collection::vec(any::<u8>(), 0..100)), 0..10),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..3),
        end in prop::option::of(any::<Index>()),
        ng: bool,
        pieces in prop::collection::vec(1_usize..200, 1..10),
    ) {
        let endianness = if big { Endianness::Big } else { Endianness::Little };
        let mut bytes = if ng {
            let packets: Vec<(u32, &[u8])> = packets.iter().map(|(i, bytes)| (*i, &bytes[..])).collect();
            pcapng(endianness, &[DataLink::ETHERNET; 2], &packets)
        } else {
            let packets: Vec<(&[u8], u32)> = packets.iter().map(|(_, bytes)| (&bytes[..], 100)).collect();
            pcap(endianness, DataLink::ETHERNET, &packets)
        };
        for (index, byte) in damage {
            // The kind of the file stays.
            let at = 4 + index.index(bytes.len() - 4);
            bytes[at] = byte;
        }
        if let Some(end) = end {
            bytes.truncate(4 + end.index(bytes.len() - 4));
        }

        let whole = file::parse(&bytes);
        let mut reader = Reader::new(Pieces { bytes: &bytes, sizes: pieces.iter().cycle() }, Path::new("x"));
        let (mut frames, mut cut_short) = (Vec::new(), 0);
        let result = loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    frames.push(frame.bytes.to_vec());
                    cut_short += usize::from(frame.cut_short);
                    continue;
                }
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            match reader.fill() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };

        prop_assert_eq!(whole.is_ok(), result.is_ok(), "{:?} {:?}", whole, result);
        if let Ok(whole) = whole {
            prop_assert_eq!(whole, Frames { frames, cut_short });
        }
    }
}

/// Bytes that come in pieces of these sizes.
struct Pieces<'a, I> {
    bytes: &'a [u8],
    sizes: I,
}

impl<'a, I: Iterator<Item = &'a usize>> Read for Pieces<'_, I> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().copied().unwrap_or(1);
        let len = size.min(to.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(len);
        to[..len].copy_from_slice(piece);
        self.bytes = rest;
        Ok(len)
    }
}
