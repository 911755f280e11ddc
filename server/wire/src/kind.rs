//! Which wire: the argument of `--wire`.

use std::{fmt, io, str::FromStr};

use guest_memory::{packet::PacketError, tap::TapError};

use crate::{
    AfPacket, Backend, Cables, DatagramAddress, DatagramSocket, Decoration, Generate, Host,
    HostConfig, Loopback, Null, Replay, ReplayError, ReplayOptions, SocketError, Stream,
    StreamAddress, StreamSocket, Tap, XdpQueue, decoration, file::RecordError,
};

/// A wire by name, as a person writes it: `host`, `tap:NAME`, `af_packet:IFACE`, `af_xdp:IFACE[,QUEUE]`, `stream:unix:PATH`,
/// `stream:tcp:HOST:PORT`, `dgram:udp:HOST:PORT,HOST:PORT`, `dgram:unix:LOCAL,REMOTE`, `pair:NAME`, `null`, `loopback` or
/// `generate:RATE,SIZE` or `pcap:IN`, each with any number of [`Decoration`]s behind it: `tap:tap0+latency=50us+rate=10G`.
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
    /// `AfXdp` on this queue of an interface.
    AfXdp(XdpQueue),
    /// An end of the cable of this name between two ports: [`Pair`](crate::Pair).
    Pair(String),
    /// [`Null`].
    Null,
    /// [`Loopback`].
    Loopback,
    /// [`Generate`].
    Generate(Stream),
    /// [`Replay`].
    Pcap(ReplayOptions),
    /// A wire with something on its cable.
    Decorated(Box<Self>, Vec<Decoration>),
}

impl Kind {
    /// Whether options of the form `NAME=VALUE` with a comma before them may stand behind this text of a wire.
    #[must_use]
    pub fn takes_options(text: &str) -> bool {
        text.starts_with("pcap:")
    }

    /// The name of the cable between two ports of which this is an end.
    #[must_use]
    pub fn cable(&self) -> Option<&str> {
        match self {
            Self::Pair(name) => Some(name),
            Self::Decorated(wire, _) => wire.cable(),
            _ => None,
        }
    }

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
            #[cfg(feature = "af-xdp")]
            Self::AfXdp(queue) => Box::new(crate::AfXdp::open(queue)?),
            #[cfg(not(feature = "af-xdp"))]
            Self::AfXdp(queue) => return Err(OpenError::WithoutXdp(queue.interface.clone())),
            Self::Pair(name) => Box::new(cables.end(name)?),
            Self::Null => Box::new(Null::new()),
            Self::Loopback => Box::new(Loopback::new()),
            Self::Generate(stream) => Box::new(Generate::new(*stream)),
            Self::Pcap(options) => Box::new(Replay::open(options)?),
            Self::Decorated(wire, decorations) => {
                let wire = wire.open(cables)?;
                decorations
                    .iter()
                    .try_fold(wire, |wire, decoration| decoration.put_on(wire))?
            }
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
            Self::AfXdp(queue) => write!(f, "af_xdp:{queue}"),
            Self::Pair(name) => write!(f, "pair:{name}"),
            Self::Null => f.write_str("null"),
            Self::Loopback => f.write_str("loopback"),
            Self::Generate(stream) => write!(f, "generate:{stream}"),
            Self::Pcap(options) => write!(f, "pcap:{options}"),
            Self::Decorated(wire, decorations) => {
                write!(f, "{wire}")?;
                decorations
                    .iter()
                    .try_for_each(|decoration| write!(f, "+{decoration}"))
            }
        }
    }
}

/// The name of a wire that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No such wire.
    #[error(
        "unknown wire {0:?}: use host, tap:NAME, af_packet:IFACE, af_xdp:IFACE,QUEUE, stream:unix:PATH, stream:tcp:HOST:PORT, dgram:udp:HOST:PORT,HOST:PORT, \
         dgram:unix:LOCAL,REMOTE, pair:NAME, null, loopback, generate:RATE,SIZE or pcap:IN"
    )]
    Unknown(String),
    /// A tap without a name.
    #[error("the tap has no name: write tap:NAME, for example tap:tap0")]
    NoTapName,
    /// A packet socket without an interface.
    #[error("the interface has no name: write af_packet:IFACE, for example af_packet:eth0")]
    NoInterface,
    /// Not `IFACE[,QUEUE]`.
    #[error(
        "{0:?} is no queue of an interface: write af_xdp:IFACE or af_xdp:IFACE,QUEUE, for example af_xdp:eth0,2"
    )]
    XdpQueue(String),
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
    /// A replay without a file.
    #[error("the replay has no file: write pcap:IN, for example pcap:in.pcapng")]
    NoReplayPath,
    /// Not an option of a replay.
    #[error(
        "{0:?} is nothing that pcap:IN takes: write pcap:IN[,OUT][,speed=SPEED][,loop[=TIMES]], for example \
         pcap:in.pcapng,out.pcapng,speed=2x,loop"
    )]
    ReplayOption(String),
    /// Not the speed of a replay.
    #[error(
        "{0:?} is no speed of a replay: write speed=recorded, max, a multiple (2x, 0.5x), frames a second (1Mpps) or a \
         line's speed (line, 1G, 100M)"
    )]
    Speed(String),
    /// Nothing that can be put on a cable.
    #[error(
        "+{0} is nothing that can be put on a cable: use +rate=10G, +latency=50us or +capture=FILE"
    )]
    Decoration(String),
    /// A capture without a file.
    #[error("the capture has no file: write capture=FILE, for example capture=run.pcapng")]
    NoCapturePath,
    /// Not a speed of a line.
    #[error(
        "{0:?} is no speed of a line: write rate=RATE with RATE line (10G) or a number with k, M or G bits a second, from \
         1k to 1000G, for example rate=2.5G"
    )]
    LineRate(String),
    /// Not a latency.
    #[error(
        "{0:?} is no latency: write latency=TIME with a number with ns, us, ms or s, at most 10s, for example \
         latency=50us"
    )]
    Latency(String),
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
    /// An AF_XDP socket.
    #[cfg(feature = "af-xdp")]
    #[error(transparent)]
    Xdp(#[from] guest_memory::xdp::XdpError),
    /// The feature is off.
    #[error(
        "this server was built without af_xdp; build it with --features af-xdp, or use af_packet:{0}"
    )]
    WithoutXdp(String),
    /// The system tells nothing of its interfaces.
    #[error("cannot watch the network interfaces of this machine")]
    Watch(#[source] io::Error),
    /// The file of a capture.
    #[error(transparent)]
    Capture(#[from] RecordError),
    /// The file of a replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
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
        let (wire, decorations) = decoration::split(text);
        if decorations.is_empty() {
            return Self::bare(wire).map_err(|error| match wire.split_once('+') {
                Some((wire, rest)) if Self::bare(wire).is_ok() => {
                    ParseError::Decoration(rest.to_owned())
                }
                _ => error,
            });
        }
        let wire = Box::new(Self::bare(wire)?);
        let decorations = decorations.into_iter().map(str::parse);
        Ok(Self::Decorated(
            wire,
            decorations.collect::<Result<_, _>>()?,
        ))
    }
}

impl Kind {
    /// A wire with nothing on its cable.
    fn bare(text: &str) -> Result<Self, ParseError> {
        match text {
            "host" => Ok(Self::Host),
            "tap" | "tap:" => Err(ParseError::NoTapName),
            "af_packet" | "af_packet:" => Err(ParseError::NoInterface),
            "af_xdp" => Err(ParseError::XdpQueue(String::new())),
            "null" => Ok(Self::Null),
            "pcap" => Err(ParseError::NoReplayPath),
            "loopback" => Ok(Self::Loopback),
            "stream" => Err(ParseError::StreamSocket(String::new())),
            "dgram" => Err(ParseError::DatagramSocket(String::new())),
            "pair" | "pair:" => Err(ParseError::NoCableName),
            other => match other.split_once(':') {
                Some(("tap", name)) => Ok(Self::Tap(name.to_owned())),
                Some(("af_packet", name)) => Ok(Self::AfPacket(name.to_owned())),
                Some(("af_xdp", queue)) => Ok(Self::AfXdp(queue.parse()?)),
                Some(("pair", name)) => Ok(Self::Pair(name.to_owned())),
                Some(("stream", address)) => Ok(Self::StreamSocket(address.parse()?)),
                Some(("dgram", addresses)) => Ok(Self::DatagramSocket(addresses.parse()?)),
                Some(("generate", stream)) => Ok(Self::Generate(stream.parse()?)),
                Some(("pcap", options)) => Ok(Self::Pcap(options.parse()?)),
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
            "unknown wire \"hots\": use host, tap:NAME, af_packet:IFACE, af_xdp:IFACE,QUEUE, stream:unix:PATH, stream:tcp:HOST:PORT, \
             dgram:udp:HOST:PORT,HOST:PORT, dgram:unix:LOCAL,REMOTE, pair:NAME, null, loopback, generate:RATE,SIZE or pcap:IN"
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
    fn what_stands_on_the_cable_is_read_and_written_in_its_order() {
        let text = "tap:tap0+rate=2500M+latency=50us+rate=10G";

        let kind: Kind = text.parse().unwrap();

        let Kind::Decorated(wire, decorations) = &kind else {
            panic!("{kind:?}")
        };
        assert_eq!(**wire, Kind::Tap("tap0".to_owned()));
        assert_eq!(decorations.len(), 3);
        assert_eq!(kind.to_string(), text);
    }

    #[test]
    fn a_plus_that_begins_no_decoration_belongs_to_the_name() {
        let kind: Kind = "tap:a+b".parse().unwrap();

        assert_eq!(kind, Kind::Tap("a+b".to_owned()));
    }

    #[test]
    fn what_cannot_be_put_on_a_cable_is_refused_with_what_can() {
        let error = |text: &str| text.parse::<Kind>().unwrap_err().to_string();

        let unknown = "+speed=10G is nothing that can be put on a cable: use +rate=10G, +latency=50us or +capture=FILE";
        assert_eq!(error("tap:tap0+speed=10G"), unknown);
        assert_eq!(error("host+wet"), unknown.replace("speed=10G", "wet"));
        assert!(error("null+rate").contains("rate=2.5G"));
        assert!(error("null+rate=10X").contains("\"10X\""));
        assert!(error("null+latency=5+rate=1G").contains("latency=50us"));
        assert!(error("hots+rate=1G").contains("unknown wire \"hots\""));
    }

    #[test]
    fn a_decorated_cable_between_two_ports_has_its_name() {
        let kind: Kind = "pair:a+rate=1G".parse().unwrap();

        assert_eq!(kind.cable(), Some("a"));
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
