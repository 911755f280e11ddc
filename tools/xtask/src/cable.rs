//! What is at the other end of the guest's cable.

use guest_vm::{CablePeer, Spawner};

/// The other end of the cable.
#[derive(Debug)]
pub enum Cable {
    /// A tap device in a network namespace, with real servers.
    Tap(CablePeer),
    /// The small host inside our server: for machines where we may make no tap.
    Embedded,
}

impl Cable {
    /// The server's name for it.
    pub fn wire(&self) -> String {
        match self {
            Self::Tap(_) => format!("tap:{}", CablePeer::TAP),
            Self::Embedded => "host".to_owned(),
        }
    }

    /// What starts processes that use it.
    pub fn spawner(&self) -> Spawner {
        match self {
            Self::Tap(peer) => peer.namespace().spawner().clone(),
            Self::Embedded => Spawner::own(),
        }
    }

    /// Address of the host there.
    pub fn host(&self) -> &'static str {
        match self {
            Self::Tap(_) => CablePeer::ADDRESS,
            Self::Embedded => "10.0.2.2",
        }
    }

    /// Address that its DHCP server gives to the first who asks.
    pub fn lease(&self) -> &'static str {
        match self {
            Self::Tap(_) => CablePeer::LEASE,
            Self::Embedded => "10.0.2.15",
        }
    }
}
