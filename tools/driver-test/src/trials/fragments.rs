//! Packets in pieces.

use anyhow::{Result, ensure};
use packets::{Fragments, Order};
use wire::Damage;

use crate::{
    Outcome, Station, Wish,
    station::{Echo, answers_id},
};

const SIZE: usize = 256;

fn fragments(order: Order, overlap: usize, without: Option<usize>) -> Fragments {
    Fragments {
        size: SIZE,
        overlap,
        order,
        without,
    }
}

fn request(station: &mut Station<'_>) -> Echo {
    Echo {
        id: station.fresh(),
        seq: station.fresh(),
        payload: station.longest().min(1400),
    }
}

pub(super) fn whole(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    for order in [Order::Forward, Order::Reverse] {
        let echo = request(station);
        let cut = fragments(order, 0, None);
        let frames = station.request(echo, "", "", |recipe| recipe.fragments(Some(cut)))?;
        ensure!(frames.len() > 1, "the MTU is too small for fragments");
        station.cable.send(&frames, Damage::default())?;
        ensure!(
            station.answers(&[echo])? == [echo],
            "no answer to {} fragments, {order:?}",
            frames.len()
        );
    }
    Ok(Outcome::Passed(String::new()))
}

pub(super) fn incomplete(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let echo = request(station);
    let cut = fragments(Order::Forward, 0, Some(2));
    let frames = station.request(echo, "", "", |recipe| recipe.fragments(Some(cut)))?;
    station.silence(
        &frames,
        |packet| answers_id(packet, echo.id),
        Damage::default(),
    )?;
    Ok(Outcome::Passed(String::new()))
}

/// Some guests take the first, some the last, some nothing of what comes twice (RFC 5722 wants the last); all live.
pub(super) fn overlapping(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    for overlap in [8, SIZE - 8] {
        let echo = request(station);
        let cut = fragments(Order::Forward, overlap, None);
        let frames = station.request(echo, "", "", |recipe| recipe.fragments(Some(cut)))?;
        station.cable.send(&frames, Damage::default())?;
        station.ping(56)?;
    }
    Ok(Outcome::Passed(String::new()))
}
