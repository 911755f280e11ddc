//! What an open wire goes on to ask of the system.

use std::path::PathBuf;

use crate::{DatagramAddress, Decoration, Kind, Place, Role, StreamAddress};

/// Something that a wire does again and again after it has been opened, so that a server which gives up what it does not
/// need keeps it. Descriptors that are open need nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Connects to a UNIX socket, or sends to one, which may be another user's.
    UnixPeer,
    /// Connects to this TCP port.
    TcpPeer(u16),
    /// Asks the kernel for the state of the network interfaces.
    Interfaces,
    /// Gives a tap's interface its carrier, or takes it away.
    TapCarrier,
    /// Opens a packet socket again when its interface has come back.
    PacketSocket,
    /// Opens an AF_XDP socket again, with its program, when its interface has come back.
    XdpSocket,
    /// Removes this socket when it ends.
    Removes(PathBuf),
}

impl Kind {
    /// What a wire of this kind needs once it is open.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        match self {
            Self::Host
            | Self::Pair(_)
            | Self::Null
            | Self::Loopback
            | Self::Generate(_)
            | Self::Pcap(_) => Vec::new(),
            Self::Tap(_) => vec![Need::Interfaces, Need::TapCarrier],
            Self::AfPacket(_) => vec![Need::Interfaces, Need::PacketSocket],
            Self::AfXdp(_) => vec![Need::Interfaces, Need::XdpSocket],
            Self::StreamSocket(StreamAddress { place, role }) => match (place, role) {
                (Place::Unix(_), Role::Connect) => vec![Need::UnixPeer],
                (Place::Unix(path), Role::Listen) => vec![Need::Removes(path.clone())],
                (Place::Tcp(address), Role::Connect) => vec![Need::TcpPeer(address.port())],
                (Place::Tcp(_), Role::Listen) => Vec::new(),
            },
            Self::DatagramSocket(DatagramAddress::Unix { local, .. }) => {
                vec![Need::UnixPeer, Need::Removes(local.clone())]
            }
            Self::DatagramSocket(DatagramAddress::Udp { .. }) => Vec::new(),
            Self::Decorated(wire, decorations) => {
                for decoration in decorations {
                    match decoration {
                        // The file is open, and the thread that writes it asks for nothing else.
                        Decoration::Capture(_) | Decoration::Rate(_) | Decoration::Latency(_) => {}
                    }
                }
                wire.needs()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(wire: &str) -> Vec<Need> {
        wire.parse::<Kind>().unwrap().needs()
    }

    #[test]
    fn a_wire_without_a_peer_outside_needs_nothing() {
        assert_eq!(needs("host+capture=/tmp/run.pcapng"), []);
        assert_eq!(needs("pcap:/tmp/in.pcapng,/tmp/out.pcapng"), []);
    }

    #[test]
    fn a_stream_needs_to_connect_to_its_own_port_only() {
        assert_eq!(
            needs("stream:tcp:[::1]:5555+rate=1G"),
            [Need::TcpPeer(5555)]
        );
        assert_eq!(needs("stream:tcp:[::1]:5555,server"), []);
    }

    #[test]
    fn what_a_wire_has_bound_it_removes() {
        assert_eq!(
            needs("stream:unix:/tmp/a,server"),
            [Need::Removes("/tmp/a".into())]
        );
        assert_eq!(
            needs("dgram:unix:/tmp/a,/tmp/b"),
            [Need::UnixPeer, Need::Removes("/tmp/a".into())]
        );
    }
}
