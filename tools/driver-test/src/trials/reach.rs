//! Whether the guest is there at all.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{Outcome, Station, Wish};

/// `RXCTRL.RXEN` (8.2.3.8.10).
const RXEN: u32 = 1;
/// `LINKS.LINK_UP` (8.2.3.22.20).
const LINK_UP: u32 = 1 << 30;

pub(super) fn link(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let begin = Instant::now();
    loop {
        let receives = station.cable.register("RXCTRL")? & RXEN != 0;
        let up = station.cable.register("LINKS")? & LINK_UP != 0;
        if receives && up {
            return Ok(Outcome::Passed(String::new()));
        }
        ensure!(
            begin.elapsed() < wish.recovery,
            "{}",
            if receives {
                "LINKS.LINK_UP is 0: is the other end of the cable up?"
            } else {
                "RXCTRL.RXEN is 0: the driver is not there, or its interface is down"
            }
        );
        // The guest's frames tell nothing here; the time passes.
        station.cable.next(Duration::from_millis(50))?;
    }
}

pub(super) fn arp(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let begin = Instant::now();
    let mac = loop {
        match station.who_has(station.addresses.guest) {
            Ok(Some(mac)) => break mac,
            // A guest that comes up just now has no link for a moment.
            Ok(None) | Err(_) if begin.elapsed() < wish.recovery => {
                station.away(Duration::from_millis(50))?;
            }
            _ => break station.guest()?,
        }
    };
    Ok(Outcome::Passed(crate::station::text(mac)))
}

pub(super) fn arp_for_another(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let patience = station.patience;
    // The answer to the ping below comes after the one that must not be.
    station.patience = patience / 20;
    let other = station.addresses.other();
    let answer = station.who_has(other);
    station.patience = patience;
    if let Some(mac) = answer? {
        return Ok(Outcome::Skipped(format!(
            "{} answers for {other}: proxy ARP?",
            crate::station::text(mac)
        )));
    }
    station.ping(56)?;
    Ok(Outcome::Passed(String::new()))
}
