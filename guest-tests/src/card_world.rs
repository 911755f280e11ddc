//! The world of our own driver: on the model in this process, or on a card behind a socket.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use ixgbe_spec::{descriptor::rx::Status, register::Reg};
use nic_driver::{Config, Device, Driver, Packet, Received, in_process::InProcess};
use nic_model::{
    Port, PortConfig,
    check::{Finding, Findings},
};
use recording::{Header, PortHeader, Writer};

use crate::{
    cable::{BenchCable, Cable, Plug},
    frames::{Mac, padded, tagged},
    world::{Counter, Rss, Setup, Spread, World},
};

/// Address of the card in these worlds.
pub const MAC: Mac = [0x02, 0x82, 0x59, 0x00, 0x00, 0x77];
/// LINKS.LINK_UP.
const LINK_UP: u32 = 1 << 30;
/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Key of the RSS hash in these worlds, the one that Microsoft's verification suite uses.
pub const RSS_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
/// MRQC: TCP over IPv4, IPv4, IPv6, TCP over IPv6.
const RSS_FIELDS: u16 = 1 | 1 << 1 | 1 << 4 | 1 << 5;
const RSS_QUEUES: usize = 4;

/// A card, our driver and the cable's far end.
pub struct CardWorld {
    card: Card,
    cable: Box<dyn Cable>,
    /// What [`Counter`]s that the driver counts have come to.
    bad_checksums: u64,
    by_queue: BTreeMap<usize, u64>,
    /// Totals when the NIC was set up.
    base: BTreeMap<Counter, u64>,
    /// What the driver checker finds, where there is one.
    findings: Findings,
}

enum Card {
    Unused(Box<dyn Device>),
    Driven(Driver<Box<dyn Device>>),
    /// Its driver did not come up.
    Lost,
}

impl fmt::Debug for CardWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardWorld").finish_non_exhaustive()
    }
}

impl CardWorld {
    /// The world of a card that nobody has touched yet.
    #[must_use]
    pub fn new(device: Box<dyn Device>, cable: Box<dyn Cable>) -> Self {
        Self {
            card: Card::Unused(device),
            cable,
            bad_checksums: 0,
            by_queue: BTreeMap::new(),
            base: BTreeMap::new(),
            findings: Findings::default(),
        }
    }

    /// The model in this process, with a driver checker.
    #[must_use]
    pub fn in_process() -> Self {
        let cable = BenchCable::default();
        let (card, findings) = InProcess::checked(PortConfig::new(MAC), cable.clone());
        Self {
            findings,
            ..Self::new(Box::new(card), Box::new(cable))
        }
    }

    /// The model in this process, of which everything goes into a recording at `path`. It is complete when the world and
    /// the writer are gone.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn recorded(path: &Path) -> Result<(Self, Writer)> {
        let header = Header {
            program: "guest-tests".to_owned(),
            ports: vec![PortHeader::new(
                MAC,
                &Port::new(PortConfig::new(MAC)),
                false,
                "bench",
            )],
        };
        let writer = Writer::create(path, &header).context("cannot make a recording")?;
        let cable = BenchCable::default();
        let recorder = writer.recorder(0, None);
        let card = InProcess::recorded(PortConfig::new(MAC), cable.clone(), recorder);
        Ok((Self::new(Box::new(card), Box::new(cable)), writer))
    }

    /// What the driver checker has found so far, where there is one.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let all = self.findings.all().into_iter();
        all.map(|(finding, _)| finding).collect()
    }

    /// Brings the card up with just this configuration.
    ///
    /// # Errors
    /// It does not come up.
    pub fn bring_up(&mut self, config: &Config) -> Result<&mut Driver<Box<dyn Device>>> {
        self.card = match std::mem::replace(&mut self.card, Card::Lost) {
            Card::Unused(device) => Card::Driven(Driver::new(device, config)?),
            Card::Driven(mut driver) => {
                driver.restart(config)?;
                Card::Driven(driver)
            }
            Card::Lost => Card::Lost,
        };
        self.bad_checksums = 0;
        self.by_queue.clear();
        self.base = self.totals()?;
        self.driver()
    }

    /// The driver.
    ///
    /// # Errors
    /// The card is not up.
    pub fn driver(&mut self) -> Result<&mut Driver<Box<dyn Device>>> {
        match &mut self.card {
            Card::Driven(driver) => Ok(driver),
            Card::Unused(_) | Card::Lost => anyhow::bail!("the card was not brought up"),
        }
    }

    /// The cable's far end.
    pub fn cable(&mut self) -> &mut dyn Cable {
        &mut *self.cable
    }

    /// Lets `time` pass for the card.
    ///
    /// # Errors
    /// The card cannot be reached.
    pub fn pass(&mut self, time: Duration) -> Result<()> {
        let mut left = time;
        while !left.is_zero() {
            left = left.saturating_sub(self.driver()?.device().pass(left)?);
        }
        Ok(())
    }

    /// The next packet; an error if none comes.
    ///
    /// # Errors
    /// None comes, or the card cannot be reached.
    pub fn receive(&mut self) -> Result<Received> {
        let received = self.driver()?.wait_for_packet(PATIENCE)?;
        let received = received.context("no packet came in")?;
        self.count(&received);
        Ok(received)
    }

    /// Lets frames arrive and returns all packets up to one with the bytes of the last one.
    ///
    /// # Errors
    /// The last one does not come.
    pub fn exchange(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Received>> {
        let last = frames.last().context("no frame")?;
        let last = padded(last);
        // Writes are posted; the cable has a way of its own to the server and could overtake them.
        self.driver()?.register(Reg::STATUS, 0)?;
        self.cable.put(frames)?;
        let mut all = Vec::new();
        loop {
            let received = self
                .receive()
                .with_context(|| format!("after {} of {} frames", all.len(), frames.len()))?;
            let done = on_cable(&received) == last;
            all.push(received);
            if done {
                break;
            }
        }
        // Other queues may hold packets that came before.
        while let Some(received) = self.driver()?.receive()? {
            self.count(&received);
            all.push(received);
        }
        Ok(all)
    }

    fn count(&mut self, received: &Received) {
        *self.by_queue.entry(received.queue).or_default() += 1;
        if received.status.intersects(Status::L4E | Status::IPE) {
            self.bad_checksums += 1;
        }
    }

    /// Sends a packet by queue `queue`, waiting for room in the ring.
    ///
    /// # Errors
    /// The ring stays full, or the card cannot be reached.
    pub fn send_packet(&mut self, queue: usize, packet: &Packet<'_>) -> Result<()> {
        let driver = self.driver()?;
        let mut left = PATIENCE;
        loop {
            match driver.send(queue, packet) {
                Err(nic_driver::DriverError::RingFull) if !left.is_zero() => {
                    let step = left.min(Duration::from_millis(1));
                    left = left.saturating_sub(driver.device().pass(step)?);
                }
                other => return Ok(other?),
            }
        }
    }

    /// Waits until the card has completed all packets of transmit queue `queue`.
    ///
    /// # Errors
    /// It completes fewer, or cannot be reached.
    pub fn completed(&mut self, queue: usize) -> Result<()> {
        let mut left = PATIENCE;
        loop {
            let (ring, _) = self.driver()?.tx(queue);
            ring.reclaim();
            let pending = ring.pending();
            if pending == 0 {
                return Ok(());
            }
            ensure!(!left.is_zero(), "{pending} packets are not completed");
            let step = left.min(Duration::from_millis(1));
            left = left.saturating_sub(self.driver()?.device().pass(step)?);
        }
    }

    /// Frames on the cable until there are `count`.
    ///
    /// # Errors
    /// There are fewer, or the cable cannot be reached.
    pub fn sent(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        self.sent_until(|frames| frames.len() >= count)
            .with_context(|| format!("while waiting for {count} frames on the cable"))
    }

    /// Frames on the cable until `enough` says so.
    fn sent_until(&mut self, enough: impl Fn(&[Vec<u8>]) -> bool) -> Result<Vec<Vec<u8>>> {
        const STEP: Duration = Duration::from_millis(1);
        let mut frames = Vec::new();
        let mut left = PATIENCE;
        loop {
            let passed = self.driver()?.device().pass(STEP)?;
            frames.extend(self.cable.take(STEP)?);
            if enough(&frames) {
                return Ok(frames);
            }
            left = left.saturating_sub(passed.max(Duration::from_micros(100)));
            ensure!(
                !left.is_zero(),
                "{} frames on the cable, and no more come",
                frames.len()
            );
        }
    }

    fn totals(&mut self) -> Result<BTreeMap<Counter, u64>> {
        let statistics = self.driver()?.statistics()?;
        Ok(BTreeMap::from([
            (Counter::ReceivedFrames, statistics.total(Reg::GPRC, 0)),
            (
                Counter::ReceivedBytes,
                statistics.wide(Reg::GORCL, Reg::GORCH, 0),
            ),
            (Counter::ReceivedBroadcasts, statistics.total(Reg::BPRC, 0)),
            (Counter::ReceivedMulticasts, statistics.total(Reg::MPRC, 0)),
            (Counter::TooLong, statistics.total(Reg::ROC, 0)),
            (Counter::SentFrames, statistics.total(Reg::GPTC, 0)),
            (
                Counter::SentBytes,
                statistics.wide(Reg::GOTCL, Reg::GOTCH, 0),
            ),
        ]))
    }
}

/// The frame as it was on the cable: with the tag that the card has removed.
fn on_cable(received: &Received) -> Vec<u8> {
    match received.vlan {
        Some(tag) => tagged(&received.bytes, tag),
        None => received.bytes.clone(),
    }
}

impl World for CardWorld {
    fn set_up(&mut self, setup: &Setup) -> Result<()> {
        let rss = match setup.spread {
            Spread::None => None,
            Spread::Rss => Some(nic_driver::Rss {
                key: RSS_KEY,
                fields: RSS_FIELDS,
            }),
        };
        let config = Config {
            rx_queues: if rss.is_some() { RSS_QUEUES } else { 1 },
            ring_len: 128,
            max_frame: setup.mtu + 18,
            rss,
            vlan_strip: true,
            vlan_filter: setup.vlans.clone(),
            promiscuous: setup.promiscuous,
            multicast: setup.multicast.clone(),
            ..Config::default()
        };
        self.bring_up(&config)?;
        Ok(())
    }

    fn mac(&mut self) -> Result<Mac> {
        Ok(self.driver()?.mac())
    }

    fn link_is_up(&mut self) -> Result<bool> {
        Ok(self.driver()?.register(Reg::LINKS, 0)? & LINK_UP != 0)
    }

    fn plug(&mut self, plug: Plug) -> Result<()> {
        self.cable.plug(plug)?;
        let wanted = plug == Plug::In;
        let mut left = PATIENCE;
        while self.link_is_up()? != wanted {
            ensure!(!left.is_zero(), "the link does not change");
            let step = left.min(Duration::from_millis(1));
            left = left.saturating_sub(self.driver()?.device().pass(step)?);
        }
        Ok(())
    }

    fn arrive(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        Ok(self.exchange(frames)?.iter().map(on_cable).collect())
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let last = padded(frames.last().context("no frame")?);
        for frame in frames {
            self.send_packet(0, &Packet::plain(frame))?;
        }
        self.sent_until(|frames| frames.last() == Some(&last))
    }

    fn counter(&mut self, counter: Counter) -> Result<u64> {
        if counter == Counter::BadChecksums {
            return Ok(self.bad_checksums);
        }
        let now = self.totals()?;
        let of = |totals: &BTreeMap<Counter, u64>| totals.get(&counter).copied();
        Ok(of(&now).unwrap_or(0) - of(&self.base).unwrap_or(0))
    }

    fn rss(&mut self) -> Result<Rss> {
        let mut table = Vec::new();
        for row in 0..Reg::RETA.count() {
            let entries = self.driver()?.register(Reg::RETA, row)?.to_le_bytes();
            table.extend(entries.map(|entry| usize::from(entry & 15)));
        }
        Ok(Rss {
            key: RSS_KEY,
            table,
        })
    }

    fn received_by_queue(&mut self) -> Result<Vec<u64>> {
        let count = |queue| self.by_queue.get(&queue).copied().unwrap_or(0);
        Ok((0..RSS_QUEUES).map(count).collect())
    }
}
