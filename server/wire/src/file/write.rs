//! Writing pcapng.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    time::Duration,
};

use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgBlock, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
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

/// A pcapng file with one Ethernet interface, times in nanoseconds, and the direction of each frame in its
/// `epb_flags`: outbound is what the port sent, inbound what came to it.
pub struct PcapNg<W: Write> {
    writer: PcapNgWriter<W>,
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
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(
                concat!("vfio-user-ixgbe ", env!("CARGO_PKG_VERSION")),
            ))],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(to, section).map_err(io_error)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(interface)),
                InterfaceDescriptionOption::IfSpeed(SPEED),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        writer
            .write_pcapng_block(interface.into_owned())
            .map_err(io_error)?;
        Ok(Self { writer })
    }

    /// Adds a frame of originally `original_len` bytes, seen at `time` since 1970.
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
        let flags = match direction {
            Direction::Receive => 1,
            Direction::Transmit => 2,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: time,
            original_len: u32::try_from(original_len)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
            data: Cow::Borrowed(bytes),
            options: vec![EnhancedPacketOption::Flags(flags)],
        };
        self.writer
            .write_block(&block.into_block())
            .map_err(io_error)?;
        Ok(())
    }

    /// Ends the file with the number of frames that it should have and does not, and gives the writer back, flushed.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self, time: Duration, lost: u64) -> io::Result<W> {
        let statistics = InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            options: vec![InterfaceStatisticsOption::IsbIfDrop(lost)],
        };
        self.writer
            .write_pcapng_block(statistics)
            .map_err(io_error)?;
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
