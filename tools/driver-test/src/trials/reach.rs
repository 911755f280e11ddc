//! Whether the guest is there at all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use packets::Dissection;
use wire::Damage;

use crate::{Outcome, Station, Wish, station};

/// `RXCTRL.RXEN` (8.2.3.8.10).
const RXEN: u32 = 1;
/// `LINKS.LINK_UP` (8.2.3.22.20).
const LINK_UP: u32 = 1 << 30;

pub(super) fn link(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    wait_for_link(station, wish.boot)?;
    Ok(Outcome::Passed(String::new()))
}

/// Waits until the card receives and has its link.
pub(super) fn wait_for_link(station: &mut Station<'_>, limit: Duration) -> Result<()> {
    let begin = Instant::now();
    loop {
        let receives = station.cable.register("RXCTRL")? & RXEN != 0;
        let up = station.cable.register("LINKS")? & LINK_UP != 0;
        if receives && up {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < limit,
            "{}",
            if receives {
                "LINKS.LINK_UP is 0: is the other end of the cable up?"
            } else {
                "RXCTRL.RXEN is 0: the driver is not there, or its interface is down"
            }
        );
        station.away(Duration::from_millis(50))?;
    }
}

pub(super) fn arp(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let begin = Instant::now();
    let mac = loop {
        match station.who_has(station.addresses.guest) {
            Ok(Some(mac)) => break mac,
            // A guest that comes up just now has no link for a moment.
            Ok(None) | Err(_) if begin.elapsed() < wish.boot => {
                station.away(Duration::from_millis(50))?;
            }
            _ => break station.guest()?,
        }
    };
    Ok(Outcome::Passed(station::text(mac)))
}

pub(super) fn arp_for_another(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let other = station.addresses.other();
    let question = station.question(other)?;
    let is_answer = move |packet: &Dissection<'_>| station::is_arp_reply(packet, other);
    station
        .silence(&[question], is_answer, Damage::default())
        .with_context(|| format!("asked by ARP for {other} (proxy ARP?)"))?;
    Ok(Outcome::Passed(String::new()))
}
