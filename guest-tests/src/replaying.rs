//! Recordings of scenarios, done again.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result, bail, ensure};
use recording::{Ending, Packets, Replay, Step, Until};

/// Does a recording again to its end; returns the packets that have passed.
///
/// # Errors
/// The file is broken or was cut, or the model does something else than what was recorded.
pub fn replay(path: &Path) -> Result<Packets> {
    let file = File::open(path).context("cannot open the recording")?;
    let mut replay = Replay::new(BufReader::new(file))?;
    match replay.run(Until::End)? {
        Step::End(Ending::Closed) => {}
        Step::Differs(difference) => bail!("the replay differs: {difference}"),
        other => bail!("the replay ends with {other:?}"),
    }
    ensure!(replay.calls() > 0, "nothing was recorded");
    Ok(replay.packets())
}
