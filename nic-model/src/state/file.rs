//! How a file holds a state: a line with what it is and its version, then JSON whose fields have names.
//!
//! Versions: a field that is new has a default that means "as before", and the number stays; a state of another number is
//! refused, unless this module knows how to read it. A field that this program does not know is refused with its name,
//! since what it says would be lost.

use super::{State, StateError};

/// The version that is written.
pub const VERSION: u32 = 1;

/// What stands before the version.
const MAGIC: &str = "ixgbe port state ";

impl State {
    /// Bytes that a file has at most: eight packet buffers of a megabyte full of the shortest frames are some 55 MB of text,
    /// Flow Director's filters 8, the flash 1.
    pub const LONGEST: usize = 96 << 20;

    /// The bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{MAGIC}{VERSION}\n").into_bytes();
        let json =
            serde_json::to_vec(self).expect("it has no map whose keys are not numbers or names");
        bytes.extend(json);
        bytes.push(b'\n');
        bytes
    }

    /// The state that the bytes of a file hold. They may come from anywhere.
    ///
    /// # Errors
    /// What it is not, or the field that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let rest = bytes
            .strip_prefix(MAGIC.as_bytes())
            .ok_or_else(|| StateError::new("magic", format!("a state begins with '{MAGIC}'")))?;
        StateError::unless(
            bytes.len() <= Self::LONGEST,
            "length",
            format!("{} bytes are more than any state has", bytes.len()),
        )?;
        let end = rest.iter().take(16).position(|byte| *byte == b'\n');
        let (version, rest) = end
            .and_then(|end| Some((rest.get(..end)?, rest.get(end..)?)))
            .ok_or_else(|| StateError::new("version", "there is none"))?;
        StateError::unless(
            version == VERSION.to_string().as_bytes(),
            "version",
            format!(
                "this program reads version {VERSION}, and this is '{}'",
                String::from_utf8_lossy(version)
            ),
        )?;
        let mut json = serde_json::Deserializer::from_slice(rest);
        let state = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| StateError::new(error.path().to_string(), error.into_inner()))?;
        json.end().map_err(|error| StateError::new("end", error))?;
        Ok(state)
    }
}
