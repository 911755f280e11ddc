//! A card of a server's, under our driver: one of the two ends of a lab.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    CardWorld,
    frames::{self, Mac},
    server::ControlCable,
    world::{Setup, World},
};
use nic_driver::{
    Packet,
    over_socket::{Lending, OverSocket},
};
use vfio_user::client::Options;

/// How long something may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames under way at a time: no more than a UNIX socket keeps of datagrams (net.unix.max_dgram_qlen), so that none is lost
/// however long a server waits for a processor.
const BURST: usize = 8;
/// MTU, for frames of up to 9014 bytes.
const MTU: u16 = 9000;

pub struct Station(pub CardWorld);

impl Station {
    /// Brings up the card behind `socket`, with which a server listens.
    pub fn at(socket: &Path, control: &Path) -> Result<Self> {
        let card = OverSocket::connect(socket, Options::default(), Lending::Descriptor)?;
        let mut world = CardWorld::new(Box::new(card), Box::new(ControlCable::connect(control)?));
        world.set_up(&Setup {
            mtu: MTU,
            ..Setup::default()
        })?;
        Ok(Self(world))
    }

    /// Waits until the link is up, or down.
    pub fn wait_for_link(&mut self, up: bool) -> Result<()> {
        let begun = Instant::now();
        while self.0.link_is_up()? != up {
            ensure!(begun.elapsed() < PATIENCE, "the link does not change");
        }
        Ok(())
    }
}

/// Frames from the one to the other, numbered from 1, of these lengths.
pub fn numbered(from: Mac, to: Mac, lens: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let lens = lens.into_iter().enumerate();
    lens.map(|(n, len)| frames::from(from, to, n + 1, len))
        .collect()
}

/// Sends a frame again and again, until one arrives: there is a way from here on.
pub fn meet(from: &mut Station, to: &mut Station) -> Result<()> {
    from.wait_for_link(true)?;
    to.wait_for_link(true)?;
    let probe = frames::from(from.0.mac()?, to.0.mac()?, 0, 60);
    let begun = Instant::now();
    loop {
        from.0.send_packet(0, &Packet::plain(&probe))?;
        let patience = Duration::from_millis(50);
        while let Some(received) = to.0.driver()?.wait_for_packet(patience)? {
            if received.bytes == probe {
                return Ok(());
            }
        }
        ensure!(begun.elapsed() < PATIENCE, "no frame arrives");
    }
}

/// Sends frames, and returns those that have arrived by the time that the last one of each burst has.
pub fn pass(from: &mut Station, to: &mut Station, sent: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut arrived = Vec::new();
    for burst in sent.chunks(BURST) {
        for frame in burst {
            from.0.send_packet(0, &Packet::plain(frame))?;
        }
        let last = burst.last().context("no frame")?;
        loop {
            let received = to.0.receive()?;
            // Hosts say something of themselves, and there may be frames of `meet`.
            if sent.contains(&received.bytes) {
                arrived.push(received.bytes);
                if arrived.last() == Some(last) {
                    break;
                }
            }
        }
    }
    Ok(arrived)
}
