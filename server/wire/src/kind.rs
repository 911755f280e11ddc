//! Which wire: the argument of `--wire`.

use std::{fmt, str::FromStr};

use crate::{Backend, Host, HostConfig, Loopback, Null};

/// A wire by name, as a person writes it: `host`, `null` or `loopback`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Host`].
    Host,
    /// [`Null`].
    Null,
    /// [`Loopback`].
    Loopback,
}

impl Kind {
    /// Opens the wire.
    ///
    /// # Errors
    /// [`OpenError`], which names the cause and the next step.
    pub fn open(&self) -> Result<Box<dyn Backend>, OpenError> {
        Ok(match self {
            Self::Host => Box::new(Host::new(HostConfig::default())),
            Self::Null => Box::new(Null::new()),
            Self::Loopback => Box::new(Loopback::new()),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Null => f.write_str("null"),
            Self::Loopback => f.write_str("loopback"),
        }
    }
}

/// The name of a wire that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No such wire.
    #[error("unknown wire {0:?}: use host, null or loopback")]
    Unknown(String),
}

/// Why a wire could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {}

impl FromStr for Kind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "host" => Ok(Self::Host),
            "null" => Ok(Self::Null),
            "loopback" => Ok(Self::Loopback),
            other => Err(ParseError::Unknown(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_wire_is_refused_with_the_known_ones() {
        let error = "hots".parse::<Kind>().unwrap_err();

        assert_eq!(
            error.to_string(),
            "unknown wire \"hots\": use host, null or loopback"
        );
    }
}
