//! Which wire: the argument of `--wire`.

use std::{fmt, io, str::FromStr};

use guest_memory::{packet::PacketError, tap::TapError};

use crate::{
    AfPacket, Backend, Cables, DatagramAddress, DatagramSocket, Generate, Host, HostConfig,
    Loopback, Null, SocketError, Stream, StreamAddress, StreamSocket, Tap,
};

/// A wire by name, as a person writes it: `host`, `tap:NAME`, `af_packet:IFACE`, `stream:unix:PATH`,
/// `stream:tcp:HOST:PORT`, `dgram:udp:HOST:PORT,HOST:PORT`, `dgram:unix:LOCAL,REMOTE`, `pair:NAME`, `null`, `loopback` or
/// `generate:RATE,SIZE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Host`].
    Host,
    /// [`Tap`] of this name.
    Tap(String),
    /// [`StreamSocket`].
    StreamSocket(StreamAddress),
    /// [`DatagramSocket`].
    DatagramSocket(DatagramAddress),
    /// [`AfPacket`] on the interface of this name.
    AfPacket(String),
    /// An end of the cable of this name between two ports: [`Pair`](crate::Pair).
    Pair(String),
    /// [`Null`].
    Null,
    /// [`Loopback`].
    Loopback,
    /// [`Generate`].
    Generate(Stream),
}

impl Kind {
    /// Opens the wire; `cables` are those between the ports of this process.
    ///
    /// # Errors
    /// [`OpenError`], which names the cause and the next step.
    pub fn open(&self, cables: &mut Cables) -> Result<Box<dyn Backend>, OpenError> {
        Ok(match self {
            Self::Host => Box::new(Host::new(HostConfig::default())),
            Self::Tap(name) => Box::new(Tap::open(name)?),
            Self::StreamSocket(address) => Box::new(StreamSocket::open(address)?),
            Self::DatagramSocket(address) => Box::new(DatagramSocket::open(address)?),
            Self::AfPacket(name) => Box::new(AfPacket::open(name)?),
            Self::Pair(name) => Box::new(cables.end(name)?),
            Self::Null => Box::new(Null::new()),
            Self::Loopback => Box::new(Loopback::new()),
            Self::Generate(stream) => Box::new(Generate::new(*stream)),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Tap(name) => write!(f, "tap:{name}"),
            Self::StreamSocket(address) => write!(f, "stream:{address}"),
            Self::DatagramSocket(address) => write!(f, "dgram:{address}"),
            Self::AfPacket(name) => write!(f, "af_packet:{name}"),
            Self::Pair(name) => write!(f, "pair:{name}"),
            Self::Null => f.write_str("null"),
            Self::Loopback => f.write_str("loopback"),
            Self::Generate(stream) => write!(f, "generate:{stream}"),
        }
    }
}

/// The name of a wire that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No such wire.
    #[error(
        "unknown wire {0:?}: use host, tap:NAME, af_packet:IFACE, stream:unix:PATH, stream:tcp:HOST:PORT, dgram:udp:HOST:PORT,HOST:PORT, \
         dgram:unix:LOCAL,REMOTE, pair:NAME, null, loopback or generate:RATE,SIZE"
    )]
    Unknown(String),
    /// A tap without a name.
    #[error("the tap has no name: write tap:NAME, for example tap:tap0")]
    NoTapName,
    /// A packet socket without an interface.
    #[error("the interface has no name: write af_packet:IFACE, for example af_packet:eth0")]
    NoInterface,
    /// A cable without a name.
    #[error("the cable has no name: write pair:NAME, the same for the two ports that it joins")]
    NoCableName,
    /// Not `RATE,SIZE`.
    #[error(
        "{0:?} is no stream: write generate:RATE,SIZE with RATE max, line or a number with pps, kpps or Mpps, and SIZE \
         60 to 9710, for example generate:2Mpps,60"
    )]
    Stream(String),
    /// Not the address of a stream socket.
    #[error(
        "{0:?} is no stream socket: write stream:unix:PATH or stream:tcp:HOST:PORT to connect, and the same with ,server \
         behind it to listen there, for example stream:tcp:0.0.0.0:5555,server"
    )]
    StreamSocket(String),
    /// Not two addresses of datagram sockets.
    #[error(
        "{0:?} is no datagram socket: write dgram:udp:HOST:PORT,HOST:PORT or dgram:unix:LOCAL,REMOTE with the own address \
         first, for example dgram:udp:0.0.0.0:5555,192.0.2.1:5555"
    )]
    DatagramSocket(String),
}

/// Why a wire could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A tap device.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// A stream or datagram socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A packet socket.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The system tells nothing of its interfaces.
    #[error("cannot watch the network interfaces of this machine")]
    Watch(#[source] io::Error),
    /// A third port on a cable.
    #[error("the cable pair:{0} has two ends, and both are taken; choose another name")]
    CableInUse(String),
    /// No descriptors for a cable.
    #[error("cannot make a cable")]
    Cable(#[source] io::Error),
}

impl FromStr for Kind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "host" => Ok(Self::Host),
            "tap" | "tap:" => Err(ParseError::NoTapName),
            "af_packet" | "af_packet:" => Err(ParseError::NoInterface),
            "null" => Ok(Self::Null),
            "loopback" => Ok(Self::Loopback),
            "stream" => Err(ParseError::StreamSocket(String::new())),
            "dgram" => Err(ParseError::DatagramSocket(String::new())),
            "pair" | "pair:" => Err(ParseError::NoCableName),
            other => match other.split_once(':') {
                Some(("tap", name)) => Ok(Self::Tap(name.to_owned())),
                Some(("af_packet", name)) => Ok(Self::AfPacket(name.to_owned())),
                Some(("pair", name)) => Ok(Self::Pair(name.to_owned())),
                Some(("stream", address)) => Ok(Self::StreamSocket(address.parse()?)),
                Some(("dgram", addresses)) => Ok(Self::DatagramSocket(addresses.parse()?)),
                Some(("generate", stream)) => Ok(Self::Generate(stream.parse()?)),
                _ => Err(ParseError::Unknown(other.to_owned())),
            },
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
            "unknown wire \"hots\": use host, tap:NAME, af_packet:IFACE, stream:unix:PATH, stream:tcp:HOST:PORT, \
             dgram:udp:HOST:PORT,HOST:PORT, dgram:unix:LOCAL,REMOTE, pair:NAME, null, loopback or generate:RATE,SIZE"
        );
    }

    #[test]
    fn a_name_and_its_kind_are_the_same() {
        let kind: Kind = "tap:tap0".parse().unwrap();

        assert_eq!(kind, Kind::Tap("tap0".to_owned()));
        assert_eq!(kind.to_string(), "tap:tap0");
    }

    #[test]
    fn an_interface_is_named_behind_af_packet() {
        let kind: Kind = "af_packet:eth0".parse().unwrap();

        assert_eq!(kind, Kind::AfPacket("eth0".to_owned()));
        assert_eq!(kind.to_string(), "af_packet:eth0");
        assert_eq!("af_packet:".parse::<Kind>(), Err(ParseError::NoInterface));
    }

    #[test]
    fn a_missing_tap_is_told_with_the_next_step() {
        let error = Kind::Tap("no-such-tap".to_owned())
            .open(&mut Cables::new())
            .unwrap_err();

        assert_eq!(
            error.to_string(),
            "there is no network interface no-such-tap; \
             make it with: ip tuntap add dev no-such-tap mode tap user $USER"
        );
    }
}
