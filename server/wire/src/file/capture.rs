//! Reading pcap and pcapng.

use pcap_file::{Endianness, PcapError, pcap::PcapParser, pcapng::PcapNgParser};

use super::{FileError, Frames, check_length};

/// Types of the blocks that hold a packet.
const PACKET_BLOCK: u32 = 2;
const SIMPLE_PACKET_BLOCK: u32 = 3;
const ENHANCED_PACKET_BLOCK: u32 = 6;
/// Link type of Ethernet.
const ETHERNET: u32 = 1;

impl Frames {
    fn next_number(&self) -> usize {
        self.frames.len() + 1
    }

    fn add(&mut self, bytes: &[u8], original_len: u32) -> Result<(), FileError> {
        check_length(self.next_number(), bytes.len())?;
        if u32::try_from(bytes.len()).is_ok_and(|len| len < original_len) {
            self.cut_short += 1;
        }
        self.frames.push(bytes.to_vec());
        Ok(())
    }

    fn broken(&self, kind: &'static str, source: PcapError) -> FileError {
        let frame = self.next_number();
        match source {
            PcapError::IncompleteBuffer => FileError::Truncated { kind, frame },
            source => FileError::Broken {
                kind,
                frame,
                source,
            },
        }
    }
}

pub(super) fn parse_pcap(bytes: &[u8]) -> Result<Frames, FileError> {
    const KIND: &str = "pcap";
    let (mut rest, parser) =
        PcapParser::new(bytes).map_err(|source| FileError::Header { kind: KIND, source })?;
    // The upper half may tell the length of an FCS.
    let link_type = u32::from(parser.header().datalink) & 0xffff;
    let mut frames = Frames::default();
    while !rest.is_empty() {
        let (after, packet) = parser
            .next_raw_packet(rest)
            .map_err(|source| frames.broken(KIND, source))?;
        check_link_type(frames.next_number(), link_type)?;
        frames.add(&packet.data, packet.orig_len)?;
        rest = after;
    }
    Ok(frames)
}

pub(super) fn parse_pcapng(bytes: &[u8]) -> Result<Frames, FileError> {
    const KIND: &str = "pcapng";
    let (mut rest, mut parser) =
        PcapNgParser::new(bytes).map_err(|source| FileError::Header { kind: KIND, source })?;
    let mut frames = Frames::default();
    while !rest.is_empty() {
        let (after, block) = parser
            .next_raw_block(rest)
            .map_err(|source| frames.broken(KIND, source))?;
        let endianness = parser.section().endianness;
        let packet = match block.type_ {
            ENHANCED_PACKET_BLOCK => Some(enhanced(&block.body, endianness)),
            PACKET_BLOCK => Some(obsolete(&block.body, endianness)),
            SIMPLE_PACKET_BLOCK => {
                let snap_len = parser.interfaces().first().map_or(0, |first| first.snaplen);
                Some(simple(&block.body, endianness, snap_len))
            }
            _ => None,
        };
        if let Some(packet) = packet {
            let packet = packet.ok_or_else(|| {
                let short = PcapError::InvalidField("packet block shorter than its content");
                frames.broken(KIND, short)
            })?;
            let frame = frames.next_number();
            let interface = usize::try_from(packet.interface)
                .ok()
                .and_then(|index| parser.interfaces().get(index))
                .ok_or(FileError::Interface {
                    frame,
                    interface: packet.interface,
                })?;
            check_link_type(frame, u32::from(interface.linktype))?;
            frames.add(packet.bytes, packet.original_len)?;
        }
        rest = after;
    }
    Ok(frames)
}

fn check_link_type(frame: usize, link_type: u32) -> Result<(), FileError> {
    if link_type != ETHERNET {
        return Err(FileError::LinkType { frame, link_type });
    }
    Ok(())
}

/// What a packet block says. Its options are not looked at, so their errors do not matter.
struct Packet<'a> {
    interface: u32,
    original_len: u32,
    bytes: &'a [u8],
}

/// Enhanced Packet Block: interface, two words of time, captured and original length, bytes.
fn enhanced(body: &[u8], endianness: Endianness) -> Option<Packet<'_>> {
    let captured = usize::try_from(word(body, 12, endianness)?).ok()?;
    Some(Packet {
        interface: word(body, 0, endianness)?,
        original_len: word(body, 16, endianness)?,
        bytes: body.get(20..)?.get(..captured)?,
    })
}

/// Packet Block: as an enhanced one, but with 16 bits of interface and 16 of a drop count first.
fn obsolete(body: &[u8], endianness: Endianness) -> Option<Packet<'_>> {
    let first: [u8; 2] = *body.first_chunk()?;
    let interface = match endianness {
        Endianness::Big => u16::from_be_bytes(first),
        Endianness::Little => u16::from_le_bytes(first),
    };
    let packet = enhanced(body, endianness)?;
    Some(Packet {
        interface: interface.into(),
        ..packet
    })
}

/// Simple Packet Block: original length, then as many bytes as that and the snap length allow.
fn simple(body: &[u8], endianness: Endianness, snap_len: u32) -> Option<Packet<'_>> {
    let original_len = word(body, 0, endianness)?;
    let captured = match snap_len {
        0 => original_len,
        limit => original_len.min(limit),
    };
    Some(Packet {
        interface: 0,
        original_len,
        bytes: body.get(4..)?.get(..usize::try_from(captured).ok()?)?,
    })
}

fn word(body: &[u8], at: usize, endianness: Endianness) -> Option<u32> {
    let bytes = *body.get(at..)?.first_chunk()?;
    Some(match endianness {
        Endianness::Big => u32::from_be_bytes(bytes),
        Endianness::Little => u32::from_le_bytes(bytes),
    })
}
