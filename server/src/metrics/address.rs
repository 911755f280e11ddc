//! Where `/metrics` is.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

/// What `--metrics` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// An address and a TCP port; port 0 is any that is free.
    Tcp(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// A text names no [`MetricsAddress`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no address for metrics; give ADDRESS:PORT, as in 127.0.0.1:9382, or unix:PATH")]
pub struct MetricsAddressError(String);

impl FromStr for MetricsAddress {
    type Err = MetricsAddressError;

    fn from_str(text: &str) -> Result<Self, MetricsAddressError> {
        let wrong = || MetricsAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let address = match text.strip_prefix("localhost:") {
            Some(port) => port
                .parse()
                .ok()
                .map(|port| (Ipv4Addr::LOCALHOST, port).into()),
            None => text.parse().ok(),
        };
        address.map(Self::Tcp).ok_or_else(wrong)
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}/metrics"),
            Self::Unix(path) => write!(f, "unix:{} at /metrics", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_port_or_a_path_is_one() {
        let parsed = ["127.0.0.1:9382", "[::1]:0", "localhost:80", "unix:/run/m"]
            .map(|text| text.parse::<MetricsAddress>().unwrap().to_string());

        assert_eq!(
            parsed,
            [
                "http://127.0.0.1:9382/metrics",
                "http://[::1]:0/metrics",
                "http://127.0.0.1:80/metrics",
                "unix:/run/m at /metrics"
            ]
        );
    }

    #[test]
    fn what_lacks_one_of_them_is_refused_with_what_is_wanted() {
        let refused = ["", "9382", ":9382", "127.0.0.1", "127.0.0.1:65536", "unix:"]
            .map(|text| text.parse::<MetricsAddress>().unwrap_err().to_string());

        assert!(refused.iter().all(|line| line.contains("ADDRESS:PORT")));
    }
}
