//! What happens to a NIC in its life.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use control::{HardwareError, Link};

use super::reach;
use crate::{Outcome, Station, Wish};

const FLAPS: u32 = 5;
/// How long the driver is watched after an error.
const WATCHED: Duration = Duration::from_secs(1);

pub(super) fn flaps(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let mut longest = Duration::ZERO;
    for flap in 1..=FLAPS {
        station.cable.plug(Link::Down)?;
        // Some see it, some do not: short ones and longer ones.
        let away = Duration::from_millis(u64::from(flap) * 20);
        station.away(away)?;
        station.cable.plug(Link::Up)?;
        let begin = Instant::now();
        // What is sent before is lost on the cable.
        reach::wait_for_link(station, wish.recovery)
            .and_then(|()| station.ping_until(wish.recovery))
            .with_context(|| format!("after flap {flap}"))?;
        longest = longest.max(begin.elapsed());
    }
    Ok(Outcome::Passed(format!(
        "{FLAPS} of them, back in {} ms at most",
        longest.as_millis()
    )))
}

pub(super) fn ecc(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let mut longest = Duration::ZERO;
    for error in [HardwareError::ReceiveEcc, HardwareError::TransmitEcc] {
        station.cable.fail(error)?;
        // The driver resets the card because of it a moment later, which is the longest silence.
        let begin = Instant::now();
        while begin.elapsed() < WATCHED {
            let back = station.ping_until(wish.recovery);
            longest = longest.max(back.with_context(|| format!("after {error}"))?);
        }
    }
    Ok(Outcome::Passed(format!(
        "answers after {} ms at most",
        longest.as_millis()
    )))
}
