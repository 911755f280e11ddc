//! Which ports a command is for that can show several.

use control::Client;

/// The port that was named, or all that the server has.
pub(crate) fn meant(named: Option<u32>, client: &mut Client) -> anyhow::Result<Vec<u32>> {
    Ok(match named {
        Some(port) => vec![port],
        None => (0..client.info()?.ports).collect(),
    })
}
