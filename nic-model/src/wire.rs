//! The seam to the cable: frames out, frames in.

use serde::{Deserialize, Serialize};

use crate::bus::Span;

/// What a wire does itself, so that the model need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Completes an L4 checksum (one's complement sum) given its start and place.
    pub checksum: bool,
    /// Segments TCP over IPv4.
    pub tso4: bool,
    /// Segments TCP over IPv6.
    pub tso6: bool,
}

/// Work that is left to the wire. Only handed over if [`Capabilities`] has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// The frame is complete.
    #[default]
    None,
    /// The L4 checksum field holds the folded pseudo-header sum (including the length) and is to be completed over
    /// everything from `start` to the end of the frame; the result goes to `start + offset`.
    Checksum {
        /// First byte that is summed, from the start of the frame.
        start: u16,
        /// Place of the checksum from `start`.
        offset: u16,
    },
    /// The frame is one large TCP segment, its IP length and pseudo-header sum those of the large frame; to be cut
    /// into pieces of `mss` payload bytes, with checksums.
    Segment {
        /// IP version of the frame.
        ip: IpVersion,
        /// First byte of the TCP header.
        start: u16,
        /// Length of all headers.
        header_len: u16,
        /// Payload bytes a segment.
        mss: u16,
    },
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A frame that leaves the port, without FCS.
///
/// `head` is the model's own copy of (at least) the headers; `payload` are the client's pages, which the wire reads
/// once.
#[derive(Debug)]
pub struct TxFrame<'a> {
    /// First bytes of the frame.
    pub head: &'a [u8],
    /// The rest.
    pub payload: &'a [Span<'a>],
    /// What is still to do.
    pub offload: Offload,
}

impl TxFrame<'_> {
    /// Length in bytes without FCS.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload
            .iter()
            .fold(self.head.len(), |sum, span| sum.saturating_add(span.len()))
    }

    /// Whether the frame has no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A contiguous copy of the frame.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = self.head.to_vec();
        Span::append(self.payload, &mut frame);
        frame
    }
}

/// State of the frame check sequence with which a frame arrives.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Fcs {
    /// Correct.
    #[default]
    Good,
    /// Wrong (an injected error).
    Bad,
}

/// What the wire knows about the L4 checksum of a frame that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum L4Checksum {
    /// Nothing: the model checks it.
    #[default]
    Unknown,
    /// The wire itself has just computed it.
    Valid,
}

/// A frame that arrives, without FCS, lent for the time of the call. Its bytes are `head` followed by `body`; the
/// headers that the card parses may lie across both.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// First part, at least the Ethernet header if the frame is that long.
    pub head: &'a [u8],
    /// Second part; empty for a frame in one piece.
    pub body: &'a [u8],
    /// Whether the FCS was right.
    pub fcs: Fcs,
    /// What is known of the L4 checksum.
    pub l4_checksum: L4Checksum,
}

impl<'a> RxFrame<'a> {
    /// A good frame in one piece.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            head: bytes,
            body: &[],
            fcs: Fcs::Good,
            l4_checksum: L4Checksum::Unknown,
        }
    }

    /// Length in bytes without FCS.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// Whether the frame has no byte at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether the sink of [`Wire::receive`] takes further frames in this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More frames may come.
    More,
    /// The frame was taken, but no further one now.
    Stop,
}

/// The wire cannot take a frame now; the model keeps it and tries again at a later step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wire is busy")]
pub struct WireBusy;

/// The other end of the cable.
pub trait Wire {
    /// What the wire does itself.
    fn capabilities(&self) -> Capabilities;

    /// Sends a frame. A wire that loses the frame for a reason of its own (no peer, interface down) counts that and
    /// returns `Ok`, as a cable would.
    ///
    /// # Errors
    /// [`WireBusy`] if nothing was sent and the frame is to be offered again.
    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy>;

    /// Hands up to `budget` frames to `sink` and returns how many there were. Stops early when the sink says so.
    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize;

    /// Whether the far end is there (carrier).
    fn carrier(&self) -> bool;
}

/// Stands for the wire where a port sends nothing: while that lends a frame, or while a request is answered. It takes
/// nothing, so that what is sent all the same waits for the next step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Wire for Nowhere {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, _frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        Err(WireBusy)
    }

    fn receive(&mut self, _budget: usize, _sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        false
    }
}
