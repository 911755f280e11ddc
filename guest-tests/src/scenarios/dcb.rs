use std::time::Duration;

use anyhow::{Result, ensure};
use ixgbe_spec::register::Reg;
use nic_driver::{Config, Packet};

use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, numbered},
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard classes_share_the_cable_by_their_credits,
    OnCard a_class_of_strict_priority_goes_first,
];

/// MTQC: eight traffic classes, of which the first begins with queue 0 and the second with queue 32.
const EIGHT: u32 = 0xD;
const FIRST: usize = 0;
const SECOND: usize = 32;
/// RTTPCS: classes are arbitrated by credits; the arbiter rests.
const TPPAC: u32 = 1 << 5;
const ARBDIS: u32 = 1 << 6;
/// Bytes of a frame without FCS: 8 credits with it.
const LEN: usize = 508;
/// Frames of each class; they fit into a ring.
const FRAMES: usize = 48;

/// A card with two classes, while transmit rests. RTTPT2C of each class.
fn at_rest(world: &mut CardWorld, config: [u32; 2]) -> Result<()> {
    let driver = world.bring_up(&Config {
        tx_queues: 33,
        ..Config::default()
    })?;
    driver.set_register(Reg::RTTDCS, 0, ARBDIS)?;
    driver.set_register(Reg::MTQC, 0, EIGHT)?;
    for (class, value) in config.into_iter().enumerate() {
        driver.set_register(Reg::RTTPT2C, class, value)?;
    }
    driver.set_register(Reg::RTTPCS, 0, TPPAC)?;
    Ok(())
}

/// Has so many frames wait in both classes' queues and lets the card begin; returns the class of each as they leave.
fn leaving(world: &mut CardWorld) -> Result<Vec<usize>> {
    let frames = [FIRST, SECOND].map(|queue| numbered(BROADCAST, queue, LEN));
    for (frame, queue) in frames.iter().zip([FIRST, SECOND]) {
        for _ in 0..FRAMES {
            world.send_packet(queue, &Packet::plain(frame))?;
        }
    }
    world.pass(Duration::from_millis(1))?;
    let early = world.cable().take(Duration::ZERO)?;
    ensure!(early.is_empty(), "{} frames leave at rest", early.len());
    world.driver()?.set_register(Reg::RTTDCS, 0, 0)?;
    let sent = world.sent(2 * FRAMES)?;
    let class = |frame: &Vec<u8>| frames.iter().position(|known| known == frame);
    let classes: Vec<usize> = sent.iter().filter_map(class).collect();
    ensure!(classes.len() == 2 * FRAMES, "{} frames", classes.len());
    Ok(classes)
}

fn classes_share_the_cable_by_their_credits(world: &mut CardWorld) -> Result<()> {
    // 8 and 24 credits a round: a frame of the first for three of the second.
    at_rest(world, [32 << 12 | 8, 32 << 12 | 1 << 9 | 24])?;
    let classes = leaving(world)?;
    let rounds = &classes[..FRAMES / 3 * 4];
    let first = rounds.iter().filter(|class| **class == 0).count();
    ensure!(
        first == FRAMES / 3,
        "{first} of the first class in {rounds:?}"
    );
    Ok(())
}

fn a_class_of_strict_priority_goes_first(world: &mut CardWorld) -> Result<()> {
    at_rest(world, [1 << 31 | 32 << 12 | 8, 32 << 12 | 1 << 9 | 24])?;
    let classes = leaving(world)?;
    ensure!(
        classes[..FRAMES].iter().all(|class| *class == 0),
        "{classes:?}"
    );
    Ok(())
}
