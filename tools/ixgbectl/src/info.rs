//! `ixgbectl info`.

use std::{fmt::Write, path::Path};

use control::{Client, Info};
use serde::Serialize;

use crate::{link::cable_name, output::Output};

#[derive(Serialize)]
struct Server<'a> {
    #[serde(flatten)]
    info: &'a Info,
    control: &'a Path,
}

#[derive(Serialize)]
struct Servers<'a> {
    ports: Vec<Server<'a>>,
}

/// Shows who answers, and the state of `ports`.
pub(crate) fn run(
    client: &mut Client,
    control: &Path,
    ports: &[u32],
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut infos = Vec::new();
    for port in ports {
        client.select(Some(*port).filter(|port| *port != 0));
        infos.push(client.info()?);
    }
    let server = |info| Server { info, control };
    match infos.as_slice() {
        [info] => output.print(&server(info), || table(control, &infos)),
        several => {
            let ports = several.iter().map(server).collect();
            output.print(&Servers { ports }, || table(control, several))
        }
    }
}

/// What is said once of the server, then a paragraph for each port.
fn table(control: &Path, infos: &[Info]) -> String {
    let mut text = String::new();
    for (index, info) in infos.iter().enumerate() {
        // Writing to a string does not fail.
        if index == 0 {
            let _ = writeln!(
                text,
                "server   vfio-user-ixgbe {}, process {}\ncontrol  {}",
                info.version,
                info.pid,
                control.display(),
            );
        }
        if info.ports > 1 {
            let _ = writeln!(text, "\nport     {} of {}", info.port, info.ports);
        }
        let _ = writeln!(
            text,
            "wire     {}\nmodule   {}\naddress  {}\ncable    {}\ncarrier  {}",
            info.wire,
            info.module,
            info.address.as_deref().unwrap_or("unknown"),
            cable_name(info.cable),
            if info.carrier { "yes" } else { "no" },
        );
    }
    text
}
