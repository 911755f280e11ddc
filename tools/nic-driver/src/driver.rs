//! The driver: a card that is up, with its rings.

use std::{os::fd::BorrowedFd, time::Duration};

use ixgbe_spec::register::Reg;

use crate::{
    Device, DmaMemory, DriverError, Packet, PostRing, Received, RxRing, Statistics, TxRing,
    bring_up::{self, wait_for},
    config::{Buffers, Config, HEADER_BUFFER, check},
    rx::Tags,
};

const HLREG0_JUMBOEN: u32 = 1 << 2;
const FCTRL_BAM: u32 = 1 << 10;
const FCTRL_UPE: u32 = 1 << 9;
const FCTRL_MPE: u32 = 1 << 8;
const MCSTCTRL_MFE: u32 = 1 << 2;
const MRQC_RSS: u32 = 1;
const RXCSUM_PCSD: u32 = 1 << 13;
const RXCTRL_RXEN: u32 = 1;
const RDRXCTL_CRCSTRIP: u32 = 1 << 1;
const RDRXCTL_RSCFRSTSIZE: u32 = 0x1F << 17;
const RDRXCTL_RSCACKC: u32 = 1 << 25;
/// At most 16 descriptors.
const RSCCTL_RSCEN: u32 = 1 | 3 << 2;
const SRRCTL_ADVANCED: u32 = 1 << 25;
const SRRCTL_SPLIT_ALWAYS: u32 = 5 << 25;
const SRRCTL_BSIZEPACKET: u32 = 0x1F;
const SRRCTL_DROP_EN: u32 = 1 << 28;
const SRRCTL_BSIZEHEADER_SHIFT: u32 = 8;
const DMATXCTL_TE: u32 = 1;
const ENABLE: u32 = 1 << 25;
const RXDCTL_VME: u32 = 1 << 30;
const VLNCTRL_VFE: u32 = 1 << 30;
const GPIE_MULTIPLE_MSIX: u32 = 1 << 4;
const GPIE_OCD: u32 = 1 << 5;
const GPIE_PBA_SUPPORT: u32 = 1 << 31;
const IVAR_VALID: u32 = 1 << 7;
const MSIX_CONTROL: u16 = 0x72;
const MSIX_ENABLE: u16 = 1 << 15;

/// Each ring gets a window of the card's address space.
const IOVA_STEP: u64 = 0x1000_0000;

/// A card that is up.
#[derive(Debug)]
pub struct Driver<D> {
    device: D,
    mac: [u8; 6],
    rx: Vec<RxRing>,
    posts: Vec<PostRing>,
    tx: Vec<TxRing>,
    statistics: Statistics,
    /// Where the memory of the next ring goes.
    next_iova: u64,
}

impl<D: Device> Driver<D> {
    /// Resets the card, checks its NVM and sets it up.
    ///
    /// # Errors
    /// The configuration is not possible, the card misses a handshake, or it could not be reached.
    pub fn new(mut device: D, config: &Config) -> Result<Self, DriverError> {
        check(config)?;
        bring_up::reset(&mut device)?;
        bring_up::check_nvm(&mut device)?;
        let mac = bring_up::mac_address(&mut device)?;
        let mut driver = Self {
            device,
            mac,
            rx: Vec::new(),
            posts: Vec::new(),
            tx: Vec::new(),
            statistics: Statistics::default(),
            next_iova: config.first_iova,
        };
        driver.set_up(config)?;
        Ok(driver)
    }

    /// Resets the card again and sets it up anew, with new rings. What was under way is lost.
    ///
    /// # Errors
    /// As [`Driver::new`].
    pub fn restart(&mut self, config: &Config) -> Result<(), DriverError> {
        check(config)?;
        bring_up::reset(&mut self.device)?;
        let lent = self
            .rx
            .drain(..)
            .map(|ring| (ring.memory().iova(0), ring.memory().len()));
        let lent = lent.chain(
            self.tx
                .drain(..)
                .map(|ring| (ring.memory().iova(0), ring.memory().len())),
        );
        let lent = lent.chain(
            self.posts
                .drain(..)
                .map(|ring| (ring.memory().iova(0), ring.memory().len())),
        );
        for (iova, len) in lent.collect::<Vec<_>>() {
            self.device.take_back(iova, len as u64)?;
        }
        self.next_iova = config.first_iova;
        self.set_up(config)
    }

    /// Permanent address of the port.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The card.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// As [`Device::wakeups`].
    #[must_use]
    pub fn wakeups(&self, vectors: usize) -> Vec<BorrowedFd<'_>> {
        self.device.wakeups(vectors)
    }

    /// Receive ring `queue` and the card.
    ///
    /// # Panics
    /// If there is no such ring.
    pub fn rx(&mut self, queue: usize) -> (&mut RxRing, &mut D) {
        (&mut self.rx[queue], &mut self.device)
    }

    /// Receive ring `queue` for foreign buffers, and the card.
    ///
    /// # Panics
    /// If there is no such ring.
    pub fn post(&mut self, queue: usize) -> (&mut PostRing, &mut D) {
        (&mut self.posts[queue], &mut self.device)
    }

    /// Sets how long the buffers of receive queue `queue` are, a multiple of 1024 up to 16 KiB, and whether it coalesces
    /// the segments of TCP connections; the queue has to be stopped.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn shape_rx(
        &mut self,
        queue: usize,
        buffer: usize,
        large_receive: bool,
    ) -> Result<(), DriverError> {
        let size = u32::try_from(buffer / 1024).unwrap_or(2) & SRRCTL_BSIZEPACKET;
        let kept = self.register(Reg::SRRCTL, queue)? & !SRRCTL_BSIZEPACKET;
        self.set_register(Reg::SRRCTL, queue, kept | size)?;
        let coalesce = if large_receive { RSCCTL_RSCEN } else { 0 };
        self.set_register(Reg::RSCCTL, queue, coalesce)
    }

    /// Starts the ring of receive queue `queue`, which is stopped, with no buffer in it (4.6.7).
    ///
    /// # Errors
    /// The card does not finish, or could not be reached.
    ///
    /// # Panics
    /// If there is no such ring for foreign buffers.
    pub fn start_rx(&mut self, queue: usize) -> Result<(), DriverError> {
        self.posts[queue].forget();
        self.set_register(Reg::RDH, queue, 0)?;
        self.set_register(Reg::RDT, queue, 0)?;
        self.switch((Reg::RXDCTL, queue), ENABLE, "receive queue")
    }

    /// Stops receive queue `queue` (4.6.7.1). When this returns, the card writes to none of its buffers any more: what it
    /// has filled before can still be collected, and the others belong to whoever posted them.
    ///
    /// # Errors
    /// The card does not finish, or could not be reached.
    ///
    /// # Panics
    /// If there is no such ring for foreign buffers.
    pub fn stop_rx(&mut self, queue: usize) -> Result<(), DriverError> {
        self.switch((Reg::RXDCTL, queue), 0, "the end of a receive queue")
    }

    /// Stops transmit queue `queue` (4.6.8.1), and starts it again with an empty ring. What was in it is lost; the card
    /// reads none of it any more.
    ///
    /// # Errors
    /// The card does not finish, or could not be reached.
    ///
    /// # Panics
    /// If there is no such ring.
    pub fn restart_tx(&mut self, queue: usize) -> Result<(), DriverError> {
        self.switch((Reg::TXDCTL, queue), 0, "the end of a transmit queue")?;
        self.tx[queue].forget();
        self.set_register(Reg::TDH, queue, 0)?;
        self.set_register(Reg::TDT, queue, 0)?;
        self.switch((Reg::TXDCTL, queue), ENABLE, "transmit queue")
    }

    /// Spreads packets over these receive queues (7.1.2.8.2); for those that RSS does not hash, queue 0 is the only one.
    ///
    /// # Errors
    /// There is no queue in the list, or the card could not be reached.
    pub fn spread(&mut self, queues: &[u8]) -> Result<(), DriverError> {
        let mut entries = queues.iter().copied().cycle();
        for row in 0..Reg::RETA.count() {
            let mut entry = || entries.next();
            let (Some(a), Some(b), Some(c), Some(d)) = (entry(), entry(), entry(), entry()) else {
                return Err(DriverError::Config("no queue to spread over"));
            };
            self.set_register(Reg::RETA, row, u32::from_le_bytes([a, b, c, d]))?;
        }
        Ok(())
    }

    /// Transmit ring `queue` and the card.
    ///
    /// # Panics
    /// If there is no such ring.
    pub fn tx(&mut self, queue: usize) -> (&mut TxRing, &mut D) {
        (&mut self.tx[queue], &mut self.device)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// The ring is full, or the card could not be reached.
    pub fn send(&mut self, queue: usize, packet: &Packet<'_>) -> Result<(), DriverError> {
        let (ring, device) = self.tx(queue);
        ring.reclaim();
        ring.send(device, packet)
    }

    /// The next packet of any queue, if there is one.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn receive(&mut self) -> Result<Option<Received>, DriverError> {
        for ring in &mut self.rx {
            if let Some(received) = ring.receive(&mut self.device)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// The next packet of any queue; lets up to `patience` of the card's time pass for it.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn wait_for_packet(&mut self, patience: Duration) -> Result<Option<Received>, DriverError> {
        const STEP: Duration = Duration::from_micros(100);
        let mut waited = Duration::ZERO;
        loop {
            if let Some(received) = self.receive()? {
                return Ok(Some(received));
            }
            if waited >= patience {
                return Ok(None);
            }
            waited += self.device.pass(STEP)?;
        }
    }

    /// Reads the card's counters, which clears them, and returns the totals since the driver was made.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn statistics(&mut self) -> Result<&Statistics, DriverError> {
        self.statistics.update(&mut self.device)?;
        Ok(&self.statistics)
    }

    /// Reads a register.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn register(&mut self, reg: Reg, index: usize) -> Result<u32, DriverError> {
        Ok(self.device.read(reg.offset(index))?)
    }

    /// Writes a register.
    ///
    /// # Errors
    /// The card could not be reached.
    pub fn set_register(&mut self, reg: Reg, index: usize, value: u32) -> Result<(), DriverError> {
        Ok(self.device.write(reg.offset(index), value)?)
    }

    /// Enables or disables a queue and waits until it is.
    fn switch(
        &mut self,
        (control, queue): (Reg, usize),
        enable: u32,
        what: &'static str,
    ) -> Result<(), DriverError> {
        let kept = self.register(control, queue)? & !ENABLE;
        self.set_register(control, queue, kept | enable)?;
        wait_for(&mut self.device, (control, queue), ENABLE, enable, what)
    }

    fn set_up(&mut self, config: &Config) -> Result<(), DriverError> {
        bring_up::wait_for_link(&mut self.device)?;
        self.set_up_filters(config)?;
        self.set_up_interrupts(config)?;
        for queue in 0..config.rx_queues {
            self.set_up_rx(queue, config)?;
        }
        self.modify(Reg::RXCTRL, |value| value | RXCTRL_RXEN)?;
        self.modify(Reg::DMATXCTL, |value| value | DMATXCTL_TE)?;
        for queue in 0..config.tx_queues {
            self.set_up_tx(queue, config)?;
        }
        Ok(())
    }

    fn set_up_filters(&mut self, config: &Config) -> Result<(), DriverError> {
        let promiscuous = if config.promiscuous {
            FCTRL_UPE | FCTRL_MPE
        } else {
            0
        };
        self.set_register(Reg::FCTRL, 0, FCTRL_BAM | promiscuous)?;
        self.set_up_multicast(&config.multicast)?;
        self.modify(Reg::RDRXCTL, |value| {
            (value & !RDRXCTL_RSCFRSTSIZE) | RDRXCTL_CRCSTRIP | RDRXCTL_RSCACKC
        })?;
        self.set_register(Reg::MAXFRS, 0, u32::from(config.max_frame) << 16)?;
        if config.max_frame > 1518 {
            self.modify(Reg::HLREG0, |value| value | HLREG0_JUMBOEN)?;
        }
        if let Some(tags) = &config.vlan_filter {
            self.write_bitmap(Reg::VFTA, tags.iter().copied())?;
            self.modify(Reg::VLNCTRL, |value| value | VLNCTRL_VFE)?;
        }
        if let Some(types) = config.header_split {
            self.set_register(Reg::PSRTYPE, 0, types)?;
        }
        let Some(rss) = &config.rss else {
            return Ok(());
        };
        self.modify(Reg::RXCSUM, |value| value | RXCSUM_PCSD)?;
        for (index, word) in rss.key.as_chunks::<4>().0.iter().enumerate() {
            self.set_register(Reg::RSSRK, index, u32::from_le_bytes(*word))?;
        }
        for row in 0..Reg::RETA.count() {
            let entry = |column: usize| u8::try_from((row * 4 + column) % config.rx_queues);
            let entries = [entry(0), entry(1), entry(2), entry(3)].map(|entry| entry.unwrap_or(0));
            self.set_register(Reg::RETA, row, u32::from_le_bytes(entries))?;
        }
        self.set_register(Reg::MRQC, 0, u32::from(rss.fields) << 16 | MRQC_RSS)
    }

    /// The multicast table by bits 47:36 of the address (8.2.3.7.4).
    fn set_up_multicast(&mut self, addresses: &[[u8; 6]]) -> Result<(), DriverError> {
        if addresses.is_empty() {
            return Ok(());
        }
        let hashes = addresses
            .iter()
            .map(|[.., low, high]| u16::from_le_bytes([*low, *high]) >> 4);
        self.write_bitmap(Reg::MTA, hashes)?;
        self.modify(Reg::MCSTCTRL, |value| value | MCSTCTRL_MFE)
    }

    /// Writes all of a table of 4096 bits, whose content after a reset nobody knows.
    fn write_bitmap(
        &mut self,
        table: Reg,
        bits: impl Iterator<Item = u16>,
    ) -> Result<(), DriverError> {
        let mut rows = [0_u32; 128];
        for bit in bits {
            rows[usize::from(bit >> 5 & 0x7F)] |= 1 << (bit & 31);
        }
        for (row, bits) in rows.into_iter().enumerate() {
            self.set_register(table, row, bits)?;
        }
        Ok(())
    }

    fn set_up_interrupts(&mut self, config: &Config) -> Result<(), DriverError> {
        let Some(interval) = config.interrupts else {
            return Ok(());
        };
        let control = MSIX_ENABLE.to_le_bytes();
        self.device.config_write(MSIX_CONTROL, &control)?;
        self.set_register(
            Reg::GPIE,
            0,
            GPIE_MULTIPLE_MSIX | GPIE_OCD | GPIE_PBA_SUPPORT,
        )?;
        for pair in 0..config.rx_queues.max(config.tx_queues) {
            let vector = u32::try_from(pair).unwrap_or(0) | IVAR_VALID;
            let both = vector | vector << 8;
            let shift = (pair & 1) * 16;
            let keep = self.register(Reg::IVAR, pair / 2)? & !(0xFFFF << shift);
            self.set_register(Reg::IVAR, pair / 2, keep | both << shift)?;
            self.set_register(Reg::EITR, pair, u32::from(interval) << 2 & 0xFF8)?;
            self.set_register(Reg::EIMS_EX, pair / 32, 1 << (pair % 32))?;
        }
        // Vectors of queues clear their cause by themselves (8.2.3.5.4).
        self.set_register(Reg::EIAC, 0, 0xFFFF)
    }

    fn set_up_rx(&mut self, queue: usize, config: &Config) -> Result<(), DriverError> {
        let bytes = match config.rx_buffers {
            Buffers::Own => RxRing::bytes(config.ring_len, config.rx_buffer),
            Buffers::Foreign => config.ring_len * ixgbe_spec::descriptor::SIZE,
        };
        let memory = self.memory(bytes)?;
        self.set_ring(
            (Reg::RDBAL, Reg::RDBAH, Reg::RDLEN),
            queue,
            &memory,
            config.ring_len,
        )?;
        let size = u32::try_from(config.rx_buffer / 1024).unwrap_or(2);
        let drop_en = if config.drop_en { SRRCTL_DROP_EN } else { 0 };
        let format = match config.header_split {
            Some(_) => SRRCTL_SPLIT_ALWAYS,
            None => SRRCTL_ADVANCED,
        };
        let header = u32::try_from(HEADER_BUFFER / 64).unwrap_or(4) << SRRCTL_BSIZEHEADER_SHIFT;
        self.set_register(Reg::SRRCTL, queue, format | drop_en | header | size)?;
        let coalesce = if config.large_receive {
            RSCCTL_RSCEN
        } else {
            0
        };
        self.set_register(Reg::RSCCTL, queue, coalesce)?;
        self.set_register(Reg::RDH, queue, 0)?;
        self.set_register(Reg::RDT, queue, 0)?;
        let (strip, tags) = if config.vlan_strip {
            (RXDCTL_VME, Tags::Strip)
        } else {
            (0, Tags::Keep)
        };
        if config.rx_buffers == Buffers::Foreign {
            self.set_register(Reg::RXDCTL, queue, strip)?;
            self.posts
                .push(PostRing::new(queue, memory, config.ring_len));
            return Ok(());
        }
        self.set_register(Reg::RXDCTL, queue, ENABLE | strip)?;
        wait_for(
            &mut self.device,
            (Reg::RXDCTL, queue),
            ENABLE,
            ENABLE,
            "receive queue",
        )?;
        let mut ring = RxRing::new(queue, memory, (config.ring_len, config.rx_buffer), tags);
        ring.fill(&mut self.device)?;
        self.rx.push(ring);
        Ok(())
    }

    fn set_up_tx(&mut self, queue: usize, config: &Config) -> Result<(), DriverError> {
        let bytes = TxRing::bytes(config.ring_len, config.tx_buffer);
        let memory = self.memory(bytes)?;
        self.set_ring(
            (Reg::TDBAL, Reg::TDBAH, Reg::TDLEN),
            queue,
            &memory,
            config.ring_len,
        )?;
        self.set_register(Reg::TDH, queue, 0)?;
        self.set_register(Reg::TDT, queue, 0)?;
        self.set_register(Reg::TXDCTL, queue, ENABLE)?;
        wait_for(
            &mut self.device,
            (Reg::TXDCTL, queue),
            ENABLE,
            ENABLE,
            "transmit queue",
        )?;
        self.tx.push(TxRing::new(
            queue,
            memory,
            config.ring_len,
            config.tx_buffer,
        ));
        Ok(())
    }

    fn set_ring(
        &mut self,
        (low, high, len): (Reg, Reg, Reg),
        queue: usize,
        memory: &DmaMemory,
        descriptors: usize,
    ) -> Result<(), DriverError> {
        let [a, b, c, d, e, f, g, h] = memory.iova(0).to_le_bytes();
        self.set_register(low, queue, u32::from_le_bytes([a, b, c, d]))?;
        self.set_register(high, queue, u32::from_le_bytes([e, f, g, h]))?;
        let bytes = u32::try_from(descriptors * ixgbe_spec::descriptor::SIZE).unwrap_or(0);
        self.set_register(len, queue, bytes)
    }

    fn memory(&mut self, bytes: usize) -> Result<DmaMemory, DriverError> {
        let iova = self.next_iova;
        self.next_iova = iova
            .checked_add(IOVA_STEP)
            .ok_or(DriverError::Config("addresses beyond 64 bits"))?;
        DmaMemory::new(&mut self.device, iova, bytes)
    }

    fn modify(&mut self, reg: Reg, change: impl FnOnce(u32) -> u32) -> Result<(), DriverError> {
        let value = self.register(reg, 0)?;
        self.set_register(reg, 0, change(value))
    }
}
