//! `ixgbectl fault`.

use control::{Client, HardwareError};
use serde::Serialize;

use crate::output::Output;

#[derive(Serialize)]
struct Fault {
    fault: &'static str,
    message: Option<String>,
}

/// Lets the card have an error, and shows what it says to the root complex.
pub(crate) fn run(
    client: &mut Client,
    kind: HardwareError,
    output: &mut Output,
) -> anyhow::Result<()> {
    let message = client.inject_error(kind)?;
    let fault = Fault {
        fault: kind.name(),
        message,
    };
    output.print(&fault, || match &fault.message {
        Some(message) => format!("fault {kind}, message {message}"),
        None => format!("fault {kind}"),
    })
}
