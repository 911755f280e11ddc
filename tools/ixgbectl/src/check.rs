//! `ixgbectl check`.

use std::fmt::Write;

use anyhow::bail;
use control::{Checked, Client};
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct Port {
    port: u32,
    #[serde(flatten)]
    checked: Checked,
}

#[derive(Serialize)]
struct State {
    ports: Vec<Port>,
}

/// Shows what the driver checker has found. Anything found is a failure.
pub(crate) fn run(client: &mut Client, ports: &[u32], output: &mut Output) -> anyhow::Result<()> {
    let mut state = State { ports: Vec::new() };
    for port in ports {
        client.select(Some(*port));
        let checked = client.check()?;
        if !checked.checking {
            bail!("the server does not check drivers; start it with --check report");
        }
        state.ports.push(Port {
            port: *port,
            checked,
        });
    }
    output.print(&state, || text(&state))?;
    let found = state.ports.iter().map(|port| port.checked.findings.len());
    match found.sum::<usize>() {
        0 => Ok(()),
        1 => bail!("the driver breaks a rule"),
        rules => bail!("the driver breaks {rules} rules"),
    }
}

fn text(state: &State) -> String {
    let mut text = String::new();
    for port in &state.ports {
        for finding in &port.checked.findings {
            if state.ports.len() > 1 {
                let _ = write!(text, "port {}: ", port.port);
            }
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", finding.report);
            if finding.times > 1 {
                let _ = writeln!(text, "  seen: {} times", finding.times);
            }
        }
    }
    if text.is_empty() {
        text.push_str("the driver breaks no rule");
    }
    text
}
