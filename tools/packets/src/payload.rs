//! What stands behind the last header.

use std::str::FromStr;

use crate::words;

/// Bytes behind the last header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// 0, 1, 2 and so on, as many as the length of the frame wants.
    #[default]
    Counting,
    /// These; to fill a longer frame, again and again.
    Bytes(Vec<u8>),
    /// Zeros.
    Zeros,
    /// Others in each frame, by chance (which is the same in each run).
    Random,
    /// That of the frame that is answered.
    Same,
}

/// A payload that is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a payload is text:TEXT, hex:DIGITS, counting, zeros, random, same (that of the frame that is answered), or @FILE"
)]
pub struct PayloadError;

impl FromStr for Payload {
    type Err = PayloadError;

    fn from_str(text: &str) -> Result<Self, PayloadError> {
        if let Some(text) = text.strip_prefix("text:") {
            return Ok(Self::Bytes(text.as_bytes().to_vec()));
        }
        if let Some(digits) = text.strip_prefix("hex:") {
            return words::hex(digits).map(Self::Bytes).ok_or(PayloadError);
        }
        match text {
            "counting" => Ok(Self::Counting),
            "zeros" => Ok(Self::Zeros),
            "random" => Ok(Self::Random),
            "same" => Ok(Self::Same),
            _ => Err(PayloadError),
        }
    }
}

impl Payload {
    /// The payload of frame `n`, of `len` bytes if that is said. `answered` is that of the frame that is answered.
    pub(crate) fn bytes(&self, n: u64, len: Option<usize>, answered: &[u8]) -> Vec<u8> {
        let repeat = |bytes: &[u8]| match len {
            None => bytes.to_vec(),
            Some(len) if bytes.is_empty() => vec![0; len],
            Some(len) => bytes.iter().copied().cycle().take(len).collect(),
        };
        match self {
            Self::Counting => (0..len.unwrap_or(0))
                .map(|at| at.to_le_bytes()[0])
                .collect(),
            Self::Zeros => vec![0; len.unwrap_or(0)],
            Self::Bytes(bytes) => repeat(bytes),
            Self::Same => repeat(answered),
            Self::Random => {
                let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                let next = |_| {
                    // xorshift64
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3]
                };
                (0..len.unwrap_or(0)).map(next).collect()
            }
        }
    }
}
