//! Writing pcapng.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    time::Duration,
};

use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use crate::Direction;

/// 10⁻⁹ s, as `if_tsresol` says it.
const NANOSECONDS: u8 = 9;
/// 10 Gbit/s.
const SPEED: u64 = 10_000_000_000;

/// What is known of a packet in a pcapng file besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Number of its interface, from 0 in the order in which they were named.
    pub interface: u32,
    /// Which way it went; it stands in `epb_flags`: outbound is what the port sent, inbound what came to it.
    pub direction: Direction,
    /// When it was seen, since 1970.
    pub time: Duration,
    /// How long it was.
    pub original_len: usize,
    /// Queue that it went to or came from (`epb_queue`).
    pub queue: Option<u32>,
    /// RSS hash (`epb_hash`, Toeplitz).
    pub hash: Option<u32>,
    /// What else is to be said of it (`opt_comment`).
    pub comment: Option<&'a str>,
}

/// Type of an enhanced packet block, codes of its options, and the algorithm of `epb_hash` (pcapng, 4.3).
const ENHANCED_PACKET: u32 = 6;
const END: u16 = 0;
const COMMENT: u16 = 1;
const FLAGS: u16 = 2;
const HASH: u16 = 3;
const QUEUE: u16 = 6;
const TOEPLITZ: u8 = 5;

/// Adds bytes and, up to a multiple of 4, zeros.
fn pad(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(bytes);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Adds an option; one that is too long for its length field is left out.
fn option(to: &mut Vec<u8>, code: u16, value: &[u8]) {
    let Ok(len) = u16::try_from(value.len()) else {
        return;
    };
    to.extend(code.to_le_bytes());
    to.extend(len.to_le_bytes());
    pad(to, value);
}

/// A pcapng file of Ethernet interfaces, with times in nanoseconds.
///
/// Packets are encoded here: the crate that encodes the rest has no way to write `epb_queue`.
pub struct PcapNg<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: u32,
}

impl<W: Write> fmt::Debug for PcapNg<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcapNg").finish_non_exhaustive()
    }
}

impl<W: Write> PcapNg<W> {
    /// Starts a file: its section and interface, of this name.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn new(to: W, interface: &str) -> io::Result<Self> {
        Self::with_interfaces(to, &[interface])
    }

    /// Starts a file of several interfaces of these names.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn with_interfaces(to: W, names: &[&str]) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(
                concat!("vfio-user-ixgbe ", env!("CARGO_PKG_VERSION")),
            ))],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(to, section).map_err(io_error)?;
        let mut interfaces = 0;
        for name in names {
            let interface = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(*name)),
                    InterfaceDescriptionOption::IfSpeed(SPEED),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            writer
                .write_pcapng_block(interface.into_owned())
                .map_err(io_error)?;
            interfaces += 1;
        }
        Ok(Self { writer, interfaces })
    }

    /// Adds a frame of originally `original_len` bytes to the first interface, seen at `time` since 1970.
    ///
    /// # Errors
    /// Those of the writer, and a frame of 4 GiB or more.
    pub fn frame(
        &mut self,
        direction: Direction,
        time: Duration,
        bytes: &[u8],
        original_len: usize,
    ) -> io::Result<()> {
        let packet = Packet {
            interface: 0,
            direction,
            time,
            original_len,
            queue: None,
            hash: None,
            comment: None,
        };
        self.packet(&packet, bytes)
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// Those of the writer, an interface that the file does not have, and a frame of 4 GiB or more.
    pub fn packet(&mut self, packet: &Packet<'_>, bytes: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let time = u64::try_from(packet.time.as_nanos()).unwrap_or(u64::MAX);
        let [a, b, c, d, e, f, g, h] = time.to_be_bytes();
        let mut body = Vec::with_capacity(bytes.len() + 64);
        let mut number = |number: u32| body.extend(number.to_le_bytes());
        number(packet.interface);
        number(u32::from_be_bytes([a, b, c, d]));
        number(u32::from_be_bytes([e, f, g, h]));
        number(u32::try_from(bytes.len()).map_err(too_long)?);
        number(u32::try_from(packet.original_len).map_err(too_long)?);
        pad(&mut body, bytes);
        let flags: u32 = match packet.direction {
            Direction::Receive => 1,
            Direction::Transmit => 2,
        };
        option(&mut body, FLAGS, &flags.to_le_bytes());
        if let Some(hash) = packet.hash {
            let [a, b, c, d] = hash.to_le_bytes();
            option(&mut body, HASH, &[TOEPLITZ, a, b, c, d]);
        }
        if let Some(queue) = packet.queue {
            option(&mut body, QUEUE, &queue.to_le_bytes());
        }
        if let Some(comment) = packet.comment {
            option(&mut body, COMMENT, comment.as_bytes());
        }
        option(&mut body, END, &[]);
        let len = u32::try_from(12 + body.len())
            .map_err(too_long)?
            .to_le_bytes();
        let to = self.writer.get_mut();
        to.write_all(&ENHANCED_PACKET.to_le_bytes())?;
        to.write_all(&len)?;
        to.write_all(&body)?;
        to.write_all(&len)
    }

    /// Ends the file with the number of frames that it should have and does not, and gives the writer back, flushed.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(self, time: Duration, lost: u64) -> io::Result<W> {
        self.finish_all(time, &[lost])
    }

    /// The same with a number for each interface.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish_all(mut self, time: Duration, lost: &[u64]) -> io::Result<W> {
        for (interface_id, lost) in (0..self.interfaces).zip(lost) {
            let statistics = InterfaceStatisticsBlock {
                interface_id,
                timestamp: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
                options: vec![InterfaceStatisticsOption::IsbIfDrop(*lost)],
            };
            self.writer
                .write_pcapng_block(statistics)
                .map_err(io_error)?;
        }
        let mut to = self.writer.into_inner();
        to.flush()?;
        Ok(to)
    }

    /// Writes out what is buffered, so that another program can read what there is.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
