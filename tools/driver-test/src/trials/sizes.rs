//! Packets of all lengths.

use anyhow::{Result, ensure};
use wire::Damage;

use crate::{Outcome, Station, Wish, station::Echo};

/// Requests that are under way at a time: fewer than a small ring has descriptors.
const AT_ONCE: usize = 16;

pub(super) fn every(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let id = station.fresh();
    let sizes: Vec<usize> = (0..=station.longest()).collect();
    let mut seq = 0_u16;
    for group in sizes.chunks(AT_ONCE) {
        let echoes: Vec<Echo> = group
            .iter()
            .map(|payload| {
                seq = seq.wrapping_add(1);
                Echo {
                    id,
                    seq,
                    payload: *payload,
                }
            })
            .collect();
        let requests: Result<Vec<_>> = echoes.iter().map(|echo| station.echo(*echo)).collect();
        station.cable.send(&requests?, Damage::default())?;
        let answered = station.answers(&echoes)?;
        let missing = echoes.iter().find(|echo| !answered.contains(echo));
        ensure!(
            missing.is_none(),
            "no answer to a request with {} bytes of payload",
            missing.map_or(0, |echo| echo.payload)
        );
    }
    Ok(Outcome::Passed(format!("{} sizes", sizes.len())))
}

pub(super) fn beyond(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let id = station.fresh();
    // Longer than the MTU by a little, by the length of a buffer, and the longest that the card takes at all.
    let lengths = [station.mtu + 1, station.mtu + 22, 2048, 4096, 9000, 15_850];
    for (seq, length) in (1..).zip(lengths) {
        let echo = Echo {
            id,
            seq,
            payload: length.max(station.mtu + 1) - 28,
        };
        let request = station.echo(echo)?;
        station.cable.send(&[request], Damage::default())?;
        station.ping(56)?;
    }
    Ok(Outcome::Passed(String::new()))
}
