//! How a driver wants its card.

use crate::DriverError;

/// Where the driver's memory lies in the card's address space.
const FIRST_IOVA: u64 = 0x1_0000_0000;

/// Receive side scaling (7.1.2.8).
#[derive(Clone, Debug)]
pub struct Rss {
    /// The 40 bytes of RSSRK.
    pub key: [u8; 40],
    /// MRQC bits 31:16: the packet types that are hashed.
    pub fields: u16,
}

/// How the card is to be set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Receive queues, 1 to 16.
    pub rx_queues: usize,
    /// Transmit queues, 1 to 64.
    pub tx_queues: usize,
    /// Descriptors in each ring, a multiple of 8.
    pub ring_len: usize,
    /// Bytes of a receive buffer, a multiple of 1024 up to 16 KiB.
    pub rx_buffer: usize,
    /// Bytes of a transmit buffer, up to 16 KiB.
    pub tx_buffer: usize,
    /// Longest frame with FCS, without VLAN tag. More than 1518 turns on jumbo frames.
    pub max_frame: u16,
    /// Spread packets over the receive queues; needed for more than one.
    pub rss: Option<Rss>,
    /// Remove VLAN tags.
    pub vlan_strip: bool,
    /// Tags that pass; `None` for all.
    pub vlan_filter: Option<Vec<u16>>,
    /// Take frames for any address.
    pub promiscuous: bool,
    /// Multicast addresses whose frames are wanted. The card's filter is a hash: a few others pass, too.
    pub multicast: Vec<[u8; 6]>,
    /// Drop packets for which a ring has no descriptor instead of keeping them in the packet buffer.
    pub drop_en: bool,
    /// Interrupts: vector 0 for queue pair 0, and so on; moderated to at most one in this many microseconds.
    pub interrupts: Option<u16>,
    /// Coalesce the segments of TCP connections. Needs interrupts that are moderated, since their interval ends it.
    pub large_receive: bool,
    /// Whose the receive buffers are.
    pub rx_buffers: Buffers,
    /// Split off the headers of all packets, after the last one of which PSRTYPE has the bit (7.1.10). A buffer for them
    /// has [`HEADER_BUFFER`] bytes, and packets without such a header fill it. For foreign buffers only.
    pub header_split: Option<u32>,
    /// Where the card sees the memory of the first ring; the others follow in steps of 256 MiB. 4 GiB if not chosen.
    pub first_iova: u64,
}

/// Bytes of a header buffer (SRRCTL.BSIZEHEADER), and what a large receive needs for its headers.
pub const HEADER_BUFFER: usize = 256;

/// Whose buffers the receive rings have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buffers {
    /// The driver's: the rings are [`crate::RxRing`]s.
    #[default]
    Own,
    /// Somebody else's, who posts them by address: the rings are [`crate::PostRing`]s and begin stopped.
    Foreign,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            ring_len: 64,
            rx_buffer: 2048,
            tx_buffer: 2048,
            max_frame: 1518,
            rss: None,
            vlan_strip: false,
            vlan_filter: None,
            promiscuous: false,
            multicast: Vec::new(),
            drop_en: false,
            interrupts: None,
            large_receive: false,
            rx_buffers: Buffers::Own,
            header_split: None,
            first_iova: FIRST_IOVA,
        }
    }
}

/// Whether a card can be set up like that.
///
/// # Errors
/// [`DriverError::Config`] with the reason.
pub(crate) fn check(config: &Config) -> Result<(), DriverError> {
    let wrong = if !(1..=16).contains(&config.rx_queues) {
        "1 to 16 receive queues"
    } else if !(1..=64).contains(&config.tx_queues) {
        "1 to 64 transmit queues"
    } else if config.ring_len == 0 || !config.ring_len.is_multiple_of(8) || config.ring_len > 4096 {
        "a ring has a multiple of 8 descriptors, at most 4096"
    } else if !config.rx_buffer.is_multiple_of(1024) || !(1024..=16384).contains(&config.rx_buffer)
    {
        "a receive buffer has 1 to 16 KiB"
    } else if !(1..=16384).contains(&config.tx_buffer) {
        "a transmit buffer has at most 16 KiB"
    } else if config.rx_queues > 1 && config.rss.is_none() {
        "several receive queues need RSS"
    } else if config.header_split.is_some() && config.rx_buffers == Buffers::Own {
        "headers are split off where the buffers are foreign"
    } else if config.large_receive && matches!(config.interrupts, None | Some(0)) {
        "large receives need moderated interrupts"
    } else {
        return Ok(());
    };
    Err(DriverError::Config(wrong))
}
