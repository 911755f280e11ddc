//! `ixgbectl link`.

use control::{Client, Info, Link};
use serde::Serialize;

use crate::{cli::LinkState, output::Output};

#[derive(Serialize)]
struct State {
    cable: Link,
    carrier: bool,
}

/// Sets the state, if one is given, and shows what it is then.
pub(crate) fn run(
    client: &mut Client,
    state: Option<LinkState>,
    output: &mut Output,
) -> anyhow::Result<()> {
    if let Some(state) = state {
        client.set_link(match state {
            LinkState::Up => Link::Up,
            LinkState::Down => Link::Down,
        })?;
    }
    let Info { cable, carrier, .. } = client.info()?;
    output.print(&State { cable, carrier }, || {
        format!("cable {}, {}", cable_name(cable), carrier_text(carrier))
    })
}

pub(crate) const fn cable_name(cable: Link) -> &'static str {
    match cable {
        Link::Up => "up",
        Link::Down => "down",
    }
}

const fn carrier_text(carrier: bool) -> &'static str {
    if carrier { "carrier" } else { "no carrier" }
}
