//! How long single acts take.

use std::{
    hint::spin_loop,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nic_driver::{Config, Device, Packet};

use crate::{Measured, card, to_f64};

/// STATUS (8.2.3.1.2): a register whose read has no effect.
const STATUS: u32 = 0x0008;
/// How long one act may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two packets the card has nothing to do for this long, times 1 to 8.
const PAUSE: Duration = Duration::from_micros(10);

/// The middle of what `act` takes, in microseconds, as often as it can be done in `time`.
pub fn median(time: Duration, mut act: impl FnMut() -> Result<Duration>) -> Result<Measured> {
    let mut took = Vec::new();
    // The first ones wake the other side up.
    for _ in 0..100 {
        act()?;
    }
    let start = Instant::now();
    while start.elapsed() < time {
        took.push(act()?);
    }
    took.sort_unstable();
    let middle = took.get(took.len() / 2).copied().unwrap_or_default();
    ensure!(!middle.is_zero(), "nothing was done in {time:?}");
    Ok(Measured {
        value: to_f64(u64::try_from(middle.as_nanos())?) / 1000.0,
        unit: "us",
    })
}

/// A register read and its reply.
pub fn register_read(socket: &Path, time: Duration) -> Result<Measured> {
    let mut device = card::connect(socket)?;
    median(time, || {
        let start = Instant::now();
        device.read(STATUS)?;
        Ok(start.elapsed())
    })
}

/// From the doorbell until the frame is back in memory and the interrupt has fired. The card is idle before.
pub fn doorbell_to_interrupt(socket: &Path, time: Duration) -> Result<Measured> {
    let config = Config {
        promiscuous: true,
        interrupts: Some(0),
        ..Config::default()
    };
    let mut card = card::bring_up(socket, &config)?;
    let frame = [0x5a; 60];
    let mut turn = 0_u32;
    median(time, || {
        turn = turn % 8 + 1;
        let pause = Instant::now();
        while pause.elapsed() < PAUSE * turn {
            spin_loop();
        }
        card.device().fired(0)?;
        card.tx(0).0.reclaim();
        card.tx(0).0.put(&Packet::plain(&frame))?;
        let start = Instant::now();
        let (ring, device) = card.tx(0);
        ring.ring_doorbell(device)?;
        let (mut frames, mut fired) = (0, 0);
        while frames == 0 || fired == 0 {
            let (ring, device) = card.rx(0);
            frames += ring.burst(device, 1, |_| ())?;
            if frames > 0 {
                fired += card.device().fired(0)?;
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "{frames} frames and {fired} interrupts came"
            );
        }
        Ok(start.elapsed())
    })
}

/// From the doorbell, a store, until the frame is back in memory and its descriptor says so. The card is idle before, and
/// nobody sends a message.
pub fn doorbell_to_descriptor(socket: &Path, time: Duration) -> Result<Measured> {
    let config = Config {
        promiscuous: true,
        ..Config::default()
    };
    let mut card = card::bring_up(socket, &config)?;
    ensure!(
        card.device().has_mapped_doorbells(),
        "the server offers no mapped doorbells"
    );
    let frame = [0x5a; 60];
    let mut turn = 0_u32;
    median(time, || {
        turn = turn % 8 + 1;
        let pause = Instant::now();
        while pause.elapsed() < PAUSE * turn {
            spin_loop();
        }
        card.tx(0).0.reclaim();
        card.tx(0).0.put(&Packet::plain(&frame))?;
        let start = Instant::now();
        let (ring, device) = card.tx(0);
        ring.ring_doorbell(device)?;
        let (ring, device) = card.rx(0);
        while ring.burst(device, 1, |_| ())? == 0 {
            ensure!(start.elapsed() < PATIENCE, "no frame came");
        }
        Ok(start.elapsed())
    })
}
