//! The client's memory and the NVM: `Memory`, `ReadMemory`, `Nvm`.

use nic_model::{Bus, Port, bus::Iova};
use serde::{Deserialize, Serialize};

use super::event::{hex, hex_number};
use crate::protocol::ControlError;

/// Most bytes of one `ReadMemory`.
pub const MAX_READ: u32 = 64 << 10;

/// What the device may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryAccess {
    /// Nothing.
    None,
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Both.
    Both,
}

/// What stands behind memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryBacking {
    /// A file that the client has sent: it is mapped.
    File,
    /// The client: it is asked by messages.
    Messages,
}

/// A range of the client's memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mapping {
    /// Its first address.
    #[serde(with = "hex_number")]
    pub iova: u64,
    /// Its last address.
    #[serde(with = "hex_number")]
    pub last: u64,
    /// What the device may do.
    pub access: MemoryAccess,
    /// What stands behind it.
    pub backing: MemoryBacking,
}

/// Reply of `Memory`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mappings {
    /// By address, as many as fit a message.
    pub mappings: Vec<Mapping>,
    /// How many there are in all.
    pub total: u64,
}

/// Parameters of `ReadMemory`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadMemoryParameters {
    #[serde(with = "hex_number")]
    pub(crate) iova: u64,
    pub(crate) length: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u32>,
}

/// Reply of `ReadMemory`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct MemoryRead {
    /// The bytes.
    #[serde(with = "crate::base64")]
    pub data: Vec<u8>,
}

/// Reply of `Nvm`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NvmContents {
    /// All of it.
    #[serde(with = "crate::base64")]
    pub data: Vec<u8>,
    /// Whether the checksum word is right (6.2.44).
    pub checksum_right: bool,
}

/// Ranges that fit a message.
const MAX_MAPPINGS: usize = 6000;

pub(crate) fn mappings(mut all: Vec<Mapping>) -> Mappings {
    let total = all.len() as u64;
    all.truncate(MAX_MAPPINGS);
    Mappings {
        mappings: all,
        total,
    }
}

/// Reads memory that is mapped. What only messages reach is not asked for: that would be an act.
pub(crate) fn read(
    asked: &ReadMemoryParameters,
    bus: &dyn Bus,
) -> Result<MemoryRead, ControlError> {
    if asked.length > MAX_READ {
        return Err(ControlError::TooMuch);
    }
    let mut data = Vec::new();
    let (mut at, mut left) = (asked.iova, asked.length as usize);
    while left > 0 {
        let not_mapped = || ControlError::NotMapped { iova: hex(at) };
        let window = bus.look(Iova(at));
        let window = window.ok_or_else(not_mapped)?;
        // A window ends with a page.
        let page = usize::try_from(4096 - at % 4096).unwrap_or(1).min(left);
        let piece = window.slice(Iova(at), page).ok_or_else(not_mapped)?;
        let end = data.len();
        data.resize(end + page, 0);
        piece.copy_to(data.get_mut(end..).unwrap_or_default());
        left -= page;
        at = at.wrapping_add(page as u64);
    }
    Ok(MemoryRead { data })
}

pub(crate) fn nvm(port: &Port) -> NvmContents {
    let image = port.nvm().image();
    NvmContents {
        checksum_right: image.checksum_is_right(),
        data: image.to_bytes(),
    }
}
