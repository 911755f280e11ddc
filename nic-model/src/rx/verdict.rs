//! What becomes of frames that arrive.

use std::fmt;

/// What became of a frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Written to a ring.
    Delivered {
        /// Receive queue.
        queue: u8,
    },
    /// Waits in the packet buffer for descriptors.
    Buffered,
    /// Dropped.
    Dropped(DropReason),
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Receive is disabled (RXCTRL.RXEN).
    Disabled,
    /// FCS error, length outside the limits (7.1.1).
    Mac,
    /// No L2 filter accepts the address (7.1.1.1).
    Address,
    /// The VLAN filter does not accept the tag (7.1.1.2).
    Vlan,
    /// It belongs to no VM pool that may receive (7.10.3).
    Pool,
    /// The queue is disabled, has no descriptors and drops, or the frame is longer than it takes (QPRDC).
    Queue,
    /// A Flow Director filter says so.
    FlowDirector,
    /// The packet buffer is full (MPC).
    PacketBuffer,
    /// The client's memory refused the write.
    Dma,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Disabled,
        Self::Mac,
        Self::Address,
        Self::Vlan,
        Self::Pool,
        Self::Queue,
        Self::FlowDirector,
        Self::PacketBuffer,
        Self::Dma,
    ];

    /// The name of the stage that drops, such as `vlan-filter`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Mac => "mac",
            Self::Address => "address-filter",
            Self::Vlan => "vlan-filter",
            Self::Pool => "pool",
            Self::Queue => "queue",
            Self::FlowDirector => "flow-director",
            Self::PacketBuffer => "packet-buffer",
            Self::Dma => "dma",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
