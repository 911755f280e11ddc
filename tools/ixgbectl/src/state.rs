//! `ixgbectl save` and `ixgbectl load`.

use std::fs;

use anyhow::Context;
use control::Client;
use serde::Serialize;

use crate::{cli::StateArguments, output::Output};

#[derive(Serialize)]
struct Moved {
    bytes: usize,
}

/// Writes the port's state into a file.
pub(crate) fn save(
    client: &mut Client,
    arguments: &StateArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let path = &arguments.file;
    let state = client.save()?;
    fs::write(path, &state).with_context(|| format!("cannot write {}", path.display()))?;
    tell("saved", &state, arguments, output)
}

/// Puts the state that a file holds into the port.
pub(crate) fn load(
    client: &mut Client,
    arguments: &StateArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let path = &arguments.file;
    let state =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    client
        .load(&state)
        .with_context(|| format!("{} was not loaded", path.display()))?;
    tell("loaded", &state, arguments, output)
}

fn tell(
    what: &str,
    state: &str,
    arguments: &StateArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let bytes = state.len();
    output.print(&Moved { bytes }, || {
        format!("{what} {} ({bytes} bytes)", arguments.file.display())
    })
}
