//! What the program answers, one to a line of its standard output.

use serde::{Deserialize, Serialize};

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A socket is bound.
    Bound {
        /// To this queue.
        queue: u32,
        /// Whether the kernel says XDP_OPTIONS_ZEROCOPY of it.
        zero_copy: bool,
        /// The physical addresses of the pages of its UMEM, in their order.
        pages: Vec<u64>,
    },
    /// All sockets are bound and the interface's frames go to them.
    Ready,
    /// A frame was received, or is to be sent.
    Frame {
        /// By this queue.
        queue: u32,
        /// Where it lies.
        place: Place,
        /// Its address in the UMEM, as the ring's descriptor has it.
        umem: u64,
    },
    /// A page of what a socket sends.
    Page(Place),
    /// All was sent, and the kernel has let go of the pages.
    Sent {
        /// Calls whose bytes the kernel says it has sent without a copy.
        without_copy: u64,
        /// Calls whose bytes it has copied after all.
        copied: u64,
    },
    /// The sockets were open until now.
    End(Vec<QueueEnd>),
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Their address in the program.
    pub virtual_address: u64,
    /// Their address in the machine, which is the IOVA that a NIC without an IOMMU is given.
    pub physical_address: u64,
    /// How many they are.
    pub len: usize,
}

/// What one queue's socket has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEnd {
    /// The queue.
    pub queue: u32,
    /// Frames received.
    pub received: u64,
    /// Frames given to the kernel to send.
    pub sent: u64,
    /// Of those, how many it has given back.
    pub completed: u64,
    /// How often the kernel was told, after it had asked, that there were chunks to fill.
    pub fill_wakeups: u64,
    /// How often it was told, after it had asked, that there were frames to send.
    pub send_wakeups: u64,
    /// Frames that were lost, as XDP_STATISTICS says.
    pub dropped: u64,
    /// Descriptors that the kernel has refused, likewise.
    pub invalid: u64,
}
