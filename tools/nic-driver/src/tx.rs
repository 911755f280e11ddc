//! Transmit rings (7.2.3), advanced descriptors.

use ixgbe_spec::{
    descriptor::{
        self,
        tx::{Context, ContextHigh, ContextLow, Data, DataControl, Descriptor, L4Type},
    },
    register::Reg,
};

use crate::{Device, DmaMemory, DriverError};

/// L4 protocol whose checksum the card is to insert.
pub type L4 = L4Type;

/// A frame to send, and what the card is to do with it.
///
/// For an L4 checksum the field in the frame holds the folded pseudo-header sum: with the L4 length, or for TSO
/// without it (7.2.4).
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet<'a> {
    /// The frame without FCS.
    pub bytes: &'a [u8],
    /// Tag to insert.
    pub vlan: Option<u16>,
    /// Insert the IPv4 header checksum.
    pub ip_checksum: bool,
    /// The IP header is IPv4.
    pub ipv4: bool,
    /// Insert this protocol's checksum.
    pub l4: Option<L4>,
    /// Segment into this many payload bytes a frame.
    pub mss: Option<u16>,
    /// Length of the MAC header, for offloads.
    pub mac_len: u8,
    /// Length of the IP header, for offloads.
    pub ip_len: u16,
    /// Length of the L4 header, for TSO.
    pub l4_len: u8,
    /// Take the time stamp of the packet (MAC.1588).
    pub timestamp: bool,
    /// Protect the packet, which has its IPsec headers and room for its check value.
    pub ipsec: Option<IpSec>,
}

/// IPsec that the card is to apply (7.12.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpSec {
    /// Entry of the SA table.
    pub sa: u16,
    /// The packet has ESP, otherwise AH.
    pub esp: bool,
    /// Encrypt the payload of ESP.
    pub encrypt: bool,
    /// Bytes of the ESP trailer, from the padding to the check value; nothing with TSO.
    pub trailer_len: u16,
}

impl<'a> Packet<'a> {
    /// A frame that leaves as it is.
    #[must_use]
    pub fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn needs_context(&self) -> bool {
        self.vlan.is_some()
            || self.ip_checksum
            || self.l4.is_some()
            || self.mss.is_some()
            || self.ipsec.is_some()
    }

    fn context(&self) -> Context {
        let ipsec = self.ipsec;
        Context {
            low: ContextLow::new()
                .with_iplen(self.ip_len)
                .with_maclen(self.mac_len)
                .with_vlan(self.vlan.unwrap_or(0))
                .with_ipsec_sa_index(ipsec.map_or(0, |ipsec| ipsec.sa)),
            high: ContextHigh::new()
                .with_ipv4(self.ipv4)
                .with_l4t(self.l4.unwrap_or_default())
                .with_l4len(self.l4_len)
                .with_mss(self.mss.unwrap_or(0))
                .with_ipsec_esp(ipsec.is_some_and(|ipsec| ipsec.esp))
                .with_ipsec_encrypt(ipsec.is_some_and(|ipsec| ipsec.encrypt))
                .with_ipsec_esp_len(ipsec.map_or(0, |ipsec| ipsec.trailer_len)),
        }
    }

    fn control(&self) -> DataControl {
        let headers = match self.mss {
            Some(_) => {
                usize::from(self.mac_len) + usize::from(self.ip_len) + usize::from(self.l4_len)
            }
            None => 0,
        };
        let paylen = u32::try_from(self.bytes.len().saturating_sub(headers)).unwrap_or(u32::MAX);
        DataControl::new()
            .with_ifcs(true)
            .with_timestamp(self.timestamp)
            .with_vle(self.vlan.is_some())
            .with_tse(self.mss.is_some())
            .with_cc(self.needs_context())
            .with_ixsm(self.ip_checksum)
            .with_txsm(self.l4.is_some())
            .with_ipsec(self.ipsec.is_some())
            .with_paylen(paylen.min((1 << 18) - 1))
    }
}

/// A part of a packet that lies where the card reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its address as the card sees it.
    pub address: u64,
    /// Its bytes; not 0.
    pub len: u16,
}

/// A transmit ring with its buffers.
#[derive(Debug)]
pub struct TxRing {
    queue: usize,
    memory: DmaMemory,
    len: usize,
    buffer_len: usize,
    /// Oldest descriptor that is not known to be done.
    clean: usize,
    tail: usize,
    /// Index of the last descriptor of each packet under way, oldest first.
    pending: std::collections::VecDeque<usize>,
}

impl TxRing {
    /// Bytes of memory that a ring takes.
    pub(crate) fn bytes(len: usize, buffer_len: usize) -> usize {
        len * (descriptor::SIZE + buffer_len)
    }

    pub(crate) fn new(queue: usize, memory: DmaMemory, len: usize, buffer_len: usize) -> Self {
        Self {
            queue,
            memory,
            len,
            buffer_len,
            clean: 0,
            tail: 0,
            pending: std::collections::VecDeque::new(),
        }
    }

    /// The ring's memory: descriptors first, then the buffers.
    #[must_use]
    pub fn memory(&self) -> &DmaMemory {
        &self.memory
    }

    /// Offset of buffer `index` in the ring's memory.
    #[must_use]
    pub fn buffer_offset(&self, index: usize) -> usize {
        self.len * descriptor::SIZE + index * self.buffer_len
    }

    /// Number of descriptors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no packet is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Puts a packet into the ring and rings the doorbell.
    ///
    /// # Errors
    /// [`DriverError::RingFull`] if the card has to complete others first; or the card could not be reached.
    pub fn send(
        &mut self,
        device: &mut dyn Device,
        packet: &Packet<'_>,
    ) -> Result<(), DriverError> {
        self.put(packet)?;
        self.ring_doorbell(device)
    }

    /// Puts a packet into the ring without telling the card.
    ///
    /// # Errors
    /// [`DriverError::RingFull`].
    pub fn put(&mut self, packet: &Packet<'_>) -> Result<(), DriverError> {
        let pieces = packet.bytes.len().div_ceil(self.buffer_len).max(1);
        let needed = pieces + usize::from(packet.needs_context());
        if needed > self.free() {
            return Err(DriverError::RingFull);
        }
        if packet.needs_context() {
            self.write(packet.context().into());
        }
        let control = packet.control();
        let mut left = packet.bytes;
        loop {
            let (piece, rest) = left.split_at(left.len().min(self.buffer_len));
            let offset = self.buffer_offset(self.tail);
            self.memory.put(offset, piece);
            let dtalen = u16::try_from(piece.len())
                .map_err(|_| DriverError::Config("a buffer of more than 65535 bytes"))?;
            let last = rest.is_empty();
            if last {
                self.pending.push_back(self.tail);
            }
            self.write(
                Data {
                    address: self.memory.iova(offset),
                    control: control.with_dtalen(dtalen).with_eop(last).with_rs(last),
                }
                .into(),
            );
            if last {
                return Ok(());
            }
            left = rest;
        }
    }

    /// Puts a packet into the ring without telling the card: `packet.bytes` first, which may be nothing or the headers,
    /// copied to a buffer of the ring; then the pieces, which the card reads where they lie. They have to stay there until
    /// the packet is reported by [`TxRing::reclaim`].
    ///
    /// # Errors
    /// [`DriverError::RingFull`]; or [`DriverError::Config`], if there are no bytes at all, or more of them at the
    /// beginning than a buffer has.
    pub fn put_pieces(&mut self, packet: &Packet<'_>, pieces: &[Piece]) -> Result<(), DriverError> {
        let first = usize::from(!packet.bytes.is_empty());
        let descriptors = first + pieces.len();
        if descriptors == 0 || packet.bytes.len() > self.buffer_len {
            return Err(DriverError::Config("a packet of no bytes, or long headers"));
        }
        if descriptors + usize::from(packet.needs_context()) > self.free() {
            return Err(DriverError::RingFull);
        }
        let headers = match packet.mss {
            Some(_) => {
                u32::from(packet.mac_len) + u32::from(packet.ip_len) + u32::from(packet.l4_len)
            }
            None => 0,
        };
        let bytes = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
        let bytes = pieces
            .iter()
            .fold(bytes, |sum, piece| sum.saturating_add(piece.len.into()));
        let payload = bytes.saturating_sub(headers).min((1 << 18) - 1);
        let control = packet.control().with_paylen(payload);
        if packet.needs_context() {
            self.write(packet.context().into());
        }
        let own = (first == 1).then(|| {
            let offset = self.buffer_offset(self.tail);
            self.memory.put(offset, packet.bytes);
            Piece {
                address: self.memory.iova(offset),
                len: u16::try_from(packet.bytes.len()).unwrap_or(u16::MAX),
            }
        });
        for (index, piece) in own.iter().chain(pieces).enumerate() {
            let last = index + 1 == descriptors;
            if last {
                self.pending.push_back(self.tail);
            }
            let control = control.with_dtalen(piece.len).with_eop(last).with_rs(last);
            let address = piece.address;
            self.write(Data { address, control }.into());
        }
        Ok(())
    }

    /// Forgets what is in the ring, which the card has been made to do as well.
    pub(crate) fn forget(&mut self) {
        self.clean = 0;
        self.tail = 0;
        self.pending.clear();
    }

    /// Puts up to `limit` plain frames into the ring, as far as there is room, and rings the doorbell once. `fill` writes
    /// each into its buffer and says how long it is. The card reports every 32nd and the last of them only, so
    /// [`TxRing::reclaim`] counts reports, not frames. Returns how many frames there were.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn burst(
        &mut self,
        device: &mut dyn Device,
        limit: usize,
        mut fill: impl FnMut(&DmaMemory, usize) -> u16,
    ) -> Result<usize, DriverError> {
        const REPORT_EVERY: usize = 32;
        let count = limit.min(self.free());
        if count == 0 {
            return Ok(0);
        }
        for nth in 1..=count {
            let offset = self.buffer_offset(self.tail);
            let len = fill(&self.memory, offset);
            let report = nth.is_multiple_of(REPORT_EVERY) || nth == count;
            if report {
                self.pending.push_back(self.tail);
            }
            let control = DataControl::new()
                .with_ifcs(true)
                .with_eop(true)
                .with_rs(report)
                .with_dtalen(len)
                .with_paylen(len.into());
            let address = self.memory.iova(offset);
            self.write(Data { address, control }.into());
        }
        self.ring_doorbell(device)?;
        Ok(count)
    }

    /// Writes any descriptor at the tail and moves the tail on, without telling the card.
    pub fn write(&mut self, descriptor: Descriptor) {
        let offset = self.tail * descriptor::SIZE;
        self.memory.store(offset, descriptor.low.get());
        self.memory.store(offset + 8, descriptor.high.get());
        self.tail = if self.tail + 1 == self.len {
            0
        } else {
            self.tail + 1
        };
    }

    /// Tells the card where the tail is.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn ring_doorbell(&self, device: &mut dyn Device) -> Result<(), DriverError> {
        let tail = u32::try_from(self.tail).map_err(|_| DriverError::Config("ring length"))?;
        Ok(device.write(Reg::TDT.offset(self.queue), tail)?)
    }

    /// Number of packets that the card has completed since this was asked last.
    pub fn reclaim(&mut self) -> usize {
        let mut packets = 0;
        while let Some(&last) = self.pending.front() {
            let high = self.memory.load(last * descriptor::SIZE + 8);
            if high & descriptor::tx::DD == 0 {
                break;
            }
            self.pending.pop_front();
            self.clean = (last + 1) % self.len;
            packets += 1;
        }
        packets
    }

    /// Packets that the card may still have.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Descriptors that can be written.
    #[must_use]
    pub fn free(&self) -> usize {
        (self.clean + self.len - self.tail - 1) % self.len
    }
}
