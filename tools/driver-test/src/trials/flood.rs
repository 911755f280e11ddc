//! More than the driver can take. Frames may be lost then; the driver has to be there again afterwards.

use std::time::{Duration, Instant};

use anyhow::Result;
use wire::Damage;

use crate::{
    Outcome, Station, Wish,
    station::{Echo, answers_id},
};

pub(super) fn small(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    flood(station, wish, 10_000, 18)
}

pub(super) fn large(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let longest = station.longest();
    flood(station, wish, 2000, longest)
}

fn flood(station: &mut Station<'_>, wish: &Wish, count: usize, payload: usize) -> Result<Outcome> {
    let echo = Echo {
        id: station.fresh(),
        seq: 1,
        payload,
    };
    let request = station.echo(echo)?;
    let before = station.cable.received()?;
    for _ in 0..count / 500 {
        station
            .cable
            .send(&vec![request.clone(); 500], Damage::default())?;
    }
    // What is under way still comes.
    let patience = std::mem::replace(&mut station.patience, Duration::from_millis(300));
    let mut answers = 0_usize;
    let end = Instant::now() + wish.recovery;
    let drained = loop {
        match station.wait(|packet| answers_id(packet, echo.id)) {
            Ok(Some(_)) if Instant::now() < end => answers += 1,
            other => break other,
        }
    };
    station.patience = patience;
    drained?;
    let back = station.ping_until(wish.recovery)?;
    for payload in [0, 56, station.longest()] {
        station.ping(payload)?;
    }
    let taken = station.cable.received()?.wrapping_sub(before);
    Ok(Outcome::Passed(format!(
        "{count} frames, {taken} reached the driver, {answers} answered; back in {} ms",
        back.as_millis()
    )))
}
