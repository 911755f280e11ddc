//! `ixgbectl link` and `ixgbectl info`.

use std::path::Path;

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

#[derive(Serialize)]
struct Server<'a> {
    #[serde(flatten)]
    info: &'a Info,
    control: &'a Path,
}

/// Shows who answers.
pub(crate) fn info(client: &mut Client, control: &Path, output: &mut Output) -> anyhow::Result<()> {
    let info = client.info()?;
    let server = Server {
        info: &info,
        control,
    };
    output.print(&server, || {
        format!(
            "server   vfio-user-ixgbe {}, process {}\ncontrol  {}\nwire     {}\nmodule   {}\ncable    {}\ncarrier  {}",
            info.version,
            info.pid,
            control.display(),
            info.wire,
            info.module,
            cable_name(info.cable),
            if info.carrier { "yes" } else { "no" },
        )
    })
}

const fn cable_name(cable: Link) -> &'static str {
    match cable {
        Link::Up => "up",
        Link::Down => "down",
    }
}

const fn carrier_text(carrier: bool) -> &'static str {
    if carrier { "carrier" } else { "no carrier" }
}
