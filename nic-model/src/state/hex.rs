//! Bytes as hexadecimal text.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes bytes.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    to.serialize_str(&text)
}

/// Reads bytes.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
    let digit = |digit: &u8| {
        char::from(*digit)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect::<Option<Vec<_>>>();
    bytes
        .filter(|_| rest.is_empty())
        .ok_or_else(|| D::Error::custom("not hexadecimal digits in pairs"))
}

/// The bytes in a value of their own.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Hex(#[serde(with = "crate::state::hex")] pub(crate) Vec<u8>);

/// The same for an array.
pub(crate) mod array {
    use serde::{Deserializer, Serializer, de::Error};

    /// Writes bytes.
    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(bytes, to)
    }

    /// Reads as many bytes as there are places.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = super::deserialize(from)?;
        let len = bytes.len();
        bytes
            .try_into()
            .map_err(|_| D::Error::custom(format!("{N} bytes are needed, not {len}")))
    }
}
