//! `ixgbectl save` and `ixgbectl load`.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, ensure};
use control::{Client, MAX_MESSAGE};
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
    write(path, &state).with_context(|| format!("cannot write {}", path.display()))?;
    tell("saved", &state, arguments, output)
}

/// A new file can be read by its owner alone, as a recording: frames and addresses of the guest's memory are in it, and keys.
fn write(path: &Path, state: &str) -> io::Result<()> {
    recording::create(path)?.write_all(state.as_bytes())
}

/// Puts the state that a file holds into the port.
pub(crate) fn load(
    client: &mut Client,
    arguments: &StateArguments,
    output: &mut Output,
) -> anyhow::Result<()> {
    let path = &arguments.file;
    let failed = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    // What cannot be sent need not be read; the file may be a device that never ends.
    let mut bytes = Vec::new();
    file.take(MAX_MESSAGE as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    ensure!(
        bytes.len() <= MAX_MESSAGE,
        "{} is longer than a state that can be loaded: {MAX_MESSAGE} bytes are the most",
        path.display()
    );
    let state = String::from_utf8(bytes).with_context(failed)?;
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
