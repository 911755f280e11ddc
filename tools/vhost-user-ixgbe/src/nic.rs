//! The card as the stack sets it up, and its queue pairs.

use ixgbe_spec::register::{Reg, bits::psrtype};
use nic_driver::{Buffers, Config, Device, Driver, DriverError, Rss};

use crate::{
    memory::OWN_IOVA, negotiated::Switch, own::Own, receive::Receive, stack::Settings,
    transmit::Transmit,
};

/// Descriptors of each of the card's rings.
const DESCRIPTORS: usize = 1024;
/// Bytes of a transmit buffer of ours: headers of a packet that the card segments.
const HEADERS: usize = 256;
/// What the longest frame has beside the MTU: MAC header and one VLAN tag.
pub(crate) const AROUND_MTU: usize = 18;
/// What MAXFRS counts beside the MTU. A VLAN tag is let through beyond it (8.2.3.22.13).
const MAC_HEADER_AND_FCS: u16 = 18;
/// Most that one interrupt per vector comes apart, in microseconds.
const MODERATION: u16 = 20;
/// Where our receive buffers are: behind the windows of the rings.
const BUFFERS_IOVA: u64 = OWN_IOVA + (1 << 36);
const BUFFERS_STEP: u64 = 1 << 28;
/// RSS by addresses and ports of TCP, and by addresses of everything else that is IP (8.2.3.7.12).
const RSS_FIELDS: u16 = 0b11_0011;
/// Headers are split off behind TCP and UDP.
pub(crate) const SPLIT_L4: u32 = psrtype::TCP | psrtype::UDP;
/// And of other packets, fragments for one, behind IP.
pub(crate) const SPLIT_L3: u32 = SPLIT_L4 | psrtype::IPV4 | psrtype::IPV6;
/// Microsoft's key, as drivers have it.
const RSS_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// One queue pair: two rings of the guest, two of the card.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) rx: Receive,
    pub(crate) tx: Transmit,
    pub(crate) rx_runs: bool,
    pub(crate) tx_runs: bool,
}

/// The card and the halves of the queue pairs.
#[derive(Debug)]
pub(crate) struct Nic<D> {
    pub(crate) driver: Driver<D>,
    /// Bytes of a receive buffer that takes a whole frame.
    pub(crate) buffer: usize,
    pub(crate) pairs: Vec<Pair>,
}

impl<D: Device> Nic<D> {
    /// Resets a card and brings it up, with rings that do not run and vectors that are masked.
    ///
    /// # Errors
    /// It is not fit, or could not be reached.
    pub(crate) fn new(device: D, settings: &Settings) -> Result<Self, DriverError> {
        let max_frame = settings.mtu.saturating_add(MAC_HEADER_AND_FCS);
        let buffer = (usize::from(settings.mtu) + AROUND_MTU).next_multiple_of(1024);
        let rss = (settings.pairs > 1).then_some(Rss {
            key: RSS_KEY,
            fields: RSS_FIELDS,
        });
        let config = Config {
            rx_queues: settings.pairs,
            tx_queues: settings.pairs,
            ring_len: DESCRIPTORS,
            rx_buffer: buffer,
            tx_buffer: HEADERS,
            max_frame,
            drop_en: rss.is_some(),
            rss,
            // A back-end is not told the guest's addresses.
            promiscuous: true,
            interrupts: Some(MODERATION),
            rx_buffers: Buffers::Foreign,
            header_split: (settings.packet_split == Switch::On).then_some(SPLIT_L4),
            first_iova: OWN_IOVA,
            ..Config::default()
        };
        let mut driver = Driver::new(device, &config)?;
        let mut iova = BUFFERS_IOVA;
        let mut pairs = Vec::new();
        for _ in 0..settings.pairs {
            let own = Own::new(
                driver.device(),
                iova,
                settings.packet_split,
                (DESCRIPTORS, buffer),
            )?;
            iova += BUFFERS_STEP;
            pairs.push(Pair {
                rx: Receive::new(settings.rx, DESCRIPTORS, own),
                tx: Transmit::default(),
                rx_runs: false,
                tx_runs: false,
            });
        }
        let mut nic = Self {
            driver,
            buffer,
            pairs,
        };
        nic.interrupts(Reg::EIMC_EX)?;
        Ok(nic)
    }

    /// Masks or unmasks the vectors of all queue pairs.
    ///
    /// # Errors
    /// The card could not be reached.
    pub(crate) fn interrupts(&mut self, register: Reg) -> Result<(), DriverError> {
        let vectors = (1_u32 << self.pairs.len()) - 1;
        self.driver.set_register(register, 0, vectors)
    }
}
