//! The payload of `VERSION`: two numbers and a JSON object of capabilities.

use serde::{Deserialize, Serialize};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The major version that this crate speaks.
pub const MAJOR: u16 = 0;

/// The highest minor version that this crate speaks. It is also what it answers: QEMU refuses
/// a minor version above its own 0, and nothing in 0.1 needs to be asked for.
pub const MINOR: u16 = 0;

/// `max_data_xfer_size` of a peer that does not say, in bytes.
pub const DEFAULT_MAX_DATA_XFER_SIZE: u32 = 1 << 20;

/// `max_msg_fds` of a peer that does not say.
pub const DEFAULT_MAX_MSG_FDS: u32 = 1;

/// `max_dma_maps` of a peer that does not say.
pub const DEFAULT_MAX_DMA_MAPS: u32 = 65_535;

/// `pgsizes` of a peer that does not say: pages of 4 KiB only.
pub const DEFAULT_PGSIZES: u64 = 4096;

/// The fixed part of the payload of `VERSION` and of its reply; the JSON text and its NUL follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Version {
    /// Has to be the same on both sides.
    pub major: U16,
    /// The reply's may not be above the request's.
    pub minor: U16,
}

const _: () = assert!(size_of::<Version>() == 4);

/// What a peer says it can do. `None` means that it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// How many file descriptors the sender takes with one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_msg_fds: Option<u32>,
    /// How many data bytes the sender takes in one read or write message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data_xfer_size: Option<u32>,
    /// How many DMA mappings the sender can hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_dma_maps: Option<u32>,
    /// The page sizes of DMA mappings, or'ed together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgsizes: Option<u64>,
    /// A second socket for the messages from server to client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin_socket: Option<TwinSocket>,
    /// Migration of the device's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    /// Whether the sender knows `REGION_WRITE_MULTI`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_multiple: Option<bool>,
}

/// The `twin_socket` capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinSocket {
    /// Whether the sender can do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported: Option<bool>,
    /// In a reply: which of the file descriptors that came along is the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_index: Option<u32>,
}

/// The `migration` capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The page size of dirty bitmaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgsize: Option<u64>,
    /// The largest dirty bitmap in bytes (QEMU).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bitmap_size: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct VersionData {
    capabilities: Option<Capabilities>,
}

/// Why the JSON text of a `VERSION` message cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionDataError {
    /// The text has to end with a NUL byte.
    #[error("the version data do not end with a NUL byte")]
    NoNul,
    /// It is not the JSON that the specification describes.
    #[error("the version data are not the JSON that the specification describes")]
    Json(#[source] serde_json::Error),
}

impl Capabilities {
    /// Reads what follows the two version numbers; nothing at all means no statement.
    ///
    /// # Errors
    ///
    /// When the text lacks its NUL or is not an object of the specified form. Keys without a
    /// meaning are passed over.
    pub fn from_version_data(data: &[u8]) -> Result<Self, VersionDataError> {
        if data.is_empty() {
            return Ok(Self::default());
        }
        let (b'\0', text) = data.split_last().ok_or(VersionDataError::NoNul)? else {
            return Err(VersionDataError::NoNul);
        };
        let data: VersionData = serde_json::from_slice(text).map_err(VersionDataError::Json)?;
        Ok(data.capabilities.unwrap_or_default())
    }

    /// The JSON text with its NUL.
    #[must_use]
    pub fn to_version_data(&self) -> Vec<u8> {
        let data = VersionData {
            capabilities: Some(self.clone()),
        };
        let mut text = serde_json::to_vec(&data).expect("numbers and booleans only");
        text.push(0);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &[u8] = b"{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \
        \"max_dma_maps\": 65535, \"max_data_xfer_size\": 1048576, \
        \"migration\": {\"max_bitmap_size\": 268435456, \"pgsize\": 4096}, \
        \"write_multiple\": true}}\0";

    #[test]
    fn what_qemu_offers_is_read() {
        let capabilities = Capabilities::from_version_data(QEMU).unwrap();

        assert_eq!(capabilities.max_msg_fds, Some(16));
        assert_eq!(capabilities.max_data_xfer_size, Some(1_048_576));
        assert_eq!(capabilities.max_dma_maps, Some(65_535));
        assert_eq!(capabilities.pgsizes, Some(4096));
        assert_eq!(capabilities.write_multiple, Some(true));
        assert_eq!(capabilities.twin_socket, None);
        assert_eq!(
            capabilities.migration.unwrap().max_bitmap_size,
            Some(268_435_456)
        );
    }

    #[test]
    fn no_data_and_empty_objects_make_no_statement() {
        for data in [&b""[..], b"{}\0", b"{\"capabilities\":{}}\0"] {
            assert_eq!(
                Capabilities::from_version_data(data).unwrap(),
                Capabilities::default()
            );
        }
    }

    #[test]
    fn unknown_keys_are_passed_over() {
        let data = b"{\"a\":[1,{}],\"capabilities\":{\"b\":{},\"max_msg_fds\":2}}\0";
        let capabilities = Capabilities::from_version_data(data).unwrap();
        assert_eq!(capabilities.max_msg_fds, Some(2));
    }

    #[test]
    fn malformed_version_data_are_refused() {
        for data in [
            &b"{}"[..],
            b"\0",
            b"{\0",
            b"{}x\0",
            b"{}\0{}\0",
            b"[]\0",
            b"{\"capabilities\":[]}\0",
            b"{\"capabilities\":\"x\"}\0",
            b"{\"capabilities\":{\"max_msg_fds\":-1}}\0",
            b"{\"capabilities\":{\"max_msg_fds\":\"1\"}}\0",
            b"{\"capabilities\":{\"max_data_xfer_size\":1e99}}\0",
            b"{\"capabilities\":{\"migration\":7}}\0",
            b"{\"capabilities\":{\"pgsizes\":{}}}\0",
            b"{\"capabilities\":{\"write_multiple\":1}}\0",
            b"\xff\xfe\0",
        ] {
            assert!(
                Capabilities::from_version_data(data).is_err(),
                "{}",
                String::from_utf8_lossy(data)
            );
        }
    }

    #[test]
    fn capabilities_survive_their_own_text() {
        let capabilities = Capabilities {
            max_msg_fds: Some(16),
            pgsizes: Some(4096),
            twin_socket: Some(TwinSocket {
                supported: Some(true),
                fd_index: Some(0),
            }),
            write_multiple: Some(true),
            ..Capabilities::default()
        };
        let data = capabilities.to_version_data();
        assert_eq!(
            Capabilities::from_version_data(&data).unwrap(),
            capabilities
        );
    }
}
