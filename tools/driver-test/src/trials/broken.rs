//! Packets that are not as they should be.

use anyhow::Result;
use wire::{Damage, Fcs, Short};

use crate::{
    Outcome, Station, Wish,
    station::{Echo, answers_id},
};

fn request(station: &mut Station<'_>) -> Echo {
    Echo {
        id: station.fresh(),
        seq: 1,
        payload: 100,
    }
}

pub(super) fn ip_checksum(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let echo = request(station);
    let frames = station.request(echo, ",sum=bad", "", |recipe| recipe)?;
    station.silence(
        &frames,
        |packet| answers_id(packet, echo.id),
        Damage::default(),
    )?;
    Ok(Outcome::Passed(String::new()))
}

pub(super) fn icmp_checksum(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let echo = request(station);
    let frames = station.request(echo, "", ",sum=bad", |recipe| recipe)?;
    station.silence(
        &frames,
        |packet| answers_id(packet, echo.id),
        Damage::default(),
    )?;
    Ok(Outcome::Passed(String::new()))
}

pub(super) fn fcs(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let echo = request(station);
    let frame = station.echo(echo)?;
    let damage = Damage {
        fcs: Fcs::Bad,
        ..Damage::default()
    };
    station.silence(&[frame], |packet| answers_id(packet, echo.id), damage)?;
    Ok(Outcome::Passed(String::new()))
}

/// What says of its length what is not so. Whether a guest answers some of it is its own affair; that it lives is not.
pub(super) fn lengths(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let mut count = 0;
    for wrong in [
        ",len=0",
        ",len=19",
        ",len=65535",
        ",len=27",
        ",ihl=4",
        ",ihl=15",
        ",version=6",
    ] {
        let echo = request(station);
        let frames = station.request(echo, wrong, "", |recipe| recipe)?;
        count += frames.len();
        station.cable.send(&frames, Damage::default())?;
        station.ping(56)?;
    }
    Ok(Outcome::Passed(format!("{count} packets")))
}

pub(super) fn runts(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let mut frames = Vec::new();
    for length in 14..60 {
        let echo = request(station);
        frames.extend(station.request(echo, "", "", |recipe| recipe.truncate(Some(length)))?);
    }
    for short in [Short::Padded, Short::Runt] {
        let damage = Damage {
            short,
            ..Damage::default()
        };
        for some in frames.chunks(16) {
            station.cable.send(some, damage)?;
            station.ping(56)?;
        }
    }
    Ok(Outcome::Passed(format!("{} frames", 2 * frames.len())))
}
