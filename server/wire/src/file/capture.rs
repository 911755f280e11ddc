//! Reading pcap and pcapng.

use std::{fmt, ops::Range};

use pcap_file::{
    Endianness, PcapError, TsResolution,
    pcap::PcapParser,
    pcapng::{
        PcapNgParser,
        blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
    },
};

use super::{FileError, Frames, check_length};

/// The first bytes of a pcapng section, in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Types of the blocks that matter.
const SECTION_HEADER_BLOCK: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION_BLOCK: u32 = 1;
const PACKET_BLOCK: u32 = 2;
const SIMPLE_PACKET_BLOCK: u32 = 3;
const ENHANCED_PACKET_BLOCK: u32 = 6;
/// Where the body of a block begins.
const BODY: usize = 8;
/// Bytes before those of a packet of a pcap file.
const PCAP_PACKET: usize = 16;
/// Link type of Ethernet.
const ETHERNET: u32 = 1;

/// Most bytes of a pcapng block that is accepted.
pub(super) const MAX_BLOCK: usize = 16 << 20;
/// Most interfaces of a section, and most bytes of their descriptions.
const MAX_INTERFACES: usize = 65_536;
const MAX_DESCRIPTIONS: usize = 16 << 20;

impl Frames {
    fn add(&mut self, bytes: &[u8], original_len: u32) {
        if is_cut_short(bytes.len(), original_len) {
            self.cut_short += 1;
        }
        self.frames.push(bytes.to_vec());
    }
}

/// Whether the capturing tool left bytes of a frame out.
pub(super) fn is_cut_short(len: usize, original_len: u32) -> bool {
    u32::try_from(len).is_ok_and(|len| len < original_len)
}

/// Reads a capture file that is whole in memory.
pub(super) fn parse(bytes: &[u8]) -> Result<Frames, FileError> {
    let (mut at, mut decoder) = Decoder::new(bytes)?;
    let mut frames = Frames::default();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match decoder.step(rest)? {
            Step::Incomplete(_) => return Err(decoder.truncated()),
            Step::Passed { end } => at += end,
            Step::Packet { end, packet } => {
                frames.add(&rest[packet.bytes], packet.original_len);
                at += end;
            }
        }
    }
    Ok(frames)
}

/// A capture file, decoded piece by piece. Whoever has its bytes asks for one step after the other.
#[derive(Debug)]
pub(super) struct Decoder {
    format: Format,
    /// Number of the next frame, from 1.
    frame: usize,
}

enum Format {
    Pcap(PcapParser),
    PcapNg {
        parser: PcapNgParser,
        /// What the parser keeps of them is bounded.
        interfaces: Vec<Interface>,
        described: usize,
    },
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Format {
    const fn name(&self) -> &'static str {
        match self {
            Self::Pcap(_) => "pcap",
            Self::PcapNg { .. } => "pcapng",
        }
    }
}

/// What the decoder needs of an interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: u32,
    snap_len: u32,
    clock: Clock,
}

/// What was found at the start of some bytes.
#[derive(Debug)]
pub(super) enum Step {
    /// So many bytes are needed to tell.
    Incomplete(usize),
    /// Nothing of interest, which ends here.
    Passed { end: usize },
    /// A packet, whose block ends here.
    Packet { end: usize, packet: Packet },
}

/// What a packet says. Its options are not looked at, so their errors do not matter.
#[derive(Debug)]
pub(super) struct Packet {
    /// Nanoseconds since 1970, if it has a time.
    pub(super) time: Option<u64>,
    /// Length before the capturing tool cut it.
    pub(super) original_len: u32,
    /// Where its bytes are, in those that the step was given.
    pub(super) bytes: Range<usize>,
}

impl Decoder {
    /// Whether these are the first bytes of a capture file.
    pub(super) const fn knows(bytes: [u8; 4]) -> bool {
        matches!(
            bytes,
            SECTION_HEADER
                | [0xa1, 0xb2, 0xc3, 0xd4]
                | [0xd4, 0xc3, 0xb2, 0xa1]
                | [0xa1, 0xb2, 0x3c, 0x4d]
                | [0x4d, 0x3c, 0xb2, 0xa1]
        )
    }

    /// Reads the header of a file; also, where it ends.
    pub(super) fn new(bytes: &[u8]) -> Result<(usize, Self), FileError> {
        let (rest, format) = if bytes.starts_with(&SECTION_HEADER) {
            let kind = "pcapng";
            let (rest, parser) =
                PcapNgParser::new(bytes).map_err(|source| FileError::Header { kind, source })?;
            let format = Format::PcapNg {
                parser,
                interfaces: Vec::new(),
                described: 0,
            };
            (rest, format)
        } else {
            let kind = "pcap";
            let (rest, parser) =
                PcapParser::new(bytes).map_err(|source| FileError::Header { kind, source })?;
            (rest, Format::Pcap(parser))
        };
        Ok((bytes.len() - rest.len(), Self { format, frame: 1 }))
    }

    /// That the file ends where a step needs more.
    pub(super) fn truncated(&self) -> FileError {
        FileError::Truncated {
            kind: self.format.name(),
            frame: self.frame,
        }
    }

    /// That a step needs more than is ever read at once.
    pub(super) fn too_long(&self, len: usize) -> FileError {
        FileError::FrameLength {
            frame: self.frame,
            len,
        }
    }

    /// Looks at what follows the last step.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, FileError> {
        let frame = self.frame;
        let kind = self.format.name();
        let step = match &mut self.format {
            Format::Pcap(parser) => pcap_step(parser, bytes, frame),
            Format::PcapNg {
                parser,
                interfaces,
                described,
            } => pcapng_step(parser, interfaces, described, bytes, frame),
        };
        let step = step.map_err(|fault| match fault {
            Fault::File(error) => error,
            Fault::Broken(source) => FileError::Broken {
                kind,
                frame,
                source,
            },
        })?;
        if let Step::Packet { packet, .. } = &step {
            check_length(frame, packet.bytes.len())?;
            self.frame = frame.saturating_add(1);
        }
        Ok(step)
    }
}

/// What is wrong with a step.
enum Fault {
    File(FileError),
    Broken(PcapError),
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

fn broken(what: &'static str) -> Fault {
    Fault::Broken(PcapError::InvalidField(what))
}

/// A block that is there as a whole and still not long enough is broken.
fn unreadable(error: PcapError) -> Fault {
    match error {
        PcapError::IncompleteBuffer => broken("packet block shorter than its content"),
        error => Fault::Broken(error),
    }
}

fn pcap_step(parser: &PcapParser, bytes: &[u8], frame: usize) -> Result<Step, Fault> {
    let header = parser.header();
    let Some(captured) = word(bytes, 8, header.endianness) else {
        return Ok(Step::Incomplete(PCAP_PACKET));
    };
    // The upper half may tell the length of an FCS.
    check_link_type(frame, u32::from(header.datalink) & 0xffff)?;
    let captured = usize::try_from(captured).unwrap_or(usize::MAX);
    let end = PCAP_PACKET.saturating_add(captured);
    if bytes.len() < end {
        return Ok(Step::Incomplete(end));
    }
    let (_, packet) = parser.next_raw_packet(bytes).map_err(unreadable)?;
    let nanos = match header.ts_resolution {
        TsResolution::MicroSecond => 1_000,
        TsResolution::NanoSecond => 1,
    };
    let time = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * nanos;
    let packet = Packet {
        time: Some(time),
        original_len: packet.orig_len,
        bytes: PCAP_PACKET..end,
    };
    Ok(Step::Packet { end, packet })
}

fn pcapng_step(
    parser: &mut PcapNgParser,
    interfaces: &mut Vec<Interface>,
    described: &mut usize,
    bytes: &[u8],
    frame: usize,
) -> Result<Step, Fault> {
    let Some(order) = bytes.get(8..12) else {
        return Ok(Step::Incomplete(12));
    };
    let is_section = bytes.starts_with(&SECTION_HEADER);
    let endianness = match order {
        [0x1a, 0x2b, 0x3c, 0x4d] if is_section => Endianness::Big,
        _ if is_section => Endianness::Little,
        _ => parser.section().endianness,
    };
    let len = word(bytes, 4, endianness).unwrap_or(0);
    let end = usize::try_from(len).unwrap_or(usize::MAX);
    if end > MAX_BLOCK {
        return Err(broken("block of more than 16 MiB"));
    }
    // A shorter one than any is refused by the parser.
    let Some(block) = bytes.get(..end.max(12)) else {
        return Ok(Step::Incomplete(end.max(12)));
    };
    let (_, raw) = parser.next_raw_block(block).map_err(unreadable)?;
    let found = match raw.type_ {
        SECTION_HEADER_BLOCK => {
            interfaces.clear();
            *described = 0;
            return Ok(Step::Passed { end });
        }
        INTERFACE_DESCRIPTION_BLOCK => {
            interfaces.extend(parser.interfaces().last().map(Interface::of));
            *described = described.saturating_add(end);
            if interfaces.len() > MAX_INTERFACES || *described > MAX_DESCRIPTIONS {
                return Err(broken("more interfaces than any machine has"));
            }
            return Ok(Step::Passed { end });
        }
        ENHANCED_PACKET_BLOCK => enhanced(&raw.body, endianness),
        PACKET_BLOCK => obsolete(&raw.body, endianness),
        SIMPLE_PACKET_BLOCK => {
            let snap_len = interfaces.first().map_or(0, |first| first.snap_len);
            simple(&raw.body, endianness, snap_len)
        }
        _ => return Ok(Step::Passed { end }),
    };
    let found = found.ok_or_else(|| broken("packet block shorter than its content"))?;
    let interface = usize::try_from(found.interface)
        .ok()
        .and_then(|index| interfaces.get(index))
        .ok_or(FileError::Interface {
            frame,
            interface: found.interface,
        })?;
    check_link_type(frame, interface.link_type)?;
    let packet = Packet {
        time: found.ticks.map(|ticks| interface.clock.nanos(ticks)),
        original_len: found.original_len,
        bytes: BODY + found.bytes.start..BODY + found.bytes.end,
    };
    Ok(Step::Packet { end, packet })
}

impl Interface {
    fn of(block: &InterfaceDescriptionBlock<'_>) -> Self {
        let mut clock = Clock::default();
        for option in &block.options {
            match option {
                InterfaceDescriptionOption::IfTsResol(resolution) => clock.resolution = *resolution,
                InterfaceDescriptionOption::IfTsOffset(offset) => {
                    clock.offset = offset.cast_signed();
                }
                _ => {}
            }
        }
        Self {
            link_type: u32::from(block.linktype),
            snap_len: block.snaplen,
            clock,
        }
    }
}

/// How an interface counts time: `if_tsresol` and `if_tsoffset`.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// A tick is 10 to the minus this, or with bit 7 set 2 to the minus the rest, of a second.
    resolution: u8,
    /// Seconds to be added.
    offset: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            resolution: 6,
            offset: 0,
        }
    }
}

impl Clock {
    /// Nanoseconds since 1970; what is before that or after 2554 is moved to the nearer end.
    fn nanos(self, ticks: u64) -> u64 {
        const SECOND: u128 = 1_000_000_000;
        let ticks = u128::from(ticks);
        let exponent = u32::from(self.resolution & 0x7f);
        let nanos = if self.resolution & 0x80 != 0 {
            (ticks * SECOND) >> exponent
        } else if exponent <= 9 {
            ticks * 10_u128.pow(9 - exponent)
        } else {
            let divisor = 10_u128.checked_pow(exponent - 9);
            divisor.map_or(0, |divisor| ticks / divisor)
        };
        let offset = u128::from(self.offset.unsigned_abs()) * SECOND;
        let nanos = if self.offset < 0 {
            nanos.saturating_sub(offset)
        } else {
            nanos + offset
        };
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

fn check_link_type(frame: usize, link_type: u32) -> Result<(), FileError> {
    if link_type != ETHERNET {
        return Err(FileError::LinkType { frame, link_type });
    }
    Ok(())
}

/// What a packet block says; the place of its bytes is that in the body.
struct Found {
    interface: u32,
    ticks: Option<u64>,
    original_len: u32,
    bytes: Range<usize>,
}

/// So many bytes from `start`, if the body has them.
fn within(body: &[u8], start: usize, len: u32) -> Option<Range<usize>> {
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= body.len()).then_some(start..end)
}

/// Enhanced Packet Block: interface, two words of time, captured and original length, bytes.
fn enhanced(body: &[u8], endianness: Endianness) -> Option<Found> {
    let high = u64::from(word(body, 4, endianness)?);
    let low = u64::from(word(body, 8, endianness)?);
    Some(Found {
        interface: word(body, 0, endianness)?,
        ticks: Some(high << 32 | low),
        original_len: word(body, 16, endianness)?,
        bytes: within(body, 20, word(body, 12, endianness)?)?,
    })
}

/// Packet Block: as an enhanced one, but with 16 bits of interface and 16 of a drop count first.
fn obsolete(body: &[u8], endianness: Endianness) -> Option<Found> {
    let first: [u8; 2] = *body.first_chunk()?;
    let interface = match endianness {
        Endianness::Big => u16::from_be_bytes(first),
        Endianness::Little => u16::from_le_bytes(first),
    };
    Some(Found {
        interface: interface.into(),
        ..enhanced(body, endianness)?
    })
}

/// Simple Packet Block: original length, then as many bytes as that and the snap length allow. It has no time.
fn simple(body: &[u8], endianness: Endianness, snap_len: u32) -> Option<Found> {
    let original_len = word(body, 0, endianness)?;
    let captured = match snap_len {
        0 => original_len,
        limit => original_len.min(limit),
    };
    Some(Found {
        interface: 0,
        ticks: None,
        original_len,
        bytes: within(body, 4, captured)?,
    })
}

fn word(body: &[u8], at: usize, endianness: Endianness) -> Option<u32> {
    let bytes = *body.get(at..)?.first_chunk()?;
    Some(match endianness {
        Endianness::Big => u32::from_be_bytes(bytes),
        Endianness::Little => u32::from_le_bytes(bytes),
    })
}
