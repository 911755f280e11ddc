//! `ixgbectl module`.

use control::{Client, Module};
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct State {
    module: &'static str,
}

/// Changes what is in the cage, if a kind is given, and shows what is there then.
pub(crate) fn run(
    client: &mut Client,
    kind: Option<Module>,
    output: &mut Output,
) -> anyhow::Result<()> {
    if let Some(kind) = kind {
        client.set_module(kind)?;
    }
    let module = client.info()?.module.name();
    output.print(&State { module }, || format!("module {module}"))
}
