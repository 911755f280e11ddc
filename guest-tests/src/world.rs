//! What scenarios do with a NIC, whoever drives it.

use anyhow::Result;

use crate::{cable::Plug, frames::Mac};

/// How the NIC is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Bytes of payload in a frame, up to 9710.
    pub mtu: u16,
    /// Take frames for any address.
    pub promiscuous: bool,
    /// Multicast addresses whose frames are wanted.
    pub multicast: Vec<Mac>,
    /// VLANs whose frames are wanted; `None` for all.
    pub vlans: Option<Vec<u16>>,
    /// Whether received frames are spread over several queues.
    pub spread: Spread,
}

/// Whether received frames are spread over several queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All come in one queue, where the world can have it so.
    None,
    /// By RSS over as many as the world has, at least 2.
    Rss,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mtu: 1500,
            promiscuous: false,
            multicast: Vec::new(),
            vlans: None,
            spread: Spread::None,
        }
    }
}

/// What the card counts, as far as every world shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Good frames received that passed the L2 filters (GPRC).
    ReceivedFrames,
    /// Their bytes with FCS (GORC).
    ReceivedBytes,
    /// Broadcasts received (BPRC).
    ReceivedBroadcasts,
    /// Multicasts received (MPRC).
    ReceivedMulticasts,
    /// Good frames longer than the limit (ROC).
    TooLong,
    /// Frames whose IP or L4 checksum the card found wrong.
    BadChecksums,
    /// Frames sent (GPTC).
    SentFrames,
    /// Their bytes with FCS (GOTC).
    SentBytes,
}

/// How received frames are spread (7.1.2.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The secret key.
    pub key: [u8; 40],
    /// Queue for each value of the hash's low 7 bits.
    pub table: Vec<usize>,
}

/// A NIC with somebody who drives it, and the far end of its cable.
pub trait World {
    /// Sets the NIC up anew. Counters begin at 0 then.
    ///
    /// # Errors
    /// For this and all others: the NIC does not do it, or cannot be reached.
    fn set_up(&mut self, setup: &Setup) -> Result<()>;

    /// Address of the NIC.
    ///
    /// # Errors
    /// See [`World::set_up`].
    fn mac(&mut self) -> Result<Mac>;

    /// Whether the driver sees a link.
    ///
    /// # Errors
    /// See [`World::set_up`].
    fn link_is_up(&mut self) -> Result<bool>;

    /// Puts the cable in or pulls it, and waits until the driver has taken note.
    ///
    /// # Errors
    /// See [`World::set_up`].
    fn plug(&mut self, plug: Plug) -> Result<()>;

    /// Lets frames arrive in order and returns what the driver was given of them, with their VLAN tags where they were
    /// on the cable. The last one has to be a frame of [`crate::frames::numbered`] that the driver is given: then all
    /// others that will ever come have come.
    ///
    /// # Errors
    /// See [`World::set_up`]; and the last frame does not come.
    fn arrive(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>>;

    /// Sends frames and returns what was on the cable up to the last one.
    ///
    /// # Errors
    /// See [`World::set_up`]; and the last frame is never on the cable.
    fn send(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>>;

    /// A counter since [`World::set_up`].
    ///
    /// # Errors
    /// See [`World::set_up`].
    fn counter(&mut self, counter: Counter) -> Result<u64>;

    /// How received frames are spread.
    ///
    /// # Errors
    /// See [`World::set_up`].
    fn rss(&mut self) -> Result<Rss>;

    /// Frames that came in each queue since [`World::set_up`].
    ///
    /// # Errors
    /// See [`World::set_up`].
    fn received_by_queue(&mut self) -> Result<Vec<u64>>;
}
