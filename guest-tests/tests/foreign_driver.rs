//! The `ixgbe-driver` crate, which we did not write, on a card of the server's, over its socket. Its pointer to the BAR
//! leads to pages that fault; crate `foreign-driver` makes messages of that.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use foreign_driver::{Card, Platform};
use guest_tests::{
    cable::{Cable, Plug},
    card_world::MAC,
    frames::{self, PEER},
    server::{ControlCable, Far, Server},
};
use ixgbe_driver::{IxgbeDevice, IxgbeError, IxgbeNetBuf, MemPool, NicDevice};
use ixgbe_spec::register::Reg;
use nic_driver::over_socket::{Lending, OverSocket};
use vfio_user::client::Options;

/// Descriptors in each ring.
const RING: usize = 128;
/// Buffers: more than the receive rings take and the transmit rings hold.
const BUFFERS: usize = 1024;
/// Bytes of each.
const BUFFER: usize = 2048;
/// Queues of each direction.
const QUEUES: u16 = 2;
/// How long something may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Length of the longest frame without FCS.
const LONGEST: usize = 1514;

/// The foreign driver on a card, and all around them.
struct Rig {
    driver: IxgbeDevice<Platform, RING>,
    pool: Arc<MemPool>,
    card: Card,
    cable: ControlCable,
    server: Server,
}

impl Rig {
    fn new(lending: Lending) -> Result<Self> {
        let server = Server::start(Far::Nobody)?;
        let device = OverSocket::connect(server.socket(), Options::default(), lending)?;
        let card = Card::plug(Box::new(device))?;
        let pool = MemPool::allocate::<Platform>(BUFFERS, BUFFER).map_err(foreign)?;
        let driver = IxgbeDevice::init(card.address(), Card::LEN, QUEUES, QUEUES, &pool);
        Ok(Self {
            driver: driver.map_err(foreign)?,
            pool,
            card,
            cable: server.cable()?,
            server,
        })
    }

    fn send(&mut self, queue: u16, frame: &[u8]) -> Result<()> {
        let mut buffer = IxgbeNetBuf::alloc(&self.pool, frame.len()).map_err(foreign)?;
        buffer.packet_mut().copy_from_slice(frame);
        self.driver.send(queue, buffer).map_err(foreign)
    }

    /// Sends as the driver has room, and returns as many frames as were sent from the cable.
    fn send_all(&mut self, queue: u16, sent: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let begun = Instant::now();
        let mut on_cable = Vec::new();
        let mut rest = sent;
        while on_cable.len() < sent.len() {
            ensure!(begun.elapsed() < PATIENCE, "{} frames came", on_cable.len());
            self.driver.recycle_tx_buffers(queue).map_err(foreign)?;
            while let [next, others @ ..] = rest
                && self.driver.can_send(queue).map_err(foreign)?
            {
                self.send(queue, next)?;
                rest = others;
            }
            self.card
                .device(|card| card.pass(Duration::from_millis(1)))?;
            on_cable.extend(self.cable.take(Duration::from_millis(10))?);
        }
        Ok(on_cable)
    }

    /// Lets frames arrive and returns as many from queue 0.
    fn arrive(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        // Writes are posted; the cable has a way of its own to the server and could overtake them.
        self.register(Reg::STATUS)?;
        self.cable.put(frames)?;
        let begun = Instant::now();
        let mut received = Vec::new();
        while received.len() < frames.len() {
            ensure!(begun.elapsed() < PATIENCE, "{} frames came", received.len());
            self.card
                .device(|card| card.pass(Duration::from_millis(10)))?;
            let taken = self
                .driver
                .receive_packets(0, RING, |packet| received.push(packet.packet().to_vec()));
            match taken {
                Ok(_) | Err(IxgbeError::NotReady) => {}
                Err(error) => return Err(foreign(error)),
            }
        }
        Ok(received)
    }

    /// Whether the driver sees a link of `speed` Mbit/s, soon.
    fn speed_becomes(&mut self, speed: u16) -> Result<bool> {
        let begun = Instant::now();
        while self.driver.get_link_speed() != speed && begun.elapsed() < PATIENCE {
            self.card
                .device(|card| card.pass(Duration::from_millis(10)))?;
        }
        Ok(self.driver.get_link_speed() == speed)
    }

    /// A register, read beside the driver.
    fn register(&mut self, reg: Reg) -> Result<u32> {
        Ok(self.card.device(|card| card.read(reg.offset(0)))?)
    }

    /// The server has not noticed anything wrong.
    fn check(&mut self) -> Result<()> {
        Ok(self.server.nic().check()?)
    }
}

/// The driver's errors say little but their name.
fn foreign(error: IxgbeError) -> anyhow::Error {
    anyhow!("ixgbe-driver: {error:?}")
}

/// Frames of all kinds of lengths.
fn frames_to(to: frames::Mac, count: usize) -> Vec<Vec<u8>> {
    let len = |number: usize| 60 + number * 97 % (LONGEST - 59);
    (0..count)
        .map(|number| frames::numbered(to, number, len(number)))
        .collect()
}

#[test]
fn a_driver_that_we_did_not_write_brings_the_card_up() -> Result<()> {
    let mut rig = Rig::new(Lending::Descriptor)?;

    assert_eq!(rig.driver.get_mac_addr(), MAC);
    assert_eq!(rig.driver.get_link_speed(), 10_000);
    rig.check()
}

#[test]
fn a_cable_that_is_pulled_takes_the_foreign_drivers_link() -> Result<()> {
    let mut rig = Rig::new(Lending::Descriptor)?;

    rig.cable.plug(Plug::Out)?;
    let pulled = rig.speed_becomes(0)?;
    rig.cable.plug(Plug::In)?;
    let back = rig.speed_becomes(10_000)?;

    assert!(pulled);
    assert!(back);
    rig.check()
}

#[test]
fn frames_that_the_driver_sends_are_on_the_cable_byte_for_byte() -> Result<()> {
    let mut rig = Rig::new(Lending::Descriptor)?;
    let sent = frames_to(PEER, 3 * RING);

    let on_cable = rig.send_all(0, &sent)?;
    let second_queue = rig.send_all(1, &sent)?;

    frames::same(&on_cable, &sent)?;
    frames::same(&second_queue, &sent)?;
    rig.check()
}

#[test]
fn frames_on_the_cable_reach_the_driver_byte_for_byte() -> Result<()> {
    let mut rig = Rig::new(Lending::Descriptor)?;
    let frames = frames_to(MAC, 3 * RING);

    let mut received = Vec::new();
    // The driver lets the card drop what its ring has no room for.
    for part in frames.chunks(RING / 2) {
        received.extend(rig.arrive(part)?);
    }

    frames::same(&received, &frames)?;
    rig.check()
}

#[test]
fn the_foreign_driver_works_with_memory_that_messages_reach() -> Result<()> {
    let mut rig = Rig::new(Lending::Messages)?;
    let out = frames_to(PEER, RING);
    let back = frames_to(MAC, RING / 2);

    let on_cable = rig.send_all(0, &out)?;
    let received = rig.arrive(&back)?;

    frames::same(&on_cable, &out)?;
    frames::same(&received, &back)?;
    rig.check()
}

#[test]
fn counters_tell_of_the_foreign_drivers_frames_until_it_resets_them() -> Result<()> {
    let mut rig = Rig::new(Lending::Descriptor)?;
    let bytes = |frames: &[Vec<u8>]| -> usize {
        frames.iter().map(|frame| frame.len() + frames::FCS).sum()
    };
    let out = frames_to(PEER, 40);
    let back = frames_to(MAC, 30);
    rig.send_all(0, &out)?;
    rig.arrive(&back)?;

    let counted = [Reg::GPTC, Reg::GPRC].map(|reg| rig.register(reg));
    let bytes_counted = [Reg::GOTCL, Reg::GORCL].map(|reg| rig.register(reg));
    rig.send_all(0, &out)?;
    rig.driver.reset_stats();
    let after = [Reg::GPTC, Reg::GOTCL].map(|reg| rig.register(reg));

    assert_eq!(counted.map(Result::unwrap), [40, 30]);
    assert_eq!(
        bytes_counted.map(|bytes| bytes.unwrap() as usize),
        [bytes(&out), bytes(&back)]
    );
    assert_eq!(after.map(Result::unwrap), [0, 0]);
    rig.check()
}
