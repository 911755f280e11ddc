//! Where the far end of a socket is, as a person writes it.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::ParseError;

/// A host and a port with a colon between them; the host is a name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InetAddress(String);

impl InetAddress {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The port, which is in every address.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.0.rsplit_once(':').map(|(_, port)| port.parse());
        port.and_then(Result::ok).unwrap_or(0)
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let host_is_one = !host.is_empty() && (bracketed || !host.contains(':'));
        (host_is_one && port != 0).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for InetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A UNIX socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(InetAddress),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Who waits for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// This side connects, again and again until the peer listens.
    #[default]
    Connect,
    /// This side listens, and has one peer at a time.
    Listen,
}

/// `unix:PATH` or `tcp:HOST:PORT`, with `,server` behind it to listen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAddress {
    /// Where.
    pub place: Place,
    /// Who waits for whom.
    pub role: Role,
}

impl FromStr for StreamAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::StreamSocket(text.to_owned());
        let (place, role) = match text.split_once(',') {
            None => (text, Role::Connect),
            Some((place, "server" | "listen")) => (place, Role::Listen),
            Some(_) => return Err(error()),
        };
        let place = match place.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Place::Unix(path.into()),
            Some(("tcp", address)) => Place::Tcp(InetAddress::parse(address).ok_or_else(error)?),
            _ => return Err(error()),
        };
        Ok(Self { place, role })
    }
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        match self.role {
            Role::Connect => Ok(()),
            Role::Listen => f.write_str(",server"),
        }
    }
}

/// `unix:LOCAL,REMOTE` or `udp:HOST:PORT,HOST:PORT`, the own address first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramAddress {
    /// Two UNIX sockets.
    Unix {
        /// Made by this side.
        local: PathBuf,
        /// Made by the peer.
        remote: PathBuf,
    },
    /// Two UDP ports.
    Udp {
        /// Of this side.
        local: InetAddress,
        /// Of the peer.
        remote: InetAddress,
    },
}

impl FromStr for DatagramAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::DatagramSocket(text.to_owned());
        let (kind, places) = text.split_once(':').ok_or_else(error)?;
        let (local, remote) = places.split_once(',').ok_or_else(error)?;
        let inet = |text| InetAddress::parse(text).ok_or_else(error);
        match kind {
            "unix" if !local.is_empty() && !remote.is_empty() && !remote.contains(',') => {
                Ok(Self::Unix {
                    local: local.into(),
                    remote: remote.into(),
                })
            }
            "udp" => Ok(Self::Udp {
                local: inet(local)?,
                remote: inet(remote)?,
            }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for DatagramAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { local, remote } => {
                write!(f, "unix:{},{}", local.display(), remote.display())
            }
            Self::Udp { local, remote } => write!(f, "udp:{local},{remote}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stream_connects_unless_it_is_to_listen() {
        let connects: StreamAddress = "unix:/tmp/passt.socket".parse().unwrap();
        let listens: StreamAddress = "tcp:[::1]:5555,server".parse().unwrap();

        assert_eq!(connects.place, Place::Unix("/tmp/passt.socket".into()));
        assert_eq!((connects.role, listens.role), (Role::Connect, Role::Listen));
        assert_eq!(listens.to_string(), "tcp:[::1]:5555,server");
    }

    #[test]
    fn what_is_no_stream_is_refused_with_what_to_write() {
        let error = |text: &str| text.parse::<StreamAddress>().unwrap_err().to_string();

        for text in [
            "",
            "unix",
            "unix:",
            "tcp:host",
            "tcp:host:0",
            "tcp::5555",
            "tcp:::1:5555",
            "tcp:host:65536",
            "udp:host:1",
            "unix:/a,sever",
            "unix:/a,server=on",
        ] {
            let said = error(text);
            assert!(
                said.contains("stream:tcp:HOST:PORT") && said.contains(",server"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_datagram_socket_has_two_addresses_its_own_first() {
        let udp: DatagramAddress = "udp:0.0.0.0:5000,peer.example:5001".parse().unwrap();
        let unix: DatagramAddress = "unix:/tmp/a,/tmp/b".parse().unwrap();

        assert_eq!(udp.to_string(), "udp:0.0.0.0:5000,peer.example:5001");
        assert_eq!(
            unix,
            DatagramAddress::Unix {
                local: "/tmp/a".into(),
                remote: "/tmp/b".into()
            }
        );
    }

    #[test]
    fn what_is_no_pair_of_datagram_addresses_is_refused_with_what_to_write() {
        for text in [
            "udp:a:1",
            "unix:/a",
            "unix:,/b",
            "unix:/a,",
            "udp:a:1,b:0",
            "tcp:a:1,b:2",
            "unix:/a,/b,/c",
        ] {
            let said = text.parse::<DatagramAddress>().unwrap_err().to_string();
            assert!(said.contains("dgram:udp:HOST:PORT,HOST:PORT"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_that_reads_back_or_none(text in "(unix|tcp|udp)?:?.{0,12}(:[0-9]{1,6})?(,.{0,12})?") {
            if let Ok(address) = text.parse::<StreamAddress>() {
                prop_assert_eq!(address.to_string().parse::<StreamAddress>().unwrap(), address);
            }
            if let Ok(address) = text.parse::<DatagramAddress>() {
                prop_assert_eq!(address.to_string().parse::<DatagramAddress>().unwrap(), address);
            }
        }
    }
}
