//! What is not for the guest, and what is.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use packets::{Dissection, Layer};
use wire::Damage;

use crate::{
    Outcome, Station, Wish,
    station::{Echo, answers_id, is_arp_reply, text},
};

/// Of no vendor.
const OTHER: [u8; 6] = [0x02, 0x0F, 0x0E, 0x0D, 0x0C, 0x0B];

pub(super) fn unicast(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let echo = Echo {
        id: station.fresh(),
        seq: 1,
        payload: 56,
    };
    let mut request = station.echo(echo)?;
    if let Some(destination) = request.first_chunk_mut() {
        *destination = OTHER;
    }
    station.silence(
        &[request],
        |packet| answers_id(packet, echo.id),
        Damage::default(),
    )?;
    Ok(Outcome::Passed(String::new()))
}

/// An echo request with a tag.
fn tagged(station: &mut Station<'_>, echo: Echo, vlan: u16) -> Result<Vec<u8>> {
    let untagged = station.echo(echo)?;
    let (addresses, rest) = untagged
        .split_at_checked(12)
        .context("a request has addresses")?;
    let tag = [[0x81, 0x00], vlan.to_be_bytes()].concat();
    Ok([addresses, &tag, rest].concat())
}

pub(super) fn foreign_vlan(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let foreign = if wish.vlan.is_some_and(|(vlan, _)| vlan == 77) {
        78
    } else {
        77
    };
    let echo = Echo {
        id: station.fresh(),
        seq: 1,
        payload: 56,
    };
    let request = tagged(station, echo, foreign)?;
    station.silence(
        &[request],
        |packet| answers_id(packet, echo.id),
        Damage::default(),
    )?;
    Ok(Outcome::Passed(String::new()))
}

pub(super) fn own_vlan(station: &mut Station<'_>, wish: &Wish) -> Result<Outcome> {
    let Some((vlan, address)) = wish.vlan else {
        return Ok(Outcome::Skipped("give --vlan".to_owned()));
    };
    let source = text(station.addresses.mac);
    let asker = Ipv4Addr::from_bits(address.to_bits() ^ 1);
    let question = [
        (Layer::Eth, format!("src={source},dst=broadcast")),
        (Layer::Vlan, format!("id={vlan}")),
        (Layer::Arp, format!("who-has={address},tell={asker}")),
    ];
    let frames = station.frames(&question, None)?;
    station.cable.send(&frames, Damage::default())?;
    let answer = station.wait(|packet| is_arp_reply(packet, address))?;
    let answer = answer.with_context(|| format!("{address} does not answer ARP in VLAN {vlan}"))?;
    ensure!(
        Dissection::new(&answer).value(Layer::Vlan, "id") == Some(vlan.into()),
        "the answer is not in VLAN {vlan}: {}",
        packets::tell(&answer)
    );
    Ok(Outcome::Passed(format!("VLAN {vlan}")))
}

pub(super) fn groups(station: &mut Station<'_>, _: &Wish) -> Result<Outcome> {
    let source = text(station.addresses.mac);
    let mut frames = Vec::new();
    for number in 0..256_u32 {
        let [.., high, low] = number.to_be_bytes();
        for destination in [
            [0x01, 0x00, 0x5E, 0x7F, high, low],
            [0x33, 0x33, 0xFF, 0x12, high, low],
            [0xFF; 6],
        ] {
            // An experimental Ethertype: nobody answers it.
            let words = format!("src={source},dst={},type=0x88b5", text(destination));
            frames.extend(station.frames(&[(Layer::Eth, words)], Some(vec![low; 46]))?);
        }
    }
    for some in frames.chunks(64) {
        station.cable.send(some, Damage::default())?;
        station.ping(56)?;
    }
    Ok(Outcome::Passed(format!("{} frames", frames.len())))
}
